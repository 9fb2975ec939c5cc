// Makes the scripts of the page, with version 3 of the SDK and with version 2. The
// SDK's browser build imports other packages of npm by name, so a bundler is needed.
import { build } from "esbuild";

const common = { entryPoints: ["web/page.js"], bundle: true, format: "esm", target: "es2022", minify: true, logLevel: "warning" };
await build({ ...common, outfile: "dist/page.js" });
await build({ ...common, outfile: "dist/v2/page.js", alias: { "@cloudbase/js-sdk": "cloudbase-js-sdk-2" } });

// A person at a Node program: runs the expressions that come in, one JSON string a
// line, and answers each with a line.
import cloudbase from "@cloudbase/js-sdk";
import { createInterface } from "node:readline";

// What the SDK has to say to people goes elsewhere.
console.log = console.info = console.debug = console.warn;

const [issuer, env] = process.argv.slice(2);
const { host, protocol } = new URL(issuer);
const app = cloudbase.init({ env });
app.registerHost(host, protocol.slice(0, -1));
Object.assign(globalThis, { cloudbase, app, auth: app.auth() });

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(await (0, eval)(JSON.parse(line)) + "\n");
}

// An issuer for the tests: oidc-provider as npm has it. The first line on standard
// input is its configuration; it ends when standard input does.
import { createInterface } from "node:readline";

// oidc-provider 9 is made for Node.js 22; this is what it misses in 20.
URL.parse ??= (url, base) => (URL.canParse(url, base) ? new URL(url, base) : null);
const { Provider, errors } = await import("oidc-provider");

const lines = createInterface({ input: process.stdin });
lines.once("line", (line) => start(JSON.parse(line)));
lines.once("close", () => process.exit());

const algorithms = ["RS256", "PS256", "ES256", "EdDSA"];

function start({ port, keys, clients, resources }) {
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    jwks: { keys }, // of those that fit an algorithm the first signs
    clients,
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }), // anybody
    // To clients on loopback too, where oidc-provider sends nothing by itself.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
    cookies: { keys: ["not a secret"] },
    scopes: ["openid", "offline_access"],
    enabledJWA: {
      idTokenSigningAlgValues: algorithms,
      userinfoSigningAlgValues: algorithms,
      introspectionSigningAlgValues: algorithms,
    },
    features: {
      backchannelLogout: { enabled: true },
      clientCredentials: { enabled: true },
      devInteractions: { enabled: true }, // pages that believe any name
      introspection: { enabled: true, allowedPolicy: () => true },
      jwtIntrospection: { enabled: true },
      jwtUserinfo: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo(ctx, name) {
          if (!resources[name]) throw new errors.InvalidTarget();
          return resources[name];
        },
        useGrantedResource: () => true,
      },
      revocation: { enabled: true },
      rpInitiatedLogout: { enabled: true },
    },
  });
  const server = provider.listen(port, "127.0.0.1", () => console.log("ready"));
  server.on("error", (err) => {
    console.error(err.code);
    process.exit(1);
  });
}

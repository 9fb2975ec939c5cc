// The email login of CloudBase in Node, as its documentation prints it: the first run
// signs up, the next one signs in.
//
//	node flow.mjs [http://localhost:8080 [env-id]]
//
// Run npm ci before. The SDK remarks that ws is missing; email login does without.
import cloudbase from "@cloudbase/js-sdk";
import { createInterface } from "node:readline/promises";

const [issuer = "http://localhost:8080", env = "notes-7g2x9"] = process.argv.slice(2);
const { host, protocol } = new URL(issuer);

const app = cloudbase.init({
env: env
});
app.updateLang("en-US"); // of texts and mails; Chinese without
app.registerHost(host, protocol.slice(0, -1));
const auth = app.auth();

// Assume the user enters the email test@example.com
const email = "test@example.com";
const verification = await auth.getVerification({
email: email
});

const terminal = createInterface({ input: process.stdin, output: process.stdout });
const verificationCode = await terminal.question(`The code in the mail (${issuer}/dev/mailbox): `);
terminal.close();
// Verify the correctness of the Captcha.
const verificationTokenRes = await auth.verify({
verification_id: verification.verification_id,
verification_code: verificationCode
});

// If the user already exists, log in.
if (verification.is_user) {
await auth.signIn({
username: email,
verification_token: verificationTokenRes.verification_token
});
} else {
// Otherwise, register a new user and set a password and username.
// Remark: Upon successful signUp, the user will be automatically logged in.
await auth.signUp({
email: email,
verification_code: verificationCode,
verification_token: verificationTokenRes.verification_token,
// Optional, set username.
username: "userFromEmail",
// Optional, set password.
password: "password123"
});
}

const person = await auth.getUserInfo();
console.log(`${verification.is_user ? "Signed in" : "Signed up"} as ${person.email} (${person.uid}).`);

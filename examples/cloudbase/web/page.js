// The page of an app that signs people in by email with @cloudbase/js-sdk. What talks
// to CloudBase is the code of its documentation; new are the lines that name the server.
import cloudbase from "@cloudbase/js-sdk";

const { env, issuer } = await (await fetch("/config.json")).json();
const { host, protocol } = new URL(issuer);

const app = cloudbase.init({
env: env
});
app.updateLang("en-US"); // of texts and mails; Chinese without
if (app.registerHost) {
  app.registerHost(host, protocol.slice(0, -1));
} else { // version 2 of the SDK, which reads the address when auth is made
  for (const key of ["CLOUD_API", "GATEWAY"]) {
    app.registerEndPointWithKey({ key, url: `//${host}/web`, protocol: protocol.slice(0, -1) });
  }
}
const auth = app.auth({ persistence: "local" });
Object.assign(window, { app, auth }); // to play with in the browser's console

const $ = (id) => document.getElementById(id);

// --- The steps --------------------------------------------------------------

// emailLogin signs in who has an account and signs up who has none.
async function emailLogin() {
// Assume the user enters the email test@example.com
const email = $("email").value;
const verification = await auth.getVerification({
email: email
});
const verificationCode = await typed(email);
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
username: $("username").value,
// Optional, set password.
password: $("password").value
});
}
}

async function passwordLogin() {
  await auth.signIn({ username: $("login-name").value, password: $("login-password").value });
}

async function forgotten() {
  const email = $("forgotten-email").value;
  const { verification_id } = await auth.getVerification({ email, target: "USER" });
  const { verification_token } = await auth.verify({ verification_id, verification_code: await typed(email) });
  await auth.resetPassword({ email, new_password: $("forgotten-new").value, verification_token });
  return "The password is changed. Sign in with it.";
}

async function changeEmail() {
  const email = $("new-email").value;
  const { sudo_token } = await confirmed();
  const { verification_id } = await auth.getVerification({ email });
  const { verification_token } = await auth.verify({ verification_id, verification_code: await typed(email) });
  await auth.bindEmail({ email, sudo_token, verification_token });
  return "The address is changed.";
}

// confirmed asks for a code to the account's own address: who finds this page open
// may not take the account away.
async function confirmed() {
  const { email } = await auth.getUserInfo();
  const { verification_id } = await auth.getVerification({ email });
  const { verification_token } = await auth.verify({ verification_id, verification_code: await typed(email) });
  return auth.sudo({ verification_token });
}

async function changePassword() {
  const { sudo_token } = await auth.sudo({ password: $("old-password").value });
  await auth.setPassword({ sudo_token, new_password: $("new-password").value });
  return "The password is changed. Whoever was signed in elsewhere is signed out.";
}

async function callNotes() {
  const { accessToken } = await auth.getAccessToken();
  const response = await fetch("/api/notes", { headers: { Authorization: "Bearer " + accessToken } });
  if (!response.ok) throw new Error("The notes API answered with status " + response.status + ".");
  return (await response.json()).notes.join("\n");
}

async function refresh() {
  await auth.refreshTokenForce();
  return "There is a new access token.";
}

async function signOut() {
  await auth.signOut();
}

// --- Around them ------------------------------------------------------------

// typed waits for the code that the person types.
function typed(email) {
  $("code-for").textContent = email;
  $("mailbox").href = issuer + "/dev/mailbox";
  $("code").value = "";
  $("code-form").hidden = false;
  $("code").focus();
  return new Promise((resolve) => {
    $("code-form").onsubmit = (event) => {
      event.preventDefault();
      $("code-form").hidden = true;
      resolve($("code").value.trim());
    };
  });
}

// show brings the page up to date. The SDK's answers hold the server's sentences.
async function show({ said = "", error = "" } = {}) {
  const person = (await auth.getLoginState()) && (await auth.getUserInfo());
  $("signed-in").hidden = !person;
  $("signed-out").hidden = Boolean(person);
  $("who").textContent = person ? person.email : "";
  for (const [id, text] of Object.entries({ said, error })) {
    $(id).textContent = text;
    $(id).hidden = !text;
  }
}

// attempt runs one step and shows how it went.
async function attempt(step, form) {
  try {
    await show({ said: await step() });
    form?.reset(); // no password stays behind
  } catch (error) {
    $("code-form").hidden = true;
    await show({ error: error.error_description || error.message || "The server cannot be reached. Please try again in a moment." });
  }
}

const forms = { "email-login": emailLogin, "password-login": passwordLogin, forgotten, "change-email": changeEmail, "change-password": changePassword };
for (const [id, step] of Object.entries(forms)) {
  $(id).onsubmit = (event) => {
    event.preventDefault();
    attempt(step, event.target);
  };
}
const buttons = { "call-notes": callNotes, refresh, "sign-out": signOut };
for (const [id, step] of Object.entries(buttons)) $(id).onclick = () => attempt(step);

await show();
document.documentElement.dataset.ready = "";

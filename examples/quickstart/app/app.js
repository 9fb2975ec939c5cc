// A single-page app that signs people in with the authorization code flow and
// PKCE, in the browser's own JavaScript. Read it from the bottom: start() looks
// at the address and decides which of the steps above it is in.

// What waits between leaving this page and coming back: the state, the nonce and
// the code verifier of one sign-in. sessionStorage belongs to this tab alone.
const PENDING = "notes.pending";

// The tokens live in memory, and in sessionStorage so that a reload does not
// sign the person out. Any script that runs in this page can read both, so this
// is only as safe as the page is free of foreign script: hence the strict
// Content-Security-Policy and no innerHTML. What leaks is bounded too: the
// access token lasts 10 minutes and there is no refresh token, so after that
// the person signs in again, mostly without typing anything.
const TOKENS = "notes.tokens";

const callback = location.origin + "/callback";
const $ = (id) => document.getElementById(id);

let config; // { issuer, client_id, api }, from the server of this app
let provider; // the issuer's metadata
let tokens = JSON.parse(sessionStorage.getItem(TOKENS));

// Problem is an error whose text is meant for the person.
class Problem extends Error {}

// --- Signing in -------------------------------------------------------------

async function signIn() {
  const pending = { state: random(), nonce: random(), verifier: random() };
  sessionStorage.setItem(PENDING, JSON.stringify(pending));
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(pending.verifier));
  location.assign(withQuery(provider.authorization_endpoint, {
    response_type: "code",
    client_id: config.client_id,
    redirect_uri: callback,
    scope: "openid email notes:read notes:write",
    state: pending.state,
    nonce: pending.nonce,
    code_challenge: base64url(new Uint8Array(hash)),
    code_challenge_method: "S256",
  }));
}

// finishSignIn takes the answer that came in the address of /callback.
async function finishSignIn(answer) {
  const pending = JSON.parse(sessionStorage.getItem(PENDING));
  sessionStorage.removeItem(PENDING); // an answer is taken once

  // An answer we did not ask for is an old one (the back button) or a forged one.
  if (!pending || answer.get("state") !== pending.state) {
    if (tokens) return;
    throw new Problem("This sign-in was finished before, or begun in another tab. Please sign in again.");
  }
  // RFC 9207: the answer names who made it, so no other server's can be mixed in.
  if (answer.get("iss") !== provider.issuer) {
    throw new Problem("The answer came from another server than the one that was asked.");
  }
  if (answer.has("error")) throw new Problem(readable(answer));

  const response = await fetch(provider.token_endpoint, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "authorization_code",
      code: answer.get("code"),
      redirect_uri: callback,
      client_id: config.client_id,
      code_verifier: pending.verifier,
    }),
  });
  if (!response.ok) throw new Problem("The sign-in could not be finished. Please try again.");
  const fresh = await response.json();

  // The ID token came straight from the token endpoint, so its signature may go
  // unchecked (OpenID Connect Core 3.1.3.7); that it is for us and for this
  // sign-in may not.
  const claims = payload(fresh.id_token);
  if (claims.iss !== provider.issuer || ![claims.aud].flat().includes(config.client_id) || claims.nonce !== pending.nonce) {
    throw new Problem("The server's answer belongs to another sign-in.");
  }
  keep({ access: fresh.access_token, id: fresh.id_token });
}

function readable(answer) {
  const code = answer.get("error");
  if (code === "access_denied") return "You did not allow the sign-in. You can try again whenever you like.";
  return "Signing in failed: " + (answer.get("error_description") || code);
}

// --- Signing out ------------------------------------------------------------

function signOut() {
  const hint = tokens.id;
  keep(null); // first, so that the back button finds nothing
  show();
  location.assign(withQuery(provider.end_session_endpoint, {
    id_token_hint: hint,
    client_id: config.client_id,
    post_logout_redirect_uri: location.origin + "/",
    state: random(),
  }));
}

// --- Using the access token -------------------------------------------------

// call fetches url with the access token.
async function call(url, options = {}) {
  const headers = { ...options.headers, Authorization: "Bearer " + tokens.access };
  const response = await fetch(url, { ...options, headers });
  if (response.status === 401) {
    keep(null);
    throw new Problem("Your sign-in has run out. Please sign in again.");
  }
  if (!response.ok) throw new Problem("That did not work (status " + response.status + "). Please try again.");
  return response;
}

async function loadPerson() {
  const person = await (await call(provider.userinfo_endpoint)).json();
  // Core 5.3.2: userinfo about somebody else must not be used.
  if (person.sub !== payload(tokens.id).sub) {
    keep(null);
    throw new Problem("The server spoke of another person. Please sign in again.");
  }
  $("who").textContent = person.email;
}

async function loadNotes() {
  const { notes } = await (await call(config.api)).json();
  $("notes").replaceChildren(...notes.map((note) => {
    const item = document.createElement("li");
    item.textContent = note; // never innerHTML: a note is a stranger's input
    return item;
  }));
}

async function addNote(event) {
  event.preventDefault();
  $("note-add").disabled = true;
  try {
    await call(config.api, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ text: $("note-text").value }),
    });
    $("note-text").value = "";
    await loadNotes();
  } finally {
    $("note-add").disabled = false;
    $("note-text").focus(); // a disabled button loses the focus
  }
}

// --- Small parts ------------------------------------------------------------

function keep(fresh) {
  tokens = fresh;
  if (tokens) sessionStorage.setItem(TOKENS, JSON.stringify(tokens));
  else sessionStorage.removeItem(TOKENS);
}

function show(problem = "") {
  $("error").textContent = problem;
  $("error").hidden = !problem;
  $("signed-in").hidden = !tokens;
  $("signed-out").hidden = Boolean(tokens);
  if (!tokens) {
    $("who").textContent = "";
    $("notes").replaceChildren();
  }
}

// attempt runs one step and shows what went wrong, if anything did.
async function attempt(step) {
  try {
    await step();
    show();
  } catch (error) {
    console.error(error);
    show(error instanceof Problem ? error.message : "Something went wrong on the way. Please try again in a moment.");
  }
}

// random is 256 bits, what RFC 7636 recommends for a verifier.
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

// payload reads the claims of a JWT.
function payload(jwt) {
  const bytes = Uint8Array.from(atob(jwt.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
}

function withQuery(address, parameters) {
  const url = new URL(address);
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return url;
}

async function getJSON(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(url + " answered " + response.status);
  return response.json();
}

// --- The beginning ----------------------------------------------------------

async function start() {
  const here = new URL(location.href);
  // The code leaves the address at once: not in the history, not in a bookmark,
  // and a reload does not send it twice.
  if (here.search || here.pathname !== "/") history.replaceState(null, "", "/");

  $("sign-in").addEventListener("click", () => attempt(signIn));
  $("sign-out").addEventListener("click", signOut);
  $("note-form").addEventListener("submit", (event) => attempt(() => addNote(event)));

  config = await getJSON("/config.json");
  provider = await getJSON(config.issuer + "/.well-known/openid-configuration");
  if (provider.issuer !== config.issuer) throw new Error("the metadata is another issuer's");
  if (here.pathname === "/callback") await finishSignIn(here.searchParams);
  if (tokens) await Promise.all([loadPerson(), loadNotes()]);
}

attempt(start);

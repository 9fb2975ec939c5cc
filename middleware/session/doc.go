// Package session signs people in to a server-rendered app with an OpenID Connect
// issuer, and remembers them in an encrypted cookie or in a store.
//
// Its invariant: a handler behind [Sessions.Require] runs only for a browser that
// has signed in itself, through a sign-in that it began itself, and whose session
// has not been ended since; what [User] returns is what the issuer signed then. No
// cookie, form or URL that somebody else made, for this app or another, for this
// browser or another, leads there.
//
// A sign-in's way through the package: Require (or the login path) draws state,
// nonce and PKCE verifier, seals them into a cookie that belongs to this one
// sign-in, and sends the browser to the issuer. The callback opens that cookie, spends it,
// checks that the answer is the issuer's (RFC 9207), exchanges the code, verifies
// the ID token, and gives the browser a new session. Every later request opens the
// session and, when its access token is about to end, takes part in one refresh.
//
// # Cookie or store
//
// Without a Store the whole session, tokens included, is in the browser, sealed
// with AES-256-GCM. Nothing has to be shared but the Secrets. What that costs:
//
//   - A session can be ended only as far as a process remembers it: signing out and
//     back-channel logout work in the process that they reach, until it restarts, and
//     elsewhere once the issuer refuses the next refresh.
//   - Tokens must fit into two cookies, 7600 bytes together; a sign-in beyond that
//     fails with a message that says so.
//   - Requests that meet in one process share a refresh, for two minutes after it
//     too, whatever the issuer thinks of a refresh token that is used twice. Over
//     several processes it needs an issuer with a grace, as Lettergate's of 60 s. One
//     that takes the second use for theft ends the session: use a Store.
//
// With a Store the browser has a random name. Sessions end at once, in all
// replicas, and a refresh token is used by one process at a time.
//
// # When the issuer is away
//
// The app starts without it. Who is signed in stays so while the access token
// lives; then pages answer 503 until the issuer is back, and the session goes on
// where it was. An issuer that says invalid_grant has ended the session. A session
// without refresh token asks nobody and lasts for its Lifetime.
//
// # Signing out
//
// A page signs out with a POST to [Sessions.LogoutURL]. When the app sends a
// Content-Security-Policy with form-action, it has to name the issuer's origin:
// browsers apply it to the redirect as well.
package session

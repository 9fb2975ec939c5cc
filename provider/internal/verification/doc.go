// Package verification is the emailed code: made, mailed, and accepted once.
//
// Its invariant: a code is compared with exactly one verification, which was
// found by its handle, never by the code or the address; and no verification is
// accepted twice.
//
// A verification is one record: one address, one client, one purpose, and what it
// is bound to (a browser, a PKCE challenge, or nothing but the client and the
// handle). The record holds neither the code nor the handle. Both are derived from
// its id with the deployment's secret, so a copy of the store tells nobody a code,
// and a mail that is sent again says the same one.
//
// The walk of a sign-in:
//
//	Start   one counter, Put the mail into the outbox, Put the verification; then the answer, then the mail
//	mail    the outbox reads the verification, derives the code and sends it
//	Redeem  Get, three counters, compare, one deciding Put, the account
//
// An Ownership ends otherwise: Prove in place of Redeem makes a token, OpenToken says
// what it proves, and SpendToken spends it, once the deed that it is for was checked.
// Behind a link in the mail, OpenLink shows the code to the browser that opens it.
//
// No step but the last looks for an account on the caller's time, so that known
// and unknown addresses cost the same calls. A store that does not answer is
// reported as such (wrapping storage.ErrUnavailable), never as a wrong code, and
// nothing is compared that was not counted before.
package verification

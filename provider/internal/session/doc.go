// Package session is the signed-in browser.
//
// Its invariant: a cookie stands for a person only as long as its session record
// says so. The record is read each time; it dies when it was idle too long, when
// it is too old, and when it is ended, and nothing brings an ended one back.
//
// Every sign-in makes a new session with a new cookie, so that a cookie which was
// planted before is worth nothing after. The cookie is the session's id with a
// MAC: it is stored nowhere, and a forged one is refused without a read.
//
// Signing out is one Put. What follows (revoking what was granted in the session)
// is in the outbox before that, so that it happens whatever process dies.
package session

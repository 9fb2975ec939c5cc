// Package password keeps what people type to prove who they are.
//
// Its invariant: a password exists only as an argon2id hash by subject; no answer,
// no work done and no call of the store tells an unknown account from a wrong
// password; and no more than Config.Concurrent hashes are computed at once, so
// that memory is bounded.
//
// The walk of a try:
//
//	Verify   Get the hash and the device, two counters, a turn, one hash, compare
//
// The try is counted for its source and for its account before anything is
// compared, each in a window that its first try opens. A success clears the
// account's count and gives the source its try back. The account's count is kept
// apart for devices that have signed in before and for all others, so that a
// stranger cannot lock the owner out; and apart from that of emailed codes.
//
// Where there is no hash to compare with, and over a limit, a hash is computed all
// the same. A hash that was made with other parameters takes as long as it did
// when it was made, until its owner signs in and it is made again. A store that
// does not answer is reported as such (wrapping storage.ErrUnavailable), never as
// a wrong password.
package password

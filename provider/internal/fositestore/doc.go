// Package fositestore keeps what fosite wants kept as one grant record.
//
// fosite writes an authorization as five kinds of session (code, PKCE, OpenID,
// access token, refresh token) through as many interfaces, and reads each one
// before it changes it. Kept apart, two requests for one code can both succeed.
// Here they are one [Grant], and a request is one [Unit] of work on it:
//
//	ctx, unit := store.Begin(ctx)
//	fosite…(ctx)            // every interface reads and changes the unit's copy
//	err := unit.Commit(ctx) // one versioned Put, before anything is answered
//
// The invariant: whatever a request decided about a grant (a code spent, a token
// rotated, a family revoked) takes effect as a whole by that Put, or not at all.
// A request that lost the race gets [ErrLost] from Commit and decides nothing.
//
// A store that fails is remembered by the unit ([Unit.Err]) whatever fosite makes
// of the error, because fosite reports some outages as a bad request.
package fositestore

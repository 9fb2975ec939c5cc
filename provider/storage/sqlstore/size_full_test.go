//go:build (linux || darwin) && full

package sqlstore_test

// How large the tests are.
const (
	raceRounds = 200
	lostRounds = 1000
	killRounds = 20
	sweepSize  = 20_000
	mixRounds  = 2000
)

//go:build (linux || darwin) && !full

package sqlstore_test

// How large the tests are.
const (
	raceRounds = 20
	lostRounds = 8
	killRounds = 2
	sweepSize  = 300
	mixRounds  = 100
)

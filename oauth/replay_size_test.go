//go:build !full

package oauth_test

// replayFlood is how many proofs a flood has.
const replayFlood = 20_000

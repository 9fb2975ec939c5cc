//go:build !full

package storetest

// Sizes of the races and of the random tests; the full lane runs more.
const (
	rounds    = 20
	deeds     = 60   // of each caller in a history
	modelRuns = 2    // sequences of random operations
	modelOps  = 1500 // in each
)

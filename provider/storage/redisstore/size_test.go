//go:build !full

package redisstore_test

// Sizes for each change; the full lane runs more.
const (
	lostRounds = 100   // of each kind of call, in each layout
	bigGroup   = 2_000 // entries
	loadTime   = 300   // milliseconds of load around a fault
)

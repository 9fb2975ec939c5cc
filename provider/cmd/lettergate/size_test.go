//go:build !full

package main

// Sizes of the races and starts of several replicas; the full lane runs more.
const (
	raceRounds = 20
	starts     = 3
	awaitAll   = false // each mail that a killed replica was to send
)

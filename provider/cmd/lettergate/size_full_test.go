//go:build full

package main

const (
	raceRounds = 100
	starts     = 20
	awaitAll   = true // each mail that a killed replica was to send
)

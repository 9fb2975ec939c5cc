//go:build full

package redisstore_test

const (
	lostRounds = 1_000
	bigGroup   = 100_000
	loadTime   = 3_000
)

//go:build full

package redisstore_test

const (
	lostRounds  = 1_000
	bigGroup    = 100_000
	weakLayouts = 2
	loadTime    = 3_000
)

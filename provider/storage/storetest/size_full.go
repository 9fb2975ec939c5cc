//go:build full

package storetest

const (
	rounds    = 200
	deeds     = 600
	modelRuns = 6
	modelOps  = 10_000
)

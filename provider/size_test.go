//go:build !full

package provider_test

// Sizes of the races and kills; the full lane runs more.
const (
	rounds = 20
	kills  = 10 // how often the server is killed
)

// failures are the faultModes that every call of the CloudBase API meets.
var failures = []string{"reply", "store"}

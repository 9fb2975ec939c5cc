//go:build full

package provider_test

const (
	rounds = 200
	kills  = 200
)

// failures are the faultModes that every call of the CloudBase API meets.
var failures = []string{"call", "reply", "store", "killed after"}

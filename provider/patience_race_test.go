//go:build race

package provider_test

import "time"

// Under the race detector, on a busy machine, there is no time to be exact.
const (
	patience = 2500 * time.Millisecond
	callers  = 100
)

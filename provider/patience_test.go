//go:build !full || race

package provider_test

import "time"

// On a machine that does much else, or under the race detector, there is no time to be
// exact: the full lane is.
const (
	patience = 3 * time.Second // how long any answer may take while something is wrong
	callers  = 100             // who ask at the same time
)

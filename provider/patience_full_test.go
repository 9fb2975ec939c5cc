//go:build full && !race

package provider_test

import "time"

const (
	patience = 1500 * time.Millisecond // how long any answer may take while something is wrong
	callers  = 200                     // who ask at the same time
)

//go:build !unix

package costtest

import "time"

// processorTime returns the time of the clock, where there is nothing better.
func processorTime() time.Duration { return time.Since(epoch) }

var epoch = time.Now()

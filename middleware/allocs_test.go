//go:build !race

package middleware_test

import "testing"

// What a repeated token costs beside the verifier is net/http's own copy of the
// request and the context in it.
func TestRepeatedTokenAllocations(t *testing.T) {
	for _, alg := range benchAlgorithms {
		do := newWork(t, alg).repeat(t)
		i := 0
		if got := testing.AllocsPerRun(200, func() { do(i); i++ }); got > 2 {
			t.Errorf("%s: %v allocations, want 2", alg, got)
		}
	}
}

//go:build full && !race && unix

package middleware_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/lettergate/lettergate/middleware/internal/costtest"
)

func TestWhatRequireCosts(t *testing.T) {
	limits := map[string]float64{"RS256": 1.35, "ES256": 1.25, "EdDSA": 1.25}
	t.Logf("%-6s %4s %-14s %12s %12s %8s %7s", "", "CPUs", "", "median", "least", "x raw", "allocs")
	for _, alg := range benchAlgorithms {
		w := newWork(t, alg)
		if !w.raw(0) {
			t.Fatal("the bare check refuses the token")
		}
		subjects := []costtest.Subject{{Name: "raw signature", Do: func(i int) { w.raw(i) }}, {Name: "first sight", Do: w.first(t)}, {Name: "repeated", Do: w.repeat(t)}}
		for _, processors := range []int{1, 2} {
			var faults []string
			for range 3 { // neighbours only make it dearer
				faults = nil
				results := costtest.Compare(12, processors, subjects...)
				for _, r := range results {
					t.Logf("%-6s %4d %-14s %12v %12v %8.3f %7.0f", alg, processors, r.Name, r.Median, r.Min, r.Ratio, r.Allocs)
				}
				if first := results[1]; first.Ratio > limits[alg] {
					faults = append(faults, fmt.Sprintf("the first sight of a token costs %.2f times its signature check, want at most %.2f", first.Ratio, limits[alg]))
				}
				if repeated := results[2]; repeated.Median > time.Microsecond || repeated.Allocs > 2 {
					faults = append(faults, fmt.Sprintf("a repeated token costs %v and %.0f allocations, want at most 1µs and 2", repeated.Median, repeated.Allocs))
				}
				if faults == nil {
					break
				}
			}
			for _, fault := range faults {
				t.Errorf("%s on %d processors, three times: %s", alg, processors, fault)
			}
		}
	}
}

//go:build full && !race

package provider_test

import (
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestAS48_UnknownClientSameTime measures 7,000 pairs of requests, one in the name of a
// client that is registered and one of nobody's, in turn. Two of three runs have to
// show no difference: what else a machine does comes and goes.
func TestAS48_UnknownClientSameTime(t *testing.T) {
	keys := newSignerKeys(t)
	s := start(t, options{direct: true, config: guessed(t, keys)})
	for _, g := range guesses(s, keys) {
		if g.method == "secret" && g.name != "by Basic" || g.method == "assertion" && strings.ContainsAny(g.name, " ,") {
			continue // the same code
		}
		t.Run(g.method+" "+g.name, func(t *testing.T) {
			alike := 0
			for run := 0; run < 3 && alike < 2; run++ {
				known, unknown := s.times(g, 7000)
				welch, apart := welch(known, unknown), median(known)-median(unknown)
				t.Logf("Welch t %.2f, medians %.1f µs apart, %.1f µs", welch, apart*1e6, median(known)*1e6)
				if math.Abs(welch) < 4.5 && math.Abs(apart) < 0.5e-3 {
					alike++
				}
			}
			if alike < 2 {
				t.Error("a client that is registered takes another time than one that is not")
			}
		})
	}
}

// times returns how long each of n pairs of requests took, in seconds, without the
// slowest tenth of either sort. Who is first alternates.
func (s *server) times(g guess, n int) (known, unknown []float64) {
	for i := range n {
		pair := []attempt{g.known, g.unknown}
		if i%2 == 1 {
			slices.Reverse(pair)
		}
		took := make([]float64, 2)
		for j, a := range pair {
			w, r := httptest.NewRecorder(), a.request()
			begun := time.Now()
			s.provider.ServeHTTP(w, r)
			took[j] = time.Since(begun).Seconds()
			if w.Code != http.StatusUnauthorized {
				s.t.Fatalf("%d %s", w.Code, w.Body)
			}
		}
		if i%2 == 1 {
			slices.Reverse(took)
		}
		known, unknown = append(known, took[0]), append(unknown, took[1])
	}
	slices.Sort(known)
	slices.Sort(unknown)
	return known[:n*9/10], unknown[:n*9/10]
}

// welch is the t of Welch's test for two samples.
func welch(a, b []float64) float64 {
	meanA, varA := moments(a)
	meanB, varB := moments(b)
	return (meanA - meanB) / math.Sqrt(varA/float64(len(a))+varB/float64(len(b)))
}

func moments(sample []float64) (mean, variance float64) {
	for _, x := range sample {
		mean += x / float64(len(sample))
	}
	for _, x := range sample {
		variance += (x - mean) * (x - mean) / float64(len(sample)-1)
	}
	return mean, variance
}

// median of what is sorted.
func median(sorted []float64) float64 { return sorted[len(sorted)/2] }

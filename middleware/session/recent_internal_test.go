package session

import (
	"fmt"
	"testing"
	"time"
)

func TestRecentRemembersForItsLife(t *testing.T) {
	start := time.Now()
	for name, c := range map[string]struct {
		before time.Duration // when it is added, after something else
		after  time.Duration
		known  bool
	}{
		"at once":               {0, 0, true},
		"just before":           {0, time.Minute - 1, true},
		"added before a turn":   {time.Minute - 1, time.Minute - 1, true},
		"in the next one":       {time.Minute - 1, time.Minute, true},
		"long after":            {0, 2 * time.Minute, false},
		"very long after":       {0, time.Hour, false},
		"with the clock behind": {0, -time.Hour, true},
	} {
		r := newRecent[int](time.Minute, 10)
		r.first(start, "other", 1)
		at := start.Add(c.before)
		if !r.first(at, "x", 7) || r.first(at, "x", 8) {
			t.Errorf("%s: first is wrong", name)
		}
		if v, ok := r.get(at.Add(c.after), "x"); ok != c.known || ok && v != 7 {
			t.Errorf("%s: got %d, %t", name, v, ok)
		}
	}
}

func TestRecentIsBounded(t *testing.T) {
	now := time.Now()
	r := newRecent[int](time.Hour, 100)
	for n := range 100_000 {
		r.first(now, fmt.Sprint(n), n)
		if got := len(r.young) + len(r.old); got > 200 {
			t.Fatalf("%d are remembered", got)
		}
		if _, ok := r.get(now, fmt.Sprint(max(n-99, 0))); !ok {
			t.Fatalf("one of the last hundred is forgotten at %d", n)
		}
	}
}

package storetest

import (
	"errors"
	"math"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

var counterChecks = []check{
	{"add counts", addCounts},
	{"add nothing to nothing", addNothing},
	{"a counter stops at zero", addFloor},
	{"a counter stops at the largest number", addCeiling},
	{"a counter's life is fixed", addLife},
	{"a counter's life may be short or long", addLives},
	{"a counter at zero keeps its life", addZeroLife},
	{"a counter is deleted", addDelete},
	{"counters are apart", addApart},
	{"add refuses what is no counter", addInvalid},
}

func addCounts(t *suite) {
	k := t.counter("a")
	t.counts(k, 1, time.Hour, 1)
	t.counts(k, 1, time.Hour, 2)
	t.counts(k, 40, time.Hour, 42)
	t.counts(k, -2, time.Hour, 40)
	t.counts(k, 0, time.Hour, 40)
	t.counts(k, 1<<40, time.Hour, 1<<40+40)
	// To the last digit, where a floating-point number has no odd ones any more.
	t.counts(k, 1<<53-39-1<<40, time.Hour, 1<<53+1)
	t.counts(k, 1<<61, time.Hour, 1<<61+1<<53+1)
	t.counts(k, 2, time.Hour, 1<<61+1<<53+3)
	t.counts(k, -1<<61, time.Hour, 1<<53+3)
	t.counts(k, 0, time.Hour, 1<<53+3)
}

func addNothing(t *suite) {
	k := t.counter("a")
	t.counts(k, 0, time.Hour, 0)
	t.counts(k, -5, time.Hour, 0)
	t.counts(k, math.MinInt64, time.Hour, 0)
	t.counts(k, 0, 0, 0) // to read, no life is needed
	t.counts(k, -1, -time.Hour, 0)
	// None of them has begun the counter's life.
	t.clock.advance(time.Minute)
	t.counts(k, 1, time.Hour, 1)
	t.clock.advance(time.Hour - time.Millisecond)
	t.counts(k, 0, time.Hour, 1)
	t.counts(k, 0, -1, 1)
	t.counts(k, -1, 0, 0)
}

func addFloor(t *suite) {
	k := t.counter("a")
	t.counts(k, 3, time.Hour, 3)
	t.counts(k, -10, time.Hour, 0)
	t.counts(k, -1, time.Hour, 0)
	t.counts(k, 1, time.Hour, 1)
	t.counts(k, math.MinInt64, time.Hour, 0)
	t.counts(k, 2, time.Hour, 2)
}

func addCeiling(t *suite) {
	k := t.counter("a")
	t.counts(k, math.MaxInt64-1, time.Hour, math.MaxInt64-1)
	t.counts(k, 1, time.Hour, math.MaxInt64)
	t.counts(k, 1, time.Hour, math.MaxInt64)
	t.counts(k, math.MaxInt64, time.Hour, math.MaxInt64)
	t.counts(k, 0, time.Hour, math.MaxInt64)
	t.counts(k, -1, time.Hour, math.MaxInt64-1)
	t.counts(k, -math.MaxInt64, time.Hour, 0)
	t.counts(k, math.MaxInt64, time.Hour, math.MaxInt64)
	t.counts(k, math.MinInt64, time.Hour, 0)
	t.clock.advance(time.Hour) // none of it has changed the life
	t.counts(k, 1, time.Hour, 1)
}

func addLife(t *suite) {
	k := t.counter("a")
	t.counts(k, 1, time.Minute, 1)
	t.clock.advance(40 * time.Second)
	t.counts(k, 1, time.Hour, 2)        // extends nothing
	t.counts(k, 1, time.Millisecond, 3) // nor cuts it short
	t.clock.advance(20*time.Second - time.Millisecond)
	t.counts(k, 1, time.Minute, 4)
	t.clock.advance(time.Millisecond)
	t.counts(k, 0, time.Minute, 0)
	t.counts(k, -1, time.Minute, 0)
	t.counts(k, 1, time.Minute, 1) // a new counter, with a life of its own
	t.clock.advance(time.Minute - time.Millisecond)
	t.counts(k, 1, time.Minute, 2)
	t.clock.advance(1000 * time.Hour)
	t.counts(k, 5, time.Hour, 5)
	t.clock.advance(time.Minute)
	t.counts(k, 0, 0, 5)
}

func addLives(t *suite) {
	short, long := t.counter("short"), t.counter("long")
	t.counts(short, 1, storage.MinLife, 1)
	t.counts(long, 1, math.MaxInt64, 1)
	t.counts(short, 1, storage.MinLife, 2)
	t.clock.advance(storage.MinLife)
	t.counts(short, 1, storage.MinLife, 1)
	t.clock.advance(50 * 365 * 24 * time.Hour)
	t.counts(long, 1, time.Hour, 2)
}

func addZeroLife(t *suite) {
	k := t.counter("a")
	t.counts(k, 1, time.Minute, 1)
	t.counts(k, -1, time.Minute, 0)
	t.clock.advance(30 * time.Second)
	t.counts(k, 1, time.Minute, 1)
	t.counts(k, -7, time.Minute, 0)
	t.counts(k, 2, time.Minute, 2)
	t.clock.advance(30 * time.Second)
	t.counts(k, 0, time.Minute, 0)
}

func addDelete(t *suite) {
	k := t.counter("a")
	t.delete(k)
	t.counts(k, 5, time.Hour, 5)
	t.delete(k)
	t.counts(k, 0, time.Hour, 0)
	t.counts(k, 1, time.Minute, 1)
	t.clock.advance(time.Minute)
	t.counts(k, 0, time.Hour, 0) // its life is the new one
	t.delete(k)
}

func addApart(t *suite) {
	r := t.put(t.record("a", "1", "a"))
	t.counts(t.counter("a"), 1, time.Hour, 1)
	t.counts(t.counter("a/"), 2, time.Hour, 2)
	t.counts(t.counter("A"), 3, time.Hour, 3)
	t.counts(t.counter("a\x00"), 4, time.Hour, 4)
	t.counts(t.counter("a"), 1, time.Hour, 2)
	t.holds(r)
	t.lists("a", storage.Page{}, "a")
	t.delete(t.counter("a"))
	t.holds(r)
	t.counts(t.counter("a"), 1, time.Hour, 1)
	t.delete(r.Key)
	t.counts(t.counter("a"), 1, time.Hour, 2)
	t.counts(t.counter("a/"), 1, time.Hour, 3)
	t.lists("a", storage.Page{})
}

func addInvalid(t *suite) {
	k := t.counter("a")
	for range 2 { // of an absent counter, and of one that is there
		for name, call := range map[string]struct {
			key  storage.Key
			life time.Duration
		}{
			"another kind":     {t.key(storage.Grant, "a"), time.Hour},
			"an unknown kind":  {t.key("nonsense", "a"), time.Hour},
			"an empty id":      {counterKey(""), time.Hour},
			"a long id":        {counterKey(fill(storage.MaxIDBytes + storage.Slack + 1)), time.Hour},
			"no life":          {k, 0},
			"negative life":    {k, -time.Hour},
			"the longest past": {k, math.MinInt64},
			"a short life":     {k, storage.MinLife - 1},
		} {
			if _, err := t.s.Add(t.Context(), call.key, 1, call.life); !errors.Is(err, storage.ErrInvalid) {
				t.Errorf("Add with %s = %v, want ErrInvalid", name, err)
			}
		}
		t.add(k, 1, time.Hour)
	}
	t.counts(k, 0, time.Hour, 2)
	if _, err := t.s.Get(t.Context(), k); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("Get of a counter = %v, want ErrInvalid", err)
	}
	if _, err := t.s.Get(t.Context(), t.key(storage.Grant, "a"), k); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("Get of a record and a counter = %v, want ErrInvalid", err)
	}
}

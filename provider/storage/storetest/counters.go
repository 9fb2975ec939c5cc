package storetest

import (
	"errors"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

var counterChecks = []check{
	{"add counts", addCounts},
	{"add nothing to nothing", addNothing},
	{"a counter stops at zero", addFloor},
	{"a counter's life is fixed", addLife},
	{"a counter at zero keeps its life", addZeroLife},
	{"a counter is deleted", addDelete},
	{"counters are apart", addApart},
	{"add refuses what is no counter", addInvalid},
}

// counts checks what an Add returns.
func (t *suite) counts(key storage.Key, delta int64, life time.Duration, want int64) {
	t.Helper()
	if got := t.add(key, delta, life); got != want {
		t.Errorf("Add %d = %d, want %d", delta, got, want)
	}
}

func addCounts(t *suite) {
	k := counterKey("a")
	t.counts(k, 1, time.Hour, 1)
	t.counts(k, 1, time.Hour, 2)
	t.counts(k, 40, time.Hour, 42)
	t.counts(k, -2, time.Hour, 40)
	t.counts(k, 0, time.Hour, 40)
	t.counts(k, 1<<40, time.Hour, 1<<40+40)
}

func addNothing(t *suite) {
	k := counterKey("a")
	t.counts(k, 0, time.Hour, 0)
	t.counts(k, -5, time.Hour, 0)
	t.counts(k, 0, 0, 0) // to read, no life is needed
	// None of them has begun the counter's life.
	t.clock.advance(time.Minute)
	t.counts(k, 1, time.Hour, 1)
	t.clock.advance(time.Hour - time.Millisecond)
	t.counts(k, 0, time.Hour, 1)
}

func addFloor(t *suite) {
	k := counterKey("a")
	t.counts(k, 3, time.Hour, 3)
	t.counts(k, -10, time.Hour, 0)
	t.counts(k, 1, time.Hour, 1)
}

func addLife(t *suite) {
	k := counterKey("a")
	t.counts(k, 1, time.Minute, 1)
	t.clock.advance(40 * time.Second)
	t.counts(k, 1, time.Hour, 2) // extends nothing
	t.clock.advance(20*time.Second - time.Millisecond)
	t.counts(k, 1, time.Minute, 3)
	t.clock.advance(time.Millisecond)
	t.counts(k, 0, time.Minute, 0)
	t.counts(k, -1, time.Minute, 0)
	t.counts(k, 1, time.Minute, 1) // a new counter, with a life of its own
	t.clock.advance(time.Minute - time.Millisecond)
	t.counts(k, 1, time.Minute, 2)
}

func addZeroLife(t *suite) {
	k := counterKey("a")
	t.counts(k, 1, time.Minute, 1)
	t.counts(k, -1, time.Minute, 0)
	t.clock.advance(30 * time.Second)
	t.counts(k, 1, time.Minute, 1)
	t.clock.advance(30 * time.Second)
	t.counts(k, 0, time.Minute, 0)
}

func addDelete(t *suite) {
	k := counterKey("a")
	t.delete(k)
	t.counts(k, 5, time.Hour, 5)
	t.delete(k)
	t.counts(k, 0, time.Hour, 0)
	t.counts(k, 1, time.Minute, 1)
	t.clock.advance(time.Minute)
	t.counts(k, 0, time.Hour, 0) // its life is the new one
}

func addApart(t *suite) {
	r := t.put(record("a", "1", "a"))
	t.counts(counterKey("a"), 1, time.Hour, 1)
	t.counts(counterKey("a/"), 2, time.Hour, 2)
	t.counts(counterKey("A"), 3, time.Hour, 3)
	t.counts(counterKey("a\x00"), 4, time.Hour, 4)
	t.counts(counterKey("a"), 1, time.Hour, 2)
	t.holds(r)
	t.lists("a", storage.Page{}, "a")
	t.delete(counterKey("a"))
	t.holds(r)
	t.delete(r.Key)
	t.counts(counterKey("a/"), 1, time.Hour, 3)
}

func addInvalid(t *suite) {
	for name, call := range map[string]struct {
		key  storage.Key
		life time.Duration
	}{
		"another kind":  {storage.Key{Kind: storage.Grant, ID: "a"}, time.Hour},
		"an empty id":   {counterKey(""), time.Hour},
		"no life":       {counterKey("a"), 0},
		"negative life": {counterKey("a"), -time.Hour},
		"a short life":  {counterKey("a"), storage.MinLife - 1},
	} {
		if _, err := t.s.Add(t.Context(), call.key, 1, call.life); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("Add with %s = %v, want ErrInvalid", name, err)
		}
	}
	if _, err := t.s.Get(t.Context(), counterKey("a")); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("Get of a counter = %v, want ErrInvalid", err)
	}
}

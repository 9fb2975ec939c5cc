// Package sessiontest is the contract of session.Store as tests, for everybody who
// writes one.
//
//	func TestStore(t *testing.T) {
//		sessiontest.Run(t, func(t *testing.T, now func() time.Time) session.Store { … })
//	}
//
// Its invariant: a store that passes keeps package session's promises when several
// processes share it. No part can be left out.
package sessiontest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/middleware/session"
)

// Open returns an empty store whose clock is now, until the test ends.
type Open func(t *testing.T, now func() time.Time) session.Store

// Run runs every test of the contract.
func Run(t *testing.T, open Open) {
	for name, test := range map[string]func(*testing.T, *world){
		"PutAndGet": putAndGet, "Versions": versions, "Delete": deletes, "Groups": groups, "Expiry": expiry,
		"ValuesAreBytes": valuesAreBytes, "OneOfManyWins": oneOfManyWins, "NothingIsLost": nothingIsLost,
	} {
		t.Run(name, func(t *testing.T) {
			w := new(world)
			w.at.Store(time.Now().UnixMilli())
			w.store = open(t, w.now)
			test(t, w)
		})
	}
}

// A world is a store with a clock that can be moved.
type world struct {
	store session.Store
	at    atomic.Int64
}

func (w *world) now() time.Time { return time.UnixMilli(w.at.Load()) }

// record is one that expires in an hour.
func (w *world) record(id, prev, version string, groups ...string) session.Record {
	return session.Record{ID: id, Prev: prev, Version: version, Groups: groups, Expires: w.now().Add(time.Hour), Value: []byte("value of " + version)}
}

func (w *world) put(t *testing.T, r session.Record) {
	t.Helper()
	if err := w.store.Put(t.Context(), r); err != nil {
		t.Fatalf("Put %s over %q: %v", r.Version, r.Prev, err)
	}
}

func (w *world) conflicts(t *testing.T, r session.Record) {
	t.Helper()
	if err := w.store.Put(t.Context(), r); !errors.Is(err, session.ErrConflict) {
		t.Errorf("Put %s over %q: %v, want ErrConflict", r.Version, r.Prev, err)
	}
}

// holds fails the test unless the record has this version, "" for none.
func (w *world) holds(t *testing.T, id, version string) {
	t.Helper()
	r, err := w.store.Get(t.Context(), id)
	if err != nil || r.Version != version {
		t.Errorf("Get %s: version %q, %v, want %q", id, r.Version, err, version)
	}
}

func (w *world) lists(t *testing.T, group string, want ...string) {
	t.Helper()
	ids, err := w.store.List(t.Context(), group)
	ids = slices.DeleteFunc(ids, func(id string) bool { // it may name what is gone
		r, err := w.store.Get(t.Context(), id)
		return err == nil && r.ID == ""
	})
	slices.Sort(ids)
	if ids = slices.Compact(ids); err != nil || !slices.Equal(ids, want) {
		t.Errorf("List %s: %v, %v, want %v", group, ids, err, want)
	}
}

func putAndGet(t *testing.T, w *world) {
	w.holds(t, "a", "")
	want := w.record("a", "", "1", "g1", "g2")
	w.put(t, want)
	got, err := w.store.Get(t.Context(), "a")
	if err != nil || got.ID != "a" || got.Version != "1" || got.Prev != "" || !bytes.Equal(got.Value, want.Value) || got.Expires.Sub(want.Expires).Abs() > time.Second {
		t.Errorf("got %+v, %v", got, err)
	}
	w.holds(t, "A", "")
}

func versions(t *testing.T, w *world) {
	w.conflicts(t, w.record("a", "0", "1"))
	w.holds(t, "a", "")
	w.put(t, w.record("a", "", "1"))
	w.conflicts(t, w.record("a", "", "2"))
	w.conflicts(t, w.record("a", "0", "2"))
	w.put(t, w.record("a", "1", "2"))
	w.conflicts(t, w.record("a", "1", "3"))
	w.holds(t, "a", "2")
}

func deletes(t *testing.T, w *world) {
	w.put(t, w.record("a", "", "1", "g"))
	for range 2 { // none is no error
		if err := w.store.Delete(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	w.holds(t, "a", "")
	w.lists(t, "g")
	w.conflicts(t, w.record("a", "1", "2", "g")) // nobody brings back what was deleted
	w.put(t, w.record("a", "", "3", "g"))
	w.lists(t, "g", "a")
}

func groups(t *testing.T, w *world) {
	w.put(t, w.record("a", "", "1", "person", "one"))
	w.put(t, w.record("b", "", "1", "person", "two"))
	w.put(t, w.record("c", "", "1"))
	w.put(t, w.record("a", "1", "2", "person", "one"))
	w.lists(t, "person", "a", "b")
	w.lists(t, "one", "a")
	w.lists(t, "two", "b")
	w.lists(t, "nobody")
	w.lists(t, "")
}

func expiry(t *testing.T, w *world) {
	w.put(t, w.record("a", "", "1", "g"))
	long := w.record("b", "", "1", "g")
	long.Expires = w.now().Add(2 * time.Hour)
	w.put(t, long)
	w.at.Add((time.Hour - time.Second).Milliseconds())
	w.lists(t, "g", "a", "b")
	w.at.Add(2 * time.Second.Milliseconds())
	w.holds(t, "a", "")
	w.lists(t, "g", "b")
	w.conflicts(t, w.record("a", "1", "2", "g"))
	w.put(t, w.record("a", "", "2", "g"))
	w.put(t, w.record("b", "1", "2", "g")) // a Put may also shorten a life
	w.lists(t, "g", "a", "b")
	w.at.Add((time.Hour + time.Second).Milliseconds())
	w.lists(t, "g")
}

func valuesAreBytes(t *testing.T, w *world) {
	value := make([]byte, 64<<10)
	for i := range value {
		value[i] = byte(i)
	}
	r := w.record("a", "", "1", "g")
	r.Value = value
	w.put(t, r)
	value[0] = 'x' // the caller's slice is the caller's
	got, err := w.store.Get(t.Context(), "a")
	if err != nil || len(got.Value) != len(value) || got.Value[0] != 0 || !bytes.Equal(got.Value[1:], value[1:]) {
		t.Fatalf("%d bytes came back, %v", len(got.Value), err)
	}
	got.Value[0] = 'y'
	if again, err := w.store.Get(t.Context(), "a"); err != nil || again.Value[0] != 0 {
		t.Errorf("a caller changed what is stored, %v", err)
	}
	w.put(t, session.Record{ID: "empty", Version: "1", Expires: r.Expires})
	w.holds(t, "empty", "1")
}

func oneOfManyWins(t *testing.T, w *world) {
	prev := ""
	for round := range 20 {
		var won, failed atomic.Int32
		var winner atomic.Value
		var wg sync.WaitGroup
		for n := range 20 {
			wg.Go(func() {
				version := fmt.Sprintf("%d-%d", round, n)
				switch err := w.store.Put(t.Context(), w.record("a", prev, version, "g")); {
				case err == nil:
					won.Add(1)
					winner.Store(version)
				case !errors.Is(err, session.ErrConflict):
					failed.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || failed.Load() != 0 {
			t.Fatalf("round %d: %d won, %d failed", round, won.Load(), failed.Load())
		}
		prev = winner.Load().(string)
		w.holds(t, "a", prev)
	}
}

func nothingIsLost(t *testing.T, w *world) {
	const n = 50
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if err := w.store.Put(t.Context(), w.record(fmt.Sprintf("%02d", i), "", "1", "g")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	want := make([]string, n)
	for i := range want {
		want[i] = fmt.Sprintf("%02d", i)
	}
	w.lists(t, "g", want...)
}

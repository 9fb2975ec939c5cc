// Package storetest is the contract of [storage.Store] as a test suite, with
// stores that are slow, faulty or no better than the contract demands.
//
// Its invariant: whatever passes [Run] can carry a Lettergate, and whatever a
// Lettergate needs is checked by Run. An engine runs all of it, concurrency
// included; there is no way to leave a part out.
//
// Code above the store is tested with the decorators. [Weakest] is the least that
// the contract allows: a flow that is right on it is right on every engine.
// [Faulty] fails chosen calls, [Slow] delays them, and [Count] counts them and the
// waits of a request.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// Run checks that the stores which open returns keep the contract, each property
// in a subtest of its own: once as they are, and once beneath [storage.Scope], as
// every Provider uses them.
//
// open returns a store that holds nothing, has now as its clock, and is released
// by t.Cleanup. It may be called several times.
func Run(t *testing.T, open func(t *testing.T, now func() time.Time) storage.Store) {
	for _, c := range slices.Concat(recordChecks, groupChecks, counterChecks, hostileChecks, raceChecks, helperChecks) {
		t.Run(c.name, func(t *testing.T) {
			clock := newClock()
			c.run(&suite{T: t, s: open(t, clock.Now), clock: clock, slack: storage.Slack})
		})
	}
	for _, c := range slices.Concat(recordChecks, groupChecks, counterChecks, hostileChecks) {
		t.Run("scoped/"+c.name, func(t *testing.T) {
			clock := newClock()
			c.run(&suite{T: t, s: storage.Scope(open(t, clock.Now), "https://issuer.example"), clock: clock})
		})
	}
}

// A check is one property of the contract.
type check struct {
	name string
	run  func(t *suite)
}

// A suite is what a check works with.
type suite struct {
	*testing.T
	s     storage.Store
	clock *clock
	slack int // what the store accepts beyond the limits
}

// A clock stands still until it is told otherwise. It begins far from now, so that
// an engine which asks another clock is found out.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock {
	return &clock{now: time.Date(2031, 5, 6, 7, 8, 9, 0, time.UTC)}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// record returns a new record, ready to be Put.
func record(id, value string, groups ...string) storage.Record {
	return storage.Record{
		Key:     storage.Key{Kind: storage.Grant, ID: id},
		Groups:  groups,
		Value:   []byte(value),
		Version: storage.NewVersion(),
	}
}

// next returns r as its successor, with another value.
func next(r storage.Record, value string) storage.Record {
	r.Value = []byte(value)
	r.Prev, r.Version = r.Version, storage.NewVersion()
	return r
}

func counterKey(id string) storage.Key { return storage.Key{Kind: storage.Counter, ID: id} }

// put puts r, which must succeed, and returns it.
func (t *suite) put(r storage.Record) storage.Record {
	t.Helper()
	if err := t.s.Put(t.Context(), r); err != nil {
		t.Fatalf("Put %.40q: %v", r.Key, err)
	}
	return r
}

// refused checks that a Put of r fails with want.
func (t *suite) refused(r storage.Record, want error) {
	t.Helper()
	if err := t.s.Put(t.Context(), r); !errors.Is(err, want) {
		t.Errorf("Put = %v, want %v", err, want)
	}
}

func (t *suite) delete(key storage.Key) {
	t.Helper()
	if err := t.s.Delete(t.Context(), key); err != nil {
		t.Fatalf("Delete %.40q: %v", key, err)
	}
}

func (t *suite) add(key storage.Key, delta int64, life time.Duration) int64 {
	t.Helper()
	n, err := t.s.Add(t.Context(), key, delta, life)
	if err != nil {
		t.Fatalf("Add: %v", err)
	}
	return n
}

func (t *suite) get(keys ...storage.Key) []storage.Record {
	t.Helper()
	got, err := t.s.Get(t.Context(), keys...)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	if len(got) != len(keys) {
		t.Fatalf("Get of %d keys returned %d records", len(keys), len(got))
	}
	return got
}

// holds checks that what is stored under r.Key is r.
func (t *suite) holds(r storage.Record) {
	t.Helper()
	t.same(t.get(r.Key)[0], r)
}

// absent checks that nothing is stored under key.
func (t *suite) absent(key storage.Key) {
	t.Helper()
	if got := t.get(key)[0]; !got.IsZero() || got.Value != nil || got.Key != (storage.Key{}) {
		t.Errorf("Get %.40q returned a record, want the zero Record", key)
	}
}

// same checks that got is the record that was Put as want.
func (t *suite) same(got, want storage.Record) {
	t.Helper()
	switch {
	case got.IsZero():
		t.Errorf("%.40q is absent", want.Key)
	case got.Key != want.Key:
		t.Errorf("Key = %.40q, want %.40q", got.Key, want.Key)
	case got.Version != want.Version:
		t.Errorf("%.40q: Version = %x, want %x", want.Key, got.Version, want.Version)
	case !bytes.Equal(got.Value, want.Value):
		t.Errorf("%.40q: Value = %.40q (%d bytes), want %.40q (%d bytes)", want.Key, got.Value, len(got.Value), want.Value, len(want.Value))
	case got.Sort != want.Sort:
		t.Errorf("%.40q: Sort = %d, want %d", want.Key, got.Sort, want.Sort)
	case !slices.Equal(got.Groups, want.Groups):
		t.Errorf("%.40q: Groups = %.80q, want %.80q", want.Key, got.Groups, want.Groups)
	case !got.Expires.Equal(want.Expires):
		t.Errorf("%.40q: Expires = %v, want %v", want.Key, got.Expires, want.Expires)
	case !got.Prev.IsZero():
		t.Errorf("%.40q: Prev = %x in a record that was read", want.Key, got.Prev)
	}
}

// walk lists a whole group, page after page.
func walk(ctx context.Context, s storage.Store, group string, page storage.Page) ([]storage.Record, error) {
	var all []storage.Record
	for range 10_000 {
		got, next, err := s.List(ctx, group, page)
		if err != nil {
			return nil, err
		}
		limit := page.Limit
		if limit == 0 {
			limit = 100
		}
		if len(got) > limit {
			return nil, fmt.Errorf("a page of %d records, the limit is %d", len(got), limit)
		}
		all = append(all, got...)
		if next == "" {
			return all, nil
		}
		page.After = next
	}
	return nil, errors.New("the list does not end")
}

// lists checks that a walk over the group finds the ids, in their order.
func (t *suite) lists(group string, page storage.Page, ids ...string) []storage.Record {
	t.Helper()
	got, err := walk(t.Context(), t.s, group, page)
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	var found []string
	for _, r := range got {
		found = append(found, r.Key.ID)
	}
	if !slices.Equal(found, ids) {
		t.Errorf("List %.40q %+v found %.60q, want %.60q", group, page, found, ids)
	}
	return got
}

// fill returns n bytes of an id.
func fill(n int) string { return strings.Repeat("x", n) }

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

// A suite is what a check works with.
type suite struct {
	testing.TB
	s     storage.Store
	clock *clock
	slack int    // what the store accepts beyond the limits
	names string // begins the ids and group names of a check that shares its store

	// scoped is set beneath a Scope, whose caller does not see the places in the
	// list as the engine does.
	scoped bool
}

// part is a part of the check, with names of its own.
func (t *suite) part(name string) *suite {
	part := *t
	part.names += name + "/"
	return &part
}

// on is the check on another store.
func (t *suite) on(s storage.Store) *suite {
	other := *t
	other.s = s
	return &other
}

// A clock stands still until it is told otherwise. It begins far from now, so that
// an engine which asks another clock is found out, and between two milliseconds.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock {
	return &clock{now: time.Date(2031, 5, 6, 7, 8, 9, 123_456_789, time.UTC)}
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

// in returns the moment that is d from now, to the millisecond.
func (t *suite) in(d time.Duration) time.Time {
	return t.clock.Now().Truncate(time.Millisecond).Add(d)
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

// read returns r as it is when it was read.
func read(r storage.Record) storage.Record {
	r.Prev = storage.Version{}
	return r
}

// record returns a new record under names of the check.
func (t *suite) record(id, value string, groups ...string) storage.Record {
	named := make([]string, len(groups))
	for i, g := range groups {
		named[i] = t.names + g
	}
	return record(t.names+id, value, named...)
}

func (t *suite) key(kind storage.Kind, id string) storage.Key {
	return storage.Key{Kind: kind, ID: t.names + id}
}

func (t *suite) counter(id string) storage.Key { return t.key(storage.Counter, id) }

func counterKey(id string) storage.Key { return storage.Key{Kind: storage.Counter, ID: id} }

// put puts r, which must succeed, and returns it.
func (t *suite) put(r storage.Record) storage.Record {
	t.Helper()
	if err := t.s.Put(t.Context(), r); err != nil {
		t.Fatalf("Put %.60q: %v", r.Key, err)
	}
	return r
}

// putAll puts records that have nothing to do with each other, several at a time.
func (t *suite) putAll(records []storage.Record) {
	t.Helper()
	const callers = 8
	errs := make([]error, callers)
	together(callers, func(n int) {
		for i := n; i < len(records); i += callers {
			errs[n] = errors.Join(errs[n], t.s.Put(t.Context(), records[i]))
		}
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("Put: %v", err)
	}
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
		t.Fatalf("Delete %.60q: %v", key, err)
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

// counts checks what an Add returns.
func (t *suite) counts(key storage.Key, delta int64, life time.Duration, want int64) {
	t.Helper()
	if got := t.add(key, delta, life); got != want {
		t.Errorf("Add %d = %d, want %d", delta, got, want)
	}
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
	if err := differ(t.get(r.Key)[0], r); err != nil {
		t.Errorf("Get: %v", err)
	}
}

// absent checks that nothing is stored under key.
func (t *suite) absent(key storage.Key) {
	t.Helper()
	if err := differ(t.get(key)[0], storage.Record{}); err != nil {
		t.Errorf("Get %.60q: %v", key, err)
	}
}

// same checks that got is the record that was Put as want.
func (t *suite) same(got, want storage.Record) {
	t.Helper()
	if err := differ(got, want); err != nil {
		t.Error(err)
	}
}

// differ says in what got, which was read, is another record than the one that was
// Put as want. The zero want is the absent record.
func differ(got, want storage.Record) error {
	switch {
	case want.IsZero() && (!got.IsZero() || got.Value != nil || got.Groups != nil || got.Sort != 0 || !got.Expires.IsZero() || got.Key != storage.Key{}):
		return fmt.Errorf("got the record %.60q of version %x, want the zero Record", got.Key, got.Version[:4])
	case want.IsZero():
		return nil
	case got.IsZero():
		return fmt.Errorf("%.60q is absent", want.Key)
	case got.Key != want.Key:
		return fmt.Errorf("key = %.60q, want %.60q", got.Key, want.Key)
	case got.Version != want.Version:
		return fmt.Errorf("%.60q: Version = %x, want %x", want.Key, got.Version, want.Version)
	case !bytes.Equal(got.Value, want.Value):
		return fmt.Errorf("%.60q: Value = %.40q (%d bytes), want %.40q (%d bytes)", want.Key, got.Value, len(got.Value), want.Value, len(want.Value))
	case got.Sort != want.Sort:
		return fmt.Errorf("%.60q: Sort = %d, want %d", want.Key, got.Sort, want.Sort)
	case !slices.Equal(got.Groups, want.Groups):
		return fmt.Errorf("%.60q: Groups = %.80q, want %.80q", want.Key, got.Groups, want.Groups)
	case !got.Expires.Equal(want.Expires):
		return fmt.Errorf("%.60q: Expires = %v, want %v", want.Key, got.Expires, want.Expires)
	case !got.Prev.IsZero():
		return fmt.Errorf("%.60q: Prev = %x in a record that was read", want.Key, got.Prev)
	}
	return nil
}

// page lists one page and holds it to what is true of every page, whatever others
// do meanwhile.
func (t *suite) page(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
	got, next, err := t.s.List(ctx, group, page)
	if err != nil {
		return nil, "", err
	}
	after, until, limit, err := page.Check()
	if err != nil {
		return nil, "", fmt.Errorf("the place %q was accepted: %w", page.After, err)
	}
	if len(got) > limit {
		return nil, "", fmt.Errorf("a page of %d records, the limit is %d", len(got), limit)
	}
	last := after
	if t.scoped { // the place has another id
		last.Kind, last.ID = "", ""
	}
	for i, r := range got {
		at := storage.CursorOf(r)
		if at.Compare(last) <= 0 && (i > 0 || !t.scoped || at.Sort < after.Sort) {
			return nil, "", fmt.Errorf("a page with the place %.80q behind %.80q", fmt.Sprint(at), fmt.Sprint(last))
		}
		if r.Sort > until {
			return nil, "", fmt.Errorf("a page until %d with a Sort of %d", until, r.Sort)
		}
		last = at
	}
	if next == "" {
		return got, "", nil
	}
	end, err := storage.ParseCursor(next)
	if err != nil {
		return nil, "", fmt.Errorf("the next page begins at %q, which is no cursor: %w", next, err)
	}
	if !t.scoped && end.Compare(last) < 0 {
		return nil, "", fmt.Errorf("the next page begins at %.80q, before %.80q", fmt.Sprint(end), fmt.Sprint(last))
	}
	return got, next, nil
}

// walk lists a whole group, page after page.
func (t *suite) walk(group string, page storage.Page) ([]storage.Record, error) {
	var all []storage.Record
	for range 10_000 {
		got, next, err := t.page(t.Context(), group, page)
		if err != nil {
			return nil, err
		}
		all = append(all, got...)
		if next == "" {
			return all, nil
		}
		page.After = next
	}
	return nil, errors.New("the list does not end")
}

// lists checks that a walk over the group of the check finds the ids, in their
// order.
func (t *suite) lists(group string, page storage.Page, ids ...string) []storage.Record {
	t.Helper()
	got, err := t.walk(t.names+group, page)
	if err != nil {
		t.Fatalf("List %.60q %+v: %v", group, page, err)
	}
	var found []string
	for _, r := range got {
		found = append(found, strings.TrimPrefix(r.Key.ID, t.names))
	}
	if !slices.Equal(found, ids) {
		t.Errorf("List %.60q %+v found %.60q, want %.60q", group, page, found, ids)
	}
	return got
}

// listed checks that a group holds r once, as it is, or not at all.
func (t *suite) listed(group string, r storage.Record, times int) {
	t.Helper()
	all, err := t.walk(group, storage.Page{})
	if err != nil {
		t.Fatalf("List %.60q: %v", group, err)
	}
	n := 0
	for _, got := range all {
		if got.Key == r.Key {
			t.same(got, r)
			n++
		}
	}
	if n != times {
		t.Errorf("List %.60q has %.60q %d times, want %d", group, r.Key, n, times)
	}
}

// inPlaceOrder returns the records in the order of a list.
func inPlaceOrder(records []storage.Record) []storage.Record {
	return slices.SortedFunc(slices.Values(records), func(a, b storage.Record) int {
		return storage.CursorOf(a).Compare(storage.CursorOf(b))
	})
}

// fill returns n bytes of an id.
func fill(n int) string { return strings.Repeat("x", n) }

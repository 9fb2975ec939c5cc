package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

var hostileChecks = []check{
	{"hostile ids", hostileIDs},
	{"kinds do not collide", kindsApart},
	{"big values", bigValues},
	{"limits", limits},
	{"the caller's slices", callersSlices},
	{"a context that is done", contextDone},
	{"a put that is interrupted", putInterrupted},
}

func hostileIDs(t *suite) {
	ids := []string{
		"a", "a/b", "a/", "/a", "a//b", "A", "á", "a\u0301", " a", "a ", "a\x00", "a\x00b", "\x00", "\x00a",
		"{a}", "a{b}", "{}", "{", "*", "a*", "?", "[a]", "a:b", ":", "%", "a%00", "_", "'", `"`, `\`, "--", ";",
		"\r\n", "\xff", "\xff\xfe", "a\xc3", "\u202e", "🔑", "NULL", "0", "grant/a", "../a",
		fill(storage.MaxIDBytes), fill(storage.MaxIDBytes-1) + "y", strings.Repeat("\x00", storage.MaxIDBytes),
	}
	var all []storage.Record
	for _, id := range ids {
		all = append(all, t.put(record(id, "value of "+id, "g")))
		t.counts(counterKey(id), int64(len(all)), time.Hour, int64(len(all)))
	}
	for i, r := range all {
		t.holds(r)
		t.counts(counterKey(r.Key.ID), 0, time.Hour, int64(i+1))
	}
	slices.Sort(ids)
	t.lists("g", storage.Page{Limit: 3}, ids...)
	for i, r := range all {
		t.delete(r.Key)
		t.absent(r.Key)
		for _, other := range all[i+1:] {
			if other.Key == r.Key {
				t.Fatalf("id %q is twice in the test", r.Key.ID)
			}
		}
	}
	t.lists("g", storage.Page{})
}

func kindsApart(t *suite) {
	kinds := []storage.Kind{
		storage.User, storage.Email, storage.Username, storage.Consent, storage.Client, storage.Keys,
		storage.Grant, storage.Session, storage.Verification, storage.Outbox, storage.Revoked,
		storage.Device, storage.Replay, storage.Lease, storage.Epoch,
	}
	ids := []string{"x", "name/x", "grant/x"}
	var all []storage.Record
	for _, kind := range kinds {
		for _, id := range ids {
			r := record(id, string(kind)+" of "+id, "kinds/"+id)
			r.Key.Kind = kind
			all = append(all, t.put(r))
		}
	}
	t.counts(counterKey("x"), 3, time.Hour, 3)
	for _, r := range all {
		t.holds(r)
	}
	t.lists("kinds/x", storage.Page{}, slices.Repeat([]string{"x"}, len(kinds))...)
	t.delete(all[0].Key)
	for _, r := range all[1:] {
		t.holds(r)
	}
}

func bigValues(t *suite) {
	value := make([]byte, storage.MaxValueBytes)
	rand.Read(value)
	r := record("a", string(value), "g")
	t.holds(t.put(r))
	rand.Read(value)
	r = t.put(next(r, string(value)))
	r.Prev = storage.Version{}
	other := t.put(record("b", string(slices.Repeat([]byte{0}, storage.MaxValueBytes)), "g"))
	for i, got := range t.lists("g", storage.Page{}, "a", "b") {
		t.same(got, []storage.Record{r, other}[i])
	}
}

func limits(t *suite) {
	most := record(fill(storage.MaxIDBytes+t.slack), fill(storage.MaxValueBytes+t.slack),
		"a"+fill(storage.MaxIDBytes+t.slack-1), "b"+fill(storage.MaxIDBytes+t.slack-1),
		"c"+fill(storage.MaxIDBytes+t.slack-1), "d"+fill(storage.MaxIDBytes+t.slack-1))
	most.Sort = storage.MaxSort
	t.holds(t.put(most))
	t.lists(most.Groups[3], storage.Page{}, most.Key.ID)
	t.counts(counterKey(most.Key.ID), 1, time.Hour, 1)

	for name, change := range map[string]func(r *storage.Record){
		"long id":         func(r *storage.Record) { r.Key.ID += "x" },
		"empty id":        func(r *storage.Record) { r.Key.ID = "" },
		"unknown kind":    func(r *storage.Record) { r.Key.Kind = "nonsense" },
		"no kind":         func(r *storage.Record) { r.Key.Kind = "" },
		"counter":         func(r *storage.Record) { r.Key.Kind = storage.Counter },
		"long value":      func(r *storage.Record) { r.Value = append(r.Value, 'x') },
		"no version":      func(r *storage.Record) { r.Version = storage.Version{} },
		"version is prev": func(r *storage.Record) { r.Prev = r.Version },
		"many groups":     func(r *storage.Record) { r.Groups = append(r.Groups, "e") },
		"long group":      func(r *storage.Record) { r.Groups[0] += "x" },
		"empty group":     func(r *storage.Record) { r.Groups[0] = "" },
		"group twice":     func(r *storage.Record) { r.Groups[0] = r.Groups[1] },
		"high sort":       func(r *storage.Record) { r.Sort++ },
		"low sort":        func(r *storage.Record) { r.Sort = -r.Sort - 1 },
	} {
		r := most
		r.Key.ID = "b" + r.Key.ID[1:]
		r.Version = storage.NewVersion()
		r.Groups, r.Value = slices.Clone(r.Groups), slices.Clone(r.Value)
		change(&r)
		if err := t.s.Put(t.Context(), r); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("Put with %s = %v, want ErrInvalid", name, err)
		}
	}
	for _, key := range []storage.Key{{Kind: storage.Grant}, {ID: "a"}, {Kind: storage.Grant, ID: most.Key.ID + "x"}} {
		_, getErr := t.s.Get(t.Context(), key)
		for call, err := range map[string]error{"Get": getErr, "Delete": t.s.Delete(t.Context(), key)} {
			if !errors.Is(err, storage.ErrInvalid) {
				t.Errorf("%s of a bad key = %v, want ErrInvalid", call, err)
			}
		}
	}
	for _, group := range []string{"", most.Groups[0] + "x"} {
		if _, _, err := t.s.List(t.Context(), group, storage.Page{}); !errors.Is(err, storage.ErrInvalid) {
			t.Errorf("List of a bad group = %v, want ErrInvalid", err)
		}
	}
}

func callersSlices(t *suite) {
	r := record("a", "value", "g", "h")
	mine := r
	mine.Value, mine.Groups = bytes.Clone(r.Value), slices.Clone(r.Groups)
	t.put(mine)
	mine.Value[0], mine.Groups[0] = 'X', "X"
	t.holds(r)

	read := t.get(r.Key)[0]
	read.Value[0], read.Groups[0] = 'Y', "Y"
	t.holds(r)
	for _, listed := range t.lists("g", storage.Page{}, "a") {
		listed.Value[0], listed.Groups[0] = 'Z', "Z"
	}
	t.holds(r)
	t.lists("g", storage.Page{}, "a")

	// And the store does not write into what it is given.
	keys := []storage.Key{r.Key, {Kind: storage.Grant, ID: "b"}}
	given := next(r, "2")
	kept := given
	kept.Value, kept.Groups = bytes.Clone(given.Value), slices.Clone(given.Groups)
	t.put(given)
	t.get(keys...)
	kept.Prev, given.Prev = storage.Version{}, storage.Version{}
	t.same(given, kept)
	if keys[0] != r.Key || keys[1].ID != "b" {
		t.Errorf("Get changed the keys it was given")
	}
}

// calls is every method of s that takes a context, by its name.
func calls(s storage.Store, r storage.Record) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"Get":    func(ctx context.Context) error { _, err := s.Get(ctx, r.Key); return err },
		"Put":    func(ctx context.Context) error { return s.Put(ctx, next(r, "late")) },
		"Delete": func(ctx context.Context) error { return s.Delete(ctx, r.Key) },
		"List":   func(ctx context.Context) error { _, _, err := s.List(ctx, "g", storage.Page{}); return err },
		"Add":    func(ctx context.Context) error { _, err := s.Add(ctx, counterKey("c"), 1, time.Hour); return err },
		"Ping":   func(ctx context.Context) error { return s.Ping(ctx) },
	}
}

func contextDone(t *suite) {
	r := t.put(record("a", "1", "g"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range calls(t.s, r) {
		for range 20 { // it may be a matter of luck
			done := make(chan error, 1)
			go func() { done <- call(ctx) }()
			select {
			case err := <-done:
				if err == nil || errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrInvalid) {
					t.Fatalf("%s with a done context = %v", name, err)
				}
			case <-time.After(5 * time.Second):
				t.Fatalf("%s with a done context does not return", name)
			}
		}
	}
}

// putInterrupted ends the context at some moment of a Put. Whatever becomes of the
// Put, all of it does.
func putInterrupted(t *suite) {
	for round := range 40 {
		r := record("a", fill(1000), "g1", "g2", "g3")
		r.Key.ID += string(rune('0' + round))
		r.Sort = int64(round)
		if round%2 == 1 {
			t.put(r)
		}
		changed := next(r, strings.Repeat("y", 1000))
		if round%2 == 0 {
			changed.Prev = storage.Version{}
		}
		changed.Sort = -int64(round) - 1

		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(round)*10*time.Microsecond)
		err := t.s.Put(ctx, changed)
		cancel()
		changed.Prev = storage.Version{}
		switch got := t.get(r.Key)[0]; {
		case got.Version == changed.Version:
			t.same(got, changed)
		case err == nil:
			t.Errorf("an acknowledged Put is not there")
		case round%2 == 1:
			t.same(got, r)
			continue // it may still be on its way, and move what is listed
		default:
			continue
		}
		for _, group := range r.Groups {
			listed, err := walk(t.Context(), t.s, group, storage.Page{})
			if err != nil {
				t.Fatalf("List: %v", err)
			}
			n := 0
			for _, l := range listed {
				if l.Key == r.Key {
					t.same(l, changed)
					n++
				}
			}
			if n != 1 {
				t.Errorf("round %d: %s lists the record %d times", round, group, n)
			}
		}
	}
}

package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// What package storage builds on an engine, tried on the engine.
var helperChecks = []check{
	{"settle knows a put whose reply was lost", settleLost},
	{"settle says when it does not know", settleUnknown},
	{"update makes, changes and keeps", updateChanges},
	{"update tries again after a conflict", updateConflict},
	{"update gives up", updateGivesUp},
	{"update counts once though replies are lost", updateLost},
	{"scopes are apart", scopesApart},
	{"scope finds what was moved or damaged", scopeCorrupt},
	{"weakest is within the contract", weakestWalks},
}

var errOut = fmt.Errorf("%w: out for the test", storage.ErrUnavailable)

func settleLost(t *suite) {
	s := Faulty(t.s, func(op Op) error {
		if op.Name == "Put" {
			return After(errOut)
		}
		return nil
	})
	r := t.record("a", "1")
	for range 2 { // also when it is resent
		if err := storage.Settle(t.Context(), s, r); err != nil {
			t.Errorf("Settle = %v, want nil: the record is stored", err)
		}
	}
	t.holds(r)
	if err := storage.Settle(t.Context(), t.s, t.record("a", "2")); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("Settle = %v, want ErrConflict", err)
	}
	bad := t.record("a", "2")
	bad.Version = storage.Version{}
	if err := storage.Settle(t.Context(), t.s, bad); !errors.Is(err, storage.ErrInvalid) {
		t.Errorf("Settle = %v, want ErrInvalid", err)
	}
}

func settleUnknown(t *suite) {
	for name, fail := range map[string]func(op Op) error{
		"the put is not made": func(op Op) error {
			if op.Name == "Put" {
				return errOut
			}
			return nil
		},
		"the reading fails too": func(op Op) error {
			if op.Name == "Put" {
				return After(errOut)
			}
			return errors.New("another error")
		},
		// Somebody was faster, and that answer was lost. Somebody later could
		// also have replaced what was written, so it is no conflict.
		"another version is there": func(op Op) error {
			if op.Name == "Put" {
				t.put(t.record("another version is there", "2"))
				return After(errOut)
			}
			return nil
		},
	} {
		if err := storage.Settle(t.Context(), Faulty(t.s, fail), t.record(name, "1")); !errors.Is(err, errOut) {
			t.Errorf("%s: Settle = %v, want the error of Put", name, err)
		}
	}
}

// beneath is the check on a Scope.
func (t *suite) beneath(scope storage.Store) *suite {
	scoped := t.on(scope)
	scoped.scoped = true
	return scoped
}

// countUp is a change that counts.
func countUp(cur storage.Record) (storage.Record, error) {
	n, _ := strconv.Atoi(string(cur.Value)) // 0 when absent
	cur.Value = []byte(strconv.Itoa(n + 1))
	return cur, nil
}

func updateChanges(t *suite) {
	key := t.key(storage.User, "a")
	made, err := storage.Update(t.Context(), t.s, key, func(cur storage.Record) (storage.Record, error) {
		if !cur.IsZero() {
			t.Errorf("change got a record where there is none")
		}
		return storage.Record{Value: []byte("1"), Groups: t.record("", "", "g").Groups, Sort: 3, Version: storage.Version{1}, Prev: storage.Version{2}}, nil
	})
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
	t.holds(made)
	if made.Version == (storage.Version{1}) {
		t.Errorf("Update kept the version that change returned")
	}
	changed, err := storage.Update(t.Context(), t.s, key, func(cur storage.Record) (storage.Record, error) {
		t.same(cur, made)
		return storage.Record{Value: []byte("2"), Groups: []string{"ignored"}}, nil
	})
	if err != nil {
		t.Fatalf("Update: %v", err)
	}
	t.holds(changed)
	t.lists("g", storage.Page{}, "a")

	kept, err := storage.Update(t.Context(), t.s, key, func(storage.Record) (storage.Record, error) {
		return storage.Record{}, fmt.Errorf("nothing to do: %w", storage.ErrKeep)
	})
	if err != nil {
		t.Errorf("Update with ErrKeep: %v", err)
	}
	t.same(kept, changed)
	errMine := errors.New("mine")
	if _, err := storage.Update(t.Context(), t.s, key, func(storage.Record) (storage.Record, error) {
		return storage.Record{}, errMine
	}); err != errMine { //nolint:errorlint // as it is, not wrapped
		t.Errorf("Update = %v, want the error of change as it is", err)
	}
	t.holds(changed)
}

func updateConflict(t *suite) {
	key := t.key(storage.User, "a")
	meddled := 0
	got, err := storage.Update(t.Context(), t.s, key, func(cur storage.Record) (storage.Record, error) {
		if meddled < 5 { // somebody else is faster
			meddled++
			if _, err := storage.Update(t.Context(), t.s, key, countUp); err != nil {
				t.Errorf("Update: %v", err)
			}
		}
		return countUp(cur)
	})
	if err != nil || string(got.Value) != "6" {
		t.Errorf("Update = %q, %v; want 6", got.Value, err)
	}
	t.holds(got)
}

func updateGivesUp(t *suite) {
	tries := 0
	_, err := storage.Update(t.Context(), t.s, t.key(storage.User, "a"), func(cur storage.Record) (storage.Record, error) {
		tries++
		r := t.record("a", "")
		r.Key.Kind, r.Prev = storage.User, cur.Version
		t.put(r)
		return countUp(cur)
	})
	if !errors.Is(err, storage.ErrConflict) || tries < 5 || tries > 20 {
		t.Errorf("Update = %v after %d tries, want ErrConflict after about ten", err, tries)
	}
}

func updateLost(t *suite) {
	s := WeakConfig{Seed: 7, LostReplies: 0.5, SlowGets: 0.5}.Store(t.s)
	key := t.key(storage.User, "a")
	for i := range 50 {
		got, err := storage.Update(t.Context(), s, key, countUp)
		if err != nil || string(got.Value) != strconv.Itoa(i+1) {
			t.Fatalf("Update = %q, %v; want %d", got.Value, err, i+1)
		}
	}
}

func scopesApart(t *suite) {
	one, two := storage.Scope(t.s, "https://one.example"), storage.Scope(t.s, "https://two.example")
	a, b := t.record("a", "of one", "g"), t.record("a", "of two", "g")
	for s, r := range map[storage.Store]storage.Record{one: a, two: b} {
		if err := s.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Add(t.Context(), t.counter("a"), 1, time.Hour); n != 1 || err != nil {
			t.Errorf("Add = %d, %v; want 1", n, err)
		}
	}
	for s, r := range map[storage.Store]storage.Record{one: a, two: b} {
		scoped := t.beneath(s)
		scoped.holds(r)
		for _, got := range scoped.lists("g", storage.Page{}, "a") {
			scoped.same(got, r)
		}
	}
	t.absent(a.Key)
	t.lists("g", storage.Page{})
	if err := two.Delete(t.Context(), b.Key); err != nil {
		t.Fatal(err)
	}
	t.beneath(one).holds(a)
}

func scopeCorrupt(t *suite) {
	const issuer = "https://one.example"
	scoped := storage.Scope(t.s, issuer)
	const secret = "the value that no error may show"
	r, other := t.record("secret-id", secret, "g"), t.record("other", "2", "h")
	for _, r := range []storage.Record{r, other} {
		if err := scoped.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	// The names beneath are found by writing through a scope and looking.
	seen := &spy{Store: t.s}
	if err := storage.Scope(seen, issuer).Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	stored, otherStored := t.get(seen.key)[0], storage.Record{}
	if err := storage.Scope(seen, issuer).Put(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	otherStored = t.get(seen.key)[0]

	flip := func(at int) []byte {
		b := slices.Clone(stored.Value)
		b[at] ^= 0x10
		return b
	}
	last := len(stored.Value) - 1
	for name, value := range map[string][]byte{
		"first byte flipped": flip(0), "version flipped": flip(3), "checksum flipped": flip(10), "value flipped": flip(last),
		"cut": stored.Value[:last], "cut to the frame": stored.Value[:20], "cut to the magic": stored.Value[:4], "empty": {},
		"extended": append(slices.Clone(stored.Value), 0), "doubled": bytes.Repeat(stored.Value, 2),
		"moved": otherStored.Value, "not framed": []byte(secret),
	} {
		stored = t.put(next(stored, string(value)))
		_, getErr := scoped.Get(t.Context(), other.Key, r.Key)
		listed, listErr := t.beneath(scoped).walk(r.Groups[0], storage.Page{})
		for call, err := range map[string]error{"Get": getErr, "List": listErr} {
			if !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), string(storage.Grant)) {
				t.Errorf("%s: %s = %v, want ErrCorrupt naming the kind", name, call, err)
			} else if s := err.Error(); strings.Contains(s, secret) || strings.Contains(s, "secret-id") {
				t.Errorf("%s: %s shows what it read", name, call)
			}
		}
		if len(listed) > 0 {
			t.Errorf("%s: List returned records with its error", name)
		}
	}
	if _, err := scoped.Get(t.Context(), other.Key); err != nil {
		t.Errorf("Get of an undamaged record: %v", err)
	}
	// A store, or a connection, that gives the answer to another question.
	r.Key.ID, r.Version = t.names+"third", storage.NewVersion()
	if err := scoped.Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if _, err := storage.Scope(swapped{t.s}, issuer).Get(t.Context(), r.Key, other.Key); !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("Get with swapped answers = %v, want ErrCorrupt", err)
	}
}

// swapped returns the records of a Get in the wrong order.
type swapped struct{ storage.Store }

func (s swapped) Get(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
	records, err := s.Store.Get(ctx, keys...)
	slices.Reverse(records)
	return records, err
}

// A spy remembers the key of the last Put.
type spy struct {
	storage.Store
	key storage.Key
}

func (s *spy) Put(ctx context.Context, r storage.Record) error {
	s.key = r.Key
	return s.Store.Put(ctx, r)
}

// weakestWalks holds the weakest store to what flows may rely on even there.
func weakestWalks(t *suite) {
	weak := t.on(WeakConfig{Seed: 3, ShortPages: 1, SlowGets: 1}.Store(t.s))
	ids := sorted(weak, 1, 1, 1, 2, 3, 4, 5, 6, 7)
	for range 20 {
		weak.lists("g", storage.Page{}, ids...)
		weak.lists("g", storage.Page{Limit: 2, Until: 4}, ids[:6]...)
	}
	weak.lists("nothing", storage.Page{})
}

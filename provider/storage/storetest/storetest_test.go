package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// The decorators are tried on the embedded store; that the suite holds an engine
// to the contract is sqlstore's test.

func open(t *testing.T) storage.Store {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "store.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func record(id string) storage.Record {
	return storage.Record{
		Key: storage.Key{Kind: storage.Grant, ID: id}, Groups: []string{"g"}, Value: []byte("value"), Version: storage.NewVersion(),
	}
}

// fate calls s many times and says what became of each call.
func fate(t *testing.T, s storage.Store) (fates string, lost int) {
	t.Helper()
	for i := range 200 {
		r := record(fmt.Sprintf("%03d", i))
		errs := []error{s.Put(t.Context(), r), s.Delete(t.Context(), storage.Key{Kind: storage.Grant, ID: "nobody"})}
		_, err := s.Add(t.Context(), storage.Key{Kind: storage.Counter, ID: "c"}, 1, time.Hour)
		for _, err := range append(errs, err) {
			switch {
			case err == nil:
				fates += "."
			case errors.Is(err, storage.ErrUnavailable):
				fates += "x"
				lost++
			default:
				t.Fatal(err)
			}
		}
		if got, err := s.Get(t.Context(), r.Key); err != nil || got[0].Version != r.Version {
			t.Fatalf("a Put did not take effect, or its Get got no answer: %v", err)
		}
	}
	for after, pages := "", 0; ; pages++ {
		got, next, err := s.List(t.Context(), "g", storage.Page{After: after, Limit: 5})
		if err != nil {
			t.Fatal(err)
		}
		fates += fmt.Sprint(len(got))
		if after = next; next == "" {
			return fates, lost
		}
	}
}

func TestWeakestIsDeterministic(t *testing.T) {
	one, lost := fate(t, storetest.Weakest(open(t)))
	two, _ := fate(t, storetest.Weakest(open(t)))
	if one != two {
		t.Errorf("the same calls met different fates:\n%s\n%s", one, two)
	}
	if lost < 20 || lost > 80 { // of 400 Puts and Deletes, and no Add
		t.Errorf("%d replies were lost, want about 40", lost)
	}
	if other, _ := fate(t, storetest.WeakConfig{Seed: 2, LostReplies: 0.1, ShortPages: 0.4}.Store(open(t))); other == one {
		t.Error("another seed made no difference")
	}
	if none, lost := fate(t, storetest.WeakConfig{}.Store(open(t))); lost != 0 {
		t.Errorf("a WeakConfig of zeroes lost replies: %s", none)
	}
	if _, lost := fate(t, storetest.WeakConfig{LostAdds: 1}.Store(open(t))); lost != 200 {
		t.Errorf("%d of 200 Adds were lost", lost)
	}
}

func TestFaulty(t *testing.T) {
	errBefore, errAfter := errors.New("before"), errors.New("after")
	var ops []storetest.Op
	s := storetest.Faulty(open(t), func(op storetest.Op) error {
		ops = append(ops, op)
		switch {
		case op.Name == "Put" && op.N == 2:
			return errBefore
		case op.Name == "Put" && op.N == 3, op.Name == "Add", op.Name == "List":
			return fmt.Errorf("here: %w", storetest.After(errAfter))
		}
		return nil
	})
	ctx := t.Context()
	a, b, c := record("a"), record("b"), record("c")
	for i, want := range []error{nil, errBefore, errAfter} {
		if err := s.Put(ctx, []storage.Record{a, b, c}[i]); !errors.Is(err, want) {
			t.Errorf("Put %d = %v, want %v", i+1, err, want)
		}
	}
	got, err := s.Get(ctx, a.Key, b.Key, c.Key)
	if err != nil {
		t.Fatal(err)
	}
	if got[0].IsZero() || !got[1].IsZero() || got[2].IsZero() {
		t.Errorf("stored are %v %v %v, want the first and the third", !got[0].IsZero(), !got[1].IsZero(), !got[2].IsZero())
	}
	counter := storage.Key{Kind: storage.Counter, ID: "n"}
	if n, err := s.Add(ctx, counter, 1, time.Hour); n != 0 || !errors.Is(err, errAfter) {
		t.Errorf("Add = %d, %v", n, err)
	}
	if records, next, err := s.List(ctx, "g", storage.Page{}); records != nil || next != "" || !errors.Is(err, errAfter) {
		t.Errorf("List = %v, %q, %v", records, next, err)
	}
	if err := errors.Join(s.Delete(ctx, a.Key), s.Ping(ctx)); err != nil {
		t.Error(err)
	}
	want := []storetest.Op{
		{Name: "Put", Key: a.Key, N: 1}, {Name: "Put", Key: b.Key, N: 2}, {Name: "Put", Key: c.Key, N: 3},
		{Name: "Get", Key: a.Key, N: 1}, {Name: "Add", Key: counter, N: 1}, {Name: "List", Group: "g", N: 1},
		{Name: "Delete", Key: a.Key, N: 1}, {Name: "Ping", N: 1},
	}
	if !slices.Equal(ops, want) {
		t.Errorf("asked about %+v, want %+v", ops, want)
	}
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storetest.Slow(open(t), func(op string) time.Duration {
			if op == "Put" {
				return time.Minute
			}
			return 0
		})
		begin := time.Now()
		r := record("a")
		if err := s.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != time.Minute {
			t.Errorf("Put took %v, want 1m", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		other := record("b")
		if err := s.Put(ctx, other); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("Put = %v", err)
		}
		got, err := s.Get(t.Context(), r.Key, other.Key)
		if err != nil || got[0].IsZero() || !got[1].IsZero() {
			t.Errorf("Get = %v, %v; want the first alone", got, err)
		}
	})
}

func TestCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := storetest.Count(storetest.Slow(open(t), func(string) time.Duration { return time.Millisecond }))
		get := func() {
			if _, err := c.Get(t.Context(), storage.Key{Kind: storage.Grant, ID: "a"}); err != nil {
				t.Error(err)
			}
		}
		puts := 0
		put := func() {
			puts++
			if err := c.Put(t.Context(), record(fmt.Sprint(puts))); err != nil {
				t.Error(err)
			}
		}
		both := func() {
			var wg sync.WaitGroup
			wg.Go(get)
			wg.Go(put)
			wg.Wait()
		}
		for name, test := range map[string]struct {
			calls      []func()
			sequential int
		}{
			"nothing":             {nil, 0},
			"one":                 {[]func(){get}, 1},
			"one after the other": {[]func(){get, put, get}, 3},
			"at once":             {[]func(){both}, 1},
			"get, then both":      {[]func(){get, both}, 2},
			"both twice, and one": {[]func(){both, both, put}, 3},
		} {
			c.Reset()
			for _, call := range test.calls {
				call()
			}
			if got := c.Sequential(); got != test.sequential {
				t.Errorf("%s: Sequential = %d, want %d", name, got, test.sequential)
			}
		}
		c.Reset()
		both()
		get()
		if c.Calls("Get") != 2 || c.Calls("Put") != 1 || c.Calls("Get", "Put") != 3 || c.Calls() != 3 || c.Calls("Add") != 0 {
			t.Errorf("Calls = %d Gets, %d Puts, %d in all", c.Calls("Get"), c.Calls("Put"), c.Calls())
		}
	})
}

// The pauses of Update end with its context, not some time later.
func TestUpdatePauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storetest.Faulty(open(t), func(op storetest.Op) error {
			if op.Name == "Put" {
				return storage.ErrConflict
			}
			return nil
		})
		update := func(ctx context.Context) (time.Duration, error) {
			begin := time.Now()
			_, err := storage.Update(ctx, s, storage.Key{Kind: storage.User, ID: "a"}, func(cur storage.Record) (storage.Record, error) {
				return cur, nil
			})
			return time.Since(begin), err
		}
		took, err := update(t.Context())
		if !errors.Is(err, storage.ErrConflict) || took < time.Millisecond || took > time.Second {
			t.Errorf("Update = %v after %v, want ErrConflict within a second", err, took)
		}
		for range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if took, err := update(ctx); !errors.Is(err, context.DeadlineExceeded) || took > time.Millisecond {
				t.Errorf("Update = %v after %v, want the end of its context after 1ms", err, took)
			}
			cancel()
		}
	})
}

// A context that ends during a Put ends the Update too.
func TestUpdateEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := storetest.Faulty(open(t), func(op storetest.Op) error {
		if op.Name == "Put" {
			cancel()
			return storage.ErrConflict
		}
		return nil
	})
	tries := 0
	_, err := storage.Update(ctx, s, storage.Key{Kind: storage.User, ID: "a"}, func(cur storage.Record) (storage.Record, error) {
		tries++
		return cur, nil
	})
	if !errors.Is(err, context.Canceled) || !errors.Is(err, storage.ErrUnavailable) || tries != 1 {
		t.Errorf("Update = %v after %d tries, want the end of its context after one", err, tries)
	}
}

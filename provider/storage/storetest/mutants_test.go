package storetest_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// The suite is only as good as what it catches. A mutant is SQLite with one fault
// that an engine could have, and the checks that must find it.
type mutant struct {
	name   string
	breaks func(b *broken)
	checks []string
}

// A broken store has other methods in place of some of its store's.
type broken struct {
	storage.Store
	now func() time.Time

	clock  func() time.Time // of the store beneath; nil is now
	get    func(ctx context.Context, keys ...storage.Key) ([]storage.Record, error)
	put    func(ctx context.Context, r storage.Record) error
	delete func(ctx context.Context, key storage.Key) error
	list   func(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error)
	add    func(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error)
	ping   func(ctx context.Context) error
	close  func() error
}

func (b *broken) Get(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
	if b.get != nil {
		return b.get(ctx, keys...)
	}
	return b.Store.Get(ctx, keys...)
}

func (b *broken) Put(ctx context.Context, r storage.Record) error {
	if b.put != nil {
		return b.put(ctx, r)
	}
	return b.Store.Put(ctx, r)
}

func (b *broken) Delete(ctx context.Context, key storage.Key) error {
	if b.delete != nil {
		return b.delete(ctx, key)
	}
	return b.Store.Delete(ctx, key)
}

func (b *broken) List(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
	if b.list != nil {
		return b.list(ctx, group, page)
	}
	return b.Store.List(ctx, group, page)
}

func (b *broken) Add(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
	if b.add != nil {
		return b.add(ctx, key, delta, life)
	}
	return b.Store.Add(ctx, key, delta, life)
}

func (b *broken) Ping(ctx context.Context) error {
	if b.ping != nil {
		return b.ping(ctx)
	}
	return b.Store.Ping(ctx)
}

func (b *broken) Close() error {
	if b.close != nil {
		return b.close()
	}
	return b.Store.Close()
}

// current is the record under key, the zero Record if it cannot be read.
func (b *broken) current(ctx context.Context, key storage.Key) storage.Record {
	got, err := b.Store.Get(ctx, key)
	if err != nil {
		return storage.Record{}
	}
	return got[0]
}

// all is the whole group.
func (b *broken) all(ctx context.Context, group string) ([]storage.Record, error) {
	var all []storage.Record
	for page := (storage.Page{}); ; {
		got, next, err := b.Store.List(ctx, group, page)
		if err != nil {
			return nil, err
		}
		all = append(all, got...)
		if next == "" {
			return all, nil
		}
		page.After = next
	}
}

// paged cuts a page out of what a list returned, in the order it has.
func paged(all []storage.Record, page storage.Page) ([]storage.Record, string, error) {
	after, until, limit, err := page.Check()
	if err != nil {
		return nil, "", err
	}
	all = slices.DeleteFunc(all, func(r storage.Record) bool { return storage.CursorOf(r).Compare(after) <= 0 || r.Sort > until })
	if len(all) <= limit {
		return all, "", nil
	}
	return all[:limit], storage.CursorOf(all[limit-1]).String(), nil
}

func (m mutant) open(t *testing.T, now func() time.Time) storage.Store {
	t.Helper()
	b := &broken{now: now, clock: now}
	// The first call is for the clock, which the store beneath is opened with.
	m.breaks(b)
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "store.db"), Now: b.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	b.Store = s
	return b
}

func mutants() []mutant {
	return slices.Concat(
		versionMutants(), getMutants(), deleteMutants(), expiryMutants(),
		expiredMutants(), listMutants(), groupMutants(), garbageMutants(), untilMutants(),
		placeMutants(), counterMutants(), counterLifeMutants(), nameMutants(),
		valueMutants(), contextMutants(), interruptedMutants(), raceMutants(),
		listRaceMutants(), deleteRaceMutants(),
	)
}

func TestMutants(t *testing.T) {
	sound := map[string]bool{} // the checks that the unbroken store passes
	for _, m := range mutants() {
		t.Run(m.name, func(t *testing.T) {
			if len(m.checks) == 0 {
				t.Error("no check is named that finds this fault")
			}
			for _, name := range m.checks {
				if !sound[name] {
					if got := storetest.Try(t, name, mutant{breaks: func(*broken) {}}.open); len(got) > 0 {
						t.Fatalf("%q complains of a sound store: %s", name, got)
					}
					sound[name] = true
				}
				if got := storetest.Try(t, name, m.open); len(got) == 0 {
					t.Errorf("%q does not find it", name)
				} else {
					t.Logf("%s: %.300s", name, strings.Join(got, ""))
				}
			}
		})
	}
	for _, name := range storetest.Checks() {
		if !sound[name] {
			t.Errorf("no mutant shows that %q finds anything", name)
		}
	}
}

// The suite is about the contract and nothing else: what the contract allows passes.
func TestAllowed(t *testing.T) {
	// unanswered has one Get or Put in n take effect and return ErrUnavailable.
	unanswered := func(n int64) func(b *broken) {
		return func(b *broken) {
			var calls atomic.Int64
			lost := func() bool { return calls.Add(1)%n == 0 }
			b.put = func(ctx context.Context, r storage.Record) error {
				err := b.Store.Put(ctx, r)
				if expired := !r.Expires.IsZero() && !r.Expires.After(b.now()); !expired && lost() {
					err = storage.ErrUnavailable
				}
				return err
			}
			b.get = func(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
				got, err := b.Store.Get(ctx, keys...)
				if lost() {
					return nil, storage.ErrUnavailable
				}
				return got, err
			}
		}
	}
	weak := func(b *broken) {
		var weakened storage.Store
		b.list = func(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
			if weakened == nil {
				weakened = storetest.WeakConfig{Seed: 4, ShortPages: 0.7}.Store(b.Store)
			}
			return weakened.List(ctx, group, page)
		}
	}
	for name, test := range map[string]struct {
		breaks  func(b *broken)
		allowed bool
	}{
		"short and empty pages":      {weak, true},
		"seldom no answer":           {unanswered(50), true},
		"no answer every other time": {unanswered(2), false},
	} {
		for _, check := range []string{
			"get many in order", "list pages of equal sort", "a page begins behind what is gone", "racing puts have one winner",
			"random operations agree with a model",
		} {
			if got := storetest.Try(t, check, mutant{breaks: test.breaks}.open); (len(got) == 0) != test.allowed {
				t.Errorf("%s: %q: %s", name, check, got)
			}
		}
	}
}

func TestChecksHaveNames(t *testing.T) {
	names := storetest.Checks()
	slices.Sort(names)
	if len(slices.Compact(names)) != len(storetest.Checks()) {
		t.Error("two checks have one name")
	}
}

package storage_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

func openSQLite(t *testing.T, now func() time.Time) storage.Store {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "store.db"), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSplitContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T, now func() time.Time) storage.Store {
		return storage.Split(openSQLite(t, now), openSQLite(t, now))
	})
}

// The two stores differ in what they keep, and one that is out fails only the calls
// that need it.
func TestSplitSides(t *testing.T) {
	accounts, rest := openSQLite(t, time.Now), openSQLite(t, time.Now)
	s := storage.Split(accounts, rest)
	put := func(kind storage.Kind, id string) storage.Key {
		t.Helper()
		r := storage.Record{Key: storage.Key{Kind: kind, ID: id}, Groups: []string{"g"}, Version: storage.NewVersion()}
		if err := s.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		return r.Key
	}
	user, grant := put(storage.User, "u"), put(storage.Grant, "g")
	holds := func(s storage.Store, key storage.Key) bool {
		t.Helper()
		got, err := s.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		return !got[0].IsZero()
	}
	if !holds(accounts, user) || holds(rest, user) || holds(accounts, grant) || !holds(rest, grant) {
		t.Error("a record is not where it belongs")
	}

	rest.Close()
	if _, err := s.Get(t.Context(), user); err != nil {
		t.Errorf("an account cannot be read while the other store is out: %v", err)
	}
	for name, err := range map[string]error{
		"Get":  second(s.Get(t.Context(), user, grant)),
		"List": third(s.List(t.Context(), "g", storage.Page{})),
		"Ping": s.Ping(t.Context()),
	} {
		if err == nil {
			t.Errorf("%s succeeded though a store it needs is out", name)
		}
	}
}

func second[A any](_ A, err error) error        { return err }
func third[A, B any](_ A, _ B, err error) error { return err }

// Pages that a store cuts short anywhere still make whole merged lists.
func TestSplitMergesShortPages(t *testing.T) {
	s := storage.Split(shortPages{openSQLite(t, time.Now)}, shortPages{openSQLite(t, time.Now)})
	const n = 40
	for i := range n {
		kind := []storage.Kind{storage.User, storage.Grant, storage.Session}[i%3]
		r := storage.Record{Key: storage.Key{Kind: kind, ID: string(rune('a' + i))}, Groups: []string{"g"}, Sort: int64(i * 7 % 10), Version: storage.NewVersion()}
		if err := s.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for limit := range 7 {
		var last storage.Cursor
		found, page := 0, storage.Page{Limit: limit}
		for range 4 * n {
			records, next, err := s.List(t.Context(), "g", page)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range records {
				if at := storage.CursorOf(r); found > 0 && at.Compare(last) <= 0 {
					t.Fatalf("limit %d: %v comes behind %v", limit, at, last)
				}
				last, found = storage.CursorOf(r), found+1
			}
			if page.After = next; next == "" {
				break
			}
		}
		if found != n {
			t.Errorf("limit %d: a walk found %d of %d records", limit, found, n)
		}
	}
}

// shortPages returns a third of each page.
type shortPages struct{ storage.Store }

func (s shortPages) List(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
	records, next, err := s.Store.List(ctx, group, page)
	if keep := len(records) / 3; err == nil && keep > 0 {
		return records[:keep], storage.CursorOf(records[keep-1]).String(), nil
	}
	return records, next, err
}

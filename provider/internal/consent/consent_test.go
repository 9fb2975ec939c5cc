package consent_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/provider/internal/consent"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// A world is a service with its store, and with grants that note what is ended.
type world struct {
	*testing.T
	*consent.Service
	store storage.Store
	ended []string
}

func (w *world) RevokeClient(_ context.Context, subject, clientID string) error {
	w.ended = append(w.ended, subject+" "+clientID)
	return nil
}

func newWorld(t *testing.T, wrap func(storage.Store) storage.Store) *world {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	w := &world{T: t, store: storage.Scope(db, "https://id.example")}
	if wrap != nil {
		w.store = wrap(w.store)
	}
	if w.Service, err = consent.New(consent.Config{Store: w.store, Grants: w}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) allow(subject, clientID string, scopes ...string) {
	w.Helper()
	if _, err := w.Allow(w.Context(), subject, clientID, scopes); err != nil {
		w.Fatal(err)
	}
}

func (w *world) tries(subject, clientID string, scopes ...string) error {
	_, err := w.Allow(w.Context(), subject, clientID, scopes)
	return err
}

func (w *world) is(want bool, subject, clientID string, scopes ...string) {
	w.Helper()
	if got, err := w.Covers(w.Context(), subject, clientID, scopes); err != nil || (got != "") != want {
		w.Errorf("%q allows %q %v: %q, %v; want %t", subject, clientID, scopes, got, err, want)
	}
}

// again repeats what may be repeated, as long as the store loses replies.
func (w *world) again(do func() error) {
	w.Helper()
	for range 100 {
		err := do()
		if err == nil {
			return
		}
		if !errors.Is(err, storage.ErrUnavailable) {
			w.Fatal(err)
		}
	}
	w.Fatal("a hundred times in vain")
}

func TestConsentGrows(t *testing.T) {
	w := newWorld(t, nil)
	w.is(false, "ann", "app")
	w.allow("ann", "app")
	w.is(true, "ann", "app") // to know who she is, and nothing else
	w.is(false, "ann", "app", "email")
	w.allow("ann", "app", "openid", "email")
	w.allow("ann", "app", "openid", "notes:read")
	w.is(true, "ann", "app", "notes:read", "email", "openid")
	w.is(false, "ann", "app", "openid", "notes")
	w.is(false, "ann", "other", "openid")
	w.is(false, "bob", "app", "openid")
	if len(w.ended) != 0 {
		t.Errorf("to allow more has ended %v", w.ended)
	}
	if err := w.Withdraw(t.Context(), "ann", "app"); err != nil {
		t.Fatal(err)
	}
	w.is(false, "ann", "app")
	if len(w.ended) != 1 || w.ended[0] != "ann app" {
		t.Errorf("to withdraw has ended %v", w.ended)
	}
	w.allow("ann", "app", "email")
	w.is(false, "ann", "app", "openid") // what it was before the withdrawal is forgotten
}

// What is allowed already is not written again: the consent page is sent twice as easily
// as once.
func TestAllowedAlready(t *testing.T) {
	var count *storetest.Counter
	w := newWorld(t, func(s storage.Store) storage.Store {
		count = storetest.Count(s)
		return count
	})
	w.allow("ann", "app", "openid", "email")
	w.allow("ann", "app", "email")
	if n := count.Calls("Put"); n != 1 {
		t.Errorf("%d Puts, want 1", n)
	}
}

// hostile are subjects and client ids that would be each other's if their key was put
// together carelessly. Subjects are the embedder's, and any bytes.
func hostile() (pairs [][2]string) {
	return [][2]string{
		{"a", "b/c"}, {"a/b", "c"}, {"a/", "b/c"}, {"a", "/b/c"}, {"", "a/b/c"}, {"a/b/c", ""}, {"1/a", "b/c"}, {"a%2Fb", "c"}, {"a\x00b", "c"}, {"a", "b\x00c"},
		{"3/a/b", "c"}, {"3", "a/b/c"}, {"A", "b/c"}, {"a", "B/c"}, {strings.Repeat("s", 255), strings.Repeat("c", 100)}, {strings.Repeat("s", 254), "s" + strings.Repeat("c", 100)},
	}
}

func TestKeysAreApart(t *testing.T) {
	w := newWorld(t, nil)
	for i, p := range hostile() {
		w.allow(p[0], p[1], fmt.Sprint(i))
	}
	for i, p := range hostile() {
		for j := range hostile() {
			w.is(i == j, p[0], p[1], fmt.Sprint(j))
		}
	}
	for i, p := range hostile() {
		if err := w.Withdraw(t.Context(), p[0], p[1]); err != nil {
			t.Fatal(err)
		}
		for j, other := range hostile() {
			w.is(j > i, other[0], other[1])
		}
	}
}

// To forget a person is to forget nobody else, however many clients there were.
func TestForget(t *testing.T) {
	w := newWorld(t, func(s storage.Store) storage.Store { return storetest.Weakest(s) })
	const clients = 120 // more than a page
	for i := range clients {
		w.again(func() error { return w.tries("a", fmt.Sprint(i), "openid") })
	}
	others := [][2]string{{"a/", "1"}, {"aa", "1"}, {"", "1"}, {"1/a", "1"}}
	for _, p := range others {
		w.again(func() error { return w.tries(p[0], p[1]) })
	}
	w.again(func() error { return w.Forget(t.Context(), "a") })
	w.again(func() error { return w.Forget(t.Context(), "a") })
	for i := range clients {
		w.is(false, "a", fmt.Sprint(i))
	}
	for _, p := range others {
		w.is(true, p[0], p[1])
	}
}

// What cannot be read is neither a yes nor a no.
func TestUnreadable(t *testing.T) {
	w := newWorld(t, nil)
	for value, want := range map[string]error{
		`{"v":2,"scopes":["openid"]}`: storage.ErrUnfit, `{"scopes":["openid"]}`: storage.ErrUnfit, `{`: storage.ErrCorrupt, `[]`: storage.ErrCorrupt,
	} {
		w.allow("ann", "app", "openid")
		records, _, err := w.store.List(t.Context(), "consent/sub/ann", storage.Page{})
		if err != nil || len(records) != 1 {
			t.Fatalf("%d records, %v", len(records), err)
		}
		_, err = storage.Update(t.Context(), w.store, records[0].Key, func(cur storage.Record) (storage.Record, error) {
			cur.Value = []byte(value)
			return cur, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := w.Covers(t.Context(), "ann", "app", []string{"openid"}); got != "" || !errors.Is(err, want) {
			t.Errorf("%s: %q, %v; want %v", value, got, err, want)
		}
		if err := w.tries("ann", "app", "openid"); !errors.Is(err, want) {
			t.Errorf("%s, allowed: %v, want %v", value, err, want)
		}
		if err := w.Withdraw(t.Context(), "ann", "app"); err != nil { // which mends it
			t.Fatal(err)
		}
	}
}

package users_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
	"github.com/lettergate/lettergate/provider/storage/storetest"
	"github.com/lettergate/lettergate/provider/users"
)

// clock is a clock that moves when it is told to.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC).UnixMilli())
	return c
}

func (c *clock) Now() time.Time          { return time.UnixMilli(c.ms.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

func openStore(t testing.TB, now func() time.Time) storage.Store {
	t.Helper()
	return storage.Scope(openShared(t, now), "https://issuer.example")
}

// openShared returns a store that cases share, each in a scope of its own.
func openShared(t testing.TB, now func() time.Time) storage.Store {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "users.db"), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func directory(t testing.TB, s storage.Store, now func() time.Time) users.Directory {
	t.Helper()
	d, err := users.NewDirectory(users.Config{Store: s, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// eachStore runs the test on a good store and on the weakest that the contract
// allows.
func eachStore(t *testing.T, test func(t *testing.T, s storage.Store, c *clock)) {
	t.Run("sqlite", func(t *testing.T) {
		c := newClock()
		test(t, openStore(t, c.Now), c)
	})
	t.Run("weakest", func(t *testing.T) {
		c := newClock()
		test(t, storage.Scope(storetest.Weakest(openShared(t, c.Now)), "https://issuer.example"), c)
	})
}

func person(subject, email, username string) users.User {
	return users.User{Subject: subject, Email: email, EmailKey: email, EmailVerified: true, Username: username}
}

// retry does what a caller does when the store cannot tell: it asks again.
func retry[T any](f func() (T, error)) (T, error) {
	for {
		v, err := f()
		if !errors.Is(err, storage.ErrUnavailable) {
			return v, err
		}
	}
}

// must returns v for an err of nil.
func must[T any](t testing.TB) func(v T, err error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// signIn is what the owner of a mailbox gets: the account of the address, made
// now if there is none.
func signIn(ctx context.Context, d users.Directory, subject, email, username string) (users.User, error) {
	for range 20 {
		u, err := d.ByEmail(ctx, email)
		if !errors.Is(err, users.ErrNotFound) {
			return u, err
		}
		u, err = d.Create(ctx, person(subject, email, username))
		if !errors.Is(err, users.ErrEmailTaken) && !errors.Is(err, users.ErrConflict) {
			return u, err
		}
	}
	return users.User{}, errors.New("sign in: no end of ErrEmailTaken")
}

func listAll(t testing.TB, d users.Directory) []users.User {
	t.Helper()
	var all []users.User
	for after := ""; ; {
		page, next, err := d.List(t.Context(), after, 7)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) > 7 {
			t.Fatalf("a page of %d", len(page))
		}
		all = append(all, page...)
		if next == "" {
			return all
		}
		after = next
	}
}

// checkWhole checks what holds at every moment nobody is working: each account is
// found by all its names, and by nobody else's.
func checkWhole(t testing.TB, d users.Directory) []users.User {
	t.Helper()
	ctx := t.Context()
	all := listAll(t, d)
	emails, names := map[string]string{}, map[string]string{}
	for _, u := range all {
		if other, dup := emails[u.EmailKey]; dup {
			t.Errorf("%s belongs to %s and %s", u.EmailKey, other, u.Subject)
		}
		emails[u.EmailKey] = u.Subject
		if got, err := d.BySubject(ctx, u.Subject); err != nil || got != u {
			t.Errorf("BySubject(%s): %+v, %v", u.Subject, got, err)
		}
		if got, err := d.ByEmail(ctx, u.EmailKey); err != nil || got != u {
			t.Errorf("ByEmail(%s): %+v, %v; want %+v", u.EmailKey, got, err, u)
		}
		if u.Username == "" {
			continue
		}
		if other, dup := names[u.Username]; dup {
			t.Errorf("%s belongs to %s and %s", u.Username, other, u.Subject)
		}
		names[u.Username] = u.Subject
		if got, err := d.ByUsername(ctx, u.Username); err != nil || got != u {
			t.Errorf("ByUsername(%s): %+v, %v; want %+v", u.Username, got, err, u)
		}
	}
	return all
}

// crash is a fault of storetest.Faulty: from the n-th call on nothing works, and
// the n-th itself takes effect when late is set.
func crash(n int, late bool) (fail func(storetest.Op) error, crashed func() bool) {
	calls := 0
	dead := fmt.Errorf("%w: the process has died", storage.ErrUnavailable)
	fail = func(storetest.Op) error {
		calls++
		switch {
		case calls == n && late:
			return storetest.After(dead)
		case calls >= n:
			return dead
		}
		return nil
	}
	return fail, func() bool { return calls >= n }
}

// eachCrash runs a test once for every call of deed, in both ways of dying there,
// and then the check.
func eachCrash(t *testing.T, prepare, deed func(d users.Directory) error, check func(t *testing.T, d users.Directory, c *clock)) {
	t.Helper()
	c := newClock()
	shared := openShared(t, c.Now)
	for n := 1; ; n++ {
		ended := false
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("call %d late %t", n, late), func(t *testing.T) {
				s := storage.Scope(shared, t.Name())
				if err := prepare(directory(t, s, c.Now)); err != nil {
					t.Fatal(err)
				}
				fail, crashed := crash(n, late)
				err := deed(directory(t, storetest.Faulty(s, fail), c.Now))
				if !crashed() {
					ended = true
					if err != nil {
						t.Fatal(err)
					}
				}
				check(t, directory(t, s, c.Now), c)
			})
		}
		if ended {
			return
		}
		if n > 60 {
			t.Fatal("more calls than a sign-up can need")
		}
	}
}

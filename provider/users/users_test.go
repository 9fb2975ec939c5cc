package users_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
	"github.com/lettergate/lettergate/provider/users"
)

func TestAccountLife(t *testing.T) {
	eachStore(t, func(t *testing.T, s storage.Store, c *clock) {
		ctx := t.Context()
		d := directory(t, s, c.Now)
		in := users.User{
			Subject: "s1", Email: "Ann@example.com", EmailKey: "ann@example.com", EmailVerified: true,
			Username: "Ann.B", Name: "Ann <b>", Locale: "zh-CN",
		}
		u := must[users.User](t)(d.Create(ctx, in))
		want := in
		want.CreatedAt, want.UpdatedAt, want.Version = c.Now(), c.Now(), u.Version
		if diff := cmp.Diff(want, u); diff != "" || u.Version == "" {
			t.Fatalf("Create (-want +got):\n%s", diff)
		}
		checkWhole(t, d)
		if got, err := d.ByUsername(ctx, "aNN.b"); err != nil || got != u {
			t.Errorf("ByUsername in another case: %+v, %v", got, err)
		}
		if _, err := d.ByEmail(ctx, "Ann@example.com"); !errors.Is(err, users.ErrNotFound) {
			t.Errorf("ByEmail with the spelling instead of the key: %v", err)
		}

		// The sign-up's expiries are gone.
		c.advance(100 * 24 * time.Hour)
		if all := checkWhole(t, d); len(all) != 1 {
			t.Fatalf("%d accounts after 100 days", len(all))
		}

		change := u
		change.Email, change.EmailKey, change.Username, change.Disabled = "new@example.com", "new@example.com", "ann", true
		changed := must[users.User](t)(d.Update(ctx, change))
		if changed.Version == u.Version || !changed.UpdatedAt.After(u.UpdatedAt) || !changed.CreatedAt.Equal(u.CreatedAt) || !changed.Disabled {
			t.Errorf("Update: %+v", changed)
		}
		if _, err := d.Update(ctx, change); !errors.Is(err, users.ErrConflict) {
			t.Errorf("Update with an old version: %v", err)
		}
		checkWhole(t, d)
		c.advance(time.Hour)
		for _, old := range []storage.Key{{Kind: storage.Email, ID: "ann@example.com"}, {Kind: storage.Username, ID: "ann.b"}} {
			if got := must[[]storage.Record](t)(s.Get(ctx, old)); !got[0].IsZero() {
				t.Errorf("%s is left", old)
			}
		}
		must[users.User](t)(d.Create(ctx, person("s2", "ann@example.com", "ann.b"))) // the old names are free
		checkWhole(t, d)

		if err := d.Delete(ctx, "s1"); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := d.Delete(ctx, "s1"); err != nil {
				t.Errorf("Delete again: %v", err)
			}
			c.advance(time.Hour)
		}
		if _, err := d.BySubject(ctx, "s1"); !errors.Is(err, users.ErrNotFound) {
			t.Errorf("BySubject after Delete: %v", err)
		}
		if _, err := d.Update(ctx, changed); !errors.Is(err, users.ErrNotFound) {
			t.Errorf("Update after Delete: %v", err)
		}
		must[users.User](t)(d.Create(ctx, person("s3", "new@example.com", "ann")))
		if all := checkWhole(t, d); len(all) != 2 {
			t.Errorf("%d accounts", len(all))
		}
	})
}

func TestNothing(t *testing.T) {
	d := directory(t, openStore(t, nil), nil)
	for _, s := range []string{"", "x", "nobody", "no\x00body", strings.Repeat("x", 5000)} {
		if _, err := d.BySubject(t.Context(), s); !errors.Is(err, users.ErrNotFound) {
			t.Errorf("BySubject(%.9q): %v", s, err)
		}
		if _, err := d.ByEmail(t.Context(), s); !errors.Is(err, users.ErrNotFound) {
			t.Errorf("ByEmail(%.9q): %v", s, err)
		}
		if _, err := d.ByUsername(t.Context(), s); !errors.Is(err, users.ErrNotFound) {
			t.Errorf("ByUsername(%.9q): %v", s, err)
		}
		if err := d.Delete(t.Context(), s); err != nil {
			t.Errorf("Delete(%.9q): %v", s, err)
		}
	}
	if list, next, err := d.List(t.Context(), "", 0); len(list) != 0 || next != "" || err != nil {
		t.Errorf("List: %v, %q, %v", list, next, err)
	}
	for _, s := range []string{"x", "16.", "-1.", "1", "."} {
		if _, _, err := d.List(t.Context(), s, 0); !errors.Is(err, users.ErrInvalid) {
			t.Errorf("List(%q): %v", s, err)
		}
	}
	if _, err := users.NewDirectory(users.Config{}); err == nil {
		t.Error("NewDirectory without a store")
	}
}

func TestNamesAreUnique(t *testing.T) {
	eachStore(t, func(t *testing.T, s storage.Store, c *clock) {
		ctx := t.Context()
		d := directory(t, s, c.Now)
		a := must[users.User](t)(d.Create(ctx, person("a", "a@example.com", "ann")))
		b := must[users.User](t)(d.Create(ctx, person("b", "b@example.com", "bob")))

		if _, err := d.Create(ctx, person("c", "a@example.com", "cat")); !errors.Is(err, users.ErrEmailTaken) {
			t.Errorf("Create with a taken address: %v", err)
		}
		if _, err := d.Create(ctx, person("c", "c@example.com", "ANN")); !errors.Is(err, users.ErrUsernameTaken) {
			t.Errorf("Create with a taken username: %v", err)
		}
		if _, err := d.Create(ctx, person("a", "c@example.com", "")); !errors.Is(err, users.ErrConflict) {
			t.Errorf("Create of a subject that has another address: %v", err)
		}
		for want, change := range map[error]users.User{
			users.ErrEmailTaken:    person("b", "a@example.com", "bob2"),
			users.ErrUsernameTaken: person("b", "b2@example.com", "Ann"),
		} {
			change.Version = b.Version
			if _, err := d.Update(ctx, change); !errors.Is(err, want) {
				t.Errorf("Update: %v, want %v", err, want)
			}
		}
		if all := checkWhole(t, d); len(all) != 2 {
			t.Errorf("%d accounts", len(all))
		}
		for _, u := range []users.User{a, b} {
			if got, err := d.BySubject(ctx, u.Subject); err != nil || got != u {
				t.Errorf("%s has changed: %+v, %v", u.Subject, got, err)
			}
		}
		// What was refused holds nothing.
		must[users.User](t)(d.Create(ctx, person("c", "b2@example.com", "cat")))
		must[users.User](t)(d.Create(ctx, person("d", "c@example.com", "bob2")))
		checkWhole(t, d)
	})
}

func TestRespelling(t *testing.T) {
	eachStore(t, func(t *testing.T, s storage.Store, c *clock) {
		d := directory(t, s, c.Now)
		u := must[users.User](t)(d.Create(t.Context(), person("a", "a@example.com", "ann")))
		u.Email, u.Username = "A@example.com", "ANN"
		got := must[users.User](t)(d.Update(t.Context(), u))
		if got.Email != "A@example.com" || got.Username != "ANN" {
			t.Errorf("%+v", got)
		}
		got.Username = ""
		must[users.User](t)(d.Update(t.Context(), got))
		checkWhole(t, d)
		must[users.User](t)(d.Create(t.Context(), person("b", "b@example.com", "ann")))
		checkWhole(t, d)
	})
}

func TestCreateCanBeRepeated(t *testing.T) {
	eachStore(t, func(t *testing.T, s storage.Store, c *clock) {
		d := directory(t, s, c.Now)
		first := must[users.User](t)(d.Create(t.Context(), person("a", "a@example.com", "ann")))
		c.advance(time.Minute)
		again := must[users.User](t)(d.Create(t.Context(), person("a", "a@example.com", "ann")))
		if again != first {
			t.Errorf("repeated: %+v, first %+v", again, first)
		}
		checkWhole(t, d)
	})
}

func TestList(t *testing.T) {
	eachStore(t, func(t *testing.T, s storage.Store, c *clock) {
		const n = 60
		d := directory(t, s, c.Now)
		want := map[string]bool{}
		for i := range n {
			sub := fmt.Sprint("subject-", i)
			must[users.User](t)(d.Create(t.Context(), person(sub, fmt.Sprint(i, "@example.com"), "")))
			want[sub] = true
		}
		for _, u := range listAll(t, d) {
			if !want[u.Subject] {
				t.Errorf("%s is listed twice or does not exist", u.Subject)
			}
			delete(want, u.Subject)
		}
		if len(want) > 0 {
			t.Errorf("missed: %v", want)
		}
	})
}

func TestListedAccountsAreSpread(t *testing.T) {
	s := openStore(t, nil)
	d := directory(t, s, nil)
	for i := range 64 {
		must[users.User](t)(d.Create(t.Context(), person(fmt.Sprint("subject-", i), fmt.Sprint(i, "@example.com"), "")))
	}
	used := 0
	for shard := range 16 {
		records, _, err := s.List(t.Context(), fmt.Sprint("users/", shard), storage.Page{})
		if err != nil {
			t.Fatal(err)
		}
		if len(records) > 0 {
			used++
		}
	}
	if used < 12 {
		t.Errorf("64 accounts lie in %d of 16 groups", used)
	}
}

func TestCheck(t *testing.T) {
	good := person("s", "a@example.com", "")
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	d := directory(t, openStore(t, nil), nil)
	for name, spoil := range map[string]func(*users.User){
		"no subject":       func(u *users.User) { u.Subject = "" },
		"long subject":     func(u *users.User) { u.Subject = strings.Repeat("s", 256) },
		"space in subject": func(u *users.User) { u.Subject = "a b" },
		"subject in UTF-8": func(u *users.User) { u.Subject = "é" },
		"no email":         func(u *users.User) { u.Email = "" },
		"no email key":     func(u *users.User) { u.EmailKey = "" },
		"long email":       func(u *users.User) { u.Email = strings.Repeat("e", 513) },
		"broken UTF-8":     func(u *users.User) { u.Name = "\xff" },
		"long name":        func(u *users.User) { u.Name = strings.Repeat("n", 257) },
		"long locale":      func(u *users.User) { u.Locale = strings.Repeat("l", 65) },
		"username":         func(u *users.User) { u.Username = "a@b" },
	} {
		u := good
		spoil(&u)
		if _, err := d.Create(t.Context(), u); !errors.Is(err, users.ErrInvalid) {
			t.Errorf("Create, %s: %v", name, err)
		}
		if _, err := d.Update(t.Context(), u); !errors.Is(err, users.ErrInvalid) {
			t.Errorf("Update, %s: %v", name, err)
		}
	}
}

func TestUsernameKey(t *testing.T) {
	for in, want := range map[string]string{
		"ann": "ann", "Ann-B_c.d:e+1": "ann-b_c.d:e+1", "00": "00", strings.Repeat("x", 48): strings.Repeat("x", 48),
		"": "", "a": "", strings.Repeat("x", 49): "", "-a": "", ".a": "", "a b": "", "a@b": "", "a/b": "", "ann\n": "", "ann\x00": "",
		"änn": "", "аnn": "", "ann\u200d": "", "a[": "", "a`": "", "A@": "", "a{": "",
	} {
		if key, ok := users.UsernameKey(in); key != want || ok != (want != "") {
			t.Errorf("UsernameKey(%q) = %q, %t; want %q", in, key, ok, want)
		}
	}
}

// The waits for the store are those that the budget of a request counts on, and
// the same for a name that is there and one that is not.
func TestWaits(t *testing.T) {
	s := storetest.Count(openStore(t, nil))
	d := directory(t, s, nil)
	must[users.User](t)(d.Create(t.Context(), person("a", "a@example.com", "ann")))
	for name, row := range map[string]struct {
		want int
		call func() error
	}{
		"BySubject":           {1, func() error { _, err := d.BySubject(t.Context(), "a"); return err }},
		"BySubject, unknown":  {1, func() error { _, err := d.BySubject(t.Context(), "b"); return err }},
		"ByEmail":             {2, func() error { _, err := d.ByEmail(t.Context(), "a@example.com"); return err }},
		"ByEmail, unknown":    {2, func() error { _, err := d.ByEmail(t.Context(), "b@example.com"); return err }},
		"ByUsername":          {2, func() error { _, err := d.ByUsername(t.Context(), "ann"); return err }},
		"ByUsername, unknown": {2, func() error { _, err := d.ByUsername(t.Context(), "bob"); return err }},
	} {
		s.Reset()
		if err := row.call(); err != nil && !errors.Is(err, users.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if s.Calls() != row.want || s.Sequential() != row.want || s.Calls("Get") != row.want {
			t.Errorf("%s: %d calls, %d in a row, %d reads; want %d", name, s.Calls(), s.Sequential(), s.Calls("Get"), row.want)
		}
	}
}

// A record that cannot be read is an error and not a missing account, which
// somebody could sign up in the place of.
func TestDamage(t *testing.T) {
	for _, key := range []storage.Key{
		{Kind: storage.User, ID: "a"}, {Kind: storage.Email, ID: "a@example.com"}, {Kind: storage.Username, ID: "ann"},
	} {
		t.Run(string(key.Kind), func(t *testing.T) {
			s := openStore(t, nil)
			d := directory(t, s, nil)
			must[users.User](t)(d.Create(t.Context(), person("a", "a@example.com", "ann")))
			must[storage.Record](t)(storage.Update(t.Context(), s, key, func(cur storage.Record) (storage.Record, error) {
				cur.Value = []byte(`{"v":9}`)
				return cur, nil
			}))
			email := "a@example.com"
			if key.Kind == storage.Username {
				email = "b@example.com"
			}
			if _, err := d.Create(t.Context(), person("b", email, "ann")); !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("Create: %v", err)
			}
			if key.Kind == storage.Username {
				return
			}
			if _, err := d.ByEmail(t.Context(), "a@example.com"); !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("ByEmail: %v", err)
			}
		})
	}
}

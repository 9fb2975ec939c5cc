package users_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
	"github.com/lettergate/lettergate/provider/users"
)

func nothing(users.Directory) error { return nil }

// A sign-up that dies at any of its calls leaves an address that its owner can
// sign in with at once, under a new subject or the one it was, with the username
// asked for, and nothing half.
func TestSignUpCrash(t *testing.T) {
	for name, username := range map[string]string{"address only": "", "with username": "ann"} {
		t.Run(name, func(t *testing.T) {
			deed := func(d users.Directory) error {
				_, err := d.Create(t.Context(), person("first", "a@example.com", username))
				return err
			}
			for _, retry := range []string{"first", "second"} {
				t.Run("then "+retry, func(t *testing.T) {
					eachCrash(t, nothing, deed, func(t *testing.T, d users.Directory, c *clock) {
						u, err := signIn(t.Context(), d, retry, "a@example.com", username)
						if err != nil {
							t.Fatal(err)
						}
						if u.EmailKey != "a@example.com" || u.Username != username {
							t.Errorf("%+v", u)
						}
						c.advance(2 * time.Hour) // what expires, expires
						all := checkWhole(t, d)
						if len(all) != 1 || all[0] != u {
							t.Errorf("accounts after the hour: %+v, want %+v", all, u)
						}
					})
				})
			}
		})
	}
}

// Repeating the very same Create completes what is there and succeeds.
func TestSignUpCrashThenRepeat(t *testing.T) {
	deed := func(d users.Directory) error {
		_, err := d.Create(t.Context(), person("first", "a@example.com", "ann"))
		return err
	}
	eachCrash(t, nothing, deed, func(t *testing.T, d users.Directory, c *clock) {
		if u, err := d.Create(t.Context(), person("first", "a@example.com", "ann")); err != nil || u.Subject != "first" {
			t.Fatalf("%+v, %v", u, err)
		}
		c.advance(2 * time.Hour)
		if all := checkWhole(t, d); len(all) != 1 {
			t.Errorf("%d accounts", len(all))
		}
	})
}

// Whoever comes for the username or the address of a sign-up that died is not
// barred by it, and no account is ever known by a name it has lost.
func TestSignUpCrashThenAnother(t *testing.T) {
	deed := func(d users.Directory) error {
		_, err := d.Create(t.Context(), person("first", "a@example.com", "ann"))
		return err
	}
	eachCrash(t, nothing, deed, func(t *testing.T, d users.Directory, c *clock) {
		_, err := d.Create(t.Context(), person("other", "b@example.com", "ann"))
		if err != nil && !errors.Is(err, users.ErrUsernameTaken) {
			t.Fatal(err)
		}
		if err != nil { // then the first is an account, and its owner finds it
			if u, err := d.ByEmail(t.Context(), "a@example.com"); err != nil || u.Username != "ann" {
				t.Errorf("the username is taken by nobody: %+v, %v", u, err)
			}
		}
		if _, err := signIn(t.Context(), d, "second", "a@example.com", ""); err != nil {
			t.Error(err)
		}
		c.advance(2 * time.Hour)
		checkWhole(t, d)
	})
}

func TestEmailChangeCrash(t *testing.T) {
	prepare := func(d users.Directory) error {
		_, err := d.Create(t.Context(), person("a", "old@example.com", "old"))
		return err
	}
	deed := func(d users.Directory) error {
		u, err := d.BySubject(t.Context(), "a")
		if err != nil {
			return err
		}
		u.Email, u.EmailKey, u.Username = "new@example.com", "new@example.com", "new"
		_, err = d.Update(t.Context(), u)
		return err
	}
	eachCrash(t, prepare, deed, func(t *testing.T, d users.Directory, c *clock) {
		all := checkWhole(t, d)
		if len(all) != 1 || all[0].Username != all[0].EmailKey[:3] {
			t.Fatalf("half changed: %+v", all)
		}
		// The address that is not the account's is free, and so is the name.
		free := map[string]string{"old": "new", "new": "old"}[all[0].Username]
		if _, err := d.Create(t.Context(), person("b", free+"@example.com", free)); err != nil {
			t.Errorf("%s is held by nobody and not free: %v", free, err)
		}
		c.advance(2 * time.Hour)
		if all := checkWhole(t, d); len(all) != 2 {
			t.Errorf("%+v", all)
		}
	})
}

func TestEmailChangeCrashThenRepeat(t *testing.T) {
	prepare := func(d users.Directory) error {
		_, err := d.Create(t.Context(), person("a", "old@example.com", ""))
		return err
	}
	change := func(d users.Directory) error {
		u, err := d.BySubject(t.Context(), "a")
		if err != nil {
			return err
		}
		u.Email, u.EmailKey = "new@example.com", "new@example.com"
		_, err = d.Update(t.Context(), u)
		return err
	}
	eachCrash(t, prepare, change, func(t *testing.T, d users.Directory, c *clock) {
		if err := change(d); err != nil {
			t.Fatal(err)
		}
		if u, err := d.ByEmail(t.Context(), "new@example.com"); err != nil || u.Subject != "a" {
			t.Errorf("%+v, %v", u, err)
		}
		if _, err := d.ByEmail(t.Context(), "old@example.com"); !errors.Is(err, users.ErrNotFound) {
			t.Errorf("the old address: %v", err)
		}
		checkWhole(t, d)
	})
}

// A removal that died leaves the account whole or gone, and repeated it leaves
// no trace of the address.
func TestDeleteCrash(t *testing.T) {
	prepare := func(d users.Directory) error {
		_, err := d.Create(t.Context(), person("a", "a@example.com", "ann"))
		return err
	}
	deed := func(d users.Directory) error { return d.Delete(t.Context(), "a") }
	eachCrash(t, prepare, deed, func(t *testing.T, d users.Directory, c *clock) {
		if all := checkWhole(t, d); len(all) == 0 {
			if _, err := signIn(t.Context(), d, "b", "a@example.com", "ann"); err != nil {
				t.Error(err)
			}
			if err := d.Delete(t.Context(), "b"); err != nil {
				t.Error(err)
			}
		}
		if err := d.Delete(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if all := checkWhole(t, d); len(all) != 0 {
			t.Errorf("%+v", all)
		}
	})

	c := newClock()
	keep := openStore(t, c.Now)
	d := directory(t, keep, c.Now)
	if err := prepare(d); err != nil {
		t.Fatal(err)
	}
	if err := deed(d); err != nil {
		t.Fatal(err)
	}
	c.advance(time.Hour)
	got, err := keep.Get(t.Context(), storage.Key{Kind: storage.User, ID: "a"},
		storage.Key{Kind: storage.Email, ID: "a@example.com"}, storage.Key{Kind: storage.Username, ID: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range got {
		if !r.IsZero() {
			t.Errorf("%s is left", r.Key)
		}
	}
}

// before runs a deed right before the n-th call of the store, and says whether
// it came to that.
func before(s storage.Store, n int, deed func()) (store storage.Store, done *bool) {
	calls := 0
	done = new(bool)
	return storetest.Faulty(s, func(storetest.Op) error {
		if calls++; calls == n {
			*done = true
			deed()
		}
		return nil
	}), done
}

// A sign-up that stalls before any of its calls for longer than the hour, while
// somebody else takes the address or nobody does, cannot end as an account that
// others do not see.
func TestStall(t *testing.T) {
	c := newClock()
	shared := openShared(t, c.Now)
	for n, more := 1, true; more; n++ {
		for _, taken := range []bool{false, true} {
			raw := storage.Scope(shared, fmt.Sprint(n, taken))
			other := directory(t, raw, c.Now)
			stalled, reached := before(raw, n, func() {
				c.advance(61 * time.Minute)
				if taken {
					if _, err := signIn(t.Context(), other, "other", "a@example.com", "ann"); err != nil {
						t.Errorf("stall at %d: %v", n, err)
					}
				}
			})
			u, err := directory(t, stalled, c.Now).Create(t.Context(), person("stalled", "a@example.com", "ann"))
			more = *reached
			if more && taken && err == nil && u.Subject != "other" {
				t.Errorf("stall at %d: two accounts were acknowledged", n)
			}
			got, byEmail := other.ByEmail(t.Context(), "a@example.com")
			if err == nil && (byEmail != nil || got.Subject != u.Subject) {
				t.Errorf("stall at %d: %s was acknowledged, now %+v, %v", n, u.Subject, got, byEmail)
			}
			if _, err := signIn(t.Context(), other, "third", "a@example.com", "ann"); err != nil {
				t.Errorf("stall at %d: stuck: %v", n, err)
			}
			c.advance(2 * time.Hour)
			if all := checkWhole(t, other); len(all) != 1 {
				t.Errorf("stall at %d, taken %t: %+v", n, taken, all)
			}
		}
	}
}

// Somebody may sign in with the old or the new address before any call of a
// change of address: only one of them has the new one, and nobody loses an account.
func TestSignUpDuringEmailChange(t *testing.T) {
	c := newClock()
	shared := openShared(t, c.Now)
	for n, more := 1, true; more; n++ {
		for _, target := range []string{"new@example.com", "old@example.com"} {
			raw := storage.Scope(shared, fmt.Sprint(n, target))
			other := directory(t, raw, c.Now)
			u := must[users.User](t)(other.Create(t.Context(), person("a", "old@example.com", "")))
			var rival users.User
			var rivalErr error
			s, reached := before(raw, n, func() {
				rival, rivalErr = signIn(t.Context(), other, "rival", target, "")
			})
			u.Email, u.EmailKey = "new@example.com", "new@example.com"
			_, err := directory(t, s, c.Now).Update(t.Context(), u)
			more = *reached
			if rivalErr != nil {
				t.Fatalf("call %d, %s: the rival: %v", n, target, rivalErr)
			}
			if rival.Subject == "rival" && target == "new@example.com" && err == nil {
				t.Errorf("call %d: both have the new address", n)
			}
			checkWhole(t, other)
			for _, sub := range []string{"a", rival.Subject} {
				if _, err := other.BySubject(t.Context(), sub); sub != "" && err != nil {
					t.Errorf("call %d, %s: %s is lost: %v", n, target, sub, err)
				}
			}
		}
	}
}

// A dead sign-up's address is being taken over when that sign-up is repeated:
// one of the two is acknowledged, whichever call the repetition comes before.
func TestRepeatDuringTakeover(t *testing.T) {
	c := newClock()
	shared := openShared(t, c.Now)
	for n, more := 1, true; more; n++ {
		raw := storage.Scope(shared, fmt.Sprint(n))
		d := directory(t, raw, c.Now)
		first := func(d users.Directory) error {
			_, err := d.Create(t.Context(), person("first", "a@example.com", ""))
			return err
		}
		dying := storetest.Faulty(raw, func(op storetest.Op) error {
			if op.Name == "Put" && op.N == 3 { // everything but the last step
				return fmt.Errorf("%w: the process has died", storage.ErrUnavailable)
			}
			return nil
		})
		if err := first(directory(t, dying, c.Now)); err == nil {
			t.Fatal("the sign-up did not die")
		}
		c.advance(61 * time.Minute)

		var repeated error
		s, reached := before(raw, n, func() { repeated = first(d) })
		_, taken := directory(t, s, c.Now).Create(t.Context(), person("second", "a@example.com", ""))
		if more = *reached; !more {
			break
		}
		if (repeated == nil) == (taken == nil) {
			t.Errorf("call %d: the repetition %v, the takeover %v", n, repeated, taken)
		}
		if all := checkWhole(t, d); len(all) != 1 {
			t.Errorf("call %d: %d accounts", n, len(all))
		}
	}
}

// A sign-up that is refused at its last moment leaves neither a name held nor
// anything that names anybody.
func TestRefusedSignUpLeavesNothing(t *testing.T) {
	c := newClock()
	shared := openShared(t, c.Now)
	for n, more := 1, true; more; n++ {
		raw := storage.Scope(shared, fmt.Sprint(n))
		other := directory(t, raw, c.Now)
		s, reached := before(raw, n, func() {
			if _, err := signIn(t.Context(), other, "other", "a@example.com", ""); err != nil {
				t.Fatal(err)
			}
		})
		u, err := directory(t, s, c.Now).Create(t.Context(), person("first", "a@example.com", "ann"))
		more = *reached
		if err == nil {
			if u.Username != "ann" {
				t.Errorf("call %d: %+v", n, u)
			}
			continue
		}
		if !errors.Is(err, users.ErrEmailTaken) {
			t.Errorf("call %d: %v", n, err)
		}
		got, err := raw.Get(t.Context(), storage.Key{Kind: storage.User, ID: "first"}, storage.Key{Kind: storage.Username, ID: "ann"})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(got[0].Value), "a@") || strings.Contains(string(got[1].Value), "first") {
			t.Errorf("call %d: left %s and %s", n, got[0].Value, got[1].Value)
		}
	}
}

// Once a sign-up has its address, its username is safe from whoever wants it too.
func TestUsernameIsSafeWithTheAddress(t *testing.T) {
	c := newClock()
	raw := openStore(t, c.Now)
	rival := errors.New("the rival did not come")
	claimed, tried := false, false
	s := storetest.Faulty(raw, func(op storetest.Op) error {
		if claimed && !tried {
			tried = true
			_, rival = directory(t, raw, c.Now).Create(t.Context(), person("rival", "b@example.com", "ann"))
		}
		claimed = claimed || op.Name == "Put" && op.Key.Kind == storage.Email
		return nil
	})
	if _, err := directory(t, s, c.Now).Create(t.Context(), person("a", "a@example.com", "ann")); err != nil {
		t.Error(err)
	}
	if !errors.Is(rival, users.ErrUsernameTaken) {
		t.Errorf("the rival: %v", rival)
	}
	checkWhole(t, directory(t, raw, c.Now))
}

// An address is changed back before any call of the change: the account keeps
// what it was given last.
func TestChangeBackDuringChange(t *testing.T) {
	c := newClock()
	shared := openShared(t, c.Now)
	for n, more := 1, true; more; n++ {
		raw := storage.Scope(shared, fmt.Sprint(n))
		other := directory(t, raw, c.Now)
		u := must[users.User](t)(other.Create(t.Context(), person("a", "old@example.com", "old")))
		s, reached := before(raw, n, func() {
			now := must[users.User](t)(other.BySubject(t.Context(), "a"))
			now.Email, now.EmailKey, now.Username = "old@example.com", "old@example.com", "old"
			must[users.User](t)(other.Update(t.Context(), now))
		})
		u.Email, u.EmailKey, u.Username = "new@example.com", "new@example.com", "new"
		_, err := directory(t, s, c.Now).Update(t.Context(), u)
		if err != nil && !errors.Is(err, users.ErrConflict) {
			t.Errorf("call %d: %v", n, err)
		}
		more = *reached
		if all := checkWhole(t, other); len(all) != 1 || more && all[0].Username != "old" {
			t.Errorf("call %d: %+v", n, all)
		}
	}
}

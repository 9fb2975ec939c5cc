package users_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/users"
)

const racers = 100

// race runs f for 0 to racers-1 at once and returns the errors.
func race(f func(i int) error) []error {
	errs := make([]error, racers)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

// A hundred sign-ups of one address at once, each with a subject of its own, make
// one account, and the others hear that the address is taken.
func TestRaceForOneAddress(t *testing.T) {
	for name, username := range map[string]string{"address only": "", "one username": "ann"} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, s storage.Store, c *clock) {
				d := directory(t, s, c.Now)
				errs := race(func(i int) error {
					_, err := retry(func() (users.User, error) {
						return d.Create(t.Context(), person(fmt.Sprint("s", i), "a@example.com", username))
					})
					return err
				})
				won := 0
				for i, err := range errs {
					switch {
					case err == nil:
						won++
						if _, err := d.BySubject(t.Context(), fmt.Sprint("s", i)); err != nil {
							t.Errorf("%d was told it has an account: %v", i, err)
						}
					case errors.Is(err, users.ErrEmailTaken):
					case username != "" && (errors.Is(err, users.ErrUsernameTaken) || errors.Is(err, users.ErrConflict)):
					default:
						t.Errorf("%d: %v", i, err)
					}
				}
				if won != 1 {
					t.Errorf("%d were told they have an account", won)
				}
				if all := checkWhole(t, d); len(all) != 1 {
					t.Errorf("%d accounts", len(all))
				}
			})
		})
	}
}

// Everybody signs in, whoever creates the account.
func TestRaceToSignIn(t *testing.T) {
	eachStore(t, func(t *testing.T, s storage.Store, c *clock) {
		d := directory(t, s, c.Now)
		subjects := make([]string, racers)
		for i, err := range race(func(i int) error {
			u, err := retry(func() (users.User, error) {
				return signIn(t.Context(), d, fmt.Sprint("s", i), "a@example.com", "")
			})
			subjects[i] = u.Subject
			return err
		}) {
			if err != nil || subjects[i] != subjects[0] {
				t.Errorf("%d: %q, %v; the first is %q", i, subjects[i], err, subjects[0])
			}
		}
		checkWhole(t, d)
	})
}

// The same sign-up a hundred times at once succeeds as one account.
func TestRaceOfRepeats(t *testing.T) {
	eachStore(t, func(t *testing.T, s storage.Store, c *clock) {
		d := directory(t, s, c.Now)
		for i, err := range race(func(int) error {
			u, err := retry(func() (users.User, error) {
				return d.Create(t.Context(), person("s", "a@example.com", "ann"))
			})
			if err == nil && u.Subject != "s" {
				return fmt.Errorf("got %+v", u)
			}
			return err
		}) {
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
		if all := checkWhole(t, d); len(all) != 1 {
			t.Errorf("%d accounts", len(all))
		}
	})
}

// A hundred people who want one username end as at most one account with it, and
// nobody is told of an account that is not there.
func TestRaceForOneUsername(t *testing.T) {
	eachStore(t, func(t *testing.T, s storage.Store, c *clock) {
		d := directory(t, s, c.Now)
		won := 0
		for i, err := range race(func(i int) error {
			_, err := retry(func() (users.User, error) {
				return d.Create(t.Context(), person(fmt.Sprint("s", i), fmt.Sprint(i, "@example.com"), "ann"))
			})
			return err
		}) {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, users.ErrUsernameTaken) && !errors.Is(err, users.ErrConflict):
				t.Errorf("%d: %v", i, err)
			}
		}
		if all := checkWhole(t, d); won != 1 || len(all) != 1 {
			t.Errorf("%d were told they have an account; there are %d", won, len(all))
		}
	})
}

// The same, when everybody asks several times at once: what one of the requests of a
// person has found out may have changed when another acts, and still the name does
// not end as nobody's.
func TestRaceForOneUsernameOfRepeats(t *testing.T) {
	const people, rounds = 5, 3
	eachStore(t, func(t *testing.T, s storage.Store, c *clock) {
		for n := range rounds {
			d := directory(t, storage.Scope(s, fmt.Sprint(n)), c.Now)
			won := map[string]bool{}
			for i, err := range race(func(i int) error {
				subject := fmt.Sprint("s", i%people)
				for {
					_, err := d.Create(t.Context(), person(subject, subject+"@example.com", "ann"))
					if !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, users.ErrConflict) {
						return err
					}
				}
			}) {
				switch {
				case err == nil:
					won[fmt.Sprint("s", i%people)] = true
				case !errors.Is(err, users.ErrUsernameTaken):
					t.Errorf("%d: %v", i, err)
				}
			}
			if all := checkWhole(t, d); len(won) != 1 || len(all) != 1 {
				t.Fatalf("%d people were told they have an account; there are %d", len(won), len(all))
			}
		}
	})
}

// Many changes of one account from one state: exactly one succeeds.
func TestRaceOfUpdates(t *testing.T) {
	eachStore(t, func(t *testing.T, s storage.Store, c *clock) {
		d := directory(t, s, c.Now)
		u := must[users.User](t)(d.Create(t.Context(), person("a", "a@example.com", "")))
		won := 0
		for i, err := range race(func(i int) error {
			v := u
			if i%2 == 0 {
				v.Email, v.EmailKey = fmt.Sprint(i, "@example.com"), fmt.Sprint(i, "@example.com")
			} else {
				v.Name = fmt.Sprint("name ", i)
			}
			_, err := d.Update(t.Context(), v)
			return err
		}) {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, users.ErrConflict) && !errors.Is(err, storage.ErrUnavailable):
				t.Errorf("%d: %v", i, err)
			}
		}
		if won > 1 {
			t.Errorf("%d changes of one state succeeded", won)
		}
		if all := checkWhole(t, d); len(all) != 1 {
			t.Errorf("%+v", all)
		}
	})
}

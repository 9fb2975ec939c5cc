package verification_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/lettergate/lettergate/provider/internal/verification"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// outage is a store that fails one call: the n-th from now, before or after it
// took effect.
type outage struct {
	left atomic.Int64 // calls until the failure
	late bool
	only func(storetest.Op) bool
}

func (o *outage) wrap(s storage.Store) storage.Store {
	return storetest.Faulty(s, func(op storetest.Op) error {
		if o.left.Load() <= 0 || o.only != nil && !o.only(op) || o.left.Add(-1) != 0 {
			return nil
		}
		if o.late {
			return storetest.After(storage.ErrUnavailable)
		}
		return storage.ErrUnavailable
	})
}

// Whichever call of a sign-in fails, before or after it took effect, the answer is
// the truth: an outage is never called a wrong code, an acknowledged success is an
// account that works, and the next verification signs in.
func TestOutageAtEachCall(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("after the call %t", late), func(t *testing.T) {
			w := newWorld(t, setup{})
			o := &outage{late: late}
			process := w.beside(o.wrap(w.store))
			failures := 0
			for n := int64(1); ; n++ {
				email := fmt.Sprintf("user%d@example.com", n)
				s := w.start(email)
				o.left.Store(n)
				p, err := process.Redeem(t.Context(), s.try())
				reached := o.left.Load() <= 0
				o.left.Store(0)
				switch {
				case err == nil:
					if u, err := w.users.ByEmail(t.Context(), email); err != nil || u.Subject != p.User.Subject {
						t.Errorf("call %d: acknowledged %s, the account is %s, %v", n, p.User.Subject, u.Subject, err)
					}
				case !errors.Is(err, storage.ErrUnavailable):
					t.Errorf("call %d: %v", n, err)
				default:
					failures++
				}
				q := w.wins(w.start(email).try())
				if err == nil && q.User.Subject != p.User.Subject {
					t.Errorf("call %d: two accounts", n)
				}
				if !reached {
					if failures < 5 {
						t.Errorf("only %d of %d calls failed", failures, n)
					}
					return
				}
			}
		})
	}
}

// beside is another process on w's store as it sees it. Its outbox does not run.
func (w *world) beside(served storage.Store) *world {
	w.Helper()
	p := *w
	p.users = w.directory(served)
	p.out = p.newOutbox(served)
	p.Service = p.newService(served)
	return &p
}

// A start that was acknowledged has its verification and its mail; one that was
// not, says so.
func TestOutageAtStart(t *testing.T) {
	for _, late := range []bool{false, true} {
		w := newWorld(t, setup{})
		o := &outage{late: late}
		process := w.beside(o.wrap(w.store))
		for n := int64(1); n <= 4; n++ {
			email := fmt.Sprintf("user%d@example.com", n)
			o.left.Store(n)
			s, ticket, err := process.Start(t.Context(), verification.Request{ClientID: client, Email: address(t, email)})
			o.left.Store(0)
			if err != nil {
				if !errors.Is(err, storage.ErrUnavailable) {
					t.Errorf("call %d: %v", n, err)
				}
				continue
			}
			w.out.Dispatch(ticket)
			w.wins(started{s, w.code(email)}.try())
		}
	}
}

// A try that could not be counted is not compared: the right code is as good as
// before.
func TestUncountedIsNotCompared(t *testing.T) {
	for _, counter := range []string{"try/source/", "try/verification/", "try/account/stranger/"} {
		for _, late := range []bool{false, true} {
			o := &outage{late: late, only: func(op storetest.Op) bool {
				return op.Name == "Add" && strings.Contains(op.Key.ID, counter)
			}}
			w := newWorld(t, setup{})
			s := w.start("ann@example.com")
			o.left.Store(1)
			if _, err := w.beside(o.wrap(w.store)).Redeem(t.Context(), s.try()); !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("without %s: %v", counter, err)
			}
			if o.left.Load() != 0 {
				t.Errorf("no try was counted at %s", counter)
			}
			w.wins(s.try())
		}
	}
}

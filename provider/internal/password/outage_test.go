package password_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/internal/password"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// nth fails the n-th call from now, before or after it took effect, and says
// whether it came to that.
func nth(n int, late bool) (fail func(storetest.Op) error, reached *bool) {
	reached = new(bool)
	return func(storetest.Op) error {
		if n--; n != 0 {
			return nil
		}
		*reached = true
		if late {
			return storetest.After(storage.ErrUnavailable)
		}
		return storage.ErrUnavailable
	}, reached
}

// Whichever call fails, before or after it took effect, an outage is never called
// a wrong password, a wrong password never passes, and the next try is as good as
// ever.
func TestOutageAtEachCall(t *testing.T) {
	for _, late := range []bool{false, true} {
		for _, value := range []string{right, "wrong"} {
			failed, least := 0, 3 // Get and two counters
			for n, reached := 1, new(true); *reached; n++ {
				w := newWorld(t, small())
				w.set("ann", right)
				w.Service = w.service(password.Config{Memory: 16, Iterations: 1}) // a success writes a hash, too
				var fail func(storetest.Op) error
				fail, reached = nth(n, late)
				w.calls.failing(fail)
				err := w.Verify(t.Context(), onPhone(try(value, 0)))
				w.calls.failing(nil)
				switch {
				case errors.Is(err, storage.ErrUnavailable):
					failed++
				case value == right && err != nil, value != right && !errors.Is(err, password.ErrWrong):
					t.Errorf("%s, call %d, late %t: %v", value, n, late, err)
				}
				w.verify(onPhone(try(right, 0)), nil)
			}
			if failed != least {
				t.Errorf("%s, late %t: %d calls were answered by an outage; want %d", value, late, failed, least)
			}
		}
	}
}

// A try that could not be counted costs no hash and gets no answer.
func TestUncountedIsNotCompared(t *testing.T) {
	for _, counter := range []string{"password/source/", "password/account/stranger/"} {
		w := newWorld(t, password.Config{Memory: 4 << 10, Iterations: 1})
		w.set("ann", right)
		w.calls.failing(func(op storetest.Op) error {
			if op.Name == "Add" && strings.Contains(op.Key.ID, counter) {
				return storetest.After(storage.ErrUnavailable)
			}
			return nil
		})
		var err error
		if spent := allocated(func() { err = w.Verify(t.Context(), try(right, 0)) }); spent > 2<<20 || !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("without %s: %v, with %d bytes", counter, err, spent)
		}
		w.calls.failing(nil)
		w.verify(try(right, 0), nil)
	}
}

// Set says the truth: after an error the old password is as good as before, and
// after none the new one is.
func TestOutageAtChange(t *testing.T) {
	for _, late := range []bool{false, true} {
		for n := 1; n <= 3; n++ {
			w := newWorld(t, small())
			w.set("ann", right)
			hash := must(w.Hash(t.Context(), "other horse 2"))(t)
			fail, _ := nth(n, late)
			w.calls.failing(fail)
			err := w.Set(t.Context(), "ann", hash, time.Time{})
			w.calls.failing(nil)
			good := "other horse 2"
			if err != nil {
				good = right
				if !errors.Is(err, storage.ErrUnavailable) {
					t.Errorf("call %d: %v", n, err)
				}
			}
			if err == nil != (n == 3 || n == 2 && late) {
				t.Errorf("call %d, late %t: %v", n, late, err)
			}
			w.verify(try(good, 0), nil)
		}
	}
	w := newWorld(t, small())
	w.calls.failing(func(storetest.Op) error { return storage.ErrUnavailable })
	if err := w.Remove(t.Context(), "ann"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Remove: %v", err)
	}
	if _, _, err := w.Changed(t.Context(), "ann"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Changed: %v", err)
	}
}

package password_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/internal/password"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

func TestChanged(t *testing.T) {
	w := newWorld(t, small())
	if at, ok, err := w.Changed(t.Context(), "ann"); err != nil || ok || !at.IsZero() {
		t.Errorf("before: %v, %v, %v", at, ok, err)
	}
	w.set("ann", right)
	first := w.clock.Now()
	w.clock.advance(time.Hour)
	w.verify(try(right, 0), nil)
	if at, ok, err := w.Changed(t.Context(), "ann"); err != nil || !ok || !at.Equal(first) {
		t.Errorf("after Set: %v, %v, %v; want %v", at, ok, err, first)
	}
	w.set("ann", "other horse 2")
	if at, ok, err := w.Changed(t.Context(), "ann"); err != nil || !ok || !at.Equal(w.clock.Now()) {
		t.Errorf("after the second Set: %v, %v, %v", at, ok, err)
	}
	w.verify(try(right, 1), password.ErrWrong)
	w.verify(try("other horse 2", 1), nil)
	if err := w.Remove(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := w.Changed(t.Context(), "ann"); err != nil || ok {
		t.Errorf("after Remove: %v, %v", ok, err)
	}
}

// A password can be set until a moment; a renewed hash ends at the same moment.
func TestExpires(t *testing.T) {
	w := newWorld(t, small())
	hash := must(w.Hash(t.Context(), right))(t)
	if err := w.Set(t.Context(), "ann", hash, w.clock.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	w.Service = w.service(password.Config{Memory: 16, Iterations: 1})
	w.verify(try(right, 0), nil)
	w.clock.advance(time.Hour)
	w.verify(try(right, 0), password.ErrNotSet)
}

// A hash that was made with other parameters is made again when its owner signs
// in, and only then. Nothing else of the record changes.
func TestRenewal(t *testing.T) {
	w := newWorld(t, small())
	w.set("ann", right)
	before := w.stored("ann")
	w.Service = w.service(password.Config{Memory: 16, Iterations: 2})
	set := w.clock.Now()
	w.clock.advance(time.Hour)

	w.verify(try("wrong", 0), password.ErrWrong)
	if w.stored("ann").Version != before.Version {
		t.Error("a wrong password renewed the hash")
	}
	w.verify(try(right, 0), nil)
	after := w.stored("ann")
	if !strings.Contains(string(after.Value), "$m=16,t=2,p=1$") {
		t.Errorf("stored %s", after.Value)
	}
	if at, _, _ := w.Changed(t.Context(), "ann"); !at.Equal(set) {
		t.Errorf("changed %v; want %v", at, set)
	}
	w.verify(try(right, 0), nil)
	if w.stored("ann").Version != after.Version {
		t.Error("the hash was renewed twice")
	}
}

// What happens to the password while its hash is made again, stands.
func TestRenewalAndChange(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*world, *password.Service) error
		after  error // of the new password
	}{
		{"set", func(w *world, s *password.Service) error {
			return s.Set(w.Context(), "ann", must(s.Hash(w.Context(), "other horse 2"))(w), time.Time{})
		}, nil},
		{"removed", func(w *world, s *password.Service) error { return s.Remove(w.Context(), "ann") }, password.ErrNotSet},
	} {
		w := newWorld(t, small())
		w.set("ann", right)
		beside := w.beside(small())
		w.Service = w.service(password.Config{Memory: 16, Iterations: 1})
		met := false
		w.calls.failing(func(op storetest.Op) error {
			if op.Name == "Put" && op.Key.Kind == storage.Password {
				met = true
				if err := row.change(w, beside); err != nil {
					t.Error(err)
				}
			}
			return nil
		})
		w.verify(try(right, 0), nil) // it was right when it was read
		w.calls.failing(nil)
		if !met {
			t.Errorf("%s: no renewal", row.name)
		}
		if err := w.Verify(t.Context(), try(right, 0)); err == nil {
			t.Errorf("%s: the old password came back", row.name)
		}
		w.verify(try("other horse 2", 0), row.after)
	}
}

// Of passwords that are set at once, one stands and all are acknowledged, while the
// old one is tried and renewed.
func TestChangesAtOnce(t *testing.T) {
	w := newWorld(t, small())
	w.set("ann", right)
	w.Service = w.service(password.Config{Memory: 16, Iterations: 1})
	values := []string{"first horse 1", "second horse 2", "third horse 3", "fourth horse 4"}
	var wg sync.WaitGroup
	for n, value := range values {
		hash := must(w.Hash(t.Context(), value))(t)
		wg.Go(func() {
			if err := w.Set(t.Context(), "ann", hash, time.Time{}); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { _ = w.Verify(t.Context(), try(right, n)) })
	}
	wg.Wait()
	if err := w.Verify(t.Context(), try(right, 10)); err == nil {
		t.Error("the old password came back")
	}
	stand := 0
	for n, value := range values {
		if w.Verify(t.Context(), try(value, 20+n)) == nil {
			stand++
		}
	}
	if stand != 1 {
		t.Errorf("%d passwords are right", stand)
	}
}

package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/middleware/session"
	"github.com/lettergate/lettergate/middleware/session/sessiontest"
)

func TestMemory(t *testing.T) {
	sessiontest.Run(t, func(_ *testing.T, now func() time.Time) session.Store { return session.NewMemory(1000, now) })
}

func TestMemoryIsBounded(t *testing.T) {
	c := newClock()
	m := session.NewMemory(10, c.now)
	for n := range 1000 {
		r := session.Record{ID: fmt.Sprint(n), Version: "1", Groups: []string{"g", fmt.Sprint("of ", n)}, Expires: c.now().Add(time.Hour - time.Duration(n)*time.Second)}
		if n == 500 {
			r.Expires = c.now().Add(2 * time.Hour)
		}
		if err := m.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	ids, err := m.List(t.Context(), "g")
	if m.Len() != 10 || len(ids) != 10 || err != nil {
		t.Fatalf("%d records, %d in the group, %v", m.Len(), len(ids), err)
	}
	if r, err := m.Get(t.Context(), "500"); err != nil || r.ID == "" {
		t.Errorf("the one that lasts longest is gone, %v", err)
	}
	c.advance(3 * time.Hour)
	if m.Len() != 0 {
		t.Errorf("%d records after their end", m.Len())
	}
}

// A fickle store fails as it is told to.
type fickle struct {
	*session.Memory
	mu sync.Mutex
	// down fails every call. lost is how many Puts are done and not acknowledged,
	// dropped how many are not done.
	down          bool
	lost, dropped int
}

var errDown = errors.New("the store is down")

func (f *fickle) set(change func(*fickle)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fickle) isDown() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return errDown
	}
	return nil
}

func (f *fickle) Get(ctx context.Context, id string) (session.Record, error) {
	if err := f.isDown(); err != nil {
		return session.Record{}, err
	}
	return f.Memory.Get(ctx, id)
}

func (f *fickle) Put(ctx context.Context, r session.Record) error {
	if err := f.isDown(); err != nil {
		return err
	}
	f.mu.Lock()
	lost, dropped := f.lost > 0, f.dropped > 0
	if lost {
		f.lost--
	} else if dropped {
		f.dropped--
	}
	f.mu.Unlock()
	if dropped && !lost {
		return errDown
	}
	if err := f.Memory.Put(ctx, r); err != nil || !lost {
		return err
	}
	return errDown
}

func (f *fickle) Delete(ctx context.Context, id string) error {
	if err := f.isDown(); err != nil {
		return err
	}
	return f.Memory.Delete(ctx, id)
}

func (f *fickle) List(ctx context.Context, group string) ([]string, error) {
	if err := f.isDown(); err != nil {
		return nil, err
	}
	return f.Memory.List(ctx, group)
}

// bubble runs a test with a fickle store in a bubble.
func bubble(t *testing.T, test func(t *testing.T, w *world, f *fickle)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w, f := newWorld(t), &fickle{Memory: session.NewMemory(1000, nil)}
		w.app(keptIn(f))
		test(t, w, f)
	})
}

// While the store is down nobody is signed out, and nobody gets in.
func TestStoreDown(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, f *fickle) {
		b := w.browser()
		b.signIn()
		cookies := b.cookies()
		f.set(func(f *fickle) { f.down = true })
		b.open(appURL+"/").refused(t, http.StatusServiceUnavailable, "not possible at the moment")
		b.open(appURL+"/public").greeted(t, "whoever")
		b.post(appURL+"/auth/logout").refused(t, http.StatusServiceUnavailable, "")
		if a := w.tell(w.issuer.logoutToken(nil)); a.status != http.StatusServiceUnavailable {
			t.Errorf("a logout token: %d", a.status)
		}
		other := w.browser()
		at := other.begin(appURL + "/")
		other.open(at).refused(t, http.StatusServiceUnavailable, "")
		if got := w.exchanged(); got != 1 {
			t.Errorf("%d codes were exchanged", got)
		}
		if len(b.cookies()) != len(cookies) {
			t.Error("the browser lost its cookie")
		}
		f.set(func(f *fickle) { f.down = false })
		b.open(appURL+"/").greeted(t, "user-1")
	})
}

// A logout token whose logout failed half-way can be sent again.
func TestBackchannelLogoutIsRepeated(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, f *fickle) {
		b := w.browser()
		b.signIn()
		token := w.issuer.logoutToken(nil)
		w.app(keptIn(noList{f.Memory}))
		if a := w.tell(token); a.status != http.StatusServiceUnavailable {
			t.Fatalf("%d %s", a.status, a.body)
		}
		w.app(keptIn(f))
		if a := w.tell(token); a.status != http.StatusOK || b.isSignedIn() {
			t.Errorf("again: %d %s", a.status, a.body)
		}
	})
}

// noList is a store that cannot list.
type noList struct{ *session.Memory }

func (noList) List(context.Context, string) ([]string, error) { return nil, errDown }

func TestAnswersOfTheStoreAreLost(t *testing.T) {
	for name, change := range map[string]func(*fickle){
		"lost":             func(f *fickle) { f.lost = 1 },
		"lost twice":       func(f *fickle) { f.lost = 2 },
		"not done":         func(f *fickle) { f.dropped = 1 },
		"not done, twice":  func(f *fickle) { f.dropped = 2 },
		"lost, then not":   func(f *fickle) { f.lost, f.dropped = 1, 1 },
		"lost for a while": func(f *fickle) { f.lost = 4 },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world, f *fickle) {
				f.set(change)
				b := w.browser()
				b.signIn()
				f.set(change)
				pass(11 * time.Minute)
				for _, a := range b.atOnce(10, "/") {
					a.greeted(t, "user-1")
				}
				pass(11 * time.Minute)
				b.open(appURL+"/").greeted(t, "user-1")
				if w.refreshed() != 2 || w.reused() != 0 || w.exchanged() != 1 {
					t.Errorf("%d refreshes, %d of a spent token, %d codes", w.refreshed(), w.reused(), w.exchanged())
				}
			})
		})
	}
}

// A process that dies with the right to refresh leaves it to others after a while.
func TestRightToRefreshExpires(t *testing.T) {
	bubble(t, func(t *testing.T, w *world, f *fickle) {
		b := w.browser()
		b.signIn()
		pass(11 * time.Minute)
		real := w.hosts[issuerURL]
		w.hosts[issuerURL] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				f.set(func(f *fickle) { f.down = true }) // all it does from now on is lost
				rw.WriteHeader(http.StatusBadGateway)
				return
			}
			real.ServeHTTP(rw, r)
		})
		b.open(appURL+"/").refused(t, http.StatusServiceUnavailable, "")
		w.hosts[issuerURL] = real
		f.set(func(f *fickle) { f.down = false })
		w.app(keptIn(f))
		start := time.Now()
		b.open(appURL+"/").greeted(t, "user-1")
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// Nobody who reads the store can use what is there.
func TestNothingSecretInTheStore(t *testing.T) {
	w, m := newWorld(t), session.NewMemory(100, nil)
	spy := &spy{Memory: m}
	w.app(keptIn(spy))
	b := w.browser()
	access := b.signIn().accessToken(t)
	_, cookie := b.sessionCookie()
	for _, hint := range []string{"access-" + access, "refresh-", "user-1", "session-1", "eyJ", cookie, "mail.example"} {
		if strings.Contains(spy.text.String(), hint) {
			t.Errorf("the store was given %q", hint)
		}
	}
	if spy.text.Len() < 1000 {
		t.Errorf("the spy saw %d bytes", spy.text.Len())
	}
}

// A spy notes what a store is given.
type spy struct {
	*session.Memory
	text strings.Builder
}

func (s *spy) Put(ctx context.Context, r session.Record) error {
	fmt.Fprintf(&s.text, "%+v %s\n", r, r.Value)
	return s.Memory.Put(ctx, r)
}

package session_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/provider/internal/outbox"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/internal/session"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

const issuer = "https://id.example"

// grants is the record of what was revoked.
type grants struct {
	mu      sync.Mutex
	revoked []string
	err     error
}

func (g *grants) RevokeSession(_ context.Context, sid string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return g.err
	}
	g.revoked = append(g.revoked, sid)
	return nil
}

func (g *grants) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err = err
}

func (g *grants) has(sid string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Contains(g.revoked, sid)
}

// A world is one process: a Service with its outbox.
type world struct {
	*testing.T
	*session.Service
	store  storage.Store
	ring   *secrets.Ring
	grants *grants
	out    *outbox.Outbox
}

// bubble runs f on a fake clock with a store of its own.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		raw, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(dir, "test.db")})
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		f(t, newWorld(t, storage.Scope(raw, issuer), &grants{}))
	})
}

func newWorld(t *testing.T, store storage.Store, g *grants) *world {
	t.Helper()
	w := &world{T: t, store: store, grants: g}
	h, err := session.SignOutHandler(store, g)
	if err != nil {
		t.Fatal(err)
	}
	if w.out, err = outbox.New(outbox.Config{Store: store}, map[outbox.Kind]outbox.Handler{session.SignOutKind: h}); err != nil {
		t.Fatal(err)
	}
	if w.ring, err = secrets.New([]secrets.Secret{{ID: "a", Value: []byte(strings.Repeat("a", 32))}}); err != nil {
		t.Fatal(err)
	}
	if w.Service, err = session.New(session.Config{}, session.Deps{Store: store, Secrets: w.ring, Outbox: w.out, Grants: g}); err != nil {
		t.Fatal(err)
	}
	return w
}

// work runs the outbox for a while.
func (w *world) work(d time.Duration) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), d)
	defer cancel()
	if err := w.out.Run(ctx); err != nil {
		w.Error(err)
	}
}

func (w *world) signIn(previous string) (session.Session, string) {
	w.Helper()
	s, cookie, err := w.Authenticated(w.Context(), session.Authentication{
		Subject: "ann", AMR: []string{"otp"}, At: time.Now(), Previous: previous,
	})
	if err != nil {
		w.Fatal(err)
	}
	return s, cookie
}

func (w *world) load(cookie string) (session.Session, bool) {
	w.Helper()
	s, ok, err := w.Load(w.Context(), cookie)
	if err != nil {
		w.Fatal(err)
	}
	return s, ok
}

func (w *world) alive(cookie string) bool {
	w.Helper()
	_, ok := w.load(cookie)
	return ok
}

// pass lets time pass in the bubble.
func pass(d time.Duration) { <-time.After(d) }

func (w *world) isEmpty(groups ...string) {
	w.Helper()
	for _, g := range append(groups, "session/sub/ann") {
		recs, _, err := w.store.List(w.Context(), g, storage.Page{})
		if err != nil || len(recs) != 0 {
			w.Errorf("group %s has %d records, %v", g, len(recs), err)
		}
	}
}

func TestSignIn(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		made, cookie := w.signIn("")
		got, ok := w.load(cookie)
		if !ok || got.ID != made.ID || got.Subject != "ann" || !slices.Equal(got.AMR, []string{"otp"}) ||
			!got.AuthTime.Equal(time.Now().Truncate(time.Second)) || !got.Expires.Equal(time.Now().Add(30*24*time.Hour)) {
			t.Errorf("loaded %+v, %t; made %+v", got, ok, made)
		}
		recs, _, err := w.store.List(t.Context(), "session/sub/ann", storage.Page{})
		if err != nil || len(recs) != 1 || recs[0].Key.ID != made.ID {
			t.Errorf("the subject's sessions are %v, %v", recs, err)
		}
		if strings.Contains(string(recs[0].Value), cookie) || recs[0].Key.ID == cookie {
			t.Error("the store holds the cookie")
		}
		if _, _, err := w.Authenticated(t.Context(), session.Authentication{}); err == nil {
			t.Error("nobody was signed in")
		}
	})
}

// Each sign-in has a new id and cookie, and the old one is dead at once (OP-11).
func TestNewIDAtSignIn(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		first, planted := w.signIn("")
		second, cookie := w.signIn(first.ID)
		if first.ID == second.ID || planted == cookie {
			t.Error("the id or the cookie stayed")
		}
		if w.alive(planted) || !w.alive(cookie) {
			t.Errorf("old alive %t, new alive %t", w.alive(planted), w.alive(cookie))
		}
		w.work(time.Second)
		if !w.grants.has(first.ID) || w.grants.has(second.ID) {
			t.Errorf("revoked %v", w.grants.revoked)
		}
		if !w.alive(cookie) {
			t.Error("the new session died with the old")
		}
	})
}

// Forged cookies cost no read.
func TestForged(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s, cookie := w.signIn("")
		count := storetest.Count(w.store)
		w = newWorld(t, count, w.grants)
		other, err := secrets.New([]secrets.Secret{{ID: "a", Value: []byte(strings.Repeat("b", 32))}})
		if err != nil {
			t.Fatal(err)
		}
		for _, forged := range []string{
			"", "x", s.ID, cookie[:len(cookie)-1], cookie + "A", strings.ToUpper(cookie), cookie + "\n",
			other.Handle("session", make([]byte, 16)), w.ring.Handle("verification", make([]byte, 16)),
			w.ring.Handle("session", nil), w.ring.Handle("session", make([]byte, 17)),
		} {
			if w.alive(forged) {
				t.Errorf("%q was accepted", forged)
			}
		}
		if n := count.Calls(); n != 0 {
			t.Errorf("forged cookies cost %d calls", n)
		}
		if !w.alive(cookie) || count.Calls() != 1 {
			t.Errorf("a good one cost %d calls", count.Calls())
		}
	})
}

func TestIdle(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		_, cookie := w.signIn("")
		pass(12*time.Hour - time.Millisecond)
		if !w.alive(cookie) {
			t.Error("died early")
		}
		pass(time.Millisecond)
		if w.alive(cookie) {
			t.Error("still alive after 12 h")
		}
	})
}

// Our clock decides, also when the store has not noticed.
func TestOurClockDecides(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s, cookie := w.signIn("")
		later, err := session.New(session.Config{Now: func() time.Time { return time.Now().Add(12 * time.Hour) }},
			session.Deps{Store: w.store, Secrets: w.ring, Outbox: w.out, Grants: w.grants})
		if err != nil {
			t.Fatal(err)
		}
		if err := later.Touch(w.Context(), s); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := later.Load(w.Context(), cookie); ok || err != nil {
			t.Errorf("alive %t, %v", ok, err)
		}
	})
}

// Use keeps a session alive, but not for ever.
func TestMax(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		_, cookie := w.signIn("")
		for range 59 {
			pass(12*time.Hour - time.Second)
			s, ok := w.load(cookie)
			if !ok {
				t.Fatal("died while in use")
			}
			if err := w.Touch(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		pass(12*time.Hour - time.Second)
		if !w.alive(cookie) {
			t.Error("died before 30 days")
		}
		s, _ := w.load(cookie)
		if err := w.Touch(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if w.alive(cookie) {
			t.Error("alive after 30 days")
		}
	})
}

// Most requests write nothing.
func TestTouchIsRare(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		_, cookie := w.signIn("")
		count := storetest.Count(w.store)
		w = newWorld(t, count, w.grants)
		old, _ := w.load(cookie)
		for range 60 {
			pass(10 * time.Second)
			s, _ := w.load(cookie)
			if err := w.Touch(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		if n := count.Calls("Put"); n != 2 {
			t.Errorf("ten minutes of use cost %d writes, want 2", n)
		}
		// A request that has waited since the beginning finds that others were here.
		if err := w.Touch(t.Context(), old); err != nil || count.Calls("Put") != 2 {
			t.Errorf("an old request wrote once more, %v", err)
		}
	})
}

func TestEnd(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s, cookie := w.signIn("")
		_, other := w.signIn("")
		before, _ := w.load(cookie)
		if err := w.End(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		if w.alive(cookie) || !w.alive(other) || !w.grants.has(s.ID) {
			t.Errorf("alive %t, other alive %t, revoked %v", w.alive(cookie), w.alive(other), w.grants.revoked)
		}
		pass(10 * time.Minute)
		if err := w.Touch(t.Context(), before); err != nil || w.alive(cookie) {
			t.Errorf("a late request brought the session back: %v", err)
		}
		for _, sid := range []string{s.ID, "", "x", strings.Repeat("A", 22), strings.Repeat("x", 5000)} {
			if err := w.End(t.Context(), sid); err != nil {
				t.Errorf("end %.30q: %v", sid, err)
			}
		}
		w.work(2 * time.Minute)
		if len(w.grants.revoked) != 3 { // s twice and the id of nothing
			t.Errorf("revoked %v", w.grants.revoked)
		}
	})
}

// Touching and ending at once never leaves the session alive.
func TestEndMeetsTouch(t *testing.T) {
	for _, weak := range []bool{false, true} {
		bubble(t, func(t *testing.T, w *world) {
			if weak {
				w = newWorld(t, storetest.Weakest(w.store), w.grants)
			}
			for range 20 {
				_, cookie := w.signIn("")
				pass(6 * time.Minute)
				s, _ := w.load(cookie)
				var wg sync.WaitGroup
				for range 10 {
					wg.Go(func() { _ = w.Touch(t.Context(), s) })
				}
				var ended error
				wg.Go(func() { ended = w.End(w.Context(), s.ID) })
				wg.Wait()
				if ended != nil && !weak {
					t.Error(ended)
				}
				if ended == nil && w.alive(cookie) {
					t.Error("alive after End")
				}
			}
		})
	}
}

// Whatever call of End fails or is the last of its process: once the job was
// stored, the session ends and its grants are revoked, by another process.
func TestEndIsResumed(t *testing.T) {
	for _, late := range []bool{false, true} {
		for n := 1; ; n++ {
			calls := 0
			bubble(t, func(t *testing.T, w *world) {
				s, cookie := w.signIn("")
				// The process loses its store with the n-th call, and with it everything.
				dying := newWorld(t, storetest.Faulty(w.store, func(storetest.Op) error {
					calls++
					switch {
					case calls == n && late:
						return storetest.After(storage.ErrUnavailable)
					case calls >= n:
						return storage.ErrUnavailable
					}
					return nil
				}), w.grants)
				err := dying.End(t.Context(), s.ID)
				if err != nil && !errors.Is(err, storage.ErrUnavailable) {
					t.Errorf("call %d: %v", n, err)
				}
				stored := n > 1 || late // the first call stores the job
				w.work(2 * time.Minute)
				if stored && (w.alive(cookie) || !w.grants.has(s.ID)) {
					t.Errorf("call %d: alive %t, revoked %v", n, w.alive(cookie), w.grants.revoked)
				}
				if stored {
					w.isEmpty()
				}
				if !stored && !w.alive(cookie) {
					t.Error("ended without a job")
				}
			})
			if calls < n {
				break
			}
		}
	}
}

// The process dies as soon as the job is stored. Whoever resumes ends the session
// before anything else.
func TestResumedEndBeginsWithTheSession(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s, cookie := w.signIn("")
		dying := newWorld(t, storetest.Faulty(w.store, func(op storetest.Op) error {
			if op.Key.Kind == storage.Session {
				return storage.ErrUnavailable
			}
			return nil
		}), w.grants)
		if err := dying.End(w.Context(), s.ID); !errors.Is(err, storage.ErrUnavailable) {
			t.Fatalf("End: %v", err)
		}
		w.grants.fail(storage.ErrUnavailable)
		w.work(40 * time.Second)
		if w.alive(cookie) {
			t.Error("alive while its grants are being revoked")
		}
	})
}

// A sign-out whose grants could not be revoked is not called done, and is done later.
func TestEndTellsTheTruth(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s, cookie := w.signIn("")
		w.grants.fail(storage.ErrUnavailable)
		if err := w.End(t.Context(), s.ID); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("End: %v", err)
		}
		if w.alive(cookie) {
			t.Error("alive after the deciding step")
		}
		w.grants.fail(nil)
		w.work(2 * time.Minute)
		if !w.grants.has(s.ID) {
			t.Error("never revoked")
		}
		w.isEmpty()
	})
}

func TestOutage(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		s, cookie := w.signIn("")
		down := newWorld(t, storetest.Faulty(w.store, func(storetest.Op) error { return storage.ErrUnavailable }), w.grants)
		if _, ok, err := down.Load(t.Context(), cookie); ok || !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("Load: %t, %v", ok, err)
		}
		if _, _, err := down.Authenticated(t.Context(), session.Authentication{Subject: "ann", At: time.Now()}); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("Authenticated: %v", err)
		}
		pass(time.Hour)
		if err := down.Touch(t.Context(), s); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("Touch: %v", err)
		}
	})
}

// A damaged record is nobody's session and can be signed out of.
func TestDamagedRecord(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		for _, damage := range []string{"", "{", `{"v":1,"expires":"x"}`} {
			s, cookie := w.signIn("")
			recs, err := w.store.Get(t.Context(), storage.Key{Kind: storage.Session, ID: s.ID})
			if err != nil {
				t.Fatal(err)
			}
			rec := recs[0]
			rec.Value, rec.Prev, rec.Version = []byte(damage), rec.Version, storage.NewVersion()
			if err := w.store.Put(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
			if w.alive(cookie) {
				t.Errorf("%q is a session", damage)
			}
			if err := w.End(t.Context(), s.ID); err != nil || !w.grants.has(s.ID) {
				t.Errorf("End of %q: %v", damage, err)
			}
		}
	})
}

func TestNewRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		deps := session.Deps{Store: w.store, Secrets: w.ring, Outbox: w.out, Grants: w.grants}
		for name, change := range map[string]func(*session.Deps){
			"store":   func(d *session.Deps) { d.Store = nil },
			"secrets": func(d *session.Deps) { d.Secrets = nil },
			"outbox":  func(d *session.Deps) { d.Outbox = nil },
			"grants":  func(d *session.Deps) { d.Grants = nil },
		} {
			d := deps
			change(&d)
			if _, err := session.New(session.Config{}, d); err == nil {
				t.Errorf("without %s: accepted", name)
			}
		}
		if _, err := session.SignOutHandler(nil, nil); err == nil {
			t.Error("a handler of nothing was accepted")
		}
	})
}

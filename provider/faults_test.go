package provider_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// A fault makes the store of a server fail one request at a time.
type fault struct {
	mu    sync.Mutex
	armed bool
	call  int // which call of the request fails, from 1
	on    bool
	err   error
	n     int  // calls so far
	put   bool // some Put was let through, or may have been
}

// arm lets the call fail, and with on every later one too.
func (f *fault) arm(call int, on bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed, f.call, f.on, f.err, f.n, f.put = true, call, on, err, 0, false
}

// disarm returns how many calls there were, and whether something may be stored.
func (f *fault) disarm() (calls int, put bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = false
	return f.n, f.put
}

func (f *fault) fail(op storetest.Op) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.armed {
		return nil
	}
	f.n++
	fails := f.n == f.call || f.on && f.n > f.call
	if op.Name == "Put" && (!fails || errors.Is(f.err, lateErr)) {
		f.put = true
	}
	if fails {
		return f.err
	}
	return nil
}

// errHostile is an outage whose text is full of what nobody outside may read, and
// lateErr the loss of an answer with the same text.
var (
	errHostile = fmt.Errorf("%w: %s", storage.ErrUnavailable, hostileText)
	lateErr    = storetest.After(errHostile)
)

// A flow is a request that a failing store can meet.
type flow struct {
	name string
	// prepare does what comes before and returns the request. It may be called
	// again and again.
	prepare func(s *server, address string) (ask func() answer)
	// ok is the status with a store that works.
	ok int
}

// spentOnce is the flow in which a conflict is an answer: somebody else was first.
const spentOnce = "client_credentials, with an assertion"

var flows = []flow{
	{"authorize, signed in", func(s *server, address string) func() answer {
		b, _ := s.signedIn(address, "openid")
		return func() answer { return b.send(s.request("GET", authorizePath(webID), "")) }
	}, http.StatusSeeOther},
	{"authorize, consent page", func(s *server, address string) func() answer {
		b, _ := s.signedIn(address, "openid")
		return func() answer { return b.send(s.request("GET", authorizePath(thirdID), "")) }
	}, http.StatusOK},
	{"consent", func(s *server, address string) func() answer {
		b, _ := s.signedIn(address, "openid")
		action, fields := formOf(s.t, b.get(authorizePath(thirdID, "prompt", "consent")).body, "allow")
		fields.Set("decision", "allow")
		return func() answer { return form{action: action, values: fields}.send(b, fields) }
	}, http.StatusSeeOther},
	{"authorize, allowed before", func(s *server, address string) func() answer {
		b, _ := s.signedIn(address, "openid")
		b.allows().arrives(s.t, callback)
		return func() answer { return b.send(s.request("GET", authorizePath(thirdID), "")) }
	}, http.StatusSeeOther},
	{"code exchange, allowed by the person", func(s *server, address string) func() answer {
		b, _ := s.signedIn(address, "openid")
		code := b.allows().arrives(s.t, callback).Get("code")
		return func() answer { return s.thirdExchange(code) }
	}, http.StatusOK},
	{"refresh, allowed by the person", func(s *server, address string) func() answer {
		b, _ := s.signedIn(address, "openid")
		token := s.thirdExchange(b.allows().arrives(s.t, callback).Get("code")).json(s.t)["refresh_token"].(string)
		return func() answer { return s.thirdRefresh(token) }
	}, http.StatusOK},
	{"sign-in page, sent", func(s *server, address string) func() answer {
		b := s.browser()
		action, fields := formOf(s.t, b.get(authorizePath(webID)).body, "email")
		fields.Set("email", address)
		return func() answer { return form{action: action, values: fields}.send(b, fields) }
	}, http.StatusSeeOther},
	{"code page", func(s *server, address string) func() answer {
		b := s.browser()
		_, fields := formOf(s.t, b.submit(b.get(authorizePath(webID)), "email", "email", address).body, "code")
		s.code(address)
		return func() answer { return b.send(s.request("GET", "/login/code?v="+fields.Get("v"), "")) }
	}, http.StatusOK},
	{"code page, other address", func(s *server, address string) func() answer {
		b := s.browser()
		_, fields := formOf(s.t, b.submit(b.get(authorizePath(webID)), "email", "email", address).body, "code")
		s.code(address)
		return func() answer { return b.send(s.request("GET", "/login/email?v="+fields.Get("v"), "")) }
	}, http.StatusOK},
	{"resend", func(s *server, address string) func() answer {
		b := s.browser()
		action, fields := formOf(s.t, b.submit(b.get(authorizePath(webID)), "email", "email", address).body, "resend")
		s.code(address)
		return func() answer { return form{action: action, values: fields}.send(b, fields) }
	}, http.StatusSeeOther},
	{"code page, sent by a new person", codeSent, http.StatusSeeOther},
	{"code page, sent by a known person", func(s *server, address string) func() answer {
		s.tokens(address)
		return codeSent(s, address)
	}, http.StatusSeeOther},
	{"code page, sent by a signed-in person", func(s *server, address string) func() answer {
		b, _ := s.signedIn(address, "openid")
		return codeSentFrom(b, authorizePath(webID, "prompt", "login"), address)
	}, http.StatusSeeOther},
	{"resumed", func(s *server, address string) func() answer {
		b := s.browser()
		a := codeSentFrom(b, authorizePath(webID), address)()
		return func() answer { return b.send(s.request("GET", a.header.Get("Location"), "")) }
	}, http.StatusSeeOther},
	{"signed in without a client", func(s *server, address string) func() answer {
		b, _ := s.signedIn(address, "openid")
		return func() answer { return b.send(s.request("GET", "/login/email", "")) }
	}, http.StatusOK},
	{"code exchange", func(s *server, address string) func() answer {
		code := s.browser().signIn(authorizePath(webID), address).arrives(s.t, callback).Get("code")
		return func() answer { return s.exchange(code) }
	}, http.StatusOK},
	{"refresh", func(s *server, address string) func() answer {
		token := s.tokens(address)["refresh_token"].(string)
		return func() answer { return s.refresh(token) }
	}, http.StatusOK},
	{"refresh in the grace", func(s *server, address string) func() answer {
		tokens := s.tokens(address)
		s.rotated(tokens)
		return func() answer { return s.refresh(tokens["refresh_token"].(string)) }
	}, http.StatusOK},
	{"verification", func(s *server, address string) func() answer {
		return func() answer { return s.post("/oauth2/verification", "client_id", nativeID, "email", address) }
	}, http.StatusOK},
	{"emailed code of a new person", func(s *server, address string) func() answer {
		v := s.begin(address, "scope", "openid offline_access")
		return func() answer { return s.redeem(v) }
	}, http.StatusOK},
	{"emailed code of a known person", func(s *server, address string) func() answer {
		s.tokens(address)
		v := s.begin(address, "scope", "openid offline_access")
		return func() answer { return s.redeem(v) }
	}, http.StatusOK},
	{"userinfo", func(s *server, address string) func() answer {
		token := s.tokens(address)["access_token"].(string)
		return func() answer { return s.userinfo(token) }
	}, http.StatusOK},
	{"introspection", func(s *server, address string) func() answer {
		token := s.backendTokens(s.browser(), address)["access_token"].(string)
		return func() answer { return s.introspect(token) }
	}, http.StatusOK},
	{spentOnce, func(s *server, _ string) func() answer {
		assertion := signerKey().assertion(s.t, s.claims(signerID, time.Now()))
		return func() answer { return s.ownToken(assertion) }
	}, http.StatusOK},
	{"revocation of an access token", func(s *server, address string) func() answer {
		token := s.tokens(address)["access_token"].(string)
		return func() answer { return s.revoke(token) }
	}, http.StatusOK},
	{"revocation of a refresh token", func(s *server, address string) func() answer {
		token := s.tokens(address)["refresh_token"].(string)
		return func() answer { return s.revoke(token) }
	}, http.StatusOK},
	{"logout with a hint", func(s *server, address string) func() answer {
		b, tokens := s.signedIn(address, "openid")
		path := logoutPath("id_token_hint", tokens["id_token"].(string), "post_logout_redirect_uri", bye)
		return func() answer { return b.send(s.request("GET", path, "")) }
	}, http.StatusSeeOther},
	{"logout page, sent", func(s *server, address string) func() answer {
		b, _ := s.signedIn(address, "openid")
		action, fields := formOf(s.t, b.get("/logout").body, "confirm")
		return func() answer { return form{action: action, values: fields}.send(b, fields) }
	}, http.StatusOK},
}

func codeSent(s *server, address string) func() answer {
	return codeSentFrom(s.browser(), authorizePath(webID), address)
}

// codeSentFrom begins a sign-in in a browser and returns what sends the code.
func codeSentFrom(b *browser, path, address string) func() answer {
	b.s.t.Helper()
	page := b.submit(b.get(path), "email", "email", address)
	action, fields := formOf(b.s.t, page.body, "code")
	fields.Set("code", b.s.code(address))
	return func() answer { return form{action: action, values: fields}.send(b, fields) }
}

// TestAS67_StoreFails lets each call of each flow fail: it is not made, or it is
// made and its answer lost, or the store is away from it on. Whatever happens, the
// answer is the right one or an outage that says nothing else; and afterwards the
// flow can be done again, by the very same request if nothing was stored.
func TestAS67_StoreFails(t *testing.T) {
	for _, fl := range flows {
		t.Run(fl.name, func(t *testing.T) {
			f := &fault{}
			s := start(t, options{direct: true, store: func(db storage.Store) storage.Store {
				return requestsOnly{db, storetest.Faulty(db, f.fail)}
			}})
			for name, mode := range map[string]struct {
				on  bool
				err error
			}{"call": {false, errHostile}, "reply": {false, lateErr}, "store": {true, errHostile}} {
				for call := 1; ; call++ {
					address := fmt.Sprintf("%s%d@example.com", name, call)
					ask := fl.prepare(s, address)
					f.arm(call, mode.on, mode.err)
					a := ask()
					calls, put := f.disarm()
					if calls < call { // it needs no more calls
						if a.status != fl.ok {
							t.Fatalf("with a store that works: %d %.300s", a.status, a.body)
						}
						break
					}
					what := fmt.Sprintf("%s %d of %d lost", name, call, calls)
					a.leaksNothing(t, what)
					if a.status != fl.ok {
						a.isOutage(t, what)
					}
					if a.status != fl.ok && !put {
						if again := ask(); again.status != fl.ok {
							t.Errorf("%s: nothing was stored, but the same request gets %d %.300s", what, again.status, again.body)
						}
					}
					if again := fl.prepare(s, address)(); again.status != fl.ok {
						t.Errorf("%s: from the start, with a store that works: %d %.300s", what, again.status, again.body)
					}
				}
			}
		})
	}
}

// What a client does after a lost answer works: the token that it still has, and
// the code that it still has if no Put of the grant was made.
func TestAS67_LostAnswersDoNotSignOut(t *testing.T) {
	f := &fault{}
	s := start(t, options{direct: true, store: func(db storage.Store) storage.Store {
		return requestsOnly{db, storetest.Faulty(db, f.fail)}
	}})
	tokens := s.tokens("ann@example.com")
	for call := 1; ; call++ {
		f.arm(call, true, errHostile)
		a := s.refresh(tokens["refresh_token"].(string))
		if calls, _ := f.disarm(); calls < call {
			break
		}
		if a.status == http.StatusOK {
			tokens = a.json(t)
			continue
		}
		a.isOutage(t, "refresh")
		again := s.refresh(tokens["refresh_token"].(string)) // rotated or not, it is in its grace
		if again.status != http.StatusOK {
			t.Fatalf("after losing call %d: %d %s", call, again.status, again.body)
		}
		tokens = again.json(t)
	}
	s.alive(tokens)
}

// A store that answers nonsense is not dressed up as the client's fault either.
func TestAS67_OtherErrors(t *testing.T) {
	for name, err := range map[string]error{
		"damaged": fmt.Errorf("%w: %s", storage.ErrCorrupt, hostileText), "unfit": fmt.Errorf("%w: %s", storage.ErrUnfit, hostileText),
		"unknown": errors.New(hostileText), "conflict": fmt.Errorf("%w: %s", storage.ErrConflict, hostileText), "invalid": fmt.Errorf("%w: %s", storage.ErrInvalid, hostileText),
	} {
		f := &fault{}
		s := start(t, options{direct: true, store: func(db storage.Store) storage.Store {
			return requestsOnly{db, storetest.Faulty(db, f.fail)}
		}})
		for i, fl := range flows {
			ask := fl.prepare(s, fmt.Sprintf("flow%d@example.com", i))
			f.arm(1, true, err)
			a := ask()
			f.disarm()
			a.leaksNothing(t, name+", "+fl.name)
			// A damaged session is none, so that its browser can sign in again.
			none := name == "damaged" && strings.Contains(a.body, `id="email"`) || name == "conflict" && fl.name == spentOnce
			if a.status < 500 && a.status != fl.ok && !none {
				t.Errorf("%s, %s: %d %.200s", name, fl.name, a.status, a.body)
			}
		}
	}
}

// panicking is a store with a fault of its own: it panics at one call, counted down to
// 0.
type panicking struct {
	storage.Store
	at *atomic.Int64
}

func (p panicking) fault() {
	if p.at.Add(-1) == 0 {
		panic(hostileText)
	}
}

func (p panicking) Get(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
	p.fault()
	return p.Store.Get(ctx, keys...)
}

func (p panicking) Put(ctx context.Context, r storage.Record) error {
	p.fault()
	return p.Store.Put(ctx, r)
}

func (p panicking) Delete(ctx context.Context, k storage.Key) error {
	p.fault()
	return p.Store.Delete(ctx, k)
}

func (p panicking) List(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
	p.fault()
	return p.Store.List(ctx, group, page)
}

func (p panicking) Add(ctx context.Context, k storage.Key, delta int64, life time.Duration) (int64, error) {
	p.fault()
	return p.Store.Add(ctx, k, delta, life)
}

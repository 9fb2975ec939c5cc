package provider_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// An asker asks for one thing again and again, and says what is wrong with an answer.
// Its ask returns whether it was told of an outage.
type asker struct {
	name   string
	needs  bool // the database, so that it must be told of an outage
	tokens bool // are all it needs, and no accounts
	ask    func() (outage bool, wrong error)
	every  time.Duration // default 10 ms

	answered, served atomic.Int64 // of what was asked in this phase
	told             atomic.Int64
}

// right is what an answer has to be when it is not an outage.
func right(a answer, status int, part string) (outage bool, wrong error) {
	switch {
	case a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "" && a.header.Get("Location") == "":
		return true, nil
	case a.status != status || !strings.Contains(a.body+a.header.Get("Location"), part):
		return false, fmt.Errorf("%d to %q %.300s, want %d with %s", a.status, a.header.Get("Location"), a.body, status, part)
	}
	return false, nil
}

func field(a answer, name string) string {
	var all map[string]any
	_ = json.Unmarshal([]byte(a.body), &all) // "" then
	v, _ := all[name].(string)
	return v
}

// askers are people and programs who do all that the provider does, each on their own.
func (s *site) askers() []*asker {
	info := s.tokens("info@example.com")["access_token"].(string)
	service := s.backendTokens(s.browser(), "service@example.com")["access_token"].(string)
	refresh := s.tokens("refresh@example.com")["refresh_token"].(string)
	ended := s.tokens("ended@example.com")["refresh_token"].(string)
	b := s.browser()
	b.signIn(authorizePath(webID), "session@example.com").arrives(s.t, callback)
	verify, err := s.provider.Verifier(api)
	if err != nil {
		s.t.Fatal(err)
	}
	return []*asker{
		{name: "userinfo", needs: true, ask: func() (bool, error) { return right(s.userinfo(info), http.StatusOK, "info@example.com") }},
		{name: "introspection", needs: true, ask: func() (bool, error) { return right(s.introspect(service), http.StatusOK, `"active":true`) }},
		{name: "refresh", needs: true, ask: func() (bool, error) {
			a := s.refresh(refresh)
			if a.status == http.StatusOK {
				refresh = field(a, "refresh_token")
			}
			return right(a, http.StatusOK, "refresh_token")
		}},
		{name: "session and code exchange", needs: true, ask: func() (bool, error) {
			a := b.send(s.request("GET", authorizePath(webID, "prompt", "none"), ""))
			if outage, wrong := right(a, http.StatusSeeOther, "code="); outage || wrong != nil {
				return outage, wrong
			}
			return right(s.exchange(a.arrives(s.t, callback).Get("code")), http.StatusOK, "access_token")
		}},
		{name: "verification and wrong code", needs: true, tokens: true, ask: func() (bool, error) {
			a := s.post("/oauth2/verification", "client_id", nativeID, "email", rand.Text()+"@example.com")
			if outage, wrong := right(a, http.StatusOK, "verification_id"); outage || wrong != nil {
				return outage, wrong
			}
			return right(s.redeem(started{field(a, "verification_id"), "000000"}), http.StatusBadRequest, "invalid_grant")
		}},
		{name: "revocation", needs: true, ask: s.revoker()},
		{name: "revocation of a family", needs: true, tokens: true, ask: func() (bool, error) {
			return right(s.revoke(ended), http.StatusOK, "")
		}},
		{name: "sign-up", needs: true, every: 50 * time.Millisecond, ask: s.signUp},
		{name: "keys and discovery", ask: func() (bool, error) {
			for _, path := range []string{"/oauth2/jwks", "/.well-known/openid-configuration", "/healthz"} {
				if outage, wrong := right(s.get(path), http.StatusOK, ""); outage || wrong != nil {
					return false, fmt.Errorf("%s: %t, %w", path, outage, wrong)
				}
			}
			_, err := verify.Verify(context.Background(), info)
			return false, err
		}},
		{name: "readyz", needs: true, ask: func() (bool, error) {
			a := s.get("/readyz")
			if a.status == http.StatusServiceUnavailable && strings.Contains(a.body, `"store":"unavailable"`) && strings.Contains(a.body, `"keys":"ok"`) {
				return true, nil
			}
			return right(a, http.StatusOK, "")
		}},
	}
}

// revoker returns what revokes one access token after the other, with some in stock so
// that it has one in an outage, and looks later whether those are dead of which it was
// told so.
func (s *site) revoker() func() (outage bool, wrong error) {
	tokens := s.tokens("revoke@example.com")
	var stock, dead []string
	for range 3 {
		stock = append(stock, tokens["access_token"].(string))
		tokens = s.rotated(tokens)
	}
	refresh := tokens["refresh_token"].(string)
	return func() (bool, error) {
		if len(stock) > 0 {
			if outage, wrong := right(s.revoke(stock[0]), http.StatusOK, ""); outage || wrong != nil {
				return outage, wrong
			}
			stock, dead = stock[1:], append(dead, stock[0])
		}
		a := s.refresh(refresh)
		if outage, wrong := right(a, http.StatusOK, "access_token"); outage || wrong != nil {
			return outage, wrong
		}
		refresh, stock = field(a, "refresh_token"), append(stock, field(a, "access_token"))
		for len(dead) > 0 {
			if outage, wrong := right(s.userinfo(dead[0]), http.StatusUnauthorized, "invalid_token"); outage || wrong != nil {
				return outage, wrong
			}
			dead = dead[1:]
		}
		return false, nil
	}
}

// signUp is the whole grant of the emailed code for somebody new. A mail that was promised
// when the outage began may come much later.
func (s *site) signUp() (outage bool, wrong error) {
	address := strings.ToLower(rand.Text()) + "@example.com"
	a := s.post("/oauth2/verification", "client_id", nativeID, "email", address, "scope", "openid email")
	if outage, wrong := right(a, http.StatusOK, "verification_id"); outage || wrong != nil {
		return outage, wrong
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	code, err := s.inbox.Code(ctx, address)
	if err != nil {
		return true, nil
	}
	return right(s.redeem(started{field(a, "verification_id"), code}), http.StatusOK, "access_token")
}

// A storm is what is asked of a site before, during and after an outage.
type storm struct {
	t      *testing.T
	askers []*asker
	phase  atomic.Int32 // what was asked in another phase says nothing about this one
	ended  atomic.Bool
	slow   atomic.Int64 // the slowest answer
}

// The phases of a storm.
const (
	calm int32 = iota
	gone
	back
)

// run asks until the storm is ended.
func (w *storm) run(a *asker) {
	every := 10 * time.Millisecond
	if a.every > 0 {
		every = a.every
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !w.ended.Load() && !w.t.Failed() {
		phase := w.phase.Load()
		outage, wrong := a.ask()
		if wrong != nil {
			w.t.Errorf("%s: %v", a.name, wrong)
		}
		if w.phase.Load() == phase {
			a.answered.Add(1)
			if outage {
				a.told.Add(1)
			} else {
				a.served.Add(1)
			}
		}
		<-tick.C
	}
}

// enter begins a phase.
func (w *storm) enter(phase int32) {
	w.phase.Store(phase)
	for _, a := range w.askers {
		a.answered.Store(0)
		a.served.Store(0)
		a.told.Store(0)
	}
}

// until waits for what every asker has to see.
func (w *storm) until(most time.Duration, what string, seen func(*asker) bool) {
	w.t.Helper()
	for _, a := range w.askers {
		within(w.t, most, what+": "+a.name, func() bool { return seen(a) || w.t.Failed() })
	}
}

// weather has all askers ask before, while and after the database is away.
//
// Every answer comes in time, and is the right one or an outage: never a 500, never that
// something is not there which is. Keys, metadata and verifiers go on meanwhile; and at
// most five seconds after the database is back, so does everything.
func weather(t *testing.T, db database, away, again func() error) {
	s := openSite(t, db.at)
	s.ready(10 * time.Second)
	w := &storm{t: t, askers: s.askers()}
	for _, a := range w.askers {
		a.needs = a.needs && !(a.tokens && db.name == "accounts")
	}
	s.transport = &stopwatch{s.transport, w}
	var running sync.WaitGroup
	for _, a := range w.askers {
		running.Go(func() { w.run(a) })
	}
	defer running.Wait()
	defer w.ended.Store(true)
	w.until(20*time.Second, "served before", func(a *asker) bool { return a.served.Load() >= 2 })
	try(t, away)
	w.enter(gone)
	w.until(20*time.Second, "asked meanwhile", func(a *asker) bool {
		return a.answered.Load() >= 3 && (!a.needs || a.told.Load() >= 1)
	})
	for _, a := range w.askers {
		if n := a.served.Load(); a.needs && n > 0 {
			t.Errorf("%s was served %d times without the database", a.name, n)
		}
	}
	try(t, again)
	over := time.Now()
	w.enter(back)
	w.until(5*time.Second, "served again", func(a *asker) bool { return a.served.Load() >= 2 })
	t.Logf("all were served again after %v; the slowest answer took %v",
		time.Since(over).Round(time.Millisecond), time.Duration(w.slow.Load()).Round(time.Millisecond))
	if strings.Contains(s.log.String(), `: server_error"`) {
		t.Error("an outage is in the log without its cause")
	}
	if t.Failed() {
		t.Logf("the provider said:\n%.4000s", s.log)
	}
}

// A stopwatch is a transport that knows how long an answer may take.
type stopwatch struct {
	http.RoundTripper
	w *storm
}

func (s *stopwatch) RoundTrip(r *http.Request) (*http.Response, error) {
	begun := time.Now()
	resp, err := s.RoundTripper.RoundTrip(r)
	took := time.Since(begun)
	if took > patience {
		s.w.t.Errorf("%s %s: answered after %v, want %v at most", r.Method, r.URL.Path, took, patience)
	}
	for {
		slowest := s.w.slow.Load()
		if int64(took) <= slowest || s.w.slow.CompareAndSwap(slowest, int64(took)) {
			return resp, err
		}
	}
}

// TestFT02_Killed kills the database under load and starts it again.
func TestFT02_Killed(t *testing.T) {
	for _, db := range databases(t) {
		t.Run(db.name, func(t *testing.T) { weather(t, db, db.kill, db.start) })
	}
}

// TestFT03_Silent stops the database in its tracks: connections are there, and nothing
// answers.
func TestFT03_Silent(t *testing.T) {
	for _, db := range databases(t) {
		t.Run(db.name, func(t *testing.T) {
			defer db.wake()
			weather(t, db, db.pause, db.wake)
		})
	}
}

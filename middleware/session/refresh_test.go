package session_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/middleware/session"
)

func (w *world) refreshed() int { return w.issuer.count(func(i *issuer) int { return i.refreshes }) }

func (w *world) reused() int { return w.issuer.count(func(i *issuer) int { return i.reuses }) }

// accessToken is what a greeting says about the access token.
func (a answer) accessToken(t *testing.T) string {
	t.Helper()
	_, token, ok := strings.Cut(a.body, ", access-")
	if !ok {
		t.Fatalf("no access token: %d %s", a.status, a.body)
	}
	return token
}

// eachStore runs a test in a bubble, with sessions in cookies and in a store, at an
// issuer that takes the second use of a refresh token for theft.
func eachStore(t *testing.T, test func(t *testing.T, w *world, store session.Store)) {
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, newWorld(t), store()) })
		})
	}
}

func TestRefreshBeforeTheEnd(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world, store session.Store) {
		w.app(keptIn(store))
		b := w.browser()
		first := b.signIn().accessToken(t)
		pass(9*time.Minute - time.Second)
		if got := b.open(appURL + "/").accessToken(t); got != first || w.refreshed() != 0 {
			t.Errorf("%s was replaced by %s too early", first, got)
		}
		pass(time.Second)
		second := b.open(appURL + "/").accessToken(t)
		if second == first || w.refreshed() != 1 {
			t.Errorf("%s was not replaced a minute before its end", first)
		}
		for range 50 { // for hours, a refresh at a time
			pass(10 * time.Minute)
			b.open(appURL+"/").greeted(t, "user-1, user-1@mail.example true, access-")
		}
		if w.refreshed() != 51 || w.reused() != 0 {
			t.Errorf("%d refreshes, %d with a spent token", w.refreshed(), w.reused())
		}
	})
}

// atOnce opens a page n times at the same time and returns the answers.
func (b *browser) atOnce(n int, paths ...string) []answer {
	answers := make([]answer, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { answers[i] = b.open(appURL + paths[i%len(paths)]) })
	}
	wg.Wait()
	return answers
}

func TestParallelRequestsShareARefresh(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world, store session.Store) {
		w.app(keptIn(store))
		b := w.browser()
		first := b.signIn().accessToken(t)
		pass(11 * time.Minute)
		gate := make(chan struct{})
		w.issuer.set(func(i *issuer) { i.refreshWait = gate })
		go func() {
			synctest.Wait() // until all of them wait
			close(gate)
		}()
		tokens := make(map[string]bool)
		for _, a := range b.atOnce(50, "/", "/notes", "/public") {
			a.greeted(t, "user-1")
			tokens[a.accessToken(t)] = true
		}
		if len(tokens) != 1 || tokens[first] || w.refreshed() != 1 {
			t.Errorf("%d access tokens of %d refreshes", len(tokens), w.refreshed())
		}
		b.open(appURL+"/").greeted(t, "user-1")
	})
}

// A browser sends requests with the old cookie until it has seen the new one.
func TestRequestsAfterTheRefresh(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world, store session.Store) {
		w.app(keptIn(store))
		b := w.browser()
		b.signIn()
		name, old := b.sessionCookie()
		pass(11 * time.Minute)
		want := b.open(appURL + "/").accessToken(t)
		for range 10 {
			pass(10 * time.Second)
			late := w.browser()
			late.put(name, old)
			if got := late.open(appURL + "/").accessToken(t); got != want {
				t.Errorf("got %s, want the token of the refresh %s", got, want)
			}
		}
		if w.refreshed() != 1 || w.reused() != 0 {
			t.Errorf("%d refreshes, %d with a spent token", w.refreshed(), w.reused())
		}
	})
}

// Two replicas that meet at one session: one of them refreshes, the other one
// waits for it.
func TestReplicasShareARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := session.NewMemory(1000, nil)
		replicas := []http.Handler{program(w.app(keptIn(store))), program(w.app(keptIn(store))), program(w.app(keptIn(store)))}
		var mu sync.Mutex
		turn := 0
		w.hosts[appURL] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			mu.Lock()
			turn++
			replica := replicas[turn%len(replicas)]
			mu.Unlock()
			replica.ServeHTTP(rw, r)
		})
		b := w.browser()
		b.signIn()
		for round := 1; round <= 10; round++ {
			pass(11 * time.Minute)
			gate := make(chan struct{})
			w.issuer.set(func(i *issuer) { i.refreshWait = gate })
			go func() {
				pass(3 * time.Second) // a slow issuer
				close(gate)
			}()
			tokens := make(map[string]bool)
			for _, a := range b.atOnce(50, "/", "/notes") {
				a.greeted(t, "user-1")
				tokens[a.accessToken(t)] = true
			}
			if len(tokens) != 1 || w.refreshed() != round || w.reused() != 0 {
				t.Fatalf("round %d: %d access tokens, %d refreshes, %d with a spent token", round, len(tokens), w.refreshed(), w.reused())
			}
		}
	})
}

// Cookies over several processes need an issuer with a grace.
func TestReplicasWithCookies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.issuer.set(func(i *issuer) { i.grace = time.Minute })
		replicas := []http.Handler{program(w.app(nil)), program(w.app(nil))}
		b := w.browser()
		b.signIn()
		name, old := b.sessionCookie()
		pass(11 * time.Minute)
		for n := range 6 {
			w.hosts[appURL] = replicas[n%2]
			b.put(name, old)
			b.open(appURL+"/").greeted(t, "user-1")
		}
		pass(time.Hour)
		b.open(appURL+"/").greeted(t, "user-1")
		if w.refreshed() != 3 || w.reused() != 0 {
			t.Errorf("%d refreshes, %d taken for theft", w.refreshed(), w.reused())
		}
	})
}

func TestIssuerThatDoesNotRotate(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world, store session.Store) {
		w.issuer.set(func(i *issuer) { i.rotates, i.life = false, 30*time.Second })
		w.app(keptIn(store))
		b := w.browser()
		last := b.signIn().accessToken(t)
		for range 20 {
			pass(30 * time.Second)
			token := b.open(appURL + "/").accessToken(t)
			if token == last {
				t.Fatalf("%s was not replaced", token)
			}
			last = token
		}
	})
}

func TestInvalidGrantSignsOut(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world, store session.Store) {
		w.app(keptIn(store))
		b := w.browser()
		b.signIn()
		w.issuer.set(func(i *issuer) {
			for _, f := range i.families {
				f.dead = true
			}
			i.person = "user-2"
		})
		pass(11 * time.Minute)
		for _, a := range b.atOnce(20, "/public") {
			a.greeted(t, "whoever")
		}
		if w.refreshed() != 1 {
			t.Errorf("the issuer was asked %d times", w.refreshed())
		}
		if got := b.cookies(); len(got) != 0 {
			t.Errorf("the browser keeps %v", got)
		}
		b.open(appURL+"/").greeted(t, "user-2") // by another sign-in
	})
}

// An outage of the issuer signs nobody out.
func TestIssuerAway(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world, store session.Store) {
		w.app(keptIn(store))
		b := w.browser()
		first := b.signIn().accessToken(t)
		w.issuer.set(func(i *issuer) { i.down = true })
		pass(9*time.Minute + 30*time.Second)
		for range 100 {
			if got := b.open(appURL + "/").accessToken(t); got != first {
				t.Fatalf("got %s", got)
			}
		}
		pass(time.Minute) // now the access token has ended
		for range 100 {
			a := b.open(appURL + "/")
			a.refused(t, http.StatusServiceUnavailable, "not possible at the moment")
			if a.header.Get("Retry-After") == "" {
				t.Error("it does not say when to come back")
			}
		}
		if a := b.do("GET", appURL+"/", "", "Sec-Fetch-Mode", "cors"); a.status != http.StatusServiceUnavailable {
			t.Errorf("a fetch got %d", a.status)
		}
		pass(time.Hour)
		b.open(appURL+"/").refused(t, http.StatusServiceUnavailable, "")
		w.issuer.set(func(i *issuer) { i.down = false })
		pass(5 * time.Second)
		start := time.Now()
		b.open(appURL+"/").greeted(t, "user-1")
		if got := w.exchanged(); got != 1 || time.Since(start) != 0 {
			t.Errorf("%d sign-ins, and the page took %v", got, time.Since(start))
		}
	})
}

// While an issuer is away a session asks it once in five seconds.
func TestRefreshesThatFailAreBounded(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world, store session.Store) {
		w.app(keptIn(store))
		b := w.browser()
		b.signIn()
		w.issuer.set(func(i *issuer) { i.publicOnly = true }) // answers invalid_client
		before := w.issuer.count(func(i *issuer) int { return i.made })
		pass(11 * time.Minute)
		var asked int
		w.hosts[issuerURL] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				asked++
			}
			w.issuer.ServeHTTP(rw, r)
		})
		for range 600 {
			pass(100 * time.Millisecond)
			b.open(appURL+"/").refused(t, http.StatusServiceUnavailable, "")
		}
		if asked > 13 {
			t.Errorf("asked %d times in a minute", asked)
		}
		w.issuer.set(func(i *issuer) { i.publicOnly = false })
		pass(5 * time.Second)
		b.open(appURL+"/").greeted(t, "user-1")
		if after := w.issuer.count(func(i *issuer) int { return i.made }); after != before+2 {
			t.Errorf("%d tokens were made", after-before)
		}
	})
}

// A slow issuer holds up nobody whose access token lives.
func TestSlowIssuer(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world, store session.Store) {
		w.app(keptIn(store))
		b := w.browser()
		first := b.signIn().accessToken(t)
		gate := make(chan struct{})
		w.issuer.set(func(i *issuer) { i.refreshWait = gate })
		pass(9*time.Minute + 30*time.Second)
		start := time.Now()
		if got := b.open(appURL + "/").accessToken(t); got != first {
			t.Errorf("got %s", got)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("a page took %v", took)
		}
		close(gate)
		synctest.Wait()
		if got := b.open(appURL + "/").accessToken(t); got == first || w.refreshed() != 1 {
			t.Errorf("the refresh that took long was lost: %s after %d", got, w.refreshed())
		}

		// A black hole ends after ten seconds.
		pass(11 * time.Minute)
		gate = make(chan struct{})
		w.issuer.set(func(i *issuer) { i.refreshWait = gate })
		start = time.Now()
		b.open(appURL+"/").refused(t, http.StatusServiceUnavailable, "")
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("a page took %v, want 10 s", took)
		}
		close(gate)
	})
}

// A browser that goes away does not spoil the refresh for the others.
func TestBrowserGoesAwayDuringTheRefresh(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world, store session.Store) {
		w.app(keptIn(store))
		b := w.browser()
		b.signIn()
		pass(11 * time.Minute)
		gate := make(chan struct{})
		w.issuer.set(func(i *issuer) { i.refreshWait = gate })
		hasty := w.browser()
		hasty.put(b.sessionCookie())
		hasty.client.Timeout = time.Second
		if _, err := hasty.client.Get(appURL + "/"); err == nil {
			t.Fatal("it did not go away")
		}
		done := make(chan answer)
		go func() { done <- b.open(appURL + "/") }()
		synctest.Wait()
		close(gate)
		(<-done).greeted(t, "user-1")
		if w.refreshed() != 1 || w.reused() != 0 {
			t.Errorf("%d refreshes", w.refreshed())
		}
	})
}

func TestIDTokenOfARefresh(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*issuer)
		want   string
	}{
		"as it should be": {func(*issuer) {}, "hello user-1"},
		"without sid":     {func(i *issuer) { i.claims = func(c map[string]any) { delete(c, "sid") } }, "hello user-1"},
		"none":            {func(i *issuer) { i.sign = func([]byte) string { return "" } }, "hello user-1"},
		"keys away": {func(i *issuer) {
			i.keys = nil
			i.sign = func(p []byte) string { return compact(i.private, map[string]any{"alg": "EdDSA", "kid": "k2"}, p) }
		}, "hello user-1"},
		"somebody else":     {func(i *issuer) { i.claims = func(c map[string]any) { c["sub"] = "user-2" } }, "hello whoever"},
		"another client":    {func(i *issuer) { i.claims = func(c map[string]any) { c["aud"] = "other" } }, "hello whoever"},
		"another's nonce":   {func(i *issuer) { i.claims = func(c map[string]any) { c["nonce"] = "x" } }, "hello whoever"},
		"another signature": {func(i *issuer) { i.sign = func(p []byte) string { return i.signed("JWT", p) + "AAAA" } }, "hello whoever"},
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, w *world, store session.Store) {
				w.app(keptIn(store))
				b := w.browser()
				b.signIn()
				w.issuer.set(c.change)
				pass(11 * time.Minute)
				for range 3 {
					if a := b.open(appURL + "/public"); !strings.HasPrefix(a.body, c.want) {
						t.Errorf("%d %s", a.status, a.body)
					}
				}
			})
		})
	}
}

// A cookie may be older than the access token that replaced the one in it.
func TestCookieOfTwoRefreshesAgo(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world, store session.Store) {
		w.issuer.set(func(i *issuer) { i.life = 30 * time.Second })
		w.app(keptIn(store))
		b := w.browser()
		b.signIn()
		name, old := b.sessionCookie()
		for range 3 {
			pass(25 * time.Second)
			b.open(appURL+"/").greeted(t, "user-1")
		}
		pass(25 * time.Second)
		b.put(name, old)
		b.open(appURL+"/").greeted(t, "user-1, user-1@mail.example true, access-")
		if w.refreshed() != 4 || w.reused() != 0 {
			t.Errorf("%d refreshes, %d with a spent token", w.refreshed(), w.reused())
		}
	})
}

// While one replica refreshes, others do not wait for what they can do without.
func TestReplicaDoesNotWaitWithoutNeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, store := newWorld(t), session.NewMemory(100, nil)
		w.app(keptIn(store))
		b := w.browser()
		first := b.signIn().accessToken(t)
		pass(9*time.Minute + 30*time.Second)
		gate := make(chan struct{})
		w.issuer.set(func(i *issuer) { i.refreshWait = gate })
		done := make(chan answer)
		go func() { done <- b.open(appURL + "/") }()
		synctest.Wait()
		w.app(keptIn(store)) // another replica
		start := time.Now()
		if got := b.open(appURL + "/").accessToken(t); got != first || time.Since(start) != 0 {
			t.Errorf("got %s after %v", got, time.Since(start))
		}
		close(gate)
		(<-done).greeted(t, "user-1")
		synctest.Wait()
		if got := b.open(appURL + "/").accessToken(t); got == first || w.refreshed() != 1 {
			t.Errorf("got %s after %d refreshes", got, w.refreshed())
		}
	})
}

// The access token does not follow a redirect to another origin.
func TestClient(t *testing.T) {
	w := newWorld(t)
	s := w.app(nil)
	saw := make(map[string]string)
	server := func(name string, h http.HandlerFunc) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			saw[name] += r.Header.Get("Authorization")
			h(w, r)
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	evil := server("evil", func(http.ResponseWriter, *http.Request) {})
	api := server("api", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, evil, http.StatusFound)
		case "/moved":
			http.Redirect(w, r, "/there", http.StatusFound)
		}
	})
	w.hosts[appURL].(*http.ServeMux).Handle("/call/", s.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := session.Client(r.Context()).Get(api + strings.TrimPrefix(r.URL.Path, "/call"))
		if err != nil {
			t.Error(err)
			return
		}
		resp.Body.Close()
		fmt.Fprint(w, resp.StatusCode)
	})))
	b := w.browser()
	b.signIn()
	for path, want := range map[string]string{"/notes": "200", "/moved": "200", "/away": "302"} {
		if a := b.open(appURL + "/call" + path); a.body != want {
			t.Errorf("%s: got %s, want %s", path, a.body, want)
		}
	}
	if saw["evil"] != "" || strings.Count(saw["api"], "Bearer access-") != 4 {
		t.Errorf("the tokens went %v", saw)
	}
	if _, err := session.Client(t.Context()).Get(api); !errors.Is(err, session.ErrNoToken) {
		t.Errorf("a client of nobody: %v", err)
	}
}

// An issuer that panics the transport is an issuer that is away.
func TestTransportPanics(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world, store session.Store) {
		w.app(func(c *session.Config) { c.Store, c.Client = store, &http.Client{Transport: panicky{w.hosts}} })
		b := w.browser()
		b.signIn()
		pass(11 * time.Minute)
		b.open(appURL+"/").refused(t, http.StatusServiceUnavailable, "")
	})
}

// panicky is a transport with a defect that shows in refreshes.
type panicky struct{ hosts }

func (p panicky) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/token" {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		if text, err := io.ReadAll(body); err == nil && strings.Contains(string(text), "refresh_token=") {
			panic("defect")
		}
	}
	return p.hosts.RoundTrip(r)
}

// An issuer may give a person one refresh token for all sign-ins of an app. Their sessions
// are two all the same: signing out of one does not end the other.
func TestSessionsWithOneRefreshToken(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world, store session.Store) {
		w.issuer.set(func(i *issuer) { i.rotates, i.oneToken = false, true })
		s := w.app(keptIn(store))
		first, second := w.browser(), w.browser()
		first.signIn()
		pass(time.Minute)
		second.signIn()
		pass(11 * time.Minute)
		first.open(appURL+"/").greeted(t, "user-1")
		second.open(appURL+"/").greeted(t, "user-1")
		first.stop = issuerURL
		first.post(appURL + s.LogoutURL())
		if !second.isSignedIn() {
			t.Error("the other browser was signed out too")
		}
	})
}

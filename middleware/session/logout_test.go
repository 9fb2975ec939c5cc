package session_test

import (
	"crypto/ed25519"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/middleware/session"
)

const backchannel = appURL + "/auth/backchannel-logout"

// tell sends a logout token as the issuer does.
func (w *world) tell(token string) answer {
	w.t.Helper()
	return w.browser().do("POST", backchannel, url.Values{"logout_token": {token}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

func TestLogout(t *testing.T) {
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s := w.app(func(c *session.Config) { c.Store, c.PostLogoutRedirectURL = store(), appURL+"/bye" })
			b, other := w.browser(), w.browser()
			b.signIn()
			other.signIn()
			cookie, value := b.sessionCookie()
			b.stop = issuerURL
			a := b.post(appURL + s.LogoutURL())
			to, err := url.Parse(a.location())
			if err != nil || a.status != http.StatusSeeOther || !strings.HasPrefix(a.location(), issuerURL+"/logout?") {
				t.Fatalf("%d to %q %s", a.status, a.location(), a.body)
			}
			q := to.Query()
			if q.Get("client_id") != clientID || strings.Count(q.Get("id_token_hint"), ".") != 2 || q.Get("post_logout_redirect_uri") != appURL+"/bye" {
				t.Errorf("asks the issuer for %v", q)
			}
			if len(b.cookies()) != 0 {
				t.Errorf("the browser keeps %v", b.cookies())
			}
			if got := w.issuer.count(func(i *issuer) int { return i.revoked }); got != 1 {
				t.Errorf("%d refresh tokens were revoked", got)
			}
			b.stop = ""
			b.put(cookie, value) // whoever kept a copy
			if b.isSignedIn() {
				t.Error("a copy of the cookie is still good")
			}
			if !other.isSignedIn() {
				t.Error("another browser was signed out too")
			}
			if a := b.post(appURL + s.LogoutURL()); a.url.String() != appURL+"/auth/logout" && a.status >= 500 { // twice is no error
				t.Errorf("again: %d %s", a.status, a.body)
			}
		})
	}
}

func TestLogoutWhileTheIssuerIsAway(t *testing.T) {
	w := newWorld(t)
	s := w.app(func(c *session.Config) { c.Home = "/bye" })
	b := w.browser()
	b.signIn()
	w.app(func(c *session.Config) { c.Home = "/bye" }) // a process that has not read the metadata yet
	w.issuer.set(func(i *issuer) { i.down = true })
	if a := b.post(appURL + s.LogoutURL()); a.body != "bye" || len(b.cookies()) != 0 {
		t.Errorf("%d %s, cookies %v", a.status, a.body, b.cookies())
	}
	if a := w.browser().post(appURL + s.LogoutURL()); a.body != "bye" {
		t.Errorf("nobody signed in: %d %s", a.status, a.body)
	}
}

// A logout that comes during a refresh is not undone by it.
func TestLogoutDuringARefresh(t *testing.T) {
	for name, logout := range map[string]func(w *world, s *session.Sessions, b *browser){
		"by the browser": func(w *world, s *session.Sessions, b *browser) {
			other := w.browser()
			other.put(b.sessionCookie())
			other.stop = issuerURL
			other.post(appURL + s.LogoutURL())
		},
		"by the issuer": func(w *world, _ *session.Sessions, _ *browser) { w.tell(w.issuer.logoutToken(nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, w *world, store session.Store) {
				s := w.app(keptIn(store))
				b := w.browser()
				b.signIn()
				pass(11 * time.Minute)
				gate := make(chan struct{})
				w.issuer.set(func(i *issuer) { i.refreshWait = gate })
				done := make(chan answer)
				go func() { done <- b.open(appURL + "/public") }()
				synctest.Wait()
				logout(w, s, b)
				close(gate)
				(<-done).greeted(t, "whoever")
				if b.isSignedIn() {
					t.Error("signed in again")
				}
			})
		})
	}
}

// Whoever can send requests cannot make the app read without end.
func TestLogoutTokenIsReadToALimit(t *testing.T) {
	w := newWorld(t)
	s := w.app(nil)
	body := strings.NewReader("logout_token=" + strings.Repeat("x", 8<<20))
	r := httptest.NewRequest("POST", backchannel, body)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, r)
	if read := 8<<20 - body.Len(); rec.Code != http.StatusBadRequest || read > 1<<20 {
		t.Errorf("%d after %d bytes", rec.Code, read)
	}
}

func TestBackchannelLogout(t *testing.T) {
	for name, c := range map[string]struct {
		changes         map[string]any
		first, sameUser bool // who is signed in afterwards
	}{
		"one session":           {map[string]any{"sid": "session-1"}, false, true},
		"one session, only sid": {map[string]any{"sid": "session-1", "sub": nil}, false, true},
		"all of a person":       {map[string]any{"sid": nil, "sub": "user-1"}, false, false},
		"another session":       {map[string]any{"sid": "session-9"}, true, true},
		"another person":        {map[string]any{"sid": nil, "sub": "user-9"}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, w *world, store session.Store) {
				w.app(keptIn(store))
				first, sameUser, stranger := w.browser(), w.browser(), w.browser()
				first.signIn()
				w.issuer.set(func(i *issuer) { i.sid = "session-2" })
				sameUser.signIn()
				w.issuer.set(func(i *issuer) { i.person, i.sid = "user-2", "session-3" })
				stranger.signIn()
				w.issuer.set(func(i *issuer) { i.person = "user-1" })
				pass(time.Minute)
				a := w.tell(w.issuer.logoutToken(c.changes))
				if a.status != http.StatusOK || a.body != "" || a.header.Get("Cache-Control") != "no-store" {
					t.Errorf("the issuer got %d %s", a.status, a.body)
				}
				if first.isSignedIn() != c.first || sameUser.isSignedIn() != c.sameUser || !stranger.isSignedIn() {
					t.Errorf("signed in: %t, %t, stranger %t", first.isSignedIn(), sameUser.isSignedIn(), stranger.isSignedIn())
				}
				pass(time.Second)
				again := w.browser()
				again.signIn() // signing in again is possible
				if !again.isSignedIn() {
					t.Error("nobody can sign in any more")
				}
			})
		})
	}
}

// Sessions whose ID token names no session end with any of the person's.
func TestBackchannelLogoutOfNamelessSessions(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world, store session.Store) {
		w.issuer.set(func(i *issuer) { i.claims = func(c map[string]any) { delete(c, "sid") } })
		w.app(keptIn(store))
		b, stranger := w.browser(), w.browser()
		b.signIn()
		w.issuer.set(func(i *issuer) { i.person = "user-2" })
		stranger.signIn()
		w.tell(w.issuer.logoutToken(map[string]any{"sub": "user-1", "sid": "session-x"}))
		if b.isSignedIn() || !stranger.isSignedIn() {
			t.Errorf("signed in: %t, the stranger %t", b.isSignedIn(), stranger.isSignedIn())
		}
	})
}

// A session does not escape by a refresh whose ID token leaves sid out.
func TestBackchannelLogoutAfterARefresh(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world, store session.Store) {
		w.app(keptIn(store))
		b := w.browser()
		b.signIn()
		w.issuer.set(func(i *issuer) { i.claims = func(c map[string]any) { delete(c, "sid") } })
		pass(11 * time.Minute)
		b.open(appURL+"/").greeted(t, "user-1")
		w.tell(w.issuer.logoutToken(nil))
		if b.isSignedIn() {
			t.Error("still signed in")
		}
	})
}

// With a store a logout reaches all replicas, whichever got the token.
func TestBackchannelLogoutReachesReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := session.NewMemory(100, nil)
		w.app(keptIn(store))
		one := w.hosts[appURL]
		b := w.browser()
		b.signIn()
		w.app(keptIn(store))
		two := w.hosts[appURL]
		token := w.issuer.logoutToken(nil)
		if a := w.tell(token); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		w.hosts[appURL] = one
		if b.isSignedIn() {
			t.Error("still signed in at the other replica")
		}
		pass(time.Second)
		b.signIn()
		// A replay is refused everywhere, and ends nothing.
		for _, replica := range []http.Handler{one, two} {
			w.hosts[appURL] = replica
			if a := w.tell(token); a.status != http.StatusBadRequest {
				t.Errorf("a replay got %d", a.status)
			}
		}
		if !b.isSignedIn() {
			t.Error("a replay signed somebody out")
		}
	})
}

// A logout that arrives while the sign-in is still exchanging its code is not lost.
func TestBackchannelLogoutDuringTheSignIn(t *testing.T) {
	for name, changes := range map[string]map[string]any{"of the session": nil, "of the person": {"sid": nil}} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, w *world, store session.Store) {
				w.app(keptIn(store))
				b := w.browser()
				callback := b.begin(appURL + "/")
				w.issuer.set(func(i *issuer) {
					i.exchanged = func() {
						if a := w.tell(w.issuer.logoutToken(changes)); a.status != http.StatusOK {
							t.Errorf("the issuer got %d %s", a.status, a.body)
						}
						pass(time.Second) // the answer takes its time
					}
				})
				b.open(callback).refused(t, http.StatusUnauthorized, "not signed in")
				if b.isSignedIn() {
					t.Error("the session that the issuer has ended lives on")
				}
				w.issuer.set(func(i *issuer) { i.exchanged = nil })
				b.signIn()
			})
		})
	}
}

// Neither is it when another replica gets it.
func TestBackchannelLogoutDuringTheSignInAtAReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := session.NewMemory(100, nil)
		w.app(keptIn(store))
		two := w.hosts[appURL]
		w.app(keptIn(store))
		one := w.hosts[appURL]
		b := w.browser()
		callback := b.begin(appURL + "/")
		w.issuer.set(func(i *issuer) {
			i.exchanged = func() {
				w.hosts[appURL] = two
				if a := w.tell(w.issuer.logoutToken(nil)); a.status != http.StatusOK {
					t.Errorf("the issuer got %d %s", a.status, a.body)
				}
				w.hosts[appURL] = one
				pass(time.Second)
			}
		})
		b.open(callback).refused(t, http.StatusUnauthorized, "not signed in")
		if b.isSignedIn() {
			t.Error("the session that the issuer has ended lives on")
		}
		w.issuer.set(func(i *issuer) { i.exchanged = nil })
		b.signIn()
	})
}

func TestForgedLogoutTokens(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world, store session.Store) {
		w.app(keptIn(store))
		b := w.browser()
		b.signIn()
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		good := w.issuer.logoutToken(nil)
		head, payload, _ := strings.Cut(good, ".")
		payload, _, _ = strings.Cut(payload, ".")
		idToken := w.issuer.idToken(&grant{person: "user-1", sid: "session-1"}, "", "x")
		for name, token := range map[string]string{
			"another client":  w.issuer.logoutToken(map[string]any{"aud": "other"}),
			"another issuer":  w.issuer.logoutToken(map[string]any{"iss": "https://evil.example"}),
			"no event":        w.issuer.logoutToken(map[string]any{"events": nil}),
			"a nonce":         w.issuer.logoutToken(map[string]any{"nonce": "x"}),
			"expired":         w.issuer.logoutToken(map[string]any{"exp": time.Now().Unix() - 60}),
			"old":             w.issuer.logoutToken(map[string]any{"iat": time.Now().Unix() - 7200}),
			"nobody":          w.issuer.logoutToken(map[string]any{"sub": nil, "sid": nil}),
			"no jti":          w.issuer.logoutToken(map[string]any{"jti": nil}),
			"alg none":        "eyJhbGciOiJub25lIiwia2lkIjoiazEifQ." + payload + ".",
			"another key":     compact(key, map[string]any{"alg": "EdDSA", "kid": "k1", "typ": "logout+jwt"}, []byte(payload)),
			"cut":             good[:len(good)-4],
			"no signature":    head + "." + payload + ".",
			"an ID token":     idToken,
			"nothing":         "",
			"far too long":    strings.Repeat("x", 20<<10),
			"beyond any body": strings.Repeat("x", 100<<10),
		} {
			a := w.tell(token)
			if a.status != http.StatusBadRequest || !strings.Contains(a.body, `"error":"invalid_request"`) || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
			if !b.isSignedIn() {
				t.Fatalf("%s: signed out", name)
			}
		}
		form := "application/x-www-form-urlencoded"
		for name, c := range map[string][2]string{
			"as JSON": {"application/json", `{"logout_token":"` + good + `"}`},
			"as text": {"text/plain", "logout_token=" + good},
			"twice":   {form, "logout_token=" + good + "&logout_token=" + good},
		} {
			if a := w.browser().do("POST", backchannel, c[1], "Content-Type", c[0]); a.status != http.StatusBadRequest {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
		if a := w.browser().do("POST", backchannel+"?logout_token="+good, "", "Content-Type", form); a.status != http.StatusBadRequest {
			t.Errorf("in the query: %d", a.status)
		}
		if !b.isSignedIn() {
			t.Fatal("signed out")
		}
		if a := w.tell(good); a.status != http.StatusOK || b.isSignedIn() {
			t.Errorf("the good token: %d", a.status)
		}
	})
}

// A logout token that cannot be judged is not taken for bad: the issuer is to send
// it again.
func TestLogoutTokenThatCannotBeJudged(t *testing.T) {
	w := newWorld(t)
	w.app(nil)
	token := w.issuer.logoutToken(nil)
	w.issuer.set(func(i *issuer) { i.down = true })
	if a := w.tell(token); a.status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", a.status, a.body)
	}
}

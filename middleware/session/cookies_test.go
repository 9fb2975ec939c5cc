package session_test

import (
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/middleware/session"
)

// Nothing that was not sealed here, for this, opens.
func TestForgedCookies(t *testing.T) {
	w := newWorld(t)
	w.app(nil)
	b := w.browser()
	flowAt := b.begin(appURL + "/")
	flowValue := slices.Collect(maps.Values(b.cookies()))[0]
	b.open(flowAt).greeted(t, "user-1")
	name, good := b.sessionCookie()

	other := newWorld(t)
	other.app(func(c *session.Config) { c.Secrets = []string{strings.Repeat("another secret ", 3)} })
	foreign := other.browser()
	foreign.signIn()
	_, otherSecret := foreign.sessionCookie()

	flipped := []byte(good)
	flipped[len(flipped)/2] ^= 1
	for what, value := range map[string]string{
		"changed":        string(flipped),
		"cut":            good[:len(good)-4],
		"longer":         good + "AAAA",
		"another count":  "2" + good[1:],
		"no count":       good[2:],
		"other secret":   otherSecret,
		"a flow":         "1." + flowValue,
		"not sealed":     "1." + base64.RawURLEncoding.EncodeToString([]byte(`{"v":1,"k":"x","x":9999999999999}`)),
		"not base64":     "1.====",
		"empty":          "",
		"other spelling": good[:len(good)-1] + string(good[len(good)-1]+1),
	} {
		b.put(name, value)
		if b.isSignedIn() {
			t.Errorf("%s: signed in", what)
		}
	}
	b.put(name, good)
	if !b.isSignedIn() {
		t.Error("the good cookie does not work any more")
	}
	// Twice, one of them planted.
	if a := w.browser().do("GET", appURL+"/public", "", "Cookie", name+"="+good+"; "+name+"="+good); !strings.Contains(a.body, "whoever") {
		t.Errorf("of two cookies one was used: %s", a.body)
	}
}

// Apps with the same secret do not take each other's cookies, not even under the
// same name.
func TestCookiesOfAnotherApp(t *testing.T) {
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			shared := store()
			w.app(keptIn(shared))
			b := w.browser()
			b.signIn()
			_, value := b.sessionCookie()
			cfg := w.config()
			cfg.Store, cfg.ClientID = shared, "another client"
			another, err := session.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			w.hosts[appURL] = program(another)
			stop := w.browser()
			stop.stop = issuerURL
			stop.open(appURL + "/") // to learn what the other app calls its cookies
			flow := slices.Collect(maps.Keys(stop.cookies()))[0]
			prefix, _, _ := strings.Cut(flow, "-login-")
			b.put(prefix+"-app", value)
			if b.isSignedIn() {
				t.Error("signed in with another app's cookie")
			}
		})
	}
}

func TestSecretsRotate(t *testing.T) {
	const next = "the next secret of the app, as random as the other one"
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			shared := store()
			use := func(secrets ...string) {
				w.app(func(c *session.Config) { c.Store, c.Secrets = shared, secrets })
			}
			use(secret)
			b, away := w.browser(), w.browser()
			b.signIn()
			away.signIn()
			use(next, secret)
			b.open(appURL+"/").greeted(t, "user-1")
			_, value := b.sessionCookie()
			b.open(appURL+"/").greeted(t, "user-1")
			if _, again := b.sessionCookie(); again != value {
				t.Error("the cookie is sealed again with every request")
			}
			use(next)
			if away.isSignedIn() {
				t.Error("a secret that was taken away still opens")
			}
			if store() == nil && !b.isSignedIn() { // a store's records last until their next refresh
				t.Error("who came by during the rotation is signed out")
			}
		})
	}
}

func TestSessionFixation(t *testing.T) {
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			shared := store()
			s := w.app(keptIn(shared))
			b := w.browser()
			b.signIn()
			name, planted := b.sessionCookie()
			w.issuer.set(func(i *issuer) { i.person = "user-2" })
			b.open(appURL+s.LoginURL("/")).greeted(t, "user-2")
			if _, value := b.sessionCookie(); value == planted {
				t.Error("the cookie is the one from before the sign-in")
			}
			b.open(appURL+"/").greeted(t, "user-2")
			// Whoever knew the cookie from before has nothing.
			attacker := w.browser()
			attacker.put(name, planted)
			if attacker.isSignedIn() {
				t.Error("the session before the sign-in goes on")
			}
		})
	}
}

func TestLargeTokens(t *testing.T) {
	w := newWorld(t)
	w.issuer.set(func(i *issuer) { i.padding = 3000 })
	w.app(nil)
	b := w.browser()
	b.signIn()
	if got := b.cookies(); len(got) != 2 {
		t.Fatalf("%d cookies, want the session in two", len(got))
	}
	for name, value := range b.cookies() {
		if len(name)+len(value) > 4000 {
			t.Errorf("%s takes %d bytes", name, len(name)+len(value))
		}
	}
	b.open(appURL+"/").greeted(t, "user-1")
	first, value := b.sessionCookie()
	second := w.browser()
	second.signIn()
	_, other := second.sessionCookie()
	b.put(first, other)
	if b.isSignedIn() {
		t.Error("halves of two sessions make one")
	}
	b.put(first, value)
	// A smaller session leaves no second half behind.
	w.issuer.set(func(i *issuer) { i.padding = 0 })
	b.open(appURL+"/auth/login").greeted(t, "user-1")
	if got := b.cookies(); len(got) != 1 {
		t.Errorf("%d cookies after a smaller session", len(got))
	}

	w.issuer.set(func(i *issuer) { i.padding = 8000 })
	b = w.browser()
	b.open(appURL+"/").refused(t, http.StatusBadGateway, "tell whoever runs this app")
	if !strings.Contains(w.log.String(), "set Config.Store") {
		t.Errorf("the log does not say what to do:\n%s", w.log)
	}
	w.app(keptIn(session.NewMemory(10, nil)))
	b.signIn()
}

// A request that was sent before the browser signed in again, and is answered after, does
// not take the new session's cookie away: both have one name.
func TestLateRequestsKeepTheNewSession(t *testing.T) {
	eachStore(t, func(t *testing.T, w *world, store session.Store) {
		s := w.app(keptIn(store))
		b, late := w.browser(), w.browser()
		b.signIn()
		late.put(b.sessionCookie())
		pass(time.Minute)
		b.open(appURL+s.LoginURL("/")).greeted(t, "user-1")
		a := late.open(appURL + "/public")
		a.greeted(t, "whoever")
		if set := a.header.Values("Set-Cookie"); len(set) != 0 {
			t.Errorf("the late answer sets %q", set)
		}
	})
}

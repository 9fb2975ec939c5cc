package session_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/middleware/session"
)

// stores are the ways to keep sessions that tests go through.
func stores() map[string]func() session.Store {
	return map[string]func() session.Store{
		"cookie": func() session.Store { return nil },
		"store":  func() session.Store { return session.NewMemory(1000, nil) },
	}
}

func keptIn(store session.Store) func(*session.Config) {
	return func(c *session.Config) { c.Store = store }
}

func TestSignIn(t *testing.T) {
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.app(keptIn(store()))
			b := w.browser()
			a := b.open(appURL + "/notes?sort=a%20b&x=%2F")
			a.greeted(t, "user-1, user-1@mail.example true, access-")
			if a.url.String() != appURL+"/notes?sort=a%20b&x=%2F" {
				t.Errorf("came back to %s", a.url)
			}
			if got := b.cookies(); len(got) != 1 {
				t.Errorf("the browser has %d cookies, want that of the session: %v", len(got), got)
			}
			b.open(appURL+"/other").greeted(t, "user-1")
			if got := w.issuer.count(func(i *issuer) int { return i.exchanges }); got != 1 {
				t.Errorf("%d codes were exchanged", got)
			}
			w.browser().open(appURL+"/public").greeted(t, "whoever you are")
		})
	}
}

func TestCookies(t *testing.T) {
	for origin, want := range map[string]string{
		"https://app.example":   `^__Host-lg-[0-9a-f]{8}-(app|login-[A-Za-z0-9_-]{16})=\S+; Path=/; Max-Age=(43200|600); HttpOnly; Secure; SameSite=Lax$`,
		"http://localhost:3000": `^lg-[0-9a-f]{8}-(app|login-[A-Za-z0-9_-]{16})=\S+; Path=/; Max-Age=(43200|600); HttpOnly; SameSite=Lax$`,
	} {
		w := newWorld(t)
		cfg := w.config()
		cfg.RedirectURL = origin + "/auth/callback"
		s, err := session.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		w.hosts[origin] = program(s)
		b := w.browser()
		b.stop = issuerURL
		begun := b.open(origin + "/").header.Values("Set-Cookie")
		if len(begun) != 1 || !regexp.MustCompile(want).MatchString(begun[0]) || !strings.Contains(begun[0], "login-") {
			t.Errorf("%s: a sign-in sets %q", origin, begun)
		}
		if origin != appURL {
			continue // the test issuer knows one redirect URI
		}
		callback := w.browser()
		at := callback.begin(origin + "/")
		callback.stop = origin
		set := callback.open(at).header.Values("Set-Cookie")
		if len(set) != 2 || !strings.Contains(set[0], "Max-Age=0") || !regexp.MustCompile(want).MatchString(set[1]) {
			t.Errorf("%s: the callback sets %q", origin, set)
		}
		for _, c := range append(set, begun...) {
			for _, hint := range []string{"user", "access", "notes", "id.example"} {
				if strings.Contains(c, hint) {
					t.Errorf("a cookie tells %q: %s", hint, c)
				}
			}
		}
	}
}

func TestAnswersOfTheSignInAreNotKept(t *testing.T) {
	w := newWorld(t)
	w.app(nil)
	b := w.browser()
	at := b.begin(appURL + "/auth/login")
	b.stop = appURL
	for name, a := range map[string]answer{"callback": b.open(at), "callback again": b.open(at), "no such path": b.open(appURL + "/auth/x")} {
		if h := a.header; h.Get("Cache-Control") != "no-store" || h.Get("Referrer-Policy") != "no-referrer" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", name, h)
		}
	}
	a := b.open(appURL + "/")
	if a.header.Get("Cache-Control") != "private, no-cache" || a.header.Get("Vary") != "Cookie" {
		t.Errorf("a page of one person: %v", a.header)
	}
}

func TestSignInAtTheLoginPath(t *testing.T) {
	w := newWorld(t)
	s := w.app(func(c *session.Config) { c.Home = "/public" })
	for returnTo, want := range map[string]string{
		"/notes?a=b": "/notes?a=b", "": "/public", "https://evil.example/": "/public", s.LogoutURL(): "/public",
	} {
		a := w.browser().open(appURL + s.LoginURL(returnTo))
		a.greeted(t, "user-1")
		if a.url.RequestURI() != want {
			t.Errorf("return to %q: came to %s", returnTo, a.url)
		}
	}
	// A second sign-in replaces the first.
	b := w.browser()
	b.signIn()
	w.issuer.set(func(i *issuer) { i.person = "user-2" })
	b.open(appURL+s.LoginURL("/")).greeted(t, "user-2")
}

// What cannot be led through a sign-in is told so, and nothing begins.
func TestSignedOutRequestsThatCannotWait(t *testing.T) {
	w := newWorld(t)
	w.app(nil)
	page := []string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "same-origin"}
	for name, c := range map[string]struct {
		method  string
		headers []string
		page    bool
	}{
		"a fetch":               {"GET", []string{"Accept", "*/*", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}, false},
		"a fetch for a page":    {"GET", []string{"Accept", "text/html", "Sec-Fetch-Mode", "same-origin", "Sec-Fetch-Dest", "empty"}, false},
		"an image":              {"GET", []string{"Accept", "image/*", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, false},
		"a frame":               {"GET", []string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, true},
		"a form":                {"POST", page, true},
		"a script":              {"DELETE", []string{"Accept", "application/json", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Site", "same-origin"}, false},
		"curl":                  {"GET", nil, false},
		"XMLHttpRequest of old": {"GET", []string{"Accept", "text/html", "X-Requested-With", "XMLHttpRequest"}, false},
	} {
		b := w.browser()
		a := b.do(c.method, appURL+"/notes", "", c.headers...)
		if a.status != http.StatusUnauthorized || a.location() != "" || a.header.Get("WWW-Authenticate") == "" || len(b.cookies()) > 0 {
			t.Errorf("%s: %d to %q, cookies %v", name, a.status, a.location(), b.cookies())
		}
		if c.page != strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || c.page != strings.Contains(a.body, `href="/auth/login"`) {
			t.Errorf("%s: %v %s", name, a.header, a.body)
		}
		if m := map[string]string{}; !c.page && (json.Unmarshal([]byte(a.body), &m) != nil || m["error"] != session.ProblemSignedOut) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
	b := w.browser()
	b.stop = issuerURL
	if a := b.do("GET", appURL+"/", "", "Accept", "text/html,*/*"); a.status != http.StatusSeeOther { // an old browser
		t.Errorf("a browser without Sec-Fetch headers: %d %s", a.status, a.body)
	}
}

func TestSeveralTabsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.app(nil)
	b := w.browser()
	first, second := b.begin(appURL+"/first"), b.begin(appURL+"/second")
	for at, want := range map[string]string{second: "/second", first: "/first"} {
		a := b.open(at)
		a.greeted(t, "user-1")
		if a.url.Path != want {
			t.Errorf("came to %s, want %s", a.url, want)
		}
	}
}

// A page elsewhere that opens the login path again and again does not fill the
// browser's cookies.
func TestOpenSignInsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.app(nil)
		b := w.browser()
		oldest := b.begin(appURL + "/")
		var newest string
		for range 20 {
			pass(time.Second)
			newest = b.begin(appURL + "/")
		}
		if got := len(b.cookies()); got > 5 {
			t.Errorf("the browser has %d cookies", got)
		}
		b.open(oldest).refused(t, http.StatusBadRequest, "Sign in again")
		b.open(newest).greeted(t, "user-1")
	})
}

func TestClientAuthentication(t *testing.T) {
	for name, c := range map[string]struct {
		issuer func(*issuer)
		config func(*session.Config)
		good   bool
	}{
		"basic":              {func(*issuer) {}, nil, true},
		"in the form":        {func(i *issuer) { i.postOnly = true }, nil, true},
		"a public client":    {func(i *issuer) { i.publicOnly = true }, func(c *session.Config) { c.ClientSecret = "" }, true},
		"a secret too many":  {func(i *issuer) { i.publicOnly = true }, nil, false},
		"not the secret":     {func(*issuer) {}, func(c *session.Config) { c.ClientSecret = "wrong" }, false},
		"a secret too few":   {func(*issuer) {}, func(c *session.Config) { c.ClientSecret = "" }, false},
		"no RFC 9207 either": {func(i *issuer) { i.withoutISS = true }, nil, true},
	} {
		w := newWorld(t)
		w.issuer.set(c.issuer)
		w.app(c.config)
		a := w.browser().open(appURL + "/")
		if good := strings.HasPrefix(a.body, "hello user-1"); good != c.good {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

func TestUserInfo(t *testing.T) {
	for name, c := range map[string]struct {
		config func(*session.Config)
		answer string
		status int
		want   string
	}{
		"asked for email":     {nil, "", 200, "hello user-1, user-1@mail.example true"},
		"not asked":           {func(c *session.Config) { c.Scopes = nil }, "", 200, "hello user-1,  false"},
		"unverified":          {nil, `{"sub":"user-1","email":"a@b.example"}`, 200, "hello user-1, a@b.example false"},
		"verified as a word":  {nil, `{"sub":"user-1","email":"a@b.example","email_verified":"true"}`, 200, "hello user-1, a@b.example false"},
		"somebody else":       {nil, `{"sub":"user-2","email":"a@b.example"}`, 502, "could not be accepted"},
		"nobody":              {nil, `{"email":"a@b.example"}`, 502, "could not be accepted"},
		"sub twice":           {nil, `{"sub":"user-2","sub":"user-1"}`, 502, "could not be accepted"},
		"not JSON":            {nil, `eyJhbGciOiJub25lIn0.e30.`, 502, "could not be accepted"},
		"too long":            {nil, `{"sub":"user-1"}` + strings.Repeat(" ", 1<<17), 502, "could not be accepted"},
		"the ID token counts": {nil, `{"sub":"user-1","email":"a@b.example","sid":"other"}`, 200, "hello user-1, a@b.example false"},
	} {
		w := newWorld(t)
		w.issuer.set(func(i *issuer) { i.userInfo = func() (string, bool) { return c.answer, c.answer != "" } })
		w.app(c.config)
		if a := w.browser().open(appURL + "/"); a.status != c.status || !strings.Contains(a.body, c.want) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

// Whether an address was checked is said beside that address: what userinfo says about
// one does not vouch for another one of the ID token, nor the other way round.
func TestVerifiedIsTheAddressThatWasChecked(t *testing.T) {
	for name, c := range map[string]struct {
		claims   map[string]any // of the ID token
		userInfo string
		want     string
	}{
		"another address":        {map[string]any{"email": "admin@corp.example"}, `{"sub":"user-1","email":"me@mail.example","email_verified":true}`, "admin@corp.example false"},
		"the same":               {map[string]any{"email": "me@mail.example"}, `{"sub":"user-1","email":"me@mail.example","email_verified":true}`, "me@mail.example true"},
		"verified elsewhere":     {map[string]any{"email_verified": true}, `{"sub":"user-1","email":"admin@corp.example"}`, "admin@corp.example false"},
		"no, says the ID token":  {map[string]any{"email": "me@mail.example", "email_verified": false}, `{"sub":"user-1","email":"me@mail.example","email_verified":true}`, "me@mail.example false"},
		"both in the ID token":   {map[string]any{"email": "me@mail.example", "email_verified": true}, `{"sub":"user-1"}`, "me@mail.example true"},
		"no address in userinfo": {map[string]any{"email": "admin@corp.example"}, `{"sub":"user-1","email_verified":true}`, "admin@corp.example false"},
	} {
		w := newWorld(t)
		w.issuer.set(func(i *issuer) {
			i.userInfo = func() (string, bool) { return c.userInfo, true }
			i.claims = func(all map[string]any) { maps.Copy(all, c.claims) }
		})
		w.app(nil)
		t.Run(name, func(t *testing.T) { w.browser().open(appURL+"/").greeted(t, "user-1, "+c.want) })
	}
}

func TestIssuerDownAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.issuer.set(func(i *issuer) { i.down = true })
		w.app(nil)
		asked := 0
		w.hosts[issuerURL] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			asked++
			w.issuer.ServeHTTP(rw, r)
		})
		b := w.browser()
		for range 50 {
			a := b.open(appURL + "/notes")
			a.refused(t, http.StatusServiceUnavailable, "not possible at the moment")
			if a.header.Get("Retry-After") == "" {
				t.Error("it does not say when to come back")
			}
		}
		if asked > 2 { // both places of the metadata, once
			t.Errorf("the issuer was asked %d times", asked)
		}
		b.open(appURL+"/public").greeted(t, "whoever")
		w.issuer.set(func(i *issuer) { i.down = false })
		pass(5 * time.Second)
		b.open(appURL+"/notes").greeted(t, "user-1")
	})
}

// pass lets time go by, in a bubble.
func pass(d time.Duration) { <-time.After(d) }

func TestIssuerDownAtTheCallback(t *testing.T) {
	for name, down := range map[string]func(*issuer){
		"all of it":    func(i *issuer) { i.down = true },
		"its userinfo": func(i *issuer) { i.userInfo = func() (string, bool) { return "", true } },
	} {
		w := newWorld(t)
		w.app(nil)
		b := w.browser()
		at := b.begin(appURL + "/notes")
		w.issuer.set(down)
		a := b.open(at)
		if a.status < 500 || !strings.Contains(a.body, "return_to=%2Fnotes") {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

func TestMetadataIsReadOnceAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.app(nil)
		asked := func() int { return w.issuer.count(func(i *issuer) int { return i.metadataAsked }) }
		for range 20 {
			w.browser().signIn()
		}
		if got := asked(); got != 2 { // for the endpoints and for the keys
			t.Errorf("the metadata was read %d times", got)
		}
		pass(time.Hour)
		w.browser().signIn()
		synctest.Wait()
		if got := asked(); got < 3 {
			t.Errorf("an hour later the metadata was read %d times", got)
		}
		// The old one is good enough while the issuer's document cannot be read.
		w.issuer.set(func(i *issuer) { i.down = true })
		pass(2 * time.Hour)
		b := w.browser()
		b.stop = issuerURL
		if a := b.open(appURL + "/"); a.status != http.StatusSeeOther {
			t.Errorf("got %d", a.status)
		}
	})
}

func TestSessionEnds(t *testing.T) {
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.app(func(c *session.Config) { c.Store, c.Lifetime = store(), time.Hour })
				b := w.browser()
				b.signIn()
				_, value := b.sessionCookie()
				for range 5 { // being used does not make it longer
					pass(11 * time.Minute)
					if !b.isSignedIn() {
						t.Fatal("it ended early")
					}
				}
				cookieName, newer := b.sessionCookie()
				pass(5*time.Minute + time.Millisecond)
				b.put(cookieName, newer) // a browser that keeps it
				if b.isSignedIn() {
					t.Error("it goes on after its end")
				}
				b.put(cookieName, value)
				if b.isSignedIn() {
					t.Error("the first cookie is good again")
				}
			})
		})
	}
}

// A sign-in without refresh tokens lasts without asking anybody.
func TestSessionWithoutRefreshToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.app(func(c *session.Config) { c.Scopes = []string{"openid", "email"} })
		b := w.browser()
		b.signIn()
		w.issuer.set(func(i *issuer) { i.down = true })
		pass(time.Hour)
		if a := b.open(appURL + "/"); a.body != "hello user-1, user-1@mail.example true" {
			t.Errorf("%d %s, want a greeting without access token", a.status, a.body)
		}
	})
}

func TestRequireInsideOptional(t *testing.T) {
	w := newWorld(t)
	s := w.app(nil)
	outer := s.Optional(s.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _ := session.User(r.Context())
		w.Write([]byte("hello " + user.Subject()))
	})))
	b := w.browser()
	b.signIn()
	w.hosts[appURL] = outer
	b.open(appURL+"/").greeted(t, "user-1")
	w.browser().do("GET", appURL+"/", "").refused(t, http.StatusUnauthorized, "not signed in")
}

// An app that forgot the handler says so, and does not send people in circles.
func TestHandlerIsNotMounted(t *testing.T) {
	w := newWorld(t)
	s := w.app(nil)
	w.hosts[appURL] = s.Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	w.browser().open(appURL+"/").refused(t, http.StatusBadGateway, "tell whoever runs this app")
	if !strings.Contains(w.log.String(), "mount Sessions.Handler at /auth/callback") {
		t.Errorf("the log does not say what to do:\n%s", w.log)
	}
}

func TestErrorPage(t *testing.T) {
	w := newWorld(t)
	w.app(func(c *session.Config) {
		c.ErrorPage = func(w http.ResponseWriter, _ *http.Request, p session.Problem) {
			w.WriteHeader(p.Status)
			w.Write([]byte("code " + p.Code + " to " + p.LoginURL))
		}
	})
	b := w.browser()
	at := b.begin(appURL + "/notes")
	if a := b.open(with(t, at, "code", "", "error", "access_denied")); a.status != http.StatusForbidden || a.body != "code access_denied to /auth/login?return_to=%2Fnotes" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := b.do("POST", appURL+"/", "", "Accept", "application/json"); !strings.HasPrefix(a.body, `{"error":"signed_out"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestParams(t *testing.T) {
	w := newWorld(t)
	w.app(func(c *session.Config) {
		c.Params = url.Values{"resource": {"https://api.example"}, "ui_locales": {"de"}}
	})
	b := w.browser()
	b.stop = issuerURL
	if got := b.open(appURL + "/").location(); !strings.Contains(got, "&resource=https%3A%2F%2Fapi.example&ui_locales=de") {
		t.Errorf("asked %s", got)
	}
}

package session_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/middleware/session"
)

const begunElsewhere = "begun in another browser"

// exchanged is how many codes the issuer was asked to exchange.
func (w *world) exchanged() int {
	return w.issuer.count(func(i *issuer) int { return i.exchanges })
}

// Whoever lures somebody to a callback of their own sign-in signs nobody in.
func TestLoginCSRF(t *testing.T) {
	w := newWorld(t)
	w.app(nil)
	attacker, victim := w.browser(), w.browser()
	w.issuer.set(func(i *issuer) { i.person = "user-of-the-attacker" })
	at := attacker.begin(appURL + "/")
	own := victim.begin(appURL + "/") // a sign-in of the victim is under way
	u, _ := url.Parse(own)
	for name, target := range map[string]string{
		"the attacker's callback":    at,
		"no state":                   with(t, at, "state", ""),
		"an empty state":             at + "&state=",
		"two states":                 at + "&state=" + u.Query().Get("state"),
		"a state cut":                with(t, at, "state", u.Query().Get("state")[:16]),
		"a state that goes on":       with(t, at, "state", u.Query().Get("state")+"x"),
		"a state with the same name": with(t, at, "state", u.Query().Get("state")[:16]+strings.Repeat("A", 27)),
		"a state that is no name":    with(t, at, "state", strings.Repeat(";", 43)),
		"a malformed query":          strings.Replace(at, "?", "?%zz&", 1),
		"a huge query":               own + "&x=" + strings.Repeat("x", 9000),
	} {
		victim.open(target).refused(t, http.StatusBadRequest, begunElsewhere)
		if victim.isSignedIn() {
			t.Fatalf("%s signed somebody in", name)
		}
	}
	if got := w.exchanged(); got != 0 {
		t.Errorf("%d codes were exchanged", got)
	}
	attacker.open(at).greeted(t, "user-of-the-attacker")
}

// A flow's cookie that somebody planted beside the browser's own is not used.
func TestPlantedFlow(t *testing.T) {
	w := newWorld(t)
	w.app(nil)
	attacker, victim := w.browser(), w.browser()
	at := attacker.begin(appURL + "/")
	var planted []string
	for name, value := range attacker.cookies() {
		planted = append(planted, name+"="+value)
	}
	// Under the name of a flow of the victim, whose name is authenticated.
	own := victim.begin(appURL + "/")
	for name := range victim.cookies() {
		for _, value := range attacker.cookies() {
			victim.put(name, value)
		}
	}
	victim.open(own).refused(t, http.StatusBadRequest, begunElsewhere)
	// Twice.
	a := w.browser().do("GET", at, "", "Accept", "text/html", "Cookie", strings.Join(planted, "; ")+"; "+strings.Join(planted, "; "))
	a.refused(t, http.StatusBadRequest, begunElsewhere)
	if got := w.exchanged(); got != 0 {
		t.Errorf("%d codes were exchanged", got)
	}
}

func TestCallbackReplayed(t *testing.T) {
	for name, store := range stores() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			shared := store()
			w.app(keptIn(shared))
			b := w.browser()
			at := b.begin(appURL + "/")
			before := b.cookies()
			b.open(at).greeted(t, "user-1")
			b.open(at).refused(t, http.StatusBadRequest, begunElsewhere)
			// A browser that still has the cookie, as after a reload: the issuer would take
			// the second use of the code for theft, and end the session.
			if shared != nil {
				w.app(keptIn(shared)) // another replica
			}
			for name, value := range before {
				b.put(name, value)
			}
			b.open(at).refused(t, http.StatusBadRequest, "completed before")
			b.open(appURL+"/").greeted(t, "user-1")
			if got := w.exchanged(); got != 1 {
				t.Errorf("%d codes were exchanged", got)
			}
		})
	}
}

func TestSignInTakesTenMinutesAtMost(t *testing.T) {
	w := newWorld(t)
	clock := newClock()
	w.issuer.set(func(i *issuer) { i.now = clock.now })
	w.app(func(c *session.Config) { c.Now = clock.now })
	b := w.browser()
	at := b.begin(appURL + "/")
	name, value := "", ""
	for name, value = range b.cookies() {
	}
	clock.advance(10 * 60 * 1e9)
	b.put(name, value) // a browser that does not forget
	b.open(at).refused(t, http.StatusBadRequest, "longer than ten minutes")
}

// The code of one session does not fit into another one: PKCE stops it at the
// issuer and, where the issuer does not look, the nonce here.
func TestCodeInjection(t *testing.T) {
	for name, c := range map[string]struct {
		skipPKCE bool
		status   int
		sentence string
	}{
		"a strict issuer":  {false, http.StatusBadRequest, "Sign in again"},
		"a lenient issuer": {true, http.StatusBadGateway, "could not be accepted"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.issuer.set(func(i *issuer) { i.skipPKCE = c.skipPKCE })
			w.app(nil)
			victim, attacker := w.browser(), w.browser()
			stolen, _ := url.Parse(victim.begin(appURL + "/"))
			own := attacker.begin(appURL + "/")
			attacker.open(with(t, own, "code", stolen.Query().Get("code"))).refused(t, c.status, c.sentence)
			if attacker.isSignedIn() {
				t.Error("the attacker is signed in")
			}
		})
	}
}

func TestMixUp(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(*issuer)
		status   int
		accepted bool
	}{
		"another issuer":          {func(i *issuer) { i.answer = func(q url.Values) { q.Set("iss", "https://evil.example") } }, 502, false},
		"almost the issuer":       {func(i *issuer) { i.answer = func(q url.Values) { q.Set("iss", issuerURL+"/") } }, 502, false},
		"empty":                   {func(i *issuer) { i.answer = func(q url.Values) { q.Set("iss", "") } }, 502, false},
		"missing though promised": {func(i *issuer) { i.answer = func(q url.Values) { q.Del("iss") } }, 502, false},
		"twice":                   {func(i *issuer) { i.answer = func(q url.Values) { q.Add("iss", "https://evil.example") } }, 400, false},
		"an error of another": {func(i *issuer) {
			i.answer = func(q url.Values) { q.Set("iss", "https://evil.example"); q.Set("error", "x") }
		}, 502, false},
		"not promised, not there": {func(i *issuer) { i.withoutISS = true }, 200, true},
		"not promised, and another": {func(i *issuer) {
			i.withoutISS = true
			i.answer = func(q url.Values) { q.Set("iss", "https://evil.example") }
		}, 502, false},
	} {
		w := newWorld(t)
		w.issuer.set(c.change)
		w.app(nil)
		if a := w.browser().open(appURL + "/"); a.status != c.status || strings.HasPrefix(a.body, "hello") != c.accepted {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		if got := w.exchanged(); !c.accepted && got != 0 {
			t.Errorf("%s: a code was exchanged", name)
		}
	}
}

func TestForgedIDTokens(t *testing.T) {
	claims := func(change func(map[string]any)) func(*issuer) { return func(i *issuer) { i.claims = change } }
	sign := func(header map[string]any, signature func(i *issuer, input []byte) []byte) func(*issuer) {
		return func(i *issuer) {
			head, _ := json.Marshal(header)
			i.sign = func(payload []byte) string {
				input := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(payload)
				return input + "." + base64.RawURLEncoding.EncodeToString(signature(i, []byte(input)))
			}
		}
	}
	public := func(i *issuer) []byte { return i.private.Public().(ed25519.PublicKey) }
	good := func(i *issuer, input []byte) []byte { return ed25519.Sign(i.private, input) }
	for name, change := range map[string]func(*issuer){
		"another nonce":       claims(func(c map[string]any) { c["nonce"] = c["nonce"].(string) + "x" }),
		"no nonce":            claims(func(c map[string]any) { delete(c, "nonce") }),
		"another client's":    claims(func(c map[string]any) { c["aud"] = "other" }),
		"azp another client":  claims(func(c map[string]any) { c["azp"] = "other" }),
		"two clients":         claims(func(c map[string]any) { c["aud"] = []string{clientID, "other"} }),
		"another issuer's":    claims(func(c map[string]any) { c["iss"] = "https://evil.example" }),
		"expired":             claims(func(c map[string]any) { c["exp"] = c["iat"].(int64) - 100 }),
		"another token's":     claims(func(c map[string]any) { c["at_hash"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }),
		"nobody":              claims(func(c map[string]any) { delete(c, "sub") }),
		"alg none":            sign(map[string]any{"alg": "none", "kid": "k1"}, func(*issuer, []byte) []byte { return nil }),
		"an access token":     sign(map[string]any{"alg": "EdDSA", "kid": "k1", "typ": "at+jwt"}, good),
		"HS256 by public key": sign(map[string]any{"alg": "HS256", "kid": "k1"}, func(i *issuer, input []byte) []byte { return mac(public(i), input) }),
		"HS256 by our secret": sign(map[string]any{"alg": "HS256", "kid": "k1"}, func(_ *issuer, input []byte) []byte { return mac([]byte(clientSecret), input) }),
		"another signature":   sign(map[string]any{"alg": "EdDSA", "kid": "k1"}, func(*issuer, []byte) []byte { return make([]byte, 64) }),
		"no token":            func(i *issuer) { i.sign = func([]byte) string { return "" } },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.issuer.set(change)
			w.app(nil)
			b := w.browser()
			b.open(appURL+"/").refused(t, http.StatusBadGateway, "could not be accepted")
			if b.isSignedIn() {
				t.Error("signed in")
			}
		})
	}
}

func mac(key, input []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(input)
	return h.Sum(nil)
}

// Codes, secrets and tokens go where the issuer's metadata says and nowhere else.
func TestIssuerRedirects(t *testing.T) {
	for _, path := range []string{"/token", "/userinfo", "/revoke", "/.well-known/openid-configuration"} {
		w := newWorld(t)
		s := w.app(nil)
		w.hosts[issuerURL] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == path {
				http.Redirect(rw, r, "https://evil.example/", http.StatusTemporaryRedirect) // keeps method and body
				return
			}
			w.issuer.ServeHTTP(rw, r)
		})
		w.hosts["https://evil.example"] = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			t.Errorf("%s led to %s %s with %v", path, r.Method, r.URL, r.Header)
		})
		b := w.browser()
		b.open(appURL + "/")
		b.stop = issuerURL
		b.post(appURL + s.LogoutURL())
	}
}

// A token of a type that we know nothing of is not sent as a bearer token.
func TestTokensOfAnotherType(t *testing.T) {
	w := newWorld(t)
	w.issuer.set(func(i *issuer) { i.tokenType = "DPoP" })
	w.app(nil)
	w.browser().open(appURL+"/").refused(t, http.StatusServiceUnavailable, "")
	if !strings.Contains(w.log.String(), "another type than Bearer") {
		t.Errorf("the log does not say why:\n%s", w.log)
	}
}

// Neither cookies nor tokens, codes or secrets get into the log.
func TestLogTellsNoSecrets(t *testing.T) {
	w := newWorld(t)
	s := w.app(nil)
	b := w.browser()
	at := b.begin(appURL + "/")
	flow := slices.Collect(maps.Values(b.cookies()))[0]
	b.open(at)
	b.open(at)
	_, cookie := b.sessionCookie()
	w.issuer.set(func(i *issuer) { i.tokenType = "DPoP" })
	other := w.browser()
	other.open(appURL + "/")
	w.hosts[issuerURL] = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" { // an issuer that says too much
			rw.WriteHeader(http.StatusInternalServerError)
			io.Copy(rw, r.Body)
			return
		}
		w.issuer.ServeHTTP(rw, r)
	})
	other.open(appURL + "/")
	w.tell("eyJhbGciOiJub25lIn0.e30.x")
	b.stop = issuerURL
	b.post(appURL + s.LogoutURL())
	u, _ := url.Parse(at)
	for _, hint := range []string{u.Query().Get("state"), u.Query().Get("code") + "\"", flow, cookie, clientSecret, url.QueryEscape(clientSecret), secret, "access-", "refresh-", "code_verifier", "eyJ"} {
		if strings.Contains(w.log.String(), hint) {
			t.Errorf("the log tells %q:\n%s", hint, w.log)
		}
	}
	if strings.Count(w.log.String(), "level=") < 4 {
		t.Errorf("the log:\n%s", w.log)
	}
}

// What the issuer says in its own words is not shown: it may be somebody else's.
func TestErrorsOfTheIssuer(t *testing.T) {
	for code, want := range map[string]struct {
		status   int
		sentence string
	}{
		"access_denied":             {403, "cancelled or not allowed"},
		"temporarily_unavailable":   {503, "not possible at the moment"},
		"server_error":              {503, "not possible at the moment"},
		"login_required":            {401, "not signed in"},
		"unauthorized_client":       {502, "does not accept this app"},
		"<script>alert(1)</script>": {502, "does not accept this app"},
	} {
		w := newWorld(t)
		w.issuer.set(func(i *issuer) {
			i.answer = func(q url.Values) {
				q.Del("code")
				q.Set("error", code)
				q.Set("error_description", "<b>call 0900-1234</b>")
			}
		})
		w.app(nil)
		b := w.browser()
		a := b.open(appURL + "/notes")
		a.refused(t, want.status, want.sentence)
		if strings.Contains(a.body, "0900") || strings.Contains(a.body, "<script") || !strings.Contains(a.body, `id="login" href="/auth/login?return_to=%2Fnotes"`) {
			t.Errorf("%s: %s", code, a.body)
		}
		if !strings.Contains(a.header.Get("Content-Security-Policy"), "default-src 'none'") || a.header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: %v", code, a.header)
		}
		if !strings.Contains(w.log.String(), "0900-1234") {
			t.Errorf("%s: the log does not say what the issuer said: %s", code, w.log)
		}
	}
}

func TestAS30_ReturnTo(t *testing.T) {
	w := newWorld(t)
	w.app(nil)
	b := w.browser()
	for _, evil := range []string{
		"https://evil.example", "//evil.example", `/\evil.example`, `\\evil.example`, `\/evil.example`, "/%09/evil.example", "/\t/evil.example", "/%5cevil.example",
		"/%2f/evil.example", "/%2fevil.example", "/%252fevil.example", "/%255cevil.example", "/%25252fevil.example", "javascript:alert(1)", "%2f%2fevil.example",
		"data:text/html,x", " //evil.example", "/\n/evil.example", "/%0d%0aX: y", "/ä", "evil.example", "", ".", "?x", "http:evil.example", "/x#y", "///evil.example",
		"/auth/login", "/auth/callback?code=x", "/x/../auth/login", "/auth/./login", strings.Repeat("/x", 1100), "/%zz",
	} {
		a := b.open(appURL + "/auth/login?" + url.Values{"return_to": {evil}}.Encode())
		a.greeted(t, "user-1")
		if a.url.String() != appURL+"/" {
			t.Errorf("%q leads to %s", evil, a.url)
		}
	}
	// A request can have such a path itself.
	app := w.hosts[appURL]
	w.hosts[appURL] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.RequestURI == "/evil" {
			r.RequestURI = "//evil.example/"
		}
		app.ServeHTTP(w, r)
	})
	a := w.browser().open(appURL + "/evil")
	a.greeted(t, "user-1")
	if a.url.String() != appURL+"/" {
		t.Errorf("leads to %s", a.url)
	}
}

func TestRequestsOfOtherOrigins(t *testing.T) {
	w := newWorld(t)
	s := w.app(nil)
	b := w.browser()
	b.signIn()
	w.hosts[appURL].(*http.ServeMux).Handle("/bare", s.CSRF(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	for _, path := range []string{"/notes", "/public", "/bare", s.LogoutURL()} {
		for name, headers := range map[string][]string{
			"cross-site":          {"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"},
			"a sibling":           {"Sec-Fetch-Site", "same-site", "Origin", "https://evil.app.example"},
			"an old browser":      {"Origin", "https://evil.example"},
			"no origin to tell":   {"Origin", "null"},
			"said by a form only": {"Sec-Fetch-Site", "cross-site"},
		} {
			a := b.do("POST", appURL+path, "", append(headers, "Accept", "text/html")...)
			if a.status != http.StatusForbidden || !strings.Contains(a.body, "page of another site") {
				t.Errorf("%s to %s: %d %s", name, path, a.status, a.body)
			}
		}
	}
	if !b.isSignedIn() {
		t.Error("signed out by another site")
	}
	b.post(appURL+"/notes").greeted(t, "user-1")
	// A proxy that changes Host does not make our own pages foreign.
	r, _ := http.NewRequest("POST", "/", nil)
	r.Host = "backend.internal"
	r.Header.Set("Origin", appURL)
	if err := checkCSRF(s, r); err != http.StatusOK {
		t.Errorf("our own origin behind a proxy: %d", err)
	}
}

// checkCSRF returns what the protection answers to a request.
func checkCSRF(s *session.Sessions, r *http.Request) int {
	w := newRecorder()
	s.CSRF(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
	return w.Code
}

// Methods that a path is not for do nothing.
func TestMethods(t *testing.T) {
	w := newWorld(t)
	s := w.app(nil)
	b := w.browser()
	b.signIn()
	at := b.begin(appURL + "/auth/login")
	for _, c := range []struct{ method, target string }{
		{"GET", appURL + s.LogoutURL()}, {"HEAD", appURL + s.LogoutURL()}, {"PUT", appURL + s.LogoutURL()}, {"POST", appURL + "/auth/login"},
		{"HEAD", at}, {"POST", at}, {"GET", appURL + "/auth/backchannel-logout"},
	} {
		if a := b.do(c.method, c.target, "", "Sec-Fetch-Site", "same-origin"); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") == "" {
			t.Errorf("%s %s: %d", c.method, c.target, a.status)
		}
	}
	if got := w.exchanged(); got != 1 || !b.isSignedIn() {
		t.Errorf("%d codes were exchanged", got)
	}
	b.open(at).greeted(t, "user-1")
}

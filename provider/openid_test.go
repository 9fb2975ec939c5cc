package provider_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
)

func TestOP01_IDToken(t *testing.T) {
	clk := newClock()
	s := start(t, options{now: clk.now, config: func(c *config.Config) { c.Clients[0].Audiences = []string{api, "https://other.example"} }})
	at := clk.now().Unix()
	b := s.browser()
	path := authorizePath(webID, "max_age", "3600")
	b.signIn(path, "ann@example.com").arrives(t, callback)
	clk.advance(100 * time.Second)
	q := b.get(path).arrives(t, callback)
	tokens := s.exchange(q.Get("code")).json(t)
	claims := claimsOf(t, tokens["id_token"])
	sum := sha256.Sum256([]byte(tokens["access_token"].(string)))
	for name, want := range map[string]any{
		"iss": s.provider.Issuer(), "sub": s.account("ann@example.com").Subject, "aud": webID, "nonce": "some-nonce",
		"iat": float64(at + 100), "exp": float64(at + 700), "auth_time": float64(at), "acr": "urn:lettergate:acr:email",
		"at_hash": base64.RawURLEncoding.EncodeToString(sum[:16]),
	} {
		if claims[name] != want {
			t.Errorf("%s is %v, want %v", name, claims[name], want)
		}
	}
	access := claimsOf(t, tokens["access_token"])
	if got := access["aud"]; !slices.Equal(got.([]any), []any{api, "https://other.example"}) {
		t.Errorf("the access token is for %v", got)
	}
	if access["exp"] != float64(at+700) || tokens["expires_in"] != 600.0 || tokens["token_type"] != "Bearer" {
		t.Errorf("expires %v, expires_in %v, type %v", access["exp"], tokens["expires_in"], tokens["token_type"])
	}
	// A refreshed ID token speaks of the same sign-in and answers no request.
	clk.advance(time.Hour)
	again := claimsOf(t, s.refresh(tokens["refresh_token"].(string)).json(t)["id_token"])
	if again["nonce"] != nil || again["auth_time"] != claims["auth_time"] || again["sub"] != claims["sub"] || again["iat"] != float64(at+3700) || again["aud"] != webID {
		t.Errorf("refreshed: %v", again)
	}
}

func TestOP02_PromptNone(t *testing.T) {
	s := start(t, options{})
	none := func(b *browser, client string, pairs ...string) answer {
		return b.send(s.request("GET", authorizePath(client, append(pairs, "prompt", "none")...), ""))
	}
	none(s.browser(), webID).redirectsError(t, "login_required")
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	if q := none(b, webID).arrives(t, callback); q.Get("code") == "" {
		t.Errorf("signed in, of a first party: %v", q)
	}
	none(b, thirdID).redirectsError(t, "consent_required")
	none(b, webID, "redirect_uri", "https://evil.example/").isPage(t, http.StatusBadRequest)
	for _, prompt := range []string{"none login", "login none", "none none", "none consent", "None", "create", "login,none"} {
		b.send(s.request("GET", authorizePath(webID, "prompt", prompt), "")).redirectsError(t, "invalid_request")
	}
	if a := b.get(authorizePath(webID, "prompt", "consent")); !strings.Contains(a.body, `id="allow"`) {
		t.Errorf("prompt=consent: %d", a.status)
	}
}

// idToken asks for a code with the path and returns the ID token that it buys.
func (s *server) idToken(a answer) map[string]any {
	s.t.Helper()
	got := s.exchange(a.arrives(s.t, callback).Get("code"))
	if got.status != http.StatusOK {
		s.t.Fatalf("code exchange: %d %s", got.status, got.body)
	}
	return claimsOf(s.t, got.json(s.t)["id_token"])
}

func TestOP03_PromptLogin(t *testing.T) {
	for _, prompt := range []string{"login", "select_account", "login consent"} {
		clk := newClock()
		s := start(t, options{now: clk.now})
		b := s.browser()
		first := s.idToken(b.signIn(authorizePath(webID), "ann@example.com"))
		clk.advance(2 * time.Second)
		path := authorizePath(webID, "prompt", prompt)
		page := b.get(path)
		page = b.submit(page, "email", "email", "ann@example.com")
		clk.advance(3 * time.Second)
		page = b.submit(page, "code", "code", s.code("ann@example.com"))
		if strings.Contains(prompt, "consent") {
			page = b.submit(page, "allow", "decision", "allow")
		}
		second := s.idToken(page)
		if second["auth_time"] != first["auth_time"].(float64)+5 || second["sid"] == first["sid"] {
			t.Errorf("prompt=%s: auth_time %v then %v, sid %v then %v", prompt, first["auth_time"], second["auth_time"], first["sid"], second["sid"])
		}
		// Asked again, it is asked for again.
		if a := b.get(path); !strings.Contains(a.body, `id="email"`) {
			t.Errorf("prompt=%s once more: %d", prompt, a.status)
		}
	}
}

func TestOP04_MaxAge(t *testing.T) {
	clk := newClock()
	s := start(t, options{now: clk.now})
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	signsIn := func(age string) bool {
		t.Helper()
		a := b.send(s.request("GET", authorizePath(webID, "max_age", age), ""))
		silent := b.send(s.request("GET", authorizePath(webID, "max_age", age, "prompt", "none"), "")).arrives(t, callback)
		asks := a.status == http.StatusOK && strings.Contains(a.body, `id="email"`)
		if asks != (silent.Get("error") == "login_required") {
			t.Errorf("max_age=%s: asks %t, but with prompt=none %v", age, asks, silent)
		}
		return asks
	}
	if !signsIn("0") {
		t.Error("max_age=0 is content with an old sign-in")
	}
	if signsIn("1") || signsIn("2147483647") {
		t.Error("max_age=1 asks in the same second")
	}
	clk.advance(2 * time.Second)
	if !signsIn("1") || signsIn("2") {
		t.Error("after 2 s: max_age=1 has to ask, max_age=2 not")
	}
	for _, age := range []string{"-1", "99999999999999999999", "2147483648", "1.5", "1e3", "0x10", "+1", " 1", "one"} {
		b.send(s.request("GET", authorizePath(webID, "max_age", age), "")).redirectsError(t, "invalid_request")
	}
	clk.advance(time.Minute)
	again := s.idToken(b.signIn(authorizePath(webID, "max_age", "0"), "ann@example.com"))
	if again["auth_time"] != float64(clk.now().Unix()) {
		t.Errorf("auth_time %v after signing in anew", again["auth_time"])
	}
}

func TestOP05_IDTokenHint(t *testing.T) {
	clk := newClock()
	s := start(t, options{now: clk.now})
	ann, bob := s.browser(), s.browser()
	hint := func(a answer) string {
		return s.exchange(a.arrives(t, callback).Get("code")).json(t)["id_token"].(string)
	}
	annHint, bobHint := hint(ann.signIn(authorizePath(webID), "ann@example.com")), hint(bob.signIn(authorizePath(webID), "bob@example.com"))
	ask := func(hint string) answer {
		return ann.send(s.request("GET", authorizePath(webID, "id_token_hint", hint, "prompt", "none"), ""))
	}
	clk.advance(time.Hour) // however old
	if q := ask(annHint).arrives(t, callback); q.Get("code") == "" {
		t.Errorf("with a hint of her own: %v", q)
	}
	ask(bobHint).redirectsError(t, "login_required")
	if a := ann.get(authorizePath(webID, "id_token_hint", bobHint)); !strings.Contains(a.body, `id="email"`) {
		t.Errorf("with Bob's hint, Ann gets %d", a.status)
	}
	// Whoever signs in then is who is told, never a switch to Bob.
	switched := s.idToken(ann.signIn(authorizePath(webID, "prompt", "login"), "ann@example.com"))
	if switched["sub"] != s.account("ann@example.com").Subject {
		t.Errorf("signed in as %v", switched["sub"])
	}

	parts := strings.Split(annHint, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	other := base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://evil.example","sub":"x","aud":"web","exp":9999999999}`))
	for name, forged := range map[string]string{
		"garbage": "x", "two parts": "a.b", "alg none": none + "." + parts[1] + ".", "alg none with signature": none + "." + parts[1] + "." + parts[2],
		"other claims": parts[0] + "." + other + "." + parts[2], "no signature": parts[0] + "." + parts[1] + ".", "cut": annHint[:len(annHint)-4],
		"another client's":     s.backendTokens(ann, "ann@example.com")["id_token"].(string),
		"an access token":      s.tokens("ann@example.com")["access_token"].(string),
		"JSON serialisation":   `{"payload":"` + parts[1] + `"}`,
		"another issuer's key": foreignIDToken(t),
	} {
		t.Run(name, func(t *testing.T) { ask(forged).redirectsError(t, "invalid_request") })
	}
}

// foreignIDToken is the ID token of another provider with the same client.
func foreignIDToken(t *testing.T) string {
	t.Helper()
	s := start(t, options{})
	return s.tokens("ann@example.com")["id_token"].(string)
}

func TestOP06_SameAddressIsAnotherPerson(t *testing.T) {
	s := start(t, options{})
	b := s.browser()
	old := s.exchange(b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback).Get("code")).json(t)
	before := s.account("ann@example.com").Subject
	if err := s.directory().Delete(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	fresh := s.tokens("ann@example.com")
	if after := claimsOf(t, fresh["id_token"])["sub"]; after == before || after == nil {
		t.Errorf("the new account has the sub %v, as the old one", after)
	}
	if a := s.userinfo(old["access_token"].(string)); a.status != http.StatusUnauthorized {
		t.Errorf("the old access token: %d %s", a.status, a.body)
	}
	s.refresh(old["refresh_token"].(string)).is(t, http.StatusBadRequest, "invalid_grant")
	// The browser of the old account is not broken for ever: it can sign in.
	for _, path := range []string{"/login/email", authorizePath(thirdID), authorizePath(webID, "prompt", "consent")} {
		if a := b.get(path); a.status != http.StatusOK || !strings.Contains(a.body, `id="email"`) {
			t.Errorf("%.20s with a session of nobody: %d, want the sign-in page", path, a.status)
		}
	}
}

func TestOP08_UserInfo(t *testing.T) {
	s := start(t, options{})
	tokens := s.tokens("ann@example.com")
	access := tokens["access_token"].(string)
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	noOpenID := s.exchange(b.get(authorizePath(webID, "scope", "email")).arrives(t, callback).Get("code")).json(t)["access_token"].(string)

	good := s.userinfo(access)
	if info := good.json(t); good.status != http.StatusOK || info["email"] != "ann@example.com" || info["email_verified"] != true || info["sub"] != claimsOf(t, tokens["id_token"])["sub"] || len(info) != 3 {
		t.Errorf("%d %s", good.status, good.body)
	}
	form := "access_token=" + access
	for name, c := range map[string]struct {
		req       *http.Request
		status    int
		challenge string
	}{
		"POST with header":  {s.request("POST", "/oauth2/userinfo", "", "Authorization", "Bearer "+access), 200, ""},
		"POST with form":    {s.request("POST", "/oauth2/userinfo", form), 200, ""},
		"lower case scheme": {s.request("GET", "/oauth2/userinfo", "", "Authorization", "bearer "+access), 200, ""},
		"no token":          {s.request("GET", "/oauth2/userinfo", ""), 401, "Bearer"},
		"Basic":             {s.request("GET", "/oauth2/userinfo", "", "Authorization", "Basic eDp5"), 401, "Bearer"},
		"garbage":           {s.request("GET", "/oauth2/userinfo", "", "Authorization", "Bearer x"), 401, `Bearer error="invalid_token"`},
		"empty":             {s.request("GET", "/oauth2/userinfo", "", "Authorization", "Bearer "), 401, `Bearer error="invalid_token"`},
		"without openid":    {s.request("GET", "/oauth2/userinfo", "", "Authorization", "Bearer "+noOpenID), 403, `Bearer error="insufficient_scope"`},
		"two methods":       {s.request("POST", "/oauth2/userinfo", form, "Authorization", "Bearer "+access), 400, `Bearer error="invalid_request"`},
		"in the URL":        {s.request("GET", "/oauth2/userinfo?"+form, ""), 401, "Bearer"},
		"twice in the form": {s.request("POST", "/oauth2/userinfo", form+"&"+form), 400, `Bearer error="invalid_request"`},
	} {
		a := s.send(c.req)
		if got := a.header.Get("WWW-Authenticate"); a.status != c.status || !strings.HasPrefix(got, c.challenge) || c.challenge == "Bearer" && got != "Bearer" {
			t.Errorf("%s: %d, %q; want %d, %q", name, a.status, got, c.status, c.challenge)
		}
		if a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be cached", name)
		}
	}
}

func TestOP10_NoSilentUpgrade(t *testing.T) {
	s := start(t, options{})
	for _, acr := range []string{"urn:mfa", "phr", "2", "urn:lettergate:acr:email urn:mfa"} {
		claims := s.idToken(s.browser().signIn(authorizePath(webID, "acr_values", acr), "ann@example.com"))
		if claims["acr"] != "urn:lettergate:acr:email" || !slices.Equal(claims["amr"].([]any), []any{"otp"}) {
			t.Errorf("acr_values=%s: acr %v, amr %v", acr, claims["acr"], claims["amr"])
		}
	}
	q := url.Values{"claims": {`{"id_token":{"email":null,"acr":{"essential":true,"value":"urn:mfa"}},"userinfo":{"name":null}}`}}
	claims := s.idToken(s.browser().signIn(authorizePath(webID, "scope", "openid")+"&"+q.Encode(), "ann@example.com"))
	if claims["email"] != nil || claims["acr"] != "urn:lettergate:acr:email" {
		t.Errorf("the claims parameter released %v", claims)
	}
}

func TestOP11_SessionChangesAtSignIn(t *testing.T) {
	for _, public := range []bool{false, true} {
		opts := options{direct: true}
		if public {
			opts.config = published
		}
		s := start(t, opts)
		b := s.browser()
		b.get(authorizePath(webID))
		planted := b.cookies()
		done := b.signIn(authorizePath(webID), "ann@example.com")
		first, firstID := b.cookies(), s.idToken(done)
		if len(planted) != 1 || len(first) != 2 {
			t.Fatalf("cookies before %v, after %v", planted, first)
		}
		old := &browser{s: s, client: &http.Client{Transport: s.transport, Jar: jarOf(t, s, first)}}
		if a := old.send(s.request("GET", authorizePath(webID, "prompt", "none"), "")); a.arrives(t, callback).Get("code") == "" {
			t.Fatal("the copied cookies are no session: nothing is tested")
		}
		// Again, and then as another person, in the same browser.
		for _, who := range []string{"ann@example.com", "bob@example.com"} {
			before := b.cookies()
			again := s.idToken(b.signIn(authorizePath(webID, "prompt", "login"), who))
			if again["sid"] == firstID["sid"] || again["sub"] != s.account(who).Subject {
				t.Errorf("%s: sid %v, sub %v", who, again["sid"], again["sub"])
			}
			old.client.Jar = jarOf(t, s, before)
			old.send(s.request("GET", authorizePath(webID, "prompt", "none"), "")).redirectsError(t, "login_required")
		}
		s.cookieAttributes(public)
	}
}

// cookieAttributes checks what is set along the way of a sign-in.
func (s *server) cookieAttributes(public bool) {
	s.t.Helper()
	var set []*http.Cookie
	s.transport = watching{s.transport, func(resp *http.Response) { set = append(set, resp.Cookies()...) }}
	b := s.browser()
	b.signIn(authorizePath(webID), "eve@example.com")
	b.submit(b.get("/logout"), "confirm")
	if len(set) != 3 {
		s.t.Fatalf("%d cookies set, want the browser's, the session's, and its end", len(set))
	}
	for _, c := range set {
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.Secure != public || strings.HasPrefix(c.Name, "__Host-") != public {
			s.t.Errorf("cookie %s", c)
		}
	}
}

// watching is a transport that shows each response to somebody.
type watching struct {
	next http.RoundTripper
	see  func(*http.Response)
}

func (w watching) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := w.next.RoundTrip(r)
	if err == nil {
		w.see(resp)
	}
	return resp, err
}

// jarOf is a jar with cookies of the issuer.
func jarOf(t *testing.T, s *server, cookies map[string]string) http.CookieJar {
	t.Helper()
	b := s.browser()
	u, err := url.Parse(s.provider.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	var list []*http.Cookie
	for name, value := range cookies {
		list = append(list, &http.Cookie{Name: name, Value: value, Path: "/", Secure: u.Scheme == "https", HttpOnly: true})
	}
	b.client.Jar.SetCookies(u, list)
	return b.client.Jar
}

func TestAS82_ReservedClaims(t *testing.T) {
	const evil = `x","sub":"evil","aud":"evil","cnf":{},"email_verified":true,"a":"`
	s := start(t, options{config: func(c *config.Config) { c.Clients[0].Name = `sub","iss":"evil` }})
	s.tokens("ann@example.com")
	subject := s.account("ann@example.com").Subject
	for _, username := range []string{"sub", "iss", "client:backend", "email_verified"} {
		u := s.account("ann@example.com")
		u.Name, u.Username, u.Locale, u.EmailVerified = evil, username, `en","sub":"evil`, true
		if _, err := s.directory().Update(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		b := s.browser()
		tokens := s.exchange(b.signIn(authorizePath(webID, "scope", "openid profile email"), "ann@example.com").arrives(t, callback).Get("code")).json(t)
		access := tokens["access_token"].(string)
		for what, claims := range map[string]map[string]any{"ID token": claimsOf(t, tokens["id_token"]), "access token": claimsOf(t, access), "userinfo": s.userinfo(access).json(t)} {
			if claims["sub"] != subject || claims["cnf"] != nil || claims["act"] != nil || claims["a"] != nil || what != "userinfo" && claims["iss"] != s.provider.Issuer() {
				t.Errorf("%s: %v", what, claims)
			}
			raw, err := json.Marshal(claims["aud"])
			if err != nil || strings.Contains(string(raw), "evil") {
				t.Errorf("%s is for %s", what, raw)
			}
		}
		u = s.account("ann@example.com")
		u.EmailVerified = false
		if _, err := s.directory().Update(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		if info := s.userinfo(access).json(t); info["name"] != evil || info["preferred_username"] != username || info["email_verified"] != false {
			t.Errorf("userinfo %v", info)
		}
	}
}

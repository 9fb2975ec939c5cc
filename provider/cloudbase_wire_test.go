package provider_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/users"
)

// Each test here is one thing of the SDK's wire contract that an ordinary server gets
// wrong.

func TestCloudBase_BodiesAreJSONWhateverTheirType(t *testing.T) {
	s := start(t, options{})
	for _, kind := range []string{"text/plain;charset=UTF-8", "application/json", "", "application/x-www-form-urlencoded"} {
		in := s.request("POST", "/auth/v1/verification?client_id="+envID, `{"email":"ann@example.com"}`, "Content-Type", kind)
		if got := s.send(in); got.status != http.StatusOK || got.json(t)["verification_id"] == "" {
			t.Errorf("%q: %d %s", kind, got.status, got.body)
		}
	}
}

// The browser build takes an empty body for a server that is away, and sends the
// call again.
func TestCloudBase_VoidCallsAnswerAnObject(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	a.signedUp("ann@example.com", "ann", "password123")
	sudo := a.ok(req{path: "user/sudo", body: fields{"password": "password123"}, bearer: true})["sudo_token"]
	for _, r := range []req{
		{method: "PATCH", path: "user/password", body: fields{"sudo_token": sudo, "new_password": "password124"}, bearer: true},
		{method: "PATCH", path: "user/profile", body: fields{"name": "Ann"}, bearer: true},
		{method: "PATCH", path: "user/me", body: fields{"nickname": "A"}, bearer: true},
		{path: "user/basic/edit", body: fields{"nickname": "B"}, bearer: true},
		{path: "user/signout", body: fields{}, bearer: true},
		{path: "revoke", body: fields{"token": a.token}},
	} {
		if got := a.do(r); got.status != http.StatusOK || got.body != "{}" || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %d %q", r.method, r.path, got.status, got.body)
		}
	}
}

// Every error has all three members, also where no handler was reached, and is
// readable by the page that made the call.
func TestCloudBase_ErrorsAreComplete(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	for name, r := range map[string]req{
		"no such call": {path: "signin/with/provider"}, "no such version": {path: "../v2/signin/username"},
		"wrong method": {method: "GET", path: "signin"}, "no Bearer": {method: "GET", path: "user/me"},
		"broken JSON": {path: "signin", body: "{"}, "not an object": {path: "signin", body: `"x"`}, "an array": {path: "signin", body: `[]`},
		"an object for a string": {path: "signin", body: `{"username":{}}`}, "1 MiB": {path: "signin", body: `{"username":"` + strings.Repeat("x", 1<<20) + `"}`},
		"nothing": {path: "signin"}, "no code": {path: "verification/verify", body: fields{"verification_id": "x"}},
	} {
		got := a.do(r)
		m := got.json(t)
		number, _ := m["error_code"].(float64)
		description, _ := m["error_description"].(string)
		if got.status < 400 || m["error"] == nil || number == 0 || !strings.HasSuffix(description, ".") || strings.Contains(description, "{") || m["code"] != nil {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		if got.header.Get("Access-Control-Allow-Origin") != appOrigin {
			t.Errorf("%s: a page cannot read it", name)
		}
	}
}

func TestCloudBase_Preflight(t *testing.T) {
	s := start(t, options{})
	ask := func(origin, path, method string) http.Header {
		in := s.request("OPTIONS", path, "", "Origin", origin, "Access-Control-Request-Method", method, "Access-Control-Request-Headers", "x-device-id")
		return s.send(in).header
	}
	for path, method := range map[string]string{
		"/auth/v1/verification?client_id=env": "POST", "/auth/v1/user/me": "DELETE", "/auth/v1/user/password": "PATCH", "/auth/v1/checkIfUserExist": "GET",
		"/auth/v1/signin/anonymously?client_id=env": "POST", // there is no such call, and the page learns it
	} {
		h := ask(appOrigin, path, method)
		if h.Get("Access-Control-Allow-Origin") != appOrigin || !strings.Contains(h.Get("Access-Control-Allow-Methods"), method) ||
			h.Get("Access-Control-Allow-Headers") != "authorization, x-device-id, x-request-id, x-sdk-version, content-type, accept-language, x-captcha-token" ||
			h.Get("Access-Control-Max-Age") != "600" || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %v", path, h)
		}
		if h := ask("https://evil.example", path, method); h.Get("Access-Control-Allow-Origin") != "" || h.Get("Access-Control-Allow-Headers") != "" {
			t.Errorf("%s from elsewhere: %v", path, h)
		}
	}
}

// A browser sends text/plain to anybody without asking. What it says of its origin is
// what there is.
func TestCloudBase_OriginNotRegistered(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	a.signedUp("ann@example.com", "ann", "password123")
	mails := len(s.inbox.Messages())
	for _, origin := range []string{"https://evil.example", "null", "https://app.example", "https://CB.example", "https://cb.example:444"} {
		a.origin = origin
		a.fails(req{path: "verification", body: fields{"email": "bob@example.com"}}, "permission_denied", 7)
		a.fails(req{path: "verification", body: fields{"email": "bob@example.com"}, bearer: true}, "permission_denied", 7)
		a.fails(req{method: "GET", path: "user/me", bearer: true}, "permission_denied", 7)
		a.fails(req{path: "signin", body: fields{"username": "ann", "password": "password123"}}, "permission_denied", 7)
	}
	if now := len(s.inbox.Messages()); now != mails {
		t.Errorf("%d mails for pages of nobody's", now-mails)
	}
	a.origin = s.origin()
	a.me()
}

func TestCloudBase_LanguageOfTheCaller(t *testing.T) {
	s := start(t, options{})
	for lang, want := range map[string][2]string{"zh-CN": {"验证码", "验证码"}, "en-US": {"code", "code"}, "": {"code", "code"}, "tlh": {"code", "code"}} {
		a := s.app(envID)
		a.lang = lang
		got := a.fails(req{path: "verification/verify", body: fields{"verification_id": "x", "verification_code": "123456"}}, "invalid_argument", 3)
		if text := got.json(t)["error_description"].(string); !strings.Contains(text, want[0]) {
			t.Errorf("%q: %s", lang, text)
		}
		a.verification("ann@example.com")
		s.code("ann@example.com")
		sent := s.inbox.Messages()
		if mail := sent[len(sent)-1]; !strings.Contains(mail.Text, want[1]) {
			t.Errorf("%q: the mail says %q", lang, mail.Subject)
		}
	}
}

// The SDK sends a call again when it has lost the answer.
func TestCloudBase_SameRequestTwice(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	twice := func(r req) (first, second map[string]any) {
		t.Helper()
		r.id = strings.Repeat("0123456789abcdef", 2)
		return a.ok(r), a.ok(r)
	}
	v, again := twice(req{path: "verification", body: fields{"email": "ann@example.com"}})
	code := s.code("ann@example.com")
	if v["verification_id"] != again["verification_id"] {
		t.Errorf("two verifications: %v, %v", v, again)
	}
	other := a.ok(req{path: "verification", body: fields{"email": "ann@example.com"}})
	s.code("ann@example.com")
	if n := len(s.inbox.Messages()); n != 2 || other["verification_id"] == v["verification_id"] {
		t.Errorf("%d mails for two requests", n)
	}
	token, tokenAgain := twice(req{path: "verification/verify", body: fields{"verification_id": v["verification_id"], "verification_code": code}})
	if token["verification_token"] != tokenAgain["verification_token"] {
		t.Errorf("two tokens")
	}
	a.fails(req{path: "verification/verify", body: fields{"verification_id": v["verification_id"], "verification_code": code}}, "invalid_argument", 3)

	up, upAgain := twice(req{path: "signup", body: fields{"email": "ann@example.com", "verification_token": token["verification_token"], "username": "ann", "password": "password123"}})
	sameFamily(t, up, upAgain)
	if n := len(s.accounts()); n != 1 {
		t.Errorf("%d accounts", n)
	}
	in, inAgain := twice(req{path: "signin", body: fields{"verification_token": a.prove("ann@example.com")}})
	sameFamily(t, in, inAgain)
	pw, pwAgain := twice(req{path: "signin", body: fields{"username": "ann", "password": "password123"}})
	sameFamily(t, pw, pwAgain)
	if claimsOf(t, pw["access_token"])["gid"] == claimsOf(t, in["access_token"])["gid"] {
		t.Error("two sign-ins share a grant")
	}
}

// sameFamily checks that two token responses are of one grant and can both be used.
func sameFamily(t *testing.T, a, b map[string]any) {
	t.Helper()
	if a["sub"] != b["sub"] || a["refresh_token"] != b["refresh_token"] || claimsOf(t, a["access_token"])["gid"] != claimsOf(t, b["access_token"])["gid"] {
		t.Errorf("not one family:\n%v\n%v", a, b)
	}
}

// accounts lists all accounts.
func (s *server) accounts() []users.User {
	s.t.Helper()
	list, _, err := s.directory().List(s.t.Context(), "", 1000)
	if err != nil {
		s.t.Fatal(err)
	}
	return list
}

// A request that is old, or another device's, is not taken for the same one.
func TestCloudBase_SameRequestIDOfAnother(t *testing.T) {
	clock := newClock()
	s := start(t, options{now: clock.now})
	a, b := s.app(envID), s.app(envID)
	r := req{path: "verification", body: fields{"email": "ann@example.com"}, id: strings.Repeat("1", 32)}
	first, second := a.ok(r), b.ok(r)
	if first["verification_id"] == second["verification_id"] {
		t.Error("one verification for two devices")
	}
	clock.advance(61 * time.Second)
	if later := a.ok(r); later["verification_id"] == first["verification_id"] {
		t.Error("a request of a minute ago was taken for the same")
	}
	r.id = "short"
	if x, y := a.ok(r), a.ok(r); x["verification_id"] == y["verification_id"] {
		t.Error("an id that anybody can guess was taken for the request's name")
	}
}

func TestCloudBase_Target(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	a.signedUp("ann@example.com", "", "")
	out := s.app(envID)
	for target, want := range map[string][2]string{"": {"", ""}, "ANY": {"", ""}, "USER": {"", "failed_precondition"}, "NOT_USER": {"failed_precondition", ""}, "CUR_USER": {"failed_precondition", "failed_precondition"}} {
		for i, email := range []string{"ann@example.com", "nobody@example.com"} {
			r := req{path: "verification", body: fields{"email": email, "target": target, "usage": "email"}}
			if want[i] == "" {
				out.ok(r)
			} else {
				out.fails(r, want[i], 9)
			}
		}
	}
	a.ok(req{path: "verification", body: fields{"email": "Ann@example.com", "target": "CUR_USER"}, bearer: true})
	a.fails(req{path: "verification", body: fields{"email": "nobody@example.com", "target": "CUR_USER"}, bearer: true}, "failed_precondition", 9)
	out.fails(req{path: "verification", body: fields{"email": "ann@example.com", "target": "EVERYBODY"}}, "invalid_argument", 3)
	text := out.do(req{path: "verification", body: fields{"email": "nobody@example.com", "target": "USER"}}).json(t)["error_description"].(string)
	if !strings.Contains(text, "not found") { // the SDK makes USER_NOT_FOUND of these words
		t.Error(text)
	}
}

// testCodes gives addresses a fixed code.
func testCodes(c *config.Config) {
	c.InsecureTestCodes = []config.TestCode{{Email: "zero@example.com", Code: "000123"}, {Email: "test@example.com", Code: "123456"}}
}

// A code that was put into a number has lost its zeros.
func TestCloudBase_CodeAsANumber(t *testing.T) {
	s := start(t, options{config: testCodes})
	a := s.app(envID)
	v := a.verification("zero@example.com")
	for _, wrong := range []string{"1230", "124", "-123", "123.0", "1.23e2", "0", "true", "null"} {
		body := fmt.Sprintf(`{"verification_id":%q,"verification_code":%s}`, v["verification_id"], wrong)
		if got := a.do(req{path: "verification/verify", body: body}); got.status == http.StatusOK {
			t.Errorf("%s is accepted for 000123", wrong)
		}
	}
	a.ok(req{path: "verification/verify", body: fmt.Sprintf(`{"verification_id":%q,"verification_code":123}`, v["verification_id"])})
	// Of some calls the SDK makes a string of the number.
	v = a.verification("zero@example.com")
	a.verify(v, "123")
	for _, none := range []string{"", "1 23", "+123", "12a", "0000123"} {
		v := a.verification("zero@example.com")
		a.fails(req{path: "verification/verify", body: fields{"verification_id": v["verification_id"], "verification_code": none}}, "invalid_argument", 3)
	}
	if n := len(s.inbox.Messages()); n != 0 {
		t.Errorf("%d mails to addresses with a test code", n)
	}
}

// Test codes are outside the limits, and only they are.
func TestCloudBase_TestCodes(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) { testCodes(c); c.Limits.Profile = config.ProfileProduction }})
	a := s.app(envID)
	for range 30 {
		v := a.verification("test@example.com")
		a.fails(req{path: "verification/verify", body: fields{"verification_id": v["verification_id"], "verification_code": "654321"}}, "invalid_argument", 3)
		a.verify(v, "123456")
	}
	v := a.verification("ann@example.com")
	if got := a.do(req{path: "verification/verify", body: fields{"verification_id": v["verification_id"], "verification_code": "123456"}}); got.status == http.StatusOK && s.code("ann@example.com") != "123456" {
		t.Error("a test code opens another address")
	}
	// They are what pages and the grant accept as well.
	begun := s.post("/oauth2/verification", "client_id", nativeID, "email", "test@example.com").json(t)
	tokens := s.redeem(started{id: begun["verification_id"].(string), code: "123456"})
	if tokens.status != http.StatusOK {
		t.Errorf("the grant: %d %s", tokens.status, tokens.body)
	}
}

func TestCloudBase_VerifyNeedsNoLogin(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	a.signedUp("ann@example.com", "", "")
	v := a.verification("new@example.com") // as the person signed in
	a.verify(v, s.code("new@example.com")) // as the app
}

// The documented snippet, run in a browser that is still signed in: the verification
// goes out with a Bearer token, the sign-in without.
func TestCloudBase_SnippetWhileSignedIn(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	first := a.signedUp("ann@example.com", "", "")
	v := a.verification("ann@example.com")
	again := a.took(a.ok(req{path: "signin", body: fields{"username": "ann@example.com", "verification_token": a.verify(v, s.code("ann@example.com"))}}))
	if again["sub"] != first["sub"] {
		t.Error("another person")
	}
}

func TestCloudBase_SignInByTokenAlone(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	a.signedUp("ann@example.com", "ann", "")
	for _, name := range []string{"", "ann@example.com", "ANN@Example.com", "ann", "ANN"} {
		body := fields{"verification_token": a.prove("ann@example.com")}
		if name != "" {
			body["username"] = name
		}
		a.ok(req{path: "signin", body: body})
	}
	for _, name := range []string{"bob@example.com", "bob", "an"} {
		a.fails(req{path: "signin", body: fields{"username": name, "verification_token": a.prove("ann@example.com")}}, "invalid_argument", 3)
	}
}

// What the SDK keeps is replaced by each token response, and its lengths are limited.
func TestCloudBase_TokenResponse(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	tokens := a.signedUp("ann@example.com", "", "password123")
	in := a.signInWith("ann@example.com", "password123").json(t)
	refreshed := a.ok(req{path: "token", body: fields{"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}})
	for what, m := range map[string]map[string]any{"signup": tokens, "signin": in, "token": refreshed} {
		a.took(m)
		access, refresh, scope := m["access_token"].(string), m["refresh_token"].(string), m["scope"].(string)
		if len(access) > 4096 || len(refresh) > 128 || slices.Contains([]string{"accessKey", "node-sdk-scope", "anonymous"}, scope) {
			t.Errorf("%s: access token of %d, refresh token of %d characters, scope %q", what, len(access), len(refresh), scope)
		}
		for _, part := range strings.Split(access, ".")[:2] { // what getClaims reads
			if _, err := base64.RawURLEncoding.DecodeString(part); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}

// Two tabs share one refresh token, and nothing keeps them from using it at once.
func TestCloudBase_TwoTabsRefresh(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	tokens := a.signedUp("ann@example.com", "", "")
	r := req{path: "token", body: fields{"client_id": envID, "client_secret": "", "grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}}
	sameFamily(t, a.ok(r), a.ok(r))
	for _, got := range race(func() answer { return a.do(r) }) {
		if got.status != http.StatusOK {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
}

// Sign-out sends the access token alone, and an error would keep the login.
func TestCloudBase_RevokeAlwaysSucceeds(t *testing.T) {
	clock := newClock()
	s := start(t, options{now: clock.now})
	a, other := s.app(envID), s.app(hiddenID)
	tokens := a.signedUp("ann@example.com", "", "")
	others := other.signedUp("bob@example.com", "", "")
	for _, token := range []any{"", "x", "a.b.c", nil, others["access_token"], tokens["refresh_token"]} {
		if got := a.do(req{path: "revoke", body: fields{"token": token}}); got.status != http.StatusOK || got.body != "{}" {
			t.Errorf("%v: %d %s", token, got.status, got.body)
		}
	}
	other.me() // a foreign client ends nothing
	clock.advance(11 * time.Minute)
	a.ok(req{path: "revoke", body: fields{"token": a.token}}) // expired
	a.ok(req{path: "revoke", body: fields{"token": a.token}})
	a.fails(req{path: "token", body: fields{"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}}, "invalid_grant", 4102)
}

// unauthenticated makes the SDK forget the login: it is for dead tokens only.
func TestCloudBase_UnauthenticatedMeansADeadToken(t *testing.T) {
	clock := newClock()
	s := start(t, options{now: clock.now})
	a := s.app(envID)
	a.signedUp("ann@example.com", "ann", "password123")
	native := s.tokens("ann@example.com")["access_token"].(string)
	for _, r := range []req{
		{path: "user/sudo", body: fields{"password": "wrong-password1"}, bearer: true},
		{path: "user/sudo", body: fields{"verification_token": "x"}, bearer: true},
		{method: "PATCH", path: "user/password", body: fields{"sudo_token": "x", "new_password": "password124"}, bearer: true},
		{method: "PATCH", path: "user/password", body: fields{"old_password": "wrong-password1", "new_password": "password124"}, bearer: true},
		{method: "PATCH", path: "user/contact", body: fields{"sudo_token": "x", "email": "n@example.com", "verification_token": "x"}, bearer: true},
		{method: "DELETE", path: "user/me?sudo_token=x", bearer: true},
		{path: "user/basic/edit", body: fields{"email": "n@example.com"}, bearer: true},
		{path: "signin", body: fields{"username": "ann", "password": "wrong-password1"}},
		{path: "verification/verify", body: fields{"verification_id": "x", "verification_code": "123456"}},
		{path: "token", body: fields{"grant_type": "refresh_token", "refresh_token": "x"}},
	} {
		if got := a.do(r); got.status == http.StatusOK || got.json(t)["error"] == "unauthenticated" {
			t.Errorf("%s %s: %d %s", r.method, r.path, got.status, got.body)
		}
	}
	a.me() // the login is as it was
	good := a.token
	for name, token := range map[string]string{"none": "", "of another client": native, "forged": good[:len(good)-4] + "AAAA"} {
		a.token = token
		if got := a.fails(req{method: "GET", path: "user/me", bearer: true}, "unauthenticated", 16); t.Failed() {
			t.Fatalf("%s: %s", name, got.body)
		}
	}
	a.token = good
	clock.advance(11 * time.Minute)
	a.fails(req{method: "GET", path: "user/me", bearer: true}, "unauthenticated", 16)
	a.fails(req{path: "verification", body: fields{"email": "ann@example.com"}, bearer: true}, "unauthenticated", 16)
	if got := a.ok(req{method: "GET", path: "token/introspect", bearer: true}); len(got) != 0 {
		t.Errorf("introspection of a dead token: %v", got)
	}
}

// An app that is set up with a publishable key sends that where the login would be.
func TestCloudBase_KeyInPlaceOfALogin(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) {
		c.Clients = slices.DeleteFunc(c.Clients, func(client config.Client) bool { return client.CloudBase && client.ID != envID })
	}})
	a := s.app(envID)
	a.token = "eyJhbGciOiJSUzI1NiJ9.eyJwcm9qZWN0X2lkIjoiZW52In0.AAAA"
	a.ok(req{path: "verification", body: fields{"email": "ann@example.com"}, bearer: true})
	s = start(t, options{})
	b := s.app(envID)
	b.token = a.token
	b.fails(req{path: "verification", body: fields{"email": "ann@example.com"}, bearer: true}, "unauthorized_client", 4022)
	b.ok(req{path: "verification?client_id=" + envID, body: fields{"email": "ann@example.com"}, bearer: true})
}

package provider_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/provider/internal/secrets"
)

// An app is what speaks like @cloudbase/js-sdk: JSON as text/plain, client_id in the
// query or a Bearer token, its device and request ids.
type app struct {
	s      *server
	client string
	device string
	lang   string
	origin string
	token  string // the access token of the person signed in
}

func (s *server) app(client string) *app {
	return &app{s: s, client: client, device: "dev-" + secrets.NewID(), origin: appOriginOf(client)}
}

// appOriginOf is where the pages of a test client are: only env has some.
func appOriginOf(client string) string {
	if client == envID {
		return appOrigin
	}
	return ""
}

// A req is one call of an app. The zero value of most fields is what the SDK does.
type req struct {
	method string // POST without
	path   string // below /auth/v1/
	body   any    // a value, or a string as it is
	bearer bool   // as the person signed in
	id     string // x-request-id; a new one without
}

func (a *app) do(r req) answer {
	a.s.t.Helper()
	var body string
	switch b := r.body.(type) {
	case nil:
	case string:
		body = b
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			a.s.t.Fatal(err)
		}
		body = string(raw)
	}
	if r.method == "" {
		r.method = http.MethodPost
	}
	target := a.s.origin() + "/auth/v1/" + r.path
	if !r.bearer && a.client != "" {
		sep := "?"
		if strings.Contains(target, "?") {
			sep = "&"
		}
		target += sep + "client_id=" + a.client
	}
	in, err := http.NewRequest(r.method, target, strings.NewReader(body))
	if err != nil {
		a.s.t.Fatal(err)
	}
	if r.id == "" {
		r.id = secrets.NewID()
	}
	for name, value := range map[string]string{
		"Content-Type": "text/plain;charset=UTF-8", "X-Request-Id": r.id, "X-Device-Id": a.device,
		"X-SDK-Version": "@cloudbase/js-sdk/3.7.0", "Accept-Language": a.lang, "Origin": a.origin,
	} {
		if value != "" {
			in.Header.Set(name, value)
		}
	}
	if r.bearer {
		in.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := a.s.Client().Do(in)
	return read(a.s.t, resp, err)
}

type fields map[string]any

// ok sends a call that has to succeed, by the contract's own signs.
func (a *app) ok(r req) map[string]any {
	a.s.t.Helper()
	got := a.do(r)
	m := got.json(a.s.t)
	if got.status != http.StatusOK || m["error"] != nil || m["code"] != nil {
		a.s.t.Fatalf("%s %s: %d %s", r.method, r.path, got.status, got.body)
	}
	return m
}

// fails sends a call that has to be refused with this error and number.
func (a *app) fails(r req, code string, number int) answer {
	a.s.t.Helper()
	got := a.do(r)
	m := got.json(a.s.t)
	if text, _ := m["error_description"].(string); m["error"] != code || m["error_code"] != float64(number) || text == "" || got.status < 400 {
		a.s.t.Errorf("%s %s: %d %s; want %s %d", r.method, r.path, got.status, got.body, code, number)
	}
	return got
}

// verification starts one and returns what came back.
func (a *app) verification(email string, more ...string) map[string]any {
	a.s.t.Helper()
	body := fields{"email": email}
	for i := 0; i < len(more); i += 2 {
		body[more[i]] = more[i+1]
	}
	return a.ok(req{path: "verification", body: body, bearer: a.token != ""})
}

// prove gets a verification_token for the address.
func (a *app) prove(email string) string {
	a.s.t.Helper()
	v := a.verification(email)
	return a.verify(v, a.s.code(email))
}

func (a *app) verify(v map[string]any, code string) string {
	a.s.t.Helper()
	got := a.ok(req{path: "verification/verify", body: fields{"verification_id": v["verification_id"], "verification_code": code}})
	return got["verification_token"].(string)
}

// signedUp makes an account and signs in to it.
func (a *app) signedUp(email, username, password string) map[string]any {
	a.s.t.Helper()
	body := fields{"email": email, "verification_token": a.prove(email), "verification_code": "000000"}
	if username != "" {
		body["username"] = username
	}
	if password != "" {
		body["password"] = password
	}
	return a.took(a.ok(req{path: "signup", body: body}))
}

// took notes the tokens of a response, which has to be complete.
func (a *app) took(tokens map[string]any) map[string]any {
	a.s.t.Helper()
	for _, member := range []string{"access_token", "refresh_token", "sub", "scope"} {
		if value, _ := tokens[member].(string); value == "" {
			a.s.t.Fatalf("no %s in the token response: %v", member, tokens)
		}
	}
	if life, _ := tokens["expires_in"].(float64); life <= 30 || tokens["token_type"] != "Bearer" || tokens["expires_at"] != nil {
		a.s.t.Fatalf("token response: %v", tokens)
	}
	a.token = tokens["access_token"].(string)
	return tokens
}

func (a *app) signInWith(name, password string) answer {
	return a.do(req{path: "signin", body: fields{"username": name, "password": password}})
}

// me is GET user/me.
func (a *app) me() map[string]any {
	a.s.t.Helper()
	return a.ok(req{method: "GET", path: "user/me", bearer: true})
}

// The seed's flow, call by call: the first run signs up, the second signs in.
func TestCloudBase_SeedFlow(t *testing.T) {
	s := start(t, options{})
	const email = "test@example.com"
	first := s.app(envID)
	v := first.verification(email)
	if v["is_user"] != false || v["expires_in"] != float64(600) {
		t.Errorf("first run: %v", v)
	}
	token := first.verify(v, s.code(email))
	tokens := first.took(first.ok(req{path: "signup", body: fields{
		"email": email, "verification_code": "000000", "verification_token": token, "username": "userFromEmail", "password": "password123",
	}}))
	me := first.me()
	if me["sub"] != tokens["sub"] || me["email"] != email || me["username"] != "userFromEmail" || me["password"] != "SET" || me["email_verified"] != true {
		t.Errorf("who signed up: %v", me)
	}

	second := s.app(envID)
	v = second.verification(email)
	if v["is_user"] != true {
		t.Errorf("second run: %v", v)
	}
	again := second.took(second.ok(req{path: "signin", body: fields{"username": email, "verification_token": second.verify(v, s.code(email))}}))
	if again["sub"] != tokens["sub"] || second.me()["sub"] != tokens["sub"] {
		t.Errorf("signed in as %v, up as %v", again["sub"], tokens["sub"])
	}
}

// The tokens are those of any client: the middleware, userinfo and introspection
// know them, and sign-out ends the family.
func TestCloudBase_OrdinaryTokens(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	tokens := a.signedUp("ann@example.com", "", "")
	if info := s.userinfo(a.token); info.status != http.StatusOK || info.json(t)["email"] != "ann@example.com" {
		t.Errorf("userinfo: %d %s", info.status, info.body)
	}
	if got := a.ok(req{method: "GET", path: "token/introspect", bearer: true}); got["client_id"] != envID || got["sub"] != tokens["sub"] {
		t.Errorf("introspect: %v", got)
	}
	check, err := s.provider.Verifier(api)
	if err != nil {
		t.Fatal(err)
	}
	protected := middleware.Require(check, "notes:read")(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "in")
	}))
	in := httptest.NewRequest("GET", "/notes", nil)
	in.Header.Set("Authorization", "Bearer "+a.token)
	w := httptest.NewRecorder()
	if protected.ServeHTTP(w, in); w.Body.String() != "in" {
		t.Errorf("middleware: %d %s", w.Code, w.Body)
	}
	refreshed := a.ok(req{path: "token", body: fields{"client_id": envID, "client_secret": "", "grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}})
	a.took(refreshed)
	if refreshed["sub"] != tokens["sub"] || refreshed["refresh_token"] == tokens["refresh_token"] {
		t.Errorf("refresh: %v", refreshed)
	}
	if got := a.ok(req{path: "revoke", body: fields{"token": a.token}}); len(got) != 0 {
		t.Errorf("revoke: %v", got)
	}
	a.fails(req{path: "token", body: fields{"grant_type": "refresh_token", "refresh_token": refreshed["refresh_token"]}}, "invalid_grant", 4102)
	if info := s.userinfo(a.token); info.status != http.StatusUnauthorized {
		t.Errorf("userinfo after sign-out: %d", info.status)
	}
}

// The SDK asks at the root of the origin, wherever the issuer is mounted.
func TestCloudBase_AtTheRootOfTheOrigin(t *testing.T) {
	s := start(t, options{path: "/id"})
	s.app(envID).signedUp("ann@example.com", "", "")
	w := httptest.NewRecorder()
	in := httptest.NewRequest("POST", "/auth/v1/verification?client_id="+envID, strings.NewReader(`{"email":"bob@example.com"}`))
	if s.provider.RootHandler().ServeHTTP(w, in); w.Code != http.StatusOK {
		t.Errorf("RootHandler: %d %s", w.Code, w.Body)
	}
	if got := s.post("/auth/v1/verification"); got.status != http.StatusNotFound {
		t.Errorf("below the issuer's path: %d", got.status)
	}
}

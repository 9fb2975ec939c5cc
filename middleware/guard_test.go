package middleware_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

func TestRS05_AnyScopeAndHierarchy(t *testing.T) {
	below := func(granted, wanted string) bool { return strings.HasPrefix(wanted, granted+":") }
	i, g := newGuard(t, middleware.Config{Implies: below})
	for _, c := range []struct {
		route  middleware.Route
		good   []string
		bad    []string
		scopes string // in the challenge
	}{{
		route:  middleware.Route{Scopes: []string{"notes:read"}},
		good:   []string{"notes:read", "notes", "x notes"},
		bad:    []string{"", "notes:write", "note", "notes:", "notes:read:all"},
		scopes: "notes:read",
	}, {
		route:  middleware.Route{AnyScope: []string{"notes:read", "admin"}},
		good:   []string{"notes:read", "admin", "notes", "admin notes"},
		bad:    []string{"", "notes:write", "administrator"},
		scopes: "notes:read",
	}, {
		route:  middleware.Route{Scopes: []string{"profile"}, AnyScope: []string{"notes:read", "admin"}},
		good:   []string{"profile notes:read", "admin profile"},
		bad:    []string{"profile", "notes:read", "admin", "notes:read admin"},
		scopes: "profile notes:read",
	}} {
		handler := new(counter)
		route := g.Protect(c.route)(handler)
		for _, scope := range c.good {
			wantStatus(t, route, handler, get("Bearer "+i.token(scope, nil)), 200)
		}
		for _, scope := range c.bad {
			w := wantStatus(t, route, handler, get("Bearer "+i.token(scope, nil)), 403)
			if got := w.Header().Get("WWW-Authenticate"); !strings.HasPrefix(got, `Bearer error="insufficient_scope", `) || !strings.HasSuffix(got, `, scope="`+c.scopes+`"`) {
				t.Errorf("challenge %s", got)
			}
		}
	}
}

func TestRS09_AudienceOfTheRoute(t *testing.T) {
	i, g := newGuard(t, middleware.Config{})
	handler := new(counter)
	route := g.Protect(middleware.Route{Audiences: []string{api + "/notes", api + "/old-notes"}})(handler)
	for _, aud := range []any{[]string{api, api + "/notes"}, []string{"x", api + "/old-notes", api}} {
		wantStatus(t, route, handler, get("Bearer "+i.token("", map[string]any{"aud": aud})), 200)
	}
	for _, aud := range []any{api, []string{api, api + "/notes/"}, []string{api + "/notes"}, []string{api, api + "/NOTES"}} {
		w := wantStatus(t, route, handler, get("Bearer "+i.token("", map[string]any{"aud": aud})), 401)
		wantRefused(t, w, 401, invalidChallenge, invalidBody)
	}
}

func TestOptional(t *testing.T) {
	i, g := newGuard(t, middleware.Config{})
	handler := new(counter)
	anonymous := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := middleware.Claims(r.Context()); !ok {
			handler.ran.Add(1)
			return
		}
		handler.ServeHTTP(w, r)
	})
	route := g.Protect(middleware.Route{Scopes: []string{"notes:read"}, Optional: true})(anonymous)
	for _, authorization := range []string{"", "Basic dTpw"} {
		if w := wantStatus(t, route, handler, get(authorization), 200); w.Body.Len() != 0 {
			t.Errorf("claims out of nothing: %s", w.Body)
		}
	}
	if w := wantStatus(t, route, handler, get("Bearer "+i.token("notes:read", nil)), 200); !strings.HasPrefix(w.Body.String(), "hello user-1") {
		t.Errorf("a token that is there has to be seen: %s", w.Body)
	}
	wantStatus(t, route, handler, get("Bearer "+i.token("", nil)), 403)
	wantStatus(t, route, handler, get("Bearer x"), 401)
	wantStatus(t, route, handler, get("Bearer"), 400)

	// Nor do claims come from an outer request.
	outer := g.Require()(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner := httptest.NewRequest("GET", "/", nil).WithContext(r.Context())
		route.ServeHTTP(w, inner)
	}))
	if w := wantStatus(t, outer, handler, get("Bearer "+i.token("", nil)), 200); w.Body.Len() != 0 {
		t.Errorf("claims of another request: %s", w.Body)
	}
}

// A check of the program's own decides last, and its words stay here.
func TestCheck(t *testing.T) {
	i, g := newGuard(t, middleware.Config{})
	var verdict error
	handler := new(counter)
	route := g.Protect(middleware.Route{Check: func(_ context.Context, token *oauth.AccessToken) error {
		if token.Subject() != "user-1" {
			t.Errorf("the check sees %q", token.Subject())
		}
		return verdict
	}})(handler)
	good := "Bearer " + i.token("", nil)
	wantStatus(t, route, handler, get(good), 200)
	const denied = `{"error":"access_denied","error_description":"The access token does not allow this."}`
	for _, c := range []struct {
		err             error
		status          int
		challenge, body string
	}{
		{errors.New("secret reason"), 403, "", denied},
		{fmt.Errorf("%w: secret reason", oauth.ErrInvalidToken), 401, invalidChallenge, invalidBody},
		{fmt.Errorf("%w: secret reason", oauth.ErrUnavailable), 503, "", unavailableBody},
		{oauth.NewError(oauth.CodeInsufficientScope, `say "please"`).WithCause(errors.New("secret reason")), 403, `Bearer error="insufficient_scope", error_description="say 'please'"`, `{"error":"insufficient_scope","error_description":"say 'please'"}`},
		{&oauth.Error{Code: "a\"b", Description: "x\r\ny", Status: 401, Err: errors.New("secret reason")}, 401, `Bearer error="a'b", error_description="x  y"`, `{"error":"a\"b","error_description":"x  y"}`},
		{&oauth.Error{Code: "x", Status: 200}, 403, "", denied},
	} {
		verdict = c.err
		w := wantStatus(t, route, handler, get(good), c.status)
		wantRefused(t, w, c.status, c.challenge, c.body)
	}
}

// Whatever panics on the way to the handler, the handler has not run, the client
// learns nothing, and the log has the place.
func TestRS29_Panics(t *testing.T) {
	i := newIssuer()
	defer i.close()
	verifier, err := middleware.ForIssuer(i.url, api)
	if err != nil {
		t.Fatal(err)
	}
	defect := func() { panic("secret defect") }
	for name, c := range map[string]struct {
		verifier oauth.Verifier
		cfg      middleware.Config
		route    middleware.Route
		token    string
	}{
		"verifier":     {verifier: verifierFunc(func(context.Context, string) (*oauth.AccessToken, error) { defect(); return nil, nil })},
		"abort":        {verifier: verifierFunc(func(context.Context, string) (*oauth.AccessToken, error) { panic(http.ErrAbortHandler) })},
		"nil panic":    {verifier: verifierFunc(func(context.Context, string) (*oauth.AccessToken, error) { panic(nil) })}, //nolint:govet // that is the test
		"hierarchy":    {cfg: middleware.Config{Implies: func(string, string) bool { defect(); return true }}, route: middleware.Route{Scopes: []string{"other"}}},
		"check":        {route: middleware.Route{Check: func(context.Context, *oauth.AccessToken) error { defect(); return nil }}},
		"refusal hook": {cfg: middleware.Config{OnRefusal: func(*http.Request, *middleware.Refusal) { defect() }}, token: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			c.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
			if c.verifier == nil {
				c.verifier = verifier
			}
			if c.token == "" {
				c.token = i.token("notes", nil)
			}
			handler := new(counter)
			w := wantStatus(t, guardFor(t, c.verifier, c.cfg).Protect(c.route)(handler), handler, get("Bearer "+c.token), 500)
			wantRefused(t, w, 500, "", brokenBody)
			if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "guard_test.go") {
				t.Errorf("the log does not say what happened: %s", &log)
			}
			if strings.Contains(log.String(), "secret defect") {
				t.Errorf("the log has what the panic said, which may be a token: %s", &log)
			}
		})
	}
}

// The answer can be the program's own; what it needs for that is all there.
func TestRefuse(t *testing.T) {
	type told struct {
		Status int    `json:"status"`
		Code   string `json:"code"`
	}
	i, g := newGuard(t, middleware.Config{Refuse: func(w http.ResponseWriter, r *http.Request, refused *middleware.Refusal) {
		refused.WriteHeaders(w)
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(refused.Status)
		answer := told{Status: refused.Status}
		if refused.Error != nil {
			answer.Code = refused.Error.Code
		}
		if refused.Cause == nil || r.URL.Path != "/notes" {
			t.Errorf("cause %v, path %s", refused.Cause, r.URL.Path)
		}
		json.NewEncoder(w).Encode(answer)
	}})
	handler := new(counter)
	route := g.Require("notes:read")(handler)
	for _, c := range []struct {
		authorization string
		status        int
		code          string
		challenge     string
	}{
		{"", 401, "", "Bearer"}, {"Bearer x", 401, "invalid_token", invalidChallenge}, {"Bearer", 400, "invalid_request", malformedChallenge},
		{"Bearer " + i.token("", nil), 403, "insufficient_scope", strings.ReplaceAll(scopeChallenge, " notes:write", "")},
	} {
		w := wantStatus(t, route, handler, get(c.authorization), c.status)
		var got told
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Status != c.status || got.Code != c.code {
			t.Errorf("%q: %s %v", c.authorization, w.Body, err)
		}
		if w.Header().Get("WWW-Authenticate") != c.challenge || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%q: %v", c.authorization, w.Header())
		}
	}
}

// Why a request was refused is in the log and given to the hook, and the token is in
// neither.
func TestRefusalsAreTold(t *testing.T) {
	var log bytes.Buffer
	var causes []string
	i, g := newGuard(t, middleware.Config{
		Logger: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		OnRefusal: func(_ *http.Request, refused *middleware.Refusal) {
			causes = append(causes, refused.Cause.Error())
		},
	})
	handler := new(counter)
	route := g.Require("notes:read")(handler)
	secret := i.token("", nil)
	expired := i.token("", map[string]any{"exp": 1})
	for authorization, status := range map[string]int{
		"": 401, "Basic dTpw": 401, "Bearer a b": 400, "Bearer x": 401, "Bearer " + secret: 403, "Bearer " + expired: 401,
	} {
		r := get(authorization)
		r.URL.RawQuery = "code=" + secret
		wantStatus(t, route, handler, r, status)
	}
	all := log.String() + strings.Join(causes, "\n")
	for _, token := range []string{secret, expired} {
		for part := range strings.SplitSeq(token, ".") {
			if strings.Contains(all, part[len(part)/2:]) {
				t.Errorf("a part of a token got out: %s", all)
			}
		}
	}
	if len(causes) != 6 || strings.Count(log.String(), "\n") != 6 || strings.Contains(log.String(), "cause\":null") {
		t.Errorf("%d causes, log %s", len(causes), &log)
	}
	if !strings.Contains(all, "the token has expired") || !strings.Contains(all, "lacks the scope notes:read") {
		t.Errorf("reasons are missing: %s", all)
	}
}

func TestRS21_IdentityHeadersAreTakenAway(t *testing.T) {
	names := []string{
		"X-User", "X-Auth-Sub", "Forwarded", "Remote-User", "Remote-Groups", "X-Forwarded-User", "X-Forwarded-Email", "X-Auth-Request-User",
		"X-Remote-User", "X-User-Id", "X-Webauth-User", "x-user", "X_User", "x_auth_user", "REMOTE_USER", "X-USER", "X-Forwarded-Access-Token",
		"X-Authentik-Username", "x_authentik_groups", "X-Goog-Authenticated-User-Email", "X-Goog-Iap-Jwt-Assertion", "X-Amzn-Oidc-Identity", "X-Amzn-Oidc-Data",
		"X-Ms-Client-Principal", "X-Ms-Client-Principal-Name", "Cf-Access-Authenticated-User-Email", "Tailscale-User-Login", "X-Pomerium-Claim-Email",
		"X-Vouch-User", "X-Vouch-Idp-Claims-Sub", "X-Userinfo", "X-Consumer-Username", "X-Credential-Identifier",
	}
	kept := []string{"Accept", "X-Request-Id", "X-Forwarded-For", "X-Users", "Xuser", "Traceparent", "Authorization", "Remote", "Cookie"}
	i, g := newGuard(t, middleware.Config{})
	var seen http.Header
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header })
	for _, route := range []http.Handler{g.Require()(handler), g.Protect(middleware.Route{Optional: true})(handler)} {
		for _, authorization := range []string{"Bearer " + i.token("", nil), ""} {
			r := httptest.NewRequest("GET", "/", nil)
			for _, name := range append(names, kept...) {
				r.Header[name] = []string{"admin"}
			}
			r.Header.Set("Authorization", authorization)
			seen = nil
			route.ServeHTTP(httptest.NewRecorder(), r)
			if seen == nil {
				continue // the other route wants a token
			}
			for _, name := range names {
				if seen[name] != nil {
					t.Errorf("%s reached the handler", name)
				}
				if r.Header[name] == nil {
					t.Errorf("%s is gone from the request that others look at", name)
				}
			}
			for _, name := range kept {
				if seen[name] == nil {
					t.Errorf("%s is gone", name)
				}
			}
		}
	}
}

func TestIdentityHeadersSetting(t *testing.T) {
	v := verifierFunc(func(context.Context, string) (*oauth.AccessToken, error) { return new(oauth.AccessToken), nil })
	for _, c := range []struct {
		list []string
		gone string
	}{
		{[]string{}, ""}, {[]string{"X-Name"}, "X-Name"}, {[]string{"x-na*"}, "X-Name"}, {append(middleware.IdentityHeaders(), "X-Name"), "X-Name X-User"}, {nil, "X-User"},
	} {
		handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			var gone []string
			for _, name := range []string{"X-Name", "X-User"} {
				if r.Header.Get(name) == "" {
					gone = append(gone, name)
				}
			}
			if got := strings.Join(gone, " "); got != c.gone {
				t.Errorf("%q takes away %q, want %q", c.list, got, c.gone)
			}
		})
		r := get("Bearer x")
		r.Header.Set("X-Name", "x")
		r.Header.Set("X-User", "x")
		guardFor(t, v, middleware.Config{IdentityHeaders: c.list}).Require()(handler).ServeHTTP(httptest.NewRecorder(), r)
	}
	for _, bad := range []string{"", "*", "X User", "X-User:", "Ä", "X*-User"} {
		if _, err := middleware.New(v, middleware.Config{IdentityHeaders: []string{bad}}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// A preflight never runs the protected handler: it is refused, or answered by the
// program's CORS layer.
func TestRS28_Preflight(t *testing.T) {
	cors := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "https://app.example")
		w.WriteHeader(http.StatusNoContent)
	})
	_, with := newGuard(t, middleware.Config{Preflight: cors})
	_, without := newGuard(t, middleware.Config{})
	preflight := func(method, origin, asked string) *http.Request {
		r := httptest.NewRequest(method, "/notes", nil)
		for name, value := range map[string]string{"Origin": origin, "Access-Control-Request-Method": asked} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		return r
	}
	handler := new(counter)
	for _, route := range []middleware.Route{{}, {Optional: true}} {
		w := wantStatus(t, with.Protect(route)(handler), handler, preflight("OPTIONS", "https://app.example", "PUT"), 204)
		if w.Header().Get("Access-Control-Allow-Origin") == "" {
			t.Error("the CORS layer did not answer")
		}
	}
	wantStatus(t, without.Require()(handler), handler, preflight("OPTIONS", "https://app.example", "PUT"), 401)
	for _, r := range []*http.Request{
		preflight("OPTIONS", "", "PUT"), preflight("OPTIONS", "https://app.example", ""), preflight("GET", "https://app.example", "PUT"), preflight("options", "https://app.example", "PUT"),
	} {
		wantStatus(t, with.Require()(handler), handler, r, 401)
	}
}

// Admit is for frameworks that are not made of http.Handlers.
func TestAdmit(t *testing.T) {
	heard := 0
	i, g := newGuard(t, middleware.Config{OnRefusal: func(*http.Request, *middleware.Refusal) { heard++ }})
	admit := g.Admit(middleware.Route{Scopes: []string{"notes:read"}})
	r, refused := admit(get("Bearer " + i.token("notes:read", nil)))
	if refused != nil {
		t.Fatal(refused.Cause)
	}
	if token, ok := middleware.Claims(r.Context()); !ok || token.Subject() != "user-1" {
		t.Errorf("claims %v, %v", token, ok)
	}
	r, refused = admit(get("Bearer " + i.token("", nil)))
	if r != nil || refused == nil || refused.Status != 403 || heard != 1 {
		t.Fatalf("%v %+v, heard %d", r, refused, heard)
	}
	w := httptest.NewRecorder()
	refused.Write(w)
	if w.Code != 403 || w.Header().Get("WWW-Authenticate") != refused.Challenges[0] {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestClaimsAs(t *testing.T) {
	type roles struct {
		Subject string `json:"sub"`
		Realm   struct {
			Roles []string `json:"roles"`
		} `json:"realm_access"`
	}
	i, g := newGuard(t, middleware.Config{})
	route := g.Require()(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first, err := middleware.ClaimsAs[roles](r.Context())
		again, err2 := middleware.ClaimsAs[roles](r.Context())
		if err != nil || err2 != nil || &first.Realm.Roles[0] != &again.Realm.Roles[0] {
			t.Errorf("%v, %v: decoded twice, or not at all", err, err2)
		}
		if m, err := middleware.ClaimsAs[map[string]any](r.Context()); err != nil || m["client_id"] != "app" {
			t.Errorf("%v, %v", m, err)
		}
		if _, err := middleware.ClaimsAs[struct {
			Subject int `json:"sub"`
		}](r.Context()); err == nil {
			t.Error("a string became a number")
		}
		if s, err := middleware.ClaimsAs[struct{ SUB string }](r.Context()); err != nil || s.SUB != "" {
			t.Errorf("a name matched in another case: %v, %v", s, err)
		}
		io.WriteString(w, first.Subject+" "+strings.Join(first.Realm.Roles, " "))
	}))
	w := send(t, route, "/", "Bearer "+i.token("", map[string]any{"realm_access": map[string]any{"roles": []string{"editor", "author"}}}))
	if w.Body.String() != "user-1 editor author" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if _, err := middleware.ClaimsAs[roles](t.Context()); !errors.Is(err, middleware.ErrNoToken) {
		t.Errorf("without a token: %v", err)
	}
}

func TestProtectPanicsOnMistakes(t *testing.T) {
	_, g := newGuard(t, middleware.Config{})
	for name, route := range map[string]middleware.Route{
		"scope": {Scopes: []string{"a b"}}, "any scope": {AnyScope: []string{""}}, "audience": {Audiences: []string{""}},
		"acr": {ACR: []string{"a b"}}, "empty acr": {ACR: []string{""}}, "negative age": {MaxAge: -1}, "age of half a second": {MaxAge: 500 * time.Millisecond},
	} {
		for want, mistake := range map[string]func(){
			"middleware.Protect: ": func() { g.Protect(route) }, "middleware.Admit: ": func() { g.Admit(route) },
		} {
			t.Run(name, func(t *testing.T) {
				defer func() {
					if s, ok := recover().(string); !ok || !strings.HasPrefix(s, want) {
						t.Errorf("got %q, want a sentence that begins with %s", s, want)
					}
				}()
				mistake()
			})
		}
	}
	if _, err := middleware.New(nil, middleware.Config{}); err == nil {
		t.Error("a guard without a verifier was made")
	}
}

// Names and beginnings of any length are found.
func TestIdentityHeadersOfAnyLength(t *testing.T) {
	i := newIssuer()
	defer i.close()
	verifier, err := middleware.ForIssuer(i.url, api)
	if err != nil {
		t.Fatal(err)
	}
	g := guardFor(t, verifier, middleware.Config{IdentityHeaders: []string{"q*", "Id", "User"}})
	r := get("Bearer " + i.token("notes", nil))
	for _, name := range []string{"Q", "Q-Name", "Id", "User", "Kept", "Ide", "Us", "Users"} {
		r.Header.Set(name, "ann")
	}
	g.Require()(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		for name, want := range map[string]bool{"Q": false, "Q-Name": false, "Id": false, "User": false, "Kept": true, "Ide": true, "Us": true, "Users": true} {
			if got := r.Header.Get(name) != ""; got != want {
				t.Errorf("%s is there: %t, want %t", name, got, want)
			}
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
}

package middleware_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

// A counter is a handler that says how often it ran and for whom.
type counter struct{ ran atomic.Int64 }

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.ran.Add(1)
	token, ok := middleware.Claims(r.Context())
	if !ok {
		http.Error(w, "no claims", http.StatusTeapot)
		return
	}
	fmt.Fprintf(w, "hello %s with %s", token.Subject(), token.Scopes())
}

// newRoute returns an issuer and a handler that asks for notes:read and
// notes:write.
func newRoute(t *testing.T) (*issuer, http.Handler, *counter) {
	t.Helper()
	i := newIssuer()
	t.Cleanup(i.close)
	v, err := middleware.ForIssuer(i.url, api)
	if err != nil {
		t.Fatal(err)
	}
	handler := new(counter)
	return i, middleware.Require(v, "notes:read", "notes:write")(handler), handler
}

const (
	malformedChallenge = `Bearer error="invalid_request", error_description="The access token must be sent once, as Authorization: Bearer and the token."`
	malformedBody      = `{"error":"invalid_request","error_description":"The access token must be sent once, as Authorization: Bearer and the token."}`
	invalidChallenge   = `Bearer error="invalid_token", error_description="The access token is expired, revoked, malformed or not meant for this service."`
	invalidBody        = `{"error":"invalid_token","error_description":"The access token is expired, revoked, malformed or not meant for this service."}`
	scopeChallenge     = `Bearer error="insufficient_scope", error_description="The access token does not have the scopes that this needs.", scope="notes:read notes:write"`
	scopeBody          = `{"error":"insufficient_scope","error_description":"The access token does not have the scopes that this needs."}`
	unavailableBody    = `{"error":"temporarily_unavailable","error_description":"Access tokens cannot be verified at the moment."}`
	brokenBody         = `{"error":"server_error","error_description":"The access token could not be verified."}`
)

func wantRefused(t *testing.T, w *httptest.ResponseRecorder, status int, challenge, body string) {
	t.Helper()
	if w.Code != status {
		t.Errorf("status %d, want %d", w.Code, status)
	}
	if got := w.Header()["Www-Authenticate"]; len(got) > 1 || strings.Join(got, "") != challenge {
		t.Errorf("challenge\n%s\nwant\n%s", got, challenge)
	}
	if got := strings.TrimSuffix(w.Body.String(), "\n"); got != body {
		t.Errorf("body\n%s\nwant\n%s", got, body)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q, want no-store", got)
	}
	wantType := "application/json"
	if body == "" {
		wantType = ""
	}
	if got := w.Header().Get("Content-Type"); got != wantType {
		t.Errorf("Content-Type %q, want %q", got, wantType)
	}
	if got, want := w.Header().Get("Retry-After") != "", status == 503; got != want {
		t.Errorf("Retry-After sent: %v, want %v", got, want)
	}
}

func TestGoodTokenReachesTheHandler(t *testing.T) {
	i, route, handler := newRoute(t)
	w := send(t, route, "/notes", "Bearer "+i.token("notes:write notes:read extra", nil))
	if w.Code != 200 || w.Body.String() != "hello user-1 with notes:write notes:read extra" || handler.ran.Load() != 1 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if len(w.Header()["Www-Authenticate"])+len(w.Header()["Cache-Control"]) != 0 {
		t.Errorf("the middleware meddled with the handler's answer: %v", w.Header())
	}
}

func TestRS01_NoCredentials(t *testing.T) {
	_, route, handler := newRoute(t)
	wantRefused(t, send(t, route, "/notes"), 401, "Bearer", "")
	wantRefused(t, send(t, route, "/notes", ""), 401, "Bearer", "")
	if handler.ran.Load() != 0 {
		t.Error("the handler ran")
	}
}

func TestRS02_AuthorizationHeader(t *testing.T) {
	i, route, handler := newRoute(t)
	good := i.token("notes:read notes:write", nil)

	for _, scheme := range []string{"Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer    "} {
		if w := send(t, route, "/notes", scheme+good); w.Code != 200 {
			t.Errorf("%q: %d %s", scheme, w.Code, w.Body)
		}
	}
	ran := handler.ran.Load()

	for _, values := range [][]string{
		{"Bearer"}, {"Bearer "}, {"bearer  "}, {"Bearer a b"}, {"Bearer " + good + " x"}, {"Bearer " + good + ","}, {"Bearer \t" + good},
		{"Bearer " + good + "\x00"}, {"Bearer ="}, {"Bearer a=b"}, {"Bearer \"" + good + "\""}, {"Bearer ä"},
		{"Bearer " + good, "Bearer " + good}, {"Bearer " + good, "Basic dTpw"}, {"Basic dTpw", "Bearer " + good}, {"", "Bearer " + good},
	} {
		wantRefused(t, send(t, route, "/notes", values...), 400, malformedChallenge, malformedBody)
	}
	for _, value := range []string{"Basic dTpw", "Bearer\t" + good, "Bearerx " + good, "Bearer=" + good, good, " Bearer " + good, "Digest x", "DPoP"} {
		wantRefused(t, send(t, route, "/notes", value), 401, "Bearer", "")
	}
	if handler.ran.Load() != ran {
		t.Error("the handler ran")
	}
}

func TestRS03_OnlyTheHeader(t *testing.T) {
	i, route, handler := newRoute(t)
	good := i.token("notes:read notes:write", nil)
	wantRefused(t, send(t, route, "/notes?access_token="+good), 401, "Bearer", "")
	wantRefused(t, send(t, route, "/notes?access_token="+good, "Bearer "+good), 400, malformedChallenge, malformedBody)
	wantRefused(t, send(t, route, "/notes?a=b&access_token=", "Bearer "+good), 400, malformedChallenge, malformedBody)

	form := httptest.NewRequest("POST", "/notes", strings.NewReader("access_token="+good))
	form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	form.AddCookie(&http.Cookie{Name: "access_token", Value: good})
	w := httptest.NewRecorder()
	route.ServeHTTP(w, form)
	wantRefused(t, w, 401, "Bearer", "")
	if rest, _ := io.ReadAll(form.Body); len(rest) == 0 {
		t.Error("the body was read")
	}
	if handler.ran.Load() != 0 {
		t.Error("the handler ran")
	}
	// A parameter that only looks alike is the handler's business.
	if w := send(t, route, "/notes?my_access_token=1", "Bearer "+good); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestRS04_BadTokensGetOneAnswer(t *testing.T) {
	i, route, handler := newRoute(t)
	stranger := newIssuer()
	defer stranger.close()
	const scope = "notes:read notes:write"
	good := i.token(scope, nil)
	for name, token := range map[string]string{
		"expired":       i.token(scope, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}),
		"not yet valid": i.token(scope, map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}),
		"bad signature": stranger.token(scope, map[string]any{"iss": i.url}),
		"other issuer":  stranger.token(scope, nil),
		"other service": i.token(scope, map[string]any{"aud": "https://other.example"}),
		"bound by DPoP": i.token(scope, map[string]any{"cnf": map[string]string{"jkt": "x"}}),
		"cut":           good[:len(good)-1],
		"padded":        good + "==",
		"garbage":       "garbage",
		"long":          strings.Repeat("a.", 10<<10),
		"no scope too":  i.token("", map[string]any{"exp": 1}),
	} {
		t.Run(name, func(t *testing.T) {
			wantRefused(t, send(t, route, "/notes", "Bearer "+token), 401, invalidChallenge, invalidBody)
		})
	}
	if handler.ran.Load() != 0 {
		t.Error("the handler ran")
	}
}

func TestRS05_MissingScope(t *testing.T) {
	i, route, handler := newRoute(t)
	for _, scope := range []string{"", "notes:read", "notes:write", "notes:read notes:writer", "Notes:Read Notes:Write", "notes"} {
		wantRefused(t, send(t, route, "/notes", "Bearer "+i.token(scope, nil)), 403, scopeChallenge, scopeBody)
	}
	if handler.ran.Load() != 0 {
		t.Error("the handler ran")
	}
}

func TestRequireWithoutScopes(t *testing.T) {
	i := newIssuer()
	defer i.close()
	v, err := middleware.ForIssuer(i.url, api)
	if err != nil {
		t.Fatal(err)
	}
	route := middleware.Require(v)(new(counter))
	if w := send(t, route, "/", "Bearer "+i.token("", nil)); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	wantRefused(t, send(t, route, "/", "Bearer x"), 401, invalidChallenge, invalidBody)
}

func TestRS16_IssuerDownAtStart(t *testing.T) {
	i, route, handler := newRoute(t)
	i.down.Store(true)
	good := i.token("notes:read notes:write", nil)
	wantRefused(t, send(t, route, "/notes", "Bearer "+good), 503, "", unavailableBody)
	// What can be seen without keys is still told.
	wantRefused(t, send(t, route, "/notes"), 401, "Bearer", "")
	wantRefused(t, send(t, route, "/notes", "Bearer garbage"), 401, invalidChallenge, invalidBody)
	if handler.ran.Load() != 0 {
		t.Error("the handler ran")
	}
}

func TestRS21_IdentityHeadersMeanNothing(t *testing.T) {
	i, route, handler := newRoute(t)
	forge := func(authorization string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/notes", nil)
		for _, name := range []string{"X-User", "X-Auth-Sub", "X-Forwarded-User", "Forwarded", "X-Forwarded-Access-Token", "Proxy-Authorization", "X-Authorization"} {
			r.Header.Set(name, "Bearer "+i.token("notes:read notes:write", map[string]any{"sub": "admin"}))
		}
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := httptest.NewRecorder()
		route.ServeHTTP(w, r)
		return w
	}
	wantRefused(t, forge(""), 401, "Bearer", "")
	if handler.ran.Load() != 0 {
		t.Error("the handler ran")
	}
	if w := forge("Bearer " + i.token("notes:read notes:write", nil)); !strings.HasPrefix(w.Body.String(), "hello user-1 ") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestRS22_Schemes(t *testing.T) {
	i, route, handler := newRoute(t)
	const scope = "notes:read notes:write"
	bound := i.token(scope, map[string]any{"cnf": map[string]string{"jkt": "x"}})
	wantRefused(t, send(t, route, "/notes", "Bearer "+bound), 401, invalidChallenge, invalidBody)
	unheard := i.token(scope, map[string]any{"cnf": map[string]string{"unheard-of": "x"}})
	wantRefused(t, send(t, route, "/notes", "Bearer "+unheard), 401, invalidChallenge, invalidBody)
	wantRefused(t, send(t, route, "/notes", "DPoP "+i.token(scope, nil)), 401, "Bearer", "")
	wantRefused(t, send(t, route, "/notes", "DPoP "+bound), 401, "Bearer", "")
	if handler.ran.Load() != 0 {
		t.Error("the handler ran")
	}
}

// Protection is by handler: no method, path or header finds a way around it.
func TestRS28_NoWayAround(t *testing.T) {
	_, route, handler := newRoute(t)
	mux := http.NewServeMux()
	mux.Handle("/admin/", route)
	mux.Handle("/admin", route)
	mux.Handle("GET /things/{name...}", route)
	server := httptest.NewServer(mux)
	defer server.Close()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "PROPFIND", "get"} {
		for _, path := range []string{"/admin", "//admin", "/%2e%2e/admin", "/./admin", "/admin/", "/admin;x", "/admin/;x", "/%61dmin", "/x/../admin", "/things/a%2fb", "/ADMIN"} {
			r, err := http.NewRequest(method, server.URL+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.URL.Opaque = "//" + r.URL.Host + path
			r.Host = r.URL.Host + "."
			r.Header.Set("X-HTTP-Method-Override", "GET")
			r.Header.Set("X-Original-URL", "/public")
			r.Header.Set("Access-Control-Request-Method", "GET")
			r.Header.Set("Origin", "https://evil.example")
			resp, err := client.Do(r)
			if err != nil {
				continue // no answer is no way in
			}
			resp.Body.Close()
			if resp.StatusCode/100 == 2 {
				t.Errorf("%s %s: %d", method, path, resp.StatusCode)
			}
		}
	}
	if handler.ran.Load() != 0 {
		t.Errorf("the handler ran %d times", handler.ran.Load())
	}
}

func TestRS28_HeadIsAnsweredLikeGet(t *testing.T) {
	_, route, _ := newRoute(t)
	server := httptest.NewServer(route)
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), "HEAD", server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer x")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") != invalidChallenge {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}

// verifierFunc is a verifier made of a function.
type verifierFunc func(ctx context.Context, token string) (*oauth.AccessToken, error)

func (f verifierFunc) Verify(ctx context.Context, token string) (*oauth.AccessToken, error) {
	return f(ctx, token)
}

func TestRS29_VerifierFails(t *testing.T) {
	for name, c := range map[string]struct {
		token     *oauth.AccessToken
		err       error
		status    int
		challenge string
		body      string
	}{
		"invalid":              {nil, oauth.ErrInvalidToken, 401, invalidChallenge, invalidBody},
		"invalid, with reason": {nil, fmt.Errorf("%w: secret reason", oauth.ErrInvalidToken), 401, invalidChallenge, invalidBody},
		"invalid, with claims": {new(oauth.AccessToken), oauth.ErrInvalidToken, 401, invalidChallenge, invalidBody},
		"unavailable":          {nil, fmt.Errorf("%w: secret reason", oauth.ErrUnavailable), 503, "", unavailableBody},
		"cancelled":            {nil, context.Canceled, 503, "", unavailableBody},
		"deadline":             {nil, fmt.Errorf("verify: %w", context.DeadlineExceeded), 503, "", unavailableBody},
		"unheard-of error":     {nil, errors.New("secret reason"), 500, "", brokenBody},
		"neither":              {nil, nil, 500, "", brokenBody},
		"claims of nobody":     {new(oauth.AccessToken), nil, 403, scopeChallenge, scopeBody},
	} {
		t.Run(name, func(t *testing.T) {
			handler := new(counter)
			v := verifierFunc(func(context.Context, string) (*oauth.AccessToken, error) { return c.token, c.err })
			w := send(t, middleware.Require(v, "notes:read", "notes:write")(handler), "/", "Bearer x")
			wantRefused(t, w, c.status, c.challenge, c.body)
			if strings.Contains(w.Body.String(), "secret") || handler.ran.Load() != 0 {
				t.Errorf("the reason got out, or the handler ran: %s", w.Body)
			}
		})
	}
}

func TestRequirePanicsOnMistakes(t *testing.T) {
	v := verifierFunc(func(context.Context, string) (*oauth.AccessToken, error) { return nil, oauth.ErrInvalidToken })
	for name, mistake := range map[string]func(){
		"nil verifier": func() { middleware.Require(nil) },
		"empty scope":  func() { middleware.Require(v, "") },
		"two in one":   func() { middleware.Require(v, "a b") },
		"quote":        func() { middleware.Require(v, "a", `b"`) },
		"newline":      func() { middleware.Require(v, "a\r\nX: y") },
		"not ASCII":    func() { middleware.Require(v, "ä") },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if s, ok := recover().(string); !ok || !strings.HasPrefix(s, "middleware.Require: ") {
					t.Errorf("got %q, want a sentence that begins with middleware.Require", s)
				}
			}()
			mistake()
		})
	}
}

// The list of scopes belongs to the route, not to the caller's slice.
func TestRequireKeepsItsOwnScopes(t *testing.T) {
	i := newIssuer()
	defer i.close()
	v, err := middleware.ForIssuer(i.url, api)
	if err != nil {
		t.Fatal(err)
	}
	scopes := []string{"admin"}
	route := middleware.Require(v, scopes...)(new(counter))
	scopes[0] = "notes"
	if w := send(t, route, "/", "Bearer "+i.token("notes", nil)); w.Code != 403 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestClaimsOutsideOfRequire(t *testing.T) {
	if token, ok := middleware.Claims(t.Context()); ok || token != nil {
		t.Errorf("got %v, %v", token, ok)
	}
}

func TestForIssuerSettings(t *testing.T) {
	for _, c := range []struct {
		issuer    string
		audiences []string
		good      bool
	}{
		{"https://id.example", []string{api}, true},
		{"https://id.example/tenant", []string{api, "https://other.example"}, true},
		{"http://localhost:8080", []string{api}, true},
		{"http://127.0.0.1:8080", []string{api}, true},
		{"http://[::1]:8080", []string{api}, true},
		{"http://id.example", []string{api}, false},
		{"http://192.168.0.1", []string{api}, false},
		{"http://localhost.evil.example", []string{api}, false},
		{"id.example", []string{api}, false},
		{"", []string{api}, false},
		{"https://id.example", nil, false},
		{"https://id.example", []string{""}, false},
	} {
		v, err := middleware.ForIssuer(c.issuer, c.audiences...)
		if (err == nil) != c.good || (v == nil) == c.good {
			t.Errorf("ForIssuer(%q, %q) = %v, %v", c.issuer, c.audiences, v, err)
		}
	}
}

func TestErrorBodiesAreJSON(t *testing.T) {
	for _, body := range []string{malformedBody, invalidBody, scopeBody, unavailableBody, brokenBody} {
		var e oauth.Error
		if err := json.Unmarshal([]byte(body), &e); err != nil || e.Code == "" {
			t.Errorf("%s: %v", body, err)
		}
		if e.Description != oauth.SafeDescription(e.Description) {
			t.Errorf("%s: the description may not stand in a header", body)
		}
	}
}

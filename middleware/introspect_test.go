package middleware_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

// newIntrospector returns a verifier that asks i about tokens, with a clock.
func newIntrospector(t testing.TB, i *issuer, now func() time.Time) *oauth.IntrospectionVerifier {
	t.Helper()
	v, err := oauth.NewIntrospectionVerifier(oauth.IntrospectionConfig{
		Issuer: i.url, ClientID: "api", ClientSecret: "s", Audiences: []string{api}, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// newAskingGuard returns a guard that verifies JWTs here, and an issuer that can be
// asked about them.
func newAskingGuard(t testing.TB, now func() time.Time) (*issuer, *middleware.Guard) {
	t.Helper()
	i := newIssuer()
	t.Cleanup(i.close)
	i.active = make(map[string]map[string]any)
	v, err := middleware.ForIssuer(i.url, api)
	if err != nil {
		t.Fatal(err)
	}
	return i, guardFor(t, v, middleware.Config{Introspector: newIntrospector(t, i, now)})
}

// A revoked JWT goes on where nobody asks, for its remaining life; where the route asks,
// it ends as soon as the route says.
func TestRS19_RevokedToken(t *testing.T) {
	now := time.Now()
	i, g := newAskingGuard(t, func() time.Time { return now })
	token := i.token("pay", nil)
	i.active[token] = map[string]any{"active": true, "aud": api, "sub": "user-1", "scope": "pay"}
	handler := new(counter)
	offline := g.Require("pay")(handler)
	aware := g.Protect(middleware.Route{Scopes: []string{"pay"}, Introspect: 20 * time.Second})(handler)
	always := g.Protect(middleware.Route{Scopes: []string{"pay"}, Introspect: middleware.EachRequest})(handler)

	for range 3 {
		wantStatus(t, aware, handler, get("Bearer "+token), 200)
	}
	if i.answered.Load() != 1 {
		t.Errorf("asked %d times", i.answered.Load())
	}
	wantStatus(t, always, handler, get("Bearer "+token), 200)
	wantStatus(t, always, handler, get("Bearer "+token), 200)
	if i.answered.Load() != 3 {
		t.Errorf("asked %d times", i.answered.Load())
	}

	delete(i.active, token)
	wantStatus(t, offline, handler, get("Bearer "+token), 200)
	wantStatus(t, aware, handler, get("Bearer "+token), 200)
	now = now.Add(20 * time.Second)
	w := wantStatus(t, aware, handler, get("Bearer "+token), 401)
	wantRefused(t, w, 401, invalidChallenge, invalidBody)
	wantStatus(t, always, handler, get("Bearer "+token), 401)
	wantStatus(t, offline, handler, get("Bearer "+token), 200)
	wantStatus(t, offline, handler, get("Bearer "+i.token("pay", map[string]any{"exp": now.Add(-time.Hour).Unix()})), 401)
}

// Nobody is asked about what is refused here already, and the answer only takes away.
func TestRS19_TheAnswerTakesAway(t *testing.T) {
	i, g := newAskingGuard(t, nil)
	handler := new(counter)
	route := g.Protect(middleware.Route{Scopes: []string{"pay"}, Introspect: middleware.EachRequest})(handler)
	good := i.token("pay", nil)
	for token, status := range map[string]int{"x": 401, i.token("", nil): 403, i.token("pay", map[string]any{"aud": "x"}): 401} {
		i.active[token] = map[string]any{"active": true, "aud": api, "scope": "pay admin"}
		wantStatus(t, route, handler, get("Bearer "+token), status)
	}
	if i.answered.Load() != 0 {
		t.Errorf("asked %d times", i.answered.Load())
	}
	for name, c := range map[string]struct {
		answer map[string]any
		status int
	}{
		"as it was":        {map[string]any{"active": true, "aud": api, "sub": "user-1", "client_id": "app", "iss": i.url, "scope": "pay x"}, 200},
		"only active":      {map[string]any{"active": true, "aud": api}, 200},
		"scope null":       {map[string]any{"active": true, "aud": api, "scope": nil}, 200},
		"narrower":         {map[string]any{"active": true, "aud": api, "scope": "notes:read"}, 403},
		"no scope left":    {map[string]any{"active": true, "aud": api, "scope": ""}, 403},
		"another subject":  {map[string]any{"active": true, "aud": api, "sub": "user-2"}, 401},
		"another client":   {map[string]any{"active": true, "aud": api, "client_id": "app-2"}, 401},
		"another issuer":   {map[string]any{"active": true, "aud": api, "iss": "https://other.example"}, 401},
		"another audience": {map[string]any{"active": true, "aud": "https://other.example"}, 401},
		"bound since":      {map[string]any{"active": true, "aud": api, "cnf": map[string]string{"jkt": newClient(t).jkt}}, 401},
	} {
		i.active[good] = c.answer
		if w := wantStatus(t, route, handler, get("Bearer "+good), c.status); t.Failed() {
			t.Fatalf("%s: %d", name, w.Code)
		}
	}
}

// An introspection endpoint of somebody else, of which nothing but the address is known.
func TestRS19_AnotherIssuersAnswer(t *testing.T) {
	i, other := newIssuer(), newIssuer()
	defer i.close()
	defer other.close()
	v, err := middleware.ForIssuer(i.url, api)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := oauth.NewIntrospectionVerifier(oauth.IntrospectionConfig{
		Endpoint: other.url + "/introspect", ClientID: "api", ClientSecret: "s", Audiences: []string{api},
	})
	if err != nil {
		t.Fatal(err)
	}
	handler := new(counter)
	route := guardFor(t, v, middleware.Config{Introspector: elsewhere}).Protect(middleware.Route{Introspect: middleware.EachRequest})(handler)
	token := i.token("", nil)
	for iss, status := range map[string]int{i.url: 200, other.url: 401} {
		other.active = map[string]map[string]any{token: {"active": true, "aud": api, "iss": iss}}
		wantStatus(t, route, handler, get("Bearer "+token), status)
	}
}

func TestRS20_IssuerDoesNotAnswer(t *testing.T) {
	i, g := newAskingGuard(t, nil)
	handler := new(counter)
	token := i.token("pay", nil)
	i.active[token] = map[string]any{"active": true, "aud": api}
	wantStatus(t, g.Require("pay")(handler), handler, get("Bearer "+token), 200) // has the keys now
	i.down.Store(true)
	w := wantStatus(t, g.Protect(middleware.Route{Introspect: time.Minute})(handler), handler, get("Bearer "+token), 503)
	wantRefused(t, w, 503, "", unavailableBody)
	wantStatus(t, g.Require("pay")(handler), handler, get("Bearer "+token), 200)
}

// Opaque tokens work on any route, and are asked about again where the route says so.
func TestRS19_OpaqueTokens(t *testing.T) {
	now := time.Now()
	i := newIssuer()
	defer i.close()
	i.active = map[string]map[string]any{"opaque": {"active": true, "aud": []string{api}, "sub": "user-1", "scope": "notes:read"}}
	g := guardFor(t, newIntrospector(t, i, func() time.Time { return now }), middleware.Config{})
	handler := new(counter)
	route, strict := g.Require("notes:read")(handler), g.Protect(middleware.Route{Introspect: 10 * time.Second})(handler)
	if w := wantStatus(t, route, handler, get("Bearer opaque"), 200); !strings.HasPrefix(w.Body.String(), "hello user-1") {
		t.Error(w.Body)
	}
	wantStatus(t, g.Require("admin")(handler), handler, get("Bearer opaque"), 403)
	wantStatus(t, route, handler, get("Bearer another"), 401)
	delete(i.active, "opaque")
	now = now.Add(15 * time.Second)
	wantStatus(t, route, handler, get("Bearer opaque"), 200)
	wantStatus(t, strict, handler, get("Bearer opaque"), 401)
	wantStatus(t, route, handler, get("Bearer opaque"), 401) // now it is known to all
}

type introspectorFunc func(context.Context, string, time.Duration) (*oauth.AccessToken, error)

func (f introspectorFunc) Introspect(ctx context.Context, token string, maxAge time.Duration) (*oauth.AccessToken, error) {
	return f(ctx, token, maxAge)
}

func TestRS29_IntrospectorFails(t *testing.T) {
	i, _ := newGuard(t, middleware.Config{})
	v, err := middleware.ForIssuer(i.url, api)
	if err != nil {
		t.Fatal(err)
	}
	handler := new(counter)
	for name, c := range map[string]struct {
		introspect introspectorFunc
		status     int
	}{
		"panics":  {func(context.Context, string, time.Duration) (*oauth.AccessToken, error) { panic("defect") }, 500},
		"neither": {func(context.Context, string, time.Duration) (*oauth.AccessToken, error) { return nil, nil }, 500},
		"unheard": {func(context.Context, string, time.Duration) (*oauth.AccessToken, error) { return nil, errors.New("x") }, 500},
		"asks for now": {func(_ context.Context, _ string, maxAge time.Duration) (*oauth.AccessToken, error) {
			if maxAge != 0 {
				t.Errorf("asked for an answer of %v", maxAge)
			}
			return new(oauth.AccessToken), nil
		}, 200},
	} {
		route := guardFor(t, v, middleware.Config{Introspector: c.introspect}).Protect(middleware.Route{Introspect: middleware.EachRequest})(handler)
		if wantStatus(t, route, handler, get("Bearer "+i.token("", nil)), c.status); t.Failed() {
			t.Fatal(name)
		}
	}
	defer func() {
		if s, ok := recover().(string); !ok || !strings.HasPrefix(s, "middleware.Protect: ") {
			t.Errorf("a route that cannot ask: %q", s)
		}
	}()
	guardFor(t, v, middleware.Config{}).Protect(middleware.Route{Introspect: time.Second})
}

func TestForIssuers(t *testing.T) {
	a, b, stranger := newIssuer(), newIssuer(), newIssuer()
	defer a.close()
	defer b.close()
	defer stranger.close()
	v, err := middleware.ForIssuers(map[string][]string{a.url: {api}, b.url: {"api-at-b"}})
	if err != nil {
		t.Fatal(err)
	}
	handler := new(counter)
	route := middleware.Require(v)(handler)
	wantStatus(t, route, handler, get("Bearer "+a.token("", nil)), 200)
	wantStatus(t, route, handler, get("Bearer "+b.token("", map[string]any{"aud": "api-at-b"})), 200)
	for _, token := range []string{b.token("", nil), a.token("", map[string]any{"iss": b.url, "aud": "api-at-b"}), stranger.token("", nil)} {
		wantStatus(t, route, handler, get("Bearer "+token), 401)
	}
	b.down.Store(true)
	fresh, err := middleware.ForIssuers(map[string][]string{a.url: {api}, b.url: {"api-at-b"}})
	if err != nil {
		t.Fatal(err)
	}
	route = middleware.Require(fresh)(handler)
	wantStatus(t, route, handler, get("Bearer "+a.token("", nil)), 200)
	wantStatus(t, route, handler, get("Bearer "+b.token("", map[string]any{"aud": "api-at-b"})), 503)
	for _, bad := range []map[string][]string{nil, {"x": {api}}, {a.url: nil}} {
		if v, err := middleware.ForIssuers(bad); err == nil || v != nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}

package provider_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

const inactive = `{"active":false}`

// revoke revokes a token as the public client.
func (s *server) revoke(token string, pairs ...string) answer {
	s.t.Helper()
	return s.post("/oauth2/revoke", append([]string{"client_id", webID, "token", token}, pairs...)...)
}

func TestAS70_RevokeWorksAtOnce(t *testing.T) {
	s := start(t, options{direct: true})
	replica := start(t, options{direct: true, store: sharing(s.store)})
	for _, hint := range []string{"", "access_token", "refresh_token", "nonsense"} {
		tokens := s.tokens("ann@example.com")
		if a := s.revoke(tokens["access_token"].(string), "token_type_hint", hint); a.status != http.StatusOK || a.body != "" {
			t.Fatalf("revoke: %d %s", a.status, a.body)
		}
		for _, r := range []*server{s, replica} {
			if a := r.userinfo(tokens["access_token"].(string)); a.status != http.StatusUnauthorized {
				t.Errorf("a revoked access token: %d", a.status)
			}
		}
		next := s.rotated(tokens) // the refresh token was not revoked
		s.alive(next)
		if a := s.revoke(next["refresh_token"].(string), "token_type_hint", hint); a.status != http.StatusOK {
			t.Fatalf("revoke: %d %s", a.status, a.body)
		}
		replica.dead(next)
		s.dead(next)
		for _, again := range []any{next["refresh_token"], next["access_token"], tokens["access_token"], "unknown"} {
			if a := s.revoke(again.(string)); a.status != http.StatusOK {
				t.Errorf("revoked once more: %d %s", a.status, a.body)
			}
		}
	}
	s.post("/oauth2/revoke", "client_id", webID).is(t, http.StatusBadRequest, "invalid_request")
}

func TestAS70_OpaqueTokens(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) {
		c.Clients[0].AccessTokenFormat, c.Clients[2].AccessTokenFormat = config.AccessTokenOpaque, config.AccessTokenOpaque
	}})
	tokens := s.tokens("ann@example.com")
	access := tokens["access_token"].(string)
	if strings.Contains(access, ".") {
		t.Fatalf("%q is not opaque", access)
	}
	s.alive(tokens)
	if a := s.userinfo(access[:len(access)-1]); a.status != http.StatusUnauthorized {
		t.Errorf("cut: %d", a.status)
	}
	own := s.postAs(secretID, backendSecret, "/oauth2/token", "grant_type", "client_credentials").json(t)["access_token"].(string)
	if a := s.introspect(own); a.json(t)["active"] != true {
		t.Errorf("introspected: %s", a.body)
	}
	s.revoke(access)
	if a := s.userinfo(access); a.status != http.StatusUnauthorized {
		t.Errorf("revoked: %d", a.status)
	}
}

func TestAS72_RevokeARotatedToken(t *testing.T) {
	clk := newClock()
	s := start(t, options{now: clk.now})
	for _, wait := range []time.Duration{0, time.Hour} {
		first := s.tokens("ann@example.com")
		second := s.rotated(first)
		clk.advance(wait)
		if a := s.revoke(first["refresh_token"].(string)); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		s.dead(second)
	}
}

func TestAS73_RevokeSomebodyElses(t *testing.T) {
	s := start(t, options{})
	tokens := s.tokens("ann@example.com")
	for _, token := range []any{tokens["access_token"], tokens["refresh_token"]} {
		for _, a := range []answer{
			s.postAs(secretID, backendSecret, "/oauth2/revoke", "token", token.(string)),
			s.post("/oauth2/revoke", "client_id", thirdID, "token", token.(string)),
		} {
			if a.status == http.StatusOK {
				t.Errorf("another client is told that it revoked the token")
			}
		}
		s.post("/oauth2/revoke", "token", token.(string)).is(t, http.StatusUnauthorized, "invalid_client")
	}
	s.alive(tokens)
	s.rotated(tokens)
}

func TestAS74_IntrospectionCallers(t *testing.T) {
	s := start(t, options{})
	b := s.browser()
	tokens := s.backendTokens(b, "ann@example.com")
	access := tokens["access_token"].(string)
	if a := s.introspect(access); a.json(t)["active"] != true {
		t.Fatalf("its own client is told %s", a.body)
	}
	bearer := func(caller, token any) answer {
		return s.send(s.request("POST", "/oauth2/introspect", values("token", token.(string)).Encode(), "Authorization", "Bearer "+caller.(string)))
	}
	other := s.backendTokens(b, "ann@example.com")["access_token"]
	own := s.postAs(secretID, backendSecret, "/oauth2/token", "grant_type", "client_credentials").json(t)["access_token"]
	for name, a := range map[string]answer{
		"the access token itself": bearer(access, access),
		"the person's other one":  bearer(other, access),
		"the client's own token":  bearer(own, access),
		"about a refresh token":   bearer(other, tokens["refresh_token"]),
		"public client":           s.post("/oauth2/introspect", "token", access, "client_id", webID),
		"nobody":                  s.post("/oauth2/introspect", "token", access),
		"wrong secret":            s.postAs(secretID, "wrong", "/oauth2/introspect", "token", access),
	} {
		if a.status != http.StatusUnauthorized || strings.Contains(a.body, "active") {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	s.postAs(secretID, backendSecret, "/oauth2/introspect").is(t, http.StatusBadRequest, "invalid_request")
	// Of another client, and not for this one.
	if a := s.introspect(s.tokens("ann@example.com")["access_token"].(string)); a.body != inactive {
		t.Errorf("another client's token: %s", a.body)
	}
}

func TestAS74_IntrospectionByTheAudience(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) { c.Clients[0].Audiences = []string{api, secretID} }})
	a := s.introspect(s.tokens("ann@example.com")["access_token"].(string))
	info := a.json(t)
	want := claimsOf(t, s.tokens("ann@example.com")["access_token"])
	for _, name := range []string{"iss", "sub", "client_id", "scope", "acr"} {
		if info[name] != want[name] || info[name] == nil {
			t.Errorf("%s is %v, want %v", name, info[name], want[name])
		}
	}
	if info["active"] != true || info["token_type"] != "Bearer" || info["exp"] == nil {
		t.Errorf("the resource server is told %s", a.body)
	}
}

func TestAS75_AS77_InactiveSaysNothingElse(t *testing.T) {
	clk := newClock()
	s := start(t, options{now: clk.now})
	b := s.browser()
	tokens := s.backendTokens(b, "ann@example.com")
	revoked := s.backendTokens(b, "ann@example.com")["access_token"].(string)
	if a := s.postAs(secretID, backendSecret, "/oauth2/revoke", "token", revoked); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	expired := tokens["access_token"].(string)
	if a := s.introspect(expired); a.json(t)["active"] != true {
		t.Fatalf("%s", a.body)
	}
	clk.advance(10 * time.Minute)
	for name, token := range map[string]string{
		"expired": expired, "revoked": revoked, "refresh token": tokens["refresh_token"].(string), "ID token": tokens["id_token"].(string), "garbage": "x",
		"another issuer's": foreignAccessToken(t), "long": strings.Repeat("a.", 20<<10), "dots": "..", "opaque garbage": "lga_" + strings.Repeat("A", 100),
		"altered": altered(expired),
	} {
		if a := s.introspect(token); a.status != http.StatusOK || a.body != inactive {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

// The work tells a caller nothing about what is not its own: only of its own tokens it
// is asked whether they were revoked.
func TestAS77_WorkTellsNothing(t *testing.T) {
	clk := newClock()
	s, count := counted(t, options{now: clk.now})
	b := s.browser()
	own := s.backendTokens(b, "ann@example.com")
	ended := s.tokens("ann@example.com")["access_token"].(string)
	s.revoke(ended)
	expired := s.tokens("ann@example.com")["access_token"].(string)
	clk.advance(10 * time.Minute)
	for name, token := range map[string]string{
		"another client's": s.tokens("ann@example.com")["access_token"].(string), "another client's, revoked": ended, "another client's, expired": expired,
		"garbage": "x", "altered": altered(expired), "refresh token": own["refresh_token"].(string), "another issuer's": foreignAccessToken(t),
	} {
		count.Reset()
		if a := s.introspect(token); a.body != inactive {
			t.Errorf("%s: %s", name, a.body)
		}
		if n := count.Calls(); n != 0 {
			t.Errorf("%s costs %d calls of the store", name, n)
		}
	}
}

func foreignAccessToken(t *testing.T) string {
	t.Helper()
	s := start(t, options{})
	return s.postAs(secretID, backendSecret, "/oauth2/token", "grant_type", "client_credentials").json(t)["access_token"].(string)
}

// hostileText is what a store's error might say, and no answer may.
const hostileText = "dial tcp 10.0.0.3:6379: SELECT value FROM records /var/lib/lettergate.db *net.OpError goroutine 1"

// outages is a store that is away for requests when the test says so.
func outages(down *atomic.Bool) func(storage.Store) storage.Store {
	return func(db storage.Store) storage.Store {
		return requestsOnly{db, storetest.Faulty(db, func(storetest.Op) error {
			if down.Load() {
				return fmt.Errorf("%w: %s", storage.ErrUnavailable, hostileText)
			}
			return nil
		})}
	}
}

// isOutage fails the test unless the answer is a 503 that says nothing but that.
func (a answer) isOutage(t *testing.T, what string) {
	t.Helper()
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || a.header.Get("Location") != "" {
		t.Errorf("%s: %d to %q, Retry-After %q: %.300s", what, a.status, a.header.Get("Location"), a.header.Get("Retry-After"), a.body)
		return
	}
	if strings.HasPrefix(a.header.Get("Content-Type"), "application/json") && a.json(t)["error"] != "temporarily_unavailable" {
		t.Errorf("%s: %s", what, a.body)
	}
	a.leaksNothing(t, what)
}

// leaksNothing fails the test when an answer shows something of the inside.
func (a answer) leaksNothing(t *testing.T, what string) {
	t.Helper()
	for _, inside := range []string{"10.0.0.3", "SELECT", "/var/lib", "net.OpError", "goroutine", ".go:", "storage:", "fosite", "sqlite", "*errors", "panic", "0xc000"} {
		if strings.Contains(a.body, inside) || strings.Contains(fmt.Sprint(a.header), inside) {
			t.Errorf("%s tells %q: %d %v %.300s", what, inside, a.status, a.header, a.body)
		}
	}
}

func TestAS71_AS76_Outage(t *testing.T) {
	var down atomic.Bool
	s := start(t, options{direct: true, store: outages(&down)})
	b := s.browser()
	tokens := s.backendTokens(b, "ann@example.com")
	access, refresh := tokens["access_token"].(string), tokens["refresh_token"].(string)
	down.Store(true)
	for range 2 {
		s.introspect(access).isOutage(t, "introspect")
		s.userinfo(access).isOutage(t, "userinfo")
		for _, token := range []string{access, refresh} {
			s.postAs(secretID, backendSecret, "/oauth2/revoke", "token", token).isOutage(t, "revoke")
		}
		s.postAs(secretID, backendSecret, "/oauth2/token", "grant_type", "refresh_token", "refresh_token", refresh).isOutage(t, "refresh")
		s.post("/oauth2/verification", "client_id", nativeID, "email", "ann@example.com").isOutage(t, "verification")
		b.send(s.request("GET", authorizePath(webID, "prompt", "none"), "")).isOutage(t, "authorize")
		b.send(s.request("GET", "/oauth2/logout", "")).isOutage(t, "logout")
	}
	// What needs no store works on.
	if a := s.postAs(secretID, backendSecret, "/oauth2/token", "grant_type", "client_credentials"); a.status != http.StatusOK {
		t.Errorf("client_credentials: %d %s", a.status, a.body)
	}
	if a := s.get("/oauth2/jwks"); a.status != http.StatusOK {
		t.Errorf("keys: %d", a.status)
	}
	if a := s.get(authorizePath(webID)); a.status != http.StatusOK {
		t.Errorf("the sign-in page: %d", a.status)
	}
	if a := s.introspect("garbage"); a.body != inactive {
		t.Errorf("garbage: %d %s", a.status, a.body)
	}
	verify, err := s.provider.Verifier(api)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify.Verify(context.WithValue(t.Context(), fromRequest{}, true), access); err != nil {
		t.Errorf("the middleware: %v", err)
	}
	down.Store(false)
	if a := s.introspect(access); a.json(t)["active"] != true {
		t.Errorf("afterwards: %s", a.body)
	}
	if a := s.postAs(secretID, backendSecret, "/oauth2/revoke", "token", access); a.status != http.StatusOK {
		t.Errorf("revoked afterwards: %d", a.status)
	}
	if a := s.introspect(access); a.body != inactive {
		t.Errorf("after revocation: %s", a.body)
	}
}

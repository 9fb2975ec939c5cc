package provider_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
)

// freshCode gets a code for the public client in a browser of its own.
func (s *server) freshCode(pairs ...string) string {
	s.t.Helper()
	return s.browser().signIn(authorizePath(webID, pairs...), "ann@example.com").arrives(s.t, callback).Get("code")
}

// nextCode gets one more code in a browser that is signed in.
func (b *browser) nextCode(pairs ...string) string {
	b.s.t.Helper()
	return b.get(authorizePath(webID, pairs...)).arrives(b.s.t, callback).Get("code")
}

func exchangeForm(code string) []string {
	return []string{"grant_type", "authorization_code", "client_id", webID, "code", code, "redirect_uri", callback, "code_verifier", verifier}
}

func TestAS09_VerifierChecked(t *testing.T) {
	s := start(t, options{})
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	long := strings.Repeat("a", 129)
	for name, v := range map[string]string{
		"wrong": strings.Repeat("a", 43), "42 characters": verifier[:42], "129 characters": long, "plus": verifier[:42] + "+", "space": verifier[:42] + " ",
		"padded": verifier + "=", "the challenge itself": challenge(verifier), "other case": strings.ToLower(verifier), "5 KiB": strings.Repeat(verifier, 120),
	} {
		code := b.nextCode()
		s.post("/oauth2/token", append(without("code_verifier", exchangeForm(code)), "code_verifier", v)...).is(t, http.StatusBadRequest, "invalid_grant")
		// A wrong verifier has ended the grant (AS-11).
		a := s.exchange(code)
		if a.status != http.StatusBadRequest {
			t.Errorf("%s: then the right one gets %d", name, a.status)
		}
	}
	for _, v := range []string{"%00" + verifier[1:], verifier + "%00"} {
		code := b.nextCode()
		body := values(without("code_verifier", exchangeForm(code))...).Encode() + "&code_verifier=" + v
		s.send(s.request("POST", "/oauth2/token", body)).is(t, http.StatusBadRequest, "invalid_request")
	}
	// What is outside the grammar is wrong even if its hash is right.
	for _, v := range []string{long, verifier[:42], strings.Repeat("é", 43)} {
		s.post("/oauth2/token", append(without("code_verifier", exchangeForm(b.nextCode("code_challenge", challenge(v)))), "code_verifier", v)...).is(t, http.StatusBadRequest, "invalid_grant")
	}
}

func TestAS10_PKCEDowngrade(t *testing.T) {
	s := start(t, options{})
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	redeem := func(code string, more ...string) answer {
		return s.postAs(secretID, backendSecret, "/oauth2/token", append([]string{"grant_type", "authorization_code", "code", code, "redirect_uri", callback}, more...)...)
	}
	plain := func() string {
		return b.get(authorizePath(secretID, "code_challenge", "", "code_challenge_method", "")).arrives(t, callback).Get("code")
	}
	redeem(plain(), "code_verifier", verifier).is(t, http.StatusBadRequest, "invalid_grant")
	if a := redeem(plain()); a.status != http.StatusOK {
		t.Errorf("without challenge and verifier: %d %s", a.status, a.body)
	}
	with := b.get(authorizePath(secretID)).arrives(t, callback).Get("code")
	redeem(with).is(t, http.StatusBadRequest, "invalid_grant")
}

func TestAS11_PKCEStrip(t *testing.T) {
	s := start(t, options{})
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	for name, first := range map[string]string{"wrong": strings.Repeat("a", 43), "malformed": "x", "empty": ""} {
		for _, second := range []string{"none", "empty", "right"} {
			code := b.nextCode()
			form := without("code_verifier", exchangeForm(code))
			s.post("/oauth2/token", append(form, "code_verifier", first)...).is(t, http.StatusBadRequest, "invalid_grant")
			then := map[string][]string{"none": form, "empty": append(form, "code_verifier", ""), "right": exchangeForm(code)}[second]
			a := s.post("/oauth2/token", then...)
			if a.status != http.StatusBadRequest || a.json(t)["error"] != "invalid_grant" {
				t.Errorf("%s verifier, then %s: %d %s", name, second, a.status, a.body)
			}
		}
	}
}

func TestAS12_CodeReplay(t *testing.T) {
	s := start(t, options{})
	code := s.freshCode()
	tokens := s.exchange(code).json(t)
	second := s.refresh(tokens["refresh_token"].(string)).json(t)
	s.exchange(code).is(t, http.StatusBadRequest, "invalid_grant")
	for _, token := range []any{tokens["access_token"], second["access_token"]} {
		if a := s.userinfo(token.(string)); a.status != http.StatusUnauthorized {
			t.Errorf("an access token after the replay: %d", a.status)
		}
	}
	s.refresh(second["refresh_token"].(string)).is(t, http.StatusBadRequest, "invalid_grant")
	s.exchange(code).is(t, http.StatusBadRequest, "invalid_grant")

	// With the wrong verifier it is a replay as well; with a wrong secret half it is no code.
	code = s.freshCode()
	tokens = s.exchange(code).json(t)
	for _, c := range []string{code[:32] + altered(code[32:]), strings.ToUpper(code), code + "=", code + "A", code[:22]} {
		s.exchange(c).is(t, http.StatusBadRequest, "invalid_grant")
	}
	if a := s.userinfo(tokens["access_token"].(string)); a.status != http.StatusOK {
		t.Errorf("a forged code ended the grant: %d", a.status)
	}
}

func TestAS14_CodeBoundToClient(t *testing.T) {
	s := start(t, options{})
	code := s.freshCode()
	stolen := without("client_id", exchangeForm(code))
	for range 2 {
		s.post("/oauth2/token", append(stolen, "client_id", thirdID)...).is(t, http.StatusBadRequest, "invalid_grant")
		s.postAs(secretID, backendSecret, "/oauth2/token", stolen...).is(t, http.StatusBadRequest, "invalid_grant")
	}
	got := s.exchange(code)
	if got.status != http.StatusOK {
		t.Fatalf("the right client: %d %s", got.status, got.body)
	}
	// Nor can another client replay it: that would be a way to sign people out.
	s.post("/oauth2/token", append(stolen, "client_id", thirdID)...).is(t, http.StatusBadRequest, "invalid_grant")
	if a := s.userinfo(got.json(t)["access_token"].(string)); a.status != http.StatusOK {
		t.Errorf("another client's replay ended the grant: %d", a.status)
	}
}

func TestAS15_CodeBoundToRedirectURI(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) {
		c.Clients[0].RedirectURIs = append(c.Clients[0].RedirectURIs, "https://app.example/other")
	}})
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	for _, uri := range []string{"", "https://app.example/other", callback + "/", callback + "?", "HTTPS://app.example/callback", "http://127.0.0.1/cb", "https://evil.example/"} {
		form := append(without("redirect_uri", exchangeForm(b.nextCode())), "redirect_uri", uri)
		s.post("/oauth2/token", form...).is(t, http.StatusBadRequest, "invalid_grant")
	}
	// The port of a loopback URI is free at the authorization endpoint, fixed here.
	code := b.get(authorizePath(webID, "redirect_uri", "http://127.0.0.1:4000/cb")).arrives(t, "http://127.0.0.1:4000/cb").Get("code")
	s.post("/oauth2/token", append(without("redirect_uri", exchangeForm(code)), "redirect_uri", "http://127.0.0.1:4001/cb")...).is(t, http.StatusBadRequest, "invalid_grant")
}

func TestAS16_CodeLife(t *testing.T) {
	clk := newClock()
	s := start(t, options{now: clk.now})
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	code := b.nextCode()
	clk.advance(time.Minute - time.Millisecond)
	if a := s.exchange(code); a.status != http.StatusOK {
		t.Errorf("just before its end: %d %s", a.status, a.body)
	}
	code = b.nextCode()
	clk.advance(time.Minute)
	s.exchange(code).is(t, http.StatusBadRequest, "invalid_grant")
	code = b.nextCode()
	clk.advance(time.Hour)
	s.exchange(code).is(t, http.StatusBadRequest, "invalid_grant")

	// The record of a decision outlives its code: there the code alone is judged.
	for _, c := range []struct {
		age    time.Duration
		status int
	}{{time.Minute - time.Millisecond, http.StatusOK}, {time.Minute, http.StatusBadRequest}, {30 * time.Minute, http.StatusBadRequest}} {
		code := b.allows().arrives(t, callback).Get("code")
		clk.advance(c.age)
		if a := s.thirdExchange(code); a.status != c.status {
			t.Errorf("a consented code after %s: %d %s", c.age, a.status, a.body)
		}
	}
}

func TestAS06_AS50_UnknownGrants(t *testing.T) {
	s := start(t, options{})
	for _, grant := range []string{"password", "urn:x", "authorization_code refresh_token", "refresh_token client_credentials", "implicit", "Authorization_Code", "authorization_code,", " authorization_code"} {
		s.post("/oauth2/token", "grant_type", grant, "client_id", webID, "username", "ann@example.com", "password", "x").is(t, http.StatusBadRequest, "unsupported_grant_type")
	}
	s.post("/oauth2/token", "client_id", webID).is(t, http.StatusBadRequest, "invalid_request")
	s.post("/oauth2/token", "client_id", webID, "grant_type", "").is(t, http.StatusBadRequest, "invalid_request")
}

func TestAS51_GrantNotAllowed(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) {
		withoutRefresh(&c.Clients[1])
	}})
	for _, ask := range [][]string{
		{"client_id", thirdID, "grant_type", "refresh_token", "refresh_token", "x"},
		{"client_id", nativeID, "grant_type", "authorization_code", "code", "x", "redirect_uri", callback},
		{"client_id", webID, "grant_type", config.GrantEmailCaptcha, "verification_id", "x", "verification_code", "123456"},
		{"client_id", webID, "grant_type", "client_credentials"},
		{"client_id", nosignupID, "grant_type", "refresh_token", "refresh_token", "x"},
	} {
		s.post("/oauth2/token", ask...).is(t, http.StatusBadRequest, "unauthorized_client")
	}
	s.post("/oauth2/verification", "client_id", webID, "email", "ann@example.com").is(t, http.StatusBadRequest, "unauthorized_client")
	// Without the refresh grant no refresh token.
	page := s.browser()
	consent := page.signIn(authorizePath(thirdID, "scope", "openid email"), "ann@example.com")
	code := page.submit(consent, "allow", "decision", "allow").arrives(t, callback).Get("code")
	got := s.post("/oauth2/token", append(without("client_id", exchangeForm(code)), "client_id", thirdID)...).json(t)
	if got["access_token"] == nil || got["refresh_token"] != nil {
		t.Errorf("a client without the refresh grant gets %v", got)
	}
	// Nor an authorization request for a client without the code grant.
	s.get(authorizePath(nativeID)).isPage(t, http.StatusBadRequest)
}

func TestAS52_NoStore(t *testing.T) {
	s := start(t, options{})
	tokens := s.tokens("ann@example.com")
	access, refresh := tokens["access_token"].(string), tokens["refresh_token"].(string)
	for name, a := range map[string]answer{
		"token 200":        s.refresh(refresh),
		"token 400":        s.refresh("x"),
		"token 401":        s.post("/oauth2/token", "client_id", "nobody"),
		"token 405":        s.get("/oauth2/token"),
		"userinfo 200":     s.userinfo(access),
		"userinfo 401":     s.userinfo("x"),
		"introspect 200":   s.introspect(access),
		"introspect 401":   s.post("/oauth2/introspect", "token", access),
		"verification 200": s.post("/oauth2/verification", "client_id", nativeID, "email", "ann@example.com"),
		"verification 400": s.post("/oauth2/verification", "client_id", nativeID),
		"revoke 200":       s.post("/oauth2/revoke", "client_id", webID, "token", "x"),
		"revoke 400":       s.post("/oauth2/revoke", "client_id", webID),
		"too large":        s.post("/oauth2/token", "client_id", strings.Repeat("x", 70<<10)),
	} {
		if a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s (%d): Cache-Control %q", name, a.status, a.header.Get("Cache-Control"))
		}
	}
}

func TestAS63_ClientIsNobody(t *testing.T) {
	first := start(t, options{direct: true})
	first.tokens("ann@example.com")
	subject := first.account("ann@example.com").Subject
	s := first.restarted(func(c *config.Config) {
		twin := c.Clients[2]
		twin.ID, twin.TokenEndpointAuthMethod = subject, config.AuthMethodPost
		c.Clients = append(c.Clients, twin)
	})
	a := s.post("/oauth2/token", "grant_type", "client_credentials", "client_id", subject, "client_secret", backendSecret, "scope", "email notes:read")
	tokens := a.json(t)
	if tokens["id_token"] != nil || tokens["refresh_token"] != nil {
		t.Errorf("a client of its own has %v", tokens)
	}
	access := tokens["access_token"].(string)
	if sub := claimsOf(t, access)["sub"]; sub != "client:"+subject {
		t.Errorf("sub %v", sub)
	}
	if a := s.userinfo(access); a.status != http.StatusUnauthorized {
		t.Errorf("userinfo of a client: %d %s", a.status, a.body)
	}
	for _, scope := range []string{"openid", "offline_access", "notes:read openid"} {
		s.postAs(secretID, backendSecret, "/oauth2/token", "grant_type", "client_credentials", "scope", scope).is(t, http.StatusBadRequest, "invalid_scope")
	}
}

func TestAS64_Resources(t *testing.T) {
	const second = "https://second.example"
	s := start(t, options{config: func(c *config.Config) { c.Clients[0].Audiences = []string{api, second} }})
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	for _, resource := range []string{"https://unknown.example", "/relative", "api", api + "#x", api + "/", "HTTPS://api.example", webID} {
		b.send(s.request("GET", authorizePath(webID, "resource", resource), "")).redirectsError(t, "invalid_target")
		s.postAs(secretID, backendSecret, "/oauth2/token", "grant_type", "client_credentials", "resource", resource).is(t, http.StatusBadRequest, "invalid_target")
	}
	b.send(s.request("GET", authorizePath(webID, "resource", api)+"&resource=x", "")).redirectsError(t, "invalid_target")
	audience := func(a answer) any {
		t.Helper()
		if a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		return claimsOf(t, a.json(t)["access_token"])["aud"]
	}
	both := func(aud any) bool {
		list, _ := aud.([]any)
		return slices.Equal(list, []any{api, second})
	}
	if aud := audience(s.exchange(b.nextCode())); !both(aud) {
		t.Errorf("without a resource for %v", aud)
	}
	two := b.get(authorizePath(webID)+"&resource="+api+"&resource="+second).arrives(t, callback).Get("code")
	got := s.exchange(two)
	if aud := audience(got); !both(aud) {
		t.Errorf("of two resources for %v", aud)
	}
	// Narrowed at the token endpoint, for this token only.
	rt := got.json(t)["refresh_token"].(string)
	narrow := s.refresh(rt, "resource", second)
	if aud := audience(narrow); aud != second {
		t.Errorf("narrowed to %v", aud)
	}
	if aud := audience(s.refresh(narrow.json(t)["refresh_token"].(string))); !both(aud) {
		t.Errorf("afterwards for %v", aud)
	}
	one := b.nextCode("resource", api)
	s.exchange(one, "resource", second).is(t, http.StatusBadRequest, "invalid_target")
	got = s.exchange(one, "resource", api) // asking for the wrong one has not spent the code
	if aud := audience(got); aud != api {
		t.Errorf("of one resource for %v", aud)
	}
	s.refresh(got.json(t)["refresh_token"].(string), "resource", second).is(t, http.StatusBadRequest, "invalid_target")
	if aud := audience(s.postAs(secretID, backendSecret, "/oauth2/token", "grant_type", "client_credentials", "resource", api)); aud != api {
		t.Errorf("client credentials for %v", aud)
	}
}

// restarted is the same issuer on the same store with another configuration.
func (s *server) restarted(change func(*config.Config)) *server {
	s.t.Helper()
	return start(s.t, options{direct: true, config: change, store: sharing(s.store)})
}

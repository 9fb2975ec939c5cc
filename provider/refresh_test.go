package provider_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/users"
)

// dead fails the test unless neither token of the answer works.
func (s *server) dead(tokens map[string]any) {
	s.t.Helper()
	if a := s.userinfo(tokens["access_token"].(string)); a.status != http.StatusUnauthorized {
		s.t.Errorf("the access token works: %d", a.status)
	}
	s.refresh(tokens["refresh_token"].(string)).is(s.t, http.StatusBadRequest, "invalid_grant")
}

// alive fails the test unless the access token works.
func (s *server) alive(tokens map[string]any) {
	s.t.Helper()
	if a := s.userinfo(tokens["access_token"].(string)); a.status != http.StatusOK {
		s.t.Errorf("the access token does not work: %d %s", a.status, a.body)
	}
}

// rotated uses a refresh token, which has to work.
func (s *server) rotated(tokens map[string]any) map[string]any {
	s.t.Helper()
	a := s.refresh(tokens["refresh_token"].(string))
	if a.status != http.StatusOK {
		s.t.Fatalf("refresh: %d %s", a.status, a.body)
	}
	return a.json(s.t)
}

func TestAS53_RotationAndReuse(t *testing.T) {
	clk := newClock()
	s := start(t, options{now: clk.now})
	first := s.tokens("ann@example.com")
	second := s.rotated(first)
	clk.advance(time.Minute - time.Millisecond)
	third := s.rotated(second)
	// Inside its grace the first gets what is current by now, and extends nothing.
	if again := s.rotated(first); again["refresh_token"] != third["refresh_token"] || again["access_token"] == third["access_token"] {
		t.Errorf("in the grace: %v, want the refresh token %v and a fresh access token", again, third["refresh_token"])
	}
	s.alive(third)
	clk.advance(time.Millisecond)
	s.refresh(first["refresh_token"].(string)).is(t, http.StatusBadRequest, "invalid_grant")
	for _, tokens := range []map[string]any{first, second, third} {
		s.dead(tokens)
	}
}

func TestAS53_ReuseOfAnOlderGeneration(t *testing.T) {
	clk := newClock()
	s := start(t, options{now: clk.now})
	family := []map[string]any{s.tokens("ann@example.com")}
	for range 5 {
		clk.advance(time.Hour)
		family = append(family, s.rotated(family[len(family)-1]))
	}
	s.alive(family[5])
	s.refresh(family[2]["refresh_token"].(string)).is(t, http.StatusBadRequest, "invalid_grant")
	s.dead(family[5])
}

func TestAS57_SameSecondReplay(t *testing.T) {
	clk := newClock() // stands still
	s := start(t, options{now: clk.now, config: func(c *config.Config) { c.Tokens.RefreshGrace = config.Off }})
	first := s.tokens("ann@example.com")
	second := s.rotated(first)
	s.refresh(first["refresh_token"].(string)).is(t, http.StatusBadRequest, "invalid_grant")
	s.dead(second)
}

func TestAS56_ReplayAfterRestart(t *testing.T) {
	clk := newClock()
	s := start(t, options{direct: true, now: clk.now})
	first := s.tokens("ann@example.com")
	second := s.rotated(first)
	clk.advance(2 * time.Minute)
	// Nothing is left of the first process but what it has stored.
	again := start(t, options{direct: true, now: clk.now, store: sharing(openStorage(t, s.at, clk.now))})
	again.refresh(first["refresh_token"].(string)).is(t, http.StatusBadRequest, "invalid_grant")
	again.dead(second)
	s.dead(second) // and for the replica that was there before
}

func TestAS58_ScopeAtRefresh(t *testing.T) {
	s := start(t, options{})
	tokens := s.tokens("ann@example.com")
	for scope, code := range map[string]string{
		"openid email notes:read": "invalid_scope", "profile": "invalid_scope", "no:such": "invalid_scope", "openid  email": "invalid_scope", `"`: "invalid_scope",
	} {
		s.refresh(tokens["refresh_token"].(string), "scope", scope).is(t, http.StatusBadRequest, code)
	}
	got := s.refresh(tokens["refresh_token"].(string), "scope", "email") // refused before, it was not rotated
	narrow := got.json(t)
	if got.status != http.StatusOK || narrow["scope"] != "email" || narrow["id_token"] != nil || claimsOf(t, narrow["access_token"])["scope"] != "email" {
		t.Errorf("narrowed: %d %s", got.status, got.body)
	}
	full := s.rotated(narrow)
	if full["scope"] != "openid email offline_access" || full["id_token"] == nil {
		t.Errorf("afterwards: %v", full)
	}
}

func TestAS59_AccountCheckedAtRefresh(t *testing.T) {
	for name, end := range map[string]func(*server){
		"disabled": func(s *server) { s.change("ann@example.com", func(u *users.User) { u.Disabled = true }) },
		"deleted": func(s *server) {
			if err := s.directory().Delete(s.t.Context(), s.account("ann@example.com").Subject); err != nil {
				s.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, options{})
			b := s.browser()
			b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
			code := b.nextCode()
			tokens := s.exchange(b.nextCode()).json(t)
			rotated := s.rotated(tokens)
			end(s)
			if a := s.userinfo(tokens["access_token"].(string)); a.status != http.StatusUnauthorized {
				t.Errorf("userinfo: %d", a.status)
			}
			s.exchange(code).is(t, http.StatusBadRequest, "invalid_grant")
			s.refresh(rotated["refresh_token"].(string)).is(t, http.StatusBadRequest, "invalid_grant")
			s.refresh(tokens["refresh_token"].(string)).is(t, http.StatusBadRequest, "invalid_grant") // in its grace
			b.send(s.request("GET", authorizePath(webID, "prompt", "none"), "")).redirectsError(t, "login_required")
			if name == "disabled" { // enabled again, what was revoked stays revoked
				s.change("ann@example.com", func(u *users.User) { u.Disabled = false })
				s.dead(rotated)
			}
		})
	}
}

func TestAS59_ClientCheckedAtRefresh(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*config.Config)
		status int
		code   string
	}{
		"client withdrawn":   {func(c *config.Config) { c.Clients = c.Clients[1:] }, http.StatusUnauthorized, "invalid_client"},
		"grant withdrawn":    {func(c *config.Config) { withoutRefresh(&c.Clients[0]) }, http.StatusBadRequest, "unauthorized_client"},
		"scope withdrawn":    {func(c *config.Config) { c.Clients[0].Scopes = []string{"openid", "offline_access"} }, http.StatusBadRequest, "invalid_grant"},
		"audience withdrawn": {func(c *config.Config) { c.Clients[0].Audiences = []string{"https://other.example"} }, http.StatusBadRequest, "invalid_grant"},
	} {
		t.Run(name, func(t *testing.T) {
			first := start(t, options{direct: true})
			tokens := first.tokens("ann@example.com")
			s := first.restarted(c.change)
			s.refresh(tokens["refresh_token"].(string)).is(t, c.status, c.code)
			if name == "client withdrawn" {
				if a := s.userinfo(tokens["access_token"].(string)); a.status != http.StatusUnauthorized {
					t.Errorf("userinfo with a token of a client that is gone: %d", a.status)
				}
			}
			first.alive(first.rotated(tokens)) // nothing was decided about the grant
		})
	}
}

func TestAS60_AbsoluteLife(t *testing.T) {
	clk := newClock()
	s := start(t, options{now: clk.now})
	tokens := s.tokens("ann@example.com")
	begun := clk.now()
	for clk.now().Add(29 * 24 * time.Hour).Before(begun.Add(90 * 24 * time.Hour)) {
		clk.advance(29 * 24 * time.Hour)
		tokens = s.rotated(tokens)
	}
	clk.advance(begun.Add(90 * 24 * time.Hour).Add(-time.Millisecond).Sub(clk.now()))
	tokens = s.rotated(tokens)
	clk.advance(time.Millisecond)
	s.refresh(tokens["refresh_token"].(string)).is(t, http.StatusBadRequest, "invalid_grant")

	// And the idle life.
	tokens = s.tokens("ann@example.com")
	clk.advance(30*24*time.Hour - time.Millisecond)
	tokens = s.rotated(tokens)
	clk.advance(30 * 24 * time.Hour)
	s.refresh(tokens["refresh_token"].(string)).is(t, http.StatusBadRequest, "invalid_grant")
}

func TestAS61_OtherClientCannotEndTheFamily(t *testing.T) {
	clk := newClock()
	s := start(t, options{now: clk.now})
	first := s.tokens("ann@example.com")
	second := s.rotated(first)
	clk.advance(time.Hour)
	second = s.rotated(second)
	for _, tokens := range []map[string]any{first, second} {
		for range 2 {
			form := []string{"grant_type", "refresh_token", "refresh_token", tokens["refresh_token"].(string)}
			s.postAs(secretID, backendSecret, "/oauth2/token", form...).is(t, http.StatusBadRequest, "invalid_grant")
			s.post("/oauth2/token", append(form, "client_id", thirdID)...).is(t, http.StatusBadRequest, "invalid_grant")
		}
	}
	s.alive(second)
	s.rotated(second)
}

func TestAS62_TypeConfusion(t *testing.T) {
	s := start(t, options{})
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	tokens := s.exchange(b.nextCode()).json(t)
	started := s.post("/oauth2/verification", "client_id", nativeID, "email", "ann@example.com").json(t)
	things := map[string]string{
		"code": b.nextCode(), "access token": tokens["access_token"].(string), "refresh token": tokens["refresh_token"].(string),
		"ID token": tokens["id_token"].(string), "verification": started["verification_id"].(string),
	}
	for _, value := range b.cookies() {
		things["cookie "+value[:4]] = value
	}
	for name, thing := range things {
		if name != "access token" {
			if a := s.userinfo(thing); a.status != http.StatusUnauthorized {
				t.Errorf("%s as access token: %d", name, a.status)
			}
			if a := s.introspect(thing); a.body != `{"active":false}` {
				t.Errorf("%s introspected: %s", name, a.body)
			}
		}
		if name != "refresh token" {
			s.refresh(thing).is(t, http.StatusBadRequest, "invalid_grant")
		}
		if name != "code" {
			s.exchange(thing).is(t, http.StatusBadRequest, "invalid_grant")
		}
		if name != "ID token" {
			b.send(s.request("GET", authorizePath(webID, "id_token_hint", thing), "")).redirectsError(t, "invalid_request")
			b.send(s.request("GET", "/oauth2/logout?id_token_hint="+thing, "")).isPage(t, http.StatusBadRequest)
		}
		if name != "verification" {
			s.post("/oauth2/token", "grant_type", config.GrantEmailCaptcha, "client_id", nativeID,
				"verification_id", thing, "verification_code", "123456").is(t, http.StatusBadRequest, "invalid_grant")
		}
		if verify, err := s.provider.Verifier(webID, api, s.provider.Issuer()); err != nil {
			t.Fatal(err)
		} else if _, err := verify.Verify(t.Context(), thing); (err == nil) != (name == "access token") {
			t.Errorf("%s in the middleware: %v", name, err)
		}
		if name != "access token" && name != "refresh token" {
			if a := s.revoke(thing); a.status != http.StatusOK {
				t.Errorf("revoking a %s: %d %s", name, a.status, a.body)
			}
		}
	}
	s.alive(s.rotated(tokens))
	if a := s.exchange(things["code"]); a.status != http.StatusOK {
		t.Errorf("the code was spent by being shown: %d %s", a.status, a.body)
	}
}

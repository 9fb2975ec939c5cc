package provider_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/users"
)

// TestOP07_OldMailbox has codes sent to an address, and then gives the account another
// one: no code of before leads to the account, at any door.
func TestOP07_OldMailbox(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) { c.Clients[0].SignUp = false }})
	a := s.app(envID)
	subject := a.signedUp("ann@example.com", "ann", "password123")["sub"]

	b := s.browser()
	page := b.submit(b.get(authorizePath(webID)), "email", "email", "ann@example.com")
	pageCode := s.code("ann@example.com")
	members := s.begin("ann@example.com", "client_id", nosignupID)
	anybody := s.begin("ann@example.com", "scope", "openid")
	reader := s.app(envID) // whoever reads the old mailbox
	proof, own := reader.prove("ann@example.com"), a.prove("ann@example.com")
	a.verify(a.verification("new@example.com"), s.code("new@example.com"))
	a.ok(req{path: "user/basic/edit", body: fields{"email": "new@example.com"}, bearer: true})
	s.waitMail("ann@example.com") // the notice

	b.submit(page, "code", "code", pageCode).isPage(t, http.StatusBadRequest)
	s.redeem(members, "client_id", nosignupID).is(t, http.StatusBadRequest, "invalid_grant")
	for _, token := range []string{own, proof} {
		a.fails(req{path: "user/sudo", body: fields{"verification_token": token}, bearer: true}, "invalid_argument", 3)
	}
	reader.fails(req{path: "reset", body: fields{"new_password": "password456", "verification_token": proof}}, "invalid_password", 4100)
	reader.fails(req{path: "signin", body: fields{"verification_token": proof}}, "invalid_password", 4100)
	// Where everybody may sign up, the mailbox is that of somebody new.
	other := s.redeem(anybody).json(t)
	if sub := claimsOf(t, other["id_token"])["sub"]; sub == subject || sub == nil {
		t.Errorf("a code to the old address signs in as %v", sub)
	}
	if u := s.account("new@example.com"); u.Subject != subject || u.Disabled {
		t.Errorf("the account is now %+v", u)
	}
	if got := a.signInWith("new@example.com", "password123"); got.status != http.StatusOK {
		t.Errorf("the owner: %d %s", got.status, got.body)
	}
}

// TestOP07_EmailVerified asks userinfo about an address that nobody has proven, that is
// to be another one, and that is another one.
func TestOP07_EmailVerified(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	a.signedUp("ann@example.com", "ann", "password123")
	says := func(email string, verified bool) {
		t.Helper()
		info := s.userinfo(a.token).json(t)
		me := a.me()
		if info["email"] != email || info["email_verified"] != verified || me["email"] != email || me["email_verified"] != verified {
			t.Errorf("userinfo says %v %v, the app's profile %v %v; want %s %t", info["email"], info["email_verified"], me["email"], me["email_verified"], email, verified)
		}
	}
	says("ann@example.com", true)
	s.change("ann@example.com", func(u *users.User) { u.EmailVerified = false })
	says("ann@example.com", false)
	s.change("ann@example.com", func(u *users.User) { u.EmailVerified = true })
	for _, unproven := range []func(){
		func() {},
		func() { a.verification("new@example.com"); s.code("new@example.com") },
		func() { s.app(envID).prove("new@example.com") },
	} {
		unproven()
		for _, r := range []req{
			{path: "user/basic/edit", body: fields{"email": "new@example.com"}},
			{method: "PATCH", path: "user/profile", body: fields{"email": "new@example.com", "email_verified": true}},
			{method: "PATCH", path: "user/contact", body: fields{"email": "new@example.com", "sudo_token": a.sudo("password123")}},
		} {
			r.bearer = true
			a.do(r)
			says("ann@example.com", true)
		}
	}
	a.verify(a.verification("new@example.com"), s.code("new@example.com"))
	a.ok(req{path: "user/basic/edit", body: fields{"email": "new@example.com"}, bearer: true})
	says("new@example.com", true)
}

// TestAS82_EditsOfAProfile sends the names of reserved claims wherever an app may say
// something about its person, and compares what tokens, userinfo and introspection say.
func TestAS82_EditsOfAProfile(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) { c.Clients[5].Audiences = []string{api, secretID} }})
	a := s.app(envID)
	tokens := a.signedUp("ann@example.com", "ann", "password123")
	said := func() string {
		t.Helper()
		tokens = a.took(a.ok(req{path: "token", body: fields{"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}}))
		what := map[string]any{"userinfo": s.userinfo(a.token).json(t), "introspection": s.introspect(a.token).json(t), "access token": claimsOf(t, a.token)}
		for _, claims := range what {
			for _, name := range []string{"exp", "iat", "jti", "updated_at"} {
				delete(claims.(map[string]any), name)
			}
		}
		raw, err := json.Marshal(what)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	before := said()
	if !strings.Contains(before, `"active":true`) {
		t.Fatalf("introspection says nothing: %s", before)
	}
	reserved := fields{
		"iss": "https://evil.example", "sub": "evil", "aud": "evil", "exp": 9999999999, "iat": 0, "jti": "evil", "client_id": "evil", "scope": "openid evil", "active": false,
		"email_verified": false, "cnf": fields{"jkt": "x"}, "act": fields{"sub": "evil"}, "acr": "evil", "amr": []string{"mfa"}, "auth_time": 1, "azp": "evil", "gid": "evil", "sid": "evil",
	}
	nested := fields{"user_metadata": reserved, "app_metadata": reserved, "claims": reserved, "internal_user_type": "admin"}
	for _, body := range []fields{reserved, nested} {
		for _, r := range []req{
			{method: "PATCH", path: "user/profile"}, {method: "PATCH", path: "user/me"}, {path: "user/basic/edit"},
		} {
			r.body, r.bearer = body, true
			a.do(r)
		}
	}
	if after := said(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
	// What may be said is a claim of its own name, whatever it says.
	const evil = `x","sub":"evil","a":"`
	a.ok(req{method: "PATCH", path: "user/profile", body: fields{"name": evil, "nickname": evil, "description": evil}, bearer: true})
	if info := s.userinfo(a.token).json(t); info["name"] != evil || info["sub"] != tokens["sub"] || info["a"] != nil {
		t.Errorf("userinfo says %v", info)
	}
}

func TestAS82_Introspection(t *testing.T) {
	s := start(t, options{})
	own := s.postAs(secretID, backendSecret, "/oauth2/token", "grant_type", "client_credentials", "scope", "notes:read").json(t)["access_token"].(string)
	s.tokens("ann@example.com")
	s.change("ann@example.com", func(u *users.User) {
		u.Name, u.Username, u.Locale = `","active":false,"x":"`, "client:backend", `","sub":"evil`
	})
	person := s.backendTokens(s.browser(), "ann@example.com")["access_token"].(string)
	for token, sub := range map[string]string{own: "client:" + secretID, person: s.account("ann@example.com").Subject} {
		info := s.introspect(token).json(t)
		if info["active"] != true || info["sub"] != sub || info["iss"] != s.provider.Issuer() || info["token_type"] != "Bearer" || info["client_id"] != secretID || info["x"] != nil || info["username"] != nil {
			t.Errorf("introspection says %v", info)
		}
	}
}

func TestOP08_ExpiredToken(t *testing.T) {
	clk := newClock()
	s := start(t, options{now: clk.now})
	access := s.tokens("ann@example.com")["access_token"].(string)
	clk.advance(10*time.Minute - time.Millisecond)
	if a := s.userinfo(access); a.status != http.StatusOK {
		t.Fatalf("just before its end: %d", a.status)
	}
	clk.advance(time.Second)
	for range 2 {
		a := s.userinfo(access)
		if challenge := a.header.Get("WWW-Authenticate"); a.status != http.StatusUnauthorized || !strings.HasPrefix(challenge, `Bearer error="invalid_token"`) {
			t.Errorf("%d, %q", a.status, challenge)
		}
		a.is(t, http.StatusUnauthorized, "invalid_token")
		clk.advance(24 * time.Hour)
	}
}

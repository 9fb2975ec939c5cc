package provider_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/users"
)

// A started verification is one of the emailed code's grant.
type started struct{ id, code string }

// begin starts a verification for the native client and reads the mail.
func (s *server) begin(address string, pairs ...string) started {
	s.t.Helper()
	form := []string{"client_id", nativeID, "email", address}
	for i := 0; i < len(pairs); i += 2 {
		form = append(without(pairs[i], form), pairs[i], pairs[i+1])
	}
	a := s.post("/oauth2/verification", form...)
	if a.status != http.StatusOK {
		s.t.Fatalf("start a verification: %d %s", a.status, a.body)
	}
	return started{a.json(s.t)["verification_id"].(string), s.code(address)}
}

// redeem presents a code as the native client, unless pairs say otherwise.
func (s *server) redeem(v started, pairs ...string) answer {
	s.t.Helper()
	form := []string{"grant_type", config.GrantEmailCaptcha, "client_id", nativeID, "verification_id", v.id, "verification_code", v.code}
	for i := 0; i < len(pairs); i += 2 {
		form = append(without(pairs[i], form), pairs[i], pairs[i+1])
	}
	return s.post("/oauth2/token", form...)
}

// wrong is a code of the same length that is not the right one.
func (v started) wrong() started {
	digits := []byte(v.code)
	digits[0] = '0' + (digits[0]-'0'+1)%10
	return started{v.id, string(digits)}
}

func TestAS65_Grant(t *testing.T) {
	clk := newClock()
	s := start(t, options{now: clk.now})
	a := s.post("/oauth2/verification", "client_id", nativeID, "email", "Ann@Example.com", "scope", "openid email offline_access")
	if answer := a.json(t); a.status != http.StatusOK || answer["expires_in"] != 600.0 || answer["interval"] != 0.0 || len(answer) != 3 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	v := started{a.json(t)["verification_id"].(string), s.code("ann@example.com")}
	clk.advance(time.Minute)
	got := s.redeem(v)
	tokens := got.json(t)
	if got.status != http.StatusOK || tokens["refresh_token"] == nil || tokens["scope"] != "openid email offline_access" || tokens["token_type"] != "Bearer" {
		t.Fatalf("%d %s", got.status, got.body)
	}
	claims := claimsOf(t, tokens["id_token"])
	if claims["auth_time"] != float64(clk.now().Unix()) || !slices.Equal(claims["amr"].([]any), []any{"otp"}) || claims["aud"] != nativeID || claims["sid"] != nil || claims["at_hash"] == nil {
		t.Errorf("the ID token says %v", claims)
	}
	access := claimsOf(t, tokens["access_token"])
	if access["client_id"] != nativeID || access["aud"] != api || access["sub"] != claims["sub"] || access["auth_time"] != claims["auth_time"] {
		t.Errorf("the access token says %v", access)
	}
	if info := s.userinfo(tokens["access_token"].(string)).json(t); info["email"] != "Ann@example.com" || info["email_verified"] != true {
		t.Errorf("userinfo %v", info)
	}
	next := s.post("/oauth2/token", "grant_type", "refresh_token", "client_id", nativeID, "refresh_token", tokens["refresh_token"].(string))
	if next.status != http.StatusOK || claimsOf(t, next.json(t)["id_token"])["auth_time"] != claims["auth_time"] {
		t.Errorf("refresh: %d %s", next.status, next.body)
	}
	// The same person again, in another spelling.
	if again := s.redeem(s.begin("aNN@example.com", "scope", "openid")); claimsOf(t, again.json(t)["id_token"])["sub"] != claims["sub"] {
		t.Errorf("another spelling is another person")
	}
}

// altered is a value of the alphabet with another character in its middle.
func altered(value string) string {
	b := []byte(value)
	i := len(b) / 2
	b[i] = map[bool]byte{true: 'B', false: 'A'}[b[i] == 'A']
	return string(b)
}

// TestAS65_WrongIsOneAnswer compares the answers to all that can be wrong with a code.
func TestAS65_WrongIsOneAnswer(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) {
		twin := c.Clients[3]
		twin.ID = "twin"
		c.Clients = append(c.Clients, twin)
	}})
	s.redeem(s.begin("ann@example.com"))
	fresh := func(pairs ...string) started { return s.begin("ann@example.com", pairs...) }
	spent := fresh()
	if a := s.redeem(spent); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	v, tried, other := fresh(), fresh(), fresh()
	pkce := s.begin("bob@example.com", "code_challenge", challenge(verifier), "code_challenge_method", "S256")
	answers := map[string]answer{
		"wrong":                    s.redeem(tried.wrong()),
		"spent":                    s.redeem(spent),
		"another verification's":   s.redeem(started{tried.id, other.code}),
		"unknown verification":     s.redeem(started{"x", v.code}),
		"altered verification":     s.redeem(started{altered(v.id), v.code}),
		"other client":             s.redeem(tried, "client_id", "twin"),
		"client without sign-up":   s.redeem(tried, "client_id", nosignupID),
		"verifier for nothing":     s.redeem(tried, "code_verifier", verifier),
		"without its verifier":     s.redeem(pkce),
		"wrong verifier":           s.redeem(pkce, "code_verifier", strings.Repeat("a", 43)),
		"malformed verifier":       s.redeem(pkce, "code_verifier", "x"),
		"verifier is challenge":    s.redeem(pkce, "code_verifier", challenge(verifier)),
		"no account, no sign-up":   s.redeem(s.begin("new@example.com", "client_id", nosignupID), "client_id", nosignupID),
		"5 digits":                 s.redeem(v, "verification_code", v.code[:5]),
		"7 digits":                 s.redeem(v, "verification_code", v.code+"0"),
		"leading space":            s.redeem(v, "verification_code", " "+v.code),
		"trailing space":           s.redeem(v, "verification_code", v.code+" "),
		"spaces":                   s.redeem(v, "verification_code", v.code[:3]+" "+v.code[3:]),
		"Arabic digits":            s.redeem(v, "verification_code", strings.Map(func(r rune) rune { return r - '0' + '\u0660' }, v.code)),
		"full-width digits":        s.redeem(v, "verification_code", strings.Map(func(r rune) rune { return r - '0' + '\uff10' }, v.code)),
		"sign":                     s.redeem(v, "verification_code", "+"+v.code[1:]),
		"exponent":                 s.redeem(v, "verification_code", "1e5"),
		"exponent of the length":   s.redeem(v, "verification_code", "1e0005"),
		"10 KiB":                   s.redeem(v, "verification_code", strings.Repeat("1", 10<<10)),
		"a word":                   s.redeem(v, "verification_code", "secret"),
		"wrong for another client": s.redeem(tried.wrong(), "client_id", "twin"),
	}
	first := answers["wrong"]
	first.is(t, http.StatusBadRequest, "invalid_grant")
	for name, a := range answers {
		if a.status != first.status || a.body != first.body {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		for h := range first.header {
			if !slices.Contains([]string{"Date", "X-Request-Id"}, h) && !slices.Equal(a.header[h], first.header[h]) || len(a.header) != len(first.header) {
				t.Errorf("%s: header %s is %v", name, h, a.header[h])
			}
		}
	}
	// What cannot be a code was not counted.
	if a := s.redeem(v); a.status != http.StatusOK {
		t.Errorf("the right one after them: %d %s", a.status, a.body)
	}
}

func TestAS65_Callers(t *testing.T) {
	s := start(t, options{})
	v := s.begin("ann@example.com")
	s.redeem(v, "client_id", "").is(t, http.StatusUnauthorized, "invalid_client")
	s.redeem(v, "client_id", "nobody").is(t, http.StatusUnauthorized, "invalid_client")
	s.redeem(v, "client_id", secretID).is(t, http.StatusUnauthorized, "invalid_client")
	s.redeem(v, "client_id", webID).is(t, http.StatusBadRequest, "unauthorized_client")
	s.redeem(v, "verification_id", "").is(t, http.StatusBadRequest, "invalid_request")
	s.redeem(v, "verification_code", "").is(t, http.StatusBadRequest, "invalid_request")
	s.get("/oauth2/token?"+values("grant_type", config.GrantEmailCaptcha, "client_id", nativeID).Encode()).is(t, http.StatusMethodNotAllowed, "invalid_request")
	json := s.send(s.request("POST", "/oauth2/token", `{"verification_id":"x"}`, "Content-Type", "application/json"))
	json.is(t, http.StatusBadRequest, "invalid_request")
	if a := s.redeem(v); a.status != http.StatusOK {
		t.Errorf("after them: %d %s", a.status, a.body)
	}
	for name, form := range map[string][]string{
		"invalid_client":      {"email", "ann@example.com"},
		"unauthorized_client": {"client_id", webID, "email", "ann@example.com"},
		"invalid_scope":       {"client_id", nativeID, "email", "ann@example.com", "scope", "no:such"},
	} {
		a := s.post("/oauth2/verification", form...)
		if a.json(t)["error"] != name {
			t.Errorf("%v: %d %s", form, a.status, a.body)
		}
	}
	mails := len(s.inbox.Messages())
	for _, bad := range [][]string{
		{"email", ""}, {"email", "nobody"}, {"email", "a@b@example.com"}, {"email", "a@example.com,b@example.com"}, {"email", "Ann <ann@example.com>"},
		{"email", "ann@example.com\r\nBcc: eve@evil.example"}, {"email", "ann@[127.0.0.1]"}, {"email", "ann@localhost"}, {"email", " ann@example.com"},
		{"code_challenge", challenge(verifier)}, {"code_challenge", challenge(verifier), "code_challenge_method", "plain"}, {"code_challenge_method", "S256"},
		{"code_challenge", "short", "code_challenge_method", "S256"},
	} {
		form := []string{"client_id", nativeID}
		if bad[0] != "email" {
			form = append(form, "email", "ann@example.com")
		}
		s.post("/oauth2/verification", append(form, bad...)...).is(t, http.StatusBadRequest, "invalid_request")
	}
	if n := len(s.inbox.Messages()); n != mails {
		t.Errorf("%d mails", n-mails)
	}
}

func TestAS65_PKCE(t *testing.T) {
	s := start(t, options{})
	v := s.begin("ann@example.com", "code_challenge", challenge(verifier), "code_challenge_method", "S256")
	if a := s.redeem(v, "code_verifier", verifier); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	s.redeem(v, "code_verifier", verifier).is(t, http.StatusBadRequest, "invalid_grant")
}

func TestAS65_Scopes(t *testing.T) {
	s := start(t, options{})
	v := s.begin("ann@example.com", "scope", "openid email notes:read")
	for _, wider := range []string{"openid profile", "profile", "openid email notes:read offline_access"} {
		for range 3 { // not a try
			s.redeem(v, "scope", wider).is(t, http.StatusBadRequest, "invalid_scope")
		}
	}
	s.redeem(v, "scope", "no:such").is(t, http.StatusBadRequest, "invalid_scope")
	got := s.redeem(v, "scope", "notes:read email")
	tokens := got.json(t)
	if got.status != http.StatusOK || tokens["scope"] != "notes:read email" || tokens["id_token"] != nil || tokens["refresh_token"] != nil {
		t.Errorf("narrowed: %d %s", got.status, got.body)
	}
	if a := s.redeem(s.begin("ann@example.com", "scope", "email")); a.json(t)["scope"] != "email" {
		t.Errorf("all of it: %s", a.body)
	}
	none := s.begin("ann@example.com")
	s.redeem(none, "scope", "openid").is(t, http.StatusBadRequest, "invalid_scope")
	if a := s.redeem(none); a.status != http.StatusOK || a.json(t)["scope"] != nil {
		t.Errorf("none: %d %s", a.status, a.body)
	}
}

func TestAS64_ResourceOfAnEmailedCode(t *testing.T) {
	const second = "https://second.example"
	s := start(t, options{config: func(c *config.Config) { c.Clients[3].Audiences = []string{api, second} }})
	v := s.begin("ann@example.com")
	for _, resource := range []string{"https://unknown.example", "/relative", api + "#x", "HTTPS://api.example"} {
		s.redeem(v, "resource", resource).is(t, http.StatusBadRequest, "invalid_target")
	}
	got := s.redeem(v, "resource", second) // what was refused has not spent the code
	if got.status != http.StatusOK || claimsOf(t, got.json(t)["access_token"])["aud"] != second {
		t.Errorf("of one resource: %d %s", got.status, got.body)
	}
	both, _ := claimsOf(t, s.redeem(s.begin("ann@example.com")).json(t)["access_token"])["aud"].([]any)
	if !slices.Equal(both, []any{api, second}) {
		t.Errorf("without a resource for %v", both)
	}
}

func TestAS65_FiveWrongTries(t *testing.T) {
	s := start(t, options{})
	for n, want := range map[int]int{4: http.StatusOK, 5: http.StatusBadRequest} {
		v := s.begin("ann@example.com")
		for range n {
			s.redeem(v.wrong()).is(t, http.StatusBadRequest, "invalid_grant")
		}
		if a := s.redeem(v); a.status != want {
			t.Errorf("the right code after %d wrong ones: %d %s", n, a.status, a.body)
		}
	}
}

// A new verification does not begin a new count for the account (EC-05, EC-06).
func TestAS65_TenWrongTriesOfAnAccount(t *testing.T) {
	clk := newClock()
	s := start(t, options{now: clk.now})
	for range 5 {
		v := s.begin("ann@example.com")
		s.redeem(v.wrong())
		s.redeem(v.wrong())
	}
	s.redeem(s.begin("ann@example.com")).is(t, http.StatusBadRequest, "invalid_grant")
	s.redeem(s.begin("ANN@example.com")).is(t, http.StatusBadRequest, "invalid_grant")
	b := s.browser()
	page := b.submit(b.get(authorizePath(webID)), "email", "email", "ann@example.com")
	b.submit(page, "code", "code", s.code("ann@example.com")).isPage(t, http.StatusBadRequest)
	if a := s.redeem(s.begin("bob@example.com")); a.status != http.StatusOK {
		t.Errorf("somebody else: %d %s", a.status, a.body)
	}
	clk.advance(24 * time.Hour)
	if a := s.redeem(s.begin("ann@example.com")); a.status != http.StatusOK {
		t.Errorf("a day later: %d %s", a.status, a.body)
	}
}

func TestAS65_Expiry(t *testing.T) {
	clk := newClock()
	s := start(t, options{now: clk.now})
	v := s.begin("ann@example.com")
	clk.advance(10*time.Minute - time.Millisecond)
	if a := s.redeem(v); a.status != http.StatusOK {
		t.Errorf("just before its end: %d %s", a.status, a.body)
	}
	v = s.begin("ann@example.com")
	wrong := s.redeem(v.wrong())
	clk.advance(10 * time.Minute)
	if a := s.redeem(v); a.status != wrong.status || a.body != wrong.body {
		t.Errorf("expired: %d %s", a.status, a.body)
	}
}

func TestAS65_SignUp(t *testing.T) {
	s := start(t, options{})
	members := []string{"client_id", nosignupID, "scope", "openid"}
	s.redeem(s.begin("new@example.com", members...), members...).is(t, http.StatusBadRequest, "invalid_grant")
	if _, err := s.directory().ByEmail(t.Context(), "new@example.com"); err == nil {
		t.Error("an account was made")
	}
	if a := s.redeem(s.begin("new@example.com")); a.status != http.StatusOK {
		t.Fatalf("signing up elsewhere: %d %s", a.status, a.body)
	}
	if a := s.redeem(s.begin("new@example.com", members...), members...); a.status != http.StatusOK {
		t.Errorf("a member: %d %s", a.status, a.body)
	}
	s.change("new@example.com", func(u *users.User) { u.Disabled = true })
	s.redeem(s.begin("new@example.com", members...), members...).is(t, http.StatusBadRequest, "invalid_grant")
	s.redeem(s.begin("new@example.com")).is(t, http.StatusBadRequest, "invalid_grant")
}

// A confidential client authenticates at both ends of the grant.
func TestAS65_ConfidentialClient(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) {
		c.Clients[2].GrantTypes = append(c.Clients[2].GrantTypes, config.GrantEmailCaptcha)
	}})
	s.post("/oauth2/verification", "client_id", secretID, "email", "ann@example.com").is(t, http.StatusUnauthorized, "invalid_client")
	a := s.postAs(secretID, backendSecret, "/oauth2/verification", "email", "ann@example.com", "scope", "openid")
	v := started{a.json(t)["verification_id"].(string), s.code("ann@example.com")}
	s.redeem(v, "client_id", secretID).is(t, http.StatusUnauthorized, "invalid_client")
	got := s.postAs(secretID, backendSecret, "/oauth2/token", "grant_type", config.GrantEmailCaptcha, "verification_id", v.id, "verification_code", v.code)
	if got.status != http.StatusOK || got.json(t)["id_token"] == nil {
		t.Errorf("%d %s", got.status, got.body)
	}
}

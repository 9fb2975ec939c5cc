package provider_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/users"
)

// What a stranger or a bad day can send gets the contract's error and changes
// nothing: the token is still good afterwards, and the login is still there.
func TestCloudBase_BadSignUps(t *testing.T) {
	s := start(t, options{})
	taken := s.app(envID)
	taken.signedUp("taken@example.com", "taken", "password123")
	a := s.app(envID)
	token := a.prove("ann@example.com")
	for name, c := range map[string]struct {
		body   fields
		code   string
		number int
	}{
		"no token":                   {fields{"verification_token": ""}, "invalid_argument", 3},
		"a forged token":             {fields{"verification_token": token[:len(token)-2] + "AA"}, "invalid_argument", 3},
		"another's address":          {fields{"email": "bob@example.com"}, "invalid_argument", 3},
		"no address":                 {fields{"email": "ann"}, "invalid_argument", 3},
		"a phone":                    {fields{"email": "", "phone_number": "+86 13800000000", "verification_token": "x"}, "invalid_argument", 3},
		"a short password":           {fields{"password": "pass123"}, "invalid_argument", 3},
		"a long password":            {fields{"password": "password1" + strings.Repeat("x", 30)}, "invalid_argument", 3},
		"a password without digits":  {fields{"password": "passwordpassword"}, "invalid_argument", 3},
		"a password without letters": {fields{"password": "1234567890"}, "invalid_argument", 3},
		"a username that is taken":   {fields{"username": "TAKEN"}, "failed_precondition", 9},
		"a username with an @":       {fields{"username": "a@b.example"}, "invalid_argument", 3},
		"a username of one letter":   {fields{"username": "a"}, "invalid_argument", 3},
		"a name of two lines":        {fields{"name": "a\nb"}, "invalid_argument", 3},
		"a picture that runs":        {fields{"picture": "javascript:alert(1)"}, "invalid_argument", 3},
	} {
		body := fields{"email": "ann@example.com", "verification_token": token, "username": "ann", "password": "password123"}
		for k, v := range c.body {
			body[k] = v
		}
		got := a.fails(req{path: "signup", body: body}, c.code, c.number)
		text := strings.ToLower(got.json(t)["error_description"].(string))
		if strings.Contains(name, "password") && (strings.Contains(text, "password") || strings.Contains(text, "credentials")) {
			t.Errorf("%s: the SDK would call this a wrong password: %s", name, text)
		}
	}
	if n := len(s.accounts()); n != 1 {
		t.Fatalf("%d accounts", n)
	}
	a.took(a.ok(req{path: "signup", body: fields{"email": "ann@example.com", "verification_token": token, "username": "ann", "password": "password123"}}))
	a.fails(req{path: "signup", body: fields{"email": "ann@example.com", "verification_token": token}}, "invalid_argument", 3)
	a.fails(req{path: "signin", body: fields{"verification_token": token}}, "invalid_argument", 3)
	b := s.app(envID)
	b.fails(req{path: "signup", body: fields{"email": "ann@example.com", "verification_token": b.prove("ann@example.com"), "password": "password999"}}, "failed_precondition", 9)
	if got := b.signInWith("ann", "password123"); got.status != http.StatusOK {
		t.Errorf("a refused sign-up changed the password: %s", got.body)
	}
}

// A body may have 64 KiB, however good it is otherwise.
func TestCloudBase_LargeBodies(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	body := func(size int) string {
		const start, end = `{"email":"ann@example.com","x":"`, `"}`
		return start + strings.Repeat("x", size-len(start+end)) + end
	}
	if got := a.fails(req{path: "verification", body: body(64<<10 + 1)}, "invalid_argument", 3); got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a byte too many: %d %s", got.status, got.body)
	}
	if n := len(s.inbox.Messages()); n != 0 {
		t.Errorf("%d mails", n)
	}
	a.ok(req{path: "verification", body: body(64 << 10)})
}

func TestCloudBase_BadClients(t *testing.T) {
	s := start(t, options{})
	for _, client := range []string{"", "unknown", webID, nativeID, secretID} {
		a := s.app(client)
		for _, r := range []req{
			{path: "verification", body: fields{"email": "ann@example.com"}},
			{path: "signin", body: fields{"username": "ann", "password": "password123"}},
			{path: "token", body: fields{"grant_type": "refresh_token", "refresh_token": "x"}},
			{method: "GET", path: "checkIfUserExist?username=ann"},
		} {
			a.fails(r, "unauthorized_client", 4022)
		}
	}
	a := s.app(envID)
	a.fails(req{path: "token", body: fields{"client_id": hiddenID, "grant_type": "refresh_token", "refresh_token": "x"}}, "unauthorized_client", 4022)
	a.fails(req{path: "signin?client_id=" + hiddenID, body: fields{"username": "ann", "password": "x"}}, "unauthorized_client", 4022)
	closed := s.app(closedID)
	closed.fails(req{path: "signup", body: fields{"verification_token": closed.prove("ann@example.com")}}, "permission_denied", 7)
	if n := len(s.accounts()); n != 0 {
		t.Errorf("%d accounts", n)
	}
	// What one app has proven is nothing to another, and so is its refresh token.
	token := a.prove("ann@example.com")
	s.app(hiddenID).fails(req{path: "signup", body: fields{"verification_token": token}}, "invalid_argument", 3)
	tokens := a.signedUp("bob@example.com", "", "")
	s.app(hiddenID).fails(req{path: "token", body: fields{"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}}, "invalid_grant", 4102)
	a.me()
}

func TestCloudBase_BadCodes(t *testing.T) {
	clock := newClock()
	s := start(t, options{now: clock.now})
	a := s.app(envID)
	v := a.verification("ann@example.com")
	code := s.code("ann@example.com")
	try := func(id, code any) req {
		return req{path: "verification/verify", body: fields{"verification_id": id, "verification_code": code}}
	}
	for _, wrong := range []any{"", "1234567", "abcdef", " " + code, code + "\n", "１２３４５６"} {
		if got := a.do(try(v["verification_id"], wrong)); got.status == http.StatusOK {
			t.Errorf("%q is accepted", wrong)
		}
	}
	other := s.app(envID) // another device
	other.fails(try(v["verification_id"], code), "invalid_argument", 3)
	a.fails(try("x", code), "invalid_argument", 3)
	s.app(hiddenID).fails(try(v["verification_id"], code), "invalid_argument", 3)
	// The pages and the grant do not take it either, nor this door theirs.
	s.redeem(started{id: v["verification_id"].(string), code: code}).is(t, http.StatusBadRequest, "invalid_grant")
	grant := s.begin("bob@example.com")
	a.fails(try(grant.id, grant.code), "invalid_argument", 3)
	// Nor when it is the same client's.
	grantOf := s.post("/oauth2/verification", "client_id", envID, "email", "eve@example.com")
	a.fails(try(grantOf.json(t)["verification_id"], s.code("eve@example.com")), "invalid_argument", 3)
	s.post("/oauth2/token", "grant_type", config.GrantEmailCaptcha, "client_id", envID,
		"verification_id", v["verification_id"].(string), "verification_code", code).is(t, http.StatusBadRequest, "invalid_grant")
	token := a.verify(v, code)

	clock.advance(10*time.Minute + time.Second)
	a.fails(req{path: "signup", body: fields{"verification_token": token}}, "invalid_argument", 3)
	v = a.verification("ann@example.com")
	code = s.code("ann@example.com")
	clock.advance(10*time.Minute + time.Second)
	a.fails(try(v["verification_id"], code), "invalid_argument", 3)
	// Five wrong ones, and the right one is as wrong.
	v = a.verification("eve@example.com")
	code = s.code("eve@example.com")
	for i := range 5 {
		a.fails(try(v["verification_id"], []string{"000000", "111111", "222222", "333333", "444444"}[i]), "invalid_argument", 3)
	}
	a.fails(try(v["verification_id"], code), "invalid_argument", 3)
}

// A disabled account is told so only to whoever could sign in to it.
func TestCloudBase_Disabled(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	tokens := a.signedUp("ann@example.com", "ann", "password123")
	s.change("ann@example.com", func(u *users.User) { u.Disabled = true })
	a.fails(req{method: "GET", path: "user/me", bearer: true}, "unauthenticated", 16)
	a.fails(req{path: "token", body: fields{"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}}, "invalid_grant", 4102)
	a.token = ""
	a.fails(req{path: "signin", body: fields{"username": "ann", "password": "wrong-password1"}}, "invalid_password", 4100)
	a.fails(req{path: "signin", body: fields{"username": "ann", "password": "password123"}}, "user_blocked", 4103)
	a.fails(req{path: "signin", body: fields{"verification_token": a.prove("ann@example.com")}}, "user_blocked", 4103)
	a.fails(req{path: "reset", body: fields{"email": "ann@example.com", "new_password": "password456", "verification_token": a.prove("ann@example.com")}}, "user_blocked", 4103)
}

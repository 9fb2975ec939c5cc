package provider_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/mail"
	"github.com/lettergate/lettergate/provider/users"
)

// waitMail waits for the next mail to the address.
func (s *server) waitMail(address string) mail.Message {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	m, err := s.inbox.WaitFor(ctx, address)
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// sudo confirms the person who is signed in.
func (a *app) sudo(password string) any {
	a.s.t.Helper()
	return a.ok(req{path: "user/sudo", body: fields{"password": password}, bearer: true})["sudo_token"]
}

// The published sample passes the whole answer of sudo() on; the documentation of the
// HTTP API puts the token into the query.
func TestCloudBase_SudoTokenInThreeForms(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	a.signedUp("ann@example.com", "ann", "password123")
	whole := a.ok(req{path: "user/sudo", body: fields{"password": "password123"}, bearer: true})
	if whole["expires_in"] != float64(600) {
		t.Errorf("sudo: %v", whole)
	}
	token := func(password string) string { return a.sudo(password).(string) }
	for i, r := range []func() req{
		func() req {
			return req{path: "user/password", body: fields{"sudo_token": whole, "new_password": "password1"}}
		},
		func() req {
			return req{path: "user/password", body: fields{"sudo_token": token("password1"), "new_password": "password2"}}
		},
		func() req {
			return req{path: "user/password?sudo_token=" + url.QueryEscape(token("password2")), body: fields{"new_password": "password3"}}
		},
		func() req {
			return req{path: "user/password", body: fields{"old_password": "password3", "new_password": "password4"}}
		},
	} {
		change := r()
		change.method, change.bearer = "PATCH", true
		a.ok(change)
		if got := a.signInWith("ann", fmt.Sprintf("password%d", i+1)); got.status != http.StatusOK {
			t.Errorf("form %d: %d %s", i, got.status, got.body)
		}
	}
}

func TestCloudBase_SudoTokenIsBound(t *testing.T) {
	clock := newClock()
	s := start(t, options{now: clock.now})
	a, other := s.app(envID), s.app(envID)
	tokens := a.signedUp("ann@example.com", "ann", "password123")
	refresh := func() {
		tokens = a.took(a.ok(req{path: "token", body: fields{"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}}))
	}
	other.took(other.signInWith("ann", "password123").json(t))
	bob := s.app(envID)
	bob.signedUp("bob@example.com", "bob", "password123")
	token := a.sudo("password123")
	change := req{method: "PATCH", path: "user/password", body: fields{"sudo_token": token, "new_password": "password124"}, bearer: true}
	other.fails(change, "permission_denied", 7) // another sign-in of the same person
	bob.fails(change, "permission_denied", 7)
	clock.advance(9 * time.Minute)
	if got := a.do(change); got.status != http.StatusOK {
		t.Errorf("after nine minutes: %d %s", got.status, got.body)
	}
	refresh()
	token = a.sudo("password124")
	clock.advance(10 * time.Minute)
	refresh() // the same sign-in
	change.body = fields{"sudo_token": token, "new_password": "password125"}
	a.fails(change, "permission_denied", 7)
}

// A new password signs out everywhere but here, and the owner is told.
func TestCloudBase_PasswordChangeSignsOutOthers(t *testing.T) {
	s := start(t, options{})
	a, other := s.app(envID), s.app(envID)
	kept := a.signedUp("ann@example.com", "ann", "password123")
	lost := other.took(other.signInWith("ann", "password123").json(t))
	page, pageTokens := s.signedIn("ann@example.com", "openid offline_access")
	a.ok(req{method: "PATCH", path: "user/password", body: fields{"sudo_token": a.sudo("password123"), "new_password": "password456"}, bearer: true})

	a.me()
	a.ok(req{path: "token", body: fields{"grant_type": "refresh_token", "refresh_token": kept["refresh_token"]}})
	other.fails(req{method: "GET", path: "user/me", bearer: true}, "unauthenticated", 16)
	other.fails(req{path: "token", body: fields{"grant_type": "refresh_token", "refresh_token": lost["refresh_token"]}}, "invalid_grant", 4102)
	s.dead(pageTokens)
	if got := page.get(authorizePath(webID, "prompt", "none")); got.arrives(t, callback).Get("error") != "login_required" {
		t.Error("the browser is still signed in")
	}
	if m := s.waitMail("ann@example.com"); !strings.Contains(m.Text, "password") {
		t.Errorf("the notice: %s", m.Text)
	}
	other.fails(req{path: "signin", body: fields{"username": "ann", "password": "password123"}}, "invalid_password", 4100)
}

func TestCloudBase_ForgottenPassword(t *testing.T) {
	s := start(t, options{})
	a, thief := s.app(envID), s.app(envID)
	a.signedUp("ann@example.com", "ann", "password123")
	thief.took(thief.signInWith("ann", "password123").json(t))
	out := s.app(envID)
	v := out.ok(req{path: "verification", body: fields{"email": "ann@example.com", "usage": "recovery", "target": "USER"}})
	token := out.verify(v, s.code("ann@example.com"))
	out.fails(req{path: "reset", body: fields{"email": "bob@example.com", "new_password": "password456", "verification_token": token}}, "invalid_argument", 3)
	out.fails(req{path: "reset", body: fields{"email": "ann@example.com", "new_password": "short", "verification_token": token}}, "invalid_argument", 3)
	out.ok(req{path: "reset", body: fields{"email": "ann@example.com", "new_password": "password456", "verification_token": token}})
	out.fails(req{path: "reset", body: fields{"email": "ann@example.com", "new_password": "password789", "verification_token": token}}, "invalid_argument", 3)
	thief.fails(req{method: "GET", path: "user/me", bearer: true}, "unauthenticated", 16)
	if got := out.signInWith("ann@example.com", "password456"); got.status != http.StatusOK {
		t.Errorf("with the new password: %d %s", got.status, got.body)
	}
	if got := out.signInWith("ann@example.com", "password123"); got.status == http.StatusOK {
		t.Error("the old password still works")
	}
	out.fails(req{path: "reset", body: fields{"email": "no@example.com", "new_password": "password456", "verification_token": out.prove("no@example.com")}}, "invalid_password", 4100)
}

// reauthenticate(): a code to one's own address in place of the password.
func TestCloudBase_SudoByMail(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	a.signedUp("ann@example.com", "", "")
	a.fails(req{path: "user/sudo", body: fields{"password": "password123"}, bearer: true}, "password_not_set", 4101)
	a.fails(req{path: "user/sudo", body: fields{"verification_token": a.prove("bob@example.com")}, bearer: true}, "invalid_argument", 3)
	proof := a.prove("ann@example.com")
	sudo := a.ok(req{path: "user/sudo", body: fields{"verification_token": proof}, bearer: true})
	a.fails(req{path: "user/sudo", body: fields{"verification_token": proof}, bearer: true}, "invalid_argument", 3)
	a.ok(req{method: "PATCH", path: "user/password", body: fields{"sudo_token": sudo, "new_password": "password123"}, bearer: true})
	if a.me()["password"] != "SET" {
		t.Error("no password is set")
	}
}

// updateUser({email}) sends no proof: the server remembers what was proven.
func TestCloudBase_BasicEditEmail(t *testing.T) {
	s := start(t, options{})
	a, b := s.app(envID), s.app(envID)
	a.signedUp("ann@example.com", "ann", "password123")
	b.signedUp("bob@example.com", "", "")
	edit := func(email string) req {
		return req{path: "user/basic/edit", body: fields{"email": email}, bearer: true}
	}
	a.fails(edit("new@example.com"), "invalid_argument", 3) // never asked for
	v := a.verification("new@example.com", "usage", "reauthentication")
	code := s.code("new@example.com")
	a.fails(edit("new@example.com"), "invalid_argument", 3) // not confirmed
	a.verify(v, code)
	b.fails(edit("new@example.com"), "invalid_argument", 3)   // somebody else's wish
	a.fails(edit("other@example.com"), "invalid_argument", 3) // another address
	out := s.app(envID)
	out.prove("third@example.com")
	a.fails(edit("third@example.com"), "invalid_argument", 3) // proven by nobody who is signed in
	a.ok(edit("New@example.com"))                             // as it was spelt when it was proven
	if me := a.me(); me["email"] != "new@example.com" || me["email_verified"] != true {
		t.Errorf("changed to %v", me["email"])
	}
	if m := s.waitMail("ann@example.com"); strings.Contains(m.Text, "new@") {
		t.Errorf("the notice to the old address shows the new one: %s", m.Text)
	}
	a.ok(edit("new@example.com")) // it is the account's own by now
	v = b.verification("ann@example.com")
	b.verify(v, s.code("ann@example.com"))
	b.ok(edit("ann@example.com")) // the old address is free
	v = b.verification("new@example.com")
	b.verify(v, s.code("new@example.com"))
	b.fails(edit("new@example.com"), "failed_precondition", 9)
	if got := a.signInWith("new@example.com", "password123"); got.status != http.StatusOK {
		t.Errorf("sign-in with the new address: %d", got.status)
	}
}

func TestCloudBase_Contact(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	a.signedUp("ann@example.com", "ann", "password123")
	proof := a.prove("new@example.com")
	body := func(change ...any) req {
		f := fields{"email": "new@example.com", "sudo_token": a.sudo("password123"), "verification_token": proof}
		for i := 0; i < len(change); i += 2 {
			f[change[i].(string)] = change[i+1]
		}
		return req{method: "PATCH", path: "user/contact", body: f, bearer: true}
	}
	a.fails(body("sudo_token", "x"), "permission_denied", 7)
	a.fails(body("verification_token", "x"), "invalid_argument", 3)
	a.fails(body("email", "else@example.com"), "invalid_argument", 3)
	a.fails(body("email", nil, "phone_number", "+86 13800000000"), "invalid_argument", 3)
	a.ok(body("sudo_token", a.ok(req{path: "user/sudo", body: fields{"password": "password123"}, bearer: true})))
	if a.me()["email"] != "new@example.com" {
		t.Error("not changed")
	}
	s.waitMail("ann@example.com")
}

// Whoever wants an account that nobody has proven must not find somebody else in it.
func TestCloudBase_FirstProofDropsWhatWasThere(t *testing.T) {
	s := start(t, options{})
	for _, door := range []string{"signin", "signup", "reset", "pages", "grant"} {
		email, name := door+"@example.com", "evil"+door
		squatter := s.app(envID)
		squatter.signedUp(email, name, "squatter1")
		s.change(email, func(u *users.User) { u.EmailVerified = false })
		owner := s.app(envID)
		switch door {
		case "signin":
			owner.took(owner.ok(req{path: "signin", body: fields{"verification_token": owner.prove(email)}}))
		case "signup":
			owner.took(owner.ok(req{path: "signup", body: fields{"verification_token": owner.prove(email), "username": "mine", "password": "owner1234"}}))
		case "reset":
			owner.ok(req{path: "reset", body: fields{"email": email, "verification_token": owner.prove(email), "new_password": "owner1234"}})
		case "pages":
			s.signedIn(email, "openid")
		case "grant":
			if got := s.redeem(s.begin(email)); got.status != http.StatusOK {
				t.Errorf("%s: %d %s", door, got.status, got.body)
			}
		}
		for _, called := range []string{email, name} {
			if got := squatter.signInWith(called, "squatter1"); got.status == http.StatusOK {
				t.Errorf("%s: the squatter's password opens %s", door, called)
			}
		}
		squatter.fails(req{method: "GET", path: "user/me", bearer: true}, "unauthenticated", 16)
		u := s.account(email)
		if want := map[string]string{"signup": "mine"}[door]; !u.EmailVerified || u.Username != want {
			t.Errorf("%s: %+v", door, u)
		}
		if door == "signup" || door == "reset" {
			if got := owner.signInWith(email, "owner1234"); got.status != http.StatusOK {
				t.Errorf("%s: the owner's password: %d %s", door, got.status, got.body)
			}
		}
	}
}

func TestCloudBase_Profile(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	a.signedUp("ann@example.com", "ann", "")
	a.ok(req{path: "user/basic/edit", bearer: true, body: fields{
		"user_id": a.me()["sub"], "nickname": "Annie", "username": "Anna", "description": "…", "avatar_url": "https://a.example/x.png", "gender": "FEMALE",
	}})
	a.ok(req{method: "PATCH", path: "user/profile", bearer: true, body: fields{"name": "Ann Example", "locale": "de", "birthdate": "1990-01-02", "zoneinfo": "Europe/Berlin"}})
	me := a.me()
	for field, want := range map[string]string{"nickName": "Annie", "username": "Anna", "user_desc": "…", "picture": "https://a.example/x.png",
		"avatarUrl": "https://a.example/x.png", "gender": "FEMALE", "name": "Ann Example", "locale": "de", "birthdate": "1990-01-02", "zoneinfo": "Europe/Berlin"} {
		if me[field] != want {
			t.Errorf("%s is %v", field, me[field])
		}
	}
	for _, body := range []fields{
		{"user_id": "somebody"}, {"nickname": "a\x00b"}, {"avatar_url": "javascript:alert(1)"}, {"username": "x"}, {"username": "a b"},
		{"description": strings.Repeat("x", 2000)}, {"name": "a\nb"}, {"phone": "+86 13800000000"}, {"encrypt_password": "x", "encrypt_new_password": "y"},
	} {
		if got := a.do(req{path: "user/basic/edit", body: body, bearer: true}); got.status == http.StatusOK {
			t.Errorf("%v is accepted", body)
		}
	}
	if a.me()["nickName"] != "Annie" {
		t.Error("a refused edit changed something")
	}
	if got := a.ok(req{method: "GET", path: "user/provider", bearer: true}); got["total"] != float64(0) {
		t.Errorf("providers: %v", got)
	}
}

func TestCloudBase_DeleteMe(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	tokens := a.signedUp("ann@example.com", "ann", "password123")
	a.fails(req{method: "DELETE", path: "user/me", bearer: true}, "permission_denied", 7)
	a.ok(req{method: "DELETE", path: "user/me?sudo_token=" + url.QueryEscape(a.sudo("password123").(string)), bearer: true})
	a.fails(req{method: "GET", path: "user/me", bearer: true}, "unauthenticated", 16)
	a.fails(req{path: "token", body: fields{"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}}, "invalid_grant", 4102)
	if got := a.signInWith("ann", "password123"); got.status == http.StatusOK {
		t.Error("signed in to nothing")
	}
	again := s.app(envID)
	if second := again.signedUp("ann@example.com", "ann", ""); second["sub"] == tokens["sub"] {
		t.Error("a new account has the subject of the old one")
	}
	if got := again.signInWith("ann", "password123"); got.status == http.StatusOK {
		t.Error("the old password opens the new account")
	}
}

// The link in a mail: opening it changes nothing, and it ends in the browser that
// asked, which alone has the verification_id.
func TestCloudBase_Link(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	for _, target := range []string{"https://evil.example/", "javascript:alert(1)", "//cb.example/x", "https://cb.example@evil.example/", appOrigin + "/#x", "http://cb.example/", appOrigin + "/redirect?to=https://evil.example/", appOrigin + "/welcome"} {
		a.fails(req{path: "verification", body: fields{"email": "ann@example.com", "email_redirect_to": target}}, "invalid_argument", 3)
	}
	v := a.verification("ann@example.com", "email_redirect_to", appOrigin+"/welcome?x=1")
	m := s.waitMail("ann@example.com")
	if codeInMail.MatchString(m.Text) {
		t.Errorf("the mail has a code besides the link:\n%s", m.Text)
	}
	link := ""
	for _, line := range strings.Split(m.Text, "\n") {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, s.provider.Issuer()) {
			link = strings.TrimPrefix(line, s.provider.Issuer())
		}
	}
	if link == "" {
		t.Fatalf("no link in the mail:\n%s", m.Text)
	}
	b := s.browser()
	for range 3 { // a mail filter, and the person twice
		if page := b.get(link); page.status != http.StatusOK || !strings.Contains(page.body, "ann@example.com") {
			t.Fatalf("%d %s", page.status, page.body)
		}
	}
	on := b.submit(b.get(link), "confirm")
	target, err := url.Parse(on.header.Get("Location"))
	if on.status != http.StatusSeeOther || err != nil || !strings.HasPrefix(target.String(), appOrigin+"/welcome?x=1#") {
		t.Fatalf("%d to %q", on.status, on.header.Get("Location"))
	}
	given, err := url.ParseQuery(target.Fragment)
	if err != nil {
		t.Fatal(err)
	}
	code := given.Get("verification_code")
	stranger := s.app(envID)
	mine := stranger.verification("ann@example.com", "email_redirect_to", appOrigin+"/")
	stranger.fails(req{path: "verification/verify", body: fields{"verification_id": mine["verification_id"], "verification_code": code}}, "invalid_argument", 3)
	stranger.fails(req{path: "verification/verify", body: fields{"verification_id": v["verification_id"], "verification_code": code}}, "invalid_argument", 3)
	a.took(a.ok(req{path: "signup", body: fields{"verification_token": a.verify(v, code)}}))
	if again := b.get(link); again.status != http.StatusBadRequest {
		t.Errorf("a used link: %d", again.status)
	}
	if other := s.send(s.request("POST", "/login/link", values("v", "x").Encode(), "Content-Type", "application/x-www-form-urlencoded")); other.status != http.StatusForbidden {
		t.Errorf("a form of nobody's: %d", other.status)
	}
}

// What hide_is_user hides is hidden everywhere.
func TestCloudBase_HideIsUser(t *testing.T) {
	s := start(t, options{})
	s.app(hiddenID).signedUp("ann@example.com", "ann", "password123")
	a := s.app(hiddenID)
	for _, target := range []string{"", "ANY", "USER", "NOT_USER"} {
		known := a.ok(req{path: "verification", body: fields{"email": "ann@example.com", "target": target}})
		s.code("ann@example.com")
		unknown := a.ok(req{path: "verification", body: fields{"email": "no@example.com", "target": target}})
		if known["is_user"] != unknown["is_user"] || len(known) != len(unknown) || known["expires_in"] != unknown["expires_in"] {
			t.Errorf("%s: %v, %v", target, known, unknown)
		}
	}
	for _, name := range []string{"ann@example.com", "ann", "no@example.com", "no"} {
		if got := a.ok(req{method: "GET", path: "checkIfUserExist?username=" + url.QueryEscape(name)}); got["exist"] != false {
			t.Errorf("%s: %v", name, got)
		}
	}
	// Signing up with an address that has an account signs in to it.
	again := a.took(a.ok(req{path: "signup", body: fields{"email": "ann@example.com", "verification_token": a.prove("ann@example.com"), "username": "other", "password": "password999"}}))
	if again["sub"] != s.account("ann@example.com").Subject || a.me()["username"] != "ann" {
		t.Errorf("signed up as %v", a.me())
	}
	if got := a.signInWith("ann", "password123"); got.status != http.StatusOK {
		t.Error("signing up again changed the password")
	}
	// A username that is taken is not told of.
	b := s.app(hiddenID)
	b.signedUp("bob@example.com", "ANN", "password123")
	if name := b.me()["username"]; name != nil {
		t.Errorf("the second is called %v", name)
	}
	known, unknown := a.signInWith("ann@example.com", "wrong-password1"), a.signInWith("no@example.com", "wrong-password1")
	if known.body != unknown.body || known.status != unknown.status {
		t.Errorf("%s, %s", known.body, unknown.body)
	}
}

func TestCloudBase_CheckIfUserExist(t *testing.T) {
	s := start(t, options{})
	s.app(envID).signedUp("ann@example.com", "ann", "")
	a := s.app(envID)
	for name, want := range map[string]bool{"ann": true, "ANN": true, "ann@example.com": true, "no": false, "no@example.com": false, "x y": false, "+86 138": false} {
		if got := a.ok(req{method: "GET", path: "checkIfUserExist?username=" + url.QueryEscape(name)}); got["exist"] != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	a.fails(req{method: "GET", path: "checkIfUserExist"}, "invalid_argument", 3)
}

// A device that has signed in before is not locked out by strangers, with codes and
// with passwords.
func TestCloudBase_KnownDevice(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) { c.Limits.TriesPerSource = 1000 }})
	owner, stranger := s.app(envID), s.app(envID)
	owner.signedUp("ann@example.com", "ann", "password123")
	if got := owner.signInWith("ann", "password123"); got.status != http.StatusOK {
		t.Fatal(got.body)
	}
	for range 12 {
		stranger.signInWith("ann@example.com", "wrong-password1")
	}
	for range 3 {
		v := stranger.verification("ann@example.com")
		s.code("ann@example.com")
		for i := range 4 {
			stranger.do(req{path: "verification/verify", body: fields{"verification_id": v["verification_id"], "verification_code": fmt.Sprintf("%06d", i)}})
		}
	}
	if got := stranger.signInWith("ann", "password123"); got.status == http.StatusOK {
		t.Error("a stranger has more tries than ten")
	}
	v := stranger.verification("ann@example.com")
	if got := stranger.do(req{path: "verification/verify", body: fields{"verification_id": v["verification_id"], "verification_code": s.code("ann@example.com")}}); got.status == http.StatusOK {
		t.Error("a stranger has more codes than ten")
	}
	owner.token = ""
	if got := owner.signInWith("ann", "password123"); got.status != http.StatusOK {
		t.Errorf("the owner's password: %d %s", got.status, got.body)
	}
	owner.took(owner.ok(req{path: "signin", body: fields{"verification_token": owner.prove("ann@example.com")}}))
}

func TestCloudBase_Captcha(t *testing.T) {
	s := start(t, options{})
	a := s.app(envID)
	data := a.ok(req{path: "captcha/data", body: fields{"state": "POST:/v1/verification", "redirect_uri": ""}})
	if !strings.HasPrefix(data["data"].(string), "data:image/gif;base64,") || data["expires_in"] != float64(300) || data["type"] != "image" {
		t.Errorf("%v", data)
	}
	// What the picture shows: the test knows the deployment's secret.
	ring, err := secrets.New([]secrets.Secret{{ID: "test", Value: []byte("a secret of at least thirty-two bytes")}})
	if err != nil {
		t.Fatal(err)
	}
	guess := func(token, key any) req {
		return req{path: "captcha/data/verify", body: fields{"token": token, "key": key}}
	}
	digits := func(token any) string {
		t.Helper()
		plain, err := ring.OpenString("captcha puzzle", token.(string), []byte(envID))
		if err != nil {
			t.Fatal(err)
		}
		var puzzle struct{ Digits string }
		if err := json.Unmarshal(plain, &puzzle); err != nil {
			t.Fatal(err)
		}
		return puzzle.Digits
	}
	right := digits(data["token"])
	if got := a.ok(guess(data["token"], right)); got["captcha_token"] == "" || got["expires_in"] != float64(600) {
		t.Errorf("%v", got)
	}
	a.fails(guess(data["token"], right), "captcha_invalid", 4002) // a picture has one guess
	data = a.ok(req{path: "captcha/data", body: fields{}})
	right = digits(data["token"])
	a.fails(guess(data["token"], "abcd"), "captcha_invalid", 4002)
	a.fails(guess(data["token"], right), "captcha_invalid", 4002)
	data = a.ok(req{path: "captcha/data", body: fields{}})
	s.app(hiddenID).fails(guess(data["token"], digits(data["token"])), "captcha_invalid", 4002)
	a.fails(guess("x", "1234"), "captcha_invalid", 4002)
}

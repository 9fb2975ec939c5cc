package provider_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/config"
)

// onPasswordPage opens the password page of an authorization request.
func (b *browser) onPasswordPage(path, name string) answer {
	b.s.t.Helper()
	_, fields := formOf(b.s.t, b.get(path).body, "use-password")
	fields.Set("email", name)
	return form{action: "/login/password", values: fields}.send(b, fields)
}

func TestPasswordPage(t *testing.T) {
	s := start(t, options{})
	s.app(envID).signedUp("ann@example.com", "ann", "password123")
	for _, name := range []string{"ann@example.com", "ANN@example.com", "ann", " Ann "} {
		b := s.browser()
		page := b.onPasswordPage(authorizePath(webID, "prompt", "login"), name)
		page = b.submit(page, "password", "password", "wrong-password1")
		if page.status != http.StatusBadRequest || !strings.Contains(page.body, "wrong") {
			t.Fatalf("a wrong password: %d %s", page.status, page.body)
		}
		back := b.submit(page, "password", "password", "password123").arrives(t, callback)
		tokens := s.exchange(back.Get("code")).json(t)
		id := claimsOf(t, tokens["id_token"])
		if amr, ok := id["amr"].([]any); !ok || len(amr) != 1 || amr[0] != "pwd" || id["acr"] != "urn:lettergate:acr:password" {
			t.Errorf("amr %v, acr %v", id["amr"], id["acr"])
		}
	}
}

// An unknown name and a wrong password get the same page, but for what was typed.
func TestPasswordPage_UnknownName(t *testing.T) {
	s := start(t, options{})
	s.app(envID).signedUp("ann@example.com", "ann", "password123")
	var bodies []string
	for _, name := range []string{"ann@example.com", "bob@example.com", "ann", "bob", "x y"} {
		b := s.browser()
		page := b.submit(b.onPasswordPage(authorizePath(webID), name), "password", "password", "wrong-password1")
		bodies = append(bodies, firstProblem(t, page))
	}
	for _, body := range bodies {
		if body != bodies[0] {
			t.Errorf("%q and %q", body, bodies[0])
		}
	}
}

func firstProblem(t *testing.T, page answer) string {
	t.Helper()
	_, rest, ok := strings.Cut(page.body, `id="problem"`)
	if !ok || page.status != http.StatusBadRequest {
		t.Fatalf("%d %s", page.status, page.body)
	}
	problem, _, _ := strings.Cut(rest, "</p>")
	return problem
}

// Where no app lets people choose passwords there is no page for them, and the token
// endpoint takes none anywhere.
func TestPasswordPage_OnlyWhereThereAreSome(t *testing.T) {
	s := start(t, options{config: withoutCloudBase})
	if page := s.browser().get(authorizePath(webID)); strings.Contains(page.body, "use-password") {
		t.Error("a password is offered")
	}
	s = start(t, options{})
	s.app(envID).signedUp("ann@example.com", "ann", "password123")
	for _, client := range []string{envID, webID, nativeID} {
		s.post("/oauth2/token", "grant_type", "password", "client_id", client, "username", "ann", "password", "password123").is(t, http.StatusBadRequest, "unsupported_grant_type")
	}
}

// The code instead: the address goes along.
func TestPasswordPage_BackToACode(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) { c.Clients[0].SignUp = true }})
	b := s.browser()
	page := b.onPasswordPage(authorizePath(webID), "ann@example.com")
	_, fields := formOf(t, page.body, "use-code")
	sent := form{action: "/login/email", values: fields}.send(b, fields)
	if sent.status != http.StatusSeeOther {
		t.Fatalf("%d %s", sent.status, sent.body)
	}
	s.code("ann@example.com")
}

// OP-11 for passwords: the session of a browser is another one after each sign-in, and
// what it was before is none any more.
func TestOP11_SessionChangesAtPassword(t *testing.T) {
	s := start(t, options{direct: true})
	s.app(envID).signedUp("ann@example.com", "ann", "password123")
	b := s.browser()
	signIn := func() {
		t.Helper()
		page := b.onPasswordPage(authorizePath(webID, "prompt", "login"), "ann")
		b.submit(page, "password", "password", "password123").arrives(t, callback)
	}
	signIn()
	for range 2 {
		before := b.cookies()
		old := &browser{s: s, client: &http.Client{Transport: s.transport, Jar: jarOf(t, s, before)}}
		if !old.isSignedIn() {
			t.Fatal("the copied cookies are no session: nothing is tested")
		}
		signIn()
		for name, value := range b.cookies() {
			if strings.HasSuffix(name, "-session") && value == before[name] {
				t.Error("the cookie is the same")
			}
		}
		old.client.Jar = jarOf(t, s, before)
		if old.isSignedIn() {
			t.Error("the old cookie still signs in")
		}
	}
}

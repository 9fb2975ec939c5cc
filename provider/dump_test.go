package provider_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
)

// TestAS17_DumpHoldsNoSecret runs every flow and then looks for everything that
// was secret in it, in all that the database holds.
func TestAS17_DumpHoldsNoSecret(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) {
		c.Clients[4].AccessTokenFormat = config.AccessTokenOpaque
		c.Clients[4].SignUp = true
	}})
	secrets := map[string]string{"the deployment's secret": "a secret of at least thirty-two bytes", "client secret": backendSecret, "code_verifier": verifier}

	b := s.browser()
	page := b.get(authorizePath(webID))
	_, form := formOf(t, page.body, "email")
	secrets["sealed request"], secrets["form token"] = form.Get("request"), form.Get("csrf")
	page = b.submit(page, "email", "email", "ann@example.com")
	secrets["emailed code"] = s.code("ann@example.com")
	q := b.submit(page, "code", "code", secrets["emailed code"]).arrives(t, callback)
	secrets["authorization code"] = q.Get("code")
	here, err := url.Parse(s.url("/"))
	if err != nil {
		t.Fatal(err)
	}
	for _, cookie := range b.client.Jar.Cookies(here) {
		secrets["cookie "+cookie.Name] = cookie.Value
	}
	if len(secrets) < 9 {
		t.Fatalf("only %d secrets: the browser should have two cookies", len(secrets))
	}
	collect := func(prefix string, a answer) map[string]any {
		t.Helper()
		if a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", prefix, a.status, a.body)
		}
		tokens := a.json(t)
		for _, name := range []string{"access_token", "refresh_token", "id_token", "verification_id"} {
			if v, ok := tokens[name].(string); ok {
				secrets[prefix+" "+name] = v
			}
		}
		return tokens
	}
	first := collect("code flow", s.exchange(secrets["authorization code"]))
	collect("refresh", s.refresh(first["refresh_token"].(string)))
	for _, client := range []string{nativeID, nosignupID} {
		started := collect(client, s.post("/oauth2/verification", "client_id", client, "email", "bob@example.com", "scope", "openid"))
		code := s.code("bob@example.com")
		secrets[client+" emailed code"] = code
		collect(client, s.post("/oauth2/token", "grant_type", config.GrantEmailCaptcha, "client_id", client,
			"verification_id", started["verification_id"].(string), "verification_code", code))
	}
	// A code that is still to be redeemed, and one more mail on its way.
	pending := b.get(authorizePath(webID)).arrives(t, callback)
	secrets["pending authorization code"] = pending.Get("code")
	collect("pending", s.post("/oauth2/verification", "client_id", nativeID, "email", "eve@example.com"))
	secrets["pending emailed code"] = s.code("eve@example.com")

	appSecrets(s, secrets, collect)
	assertion := signerKey().assertion(t, s.claims(signerID, time.Now()).with("jti", "the-jti-of-an-assertion"))
	secrets["assertion"], secrets["jti"] = assertion, "the-jti-of-an-assertion"
	collect("own token", s.ownToken(assertion))

	dump := dumpOf(t, s.at)
	for name, secret := range secrets {
		if secret == "" {
			t.Errorf("%s is empty: the test looks for nothing", name)
			continue
		}
		for form, needle := range map[string]string{
			"in clear": secret, "in hex": hex.EncodeToString([]byte(secret)),
			"in base64": strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(secret)), "="),
		} {
			if len(secret) < 10 {
				// Six digits occur by chance in many places; an emailed code would stand
				// as a value of its own.
				needle = `"` + needle + `"`
			}
			if bytes.Contains(dump, []byte(needle)) {
				t.Errorf("the database holds the %s %s", name, form)
			}
		}
		if raw, err := base64.RawURLEncoding.DecodeString(secret); err == nil && len(raw) >= 16 && bytes.Contains(dump, raw) {
			t.Errorf("the database holds the bytes of the %s", name)
		}
	}
	// The keys are there, sealed: their private members would be these.
	if !bytes.Contains(dump, []byte("keys")) {
		t.Error("no signing keys in the dump: the test looks in the wrong place")
	}
	for _, member := range []string{`"d":`, `PRIVATE KEY`} {
		if bytes.Contains(dump, []byte(member)) {
			t.Errorf("the database holds %q", member)
		}
	}
}

// appSecrets makes the calls of the CloudBase API and notes what is secret in them.
func appSecrets(s *server, secrets map[string]string, collect func(string, answer) map[string]any) {
	s.t.Helper()
	a := s.app(envID)
	secrets["password"], secrets["device id"] = "a-password-1", a.device
	started := collect("app", a.do(req{path: "verification", body: fields{"email": "app@example.com"}}))
	secrets["app emailed code"] = s.code("app@example.com")
	secrets["verification token"] = a.verify(started, secrets["app emailed code"])
	secrets["request id"] = "request-id-of-a-sign-up"
	a.took(collect("app signup", a.do(req{path: "signup", id: secrets["request id"], body: fields{"verification_token": secrets["verification token"], "username": "app", "password": secrets["password"]}})))
	collect("app signin", a.signInWith("app", secrets["password"]))
	secrets["sudo token"] = a.sudo(secrets["password"]).(string)
	secrets["new password"] = "a-password-2"
	a.ok(req{method: "PATCH", path: "user/password", body: fields{"sudo_token": secrets["sudo token"], "new_password": secrets["new password"]}, bearer: true})
	secrets["pending verification token"] = a.prove("new@example.com")
	linked := a.verification("link@example.com", "email_redirect_to", appOrigin+"/")
	secrets["link's verification_id"] = linked["verification_id"].(string)
	_, handle, _ := strings.Cut(s.waitMail("link@example.com").Text, "/login/link?v=")
	secrets["link"], _, _ = strings.Cut(handle, "\n")
}

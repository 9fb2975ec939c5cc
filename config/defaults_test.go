package config_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lettergate/lettergate/config"
)

func TestDefault(t *testing.T) {
	c := config.Default()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.Issuer != "http://localhost:8080" || c.Listen != "localhost:8080" || !c.Loopback() || !c.Development() {
		t.Errorf("Default() is no development server: %+v", c)
	}
	if diff := cmp.Diff(c, c.WithDefaults()); diff != "" {
		t.Errorf("WithDefaults changes what is complete:\n%s", diff)
	}
}

// TestOff checks that a Config filled by hand can say both: the default and zero.
func TestOff(t *testing.T) {
	c := config.Config{}.WithDefaults()
	if c.Tokens.RefreshGrace.Std() != time.Minute || c.Keys.RotateEvery.Std() != 90*24*time.Hour {
		t.Errorf("not said: %v, %v", c.Tokens.RefreshGrace, c.Keys.RotateEvery)
	}
	c = config.Config{Tokens: config.Tokens{RefreshGrace: config.Off}, Keys: config.Keys{RotateEvery: config.Off}}.WithDefaults()
	if c.Tokens.RefreshGrace.Std() != 0 || c.Keys.RotateEvery.Std() != 0 {
		t.Errorf("off: %v, %v", c.Tokens.RefreshGrace, c.Keys.RotateEvery)
	}
}

func TestWithDefaultsByIssuer(t *testing.T) {
	for _, test := range []struct {
		issuer, listen, profile, from string
		loopback                      bool
	}{
		{"http://localhost", "localhost:80", "development", "Lettergate <no-reply@localhost>", true},
		{"http://127.0.0.1:9096/tenant", "127.0.0.1:9096", "development", "Lettergate <no-reply@localhost>", true},
		{"http://[::1]:9096", "[::1]:9096", "development", "Lettergate <no-reply@localhost>", true},
		{"https://localhost:8443", "localhost:8080", "production", "", true},
		{"https://id.example.com", "localhost:8080", "production", "", false},
		{"http://id.example.com", "localhost:8080", "production", "", false},
		{"http://localhost.example.com", "localhost:8080", "production", "", false},
		{"http://[::ffff:127.0.0.1]", "localhost:8080", "production", "", false},
		{"http://[::1%25lo]", "localhost:8080", "production", "", false},
		{"://", "localhost:8080", "production", "", false},
	} {
		c := config.Config{Issuer: test.issuer}.WithDefaults()
		if c.Listen != test.listen || c.Limits.Profile != test.profile || c.Mail.From != test.from || c.Loopback() != test.loopback {
			t.Errorf("%s: listen %s, profile %s, from %q, loopback %v", test.issuer, c.Listen, c.Limits.Profile, c.Mail.From, c.Loopback())
		}
	}
}

func TestWithDefaultsMail(t *testing.T) {
	for _, test := range []struct{ in, want config.Mail }{
		{config.Mail{}, config.Mail{}},
		{config.Mail{Host: "h"}, config.Mail{Host: "h", Port: 587, Security: "starttls"}},
		{config.Mail{Host: "h", Security: "ssl"}, config.Mail{Host: "h", Port: 465, Security: "ssl"}},
		{config.Mail{Host: "h", Security: "ssl", Port: 2465}, config.Mail{Host: "h", Port: 2465, Security: "ssl"}},
		{config.Mail{Host: "h", InsecurePlaintext: true}, config.Mail{Host: "h", Port: 25, InsecurePlaintext: true}},
	} {
		got := config.Config{Issuer: "https://id.example.com", Mail: test.in}.WithDefaults().Mail
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

func TestWithDefaultsCopies(t *testing.T) {
	c := config.Config{Clients: []config.Client{{ID: "a"}}}
	_ = c.WithDefaults()
	if diff := cmp.Diff(config.Client{ID: "a"}, c.Clients[0]); diff != "" {
		t.Errorf("WithDefaults changed its receiver:\n%s", diff)
	}
}

func TestClient(t *testing.T) {
	for _, test := range []struct {
		name   string
		client config.Client
		method string
		grants []string // allowed
	}{
		{"public", config.Client{}, "none", []string{"authorization_code"}},
		{"confidential", config.Client{Secrets: []config.Secret{secretA}}, "client_secret_basic", []string{"authorization_code"}},
		{
			"post", config.Client{Secrets: []config.Secret{secretA}, TokenEndpointAuthMethod: "client_secret_post", GrantTypes: []string{"client_credentials"}},
			"client_secret_post", []string{"client_credentials"},
		},
		{"all", config.Client{GrantTypes: []string{"refresh_token", config.GrantEmailCaptcha}}, "none", []string{"refresh_token", config.GrantEmailCaptcha}},
	} {
		var grants []string
		for _, grant := range []string{"authorization_code", "refresh_token", "client_credentials", config.GrantEmailCaptcha, "password", ""} {
			if test.client.Allows(grant) {
				grants = append(grants, grant)
			}
		}
		if diff := cmp.Diff(test.grants, grants); diff != "" {
			t.Errorf("%s: grants, -want +got:\n%s", test.name, diff)
		}
		if got := test.client.AuthMethod(); got != test.method || test.client.Public() != (test.method == "none") {
			t.Errorf("%s: %s, public %v", test.name, got, test.client.Public())
		}
	}
}

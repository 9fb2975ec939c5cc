package session_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/middleware/session"
)

func TestNewSaysAllThatIsWrong(t *testing.T) {
	_, err := session.New(session.Config{Secrets: []string{"short"}, Lifetime: -1, Scopes: []string{"a b"}, Params: url.Values{"state": {"x"}}, Home: "//evil"})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"Issuer is missing", "ClientID is missing", "RedirectURL is not", "Secrets[0] is shorter", "Lifetime -1", `"a b"`, "Params: state", "Home"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("it does not say %q: %v", want, err)
		}
	}
}

func TestNew(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*session.Config)
		good   bool
	}{
		"as it should be":         {func(*session.Config) {}, true},
		"at the root":             {func(c *session.Config) { c.RedirectURL = "https://app.example/callback" }, true},
		"with a port":             {func(c *session.Config) { c.RedirectURL = "https://app.example:8443/a/b/c" }, true},
		"http on loopback":        {func(c *session.Config) { c.RedirectURL = "http://127.0.0.1:3000/auth/callback" }, true},
		"http on IPv6 loopback":   {func(c *session.Config) { c.RedirectURL = "http://[::1]:3000/auth/callback" }, true},
		"http elsewhere":          {func(c *session.Config) { c.RedirectURL = "http://app.example/auth/callback" }, false},
		"http on almost loopback": {func(c *session.Config) { c.RedirectURL = "http://localhost.evil.example/auth/callback" }, false},
		"only a path":             {func(c *session.Config) { c.RedirectURL = "/auth/callback" }, false},
		"no path":                 {func(c *session.Config) { c.RedirectURL = "https://app.example" }, false},
		"the root itself":         {func(c *session.Config) { c.RedirectURL = "https://app.example/" }, false},
		"a trailing slash":        {func(c *session.Config) { c.RedirectURL = "https://app.example/auth/" }, false},
		"dots":                    {func(c *session.Config) { c.RedirectURL = "https://app.example/x/../callback" }, false},
		"a space":                 {func(c *session.Config) { c.RedirectURL = "https://app.example/a b/callback" }, false},
		"an escape":               {func(c *session.Config) { c.RedirectURL = "https://app.example/a%2Fb/callback" }, false},
		"named as its neighbour":  {func(c *session.Config) { c.RedirectURL = "https://app.example/auth/login" }, false},
		"a wildcard":              {func(c *session.Config) { c.RedirectURL = "https://app.example/{x}" }, false},
		"a query":                 {func(c *session.Config) { c.RedirectURL = "https://app.example/auth/callback?x=1" }, false},
		"a fragment":              {func(c *session.Config) { c.RedirectURL = "https://app.example/auth/callback#" }, false},
		"a user":                  {func(c *session.Config) { c.RedirectURL = "https://u@app.example/auth/callback" }, false},
		"another scheme":          {func(c *session.Config) { c.RedirectURL = "app:/callback" }, false},
		"a path after logout":     {func(c *session.Config) { c.PostLogoutRedirectURL = "/" }, false},
		"a query after logout":    {func(c *session.Config) { c.PostLogoutRedirectURL = "https://app.example/?bye" }, true},
		"an http issuer":          {func(c *session.Config) { c.Issuer = "http://id.example" }, false},
		"no secrets":              {func(c *session.Config) { c.Secrets = nil }, false},
		"one that is too short":   {func(c *session.Config) { c.Secrets = append(c.Secrets, strings.Repeat("x", 31)) }, false},
		"an unknown algorithm":    {func(c *session.Config) { c.Algorithms = []string{"HS256"} }, false},
		"a century":               {func(c *session.Config) { c.Lifetime = 100 * 365 * 24 * time.Hour }, false},
	} {
		cfg := newWorld(t).config()
		c.change(&cfg)
		s, err := session.New(cfg)
		if (err == nil) != c.good || (s == nil) == c.good {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error tells a secret: %v", name, err)
		}
	}
}

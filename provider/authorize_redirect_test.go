package provider_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider"
)

// mutants are what attackers make of https://app.example/callback.
var mutants = map[string][]string{
	"case": {"HTTPS://app.example/callback", "https://APP.example/callback", "https://app.example/Callback"},
	"path": {
		"https://app.example/callback/", "https://app.example//callback", "https://app.example/./callback", "https://app.example/x/../callback",
		"https://app.example/callback/..", "https://app.example/callback/%2e%2e", "https://app.example/callback;x", `https://app.example/callback\`,
		"https://app.example/callbac", "https://app.example/callbackk", "https://app.example/", "https://app.example",
	},
	"encoding": {
		"https://app.example/%63allback", "https://app.example/callback%2f", "https://app.example/callback%00", "https://app.example/callback%0d%0ax:y",
		"https://app%2eexample/callback", "https%3A%2F%2Fapp.example%2Fcallback", "https://app.example%2fcallback",
	},
	"port": {"https://app.example:443/callback", "https://app.example:8443/callback", "https://app.example:/callback"},
	"userinfo": {
		"https://app.example@evil.example/callback", "https://evil@app.example/callback", "https://app.example:x@evil.example/callback",
		"https://a@b@app.example/callback", "https://evil.example%40app.example/callback", `https://evil.example\@app.example/callback`,
		"https://evil.example#@app.example/callback", "https://evil.example?@app.example/callback",
	},
	"slashes": {`https:\\app.example\callback`, "https:/app.example/callback", "https:///app.example/callback", "https:app.example/callback", "//app.example/callback"},
	"host": {
		"https://app.example.evil.example/callback", "https://evilapp.example/callback", "https://www.app.example/callback", "https://app.example./callback",
		"https://\u0430pp.example/callback", "https://xn--pp-7kc.example/callback", "https://app\u3002example/callback", "https://app.example\u200b/callback",
	},
	"scheme":      {"http://app.example/callback", "javascript:alert(1)//app.example/callback", "data:text/html,https://app.example/callback"},
	"white space": {" https://app.example/callback", "https://app.example/callback ", "https://app.example/callback\t", "https://app.example/callback\r\n", "https://app.example /callback"},
	"query":       {"https://app.example/callback?", "https://app.example/callback?x=1", "https://app.example/callback&x=1"},
	"fragment":    {"https://app.example/callback#", "https://app.example/callback#x"},
}

func TestAS01_RedirectMutants(t *testing.T) {
	s := start(t, options{})
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback) // an open redirector would not even ask
	n := 0
	for kind, uris := range mutants {
		for _, uri := range uris {
			t.Run(kind, func(t *testing.T) {
				t.Log(uri)
				b.send(s.request("GET", authorizePath(webID, "redirect_uri", uri), "")).isPage(t, http.StatusBadRequest)
			})
			n++
		}
	}
	if n < 40 {
		t.Errorf("only %d mutants", n)
	}
}

// An address can be spelt in many ways; the registered one is right.
func TestAS01_AddressSpellings(t *testing.T) {
	registered := []string{"https://192.0.2.1/callback", "https://[2001:db8::1]/callback"}
	s := start(t, options{config: func(c *config.Config) { c.Clients[0].RedirectURIs = registered }})
	for _, uri := range registered {
		if a := s.get(authorizePath(webID, "redirect_uri", uri)); a.status != http.StatusOK {
			t.Errorf("%s: %d, want the sign-in page", uri, a.status)
		}
	}
	for _, host := range []string{
		"3221225985", "0xC0000201", "0xc0.0.2.1", "030000001001", "0300.0.02.01", "192.0.513", "192.513", "192.000.002.001", "192.0.2.1.", "192.0.2.01",
		"192.0.2.1.evil.example", "192\u30020\u30022\u30021", "\uff11\uff19\uff12.0.2.1", "%31%39%32.0.2.1", "[::ffff:192.0.2.1]", "[::ffff:c000:201]", "[192.0.2.1]",
		"2001:db8::1", "[2001:DB8::1]", "[2001:db8:0:0:0:0:0:1]", "[2001:0db8::1]", "[2001:db8::0.0.0.1]", "[2001:db8::1%25eth0]", "[2001:db8::1]evil.example", "[2001:db8::1]:443",
	} {
		t.Run("host", func(t *testing.T) {
			t.Log(host)
			s.get(authorizePath(webID, "redirect_uri", "https://"+host+"/callback")).isPage(t, http.StatusBadRequest)
		})
	}
}

func TestAS02_NeverRedirects(t *testing.T) {
	s := start(t, options{})
	wrong := map[string][]string{
		"unknown client":              {"client_id", "nobody"},
		"no client":                   {"client_id", ""},
		"client in other case":        {"client_id", "Web"},
		"no redirect_uri":             {"redirect_uri", ""},
		"wrong redirect_uri":          {"redirect_uri", "https://evil.example/callback"},
		"another client's":            {"client_id", thirdID, "redirect_uri", "http://127.0.0.1/cb"},
		"relative redirect_uri":       {"redirect_uri", "/callback"},
		"redirect_uri with fragment":  {"redirect_uri", callback + "#x"},
		"client without redirect_uri": {"client_id", nativeID},
	}
	also := map[string][]string{
		"alone":             {},
		"bad scope":         {"scope", "no:such"},
		"bad response_type": {"response_type", "token"},
		"no PKCE":           {"code_challenge", "", "code_challenge_method", ""},
		"prompt=none":       {"prompt", "none"},
		"request object":    {"request", "eyJhbGciOiJub25lIn0.e30."},
	}
	for what, bad := range wrong {
		for with, more := range also {
			t.Run(what+"/"+with, func(t *testing.T) {
				s.get(authorizePath(webID, append(bad, more...)...)).isPage(t, http.StatusBadRequest)
			})
		}
	}
	for _, path := range []string{"/oauth2/authorize", "/oauth2/authorize?", "/oauth2/authorize?client_id=web", "/oauth2/authorize?%zz"} {
		s.get(path).isPage(t, http.StatusBadRequest)
	}
}

func TestAS03_LoopbackPort(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) {
		c.Clients[0].RedirectURIs = []string{"http://127.0.0.1/cb", "http://[::1]:4000/cb"}
		c.Clients[1].RedirectURIs = []string{"https://127.0.0.1/cb", "http://localhost/cb"}
	}})
	for _, uri := range []string{
		"http://127.0.0.1/cb", "http://127.0.0.1:1/cb", "http://127.0.0.1:9999/cb", "http://127.0.0.1:65535/cb", "http://[::1]:9/cb", "http://[::1]/cb",
	} {
		if a := s.get(authorizePath(webID, "redirect_uri", uri)); a.status != http.StatusOK {
			t.Errorf("%s: %d, want the sign-in page", uri, a.status)
		}
		q := s.get(authorizePath(webID, "redirect_uri", uri, "prompt", "none")).arrives(t, uri+"?")
		if q.Get("error") != "login_required" {
			t.Errorf("%s is told %v", uri, q)
		}
	}
	for client, uris := range map[string][]string{
		webID: {
			"http://u:p@127.0.0.1:9/cb", "http://localhost:9/cb", "http://127.0.0.2:9/cb", "http://127.0.0.1.evil.com/cb", "http://127.0.0.1:9/cb?x=1",
			"http://127.0.0.1:9/cb/", "http://127.0.0.1:9/CB", "http://127.0.0.1:9/", "http://127.0.0.1:9", "https://127.0.0.1:9/cb", "HTTP://127.0.0.1:9/cb",
			"http://127.0.0.1:/cb", "http://127.0.0.1:65536/cb", "http://127.0.0.1:-1/cb", "http://127.0.0.1:+9/cb", "http://127.0.0.1: 9/cb", "http://127.0.0.1:0x9/cb",
			"http://127.0.0.1:9@evil.example/cb", `http://127.0.0.1:9\@evil.example/cb`, "http://127.0.0.1:9#@evil.example/cb", "http://127.0.0.1:9?/cb",
			"http://127.1:9/cb", "http://2130706433:9/cb", "http://0177.0.0.1:9/cb", "http://0x7f.0.0.1/cb", "http://[::ffff:127.0.0.1]:9/cb", "http://[0:0:0:0:0:0:0:1]:9/cb",
			"http://[::1%25lo]:9/cb", "http://[::1]evil:9/cb", "http://[::1].evil.example/cb",
		},
		thirdID: {"http://127.0.0.1:9999/cb", "https://127.0.0.1:9999/cb", "http://localhost:9/cb"},
	} {
		for _, uri := range uris {
			t.Run(client, func(t *testing.T) {
				t.Log(uri)
				s.get(authorizePath(client, "redirect_uri", uri)).isPage(t, http.StatusBadRequest)
			})
		}
	}
}

// What a client registers comes back as it is, with its own query.
func TestRedirectKeepsRegisteredQuery(t *testing.T) {
	const uri = "https://app.example/cb?tenant=a%2Fb&x="
	s := start(t, options{config: func(c *config.Config) { c.Clients[0].RedirectURIs = []string{uri} }})
	a := s.browser().signIn(authorizePath(webID, "redirect_uri", uri), "ann@example.com")
	a.arrives(t, uri+"&")
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	if q := u.Query(); q.Get("tenant") != "a/b" || q.Get("code") == "" || !strings.HasPrefix(u.RawQuery, "tenant=a%2Fb&x=&") {
		t.Errorf("the client gets %s", u.RawQuery)
	}
	got := s.post("/oauth2/token", "grant_type", "authorization_code", "client_id", webID, "code", u.Query().Get("code"), "redirect_uri", uri, "code_verifier", verifier)
	if got.status != http.StatusOK {
		t.Errorf("exchange: %d %s", got.status, got.body)
	}
}

// A provider does not start with a client that could be redirected to these.
func TestAS04_DangerousURIsAreNotRegistered(t *testing.T) {
	for _, uri := range []string{
		"javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:https://app.example/1", "about:blank",
		"http://app.example/callback", "http://localhost.evil.example/", "https://app.example/callback#x", "https://app.example/callback#", "https://u:p@app.example/callback",
		"https://*.app.example/callback", "https://app.example/*", `https://app.example\.evil.example/`, `https:\\app.example\callback`,
		"https://app.example/callback\r\nLocation:x", "https://app.example/callback\n", "https://b\u00fccher.example/callback", "https://app.example/\u00fc", "//app.example/callback", "/callback", "",
	} {
		for where, register := range map[string]func(*config.Client){
			"redirect_uris":             func(c *config.Client) { c.RedirectURIs = append(c.RedirectURIs[:0:0], callback, uri) },
			"post_logout_redirect_uris": func(c *config.Client) { c.PostLogoutRedirectURIs = []string{uri} },
		} {
			cfg := testConfig("http://localhost:8080")
			register(&cfg.Clients[0])
			if _, err := provider.New(cfg, quiet(nil)); err == nil || !strings.Contains(err.Error(), where) {
				t.Errorf("%q as one of %s: %v", uri, where, err)
			}
		}
	}
}

package provider_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/config"
)

var machinePosts = []string{"/oauth2/token", "/oauth2/verification", "/oauth2/revoke", "/oauth2/introspect"}

func TestAS31_Methods(t *testing.T) {
	s := start(t, options{})
	for path, allow := range map[string]string{
		"/oauth2/authorize": "GET, POST", "/login/email": "GET, POST", "/login/code": "GET, POST", "/login/code/resend": "POST", "/consent": "POST",
		"/oauth2/logout": "GET, POST", "/logout": "GET, POST", "/oauth2/token": "POST", "/oauth2/verification": "POST", "/oauth2/userinfo": "GET, POST",
		"/oauth2/introspect": "POST", "/oauth2/revoke": "POST", "/oauth2/jwks": "GET", "/healthz": "GET", "/readyz": "GET",
		"/.well-known/openid-configuration": "GET", "/.well-known/oauth-authorization-server": "GET",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"} {
			asks := method
			if public := strings.HasPrefix(path, "/.well-known") || strings.HasSuffix(path, "z") || strings.HasSuffix(path, "/jwks"); method == "HEAD" && public {
				asks = "GET" // a link checker's HEAD on a page or on authorize must do nothing
			}
			if strings.Contains(allow, asks) {
				continue
			}
			a := s.send(s.request(method, path, ""))
			if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != allow {
				t.Errorf("%s %s: %d, Allow %q; want 405 and %q", method, path, a.status, a.header.Get("Allow"), allow)
			}
			if strings.HasPrefix(a.header.Get("Cache-Control"), "public") {
				t.Errorf("%s %s may be cached", method, path)
			}
		}
	}
	a := s.send(s.request("GET", "/oauth2/token", "", "X-HTTP-Method-Override", "POST"))
	a.is(t, http.StatusMethodNotAllowed, "invalid_request")
}

func TestAS32_CORS(t *testing.T) {
	s := start(t, options{})
	const ours = "https://app.example"
	foreign := []string{
		"https://evil", "null", "https://app.example.evil.com", "https://evilapp.example", "http://app.example", "https://app.example:443",
		"https://app.example:8443", "https://APP.example", "https://app.example/", "https://x.app.example", "*", "https://app.example https://evil",
	}
	for _, path := range []string{"/oauth2/authorize", "/login/email", "/login/code", "/consent", "/oauth2/logout", "/logout", "/oauth2/introspect", "/healthz", "/nowhere"} {
		for _, origin := range append(foreign, ours) {
			for _, method := range []string{"GET", "POST", "OPTIONS"} {
				s.noCORS(path, method, origin)
			}
		}
	}
	for _, path := range []string{"/oauth2/token", "/oauth2/verification", "/oauth2/userinfo", "/oauth2/revoke"} {
		for _, origin := range foreign {
			for _, method := range []string{"POST", "OPTIONS"} {
				s.noCORS(path, method, origin)
			}
		}
		for _, method := range []string{"POST", "OPTIONS"} { // errors can be read too
			a := s.send(s.request(method, path, "", "Origin", ours, "Access-Control-Request-Method", "POST"))
			h := a.header
			if h.Get("Access-Control-Allow-Origin") != ours || h.Get("Vary") != "Origin" || h.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s %s from %s: %v", method, path, ours, h)
			}
			if method == "OPTIONS" && (a.status != http.StatusNoContent || !strings.Contains(h.Get("Access-Control-Allow-Methods"), "POST")) {
				t.Errorf("preflight of %s: %d %v", path, a.status, h)
			}
		}
	}
	for _, path := range []string{"/oauth2/jwks", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		a := s.send(s.request("GET", path, "", "Origin", "https://evil"))
		if a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %v", path, a.header)
		}
	}
}

// noCORS fails the test when a page of the origin may read the answer.
func (s *server) noCORS(path, method, origin string) {
	s.t.Helper()
	a := s.send(s.request(method, path, "", "Origin", origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization"))
	for name := range a.header {
		if strings.HasPrefix(name, "Access-Control-") && name != "Access-Control-Expose-Headers" {
			s.t.Errorf("%s %s from %s: %s: %v", method, path, origin, name, a.header[name])
		}
	}
}

// evilHeaders is a transport that claims to be asked under another name.
type evilHeaders struct{ next http.RoundTripper }

func (e evilHeaders) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host = "evil.example"
	for name, value := range map[string]string{
		"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher", "X-Forwarded-Port": "6666", "X-Forwarded-Prefix": "/evil", "X-Forwarded-Server": "evil.example",
		"Forwarded": `for=192.0.2.66;host=evil.example;proto=gopher`, "X-Forwarded-For": "192.0.2.66", "X-Real-Ip": "192.0.2.66", "X-Original-Url": "/evil",
		"X-Rewrite-Url": "/evil", "X-Host": "evil.example", "X-Request-Id": "evil", "Referer": "https://evil.example/",
	} {
		r.Header.Set(name, value)
	}
	resp, err := e.next.RoundTrip(r)
	return resp, err
}

// sawEvil reports the traces of evilHeaders in an answer.
func (a answer) sawEvil() bool {
	all := a.body
	for name, values := range a.header {
		all += name + ": " + strings.Join(values, ", ") + "\n"
	}
	for _, trace := range []string{"evil", "gopher", "6666", "192.0.2.66"} {
		if strings.Contains(all, trace) {
			return true
		}
	}
	return false
}

func TestAS34_HostAndProxyHeadersSteerNothing(t *testing.T) {
	for _, path := range []string{"", "/id"} {
		s := start(t, options{path: path})
		honest := s.get("/.well-known/openid-configuration").body
		s.transport = evilHeaders{s.transport}
		if a := s.get("/.well-known/openid-configuration"); a.body != honest {
			t.Errorf("the metadata changed:\n%s", a.body)
		}
		b := s.browser()
		page := b.get(authorizePath(webID))
		codePage := b.submit(page, "email", "email", "ann@example.com")
		mail, err := s.inbox.WaitFor(t.Context(), "ann@example.com")
		if err != nil {
			t.Fatal(err)
		}
		if text := mail.Subject + mail.Text + mail.HTML + mail.MessageID; strings.Contains(text, "evil") || strings.Contains(text, "192.0.2.66") {
			t.Errorf("the mail says\n%s", text)
		}
		code := regexpCode.FindStringSubmatch(mail.Text)[1]
		done := b.submit(codePage, "code", "code", code)
		q := done.arrives(t, callback)
		if q.Get("iss") != s.provider.Issuer() {
			t.Errorf("iss %q", q.Get("iss"))
		}
		tokens := s.exchange(q.Get("code"))
		if claims := claimsOf(t, tokens.json(t)["access_token"]); claims["iss"] != s.provider.Issuer() {
			t.Errorf("iss %v in the token", claims["iss"])
		}
		answers := map[string]answer{"page": page, "code page": codePage, "redirect": done, "tokens": tokens}
		for _, p := range machinePosts {
			answers[p] = s.post(p, "client_id", "nobody")
		}
		for _, p := range []string{"/oauth2/userinfo", "/oauth2/authorize", "/logout", "/oauth2/logout", "/nowhere", "/healthz", "/readyz", "/login/email", "/login/code"} {
			answers[p] = s.get(p)
		}
		for name, a := range answers {
			if a.sawEvil() {
				t.Errorf("%s: %d %v\n%s", name, a.status, a.header, a.body)
			}
		}
	}
}

// A header that says nothing about the host: security headers of every answer.
func TestAnswersAreNotSniffedOrKept(t *testing.T) {
	s := start(t, options{direct: true, config: published})
	for _, path := range []string{
		"/oauth2/authorize", "/login/email", "/login/code", "/logout", "/oauth2/logout", "/oauth2/userinfo", "/oauth2/token", "/nowhere", "/oauth2/jwks", "/healthz",
	} {
		a := s.get(path)
		if a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("Strict-Transport-Security") == "" || a.header.Get("X-Request-Id") == "" {
			t.Errorf("%s: %v", path, a.header)
		}
		if path != "/oauth2/jwks" && a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control %q", path, a.header.Get("Cache-Control"))
		}
	}
}

// published makes the test server's issuer one that others can reach.
func published(c *config.Config) {
	c.Issuer = "https://id.example"
}

package provider_test

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider"
)

var machinePosts = []string{"/oauth2/token", "/oauth2/verification", "/oauth2/revoke", "/oauth2/introspect"}

// everyRow calls visit for the rows of an issuer at the root of its origin, and of one
// below it that shows its mails.
func everyRow(t *testing.T, visit func(s *server, row provider.Row)) {
	t.Helper()
	for _, opts := range []options{{direct: true}, {direct: true, path: "/id", devbox: true}} {
		s := start(t, opts)
		for _, row := range provider.Rows(s.provider) {
			visit(s, row)
		}
	}
}

// requestAt makes a request for a path of the origin.
func (s *server) requestAt(method, path string, headers ...string) *http.Request {
	s.t.Helper()
	req := s.request(method, "", "", headers...)
	req.URL.Path, req.URL.RawPath = path, ""
	return req
}

func TestAS31_Methods(t *testing.T) {
	everyRow(t, func(s *server, row provider.Row) {
		allow := strings.Join(row.Methods, ", ")
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "QUERY", "get", "PoSt", "G3T"} {
			what := method + " " + row.Path
			if slices.Contains(row.Methods, method) {
				continue
			}
			a := s.send(s.requestAt(method, row.Path, "X-HTTP-Method-Override", row.Methods[0], "X-HTTP-Method", row.Methods[0], "X-Method-Override", row.Methods[0]))
			if method == "HEAD" && (row.Public || row.Early) { // elsewhere a link checker's HEAD must do nothing
				if a.status != http.StatusOK {
					t.Errorf("%s: %d", what, a.status)
				}
				continue
			}
			a.keepsTo(t, row, what)
			if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != allow {
				t.Errorf("%s: %d, Allow %q; want 405 and %q", what, a.status, a.header.Get("Allow"), allow)
			}
		}
	})
}

// A HEAD that is answered has no body.
func TestAS31_Head(t *testing.T) {
	s := start(t, options{})
	for _, path := range []string{"/oauth2/jwks", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/healthz", "/readyz"} {
		got, head := s.get(path), s.send(s.request("HEAD", path, ""))
		if head.status != http.StatusOK || head.body != "" || head.header.Get("Content-Type") != "application/json" || head.header.Get("ETag") != got.header.Get("ETag") {
			t.Errorf("%s: %d %v %q", path, head.status, head.header, head.body)
		}
	}
}

// ours are the origins that clients of the test server registered, and foreign those
// that look like them and others.
var (
	ours    = []string{"https://app.example", appOrigin}
	foreign = []string{
		"https://evil", "null", "https://app.example.evil.com", "https://evilapp.example", "http://app.example", "https://app.example:443",
		"https://app.example:8443", "https://APP.example", "https://app.example/", "https://x.app.example", "*", "https://app.example https://evil",
		"https://app.example,https://evil", "https://app.example@evil", "https://app.example\\.evil", "app.example", "//app.example", "https://app.exampl", "https://app.example.", "file://",
	}
)

func TestAS32_CORS(t *testing.T) {
	everyRow(t, func(s *server, row provider.Row) {
		allowed := func(method, origin string) http.Header {
			a := s.send(s.requestAt(method, row.Path, "Origin", origin, "Access-Control-Request-Method", row.Methods[0], "Access-Control-Request-Headers", "authorization", "Access-Control-Request-Private-Network", "true"))
			if a.header.Get("Access-Control-Allow-Credentials") != "" || a.header.Get("Access-Control-Allow-Private-Network") != "" {
				t.Errorf("%s %s from %s: %v", method, row.Path, origin, a.header)
			}
			if preflight := method == "OPTIONS" && row.CORS != "none"; preflight != (a.status == http.StatusNoContent) {
				t.Errorf("%s %s from %s: %d", method, row.Path, origin, a.status)
			}
			a.header.Set("Status", strconv.Itoa(a.status))
			return a.header
		}
		for _, method := range append([]string{"OPTIONS", "PUT"}, row.Methods...) { // PUT: errors can be read, too
			for _, origin := range append(slices.Clone(foreign), ours...) {
				h := allowed(method, origin)
				want := map[string]string{"any": "*"}[row.CORS]
				if slices.Contains(ours, origin) && (row.CORS == "clients" || row.CORS == "cloudbase") {
					want = origin
				}
				what := method + " " + row.Path + " from " + origin
				if got := h.Values("Access-Control-Allow-Origin"); strings.Join(got, " ") != want {
					t.Errorf("%s: allowed to %q, want %q", what, got, want)
				}
				if want != "*" && row.CORS != "none" && h.Get("Vary") != "Origin" {
					t.Errorf("%s: Vary %q", what, h.Get("Vary"))
				}
				if want == "" && (h.Get("Access-Control-Allow-Methods") != "" || h.Get("Access-Control-Allow-Headers") != "" || h.Get("Access-Control-Max-Age") != "") && row.CORS != "any" {
					t.Errorf("%s: %v", what, h)
				}
				if method == "OPTIONS" && want == origin && !strings.Contains(h.Get("Access-Control-Allow-Methods"), row.Methods[0]) {
					t.Errorf("%s: preflight %v", what, h)
				}
			}
		}
	})
	s := start(t, options{direct: true})
	for _, origin := range append(slices.Clone(foreign), ours...) {
		a := s.send(s.request("OPTIONS", "/nowhere", "", "Origin", origin, "Access-Control-Request-Method", "POST"))
		if a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("/nowhere from %s: %v", origin, a.header)
		}
	}
}

// TestAS52_EveryAnswer: whatever is wrong with a request, the answer is the row's own, and
// nobody may keep it.
func TestAS52_EveryAnswer(t *testing.T) {
	s := start(t, options{direct: true})
	s.walk(func(t *testing.T, row provider.Row, method string, fl flow) {
		a := fl.prepare(s, addressFor(method, row.Path, 0))()
		if a.keepsTo(t, row, "good"); a.status != fl.ok {
			t.Errorf("good: %d %.300s", a.status, a.body)
		}
		for what, change := range map[string]func(*http.Request){
			"nothing":           func(*http.Request) {},
			"no form":           func(r *http.Request) { r.Header.Set("Content-Type", "multipart/form-data; boundary=x") },
			"broken form":       func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("a=%zz&a=%00")) },
			"too large":         func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(strings.Repeat("a", int(row.Body)+1))) },
			"broken query":      func(r *http.Request) { r.URL.RawQuery = "client_id=env&a=%zz;&a=1&v=%00" },
			"unknown token":     func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") },
			"unknown client":    func(r *http.Request) { r.SetBasicAuth("nobody", "x") },
			"other credentials": func(r *http.Request) { r.Header.Set("Authorization", "Negotiate x") },
			"foreign page": func(r *http.Request) {
				r.Header.Set("Origin", "https://evil.example")
				r.Header.Set("Sec-Fetch-Site", "cross-site")
			},
			"conditional": func(r *http.Request) { r.Header.Set("If-None-Match", "*"); r.Header.Set("Range", "bytes=0-1") },
		} {
			in := s.requestAt(method, row.Path, "Content-Type", formType)
			if row.App {
				in.URL.RawQuery = "client_id=" + envID
			}
			change(in)
			a := s.send(in)
			a.keepsTo(t, row, what)
			if what == "too large" && row.Body > 0 && method == http.MethodPost && a.status != http.StatusRequestEntityTooLarge {
				t.Errorf("%s: %d", what, a.status)
			}
			if a.status >= 500 {
				t.Errorf("%s: %d %.300s", what, a.status, a.body)
			}
		}
	})
	// Before it is ready, and where there is nothing.
	p, err := provider.New(testConfig("http://localhost:8080"), quiet(openStore(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range provider.Rows(p) {
		for _, method := range row.Methods {
			a := asked(p, method, row.Path)
			a.keepsTo(t, row, "not ready, "+method+" "+row.Path)
			if !row.Early && (a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "") {
				t.Errorf("not ready, %s %s: %d %v", method, row.Path, a.status, a.header)
			}
		}
	}
	// A handler that says nothing of it is not kept either.
	silent := provider.Rehandled(s.provider, func(http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }
	})
	for _, row := range provider.Rows(s.provider) {
		a := asked(silent, row.Methods[0], row.Path)
		if kept := a.header.Get("Cache-Control") != "no-store"; kept != row.Public || a.header.Get("X-Content-Type-Options") != "nosniff" || a.header.Get("X-Request-Id") == "" {
			t.Errorf("%s, silent: %v", row.Path, a.header)
		}
	}
	s.get("/nowhere").keepsTo(t, provider.Row{Person: true}, "/nowhere")
	s.get("/auth/v1/nowhere").keepsTo(t, provider.Row{App: true}, "/auth/v1/nowhere")
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

// The same on every route, with good requests.
func TestAS34_EveryRoute(t *testing.T) {
	s := start(t, options{direct: true})
	s.transport = evilHeaders{s.transport}
	s.walk(func(t *testing.T, row provider.Row, method string, fl flow) {
		a := fl.prepare(s, addressFor(method, row.Path, 0))()
		if a.status != fl.ok || a.sawEvil() {
			t.Errorf("%d %v %.500s", a.status, a.header, a.body)
		}
	})
	for _, m := range s.inbox.Messages() {
		if text := m.Subject + m.Text + m.HTML + m.MessageID; strings.Contains(text, "evil") || strings.Contains(text, "192.0.2.66") {
			t.Errorf("a mail says\n%s", text)
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

package session_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/middleware/session"
)

// newFuzzed returns an app whose issuer answers nothing.
func newFuzzed(f *testing.F) *session.Sessions {
	s, err := session.New(session.Config{
		Issuer: issuerURL, ClientID: clientID, ClientSecret: clientSecret, RedirectURL: appURL + "/auth/callback", Secrets: []string{secret},
		Client: &http.Client{Transport: hosts{}}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		f.Fatal(err)
	}
	return s
}

// Whatever somebody puts into return_to, it stays on this app, for a browser and
// for whoever decodes it once or twice more.
func FuzzReturnTo(f *testing.F) {
	s := newFuzzed(f)
	for _, raw := range []string{"/", "/notes?x=%2F", "//evil", `/\evil`, "/%2fevil", "/%09/x", "/x/..//evil", "https://evil", "/a;b", "/?//x"} {
		f.Add(raw)
	}
	app, err := url.Parse(appURL + "/auth/login")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		_, query, ok := strings.Cut(s.LoginURL(raw), "?")
		if !ok {
			return // not accepted
		}
		q, err := url.ParseQuery(query)
		if err != nil || q.Get("return_to") != raw {
			t.Fatalf("LoginURL(%q) has the query %q, %v", raw, query, err)
		}
		for range 3 {
			to, err := app.Parse(raw)
			if err != nil || to.Scheme != "https" || to.Host != app.Host || strings.HasPrefix(raw, "//") || strings.ContainsAny(raw, "\r\n\t") && !strings.Contains(raw, "?") {
				t.Fatalf("leads to %v, %v", to, err)
			}
			path, _, _ := strings.Cut(raw, "?")
			if raw, err = url.PathUnescape(path); err != nil {
				return
			}
		}
	})
}

// No cookie that was made up signs anybody in, and none stops the app.
func FuzzCookies(f *testing.F) {
	s := newFuzzed(f)
	name := "__Host-lg-390ad752"
	for _, header := range []string{"", name + "-app=1.AAAA", name + "-app=2.AAAA; " + name + "-app2=AAAA", name + "-login-AAAAAAAAAAAAAAAA=AAAA", "=;=", name + "-app=1." + strings.Repeat("A", 4000)} {
		f.Add(header, "state=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA&code=x")
	}
	guarded := s.Require(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	f.Fuzz(func(t *testing.T, cookies, query string) {
		for path, h := range map[string]http.Handler{"/": guarded, "/auth/callback": s.Handler(), "/auth/login": s.Handler()} {
			r := httptest.NewRequest("GET", path, nil)
			r.URL.RawQuery = query
			r.Header.Set("Cookie", cookies)
			r.Header.Set("Accept", "text/html")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != http.StatusBadRequest && w.Code != http.StatusServiceUnavailable {
				t.Errorf("%s with %q: %d", path, cookies, w.Code)
			}
		}
	})
}

package web_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/oauth"
	"github.com/lettergate/lettergate/provider/internal/web"
)

func inbound(t *testing.T, log *bytes.Buffer, proxies ...string) *web.Inbound {
	t.Helper()
	in, err := web.New("https://id.example", proxies, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// TestEC47_Source is whom a limit is counted for.
func TestEC47_Source(t *testing.T) {
	for _, c := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"no proxy", "203.0.113.7:4711", nil, "203.0.113.7"},
		{"a stranger's header is not believed", "203.0.113.7:4711", []string{"198.51.100.1"}, "203.0.113.7"},
		{"behind a proxy", "10.0.0.1:4711", []string{"203.0.113.7"}, "203.0.113.7"},
		{"behind two", "10.0.0.1:4711", []string{"203.0.113.7, 10.0.0.2"}, "203.0.113.7"},
		{"what the client forged stands further left", "10.0.0.1:4711", []string{"1.1.1.1, 203.0.113.7"}, "203.0.113.7"},
		{"two headers are one list", "10.0.0.1:4711", []string{"1.1.1.1", "203.0.113.7"}, "203.0.113.7"},
		{"a proxy that adds the port", "10.0.0.1:4711", []string{"203.0.113.7:5555"}, "203.0.113.7"},
		{"a proxy that says nothing", "10.0.0.1:4711", nil, "10.0.0.1"},
		{"a proxy that says nonsense", "10.0.0.1:4711", []string{"nonsense"}, "10.0.0.1"},
		{"IPv4 in IPv6", "[::ffff:203.0.113.7]:4711", nil, "203.0.113.7"},
		{"IPv6", "[2001:db8::1]:4711", nil, "2001:db8::1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.peer
			for _, f := range c.forwarded {
				r.Header.Add("X-Forwarded-For", f)
			}
			if got := inbound(t, new(bytes.Buffer), "10.0.0.0/8").Source(r).String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestOwnForm(t *testing.T) {
	for _, c := range []struct {
		name, site, origin string
		want               bool
	}{
		{"ours", "same-origin", "https://id.example", true},
		{"ours, before Sec-Fetch-Site", "", "https://id.example", true},
		{"neither header", "", "", true},
		{"another site", "cross-site", "https://evil.example", false},
		{"a sister domain", "same-site", "https://www.id.example", false},
		{"typed by hand", "none", "", false},
		{"another origin", "", "https://evil.example", false},
		{"ours, under no-referrer", "same-origin", "null", true},
		{"a sandboxed frame", "cross-site", "null", false},
		{"our name as a prefix", "", "https://id.example.evil.example", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("POST", "https://evil.example/", nil) // the Host header is anybody's
			for name, value := range map[string]string{"Sec-Fetch-Site": c.site, "Origin": c.origin} {
				if value != "" {
					r.Header.Set(name, value)
				}
			}
			if got := inbound(t, new(bytes.Buffer)).OwnForm(r); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestErrorsAreLoggedAndNotTold(t *testing.T) {
	var log bytes.Buffer
	in := inbound(t, &log)
	cause := errors.New("dial tcp 10.0.0.3:6379: refused")
	w := httptest.NewRecorder()
	web.WithRequestID(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in.WriteError(w, r, oauth.NewError(oauth.CodeTemporarilyUnavailable, "Try again.").WithCause(cause))
	})).ServeHTTP(w, httptest.NewRequest("POST", "/oauth2/token", nil))

	if w.Code != 503 || w.Header().Get("Retry-After") == "" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if strings.Contains(w.Body.String(), "6379") {
		t.Errorf("the cause was told: %s", w.Body)
	}
	id := w.Header().Get("X-Request-Id")
	if strings.Count(log.String(), "6379") != 1 || id == "" || !strings.Contains(log.String(), id) {
		t.Errorf("logged:\n%s", log.String())
	}
}

func TestUnauthorizedNamesAMethod(t *testing.T) {
	w := httptest.NewRecorder()
	inbound(t, new(bytes.Buffer)).WriteError(w, httptest.NewRequest("POST", "/", nil), oauth.NewError(oauth.CodeInvalidClient, "Who are you?"))
	if got := w.Header().Get("WWW-Authenticate"); w.Code != 401 || !strings.HasPrefix(got, "Basic ") {
		t.Errorf("%d %q", w.Code, got)
	}
}

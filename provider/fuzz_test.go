package provider_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider"
	"github.com/lettergate/lettergate/provider/mail/mailtest"
)

// fuzzed runs a provider for as long as a fuzz target runs. Two addresses have codes
// that are known.
func fuzzed(f *testing.F) *provider.Provider {
	f.Helper()
	db := openStorage(f, emptyStorage(f), nil)
	cfg := testConfig("http://localhost:8080")
	testCodes(&cfg)
	p, err := provider.New(cfg, provider.Deps{
		Store: db, Mailer: mailtest.New(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	f.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			f.Error(err)
		}
	})
	for {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		if w.Code == http.StatusOK {
			return p
		}
		select {
		case err := <-done:
			f.Fatalf("Run: %v", err)
		default:
		}
	}
}

// leadsHome fails the test when an answer is ours to be ashamed of, or leads
// somewhere that no client registered.
func leadsHome(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code >= 500 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	location := w.Header().Get("Location")
	if location == "" {
		return
	}
	if w.Code != http.StatusSeeOther {
		t.Fatalf("%d to %q", w.Code, location)
	}
	if !strings.HasPrefix(location, "/oauth2/authorize?") {
		isRegistered(t, location)
	}
}

// isRegistered fails the test when a client of ours is not at the address.
func isRegistered(t *testing.T, location string) {
	t.Helper()
	u, err := url.Parse(location)
	if err != nil {
		t.Fatalf("to %q: %v", location, err)
	}
	u.RawQuery = ""
	switch {
	case u.Fragment != "" || strings.ContainsAny(location, "\r\n\\"):
		t.Fatalf("to %q", location)
	case u.String() == callback:
	case u.Scheme == "http" && u.Hostname() == "127.0.0.1" && u.Path == "/cb" && u.User == nil:
	default:
		t.Fatalf("to %q, which nobody registered", location)
	}
}

func FuzzAuthorizeQuery(f *testing.F) {
	p := fuzzed(f)
	_, good, _ := strings.Cut(authorizePath(webID), "?")
	for _, seed := range []string{
		good, good + "&prompt=none", good + "&prompt=none&max_age=0", good + "&prompt=login+consent&ui_locales=de", good + "&resource=https%3A%2F%2Fapi.example&prompt=none",
		good + "&id_token_hint=a.b.c", good + "&login_hint=%22%3E%3Cscript%3E", good + "&request=x", good + "&state=twice", good + "&response_mode=form_post", good + "&response_mode=form_post&prompt=none",
		strings.Replace(good, url.QueryEscape(callback), "http%3A%2F%2F127.0.0.1%3A4000%2Fcb", 1) + "&prompt=none",
		"client_id=backend&response_type=code&redirect_uri=" + url.QueryEscape(callback) + "&prompt=none", "client_id=native", "resume=x", "resume=AAAAAAAAAAAAAAAAAAAAAA",
		"", "&", "=", "%", ";", "a=%zz", "a=%ff", "client_id=web&redirect_uri=https%3A%2F%2Fevil.example", "client_id=%00", strings.Repeat("a=b&", 200),
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, query string, post bool) {
		r := httptest.NewRequest("GET", "/oauth2/authorize", nil)
		r.URL.RawQuery = query
		if post {
			r = httptest.NewRequest("POST", "/oauth2/authorize", strings.NewReader(query))
			r.Header.Set("Content-Type", formType)
		}
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		leadsHome(t, w)
		if w.Code == http.StatusOK && !strings.Contains(w.Body.String(), `id="email"`) {
			action, form := formOf(t, w.Body.String(), "submit") // an error for the client
			if isRegistered(t, action); form.Get("error") == "" || form.Has("code") {
				t.Fatalf("the client is told %v", form)
			}
		}
	})
}

func FuzzTokenBody(f *testing.F) {
	p := fuzzed(f)
	paths := []string{"/oauth2/token", "/oauth2/verification", "/oauth2/revoke", "/oauth2/introspect", "/oauth2/userinfo", "/oauth2/logout", "/login/email", "/login/code", "/consent", "/logout"}
	unsigned := encode(signerKey().header().json()) + "." + encode(object{"iss": signerID, "sub": signerID, "aud": "http://localhost:8080", "jti": "x", "exp": time.Now().Add(time.Minute).Unix()}.json()) + "."
	for i := range paths {
		for _, seed := range []string{
			values("client_assertion_type", assertionType, "client_assertion", unsigned+strings.Repeat("A", 86), "grant_type", "client_credentials", "token", "x").Encode(),
			values(exchangeForm(strings.Repeat("A", 64))...).Encode(),
			values("grant_type", "refresh_token", "client_id", webID, "refresh_token", strings.Repeat("A", 75)).Encode(),
			values("grant_type", "client_credentials", "scope", "notes:read", "resource", api).Encode(),
			values("grant_type", "urn:lettergate:params:oauth:grant-type:email-captcha", "client_id", nativeID, "verification_id", strings.Repeat("A", 70), "verification_code", "123456").Encode(),
			values("client_id", nativeID, "email", "ann@example.com", "scope", "openid", "code_challenge", challenge(verifier), "code_challenge_method", "S256").Encode(),
			values("client_id", webID, "token", "a.b.c", "token_type_hint", "access_token").Encode(),
			"client_assertion=a.b.c&client_assertion_type=x", "access_token=lga_AAAA", "csrf=x&request=y&email=z&v=AAAAAAAAAAAAAAAAAAAAAA",
			"", "&", "a", "a=%zz", "a;b", "client_id=web&client_id=web", "client_id=%ff", strings.Repeat("a=b&", 200), strings.Repeat("x", 70<<10),
		} {
			f.Add(uint8(i), "", seed)
			f.Add(uint8(i), "Basic YmFja2VuZDp4", seed)
		}
		f.Add(uint8(i), "Basic "+strings.Repeat("A", 100), "grant_type=client_credentials")
		f.Add(uint8(i), "Bearer a.b.c", "grant_type=client_credentials")
	}
	f.Fuzz(func(t *testing.T, path uint8, authorization, body string) {
		r := httptest.NewRequest("POST", paths[int(path)%len(paths)], strings.NewReader(body))
		r.Header.Set("Content-Type", formType)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if to := w.Header().Get("Location"); to != "" && !strings.HasPrefix(to, "/oauth2/logout?") && !strings.HasPrefix(to, "https://app.example/bye") {
			t.Fatalf("%s leads to %q", r.URL.Path, to)
		}
		if w.Code == http.StatusOK && strings.Contains(w.Body.String(), "access_token") {
			t.Fatalf("tokens for nobody: %s", w.Body)
		}
	})
}

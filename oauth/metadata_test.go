package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/oauth"
)

// answers is a round tripper that knows some URLs and refuses the rest.
type answers map[string]string

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	body, ok := a[r.URL.String()]
	if to, redirect := strings.CutPrefix(body, "-> "); redirect {
		rec.Header().Set("Location", to)
		rec.WriteHeader(http.StatusFound)
	} else if !ok {
		rec.WriteHeader(http.StatusNotFound)
	}
	rec.WriteString(body)
	return rec.Result(), nil
}

func TestFetchMetadata(t *testing.T) {
	const oidc, rfc8414 = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"
	document := func(issuer, keys string) string {
		return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q,"token_endpoint":"https://x"}`, issuer, keys)
	}
	const id, keys = "https://id.example", "https://id.example/keys"
	for name, c := range map[string]struct {
		issuer  string
		answers answers
		want    string // jwks_uri, or "" for an error
	}{
		"root":                   {id, answers{id + oidc: document(id, keys)}, keys},
		"path":                   {id + "/t", answers{id + "/t" + oidc: document(id+"/t", keys)}, keys},
		"trailing slash":         {id + "/t/", answers{id + "/t" + oidc: document(id+"/t/", keys)}, keys},
		"RFC 8414 at the root":   {id, answers{id + rfc8414: document(id, keys)}, keys},
		"RFC 8414 with a path":   {id + "/t", answers{id + rfc8414 + "/t": document(id+"/t", keys)}, keys},
		"second when first bad":  {id, answers{id + oidc: "<html>", id + rfc8414: document(id, keys)}, keys},
		"keys on another host":   {id, answers{id + oidc: document(id, "https://cdn.example/k?v=1")}, "https://cdn.example/k?v=1"},
		"loopback":               {"http://localhost:1", answers{"http://localhost:1" + oidc: document("http://localhost:1", "http://localhost:1/k")}, "http://localhost:1/k"},
		"no document":            {id, answers{}, ""},
		"another issuer":         {id, answers{id + oidc: document("https://evil.example", keys), id + rfc8414: document(id+"/", keys)}, ""},
		"issuer in another case": {id, answers{id + oidc: strings.Replace(document(id, keys), "issuer", "Issuer", 1)}, ""},
		"issuer twice":           {id, answers{id + oidc: strings.Replace(document("https://evil.example", keys), "}", `,"issuer":"`+id+`"}`, 1)}, ""},
		"not UTF-8":              {id, answers{id + oidc: strings.Replace(document(id, keys), "}", ",\"x\":\"\xff\"}", 1)}, ""},
		"redirect":               {id, answers{id + oidc: "-> " + id + "/there", id + "/there": document(id, keys)}, ""},
		"keys over http":         {id, answers{id + oidc: document(id, "http://id.example/keys")}, ""},
		"keys on loopback":       {id, answers{id + oidc: document(id, "http://127.0.0.1/keys")}, ""},
		"keys in a file":         {id, answers{id + oidc: document(id, "file:///etc/passwd")}, ""},
		"keys nowhere":           {id, answers{id + oidc: document(id, "/keys")}, ""},
		"more than 1 MiB":        {id, answers{id + oidc: document(id, keys) + strings.Repeat(" ", 1<<20)}, ""},
		"http issuer":            {"http://id.example", answers{"http://id.example" + oidc: document("http://id.example", keys)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := oauth.FetchMetadata(t.Context(), &http.Client{Transport: c.answers}, c.issuer)
			if (err == nil) != (c.want != "") || m.JWKSURI != c.want {
				t.Errorf("got %+v, %v, want %q", m, err, c.want)
			}
			if err == nil && m.Issuer != c.issuer {
				t.Errorf("Issuer = %q, want %q", m.Issuer, c.issuer)
			}
		})
	}
}

func TestFetchMetadataEndpoints(t *testing.T) {
	const id = "https://id.example"
	document := `{"issuer":"` + id + `","authorization_endpoint":"` + id + `/authorize?tenant=1","token_endpoint":"http://id.example/token",
		"userinfo_endpoint":"javascript:alert(1)","revocation_endpoint":"http://localhost/revoke","end_session_endpoint":"https://out.example/",
		"token_endpoint_auth_methods_supported":["client_secret_post"],"authorization_response_iss_parameter_supported":true}`
	m, err := oauth.FetchMetadata(t.Context(), &http.Client{Transport: answers{id + "/.well-known/openid-configuration": document}}, id)
	if err != nil {
		t.Fatal(err)
	}
	want := oauth.Metadata{
		Issuer: id, AuthorizationEndpoint: id + "/authorize?tenant=1", EndSessionEndpoint: "https://out.example/",
		TokenAuthMethods: []string{"client_secret_post"}, ResponseIssuer: true,
	}
	if !reflect.DeepEqual(m, want) { // what must not be used is left out
		t.Errorf("got  %+v\nwant %+v", m, want)
	}
}

// The client may be the one that the program uses for its users.
func TestFetchMetadataSendsNoCookies(t *testing.T) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	jar.SetCookies(&url.URL{Scheme: "https", Host: "id.example"}, []*http.Cookie{{Name: "session", Value: "s"}})
	seen := 0
	transport := tripFunc(func(r *http.Request) (*http.Response, error) {
		seen += len(r.Cookies())
		return answers{}.RoundTrip(r)
	})
	oauth.FetchMetadata(t.Context(), &http.Client{Transport: transport, Jar: jar}, "https://id.example")
	if seen != 0 {
		t.Errorf("%d cookies were sent", seen)
	}
}

// tripFunc is a round tripper made of a function.
type tripFunc func(*http.Request) (*http.Response, error)

func (f tripFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type stuck struct{}

func (stuck) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

type drip struct{ ctx context.Context }

func (d drip) Read(p []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(time.Second):
		return copy(p, " "), nil
	}
}

type dripping struct{}

func (dripping) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(drip{r.Context()})}, nil
}

func TestFetchMetadataTakesTenSecondsAtMost(t *testing.T) {
	for _, transport := range []http.RoundTripper{stuck{}, dripping{}} {
		synctest.Test(t, func(t *testing.T) {
			client := &http.Client{Transport: transport}
			start := time.Now()
			if _, err := oauth.FetchMetadata(t.Context(), client, "https://id.example"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want a deadline", err)
			}
			if took := time.Since(start); took != 10*time.Second {
				t.Errorf("took %v, want 10 s", took)
			}
			// The caller's own deadline counts where there is one.
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			start = time.Now()
			oauth.FetchMetadata(ctx, client, "https://id.example")
			if took := time.Since(start); took != time.Minute {
				t.Errorf("took %v, want a minute", took)
			}
		})
	}
}

func TestFetchMetadataOverHTTP(t *testing.T) {
	var issuer string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/openid-configuration" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, issuer, issuer+"/keys")
	}))
	defer server.Close()
	issuer = server.URL
	if m, err := oauth.FetchMetadata(t.Context(), nil, issuer); err != nil || m.JWKSURI != issuer+"/keys" {
		t.Errorf("got %+v, %v", m, err)
	}
}

package interop_test

import (
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

// api is the name of the protected service.
const api = "https://api.example"

// serviceSecret is the one of a service that asks an issuer about tokens. What has to be
// encoded in it is, twice (RFC 6749 section 2.3.1), as in the names of services.
const serviceSecret = "a+b %:&"

// callback is where clients are sent back to. Nobody listens there: the person stops in
// front of it.
const callback = "https://app.example/callback"

// A clock goes ahead of the real one.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time       { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) step(d time.Duration) { c.ahead.Add(int64(d)) }

// forIssuer is middleware.ForIssuer with a clock.
func forIssuer(t *testing.T, c *clock, issuer string) (oauth.Verifier, *oauth.RemoteKeys) {
	t.Helper()
	keys, err := oauth.NewRemoteKeys(oauth.RemoteConfig{Issuer: issuer, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	v, err := oauth.NewJWTVerifier(oauth.JWTConfig{Issuer: issuer, Audiences: []string{api}, Now: c.now}, keys)
	if err != nil {
		t.Fatal(err)
	}
	return v, keys
}

// protect puts what scopes ask for in front of a handler that tells whom it sees.
func protect(v oauth.Verifier, scopes ...string) http.Handler {
	return middleware.Require(v, scopes...)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := middleware.Claims(r.Context())
		fmt.Fprintf(w, "%s by %s with %s", token.Subject(), token.ClientID(), token.Scopes())
	}))
}

// ask sends a request with a token.
func ask(t *testing.T, h http.Handler, token string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", "/notes", nil).WithContext(t.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// passes checks that the handler saw who it should.
func passes(t *testing.T, h http.Handler, token, want string) {
	t.Helper()
	if w := ask(t, h, token); w.Code != http.StatusOK || w.Body.String() != want {
		t.Errorf("%d %q %s, want 200 %q", w.Code, w.Body, w.Header()["Www-Authenticate"], want)
	}
}

// refuses checks the status and the error that a client is told.
func refuses(t *testing.T, h http.Handler, token string, status int, code string) {
	t.Helper()
	w := ask(t, h, token)
	if w.Code != status || !strings.Contains(w.Body.String(), `"error":"`+code+`"`) {
		t.Errorf("%d %q, want %d %s", w.Code, w.Body, status, code)
	}
	challenged := strings.Contains(w.Header().Get("WWW-Authenticate"), `error="`+code+`"`)
	if challenged != (status < http.StatusInternalServerError) {
		t.Errorf("%d with the challenge %q", w.Code, w.Header()["Www-Authenticate"])
	}
}

// reason tells why a verifier does not accept a token.
func reason(t *testing.T, v oauth.Verifier, token string) string {
	t.Helper()
	if _, err := v.Verify(t.Context(), token); err != nil {
		return err.Error()
	}
	return "accepted"
}

// machine gets a token for a client that acts for itself.
func machine(t *testing.T, cfg clientcredentials.Config) string {
	t.Helper()
	token, err := cfg.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return token.AccessToken
}

// A person uses a browser without scripts: it follows redirects, keeps cookies, and
// fills in forms.
type person struct {
	t       *testing.T
	client  *http.Client
	answers url.Values // what to put into the fields of a form
}

func newPerson(t *testing.T, answers url.Values) *person {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	stop := func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), callback) {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return &person{t, &http.Client{Jar: jar, CheckRedirect: stop, Transport: pages{}}, answers}
}

// pages asks for pages, as a browser does.
type pages struct{}

func (pages) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Accept", "text/html")
	return http.DefaultTransport.RoundTrip(r)
}

// signIn goes through the authorization code flow of a public client with PKCE.
func (p *person) signIn(cfg *oauth2.Config, options ...oauth2.AuthCodeOption) *oauth2.Token {
	p.t.Helper()
	verifier := oauth2.GenerateVerifier()
	back := p.visit(cfg.AuthCodeURL("state", append(options, oauth2.S256ChallengeOption(verifier))...))
	if back.Query().Get("code") == "" {
		p.t.Fatalf("no code in %s", back)
	}
	ctx := context.WithValue(p.t.Context(), oauth2.HTTPClient, &http.Client{})
	token, err := cfg.Exchange(ctx, back.Query().Get("code"), append(options, oauth2.VerifierOption(verifier))...)
	if err != nil {
		p.t.Fatal(err)
	}
	return token
}

var (
	formAction = regexp.MustCompile(`<form[^>]* action="([^"]*)"`)
	hiddenName = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// visit opens a page, fills in every form that comes, and returns where that ends: in
// front of the callback, or on a page without a form.
func (p *person) visit(target string) *url.URL {
	p.t.Helper()
	resp, err := p.client.Get(target)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.fillIn(resp)
}

// fillIn goes on from a page as visit does.
func (p *person) fillIn(resp *http.Response) *url.URL {
	p.t.Helper()
	for range 10 {
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			p.t.Fatal(err)
		}
		if location, err := resp.Location(); err == nil {
			return location
		}
		form := formAction.FindSubmatch(body)
		if resp.StatusCode != http.StatusOK {
			p.t.Fatalf("%s: %d\n%s", resp.Request.URL, resp.StatusCode, body)
		}
		if form == nil {
			return resp.Request.URL
		}
		action, err := resp.Request.URL.Parse(html.UnescapeString(string(form[1])))
		if err != nil {
			p.t.Fatal(err)
		}
		fields := url.Values{}
		for _, f := range hiddenName.FindAllSubmatch(body, -1) {
			fields.Set(string(f[1]), html.UnescapeString(string(f[2])))
		}
		for name, values := range p.answers {
			fields[name] = values
		}
		if resp, err = p.client.PostForm(action.String(), fields); err != nil {
			p.t.Fatal(err)
		}
	}
	p.t.Fatalf("no end of forms at %s", resp.Request.URL)
	return nil
}

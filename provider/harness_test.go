package provider_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider"
	"github.com/lettergate/lettergate/provider/mail/mailtest"
	"github.com/lettergate/lettergate/provider/storage"
)

// The clients of every test server.
const (
	webID      = "web"     // public, first party, authorization code
	thirdID    = "third"   // public, not first party
	secretID   = "backend" // confidential, code and client credentials
	nativeID   = "native"  // public, emailed code as a grant
	nosignupID = "nosignup"
	envID      = "env"    // an app written for CloudBase
	hiddenID   = "hidden" // the same, and nobody learns who has an account
	closedID   = "closed" // the same, without sign-up
	signerID   = "signer" // confidential, signs assertions with signerKey
	appOrigin  = "https://cb.example"
	api        = "https://api.example"

	backendSecret = "backend-secret-of-at-least-32-characters"
	callback      = "https://app.example/callback"
	verifier      = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)

func challenge(v string) string {
	sum := sha256.Sum256([]byte(v))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func testConfig(issuer string) config.Config {
	scopes := []string{"openid", "email", "profile", "offline_access", "notes:read"}
	code := []string{config.GrantAuthorizationCode, config.GrantRefreshToken}
	return config.Config{
		Issuer:  issuer,
		Secrets: []config.SecretKey{{ID: "test", Value: "a secret of at least thirty-two bytes"}},
		// Enough to be argon2id, and quick.
		Passwords: config.Passwords{Memory: 8192, Iterations: 1},
		Clients: []config.Client{
			{ID: webID, Name: "Web", FirstParty: true, SignUp: true, GrantTypes: code, Scopes: scopes, Audiences: []string{api},
				RedirectURIs: []string{callback, "http://127.0.0.1/cb"}, PostLogoutRedirectURIs: []string{"https://app.example/bye"},
				Origins: []string{"https://app.example"}},
			{ID: thirdID, Name: "Third", SignUp: true, GrantTypes: code, Scopes: scopes, RedirectURIs: []string{callback}},
			{ID: secretID, Name: "Backend", FirstParty: true, SignUp: true, Secrets: []config.Secret{backendSecret}, PKCE: config.PKCEOptional,
				GrantTypes: append(code, config.GrantClientCredentials), Scopes: scopes, Audiences: []string{api}, RedirectURIs: []string{callback}},
			{ID: nativeID, Name: "Native", FirstParty: true, SignUp: true, GrantTypes: []string{config.GrantEmailCaptcha, config.GrantRefreshToken},
				Scopes: scopes, Audiences: []string{api}},
			{ID: nosignupID, Name: "Members", FirstParty: true, GrantTypes: []string{config.GrantEmailCaptcha}, Scopes: []string{"openid", "email", "profile", "notes:read"}},
			{ID: envID, Name: "Env", CloudBase: true, SignUp: true, Origins: []string{appOrigin}, Audiences: []string{api},
				Scopes: []string{"openid", "email", "profile", "notes:read"}, PostLogoutRedirectURIs: []string{"https://cb.example/bye"},
				RedirectURIs: []string{appOrigin + "/welcome?x=1", appOrigin + "/"}},
			{ID: hiddenID, Name: "Hidden", CloudBase: true, HideIsUser: true, SignUp: true},
			{ID: closedID, Name: "Closed", CloudBase: true},
			{ID: signerID, Name: "Signer", FirstParty: true, SignUp: true, JWKS: config.JWKS{Keys: []config.JWK{signerJWK()}}, Scopes: scopes, Audiences: []string{api},
				GrantTypes: append(code, config.GrantClientCredentials, config.GrantEmailCaptcha), RedirectURIs: []string{callback}},
		},
	}
}

// withoutRefresh takes from a client what gets it refresh tokens.
func withoutRefresh(c *config.Client) {
	c.GrantTypes = slices.DeleteFunc(slices.Clone(c.GrantTypes), func(g string) bool { return g == config.GrantRefreshToken })
	c.Scopes = slices.DeleteFunc(slices.Clone(c.Scopes), func(s string) bool { return s == "offline_access" })
}

// A server is a provider that answers, with its store and its mail.
type server struct {
	t         *testing.T
	transport http.RoundTripper
	provider  *provider.Provider
	inbox     *mailtest.Inbox
	store     storage.Store
	at        config.Storage // where the store keeps its state
}

// options change a test server before it starts.
type options struct {
	config func(*config.Config)
	store  func(storage.Store) storage.Store // wraps the engine's store
	path   string                            // the issuer's path
	now    func() time.Time
	direct bool // without a listener, for tests in a bubble of testing/synctest
	hooks  provider.Hooks
	devbox bool // mails go to the development mailbox, not to the inbox
	log    io.Writer
}

// start runs a provider on a store of the engine under test, behind a real listener
// or none.
func start(t *testing.T, opts options) *server {
	t.Helper()
	s := &server{t: t, inbox: mailtest.New(), at: emptyStorage(t)}
	s.store = openStorage(t, s.at, opts.now)
	if opts.store != nil {
		s.store = opts.store(s.store)
	}
	front := httptest.NewUnstartedServer(nil)
	issuer := "http://" + front.Listener.Addr().String()
	if opts.direct {
		front.Listener.Close()
		issuer = "http://localhost:8080"
	}
	cfg := testConfig(issuer + opts.path)
	if opts.config != nil {
		opts.config(&cfg)
	}
	deps := provider.Deps{Store: s.store, Mailer: s.inbox, Now: opts.now, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Hooks: opts.hooks}
	if opts.devbox {
		deps.Mailer = nil
	}
	if opts.log != nil {
		deps.Logger = slog.New(slog.NewTextHandler(io.MultiWriter(t.Output(), opts.log), nil))
	}
	var err error
	s.provider, err = provider.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	s.transport = direct{s.provider}
	if !opts.direct {
		front.Config.Handler = s.provider
		front.Start()
		t.Cleanup(front.Close)
		s.transport = front.Client().Transport
	}
	run(t, s.provider)
	return s
}

// direct is a transport that needs no network: it calls the handler.
type direct struct{ handler http.Handler }

// fromRequest marks the context of what a request asks of the store.
type fromRequest struct{}

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	in := r.Clone(context.WithValue(r.Context(), fromRequest{}, true))
	in.RemoteAddr, in.RequestURI = "127.0.0.1:4711", r.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, in)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// run runs the provider until the test ends, and waits until it is ready.
func run(t *testing.T, p *provider.Provider) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var ended error // of Run, once done is closed
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended = p.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		if <-done; ended != nil {
			t.Errorf("Run: %v", ended)
		}
	})
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	base, _ := url.Parse(p.Issuer())
	for range 30_000 {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest("GET", base.Path+"/readyz", nil))
		if w.Code == http.StatusOK {
			return
		}
		select {
		case <-done:
			t.Fatalf("Run ended: %v", ended)
		case <-tick.C:
		}
	}
	t.Fatal("not ready in 30 s")
}

// Client returns a client without cookies.
func (s *server) Client() *http.Client { return &http.Client{Transport: s.transport} }

// origin is scheme, host and port of the issuer.
func (s *server) origin() string {
	u, err := url.Parse(s.provider.Issuer())
	if err != nil {
		s.t.Fatal(err)
	}
	return u.Scheme + "://" + u.Host
}

// url is a URL of the server's issuer.
func (s *server) url(path string) string { return s.provider.Issuer() + path }

// An answer is what came back, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// json decodes the answer, which has to be JSON.
func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		t.Fatalf("status %d, not JSON: %v\n%s", a.status, err, a.body)
	}
	return m
}

// is fails the test unless the answer is an OAuth error of this status and code.
func (a answer) is(t *testing.T, status int, code string) {
	t.Helper()
	if a.status != status || a.json(t)["error"] != code {
		t.Fatalf("got %d %s, want %d %s", a.status, a.body, status, code)
	}
}

func read(t *testing.T, resp *http.Response, err error) answer {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// post sends a form as a machine does; pairs are names and values.
func (s *server) post(path string, pairs ...string) answer {
	s.t.Helper()
	return s.postAs("", "", path, pairs...)
}

// postAs sends a form with Basic credentials.
func (s *server) postAs(id, secret, path string, pairs ...string) answer {
	s.t.Helper()
	req, err := http.NewRequest("POST", s.url(path), strings.NewReader(values(pairs...).Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if id != "" {
		req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	resp, err := s.Client().Do(req)
	return read(s.t, resp, err)
}

func values(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v
}

// A browser keeps cookies and follows redirects within the issuer only.
type browser struct {
	s      *server
	client *http.Client
}

func (s *server) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	client := &http.Client{Jar: jar, Transport: s.transport}
	client.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(req.URL.String(), s.origin()+"/") {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return &browser{s: s, client: client}
}

// get opens a URL of the issuer.
func (b *browser) get(path string) answer {
	b.s.t.Helper()
	resp, err := b.client.Get(b.s.url(path))
	return read(b.s.t, resp, err)
}

// submit sends the form of a page that has the element, with values set over those
// it holds.
func (b *browser) submit(page answer, element string, pairs ...string) answer {
	b.s.t.Helper()
	action, form := formOf(b.s.t, page.body, element)
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	target, err := url.Parse(b.s.url("/"))
	if err != nil {
		b.s.t.Fatal(err)
	}
	if target, err = target.Parse(action); err != nil {
		b.s.t.Fatal(err)
	}
	req, err := http.NewRequest("POST", target.String(), strings.NewReader(form.Encode()))
	if err != nil {
		b.s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", b.s.origin())
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	resp, err := b.client.Do(req)
	return read(b.s.t, resp, err)
}

// formOf returns action and values of the form that contains the element with the
// id.
func formOf(t *testing.T, page, id string) (action string, form url.Values) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" {
			continue
		}
		form, found := url.Values{}, false
		for c := range n.Descendants() {
			if c.Type != html.ElementNode {
				continue
			}
			found = found || attr(c, "id") == id
			if c.Data == "input" && attr(c, "name") != "" {
				form.Set(attr(c, "name"), attr(c, "value"))
			}
		}
		if found {
			return attr(n, "action"), form
		}
	}
	t.Fatalf("no form with #%s on this page:\n%s", id, page)
	return "", nil
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// authorizePath is the path of an authorization request of the client, complete
// but for what pairs change; an empty value leaves a parameter out.
func authorizePath(client string, pairs ...string) string {
	q := values("client_id", client, "redirect_uri", callback, "response_type", "code", "scope", "openid email offline_access",
		"state", "some-state", "nonce", "some-nonce", "code_challenge", challenge(verifier), "code_challenge_method", "S256")
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			q.Del(pairs[i])
		}
	}
	return "/oauth2/authorize?" + q.Encode()
}

// code waits for the newest code mailed to the address after the first n mails.
func (s *server) code(address string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	code, err := s.inbox.Code(ctx, address)
	if err != nil {
		s.t.Fatal(err)
	}
	return code
}

// signIn opens an authorization request, signs in with an emailed code, and returns
// where the browser was sent: the client's callback, or a page.
func (b *browser) signIn(path, address string) answer {
	b.s.t.Helper()
	page := b.get(path)
	page = b.submit(page, "email", "email", address)
	return b.submit(page, "code", "code", b.s.code(address))
}

// arrives returns the parameters that a redirect brought to the client's callback.
func (a answer) arrives(t *testing.T, uri string) url.Values {
	t.Helper()
	location := a.header.Get("Location")
	if a.status != http.StatusSeeOther || !strings.HasPrefix(location, uri) {
		t.Fatalf("got %d to %q, want 303 to %s\n%s", a.status, location, uri, a.body)
	}
	u, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// tokens signs a person in through the code flow of the public client.
func (s *server) tokens(address string) map[string]any {
	s.t.Helper()
	q := s.browser().signIn(authorizePath(webID), address).arrives(s.t, callback)
	got := s.exchange(q.Get("code"))
	if got.status != http.StatusOK {
		s.t.Fatalf("code exchange: %d %s", got.status, got.body)
	}
	return got.json(s.t)
}

// exchange redeems a code of the public client.
func (s *server) exchange(code string, pairs ...string) answer {
	s.t.Helper()
	return s.post("/oauth2/token", append([]string{"grant_type", "authorization_code", "client_id", webID, "code", code,
		"redirect_uri", callback, "code_verifier", verifier}, pairs...)...)
}

// refresh uses a refresh token of the public client.
func (s *server) refresh(token string, pairs ...string) answer {
	s.t.Helper()
	return s.post("/oauth2/token", append([]string{"grant_type", "refresh_token", "client_id", webID, "refresh_token", token}, pairs...)...)
}

// userinfo asks with an access token.
func (s *server) userinfo(token string) answer {
	s.t.Helper()
	req, err := http.NewRequest("GET", s.url("/oauth2/userinfo"), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := s.Client().Do(req)
	return read(s.t, resp, err)
}

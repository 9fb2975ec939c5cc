package providertest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/oauth"
	"github.com/lettergate/lettergate/provider"
	"github.com/lettergate/lettergate/provider/mail/mailtest"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
)

const (
	// ClientID is the client that Token and SignedIn use: public, of the first party,
	// open for sign-up.
	ClientID = "providertest"

	// noAddress is where New's issuer is not: nothing listens there, so a request that
	// misses the transport fails at once instead of finding some other server.
	noAddress = "http://127.0.0.1:1"

	clientOrigin = "https://providertest.example"

	// mailWait is beyond the 30 s for which a mail is left to the provider that was
	// asked for it, when another has taken over meanwhile.
	mailWait = time.Minute
)

// An Issuer is a provider that runs until its test ends. It is safe for concurrent
// use.
type Issuer struct {
	inbox *mailtest.Inbox
	store *sqlstore.Store
	apps  apps

	// turn is of whoever waits for a mail or changes the configuration: a change ends
	// the provider that would have sent the mail.
	turn turn

	mu      sync.Mutex
	cfg     config.Config
	current *running
}

// A turn is a lock whose waiters do not hold up the clock of a bubble.
type turn chan struct{}

func (t turn) take() { t <- struct{}{} }
func (t turn) give() { <-t }

// A running is a provider and the way to end it.
type running struct {
	*provider.Provider
	asked sync.WaitGroup // for each request
	stop  context.CancelFunc
	done  chan struct{}
	err   error // of Run, once done is closed
}

// New starts an issuer without a listener, on a store of its own. What it logs is
// the test's output. change may adjust the configuration, for example add clients,
// before it starts; whatever cannot be done fails the test.
func New(t testing.TB, change ...func(*config.Config)) *Issuer {
	t.Helper()
	return start(t, noAddress, change)
}

// Serve is New behind a listener on a loopback port. It does not work in a bubble
// of testing/synctest.
func Serve(t testing.TB, change ...func(*config.Config)) *Issuer {
	t.Helper()
	front := httptest.NewUnstartedServer(nil)
	i := start(t, "http://"+front.Listener.Addr().String(), change)
	front.Config.Handler = http.HandlerFunc(i.serve)
	front.Start()
	t.Cleanup(front.Close)
	return i
}

func start(t testing.TB, address string, change []func(*config.Config)) *Issuer {
	t.Helper()
	store, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "providertest.db")})
	if err != nil {
		t.Fatalf("providertest: open the store: %v", err)
	}
	i := &Issuer{inbox: mailtest.New(), store: store, turn: make(turn, 1), cfg: config.Config{
		Issuer:  address,
		Secrets: []config.SecretKey{{ID: "test", Value: "the secret of providertest, known to everybody"}},
		// Enough to be argon2id, and quick.
		Passwords: config.Passwords{Memory: 8192, Iterations: 1},
		Clients: []config.Client{{
			ID: ClientID, Name: "Test", FirstParty: true, SignUp: true, RedirectURIs: []string{clientOrigin + "/callback"},
			GrantTypes: []string{config.GrantAuthorizationCode, config.GrantRefreshToken, config.GrantEmailCaptcha},
			Scopes:     []string{"openid", "email", "profile", "offline_access"},
		}},
	}}
	t.Cleanup(func() {
		if i.current != nil {
			i.current.end(t)
		}
		store.Close()
	})
	i.apply(t, func(c *config.Config) {
		for _, f := range change {
			f(c)
		}
	})
	i.apps.mount(i.origin(), http.HandlerFunc(i.serve))
	i.apps.mount(clientOrigin, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "signed in") }))
	return i
}

// apply changes the configuration: another provider takes over on the same store,
// and the one before ends when it has answered what it was asked. The caller has the
// turn.
func (i *Issuer) apply(t testing.TB, change func(*config.Config)) {
	t.Helper()
	cfg := i.config()
	cfg.Clients = slices.Clone(cfg.Clients)
	change(&cfg)
	p, err := provider.New(cfg, provider.Deps{
		Store: i.store, Mailer: i.inbox, Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		t.Fatalf("providertest: %v", err)
	}
	next := run(t, p)
	i.mu.Lock()
	before := i.current
	i.cfg, i.current = cfg, next
	i.mu.Unlock()
	if before != nil {
		before.asked.Wait()
		before.end(t)
	}
}

// serve answers a request by the provider that runs at the moment.
func (i *Issuer) serve(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	p := i.current
	p.asked.Add(1)
	i.mu.Unlock()
	defer p.asked.Done()
	p.ServeHTTP(w, r)
}

func (i *Issuer) config() config.Config {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.cfg
}

// run runs a provider and waits until it is ready.
func run(t testing.TB, p *provider.Provider) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &running{Provider: p, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.err = p.Run(ctx)
	}()
	base, err := url.Parse(p.Issuer())
	if err != nil {
		t.Fatalf("providertest: %v", err)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 30_000 {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, base.Path+"/readyz", nil))
		if w.Code == http.StatusOK {
			return r
		}
		select {
		case <-r.done:
			t.Fatalf("providertest: the provider ended: %v", r.err)
		case <-tick.C:
		}
	}
	t.Fatal("providertest: the provider was not ready in 30 s")
	return nil
}

func (r *running) end(t testing.TB) {
	r.stop()
	if <-r.done; r.err != nil {
		t.Errorf("providertest: the provider ended: %v", r.err)
	}
}

// now returns the provider that answers.
func (i *Issuer) now() *provider.Provider {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.current.Provider
}

// URL returns the issuer's name, as tokens have it in iss.
func (i *Issuer) URL() string { return i.now().Issuer() }

func (i *Issuer) origin() string {
	u, err := url.Parse(i.URL())
	if err != nil {
		return i.URL() // provider.New has accepted it
	}
	return u.Scheme + "://" + u.Host
}

// AddClient registers a client. Those that are known already go on working.
func (i *Issuer) AddClient(t testing.TB, c config.Client) {
	t.Helper()
	i.turn.take()
	defer i.turn.give()
	i.apply(t, func(cfg *config.Config) { cfg.Clients = append(cfg.Clients, c) })
}

// FixCode makes code the code of everything that is mailed to the address from now
// on, without a mail, for scripts that cannot read one. The issuer has to be http on
// a loopback host, as it is unless a test changes it.
func (i *Issuer) FixCode(t testing.TB, address, code string) {
	t.Helper()
	i.turn.take()
	defer i.turn.give()
	i.apply(t, func(cfg *config.Config) {
		cfg.InsecureTestCodes = append(slices.Clone(cfg.InsecureTestCodes), config.TestCode{Email: address, Code: config.Secret(code)})
	})
}

// Inbox returns the mailbox that all mails of the issuer arrive in.
func (i *Issuer) Inbox() *mailtest.Inbox { return i.inbox }

// Code waits for the next mail to the address and returns the code in it.
func (i *Issuer) Code(t testing.TB, address string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), mailWait)
	defer cancel()
	code, err := i.inbox.Code(ctx, address)
	if err != nil {
		t.Fatalf("providertest: %v", err)
	}
	return code
}

// codeFor is Code, or the code that was fixed.
func (i *Issuer) codeFor(t testing.TB, address string) string {
	t.Helper()
	for _, c := range i.config().InsecureTestCodes {
		if strings.EqualFold(c.Email, address) {
			return c.Code.Reveal()
		}
	}
	return i.Code(t, address)
}

// A Person is somebody with an email address. Whoever was never seen before has an
// account after their first sign-in.
type Person struct {
	Email string
}

// User returns the person with an address.
func User(email string) Person { return Person{Email: email} }

// Verifier returns a verifier of the issuer's access tokens, for handlers behind
// middleware.Require. Without audiences it takes the tokens of Token, otherwise
// those of TokenFor for one of them.
func (i *Issuer) Verifier(audiences ...string) oauth.BoundVerifier {
	return verifier{i, slices.Clone(audiences)}
}

// verifier asks the provider that runs at the moment.
type verifier struct {
	issuer    *Issuer
	audiences []string
}

func (v verifier) Verify(ctx context.Context, token string) (*oauth.AccessToken, error) {
	inner, err := v.issuer.now().Verifier(v.audiences...)
	if err != nil {
		return nil, err
	}
	return inner.Verify(ctx, token)
}

// VerifyBound implements [oauth.BoundVerifier].
func (v verifier) VerifyBound(ctx context.Context, token string) (*oauth.AccessToken, error) {
	inner, err := v.issuer.now().Verifier(v.audiences...)
	if err != nil {
		return nil, err
	}
	bound, ok := inner.(oauth.BoundVerifier)
	if !ok {
		return inner.Verify(ctx, token)
	}
	return bound.VerifyBound(ctx, token)
}

// Token returns an access token of a person with these scopes and no others, fresh
// from a sign-in. Its audience is the issuer, which is what Verifier() asks for.
// Scopes need not be registered anywhere before.
func (i *Issuer) Token(t testing.TB, who Person, scopes ...string) string {
	t.Helper()
	return i.TokenFor(t, i.URL(), who, scopes...)
}

// TokenFor is Token for another audience, such as the name of an API.
func (i *Issuer) TokenFor(t testing.TB, audience string, who Person, scopes ...string) string {
	t.Helper()
	i.turn.take()
	defer i.turn.give()
	client := i.clientFor(t, audience, scopes)
	begun := i.post(t, "/oauth2/verification", url.Values{"client_id": {client}, "email": {who.Email}, "scope": {strings.Join(scopes, " ")}})
	id, _ := begun["verification_id"].(string)
	tokens := i.post(t, "/oauth2/token", url.Values{
		"client_id": {client}, "grant_type": {config.GrantEmailCaptcha}, "scope": {strings.Join(scopes, " ")},
		"verification_id": {id}, "verification_code": {i.codeFor(t, who.Email)},
	})
	token, _ := tokens["access_token"].(string)
	return token
}

// Subject returns who a person is at the issuer, "sub" of their tokens.
func (i *Issuer) Subject(t testing.TB, who Person) string {
	t.Helper()
	var claims struct {
		Subject string `json:"sub"`
	}
	parts := strings.Split(i.Token(t, who), ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[min(1, len(parts)-1)])
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	if err != nil {
		t.Fatalf("providertest: the access token cannot be read: %v", err)
	}
	return claims.Subject
}

// clientFor returns the client whose tokens are for an audience, and sees to it that
// it may ask for the scopes.
func (i *Issuer) clientFor(t testing.TB, audience string, scopes []string) string {
	t.Helper()
	id := ClientID
	if audience != i.URL() {
		id = ClientID + " " + audience
		id = strings.Map(func(r rune) rune {
			if r <= ' ' || r > '~' {
				return '-'
			}
			return r
		}, id)
	}
	known := i.config().Clients
	at := slices.IndexFunc(known, func(c config.Client) bool { return c.ID == id })
	if at >= 0 && !slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(known[at].Scopes, s) }) {
		return id
	}
	i.apply(t, func(cfg *config.Config) {
		at := slices.IndexFunc(cfg.Clients, func(c config.Client) bool { return c.ID == id })
		if at < 0 {
			at = len(cfg.Clients)
			client := cfg.Clients[slices.IndexFunc(cfg.Clients, func(c config.Client) bool { return c.ID == ClientID })]
			client.ID, client.Audiences = id, []string{audience}
			cfg.Clients = append(cfg.Clients, client)
		}
		c := &cfg.Clients[at]
		c.Scopes = slices.Clone(c.Scopes)
		for _, s := range scopes {
			if !slices.Contains(c.Scopes, s) {
				c.Scopes = append(c.Scopes, s)
			}
		}
	})
	return id
}

// post sends a form to an endpoint, which has to answer 200 with JSON.
func (i *Issuer) post(t testing.TB, path string, form url.Values) map[string]any {
	t.Helper()
	resp, err := i.Client().PostForm(i.URL()+path, form)
	if err != nil {
		t.Fatalf("providertest: %v", err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("providertest: %s answers %d %v, %v", path, resp.StatusCode, answer, err)
	}
	return answer
}

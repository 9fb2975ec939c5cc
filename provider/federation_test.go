package provider_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/middleware/session"
	"github.com/lettergate/lettergate/provider/users"
)

const federatedOrigin = "https://app.example"

// A federated app is a server-rendered app that signs people in with the provider
// through middleware/session, in several replicas.
type federated struct {
	*server
	clk      *clock
	sessions []*session.Sessions
	replicas []http.Handler
	turn     atomic.Int64 // each request goes to the next replica
}

// federate starts a provider and an app with n replicas, which keep sessions in
// store or, when it is nil, in cookies.
func federate(t *testing.T, n int, store session.Store) *federated {
	t.Helper()
	f := &federated{clk: newClock()}
	f.server = start(t, options{now: f.clk.now, config: func(c *config.Config) {
		for i := range c.Clients {
			if c.Clients[i].ID == secretID {
				c.Clients[i].PostLogoutRedirectURIs = []string{federatedOrigin + "/bye"}
			}
		}
	}})
	for range n {
		s, err := session.New(session.Config{
			Issuer: f.provider.Issuer(), ClientID: secretID, ClientSecret: backendSecret, RedirectURL: callback,
			Scopes: []string{"email", "offline_access", "notes:read"}, Secrets: []string{"a secret of the app, random enough for a test"},
			Store: store, PostLogoutRedirectURL: federatedOrigin + "/bye", Home: "/bye",
			Client: &http.Client{Transport: f.transport}, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: f.clk.now,
		})
		if err != nil {
			t.Fatal(err)
		}
		hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, _ := session.User(r.Context())
			email, verified := user.Email()
			token, err := session.TokenSource(r.Context()).Token()
			if err != nil {
				t.Error(err)
				return
			}
			fmt.Fprintf(w, "hello %s %t\n%s", email, verified, token.AccessToken)
		})
		mux := http.NewServeMux()
		for _, path := range []string{"/callback", s.LoginURL(""), s.LogoutURL()} {
			mux.Handle(path, s.Handler())
		}
		mux.Handle("/bye", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "bye") }))
		mux.Handle("/", s.Require(hello))
		f.sessions, f.replicas = append(f.sessions, s), append(f.replicas, mux)
	}
	return f
}

// RoundTrip reaches the app without a network, and the issuer as its tests do.
func (f *federated) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme+"://"+r.URL.Host != federatedOrigin {
		return f.transport.RoundTrip(r)
	}
	in := r.Clone(r.Context())
	in.RequestURI = r.URL.RequestURI()
	if in.Body == nil {
		in.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	f.replicas[int(f.turn.Add(1))%len(f.replicas)].ServeHTTP(w, in)
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// visitor is a browser that goes to the app and where the app sends it.
func (f *federated) visitor() *browser {
	f.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return &browser{s: f.server, client: &http.Client{Jar: jar, Transport: f}}
}

// open opens a page of the app, as a click on a link does.
func (b *browser) open(target string) answer {
	b.s.t.Helper()
	r, err := http.NewRequest("GET", target, nil)
	if err != nil {
		b.s.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	resp, err := b.client.Do(r)
	return read(b.s.t, resp, err)
}

// signInToApp opens the app and signs in with an emailed code.
func (b *browser) signInToApp(address string) (token string) {
	b.s.t.Helper()
	page := b.open(federatedOrigin + "/notes?sort=new")
	page = b.submit(page, "email", "email", address)
	return b.submit(page, "code", "code", b.s.code(address)).greets(b.s.t, address)
}

// greets returns the access token of an answer that greets the person.
func (a answer) greets(t *testing.T, address string) (token string) {
	t.Helper()
	hello, token, ok := strings.Cut(a.body, "\n")
	if !ok || hello != "hello "+address+" true" {
		t.Fatalf("%d %s, want a greeting of %s", a.status, a.body, address)
	}
	return token
}

// grantOf is the grant that an access token says it came from.
func grantOf(t *testing.T, token string) string {
	t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Grant string `json:"gid"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil || claims.Grant == "" {
		t.Fatalf("no grant in %s, %v", payload, err)
	}
	return claims.Grant
}

// ways are how an app may keep its sessions.
func ways() map[string]func() session.Store {
	return map[string]func() session.Store{
		"cookie": func() session.Store { return nil },
		"store":  func() session.Store { return session.NewMemory(100, nil) },
	}
}

func TestAppFederatesItsLogin(t *testing.T) {
	for name, store := range ways() {
		t.Run(name, func(t *testing.T) {
			f := federate(t, 1, store())
			b := f.visitor()
			first := b.signInToApp("ann@example.com")
			f.alive(map[string]any{"access_token": first})
			if got := b.open(federatedOrigin+"/").greets(t, "ann@example.com"); got != first {
				t.Error("another request has another access token")
			}
			// Another app of the same browser would sign in without a page; another
			// browser would not.
			if a := f.visitor().open(federatedOrigin + "/"); !strings.Contains(a.body, `id="email"`) {
				t.Errorf("another browser: %d %.100s", a.status, a.body)
			}
			for range 5 {
				f.clk.advance(10 * time.Minute)
				next := b.open(federatedOrigin+"/").greets(t, "ann@example.com")
				f.alive(map[string]any{"access_token": next})
				if grantOf(t, next) != grantOf(t, first) {
					t.Error("a refresh began another family")
				}
			}
		})
	}
}

// Fifty requests at once, over two replicas, find the access token expired: all of
// them go on, and there is one family.
func TestParallelRequestsOfAFederatedApp(t *testing.T) {
	for name, store := range ways() {
		t.Run(name, func(t *testing.T) {
			f := federate(t, 2, store())
			b := f.visitor()
			grant := grantOf(t, b.signInToApp("ann@example.com"))
			for round := range 3 {
				f.clk.advance(11 * time.Minute)
				tokens := make([]string, 50)
				var wg sync.WaitGroup
				for i := range tokens {
					wg.Go(func() {
						resp, err := b.client.Do(navigation(t, federatedOrigin+"/notes"))
						_, tokens[i], _ = strings.Cut(read(t, resp, err).body, "\n")
					})
				}
				wg.Wait()
				different := make(map[string]bool)
				for _, token := range tokens {
					if token == "" {
						t.Fatalf("round %d: a request was not answered as signed in", round)
					}
					different[token] = true
				}
				if len(different) > 2 {
					t.Errorf("round %d: %d access tokens, want one of each replica at most", round, len(different))
				}
				for token := range different {
					f.alive(map[string]any{"access_token": token})
					if grantOf(t, token) != grant {
						t.Errorf("round %d: another family", round)
					}
				}
			}
			f.clk.advance(2 * time.Hour) // beyond any grace
			b.open(federatedOrigin+"/").greets(t, "ann@example.com")
		})
	}
}

func navigation(t *testing.T, target string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", target, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	return r
}

func TestFederatedAppSignsOut(t *testing.T) {
	for name, store := range ways() {
		t.Run(name, func(t *testing.T) {
			f := federate(t, 1, store())
			b := f.visitor()
			token := b.signInToApp("ann@example.com")
			r, err := http.NewRequest("POST", federatedOrigin+f.sessions[0].LogoutURL(), nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Sec-Fetch-Site", "same-origin")
			resp, err := b.client.Do(r)
			if a := read(t, resp, err); a.body != "bye" {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if a := f.userinfo(token); a.status != http.StatusUnauthorized {
				t.Errorf("the access token still works: %d", a.status)
			}
			if a := b.open(federatedOrigin + "/"); !strings.Contains(a.body, `id="email"`) {
				t.Errorf("still signed in: %d %.100s", a.status, a.body)
			}
		})
	}
}

// Who is disabled at the provider is signed out of the app with its next refresh.
func TestFederatedAppNoticesThatAnAccountIsDisabled(t *testing.T) {
	for name, store := range ways() {
		t.Run(name, func(t *testing.T) {
			f := federate(t, 1, store())
			b := f.visitor()
			b.signInToApp("ann@example.com")
			f.change("ann@example.com", func(u *users.User) { u.Disabled = true })
			f.clk.advance(11 * time.Minute)
			if a := b.open(federatedOrigin + "/"); !strings.Contains(a.body, `id="email"`) {
				t.Errorf("still signed in: %d %.100s", a.status, a.body)
			}
		})
	}
}

package interop_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"

	"github.com/lettergate/lettergate/middleware/session"
)

// clientSecret is that of an app. What has to be encoded in it is, twice (RFC 6749
// section 2.3.1).
const clientSecret = "a+b %:&/="

// An app signs people in by middleware/session.
type app struct {
	t      *testing.T
	server *httptest.Server // not started before the issuer knows where it is
	url    string
	clock  clock
}

func newApp(t *testing.T) *app {
	t.Helper()
	a := &app{t: t, server: httptest.NewUnstartedServer(nil)}
	a.url = "http://" + a.server.Listener.Addr().String()
	t.Cleanup(a.server.Close)
	return a
}

// start runs the app.
func (a *app) start(cfg session.Config) {
	a.t.Helper()
	cfg.ClientID, cfg.ClientSecret, cfg.RedirectURL = "app", clientSecret, a.url+"/auth/callback"
	cfg.Secrets = []string{"a secret of the app, random enough for a test"}
	cfg.Now = a.clock.now
	sessions, err := session.New(cfg)
	if err != nil {
		a.t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/auth/", sessions.Handler())
	mux.Handle("/", sessions.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _ := session.User(r.Context())
		email, _ := user.Email()
		token, err := session.TokenSource(r.Context()).Token()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, "%s\n%s\n%s", user.Subject(), email, token.AccessToken)
	})))
	a.server.Config.Handler = mux
	a.server.Start()
}

// shows returns what the app shows to somebody who is signed in.
func (a *app) shows(p *person) (subject, email, token string) {
	a.t.Helper()
	resp, err := p.client.Get(a.url + "/")
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	said := strings.Split(string(body), "\n")
	if resp.StatusCode != http.StatusOK || resp.Request.URL.String() != a.url+"/" || len(said) != 3 {
		a.t.Fatalf("%s: %d %s", resp.Request.URL, resp.StatusCode, body)
	}
	return said[0], said[1], said[2]
}

// signOut presses the app's button and follows where that leads.
func (a *app) signOut(p *person) *url.URL {
	a.t.Helper()
	resp, err := p.client.PostForm(a.url+"/auth/logout", nil)
	if err != nil {
		a.t.Fatal(err)
	}
	return p.fillIn(resp)
}

// asksToSignIn checks that the app, and the issuer behind it, know nobody.
func (a *app) asksToSignIn(p *person, issuer string) {
	a.t.Helper()
	resp, err := p.client.Get(a.url + "/")
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasPrefix(resp.Request.URL.String(), issuer) || !strings.Contains(string(body), `name="password"`) {
		a.t.Errorf("%s: %d %s %v", resp.Request.URL, resp.StatusCode, body, err)
	}
}

// refreshes checks that requests at the same time, after the access token has ended, get
// one new token.
func (a *app) refreshes(p *person, life time.Duration) {
	a.t.Helper()
	_, _, before := a.shows(p)
	a.clock.step(life)
	after := make([]string, 8)
	var requests sync.WaitGroup
	for i := range after {
		requests.Go(func() { _, _, after[i] = a.shows(p) })
	}
	requests.Wait()
	for _, token := range after {
		if token == before || token != after[0] {
			a.t.Errorf("after the refresh the tokens are\n%s\nbefore\n%s", strings.Join(after, "\n"), before)
			break
		}
	}
}

// TestZitadelSession signs in with zitadel/oidc.
func TestZitadelSession(t *testing.T) {
	a := newApp(t)
	server := httptest.NewUnstartedServer(nil)
	issuer := "http://" + server.Listener.Addr().String()
	clients := map[string]*storage.Client{"app": storage.WebClient("app", clientSecret, a.url+"/auth/callback")}
	server.Config.Handler = exampleop.SetupServer(issuer, storage.NewStorageWithClients(storage.NewUserStore(issuer), clients), slog.New(slog.DiscardHandler), false)
	server.Start()
	t.Cleanup(server.Close)
	a.start(session.Config{Issuer: issuer, Scopes: []string{"openid", "email", "offline_access"}})

	user := newPerson(t, url.Values{"username": {"test-user2"}, "password": {"verysecure"}})
	if at := user.visit(a.url + "/notes"); at.String() != a.url+"/notes" {
		t.Fatalf("signed in, and came to %s", at)
	}
	if subject, email, _ := a.shows(user); subject != "id2" || email != "test-user2@zitadel.ch" {
		t.Errorf("signed in as %s %s", subject, email)
	}
	a.refreshes(user, 5*time.Minute)
	if at := a.signOut(user); !strings.HasPrefix(at.String(), issuer) {
		t.Errorf("signed out at %s", at)
	}
	a.asksToSignIn(user, issuer)
}

package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/middleware/session"
	"github.com/lettergate/lettergate/provider/providertest"
)

const appSecret = "a secret of the app, random enough for a test"

// newApp returns the app at an origin, with an API of the issuer's, and registers it.
func newApp(t *testing.T, issuer *providertest.Issuer, origin string) (app http.Handler, api *httptest.Server) {
	t.Helper()
	const audience = "https://api.example"
	api = httptest.NewServer(middleware.Require(issuer.Verifier(audience), "notes:read")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ := middleware.Claims(r.Context())
		fmt.Fprintf(w, `{"notes":["a note of %s <b>"]}`, claims.Subject())
	})))
	t.Cleanup(api.Close)
	client := providertest.AppClient("notes", origin+"/auth/callback", "notes:read")
	client.Audiences, client.PostLogoutRedirectURIs, client.Secrets = []string{audience}, []string{origin + "/"}, []config.Secret{appSecret}
	issuer.AddClient(t, client)
	sessions, err := session.New(session.Config{
		Issuer: issuer.URL(), ClientID: "notes", ClientSecret: appSecret, RedirectURL: origin + "/auth/callback", PostLogoutRedirectURL: origin + "/",
		Scopes: []string{"email", "offline_access", "notes:read"}, Secrets: []string{appSecret},
		Client: issuer.Client(), Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return handler(sessions, api.URL), api
}

// The app signs a person in, calls the API in their name, and signs them out.
func TestWebapp(t *testing.T) {
	const origin = "https://notes.example"
	issuer := providertest.New(t)
	app, api := newApp(t, issuer, origin)
	issuer.Mount(origin, app)

	ann := providertest.User("ann@example.com")
	b := issuer.Browser(t)
	if p := b.Open(t, origin+"/"); !strings.Contains(p.Body, `href="/auth/login?return_to=%2Fnotes"`) {
		t.Fatalf("signed out: %d %s", p.Status, p.Body)
	}
	p := b.SignIn(t, origin+"/notes", ann)
	if want := "a note of " + issuer.Subject(t, ann) + " &lt;b&gt;"; p.URL.String() != origin+"/notes" || !strings.Contains(p.Body, want) {
		t.Fatalf("%s: %d %s, want %s", p.URL, p.Status, p.Body, want)
	}
	home := b.Open(t, origin+"/")
	if !strings.Contains(home.Body, "Hello ann@example.com") {
		t.Fatalf("signed in: %d %s", home.Status, home.Body)
	}
	if p := b.Submit(t, home, "logout"); p.URL.String() != origin+"/" || !strings.Contains(p.Body, "Sign in") {
		t.Errorf("signing out led to %s: %d %s", p.URL, p.Status, p.Body)
	}
	api.Close()
	if p := b.SignIn(t, origin+"/notes", ann); p.Status != http.StatusBadGateway {
		t.Errorf("with the API down: %d %s", p.Status, p.Body)
	}
}

package providertest_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/middleware/session"
	"github.com/lettergate/lettergate/oauth"
	"github.com/lettergate/lettergate/provider/providertest"
)

// api is a handler under test.
func api(v oauth.Verifier, scopes ...string) http.Handler {
	return middleware.Require(v, scopes...)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ := middleware.Claims(r.Context())
		fmt.Fprint(w, claims.Subject(), " ", claims.Scopes())
	}))
}

// call sends a request with a token to the handler.
func call(h http.Handler, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/notes", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestToken(t *testing.T) {
	issuer := providertest.New(t)
	ann, bob := providertest.User("ann@example.com"), providertest.User("bob@example.com")
	notes := api(issuer.Verifier(), "notes:read")
	w := call(notes, issuer.Token(t, ann, "notes:read", "notes:write"))
	if w.Code != http.StatusOK || w.Body.String() != issuer.Subject(t, ann)+" notes:read notes:write" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := call(notes, issuer.Token(t, ann, "notes:write")); w.Code != http.StatusForbidden {
		t.Errorf("without the scope: %d %s", w.Code, w.Body)
	}
	if w := call(notes, issuer.TokenFor(t, "https://other.example", ann, "notes:read")); w.Code != http.StatusUnauthorized {
		t.Errorf("for another audience: %d %s", w.Code, w.Body)
	}
	other := api(issuer.Verifier("https://x.example", "https://other.example"), "notes:read")
	if w := call(other, issuer.TokenFor(t, "https://other.example", ann, "notes:read")); w.Code != http.StatusOK {
		t.Errorf("for its audience: %d %s", w.Code, w.Body)
	}
	if w := call(notes, "x"); w.Code != http.StatusUnauthorized {
		t.Errorf("no token: %d", w.Code)
	}
	first, again, stranger := issuer.Subject(t, ann), issuer.Subject(t, ann), issuer.Subject(t, bob)
	if first != again || first == stranger {
		t.Errorf("ann is %s and %s, bob is %s", first, again, stranger)
	}
}

// The verifier that was made before a change goes on working, and so do tokens.
func TestChangesDisturbNobody(t *testing.T) {
	issuer := providertest.New(t)
	v := issuer.Verifier()
	token := issuer.Token(t, providertest.User("ann@example.com"), "one")
	issuer.AddClient(t, config.Client{ID: "another", RedirectURIs: []string{"https://app.example/callback"}})
	issuer.FixCode(t, "bob@example.com", "424242")
	for _, token := range []string{token, issuer.Token(t, providertest.User("bob@example.com"), "two")} {
		if w := call(api(v), token); w.Code != http.StatusOK {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if got := len(issuer.Inbox().Messages()); got != 1 {
		t.Errorf("%d mails, want none to the address whose code is fixed", got)
	}
}

func TestTokensAtTheSameTime(t *testing.T) {
	issuer := providertest.New(t)
	notes := api(issuer.Verifier())
	var wg sync.WaitGroup
	for n := range 10 {
		wg.Go(func() { issuer.FixCode(t, fmt.Sprint("person-", n, "@example.com"), "424242") })
		wg.Go(func() {
			b := issuer.SignedIn(t, providertest.User(fmt.Sprint("other-", n, "@example.com")))
			if p := b.Open(t, issuer.URL()+"/oauth2/jwks"); p.Status != http.StatusOK {
				t.Errorf("%d %s", p.Status, p.Body)
			}
		})
		wg.Go(func() {
			if w := call(notes, issuer.Token(t, providertest.User("ann@example.com"), fmt.Sprint("scope:", n%3))); w.Code != http.StatusOK {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	wg.Wait()
}

// In a bubble time is the test's: a token ends when it says.
func TestTimeIsTheTests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := providertest.New(t)
		notes := api(issuer.Verifier(), "notes:read")
		token := issuer.Token(t, providertest.User("ann@example.com"), "notes:read")
		<-time.After(10 * time.Minute)
		if w := call(notes, token); w.Code != http.StatusOK {
			t.Errorf("within the leeway: %d", w.Code)
		}
		<-time.After(time.Minute)
		if w := call(notes, token); w.Code != http.StatusUnauthorized {
			t.Errorf("a minute after its end: %d", w.Code)
		}
	})
}

// An app that federates its login is tested without a network, and with a browser
// that has signed in at the issuer before.
func TestBrowserSignsInToAnApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := providertest.New(t)
		const app = "https://app.example"
		client := providertest.AppClient("app", app+"/auth/callback")
		client.FirstParty = false // so people are asked
		issuer.AddClient(t, client)
		sessions, err := session.New(session.Config{
			Issuer: issuer.URL(), ClientID: "app", RedirectURL: app + "/auth/callback", Scopes: []string{"email", "offline_access"},
			Secrets: []string{strings.Repeat("random", 6)}, Client: issuer.Client(), Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		mux.Handle("/auth/", sessions.Handler())
		mux.Handle("/", sessions.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, _ := session.User(r.Context())
			email, _ := user.Email()
			fmt.Fprintf(w, `<form method="post" action="%s">hello %s <button id="bye">bye</button></form>`, sessions.LogoutURL(), email)
		})))
		issuer.Mount(app, mux)

		ann := providertest.User("ann@example.com")
		first := issuer.Browser(t)
		for _, b := range []*providertest.Browser{first, issuer.SignedIn(t, ann)} {
			p := b.SignIn(t, app+"/notes", ann)
			if p.Status != http.StatusOK || !strings.Contains(p.Body, "hello ann@example.com") || p.URL.String() != app+"/notes" {
				t.Fatalf("%s: %d %s", p.URL, p.Status, p.Body)
			}
		}
		<-time.After(11 * time.Minute) // its access token has ended
		p := first.Open(t, app+"/")
		if !strings.Contains(p.Body, "hello ann") {
			t.Fatalf("11 minutes later: %d %s", p.Status, p.Body)
		}
		first.Submit(t, p, "bye")
		if p := first.Open(t, app+"/"); !strings.Contains(p.Body, `id="email"`) {
			t.Errorf("after signing out: %d %s", p.Status, p.Body)
		}
	})
}

func TestServe(t *testing.T) {
	issuer := providertest.Serve(t)
	issuer.FixCode(t, "ann@example.com", "424242")
	verifier, err := middleware.ForIssuer(issuer.URL(), issuer.URL())
	if err != nil {
		t.Fatal(err)
	}
	token := issuer.Token(t, providertest.User("ann@example.com"), "notes:read") // and restarts nothing that a client could notice
	if w := call(api(verifier, "notes:read"), token); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	resp, err := http.Get(issuer.URL() + "/readyz") // over the network
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s", resp.Status)
	}
}

// A test that misses something hears of it, and finds no other server.
func TestWhatIsNotThere(t *testing.T) {
	issuer := providertest.New(t)
	for _, target := range []string{"https://id.example/", "http://127.0.0.1:1/nothing", "http://example.com/"} {
		resp, err := issuer.Client().Get(target)
		if err == nil {
			resp.Body.Close()
		}
		if err == nil && resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", target, resp.Status)
		}
	}
	if resp, err := http.Get(issuer.URL()); err == nil {
		resp.Body.Close()
		t.Errorf("%s: %s", issuer.URL(), resp.Status)
	}
}

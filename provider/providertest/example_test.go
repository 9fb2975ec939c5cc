package providertest_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lettergate/lettergate/provider/providertest"
)

// A unit test of a handler that is protected by middleware.Require.
func ExampleNew() {
	var t *testing.T // TestNotes's

	issuer := providertest.New(t)
	notes := api(issuer.Verifier(), "notes:read") // the handler under test, with its verifier
	r := httptest.NewRequest("GET", "/notes", nil)
	r.Header.Set("Authorization", "Bearer "+issuer.Token(t, providertest.User("ann@example.com"), "notes:read"))
	w := httptest.NewRecorder()
	notes.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// Time is the test's: the token ends without anybody waiting.
func ExampleIssuer_Token() {
	var t *testing.T // TestTokenEnds's

	synctest.Test(t, func(t *testing.T) {
		issuer := providertest.New(t)
		notes := api(issuer.Verifier(), "notes:read")
		token := issuer.Token(t, providertest.User("ann@example.com"), "notes:read")
		<-time.After(11 * time.Minute)
		if w := call(notes, token); w.Code != http.StatusUnauthorized {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// An app that signs people in at the issuer, opened by somebody who is signed in
// there already.
func ExampleIssuer_SignedIn() {
	var t *testing.T     // TestHome's
	var app http.Handler // signs in as client "notes", and asks the issuer by issuer.Client()

	issuer := providertest.New(t)
	issuer.AddClient(t, providertest.AppClient("notes", "https://notes.example/auth/callback"))
	issuer.Mount("https://notes.example", app)
	ann := issuer.SignedIn(t, providertest.User("ann@example.com"))
	if page := ann.Open(t, "https://notes.example/"); page.Status != http.StatusOK {
		t.Errorf("%d %s", page.Status, page.Body)
	}
}

package middleware_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

// A service that accepts the tokens of one issuer.
func Example() {
	verifier, err := middleware.ForIssuer("https://id.example", "https://notes.example") // the issuer, and the API's own name
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /notes", middleware.Require(verifier, "notes:read")(http.HandlerFunc(listNotes)))
	server := &http.Server{Addr: "localhost:8081", Handler: mux}
	_ = server // log.Fatal(server.ListenAndServe())
}

func listNotes(w http.ResponseWriter, r *http.Request) {
	token, _ := middleware.Claims(r.Context()) // Require has put them there
	fmt.Fprintf(w, "the notes of %s", token.Subject())
}

// What a client sees with no token, with one that lacks the scope, and with a
// good one.
func ExampleRequire() {
	issuer := newIssuer()
	defer issuer.close()
	verifier, err := middleware.ForIssuer(issuer.url, api)
	if err != nil {
		log.Fatal(err)
	}
	notes := middleware.Require(verifier, "notes:read")(http.HandlerFunc(listNotes))

	for _, authorization := range []string{"", "Bearer " + issuer.token("profile", nil), "Bearer " + issuer.token("notes:read", nil)} {
		r := httptest.NewRequest("GET", "/notes", nil)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := httptest.NewRecorder()
		notes.ServeHTTP(w, r)
		if w.Code == http.StatusOK {
			fmt.Println(w.Code, w.Body)
		} else {
			fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
		}
	}
	// Output:
	// 401 Bearer
	// 403 Bearer error="insufficient_scope", error_description="The access token does not have the scopes that this needs.", scope="notes:read"
	// 200 the notes of user-1
}

// Handlers read the usual claims by name and others into their own types.
func ExampleClaims() {
	handler := func(w http.ResponseWriter, r *http.Request) {
		token, ok := middleware.Claims(r.Context())
		if !ok {
			http.Error(w, "not behind Require", http.StatusInternalServerError)
			return
		}
		var realm struct {
			Roles []string `json:"roles"`
		}
		if err := token.Claim("realm_access", &realm); err != nil {
			http.Error(w, "no roles", http.StatusForbidden)
			return
		}
		fmt.Println(token.Subject(), token.Scopes().Has("notes:read"), realm.Roles)
	}

	issuer := newIssuer()
	defer issuer.close()
	verifier, err := middleware.ForIssuer(issuer.url, api)
	if err != nil {
		log.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+issuer.token("notes:read", map[string]any{
		"realm_access": map[string]any{"roles": []string{"editor"}},
	}))
	middleware.Require(verifier)(http.HandlerFunc(handler)).ServeHTTP(httptest.NewRecorder(), r)
	// Output: user-1 true [editor]
}

// Any other way to verify a token is a Verifier too.
func ExampleForIssuer_otherSettings() {
	keys, err := oauth.NewRemoteKeys(oauth.RemoteConfig{JWKSURL: "https://id.example/keys.json"})
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := oauth.NewJWTVerifier(oauth.JWTConfig{
		Issuer:     "https://id.example",
		Audiences:  []string{"https://notes.example"},
		Algorithms: []string{"ES256"},
	}, keys)
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("GET /notes", middleware.Require(verifier, "notes:read")(http.HandlerFunc(listNotes)))
}

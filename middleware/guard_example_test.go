package middleware_test

import (
	"crypto/x509"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

// A guard is made once and protects each route with what that asks for.
func ExampleNew() {
	verifier, err := middleware.ForIssuer("https://id.example", "https://notes.example")
	if err != nil {
		log.Fatal(err)
	}
	guard, err := middleware.New(verifier, middleware.Config{
		Metadata: oauth.ResourceMetadata{Resource: "https://notes.example", AuthorizationServers: []string{"https://id.example"}},
		DPoP:     &oauth.DPoPConfig{},
		Implies:  func(granted, wanted string) bool { return strings.HasPrefix(wanted, granted+":") }, // notes: notes:read
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(guard.Metadata()) // where clients learn which issuer to ask
	mux.Handle("GET /notes", guard.Require("notes:read")(http.HandlerFunc(listNotes)))
	mux.Handle("DELETE /notes", guard.Protect(middleware.Route{
		Scopes: []string{"notes:write"},
		MaxAge: 5 * time.Minute, // since the person signed in
	})(http.HandlerFunc(listNotes)))
}

// A sign-in that is too long ago is asked for again, in words that clients understand.
func ExampleGuard_Protect() {
	issuer := newIssuer()
	defer issuer.close()
	verifier, err := middleware.ForIssuer(issuer.url, api)
	if err != nil {
		log.Fatal(err)
	}
	guard, err := middleware.New(verifier, middleware.Config{})
	if err != nil {
		log.Fatal(err)
	}
	pay := guard.Protect(middleware.Route{
		Scopes: []string{"pay"},
		ACR:    []string{"phr"},
		MaxAge: 5 * time.Minute,
	})(http.HandlerFunc(listNotes))

	r := httptest.NewRequest("POST", "/pay", nil)
	r.Header.Set("Authorization", "Bearer "+issuer.token("pay", map[string]any{"acr": "phr", "auth_time": time.Now().Add(-time.Hour).Unix()}))
	w := httptest.NewRecorder()
	pay.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("WWW-Authenticate"))
	// Output:
	// 401 Bearer error="insufficient_user_authentication", error_description="This needs a stronger or a more recent sign-in.", acr_values="phr", max_age="300"
}

// Claims of the issuer's own come in a type of the program's own.
func ExampleClaimsAs() {
	type employee struct {
		Department string   `json:"department"`
		Roles      []string `json:"roles"`
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		who, err := middleware.ClaimsAs[employee](r.Context())
		if err != nil {
			http.Error(w, "this needs an employee's token", http.StatusForbidden)
			return
		}
		fmt.Println(who.Department, who.Roles)
	}

	issuer := newIssuer()
	defer issuer.close()
	verifier, err := middleware.ForIssuer(issuer.url, api)
	if err != nil {
		log.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+issuer.token("", map[string]any{"department": "mail", "roles": []string{"editor"}}))
	middleware.Require(verifier)(http.HandlerFunc(handler)).ServeHTTP(httptest.NewRecorder(), r)
	// Output: mail [editor]
}

// JWTs are verified here, and on routes where a revocation must count at once the
// issuer is asked. The same introspection verifier in place of the other accepts
// tokens that are no JWTs.
func ExampleRoute_introspect() {
	verifier, err := middleware.ForIssuer("https://id.example", "https://notes.example")
	if err != nil {
		log.Fatal(err)
	}
	introspector, err := oauth.NewIntrospectionVerifier(oauth.IntrospectionConfig{
		Issuer: "https://id.example", Audiences: []string{"https://notes.example"},
		ClientID: "notes-api", ClientSecret: "from the configuration",
	})
	if err != nil {
		log.Fatal(err)
	}
	guard, err := middleware.New(verifier, middleware.Config{Introspector: introspector})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("GET /notes", guard.Require("notes:read")(http.HandlerFunc(listNotes)))
	http.Handle("POST /pay", guard.Protect(middleware.Route{
		Scopes:     []string{"pay"},
		Introspect: 10 * time.Second, // how long a revoked token may go on; EachRequest for not at all
	})(http.HandlerFunc(listNotes)))
}

// Two issuers, and what they call this service.
func ExampleForIssuers() {
	verifier, err := middleware.ForIssuers(map[string][]string{
		"https://id.example":      {"https://notes.example"},
		"https://partner.example": {"notes-api"},
	})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("GET /notes", middleware.Require(verifier, "notes:read")(http.HandlerFunc(listNotes)))
}

// Answers in the program's own form, with the headers that belong to them; the CORS
// layer answers preflights; certificates come from a proxy in front.
func ExampleConfig() {
	verifier, err := middleware.ForIssuer("https://id.example", "https://notes.example")
	if err != nil {
		log.Fatal(err)
	}
	cors := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "https://app.example")
		w.Header().Set("Access-Control-Allow-Headers", "Authorization")
	})
	guard, err := middleware.New(verifier, middleware.Config{
		Preflight: cors,
		Refuse: func(w http.ResponseWriter, _ *http.Request, refused *middleware.Refusal) {
			refused.WriteHeaders(w)
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(refused.Status)
			fmt.Fprintf(w, `{"status": %d}`, refused.Status)
		},
		OnRefusal:         func(r *http.Request, refused *middleware.Refusal) { log.Print(r.Pattern, refused.Cause) },
		ClientCertificate: func(r *http.Request) *x509.Certificate { return fromProxy(r.Header.Get("X-Client-Certificate")) },
	})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("GET /notes/all", guard.Require("notes:read")(http.HandlerFunc(listNotes)))
}

func fromProxy(string) *x509.Certificate { return nil }

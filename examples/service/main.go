// Service is an API of its own, routed by gorilla/mux, that accepts the access
// tokens of an issuer. Each route asks for its scope, and handlers learn from the
// token alone who calls.
//
//	go run ./examples/service -issuer http://localhost:8080 -audience http://localhost:8081
//
// is for the tokens of examples/quickstart, which are for its notes: /me shows what they
// say, and the other routes refuse them, for they have no such scope.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

func main() {
	issuer := flag.String("issuer", "http://localhost:8080", "`URL` of the issuer whose tokens are accepted")
	audience := flag.String("audience", "http://localhost:8082", "`name` of this service, which tokens have to be for")
	addr := flag.String("addr", "localhost:8082", "`host:port` to serve on")
	flag.Parse()

	// Nothing is asked of the issuer before the first token comes: the service
	// starts while the issuer is down.
	verifier, err := middleware.ForIssuer(*issuer, *audience)
	if err != nil {
		log.Fatal(err)
	}
	guard, err := middleware.New(verifier, middleware.Config{
		Metadata: oauth.ResourceMetadata{Resource: *audience, AuthorizationServers: []string{*issuer}},
	})
	if err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s accepts tokens of %s\n", listener.Addr(), *issuer)
	server := &http.Server{
		Handler: routes(guard), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 15 * time.Second, IdleTimeout: time.Minute,
	}
	log.Fatal(server.Serve(listener))
}

// routes says for each route which scope it takes.
func routes(guard *middleware.Guard) http.Handler {
	protect := func(handle http.HandlerFunc, scopes ...string) http.Handler {
		return guard.Require(scopes...)(handle)
	}
	router := mux.NewRouter()
	router.HandleFunc("/healthz", healthz).Methods(http.MethodGet)
	router.Handle(guard.Metadata())                           // named in every challenge: clients learn where to get a token
	router.Handle("/me", protect(me)).Methods(http.MethodGet) // any good token
	router.Handle("/reports/{name}", protect(readReport, "reports:read")).Methods(http.MethodGet)
	router.Handle("/reports/{name}", protect(deleteReport, "reports:read", "reports:write")).Methods(http.MethodDelete)
	return router
}

func healthz(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, "ok")
}

// me says what the token says.
func me(w http.ResponseWriter, r *http.Request) {
	token, _ := middleware.Claims(r.Context()) // always there behind Require
	writeJSON(w, map[string]string{
		"subject": token.Subject(),
		"client":  token.ClientID(),
		"scope":   token.Scopes().String(),
		"expires": token.ExpiresAt().UTC().Format(time.RFC3339),
	})
}

func readReport(w http.ResponseWriter, r *http.Request) {
	token, _ := middleware.Claims(r.Context())
	writeJSON(w, map[string]string{"name": mux.Vars(r)["name"], "for": token.Subject()})
}

func deleteReport(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusNoContent)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // a peer that went away is nobody's error
}

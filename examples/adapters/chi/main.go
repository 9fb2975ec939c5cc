// Chi protects the routes of a chi router: what a guard returns is chi's own kind of
// middleware.
package main

import (
	"fmt"
	"log"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

func main() {
	verifier, err := middleware.ForIssuer("http://localhost:8080", "http://localhost:8083")
	if err != nil {
		log.Fatal(err)
	}
	handler, err := routes(verifier)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe("localhost:8083", handler))
}

func routes(verifier oauth.Verifier) (http.Handler, error) {
	guard, err := middleware.New(verifier, middleware.Config{Metadata: oauth.ResourceMetadata{Resource: "http://localhost:8083"}})
	if err != nil {
		return nil, err
	}
	router := chi.NewRouter()
	router.Handle(guard.Metadata())
	router.With(guard.Require("notes:read")).Get("/notes/{name}", readNote)
	return router, nil
}

func readNote(w http.ResponseWriter, r *http.Request) {
	token, _ := middleware.Claims(r.Context())
	fmt.Fprintf(w, "%s of %s", chi.URLParam(r, "name"), token.Subject())
}

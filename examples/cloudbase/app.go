package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

// built says what to do when the scripts of the page, which npm makes, are missing.
func built(folder string) error {
	for _, script := range []string{"page.js", filepath.Join("v2", "page.js")} {
		if _, err := os.Stat(filepath.Join(folder, "dist", script)); err != nil {
			return fmt.Errorf("the page has no script yet: run npm ci in %s, once; it needs Node.js 18 or later (%w)", folder, err)
		}
	}
	return nil
}

// appHandler serves the page, once with each version of the SDK, and the API that it
// calls with the SDK's access token.
func appHandler(verifier oauth.Verifier, issuer, folder string) http.Handler {
	page := func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(folder, "web", "page.html"))
	}
	read := middleware.Require(verifier, "notes:read")

	mux := http.NewServeMux()
	mux.Handle("GET /api/notes", read(http.HandlerFunc(notes)))
	mux.HandleFunc("GET /config.json", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]string{"issuer": issuer, "env": envID})
	})
	mux.HandleFunc("GET /{$}", page)
	mux.HandleFunc("GET /v2/{$}", page)
	mux.HandleFunc("GET /style.css", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(folder, "web", "style.css"))
	})
	mux.Handle("GET /", http.FileServerFS(os.DirFS(filepath.Join(folder, "dist"))))
	return secured(mux, issuer)
}

// notes answers whose the token is.
func notes(w http.ResponseWriter, r *http.Request) {
	token, _ := middleware.Claims(r.Context())
	writeJSON(w, map[string]any{"subject": token.Subject(), "notes": []string{"Welcome! This note comes from a protected API."}})
}

// secured lets the page run its own script and talk to its issuer, and nothing else.
func secured(next http.Handler, issuer string) http.Handler {
	policy := "default-src 'self'; img-src 'self' data:; connect-src 'self' " + issuer + "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		next.ServeHTTP(w, r)
	})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // a peer that went away is nobody's error
}

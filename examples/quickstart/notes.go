package main

import (
	"embed"
	"encoding/json"
	"io/fs"
	"net/http"
	"sync"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

//go:embed app
var appFiles embed.FS

// appHandler serves the single-page app and its API. The API trusts nothing but
// the access token: whose notes they are is its subject.
func appHandler(verifier oauth.Verifier, issuer, app string) http.Handler {
	files, err := fs.Sub(appFiles, "app")
	if err != nil {
		panic(err) // "app" is a valid path
	}
	notes := &notebook{byOwner: map[string][]string{}}
	read := middleware.Require(verifier, "notes:read")
	write := middleware.Require(verifier, "notes:write")

	mux := http.NewServeMux()
	mux.Handle("GET /api/notes", read(http.HandlerFunc(notes.list)))
	mux.Handle("POST /api/notes", write(http.HandlerFunc(notes.add)))
	mux.HandleFunc("GET /config.json", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, map[string]string{"issuer": issuer, "client_id": spaID, "api": "/api/notes"})
	})
	mux.HandleFunc("GET /callback", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, files, "index.html")
	})
	mux.Handle("GET /", http.FileServerFS(files))
	return secured(mux, issuer)
}

// secured lets the app run its own script and talk to its issuer, and nothing else.
func secured(next http.Handler, issuer string) http.Handler {
	policy := "default-src 'self'; connect-src 'self' " + issuer + "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		next.ServeHTTP(w, r)
	})
}

// A notebook keeps everybody's notes in memory.
type notebook struct {
	mu      sync.Mutex
	byOwner map[string][]string
}

const maxNotes = 100

func (n *notebook) list(w http.ResponseWriter, r *http.Request) {
	token, _ := middleware.Claims(r.Context())
	n.mu.Lock()
	notes := n.byOwner[token.Subject()]
	n.mu.Unlock()
	if notes == nil {
		notes = []string{"Welcome! This note comes from a protected API."}
	}
	writeJSON(w, map[string]any{"notes": notes})
}

func (n *notebook) add(w http.ResponseWriter, r *http.Request) {
	token, _ := middleware.Claims(r.Context())
	var note struct {
		Text string `json:"text"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&note); err != nil || note.Text == "" {
		http.Error(w, `send {"text": "…"} of at most 4 KiB`, http.StatusBadRequest)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	notes := n.byOwner[token.Subject()]
	if len(notes) >= maxNotes {
		http.Error(w, "the notebook is full", http.StatusConflict)
		return
	}
	n.byOwner[token.Subject()] = append(notes, note.Text)
	w.WriteHeader(http.StatusCreated)
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // a peer that went away is nobody's error
}

// Webapp is a server-rendered app that federates its login: people sign in at the
// quickstart's issuer, and the app calls the quickstart's notes API in their name.
//
//	go run ./examples/quickstart
//	go run ./examples/webapp
package main

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/lettergate/lettergate/middleware/session"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8083", "`host:port` of the app")
	issuer := flag.String("issuer", "http://localhost:8080", "`URL` of the issuer")
	api := flag.String("api", "http://localhost:8081", "`URL` of the notes API")
	flag.Parse()

	sessions, err := session.New(session.Config{
		Issuer:   *issuer,
		ClientID: "quickstart-web", ClientSecret: cmp.Or(os.Getenv("CLIENT_SECRET"), "quickstart-web-secret-for-this-machine-only"),
		RedirectURL:           "http://" + *addr + "/auth/callback",
		PostLogoutRedirectURL: "http://" + *addr + "/",
		Scopes:                []string{"email", "offline_access", "notes:read"},
		// Without SESSION_SECRET everybody is signed out when the program ends.
		Secrets: []string{cmp.Or(os.Getenv("SESSION_SECRET"), rand.Text()+rand.Text())},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", *addr)
	server := &http.Server{Addr: *addr, Handler: handler(sessions, *api), ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.ListenAndServe())
}

// handler is the app: a page for everybody, and one for whoever is signed in.
func handler(sessions *session.Sessions, api string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/auth/", sessions.Handler())
	mux.Handle("GET /{$}", sessions.Optional(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data := map[string]any{"Login": sessions.LoginURL("/notes"), "Logout": sessions.LogoutURL()}
		if user, ok := session.User(r.Context()); ok {
			data["Email"], _ = user.Email()
		}
		show(w, home, data)
	})))
	mux.Handle("GET /notes", sessions.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		notes, err := read(session.Client(r.Context()), api)
		if err != nil {
			log.Print(err)
			http.Error(w, "the notes cannot be read at the moment", http.StatusBadGateway)
			return
		}
		show(w, list, notes)
	})))
	return mux
}

// read asks the API with a client that sends the person's access token.
func read(client *http.Client, api string) ([]string, error) {
	resp, err := client.Get(api + "/api/notes")
	if err != nil {
		return nil, fmt.Errorf("read notes: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New("read notes: " + resp.Status)
	}
	var answer struct {
		Notes []string `json:"notes"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("read notes: %w", err)
	}
	return answer.Notes, nil
}

func show(w http.ResponseWriter, page *template.Template, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := page.Execute(w, data); err != nil {
		log.Print(err)
	}
}

var home = template.Must(template.New("home").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,"><title>Notes</title>
{{if .Email}}<p>Hello {{.Email}}. <a href="/notes">Your notes</a></p>
<form method="post" action="{{.Logout}}"><button id="logout">Sign out</button></form>
{{else}}<p><a id="login" href="{{.Login}}">Sign in</a></p>{{end}}
</html>
`))

var list = template.Must(template.New("list").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><link rel="icon" href="data:,"><title>Notes</title>
<ul>{{range .}}<li>{{.}}</li>{{end}}</ul>
</html>
`))

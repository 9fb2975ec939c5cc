package session_test

import (
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/lettergate/lettergate/middleware/session"
)

// An app federates its login in ten lines.
func ExampleNew() {
	sessions, err := session.New(session.Config{
		Issuer:      "https://id.example",
		ClientID:    "notes",
		RedirectURL: "https://notes.example/auth/callback",
		Secrets:     []string{os.Getenv("SESSION_SECRET")}, // openssl rand -base64 48
	})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/auth/", sessions.Handler())
	http.Handle("/", sessions.Require(http.HandlerFunc(home)))
	log.Fatal(http.ListenAndServe("localhost:3000", nil))
}

func home(w http.ResponseWriter, r *http.Request) {
	user, _ := session.User(r.Context()) // Require has put it there
	fmt.Fprintf(w, "hello %s", user.Subject())
}

// A handler calls an API in the name of the person who is signed in.
func ExampleClient() {
	http.HandleFunc("/notes", func(w http.ResponseWriter, r *http.Request) {
		resp, err := session.Client(r.Context()).Get("https://api.example/notes")
		if err != nil {
			http.Error(w, "the notes cannot be read at the moment", http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		fmt.Fprintln(w, resp.Status)
	})
}

// A page that is for everybody greets those who are signed in.
func ExampleSessions_Optional() {
	var sessions *session.Sessions // from New
	http.Handle("/about", sessions.Optional(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, ok := session.User(r.Context()); ok {
			email, _ := user.Email()
			fmt.Fprintf(w, `hello %s <form method="post" action="%s"><button>Sign out</button></form>`, email, sessions.LogoutURL())
			return
		}
		fmt.Fprintf(w, `<a href="%s">Sign in</a>`, sessions.LoginURL("/about"))
	})))
}

// Embed is a program that serves an identity provider beside its own pages.
//
//	go run ./examples/embed
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider"
)

func main() {
	// A development server on http://localhost:8080 that shows its mails at /dev/mailbox.
	log.Fatal(serve(context.Background(), config.Default()))
}

func serve(ctx context.Context, cfg config.Config) error {
	cfg.Clients = []config.Client{{
		ID: "my-app", FirstParty: true, SignUp: true,
		RedirectURIs: []string{"http://localhost:3000/callback"},
		Scopes:       []string{"openid", "email"},
	}}
	p, err := provider.New(cfg, provider.Deps{})
	if err != nil {
		return err
	}
	go func() {
		if err := p.Run(ctx); err != nil { // a store that cannot be opened ends the program
			log.Fatal(err)
		}
	}()

	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })
	mux.Handle("/", p)
	server := &http.Server{Addr: cfg.Listen, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	return server.ListenAndServe()
}

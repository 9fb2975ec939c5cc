// Quickstart runs everything on one machine: the issuer with a mailbox for its
// mails, a notes API behind the middleware, and a single-page app that signs in
// and uses the API.
//
//	go run ./examples/quickstart
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/provider"
)

func main() {
	issuerAddr := flag.String("issuer-addr", "localhost:8080", "`host:port` of the issuer")
	appAddr := flag.String("app-addr", "localhost:8081", "`host:port` of the app and its API")
	data := flag.String("data", filepath.Join(os.TempDir(), "lettergate-quickstart"), "`directory` of the database and the keys")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // so that a second Ctrl-C ends it at once
	if err := run(ctx, *issuerAddr, *appAddr, *data); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx is done.
func run(ctx context.Context, issuerAddr, appAddr, data string) error {
	// Listening first, so that a port of 0 is known before the URLs are made.
	issuerListener, err := net.Listen("tcp", issuerAddr)
	if err != nil {
		return fmt.Errorf("the issuer's address: %w (choose another with -issuer-addr)", err)
	}
	appListener, err := net.Listen("tcp", appAddr)
	if err != nil {
		return fmt.Errorf("the app's address: %w (choose another with -app-addr)", err)
	}
	issuer, app := origin(issuerAddr, issuerListener), origin(appAddr, appListener)

	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	p, err := provider.New(configuration(issuer, app, data), provider.Deps{Logger: log})
	if err != nil {
		return err
	}
	verifier, err := middleware.ForIssuer(issuer, app)
	if err != nil {
		return err
	}
	servers := []*http.Server{newServer(p), newServer(appHandler(verifier, issuer, app))}
	failed := make(chan error, len(servers))
	for i, l := range []net.Listener{issuerListener, appListener} {
		go func() { failed <- servers[i].Serve(l) }()
	}
	// The provider works on until the last request that needs it is answered.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var ran error
	done := make(chan struct{})
	go func() { ran = p.Run(work); close(done) }()
	printTour(os.Stdout, issuer, app, data)

	select {
	case <-ctx.Done():
	case err = <-failed:
	case <-done:
	}
	shutdown, cancel := context.WithTimeout(work, 5*time.Second)
	defer cancel()
	for _, s := range servers {
		s.Shutdown(shutdown) // what does not finish in time is cut off
	}
	stop()
	<-done
	return errors.Join(err, ran)
}

func newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 15 * time.Second, IdleTimeout: time.Minute,
	}
}

// origin is the URL of a listener, by the host name it was asked for.
func origin(addr string, l net.Listener) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		host = "localhost"
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "http://" + net.JoinHostPort(host, port)
}

// The clients of the tour. The secret is no secret: it is printed, and works on
// this machine only.
const (
	spaID         = "quickstart-spa"
	nativeID      = "quickstart-native"
	envID         = "quickstart-env"
	serviceID     = "quickstart-service"
	serviceSecret = "quickstart-service-secret-for-this-machine-only"
	webID         = "quickstart-web" // examples/webapp
	webSecret     = "quickstart-web-secret-for-this-machine-only"
)

// configuration is what a file would say. Everything else keeps its default.
func configuration(issuer, app, data string) config.Config {
	scopes := []string{"openid", "email", "profile", "offline_access", "notes:read", "notes:write"}
	return config.Config{
		Issuer:  issuer,
		DataDir: data,
		Clients: []config.Client{{
			ID: spaID, Name: "Notes", FirstParty: true, SignUp: true,
			RedirectURIs:           []string{app + "/callback"},
			PostLogoutRedirectURIs: []string{app + "/"},
			GrantTypes:             []string{config.GrantAuthorizationCode, config.GrantRefreshToken},
			Scopes:                 scopes, Audiences: []string{app}, Origins: []string{app},
		}, {
			ID: nativeID, Name: "Notes for the terminal", FirstParty: true, SignUp: true,
			GrantTypes: []string{config.GrantEmailCaptcha, config.GrantRefreshToken},
			Scopes:     scopes, Audiences: []string{app},
		}, {
			ID: envID, Name: "Notes with the CloudBase SDK", CloudBase: true, SignUp: true,
			Scopes: []string{"openid", "email", "profile", "notes:read"}, Audiences: []string{app}, Origins: []string{app},
		}, {
			ID: webID, Name: "Notes, rendered on a server", FirstParty: true, SignUp: true, Secrets: []config.Secret{webSecret},
			// On this address any port will do (RFC 8252 section 7.3).
			RedirectURIs:           []string{"http://127.0.0.1/auth/callback"},
			PostLogoutRedirectURIs: []string{"http://127.0.0.1/"},
			GrantTypes:             []string{config.GrantAuthorizationCode, config.GrantRefreshToken},
			Scopes:                 scopes, Audiences: []string{app},
		}, {
			ID: serviceID, Name: "Notes backup", Secrets: []config.Secret{serviceSecret},
			GrantTypes: []string{config.GrantClientCredentials},
			Scopes:     []string{"notes:read"}, Audiences: []string{app},
		}},
	}
}

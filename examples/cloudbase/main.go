// Cloudbase shows an app that was written for the email login of Tencent CloudBase:
// its page uses @cloudbase/js-sdk as npm has it, and Lettergate in place of the cloud.
// One process is the issuer with a mailbox for its mails, the page, and a notes API
// behind the middleware.
//
//	(cd examples/cloudbase && npm ci)
//	go run ./examples/cloudbase
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
	appAddr := flag.String("app-addr", "localhost:8081", "`host:port` of the page and its API")
	data := flag.String("data", filepath.Join(os.TempDir(), "lettergate-cloudbase"), "`directory` of the database and the keys")
	folder := flag.String("folder", filepath.Join("examples", "cloudbase"), "`directory` of this example, where npm ci was run")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // so that a second Ctrl-C ends it at once
	if err := run(ctx, *issuerAddr, *appAddr, *data, *folder); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx is done.
func run(ctx context.Context, issuerAddr, appAddr, data, folder string) error {
	if err := built(folder); err != nil {
		return err
	}
	// Listening first, so that a port of 0 is known before the URLs are made.
	issuerListener, err := net.Listen("tcp", issuerAddr)
	if err != nil {
		return fmt.Errorf("the issuer's address: %w (choose another with -issuer-addr)", err)
	}
	appListener, err := net.Listen("tcp", appAddr)
	if err != nil {
		return fmt.Errorf("the page's address: %w (choose another with -app-addr)", err)
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
	servers := []*http.Server{newServer(p), newServer(appHandler(verifier, issuer, folder))}
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
	fmt.Printf(printed, app, app, issuer, folder, issuer, envID, data)

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

const printed = `
Lettergate with the CloudBase SDK
  page      %s            with version 3 of the SDK
            %s/v2/        with version 2
  mailbox   %s/dev/mailbox            every mail lands here
  Node      (cd %s && node flow.mjs %s %s)
  data      %s            remove it to start afresh

Stop with Ctrl-C.
`

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

// envID is the env id of the app, which is its client id here.
const envID = "notes-7g2x9"

// configuration is what a file would say. Everything else keeps its default.
func configuration(issuer, app, data string) config.Config {
	return config.Config{
		Issuer:  issuer,
		DataDir: data,
		Clients: []config.Client{{
			ID: envID, Name: "Notes", CloudBase: true, SignUp: true,
			Scopes:    []string{"openid", "email", "profile", "notes:read"},
			Audiences: []string{app},
			Origins:   []string{app}, // pages elsewhere get nothing
		}},
	}
}

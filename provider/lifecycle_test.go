package provider_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider"
	"github.com/lettergate/lettergate/provider/mail/mailtest"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// quiet are collaborators of a provider that is not started by start.
func quiet(store storage.Store) provider.Deps {
	return provider.Deps{Store: store, Mailer: mailtest.New(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

func openStore(t *testing.T) storage.Store {
	t.Helper()
	return openStorage(t, emptyStorage(t), nil)
}

// asked is what a handler answers to a request without a network.
func asked(h http.Handler, method, path string) answer {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return answer{w.Code, w.Result().Header, w.Body.String()}
}

// unready checks the answers of a provider that does not serve, for want of part.
func unready(t *testing.T, p *provider.Provider, part string) {
	t.Helper()
	for _, ask := range []string{
		"GET /oauth2/authorize", "POST /oauth2/token", "GET /oauth2/jwks", "GET /.well-known/openid-configuration", "POST /login/email", "POST /oauth2/introspect", "GET /logout",
	} {
		method, path, _ := strings.Cut(ask, " ")
		a := asked(p, method, path)
		a.isOutage(t, ask)
		if strings.HasPrefix(a.header.Get("Cache-Control"), "public") {
			t.Errorf("%s: the 503 may be kept", ask)
		}
	}
	if a := asked(p, "GET", "/nowhere"); a.status != http.StatusNotFound {
		t.Errorf("an unknown path: %d", a.status)
	}
	if a := asked(p, "GET", "/healthz"); a.status != http.StatusOK {
		t.Errorf("/healthz: %d", a.status)
	}
	a := asked(p, "GET", "/readyz")
	checks, _ := a.json(t)["checks"].(map[string]any)
	if a.status != http.StatusServiceUnavailable || checks[part] == nil || checks[part] == "ok" {
		t.Errorf("/readyz: %d %s, want %s not to be ok", a.status, a.body, part)
	}
	a.leaksNothing(t, "/readyz")
}

func TestBeforeAndAfterRun(t *testing.T) {
	p, err := provider.New(testConfig("http://localhost:8080"), quiet(openStore(t)))
	if err != nil {
		t.Fatal(err)
	}
	unready(t, p, "store")
	unready(t, p, "keys")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	waitFor(t, p, http.StatusOK)
	if a := asked(p, "GET", "/oauth2/jwks"); a.status != http.StatusOK {
		t.Errorf("ready, the keys are %d", a.status)
	}
	if err := p.Run(ctx); err == nil {
		t.Error("Run ran twice")
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	unready(t, p, "keys")
}

// waitFor asks /readyz until it has the status.
func waitFor(t *testing.T, p *provider.Provider, status int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 20_000 {
		if asked(p, "GET", "/readyz").status == status {
			return
		}
		<-tick.C
	}
	t.Fatalf("/readyz is not %d in 20 s", status)
}

func TestRunReturnsWhatIsUnfit(t *testing.T) {
	unfit := fmt.Errorf("%w: another schema", storage.ErrUnfit)
	db := openStore(t)
	for name, store := range map[string]storage.Store{
		"at its opening": storetest.Faulty(db, func(op storetest.Op) error {
			if op.Name == "Ping" {
				return unfit
			}
			return nil
		}),
		"when the keys are read": storetest.Faulty(db, func(op storetest.Op) error {
			if op.Key.Kind == storage.Keys {
				return unfit
			}
			return nil
		}),
	} {
		p, err := provider.New(testConfig("http://localhost:8080"), quiet(store))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Run(t.Context()); !errors.Is(err, storage.ErrUnfit) {
			t.Errorf("%s: Run returned %v", name, err)
		}
		unready(t, p, "keys")
	}
}

func TestRunReturnsWhatIsNoDatabase(t *testing.T) {
	cfg := testConfig("http://localhost:8080")
	path := filepath.Join(t.TempDir(), "broken.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("this is no database\n", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Storage.URL = config.Secret("sqlite://" + path)
	p, err := provider.New(cfg, quiet(nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); err == nil {
		t.Error("Run returned nil")
	}
	unready(t, p, "store")
}

// While the store cannot be reached Run keeps trying, and readyz says so also later.
func TestRunWaitsForTheStore(t *testing.T) {
	db := openStore(t)
	tries := 0
	p, err := provider.New(testConfig("http://localhost:8080"), quiet(storetest.Faulty(db, func(op storetest.Op) error {
		if op.Name == "Ping" || op.Key.Kind == storage.Keys {
			if tries++; tries < 5 {
				return fmt.Errorf("%w: %s", storage.ErrUnavailable, hostileText)
			}
		}
		return nil
	})))
	if err != nil {
		t.Fatal(err)
	}
	run(t, p)
	if tries < 5 {
		t.Errorf("ready after %d tries", tries)
	}
}

func TestReadyzDuringAnOutage(t *testing.T) {
	var down atomic.Bool
	p, err := provider.New(testConfig("http://localhost:8080"), quiet(storetest.Faulty(openStore(t), func(op storetest.Op) error {
		if op.Name == "Ping" && down.Load() {
			return fmt.Errorf("%w: %s", storage.ErrUnavailable, hostileText)
		}
		return nil
	})))
	if err != nil {
		t.Fatal(err)
	}
	run(t, p)
	down.Store(true)
	a := asked(p, "GET", "/readyz")
	if checks, _ := a.json(t)["checks"].(map[string]any); a.status != http.StatusServiceUnavailable || checks["store"] != "unavailable" || checks["keys"] != "ok" {
		t.Errorf("%d %s", a.status, a.body)
	}
	a.leaksNothing(t, "/readyz")
	if a := asked(p, "GET", "/healthz"); a.status != http.StatusOK {
		t.Errorf("/healthz: %d", a.status)
	}
	down.Store(false)
	waitFor(t, p, http.StatusOK)
}

func TestNewRefuses(t *testing.T) {
	for name, change := range map[string]func(*config.Config){
		"issuer":             func(c *config.Config) { c.Issuer = "http://id.example" },
		"two clients":        func(c *config.Config) { c.Clients[1].ID = webID },
		"redirect URI":       func(c *config.Config) { c.Clients[0].RedirectURIs = []string{"javascript:alert(1)"} },
		"public with secret": func(c *config.Config) { c.Clients[2].TokenEndpointAuthMethod = config.AuthMethodNone },
	} {
		cfg := testConfig("http://localhost:8080")
		change(&cfg)
		if _, err := provider.New(cfg, quiet(nil)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	// An issuer that others reach has to be able to send mail, by whatever mailer.
	cfg := testConfig("https://id.example")
	if _, err := provider.New(cfg, quiet(nil)); err != nil {
		t.Errorf("with a mailer of its own: %v", err)
	}
	deps := quiet(nil)
	deps.Mailer = nil
	if _, err := provider.New(cfg, deps); err == nil {
		t.Error("without any mailer: accepted")
	}
}

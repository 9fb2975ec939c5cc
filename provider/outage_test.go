package provider_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider"
	"github.com/lettergate/lettergate/provider/mail/mailtest"
	"github.com/lettergate/lettergate/provider/storage/servertest"
)

// These tests end, kill and pause servers, so they have their own. Without -engine they
// run on PostgreSQL and on Redis.

// A database is what a provider keeps its state in, and how it fails.
type database struct {
	name  string
	at    config.Storage // empty
	kill  func() error
	start func() error // after kill; what was acknowledged is there
	pause func() error
	wake  func() error // after pause
}

// durable has Redis keep what it has acknowledged when it is killed.
var durable = []string{"appendonly yes", "appendfsync always"}

func databases(t *testing.T) []database {
	t.Helper()
	switch *engineName {
	case "postgres":
		return []database{aPostgres(t)}
	case "redis":
		return []database{aRedis(t)}
	case "cluster":
		return []database{aCluster(t)}
	case "split":
		accounts, rest := aPostgres(t), aRedis(t)
		accounts.name, rest.name = "accounts", "rest"
		at := config.Storage{URL: rest.at.URL, AccountsURL: accounts.at.URL}
		accounts.at, rest.at = at, at
		return []database{accounts, rest}
	}
	return []database{aPostgres(t), aRedis(t)}
}

func aPostgres(t *testing.T) database {
	t.Helper()
	d := servertest.Postgres(t)
	return database{"postgres", config.Storage{URL: config.Secret(d.New(t))}, d.Kill, d.Start, d.Pause, d.Resume}
}

func aRedis(t *testing.T) database {
	t.Helper()
	s := servertest.Redis(t, durable...)
	return database{"redis", config.Storage{URL: config.Secret("redis://" + s.Addr)}, s.Kill, s.Start, s.Pause, s.Resume}
}

func aCluster(t *testing.T) database {
	t.Helper()
	c := servertest.RedisCluster(t, durable...)
	all := func(do func(*servertest.Server) error) func() error {
		return func() error {
			var errs []error
			for _, node := range c.Nodes {
				errs = append(errs, do(node))
			}
			return errors.Join(errs...)
		}
	}
	back := func(do func(*servertest.Server) error) func() error {
		return func() error { return errors.Join(all(do)(), c.Wait()) } // the nodes find each other
	}
	at := config.Storage{URL: config.Secret("redis+cluster://" + strings.Join(c.Addrs, ","))}
	return database{"cluster", at, all((*servertest.Server).Kill), back((*servertest.Server).Start),
		all((*servertest.Server).Pause), back((*servertest.Server).Resume)}
}

// A site is a provider that opens its own store, as the program does.
type site struct {
	*server
	log   *syncLog
	front *httptest.Server
	end   func() // stops the provider, and waits
}

// A syncLog can be read while it is written.
type syncLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *syncLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *syncLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// openSite runs a provider on the database, ready or not, behind a listener.
func openSite(t *testing.T, at config.Storage) *site {
	t.Helper()
	return openSiteOn(t, at, "127.0.0.1:0")
}

// restarted is the same provider in another process.
func (s *site) restarted() *site {
	s.t.Helper()
	s.end()
	s.front.Close()
	return openSiteOn(s.t, s.at, s.front.Listener.Addr().String())
}

func openSiteOn(t *testing.T, at config.Storage, address string) *site {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{server: &server{t: t, inbox: mailtest.New(), at: at}, log: &syncLog{}}
	cfg := testConfig("http://" + listener.Addr().String())
	cfg.Limits.TriesPerSource = 1_000_000 // all of them are one source
	cfg.Storage = at
	s.provider, err = provider.New(cfg, provider.Deps{Mailer: s.inbox, Logger: slog.New(slog.NewTextHandler(s.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.front = &httptest.Server{Listener: listener, Config: &http.Server{Handler: s.provider}}
	s.front.Start()
	t.Cleanup(s.front.Close)
	s.transport = s.front.Client().Transport
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.provider.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	s.end = func() {
		cancel()
		<-ended
	}
	t.Cleanup(s.end)
	return s
}

// ready waits until the provider says that it is.
func (s *site) ready(most time.Duration) {
	s.t.Helper()
	within(s.t, most, "/readyz", func() bool { return s.get("/readyz").status == http.StatusOK })
}

func try(t *testing.T, do func() error) {
	t.Helper()
	if err := do(); err != nil {
		t.Fatal(err)
	}
}

// TestFT01_NotThereAtStart starts the provider before its database.
func TestFT01_NotThereAtStart(t *testing.T) {
	for _, db := range databases(t) {
		t.Run(db.name, func(t *testing.T) {
			try(t, db.kill)
			s := openSite(t, db.at)
			for range 3 { // and it goes on trying
				tries := strings.Count(s.log.String(), "not ready yet, trying again")
				unready(t, s.provider, "store")
				within(t, 10*time.Second, "another try", func() bool {
					return strings.Count(s.log.String(), "not ready yet, trying again") > tries
				})
			}
			try(t, db.start)
			s.ready(5 * time.Second)
			s.alive(s.rotated(s.tokens("ann@example.com")))
			try(t, db.kill) // for whoever is next, or the end
			try(t, db.start)
		})
	}
}

// settled asks until the answer is no outage, which must not take long.
func (s *site) settled(what string, ask func() answer) answer {
	s.t.Helper()
	var a answer
	within(s.t, 5*time.Second, what, func() bool {
		a = timed(s.t, what, ask)
		if a.status != http.StatusServiceUnavailable {
			return true
		}
		a.isOutage(s.t, what)
		return false
	})
	return a
}

// TestFT05_StartedEmpty has the Redis that keeps tokens come back with nothing in it.
// Whoever was signed in has to sign in again, and is told so; nobody is told that
// something broke. Accounts that are kept elsewhere are what they were, and the log says
// what has happened.
func TestFT05_StartedEmpty(t *testing.T) {
	redis := servertest.Redis(t)
	for name, accounts := range map[string]config.Secret{"all in Redis": "", "accounts in PostgreSQL": config.Secret(servertest.Postgres(t).New(t))} {
		t.Run(name, func(t *testing.T) {
			at := config.Storage{URL: config.Secret("redis://" + redis.Addr + "?prefix=" + rand.Text() + ":"), AccountsURL: accounts}
			s := openSite(t, at)
			s.ready(10 * time.Second)
			b, tokens := s.signedIn("ann@example.com", "openid email offline_access")
			service := s.backendTokens(b, "ann@example.com")
			code, halfway := b.nextCode(), s.begin("ann@example.com")
			typed := codeSentFrom(s.browser(), authorizePath(webID), "bob@example.com")

			try(t, redis.Empty)
			s.ready(5 * time.Second)
			s.settled("refresh", func() answer { return s.refresh(tokens["refresh_token"].(string)) }).is(t, http.StatusBadRequest, "invalid_grant")
			s.settled("code exchange", func() answer { return s.exchange(code) }).is(t, http.StatusBadRequest, "invalid_grant")
			s.settled("mailed code", func() answer { return s.redeem(halfway) }).is(t, http.StatusBadRequest, "invalid_grant")
			s.settled("code page", typed).isPage(t, http.StatusBadRequest)
			s.settled("userinfo", func() answer { return s.userinfo(tokens["access_token"].(string)) }).is(t, http.StatusUnauthorized, "invalid_token")
			if a := s.settled("introspection", func() answer { return s.introspect(service["access_token"].(string)) }); a.body != `{"active":false}` {
				t.Errorf("introspection: %d %s", a.status, a.body)
			}
			if a := s.settled("session", func() answer { return b.get(authorizePath(webID)) }); a.status != http.StatusOK || !strings.Contains(a.body, `id="email"`) {
				t.Errorf("the session leads to %d %.300s, want the sign-in page", a.status, a.body)
			}
			logout := logoutPath("id_token_hint", tokens["id_token"].(string), "post_logout_redirect_uri", bye)
			if a := s.settled("sign-out", func() answer { return b.send(s.request("GET", logout, "")) }); a.status != http.StatusSeeOther {
				t.Errorf("sign-out: %d %.300s", a.status, a.body)
			}

			again := s.tokens("ann@example.com")
			s.alive(s.rotated(again))
			before, now := claimsOf(t, tokens["id_token"])["sub"], claimsOf(t, again["id_token"])["sub"]
			if kept := accounts != ""; (before == now) != kept {
				t.Errorf("the account was %v and is %v", before, now)
			}
			next := s.restarted()
			next.ready(10 * time.Second)
			if said := strings.Contains(s.log.String()+next.log.String(), lostStore); accounts != "" && !said {
				t.Errorf("the log does not say that the tokens are gone:\n%s\n%s", s.log, next.log)
			}
		})
	}
}

// TestFT14_TooManyConnections asks more at once than the database has connections for.
func TestFT14_TooManyConnections(t *testing.T) {
	postgres := servertest.Postgres(t, "max_connections = 8", "superuser_reserved_connections = 1")
	for name, url := range map[string]config.Secret{
		"redis":    config.Secret("redis://" + servertest.Redis(t, "maxclients 20").Addr),
		"postgres": config.Secret(postgres.New(t)),
	} {
		t.Run(name, func(t *testing.T) {
			s := openSite(t, config.Storage{URL: url})
			s.ready(10 * time.Second)
			tokens := s.tokens("ann@example.com")
			outages := 0
			answers := make([]answer, callers)
			var all sync.WaitGroup
			for i := range callers {
				all.Go(func() {
					answers[i] = timed(t, "userinfo", func() answer { return s.userinfo(tokens["access_token"].(string)) })
				})
			}
			all.Wait()
			for _, a := range answers {
				outage, wrong := right(a, http.StatusOK, "ann@example.com")
				if wrong != nil {
					t.Error(wrong)
				}
				if outage {
					outages++
				}
			}
			t.Logf("%d of %d were told of an outage", outages, callers)
			s.settled("userinfo", func() answer { return s.userinfo(tokens["access_token"].(string)) })
			s.alive(s.rotated(tokens))
		})
	}
}

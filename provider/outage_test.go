package provider_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
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

// An asker asks for one thing again and again, and says what is wrong with an answer.
// Its ask returns whether it was told of an outage.
type asker struct {
	name   string
	needs  bool // the database, so that it must be told of an outage
	tokens bool // are all it needs, and no accounts
	ask    func() (outage bool, wrong error)
	every  time.Duration // default 10 ms

	answered, served atomic.Int64 // of what was asked in this phase
	told             atomic.Int64
}

// right is what an answer has to be when it is not an outage.
func right(a answer, status int, part string) (outage bool, wrong error) {
	switch {
	case a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "" && a.header.Get("Location") == "":
		return true, nil
	case a.status != status || !strings.Contains(a.body+a.header.Get("Location"), part):
		return false, fmt.Errorf("%d to %q %.300s, want %d with %s", a.status, a.header.Get("Location"), a.body, status, part)
	}
	return false, nil
}

func field(a answer, name string) string {
	var all map[string]any
	_ = json.Unmarshal([]byte(a.body), &all) // "" then
	v, _ := all[name].(string)
	return v
}

// askers are people and programs who do all that the provider does, each on their own.
func (s *site) askers() []*asker {
	info := s.tokens("info@example.com")["access_token"].(string)
	service := s.backendTokens(s.browser(), "service@example.com")["access_token"].(string)
	refresh := s.tokens("refresh@example.com")["refresh_token"].(string)
	ended := s.tokens("ended@example.com")["refresh_token"].(string)
	b := s.browser()
	b.signIn(authorizePath(webID), "session@example.com").arrives(s.t, callback)
	verify, err := s.provider.Verifier(api)
	if err != nil {
		s.t.Fatal(err)
	}
	return []*asker{
		{name: "userinfo", needs: true, ask: func() (bool, error) { return right(s.userinfo(info), http.StatusOK, "info@example.com") }},
		{name: "introspection", needs: true, ask: func() (bool, error) { return right(s.introspect(service), http.StatusOK, `"active":true`) }},
		{name: "refresh", needs: true, ask: func() (bool, error) {
			a := s.refresh(refresh)
			if a.status == http.StatusOK {
				refresh = field(a, "refresh_token")
			}
			return right(a, http.StatusOK, "refresh_token")
		}},
		{name: "session and code exchange", needs: true, ask: func() (bool, error) {
			a := b.send(s.request("GET", authorizePath(webID, "prompt", "none"), ""))
			if outage, wrong := right(a, http.StatusSeeOther, "code="); outage || wrong != nil {
				return outage, wrong
			}
			return right(s.exchange(a.arrives(s.t, callback).Get("code")), http.StatusOK, "access_token")
		}},
		{name: "verification and wrong code", needs: true, tokens: true, ask: func() (bool, error) {
			a := s.post("/oauth2/verification", "client_id", nativeID, "email", rand.Text()+"@example.com")
			if outage, wrong := right(a, http.StatusOK, "verification_id"); outage || wrong != nil {
				return outage, wrong
			}
			return right(s.redeem(started{field(a, "verification_id"), "000000"}), http.StatusBadRequest, "invalid_grant")
		}},
		{name: "revocation", needs: true, ask: s.revoker()},
		{name: "revocation of a family", needs: true, tokens: true, ask: func() (bool, error) {
			return right(s.revoke(ended), http.StatusOK, "")
		}},
		{name: "sign-up", needs: true, every: 50 * time.Millisecond, ask: s.signUp},
		{name: "keys and discovery", ask: func() (bool, error) {
			for _, path := range []string{"/oauth2/jwks", "/.well-known/openid-configuration", "/healthz"} {
				if outage, wrong := right(s.get(path), http.StatusOK, ""); outage || wrong != nil {
					return false, fmt.Errorf("%s: %t, %w", path, outage, wrong)
				}
			}
			_, err := verify.Verify(context.Background(), info)
			return false, err
		}},
		{name: "readyz", needs: true, ask: func() (bool, error) {
			a := s.get("/readyz")
			if a.status == http.StatusServiceUnavailable && strings.Contains(a.body, `"store":"unavailable"`) && strings.Contains(a.body, `"keys":"ok"`) {
				return true, nil
			}
			return right(a, http.StatusOK, "")
		}},
	}
}

// revoker returns what revokes one access token after the other, each of them got before
// the outage or after it, and looks later whether those are dead of which it was told so.
func (s *site) revoker() func() (outage bool, wrong error) {
	refresh := s.tokens("revoke@example.com")["refresh_token"].(string)
	next := ""
	var dead []string
	return func() (bool, error) {
		if next != "" {
			if outage, wrong := right(s.revoke(next), http.StatusOK, ""); outage || wrong != nil {
				return outage, wrong
			}
			dead, next = append(dead, next), ""
		}
		a := s.refresh(refresh)
		if outage, wrong := right(a, http.StatusOK, "access_token"); outage || wrong != nil {
			return outage, wrong
		}
		refresh, next = field(a, "refresh_token"), field(a, "access_token")
		for len(dead) > 0 {
			if outage, wrong := right(s.userinfo(dead[0]), http.StatusUnauthorized, "invalid_token"); outage || wrong != nil {
				return outage, wrong
			}
			dead = dead[1:]
		}
		return false, nil
	}
}

// signUp is the whole grant of the emailed code for somebody new. A mail that was promised
// when the outage began may come much later.
func (s *site) signUp() (outage bool, wrong error) {
	address := strings.ToLower(rand.Text()) + "@example.com"
	a := s.post("/oauth2/verification", "client_id", nativeID, "email", address, "scope", "openid email")
	if outage, wrong := right(a, http.StatusOK, "verification_id"); outage || wrong != nil {
		return outage, wrong
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	code, err := s.inbox.Code(ctx, address)
	if err != nil {
		return true, nil
	}
	return right(s.redeem(started{field(a, "verification_id"), code}), http.StatusOK, "access_token")
}

// A storm is what is asked of a site before, during and after an outage.
type storm struct {
	t      *testing.T
	askers []*asker
	phase  atomic.Int32 // what was asked in another phase says nothing about this one
	ended  atomic.Bool
	slow   atomic.Int64 // the slowest answer
}

// The phases of a storm.
const (
	calm int32 = iota
	gone
	back
)

// run asks until the storm is ended.
func (w *storm) run(a *asker) {
	every := 10 * time.Millisecond
	if a.every > 0 {
		every = a.every
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for !w.ended.Load() && !w.t.Failed() {
		phase := w.phase.Load()
		outage, wrong := a.ask()
		if wrong != nil {
			w.t.Errorf("%s: %v", a.name, wrong)
		}
		if w.phase.Load() == phase {
			a.answered.Add(1)
			if outage {
				a.told.Add(1)
			} else {
				a.served.Add(1)
			}
		}
		<-tick.C
	}
}

// enter begins a phase.
func (w *storm) enter(phase int32) {
	w.phase.Store(phase)
	for _, a := range w.askers {
		a.answered.Store(0)
		a.served.Store(0)
		a.told.Store(0)
	}
}

// until waits for what every asker has to see.
func (w *storm) until(most time.Duration, what string, seen func(*asker) bool) {
	w.t.Helper()
	for _, a := range w.askers {
		within(w.t, most, what+": "+a.name, func() bool { return seen(a) || w.t.Failed() })
	}
}

// weather has all askers ask before, while and after the database is away.
//
// Every answer comes in time, and is the right one or an outage: never a 500, never that
// something is not there which is. Keys, metadata and verifiers go on meanwhile; and at
// most five seconds after the database is back, so does everything.
func weather(t *testing.T, db database, away, again func() error) {
	s := openSite(t, db.at)
	s.ready(10 * time.Second)
	w := &storm{t: t, askers: s.askers()}
	for _, a := range w.askers {
		a.needs = a.needs && !(a.tokens && db.name == "accounts")
	}
	s.transport = &stopwatch{s.transport, w}
	var running sync.WaitGroup
	for _, a := range w.askers {
		running.Go(func() { w.run(a) })
	}
	defer running.Wait()
	defer w.ended.Store(true)
	w.until(20*time.Second, "served before", func(a *asker) bool { return a.served.Load() >= 2 })
	try(t, away)
	w.enter(gone)
	w.until(20*time.Second, "asked meanwhile", func(a *asker) bool {
		return a.answered.Load() >= 3 && (!a.needs || a.told.Load() >= 1)
	})
	for _, a := range w.askers {
		if n := a.served.Load(); a.needs && n > 0 {
			t.Errorf("%s was served %d times without the database", a.name, n)
		}
	}
	try(t, again)
	over := time.Now()
	w.enter(back)
	w.until(5*time.Second, "served again", func(a *asker) bool { return a.served.Load() >= 2 })
	t.Logf("all were served again after %v; the slowest answer took %v",
		time.Since(over).Round(time.Millisecond), time.Duration(w.slow.Load()).Round(time.Millisecond))
	if strings.Contains(s.log.String(), `: server_error"`) {
		t.Error("an outage is in the log without its cause")
	}
	if t.Failed() {
		t.Logf("the provider said:\n%.4000s", s.log)
	}
}

// A stopwatch is a transport that knows how long an answer may take.
type stopwatch struct {
	http.RoundTripper
	w *storm
}

func (s *stopwatch) RoundTrip(r *http.Request) (*http.Response, error) {
	begun := time.Now()
	resp, err := s.RoundTripper.RoundTrip(r)
	took := time.Since(begun)
	if took > patience {
		s.w.t.Errorf("%s %s: answered after %v, want %v at most", r.Method, r.URL.Path, took, patience)
	}
	for {
		slowest := s.w.slow.Load()
		if int64(took) <= slowest || s.w.slow.CompareAndSwap(slowest, int64(took)) {
			return resp, err
		}
	}
}

// TestFT02_Killed kills the database under load and starts it again.
func TestFT02_Killed(t *testing.T) {
	for _, db := range databases(t) {
		t.Run(db.name, func(t *testing.T) { weather(t, db, db.kill, db.start) })
	}
}

// TestFT03_Silent stops the database in its tracks: connections are there, and nothing
// answers.
func TestFT03_Silent(t *testing.T) {
	for _, db := range databases(t) {
		t.Run(db.name, func(t *testing.T) {
			defer db.wake()
			weather(t, db, db.pause, db.wake)
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

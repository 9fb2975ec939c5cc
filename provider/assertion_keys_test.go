package provider_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider"
	"github.com/lettergate/lettergate/provider/mail/mailtest"
)

// A keyServer is where a client publishes its keys.
type keyServer struct {
	*httptest.Server
	mu     sync.Mutex
	keys   []byte
	answer http.HandlerFunc // instead of the keys
	hits   int
}

func (k *keyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	k.hits++
	keys, answer := k.keys, k.answer
	k.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	w.Write(keys)
}

func newKeyServer(t *testing.T, keys ...clientKey) *keyServer {
	t.Helper()
	k := &keyServer{keys: publishedKeys(t, keys...)}
	k.Server = httptest.NewServer(k)
	t.Cleanup(k.Close)
	return k
}

func (k *keyServer) publish(t *testing.T, keys ...clientKey) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = publishedKeys(t, keys...)
}

func (k *keyServer) answers(with http.HandlerFunc) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.answer = with
}

func (k *keyServer) asked() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.hits
}

// keysAt has the client that signs publish its keys at the URI, and allows the hosts.
func keysAt(uri string, allowed ...string) func(*config.Config) {
	return func(c *config.Config) {
		signer := theSigner(c)
		signer.JWKS, signer.JWKSURI = config.JWKS{}, uri
		c.Outbound.InsecureAllow = append(c.Outbound.InsecureAllow, allowed...)
	}
}

// here is keysAt for a server of a test.
func (k *keyServer) here() func(*config.Config) {
	return keysAt(k.URL+"/jwks", k.Listener.Addr().String())
}

func fails(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }

// tries presents a new assertion of the key.
func (s *server) tries(k clientKey, now time.Time) answer {
	s.t.Helper()
	return s.ownToken(k.assertion(s.t, s.claims(signerID, now)))
}

func TestAS49_PublishedKeys(t *testing.T) {
	keys := newSignerKeys(t)
	published := newKeyServer(t, keys.es, keys.rs, keys.ed)
	s := start(t, options{direct: true, config: published.here()})
	// What is wrong without any key makes nobody ask for one.
	for _, bad := range []string{"x", keys.es.assertion(t, s.claims(signerID, time.Now()).with("aud", "https://other.example"))} {
		s.ownToken(bad).is(t, http.StatusUnauthorized, "invalid_client")
	}
	if n := published.asked(); n != 0 {
		t.Errorf("the keys were asked for %d times too early", n)
	}
	for range 3 {
		for _, k := range keys.all() {
			if a := s.tries(k, time.Now()); a.status != http.StatusOK {
				t.Errorf("%s: %d %s", k.alg, a.status, a.body)
			}
		}
		forger := newClientKey(t, "es", "ES256")
		s.tries(forger, time.Now()).is(t, http.StatusUnauthorized, "invalid_client")
	}
	if n := published.asked(); n != 1 {
		t.Errorf("the keys were asked for %d times, want once", n)
	}
}

// TestAS49_Rotation changes the keys of a client, published and inline.
func TestAS49_Rotation(t *testing.T) {
	old, next := newClientKey(t, "old", "ES256"), newClientKey(t, "new", "ES256")
	clk := newClock()
	published := newKeyServer(t, old)
	s := start(t, options{direct: true, now: clk.now, config: published.here()})
	good := func(k clientKey) {
		t.Helper()
		if a := s.tries(k, clk.now()); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", k.kid, a.status, a.body)
		}
	}
	bad := func(k clientKey) {
		t.Helper()
		s.tries(k, clk.now()).is(t, http.StatusUnauthorized, "invalid_client")
	}
	good(old)
	bad(next)
	if n := published.asked(); n != 1 {
		t.Errorf("asked %d times: an unknown kid made it ask within 30 s", n)
	}
	published.publish(t, old, next)
	clk.advance(31 * time.Second)
	good(next)
	good(old)
	// Kids that somebody made up do not make it ask more often.
	for i := range 20 {
		bad(clientKey{fmt.Sprint("kid", i), "ES256", old.private})
		clk.advance(time.Second)
	}
	if n := published.asked(); n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}
	published.publish(t, next)
	clk.advance(11 * time.Minute)
	bad(old)
	good(next)

	s = start(t, options{direct: true, config: func(c *config.Config) { theSigner(c).JWKS = registered(t, old, next) }})
	for _, k := range []clientKey{old, next} {
		if a := s.tries(k, time.Now()); a.status != http.StatusOK {
			t.Errorf("inline, %s: %d %s", k.kid, a.status, a.body)
		}
		// Two keys would fit: which is meant has to be said.
		s.ownToken(k.sign(t, k.header().without("kid").json(), s.claims(signerID, time.Now()).json())).is(t, http.StatusUnauthorized, "invalid_client")
	}
}

// TestAS49_KeysThatCannotBeHad tells an outage from an assertion that is wrong.
func TestAS49_KeysThatCannotBeHad(t *testing.T) {
	k, other := newClientKey(t, "k", "EdDSA"), newClientKey(t, "other", "EdDSA")
	clk := newClock()
	published := newKeyServer(t, k)
	s := start(t, options{direct: true, now: clk.now, config: published.here()})
	for name, answer := range map[string]http.HandlerFunc{
		"500":     fails,
		"no set":  func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) },
		"no keys": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`{"keys":[]}`)) },
		"private keys": func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte(`{"keys":[{"kty":"oct","kid":"k","k":"AA"}]}`))
		},
		"too large": func(w http.ResponseWriter, _ *http.Request) {
			w.Write(append(publishedKeys(t, k), strings.Repeat(" ", 64<<10)...))
		},
		"cut off": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		clk.advance(3 * time.Second)
		published.answers(answer)
		a := s.tries(k, clk.now())
		a.isOutage(t, name)
		if !strings.Contains(a.body, "jwks_uri") {
			t.Errorf("%s: the client is not told what is out: %s", name, a.body)
		}
	}
	published.answers(nil)
	clk.advance(3 * time.Second)
	if a := s.tries(k, clk.now()); a.status != http.StatusOK {
		t.Fatalf("back again: %d %s", a.status, a.body)
	}

	published.answers(fails)
	for range 23 {
		clk.advance(time.Hour)
		if a := s.tries(k, clk.now()); a.status != http.StatusOK {
			t.Fatalf("with the last keys: %d %s", a.status, a.body)
		}
		s.tries(other, clk.now()).isOutage(t, "a kid that may have been added since")
		s.tries(clientKey{"k", "EdDSA", other.private}, clk.now()).is(t, http.StatusUnauthorized, "invalid_client")
	}
	clk.advance(time.Hour)
	s.tries(k, clk.now()).isOutage(t, "with keys of yesterday")
}

// TestAS49_SlowKeys has a client whose keys take for ever: its requests share one
// attempt and wait, and nobody else's do.
func TestAS49_SlowKeys(t *testing.T) {
	k := newClientKey(t, "k", "EdDSA")
	published := newKeyServer(t, k)
	asked, release := make(chan struct{}, 100), make(chan struct{})
	published.answers(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-release
		fails(w, r)
	})
	other, clk := newClientKey(t, "ed", "EdDSA"), newClock()
	s := start(t, options{direct: true, now: clk.now, config: func(c *config.Config) {
		twin := *theSigner(c)
		twin.ID, twin.JWKS = "twin", registered(t, other)
		c.Clients = append(c.Clients, twin)
		published.here()(c)
	}})
	var waiting sync.WaitGroup
	answers := make(chan answer, 20)
	for range cap(answers) {
		waiting.Go(func() { answers <- s.tries(k, clk.now()) })
	}
	<-asked
	if a := s.postAs(secretID, backendSecret, "/oauth2/token", "grant_type", "client_credentials"); a.status != http.StatusOK {
		t.Errorf("a client with a secret: %d %s", a.status, a.body)
	}
	if a := s.ownToken(other.assertion(t, s.claims("twin", clk.now()))); a.status != http.StatusOK {
		t.Errorf("another client that signs: %d %s", a.status, a.body)
	}
	if n := len(answers); n != 0 {
		t.Errorf("%d answers without keys", n)
	}
	close(release)
	waiting.Wait()
	close(answers)
	for a := range answers {
		a.isOutage(t, "without keys")
	}
	if n := published.asked(); n != 1 {
		t.Errorf("%d requests for the keys, want 1", n)
	}
}

// Keys over TLS, by an authority that the configuration names.
func TestAS49_KeysByTLS(t *testing.T) {
	k := newClientKey(t, "k", "ES256")
	tls := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(publishedKeys(t, k)) }))
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	defer tls.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tls.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for authority, status := range map[string]int{file: http.StatusOK, "": http.StatusServiceUnavailable} {
		s := start(t, options{direct: true, config: func(c *config.Config) {
			keysAt(tls.URL, tls.Listener.Addr().String())(c)
			c.Outbound.CAFile = authority
		}})
		if a := s.tries(k, time.Now()); a.status != status {
			t.Errorf("ca_file %q: %d %s", authority, a.status, a.body)
		}
	}
}

// TestAS28_JWKSURI has keys published where nothing is to be asked. A redirect leads
// nowhere, not even to a server that is allowed.
func TestAS28_JWKSURI(t *testing.T) {
	k := newClientKey(t, "k", "EdDSA")
	inner := newKeyServer(t, k)
	var connections atomic.Int64
	tls := httptest.NewUnstartedServer(inner)
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	tls.StartTLS()
	defer tls.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem") // the certificate is not what stops it
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tls.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(tls.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	outer := newKeyServer(t)
	outer.answers(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inner.URL+"/jwks", http.StatusFound) })
	redirects := []string{outer.Listener.Addr().String(), inner.Listener.Addr().String()}
	for uri, allowed := range map[string][]string{
		"https://127.0.0.1:" + port:                 nil,
		"https://localhost:" + port:                 {"127.0.0.1:" + port}, // a name is allowed by name
		"https://[::ffff:127.0.0.1]:" + port:        {"localhost:" + port},
		"https://[::1]:" + port:                     nil,
		"https://0.0.0.0:" + port:                   nil,
		"https://10.255.255.1:" + port:              nil,
		"https://169.254.169.254/latest/meta":       nil,
		"https://[fd00:ec2::254]/latest/meta":       nil,
		"https://[64:ff9b::7f00:1]:" + port:         nil,
		outer.URL + "/jwks":                         redirects,
		"https://127.0.0.1:" + port + "/?a=" + port: {"127.0.0.1:443"},
	} {
		s := start(t, options{direct: true, config: func(c *config.Config) {
			keysAt(uri, allowed...)(c)
			c.Outbound.CAFile = ca
		}})
		begun := time.Now()
		for _, path := range machinePosts {
			s.assert(path, k.assertion(t, s.claims(signerID, time.Now())), "grant_type", "client_credentials", "token", "x").isOutage(t, uri)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("%s: the answers took %s", uri, took)
		}
	}
	if asked, n := inner.asked(), connections.Load(); asked != 0 || n != 0 {
		t.Errorf("%d requests and %d connections where nothing is to be asked", asked, n)
	}
	// The same server, allowed by its name.
	s := start(t, options{direct: true, config: func(c *config.Config) {
		keysAt("https://127.0.0.1:"+port, "127.0.0.1:"+port)(c)
		c.Outbound.CAFile = ca
	}})
	if a := s.tries(k, time.Now()); a.status != http.StatusOK || inner.asked() != 1 {
		t.Errorf("what is allowed: %d %s, asked %d times", a.status, a.body, inner.asked())
	}
}

// What is not allowed to be asked in clear is refused at the start.
func TestAS28_JWKSURIInClear(t *testing.T) {
	for uri, allowed := range map[string]string{"http://127.0.0.1:9000/jwks": "127.0.0.1:9001", "http://keys.example/jwks": "keys.example:443", "http://localhost/jwks": "127.0.0.1:80"} {
		cfg := testConfig("http://localhost:8080")
		keysAt(uri, allowed)(&cfg)
		_, err := provider.New(cfg, provider.Deps{Mailer: mailtest.New()})
		if u, _ := url.Parse(uri); err == nil || !strings.Contains(err.Error(), "outbound.insecure_allow") || !strings.Contains(err.Error(), u.Hostname()) {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

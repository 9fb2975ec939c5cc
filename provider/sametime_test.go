package provider_test

import (
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
)

const wrongSecret = "wrong-secret-of-at-least-32-characters-"

// An attempt is a request that fails.
type attempt struct{ body, user string }

// request is the same again each time.
func (a attempt) request() *http.Request {
	r := httptest.NewRequest("POST", "/oauth2/token", strings.NewReader(a.body))
	r.Header.Set("Content-Type", formType)
	if a.user != "" {
		r.SetBasicAuth(a.user, wrongSecret)
	}
	return r
}

// A guess is an attempt in the name of a client that is registered, and the same for
// one that is not.
type guess struct {
	name, method   string
	known, unknown attempt
}

// guesses are what a stranger may try in order to learn who is registered, for what.
func guesses(s *server, keys signerKeys) []guess {
	s.t.Helper()
	basic := func(id string) attempt { return attempt{"grant_type=client_credentials", id} }
	form := func(pairs ...string) attempt {
		return attempt{body: values(append(pairs, "grant_type", "client_credentials")...).Encode()}
	}
	posted := func(id string) attempt { return form("client_id", id, "client_secret", wrongSecret) }
	asserted := func(k clientKey, id string) attempt {
		return form("client_assertion_type", assertionType, "client_assertion", k.assertion(s.t, s.claims(id, time.Now())))
	}
	all := []guess{
		{"by Basic", "secret", basic(secretID), basic("backenb")},
		{"by Basic, of a public client", "secret", basic(webID), basic("wab")},
		{"by Basic, of a client that signs", "secret", basic(signerID), basic("signar")},
		{"posted", "secret", posted("poster"), posted("pastor")},
		{"left out", "secret", form("client_id", secretID), form("client_id", "backenb")},
	}
	forged := newSignerKeys(s.t)
	forged.ed = newClientKey(s.t, "ed", "EdDSA")
	for i, k := range forged.all() {
		elsewhere := clientKey{"no", k.alg, k.private}
		all = append(all,
			guess{k.alg, "assertion", asserted(k, signerID), asserted(k, "signar")},
			guess{k.alg + ", unknown kid", "assertion", asserted(elsewhere, signerID), asserted(elsewhere, "signar")},
			guess{k.alg + " of a client with secrets", "assertion", asserted(k, secretID), asserted(k, "backenb")},
			guess{k.alg + " of a client with another alg", "assertion", asserted(keys.all()[i], "picky-"+k.alg), asserted(keys.all()[i], "picki-"+k.alg)},
		)
	}
	return all
}

// guessed registers, beside the usual clients, those that guesses names.
func guessed(t *testing.T, keys signerKeys) func(*config.Config) {
	return func(c *config.Config) {
		keys.inline(t)(c)
		poster := c.Clients[2]
		poster.ID, poster.TokenEndpointAuthMethod = "poster", config.AuthMethodPost
		c.Clients = append(c.Clients, poster)
		for _, k := range keys.all() {
			picky := *theSigner(c)
			picky.ID, picky.TokenEndpointAuthSigningAlg = "picky-"+k.alg, map[bool]string{true: "EdDSA", false: "ES256"}[k.alg == "ES256"]
			c.Clients = append(c.Clients, picky)
		}
	}
}

// TestAS48_UnknownClientSameWork compares what is wrong about a registered client with
// the same about one that nobody knows: the answer, the calls of the store, and what
// is allocated. What takes time is the check of a signature, and one that is left out
// shows in the allocations (but for EdDSA, which needs none; the full lane has a clock).
func TestAS48_UnknownClientSameWork(t *testing.T) {
	keys := newSignerKeys(t)
	s, count := counted(t, options{config: guessed(t, keys)})
	ask := func(a attempt) (answer, string) {
		resp, err := s.transport.RoundTrip(a.request())
		got := read(t, resp, err)
		return got, got.shape("")
	}
	bodies := map[string][]string{}
	for _, g := range guesses(s, keys) {
		count.Reset()
		known, one := ask(g.known)
		unknown, other := ask(g.unknown)
		if known.status != http.StatusUnauthorized || one != other || known.body != unknown.body {
			t.Errorf("%s %s: a client that is known gets\n%s\none that is not\n%s", g.method, g.name, one, other)
		}
		if n := count.Calls(); n != 0 {
			t.Errorf("%s %s: the store was asked %d times", g.method, g.name, n)
		}
		if !slices.Contains(bodies[g.method], known.body) {
			bodies[g.method] = append(bodies[g.method], known.body)
		}
		a, b := s.allocations(g.known), s.allocations(g.unknown)
		if a > b+4 || b > a+4 {
			t.Errorf("%s %s: %v allocations for a client that is known, %v for one that is not", g.method, g.name, a, b)
		}
		t.Logf("%s %s: %v and %v allocations", g.method, g.name, a, b)
	}
	for method, all := range bodies {
		if len(all) != 1 {
			t.Errorf("%d answers to a wrong %s: %q", len(all), method, all)
		}
	}
}

// allocations is how much is allocated for one request: the least of several measures,
// because what else goes on in the process is counted too.
func (s *server) allocations(a attempt) float64 {
	least := math.Inf(1)
	for range 5 {
		least = min(least, testing.AllocsPerRun(20, func() { s.provider.ServeHTTP(httptest.NewRecorder(), a.request()) }))
	}
	return least
}

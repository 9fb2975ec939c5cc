package keys_test

import (
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/keys"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
)

// clock is a clock that moves when it is told to.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC).UnixMilli())
	return c
}

func (c *clock) Now() time.Time          { return time.UnixMilli(c.ms.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

func openStore(t testing.TB, now func() time.Time) storage.Store {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), sqlstore.Config{Path: filepath.Join(t.TempDir(), "keys.db"), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return storage.Scope(s, "https://issuer.example")
}

var (
	secretA = secrets.Secret{ID: "a", Value: []byte(strings.Repeat("a", 32))}
	secretB = secrets.Secret{ID: "b", Value: []byte(strings.Repeat("b", 32))}
)

func secretRing(t testing.TB, list ...secrets.Secret) *secrets.Ring {
	t.Helper()
	r, err := secrets.New(list)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// newRing returns a ring that is not loaded. What cfg leaves out is filled in.
func newRing(t testing.TB, cfg keys.Config) *keys.Ring {
	t.Helper()
	if cfg.Secrets == nil {
		cfg.Secrets = secretRing(t, secretA)
	}
	if cfg.Algorithms == nil {
		cfg.Algorithms = []string{keys.ES256}
	}
	r, err := keys.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// loaded is newRing and Load.
func loaded(t testing.TB, cfg keys.Config) *keys.Ring {
	t.Helper()
	r := newRing(t, cfg)
	if err := r.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

func sign(t testing.TB, r *keys.Ring, alg string) string {
	t.Helper()
	token, err := r.Sign(alg, "at+jwt", map[string]any{"sub": "s"})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// kidOf returns the key that a ring signs with now.
func kidOf(t testing.TB, r *keys.Ring, alg string) string {
	t.Helper()
	_, kid, _, err := r.Verify(sign(t, r, alg), "at+jwt")
	if err != nil {
		t.Fatal(err)
	}
	return kid
}

func jwks(r *keys.Ring) string {
	body, _ := r.JWKS()
	return string(body)
}

func all() []string { return []string{keys.ES256, keys.RS256, keys.PS256, keys.EdDSA} }

package keys_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/keys"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

func TestNewRefuses(t *testing.T) {
	good := keys.Config{Store: openStore(t, nil), Secrets: secretRing(t, secretA), Algorithms: []string{keys.ES256}}
	for name, spoil := range map[string]func(*keys.Config){
		"no store":          func(c *keys.Config) { c.Store = nil },
		"no secrets":        func(c *keys.Config) { c.Secrets = nil },
		"no algorithm":      func(c *keys.Config) { c.Algorithms = nil },
		"none":              func(c *keys.Config) { c.Algorithms = []string{"none"} },
		"HS256":             func(c *keys.Config) { c.Algorithms = []string{"HS256"} },
		"twice":             func(c *keys.Config) { c.Algorithms = []string{keys.ES256, keys.EdDSA, keys.ES256} },
		"negative max-age":  func(c *keys.Config) { c.MaxAge = -1 },
		"negative rotation": func(c *keys.Config) { c.RotateEvery = -1 },
	} {
		cfg := good
		spoil(&cfg)
		if _, err := keys.New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// FT-31: replicas that start at once on an empty store agree on one set.
func TestFirstStart(t *testing.T) {
	for name, weaken := range map[string]func(storage.Store) storage.Store{
		"sqlite":  func(s storage.Store) storage.Store { return s },
		"weakest": storetest.Weakest,
	} {
		t.Run(name, func(t *testing.T) {
			s := weaken(openStore(t, nil))
			rings := make([]*keys.Ring, 5)
			var wg sync.WaitGroup
			for i := range rings {
				rings[i] = newRing(t, keys.Config{Store: s, Algorithms: all()})
				wg.Go(func() {
					for {
						err := rings[i].Load(t.Context())
						if err == nil {
							return
						}
						if !errors.Is(err, storage.ErrUnavailable) {
							t.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			for i, r := range rings {
				if jwks(r) != jwks(rings[0]) {
					t.Errorf("ring %d has another set", i)
				}
				for _, alg := range all() {
					if _, _, _, err := r.Verify(sign(t, rings[(i+1)%5], alg), "at+jwt"); err != nil {
						t.Errorf("ring %d: %v", i, err)
					}
				}
			}
			if r := loaded(t, keys.Config{Store: s, Algorithms: all()}); jwks(r) != jwks(rings[0]) {
				t.Error("a later start has another set")
			}
		})
	}
}

func TestFurtherAlgorithm(t *testing.T) {
	s := openStore(t, nil)
	first := loaded(t, keys.Config{Store: s})
	token := sign(t, first, keys.ES256)
	more := loaded(t, keys.Config{Store: s, Algorithms: []string{keys.EdDSA, keys.ES256}})
	if _, _, _, err := more.Verify(token, "at+jwt"); err != nil {
		t.Error(err)
	}
	sign(t, more, keys.EdDSA)
	if len(more.PublicKeys().Keys) != 4 {
		t.Errorf("%d keys", len(more.PublicKeys().Keys))
	}
	// One that is no longer listed stays, and is not rotated.
	fewer := loaded(t, keys.Config{Store: s, Algorithms: []string{keys.ES256}})
	old := kidOf(t, more, keys.EdDSA)
	if err := fewer.Rotate(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if kidOf(t, fewer, keys.EdDSA) != old || len(fewer.PublicKeys().Keys) != 5 {
		t.Errorf("the unlisted algorithm was rotated: %d keys", len(fewer.PublicKeys().Keys))
	}
}

func TestRotate(t *testing.T) {
	c := newClock()
	cfg := keys.Config{Store: openStore(t, c.Now), MaxAge: 5 * time.Minute, Poll: 30 * time.Second, TokenLife: time.Hour, Now: c.Now}
	r := loaded(t, cfg)
	first, firstToken := kidOf(t, r, keys.ES256), sign(t, r, keys.ES256)

	c.advance(6*time.Minute - time.Millisecond)
	before, etag := r.JWKS()
	err := r.Rotate(t.Context(), false)
	if !errors.Is(err, keys.ErrTooSoon) || !strings.Contains(err.Error(), "ES256 can be rotated from 2030-01-02T03:10:05Z") {
		t.Errorf("a moment too soon: %v", err)
	}
	c.advance(time.Millisecond)
	if err := r.Rotate(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	second := kidOf(t, r, keys.ES256)
	if second == first || !strings.Contains(string(before), second) {
		t.Error("what signs now was not published before")
	}
	if _, now := r.JWKS(); now == etag {
		t.Error("the entity tag has not changed")
	}
	if _, _, _, err := r.Verify(firstToken, "at+jwt"); err != nil {
		t.Errorf("the previous key's token: %v", err)
	}

	// The previous key stays until its tokens are over.
	c.advance(time.Hour)
	if err := r.Rotate(t.Context(), false); !errors.Is(err, keys.ErrTooSoon) {
		t.Errorf("while the previous key's tokens are good: %v", err)
	}
	c.advance(time.Minute)
	if err := r.Rotate(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := r.Verify(firstToken, "at+jwt"); !errors.Is(err, keys.ErrInvalid) {
		t.Errorf("a withdrawn key's token: %v", err)
	}

	// A leaked key is out of use after one forced rotation and gone after two.
	leaked := sign(t, r, keys.ES256)
	for i, want := range []bool{true, false} {
		if err := r.Rotate(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := r.Verify(leaked, "at+jwt"); (err == nil) != want {
			t.Errorf("after %d forced rotations: %v", i+1, err)
		}
	}
}

// FT-28, RS-18: three replicas rotate every ten minutes for three hours. Every
// token verifies, as long as it lives, at every replica and with every copy of
// the key set that is no older than its max-age, whoever served it.
func TestRotationWhileTokensFly(t *testing.T) {
	const (
		life   = 4 * time.Minute
		maxAge = 5 * time.Minute
		step   = 11 * time.Second
	)
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, time.Now)
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		rings := make([]*keys.Ring, 3)
		for i := range rings {
			cfg := keys.Config{Store: s, Algorithms: []string{keys.ES256, keys.EdDSA}, RotateEvery: 10 * time.Minute, MaxAge: maxAge, TokenLife: life}
			rings[i] = loaded(t, cfg)
			running.Go(func() {
				if err := rings[i].Run(ctx); err != nil {
					t.Error(err)
				}
			})
			<-time.After(11 * time.Second) // they poll at different times
		}
		type flying struct {
			token string
			until time.Time
		}
		var tokens []flying
		caches := make([]cache, len(rings))
		signers := map[string]bool{}
		for range 3 * time.Hour / step {
			now := time.Now()
			for i, r := range rings {
				if caches[i].until.Before(now) { // a client that asks this replica
					caches[i] = cache{r.PublicKeys(), now.Add(maxAge)}
				}
				for _, alg := range []string{keys.ES256, keys.EdDSA} {
					tokens = append(tokens, flying{sign(t, r, alg), now.Add(life)})
				}
			}
			for len(tokens) > 0 && tokens[0].until.Before(now) {
				tokens = tokens[1:]
			}
			// Of the tokens in the air the oldest and the newest say it all.
			for _, f := range append(tokens[:1:1], tokens[len(tokens)-6:]...) {
				for i, r := range rings {
					_, kid, _, err := r.Verify(f.token, "at+jwt")
					if err != nil {
						t.Fatalf("replica %d refused a token: %v", i, err)
					}
					signers[kid] = true
					if len(caches[i].keys.Key(kid)) == 0 {
						t.Fatalf("a client of replica %d does not know key %s", i, kid)
					}
				}
			}
			<-time.After(step)
		}
		stop()
		running.Wait()
		if len(signers) < 2*15 || len(signers) > 2*19 {
			t.Errorf("%d keys of two algorithms have signed", len(signers))
		}
	})
}

type cache struct {
	keys  jose.JSONWebKeySet
	until time.Time
}

// A rotation that is due is done once, whichever replica gets to it.
func TestOneReplicaRotates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storetest.Weakest(openStore(t, time.Now))
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		rings := make([]*keys.Ring, 5)
		for i := range rings {
			rings[i] = loaded(t, keys.Config{Store: s, RotateEvery: time.Hour, TokenLife: time.Hour})
		}
		next := strings.Replace(jwks(rings[0]), kidOf(t, rings[0], keys.ES256), "", 1)
		for _, r := range rings {
			running.Go(func() { _ = r.Run(ctx) }) // all poll at the same moments
		}
		<-time.After(time.Hour + 2*time.Minute)
		for i, r := range rings {
			if jwks(r) != jwks(rings[0]) || len(r.PublicKeys().Keys) != 3 || !strings.Contains(next, kidOf(t, r, keys.ES256)) {
				t.Errorf("replica %d is not one rotation on", i)
			}
		}
		stop()
		running.Wait()
	})
}

// RotateEvery 0 means that nothing changes by itself.
func TestNoRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := loaded(t, keys.Config{Store: openStore(t, time.Now)})
		before := jwks(r)
		ctx, stop := context.WithTimeout(t.Context(), 48*time.Hour)
		defer stop()
		if err := r.Run(ctx); err != nil || jwks(r) != before {
			t.Errorf("changed, or %v", err)
		}
	})
}

var setKey = storage.Key{Kind: storage.Keys, ID: "set"}

func stored(t *testing.T, s storage.Store) storage.Record {
	t.Helper()
	got, err := s.Get(t.Context(), setKey)
	if err != nil {
		t.Fatal(err)
	}
	return got[0]
}

// A set that cannot be used is an error that says why, and stays as it is; a
// running replica goes on with the keys it has.
func TestUnusableSet(t *testing.T) {
	type sealed struct {
		V      int    `json:"v"`
		KID    string `json:"kid"`
		Sealed []byte `json:"sealed"`
	}
	rewrite := func(change func(*sealed)) func([]byte) []byte {
		return func(value []byte) []byte {
			var s sealed
			if err := json.Unmarshal(value, &s); err != nil {
				t.Fatal(err)
			}
			change(&s)
			value, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	reseal := func(plain string) func([]byte) []byte {
		return rewrite(func(s *sealed) {
			s.Sealed = secretRing(t, secretA).Seal("signing keys", []byte(plain), []byte("set"))
		})
	}
	for name, row := range map[string]struct {
		spoil func([]byte) []byte
		want  error
		says  string
	}{
		"empty":              {func([]byte) []byte { return nil }, storage.ErrCorrupt, "not a key set"},
		"cut":                {func(v []byte) []byte { return v[:len(v)/2] }, storage.ErrCorrupt, "not a key set"},
		"another format":     {rewrite(func(s *sealed) { s.V = 2 }), storage.ErrUnfit, "format 2"},
		"unknown secret":     {rewrite(func(s *sealed) { s.KID = "z" }), storage.ErrUnfit, `"z", which is not listed`},
		"one bit":            {rewrite(func(s *sealed) { s.Sealed[40] ^= 1 }), storage.ErrUnfit, `secret "a" does not open`},
		"another's context":  {rewrite(func(s *sealed) { s.Sealed = secretRing(t, secretA).Seal("signing keys", []byte("{}"), nil) }), storage.ErrUnfit, "does not open"},
		"no keys in it":      {reseal(`{"v":1,"algs":{"ES256":{}}}`), storage.ErrUnfit, "not a key"},
		"an inner format":    {reseal(`{"v":7}`), storage.ErrUnfit, "format 7"},
		"a foreign document": {reseal(`[]`), storage.ErrUnfit, "format 0"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := openStore(t, time.Now)
				running := loaded(t, keys.Config{Store: s, RotateEvery: time.Hour, TokenLife: time.Hour})
				before := jwks(running)
				if _, err := storage.Update(t.Context(), s, setKey, func(cur storage.Record) (storage.Record, error) {
					return storage.Record{Value: row.spoil(cur.Value)}, nil
				}); err != nil {
					t.Fatal(err)
				}
				spoiled := stored(t, s)

				err := newRing(t, keys.Config{Store: s, Algorithms: []string{keys.ES256, keys.EdDSA}}).Load(t.Context())
				if !errors.Is(err, row.want) || !strings.Contains(fmt.Sprint(err), row.says) {
					t.Errorf("Load: %v", err)
				}
				if err := running.Rotate(t.Context(), true); !errors.Is(err, row.want) {
					t.Errorf("Rotate: %v", err)
				}
				ctx, stop := context.WithTimeout(t.Context(), 3*time.Hour)
				defer stop()
				if err := running.Run(ctx); err != nil || jwks(running) != before {
					t.Errorf("the running replica lost its keys: %v", err)
				}
				sign(t, running, keys.ES256)
				if now := stored(t, s); now.Version != spoiled.Version {
					t.Error("the set was overwritten")
				}
			})
		})
	}
}

// A store that was emptied under a running replica is not filled again by it.
func TestSetGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, time.Now)
		r := loaded(t, keys.Config{Store: s, RotateEvery: time.Hour})
		if err := s.Delete(t.Context(), setKey); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), 3*time.Hour)
		defer stop()
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
		sign(t, r, keys.ES256)
		if !stored(t, s).IsZero() {
			t.Error("the set was made anew")
		}
	})
}

// FT-30: a changed secret takes the set with it, so that the old secret can go.
func TestSecretChange(t *testing.T) {
	s := openStore(t, nil)
	before := loaded(t, keys.Config{Store: s, Secrets: secretRing(t, secretA)})
	during := loaded(t, keys.Config{Store: s, Secrets: secretRing(t, secretB, secretA)})
	after := loaded(t, keys.Config{Store: s, Secrets: secretRing(t, secretB)})
	if jwks(during) != jwks(before) || jwks(after) != jwks(before) {
		t.Error("the set has changed with the secret")
	}
	err := newRing(t, keys.Config{Store: s, Secrets: secretRing(t, secretA)}).Load(t.Context())
	if !errors.Is(err, storage.ErrUnfit) || !strings.Contains(err.Error(), `"b", which is not listed`) {
		t.Errorf("without the new secret: %v", err)
	}
	other := secrets.Secret{ID: "b", Value: secretA.Value}
	err = newRing(t, keys.Config{Store: s, Secrets: secretRing(t, other)}).Load(t.Context())
	if !errors.Is(err, storage.ErrUnfit) || !strings.Contains(err.Error(), `secret "b" does not open`) {
		t.Errorf("with another value under the id: %v", err)
	}
	version := stored(t, s).Version
	loaded(t, keys.Config{Store: s, Secrets: secretRing(t, secretB, secretA)})
	if stored(t, s).Version != version {
		t.Error("sealed again without need")
	}
}

// A store that is down at the start is no reason to make keys in memory.
func TestStoreDown(t *testing.T) {
	down := storetest.Faulty(openStore(t, nil), func(storetest.Op) error { return storage.ErrUnavailable })
	r := newRing(t, keys.Config{Store: down})
	if err := r.Load(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Load: %v", err)
	}
	if _, err := r.Sign(keys.ES256, "JWT", map[string]any{}); !errors.Is(err, keys.ErrNotLoaded) {
		t.Errorf("Sign: %v", err)
	}
}

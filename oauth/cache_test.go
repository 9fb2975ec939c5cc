package oauth_test

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lettergate/lettergate/oauth"
)

func wantCached(t testing.TB, v *oauth.JWTVerifier, token string, want bool) oauth.CacheEntry {
	t.Helper()
	e, ok := v.Cached(token)
	if ok != want {
		t.Errorf("the token is remembered: %v, want %v", ok, want)
	}
	return e
}

// badTokens are bad in every way there is, around a good one that key signed.
func badTokens(t testing.TB, key signingKey) map[string]string {
	t.Helper()
	good := key.token(t, goodClaims(noon))
	claims := goodClaims(noon).with("jti", "bad")
	return map[string]string{
		"garbage":       "garbage",
		"dots":          strings.Repeat(".", 1000),
		"spelling":      good + "=",
		"signature":     good[:strings.LastIndexByte(good, '.')+1] + encode(strings.Repeat("s", 64)),
		"forged":        signingKey{key.kid, key.alg, newKey(t, "", key.alg).private}.token(t, claims),
		"unknown key":   signingKey{"unknown", key.alg, key.private}.token(t, claims),
		"type":          key.sign(t, key.header().with("typ", "JWT").json(t), claims.json(t)),
		"expired":       key.token(t, claims.with("exp", noon.Add(-time.Hour).Unix())),
		"from tomorrow": key.token(t, claims.with("iat", noon.Add(time.Hour).Unix())),
		"not yet":       key.token(t, claims.with("nbf", noon.Add(time.Hour).Unix())),
		"other issuer":  key.token(t, claims.with("iss", "https://other.example")),
		"other service": key.token(t, claims.with("aud", "https://other.example")),
		"no subject":    key.token(t, claims.without("sub")),
		"revoked":       key.token(t, claims.with("jti", "revoked")),
	}
}

func TestCacheRule01_OnlyWhatPassedEverything(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	revoked := newRevocations(t, 0)
	revoked.EndToken("revoked")
	v, _ := withClock(t, staticKeys(t, key.public()), func(c *oauth.JWTConfig) { c.Revocations = revoked })
	good := key.token(t, goodClaims(noon))
	wantAccepted(t, v, good)
	wantCached(t, v, good, true)
	before, headers := v.CacheDump(), v.HeadersSeen()
	for name, token := range badTokens(t, key) {
		wantInvalid(t, v, token)
		if v.CacheDump() != before || v.HeadersSeen() != headers {
			t.Errorf("%s: the cache changed", name)
		}
	}

	// A bound token passed everything but the proof, which is asked for each time.
	bound := key.token(t, goodClaims(noon).with("cnf", map[string]string{"jkt": strings.Repeat("A", 43)}))
	for range 3 {
		wantInvalid(t, v, bound)
		if claims, err := v.VerifyBound(t.Context(), bound); err != nil || claims.Confirmation().JKT == "" {
			t.Errorf("%v, %v", claims, err)
		}
	}
}

func TestCacheRule02_BoundedByConstruction(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	v, _ := withClock(t, staticKeys(t, key.public()), func(c *oauth.JWTConfig) { c.CacheTokens = 256 })
	filled := goodClaims(noon).with("x", strings.Repeat("x", 1000))
	for i := range 1500 {
		wantAccepted(t, v, key.token(t, filled.with("jti", fmt.Sprint(i))))
	}
	if n := v.CacheLen(); n != 256 {
		t.Errorf("%d tokens are remembered, want 256", n)
	}
	for _, c := range []struct{ set, want int }{{-1, 0}, {0, 8192}, {1, 8}, {8, 8}, {9, 16}, {1000, 1024}, {1 << 20, 1 << 20}} {
		v, _ := withClock(t, staticKeys(t, key.public()), func(cfg *oauth.JWTConfig) { cfg.CacheTokens = c.set })
		if got := v.CacheSpace(); got != c.want {
			t.Errorf("CacheTokens %d has room for %d, want %d", c.set, got, c.want)
		}
		wantAccepted(t, v, key.token(t, goodClaims(noon)))
	}
	for _, c := range []struct {
		bytes int
		want  bool
	}{{2700, true}, {2900, false}} {
		long := key.token(t, goodClaims(noon).with("x", strings.Repeat("x", c.bytes)))
		wantAccepted(t, v, long)
		if wantCached(t, v, long, c.want); (len(long) <= 4<<10) != c.want {
			t.Errorf("the token has %d bytes", len(long))
		}
	}
}

func TestCacheRule02_Memory(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	keys := staticKeys(t, key.public())
	filled := goodClaims(noon).with("x", strings.Repeat("x", 500))
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	v, _ := withClock(t, keys, func(c *oauth.JWTConfig) { c.CacheTokens = 512 })
	size := 0
	for i := range 2000 {
		token := key.token(t, filled.with("jti", fmt.Sprint(i)))
		size = len(token)
		wantAccepted(t, v, token)
	}
	used := int64(heap()-before) / 512
	t.Logf("%d bytes an entry, for tokens of %d bytes", used, size)
	if used > 3*int64(size)+1024 {
		t.Errorf("an entry takes %d bytes for a token of %d", used, size)
	}
	runtime.KeepAlive(v)
}

func TestCacheRule03_FloodOfGoodTokensOnlyEvicts(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	v, _ := withClock(t, staticKeys(t, key.public()), func(c *oauth.JWTConfig) { c.CacheTokens = 64 })
	hot, cold := key.token(t, goodClaims(noon).with("jti", "hot")), key.token(t, goodClaims(noon).with("jti", "cold"))
	first := wantAccepted(t, v, hot)
	wantAccepted(t, v, cold)
	for i := range 500 {
		if wantAccepted(t, v, hot) != first {
			t.Fatal("a token in use was given up for one that came once")
		}
		wantAccepted(t, v, key.token(t, goodClaims(noon).with("sub", "flood").with("jti", fmt.Sprint(i))))
	}
	wantCached(t, v, cold, false)
	if got := wantAccepted(t, v, cold); got.ID() != "cold" {
		t.Errorf("%q", got.ID())
	}
}

// In a full set, what has expired goes before what has not been used.
func TestCacheRule03_ExpiredFirst(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	v, now := withClock(t, staticKeys(t, key.public()), func(c *oauth.JWTConfig) { c.CacheTokens = 8 })
	for i := range 7 {
		wantAccepted(t, v, key.token(t, goodClaims(noon).with("jti", fmt.Sprint(i)).with("exp", noon.Add(time.Minute).Unix())))
	}
	long := key.token(t, goodClaims(noon).with("jti", "long"))
	wantAccepted(t, v, long)
	now.Time = noon.Add(2 * time.Minute)
	for i := range 7 {
		wantAccepted(t, v, key.token(t, goodClaims(noon).with("jti", fmt.Sprint("new-", i))))
		wantCached(t, v, long, true)
	}
}

func TestCacheRule04_TheKeyIsTheWholeToken(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	v, _ := withClock(t, staticKeys(t, key.public()), nil)
	good := key.token(t, goodClaims(noon))
	wantAccepted(t, v, good)
	header, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	for name, token := range map[string]string{
		"other payload, same signature": header + "." + encode(goodClaims(noon).with("sub", "admin").json(t)) + "." + signature,
		"other header, same signature":  encode(key.header().with("x", 1).json(t)) + "." + payload + "." + signature,
		"other signature":               header + "." + payload + "." + encode(strings.Repeat("s", 64)),
		"none":                          header + "." + payload + ".",
		"one more":                      good + "AAAA",
	} {
		t.Run(name, func(t *testing.T) { wantInvalid(t, v, token) })
	}
	// The same jti and all, with another subject.
	if got := wantAccepted(t, v, key.token(t, goodClaims(noon).with("sub", "other"))); got.Subject() != "other" {
		t.Errorf("one token got the claims of another: %q", got.Subject())
	}
	if got := wantAccepted(t, v, good); got.Subject() != "user-1" {
		t.Errorf("%q", got.Subject())
	}
}

func TestCacheRule05_OneSpelling(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	v, _ := withClock(t, staticKeys(t, key.public()), nil)
	good := key.token(t, goodClaims(noon))
	wantAccepted(t, v, good)
	before := v.CacheDump()
	body, last := good[:len(good)-1], good[len(good)-1]
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=\r\n. ") {
		if c != last {
			wantInvalid(t, v, body+string(c))
		}
		wantInvalid(t, v, good+string(c))
		wantInvalid(t, v, good[:20]+string(c)+good[20:])
	}
	if v.CacheDump() != before {
		t.Error("another spelling changed the cache")
	}
}

// What is revoked while a token is verified is looked up before the token is used
// again: the entry bears the generation from before.
func TestCacheRule06_RevokedBetweenCheckAndInsert(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	keys := staticKeys(t, key.public())
	revoked := newRevocations(t, 0)
	var during func()
	v, _ := withClock(t, keyFunc(func(ctx context.Context, kid, alg string) (crypto.PublicKey, error) {
		during()
		return keys.Key(ctx, kid, alg)
	}), func(c *oauth.JWTConfig) { c.Revocations = revoked })

	during = func() { revoked.EndToken("another") }
	good := key.token(t, goodClaims(noon))
	wantAccepted(t, v, good)
	if e := wantCached(t, v, good, true); e.Generation != 0 {
		t.Errorf("the entry bears generation %d, want the one from before the check", e.Generation)
	}
	during = func() {}
	wantAccepted(t, v, good)
	if e := wantCached(t, v, good, true); e.Generation != 1 {
		t.Errorf("the entry bears generation %d after it was looked up again", e.Generation)
	}

	during = func() { revoked.EndToken("token-2") }
	second := key.token(t, goodClaims(noon).with("jti", "token-2"))
	wantInvalid(t, v, second)
	wantCached(t, v, second, false)

	// While a remembered one is judged.
	during = func() {}
	third := key.token(t, goodClaims(noon).with("jti", "token-3"))
	wantAccepted(t, v, third)
	during = func() { revoked.EndToken("token-3") }
	wantInvalid(t, v, third)
	during = func() {}
	wantInvalid(t, v, third)
}

// An end that has been acknowledged counts for every later request, whatever runs
// beside it.
func TestCacheRule06_RevokedUnderLoad(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	revoked := newRevocations(t, 0)
	v, _ := withClock(t, staticKeys(t, key.public()), func(c *oauth.JWTConfig) { c.Revocations = revoked })
	for i := range 100 {
		id := fmt.Sprint("token-", i)
		token := key.token(t, goodClaims(noon).with("jti", id))
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 5 {
					v.Verify(t.Context(), token)
				}
			})
		}
		revoked.EndToken(id)
		wantInvalid(t, v, token)
		wg.Wait()
		wantInvalid(t, v, token)
	}
}

func TestCacheRule07_Lifetime(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	v, now := withClock(t, staticKeys(t, key.public()), nil)
	for _, c := range []struct {
		name        string
		iat, exp    time.Duration
		from, until time.Duration
	}{
		{"a long token", 0, time.Hour, 0, 5 * time.Minute},
		{"a short token", 0, time.Minute, 0, time.Minute + 30*time.Second},
		{"an expired one within the leeway", -time.Hour, -29 * time.Second, 0, time.Second},
		{"one from a clock ahead", 20 * time.Second, time.Hour, 0, 5 * time.Minute},
	} {
		token := key.token(t, goodClaims(noon).with("iat", noon.Add(c.iat).Unix()).with("exp", noon.Add(c.exp).Unix()))
		wantAccepted(t, v, token)
		if e := wantCached(t, v, token, true); !e.From.Equal(noon.Add(c.from)) || !e.Until.Equal(noon.Add(c.until)) {
			t.Errorf("%s: remembered from %v until %v", c.name, e.From.Sub(noon), e.Until.Sub(noon))
		}
	}

	// At its age it is verified from scratch, and remembered anew.
	token := key.token(t, goodClaims(noon).with("exp", noon.Add(time.Hour).Unix()))
	first := wantAccepted(t, v, token)
	now.Time = noon.Add(5*time.Minute - 1)
	if again := wantAccepted(t, v, token); again != first {
		t.Error("the token was verified again before its time")
	}
	now.Time = noon.Add(5 * time.Minute)
	if again := wantAccepted(t, v, token); again == first {
		t.Error("the token was not verified again")
	}
	if e := wantCached(t, v, token, true); !e.From.Equal(now.Time) {
		t.Errorf("remembered from %v", e.From.Sub(noon))
	}

	for _, c := range []struct {
		age  time.Duration
		good bool
	}{{time.Second, true}, {5 * time.Minute, true}, {5*time.Minute + 1, false}, {-1, false}} {
		cfg := oauth.JWTConfig{Issuer: issuerURL, Audiences: []string{api}, CacheMaxAge: c.age}
		if _, err := oauth.NewJWTVerifier(cfg, staticKeys(t, key.public())); (err == nil) != c.good {
			t.Errorf("CacheMaxAge %v: %v", c.age, err)
		}
	}
	if _, err := oauth.NewJWTVerifier(oauth.JWTConfig{Issuer: issuerURL, Audiences: []string{api}, CacheTokens: 1<<20 + 1}, staticKeys(t, key.public())); err == nil {
		t.Error("a cache without bound was accepted")
	}
}

// vandal is a claim type that destroys what it is decoded from.
type vandal struct{}

func (*vandal) UnmarshalJSON(b []byte) error {
	for i := range b {
		b[i] = 'x'
	}
	return nil
}

func TestCacheRule08_ClaimsAreShared(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	v, _ := withClock(t, staticKeys(t, key.public()), nil)
	token := key.token(t, goodClaims(noon).with("aud", []string{api, "b"}).with("amr", []string{"otp"}).with("roles", []string{"reader"}))
	first := wantAccepted(t, v, token)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				claims := wantAccepted(t, v, token)
				if claims != first {
					t.Error("not the shared claims")
				}
				claims.Audience()[0], claims.AMR()[0] = "x", "x"
				_ = append(claims.Audience()[:1], "x")
				var raw json.RawMessage
				var joseRaw []byte
				var roles []string
				claims.Claim("roles", &raw)
				claims.Claim("jti", &joseRaw)
				claims.Claim("roles", &roles)
				claims.Claim("roles", new(vandal))
				for _, b := range [][]byte{raw, joseRaw} {
					for i := range b {
						b[i] = 'x'
					}
				}
				if len(roles) != 1 || roles[0] != "reader" {
					t.Errorf("roles %q", roles)
				}
				roles[0] = "admin"
				for name := range claims.Scopes().All() {
					_ = name
				}
			}
		})
	}
	wg.Wait()
	var roles []string
	if err := first.Claim("roles", &roles); err != nil || !slices.Equal(roles, []string{"reader"}) ||
		!slices.Equal(first.Audience(), []string{api, "b"}) || !slices.Equal(first.AMR(), []string{"otp"}) || first.ID() != "token-1" {
		t.Errorf("a request changed what the next one gets: %q %q %q %v", roles, first.Audience(), first.AMR(), err)
	}
}

func TestCacheRule10_HashIsNotEnough(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	for _, digests := range []bool{false, true} {
		v, _ := withClock(t, staticKeys(t, key.public()), func(c *oauth.JWTConfig) { c.CacheDigests = digests })
		admin := key.token(t, goodClaims(noon).with("sub", "admin"))
		wantAccepted(t, v, admin)
		forged := newKey(t, "k1", "EdDSA").token(t, goodClaims(noon).with("sub", "user"))
		v.PretendHash(admin, forged)
		wantInvalid(t, v, forged)
		own := key.token(t, goodClaims(noon).with("sub", "user"))
		v.PretendHash(admin, own)
		if got := wantAccepted(t, v, own); got.Subject() != "user" {
			t.Errorf("one token got the claims of another: %q", got.Subject())
		}
	}
}

func TestCacheRule11_Digests(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	v, now := withClock(t, staticKeys(t, key.public()), func(c *oauth.JWTConfig) { c.CacheDigests = true })
	token := key.token(t, goodClaims(noon))
	first := wantAccepted(t, v, token)
	if again := wantAccepted(t, v, token); again != first {
		t.Error("the token was not remembered")
	}
	if e := wantCached(t, v, token, true); len(e.Name) != 32 || strings.Contains(v.CacheDump(), token[len(token)-20:]) {
		t.Error("the token itself is remembered")
	}
	wantInvalid(t, v, token[:len(token)-4]+"AAAA")
	now.Time = noon.Add(time.Hour)
	wantInvalid(t, v, token)
}

func TestCacheRule13_TheClockIsAskedEachTime(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	v, now := withClock(t, staticKeys(t, key.public()), nil)
	good := goodClaims(noon)
	token := key.token(t, good.with("exp", noon.Add(time.Minute).Unix()).with("nbf", noon.Unix()))
	first := wantAccepted(t, v, token)
	now.Time = noon.Add(90*time.Second - 1)
	if again := wantAccepted(t, v, token); again != first {
		t.Error("the token was not remembered")
	}
	now.Time = noon.Add(90 * time.Second)
	wantInvalid(t, v, token)
	// A clock that is set back.
	now.Time = noon
	wantAccepted(t, v, token)
	now.Time = noon.Add(-30 * time.Second)
	wantAccepted(t, v, token)
	now.Time = noon.Add(-30*time.Second - 1)
	wantInvalid(t, v, token)
	if n := v.CacheLen(); n != 1 {
		t.Errorf("one token is remembered %d times", n)
	}
}

// A source that has no memory makes new values for the same key each time.
func TestCacheOverForgetfulKeySource(t *testing.T) {
	for _, alg := range []string{"ES256", "RS256", "EdDSA"} {
		key := newKey(t, "k1", alg)
		withdrawn := false
		v, _ := withClock(t, keyFunc(func(ctx context.Context, kid, alg string) (crypto.PublicKey, error) {
			if withdrawn {
				return nil, oauth.ErrUnknownKey
			}
			raw, err := json.Marshal(key.public())
			if err != nil {
				return nil, err
			}
			var copied jose.JSONWebKey
			err = copied.UnmarshalJSON(raw)
			return copied.Key, err
		}), nil)
		token := key.token(t, goodClaims(noon))
		first := wantAccepted(t, v, token)
		if again := wantAccepted(t, v, token); again != first {
			t.Errorf("%s: the token was not remembered", alg)
		}
		withdrawn = true
		wantInvalid(t, v, token)
	}
}

// A remembered token is refused for what its key source says, with the error that
// it would get without the cache.
func TestCacheHitsAskForTheKey(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	broken := errors.New("the disk is gone")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx  context.Context
		key  crypto.PublicKey
		err  error
		want error
	}{
		{t.Context(), nil, oauth.ErrUnknownKey, oauth.ErrInvalidToken},
		{t.Context(), nil, broken, oauth.ErrUnavailable},
		{t.Context(), nil, oauth.ErrUnavailable, oauth.ErrUnavailable},
		{cancelled, nil, context.Canceled, context.Canceled},
		{t.Context(), nil, nil, oauth.ErrInvalidToken},
		{t.Context(), newKey(t, "k1", "EdDSA").private.Public(), nil, oauth.ErrInvalidToken},
		{t.Context(), newKey(t, "k1", "ES256").private.Public(), nil, oauth.ErrInvalidToken},
		{t.Context(), key.private, nil, oauth.ErrInvalidToken},
	} {
		answer, failure := key.private.Public(), error(nil)
		v, _ := withClock(t, keyFunc(func(context.Context, string, string) (crypto.PublicKey, error) { return answer, failure }), nil)
		token := key.token(t, goodClaims(noon))
		wantAccepted(t, v, token)
		wantCached(t, v, token, true)
		answer, failure = c.key, c.err
		if claims, err := v.Verify(c.ctx, token); claims != nil || !errors.Is(err, c.want) {
			t.Errorf("%T, %v: became %v, %v", c.key, c.err, claims, err)
		}
		answer, failure = key.private.Public(), nil
		wantAccepted(t, v, token)
	}
}

// An issuer with more keys than headers are remembered.
func TestManyHeaders(t *testing.T) {
	var keys []signingKey
	var public []jose.JSONWebKey
	for i := range 40 {
		keys = append(keys, newKey(t, fmt.Sprint("k", i), "EdDSA"))
		public = append(public, keys[i].public())
	}
	v, _ := withClock(t, staticKeys(t, public...), func(c *oauth.JWTConfig) { c.CacheTokens = -1 })
	for range 3 {
		for _, key := range keys {
			wantAccepted(t, v, key.token(t, goodClaims(noon)))
		}
	}
	if n := v.HeadersSeen(); n != 16 {
		t.Errorf("%d headers are remembered, want 16", n)
	}
	// A known header helps no other key's token.
	wantInvalid(t, v, signingKey{keys[39].kid, "EdDSA", keys[0].private}.token(t, goodClaims(noon)))
}

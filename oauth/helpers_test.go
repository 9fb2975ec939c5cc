package oauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lettergate/lettergate/oauth"
)

const (
	issuerURL = "https://id.example/tenant"
	api       = "https://api.example"
)

// noon is the time in the tests that do not need one that moves.
var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// A signingKey signs tokens, well-formed or not.
type signingKey struct {
	kid, alg string
	private  crypto.Signer
}

func newKey(t testing.TB, kid, alg string) signingKey {
	t.Helper()
	var private crypto.Signer
	var err error
	switch alg {
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		private = rsaKey()
	}
	if err != nil {
		t.Fatal(err)
	}
	return signingKey{kid, alg, private}
}

// rsaKey is made once because it takes long.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func (k signingKey) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.private.Public(), KeyID: k.kid, Algorithm: k.alg, Use: "sig"}
}

func (k signingKey) header() object {
	return object{"typ": "at+jwt", "alg": k.alg, "kid": k.kid}
}

// token returns a good header around claims.
func (k signingKey) token(t testing.TB, claims object) string {
	t.Helper()
	return k.sign(t, k.header().json(t), claims.json(t))
}

// sign signs any header and payload, with the algorithm of the key whatever the
// header says.
func (k signingKey) sign(t testing.TB, header, payload string) string {
	t.Helper()
	input := encode(header) + "." + encode(payload)
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[k.alg[2:]]
	digest := []byte(input)
	if hash != 0 {
		h := hash.New()
		h.Write(digest)
		digest = h.Sum(nil)
	}
	var signature []byte
	var err error
	switch private := k.private.(type) {
	case *ecdsa.PrivateKey:
		var r, s *big.Int
		if r, s, err = ecdsa.Sign(rand.Reader, private, digest); err == nil {
			size := map[string]int{"ES256": 32, "ES384": 48, "ES512": 66}[k.alg]
			signature = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}
	case *rsa.PrivateKey:
		if strings.HasPrefix(k.alg, "PS") {
			signature, err = rsa.SignPSS(rand.Reader, private, hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			signature, err = rsa.SignPKCS1v15(nil, private, hash, digest)
		}
	case ed25519.PrivateKey:
		signature = ed25519.Sign(private, digest)
	}
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + encode(string(signature))
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// An object is a JSON object that is varied without being changed.
type object map[string]any

func goodClaims(now time.Time) object {
	return object{
		"iss": issuerURL, "sub": "user-1", "aud": api, "client_id": "app", "jti": "token-1",
		"iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(), "scope": "notes:read notes:write",
	}
}

func (o object) with(name string, value any) object {
	o = maps.Clone(o)
	o[name] = value
	return o
}

func (o object) without(name string) object {
	o = maps.Clone(o)
	delete(o, name)
	return o
}

func (o object) json(t testing.TB) string {
	t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func staticKeys(t testing.TB, keys ...jose.JSONWebKey) *oauth.StaticKeys {
	t.Helper()
	s, err := oauth.NewStaticKeys(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newVerifier returns a verifier for issuerURL and api whose clock shows noon
// unless now says otherwise.
func newVerifier(t testing.TB, keys oauth.KeySource, now func() time.Time) *oauth.JWTVerifier {
	t.Helper()
	if now == nil {
		now = func() time.Time { return noon }
	}
	v, err := oauth.NewJWTVerifier(oauth.JWTConfig{Issuer: issuerURL, Audiences: []string{"other", api}, Now: now}, keys)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A clock is set by the test.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

// withClock returns a verifier with other settings, whose clock shows noon at first.
func withClock(t testing.TB, keys oauth.KeySource, change func(*oauth.JWTConfig)) (*oauth.JWTVerifier, *clock) {
	t.Helper()
	c := &clock{noon}
	cfg := oauth.JWTConfig{Issuer: issuerURL, Audiences: []string{api}, Now: c.now}
	if change != nil {
		change(&cfg)
	}
	v, err := oauth.NewJWTVerifier(cfg, keys)
	if err != nil {
		t.Fatal(err)
	}
	return v, c
}

func wantAccepted(t testing.TB, v oauth.Verifier, token string) *oauth.AccessToken {
	t.Helper()
	claims, err := v.Verify(t.Context(), token)
	if err != nil {
		t.Fatalf("a good token was refused: %v", err)
	}
	return claims
}

func wantInvalid(t testing.TB, v oauth.Verifier, token string) {
	t.Helper()
	claims, err := v.Verify(t.Context(), token)
	if claims != nil || !errors.Is(err, oauth.ErrInvalidToken) {
		t.Errorf("got claims %v and error %v, want ErrInvalidToken", claims, err)
		return
	}
	if len(token) > 20 && strings.Contains(err.Error(), token[len(token)-20:]) {
		t.Errorf("the error contains the token: %v", err)
	}
}

// A memoryIssuer is an issuer that a client reaches without a network, so that
// it can stand in a synctest bubble. Set the fields before a request or with mu
// held.
type memoryIssuer struct {
	mu           sync.Mutex
	keys         []jose.JSONWebKey
	cacheControl string
	// answer, when set, answers requests for the key set instead.
	answer func(*http.Request) (*http.Response, error)

	metadataAsked, keysAsked, elsewhere int
}

func (m *memoryIssuer) RoundTrip(r *http.Request) (*http.Response, error) {
	m.mu.Lock()
	answer := m.answer
	rec := httptest.NewRecorder()
	switch r.URL.String() {
	case issuerURL + "/.well-known/openid-configuration":
		m.metadataAsked++
		answer = nil
		rec.WriteString(`{"issuer":"` + issuerURL + `","jwks_uri":"https://id.example/keys"}`)
	case "https://id.example/keys":
		m.keysAsked++
		if m.cacheControl != "" {
			rec.Header().Set("Cache-Control", m.cacheControl)
		}
		json.NewEncoder(rec).Encode(jose.JSONWebKeySet{Keys: m.keys})
	default:
		m.elsewhere++
		rec.WriteHeader(http.StatusNotFound)
	}
	m.mu.Unlock()
	if answer != nil {
		return answer(r)
	}
	return rec.Result(), nil
}

func (m *memoryIssuer) publish(keys ...signingKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys = nil
	for _, k := range keys {
		m.keys = append(m.keys, k.public())
	}
}

func (m *memoryIssuer) setAnswer(answer func(*http.Request) (*http.Response, error)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answer = answer
}

// asked returns how often the key set was asked for.
func (m *memoryIssuer) asked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.keysAsked
}

package middleware_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

// benchAlgorithms are what issuers sign access tokens with.
var benchAlgorithms = []string{"RS256", "ES256", "EdDSA"}

// A work is one algorithm's part of the benchmark: tokens of about a kilobyte that
// differ, the bare check of their signatures, and requests that bear them.
type work struct {
	keys     *oauth.StaticKeys
	issuer   string
	raw      func(i int) bool
	requests []*http.Request
}

// workTokens is more than the smallest cache holds.
const workTokens = 64

func newWork(tb testing.TB, alg string) *work {
	tb.Helper()
	var private crypto.Signer
	var err error
	switch alg {
	case "RS256":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		tb.Fatal(err)
	}
	w := &work{issuer: "https://id.example"}
	w.keys, err = oauth.NewStaticKeys(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: private.Public(), KeyID: "k1-2026-05", Algorithm: alg, Use: "sig"}}})
	if err != nil {
		tb.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: private},
		(&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", "k1-2026-05"))
	if err != nil {
		tb.Fatal(err)
	}
	var signed [workTokens][]byte
	var signatures [workTokens][]byte
	for i := range workTokens {
		token := w.sign(tb, signer, i)
		end := strings.LastIndexByte(token, '.')
		signature, err := base64.RawURLEncoding.DecodeString(token[end+1:])
		if err != nil {
			tb.Fatal(err)
		}
		if alg == "ES256" {
			signature = asn1(tb, private.(*ecdsa.PrivateKey), token[:end])
		}
		signed[i], signatures[i] = []byte(token[:end]), signature
		w.requests = append(w.requests, benchRequest(token))
	}
	w.raw = func(i int) bool {
		i %= workTokens
		switch key := private.Public().(type) {
		case *rsa.PublicKey:
			digest := sha256.Sum256(signed[i])
			return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signatures[i]) == nil
		case *ecdsa.PublicKey:
			digest := sha256.Sum256(signed[i])
			return ecdsa.VerifyASN1(key, digest[:], signatures[i])
		default:
			return ed25519.Verify(key.(ed25519.PublicKey), signed[i], signatures[i])
		}
	}
	return w
}

// asn1 returns a signature in the form that crypto/ecdsa takes at once, which is the
// cheapest check there is.
func asn1(tb testing.TB, key *ecdsa.PrivateKey, signed string) []byte {
	tb.Helper()
	digest := sha256.Sum256([]byte(signed))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		tb.Fatal(err)
	}
	return signature
}

// sign returns a token with 14 claims, as an issuer for people writes them.
func (w *work) sign(tb testing.TB, signer jose.Signer, i int) string {
	tb.Helper()
	now := time.Now()
	payload, err := json.Marshal(map[string]any{
		"iss": w.issuer, "sub": "248289761001-" + fmt.Sprint(i), "aud": []string{api, "https://id.example/userinfo"}, "client_id": "s6BhdRkqt3",
		"jti": fmt.Sprintf("8f14e45f-ceea-467a-9575-%012d", i), "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"scope": "openid profile notes:read notes:write", "auth_time": now.Unix(), "acr": "otp", "amr": []string{"otp"},
		"sid": "08a5019c-17e1-4977-8f42-65a12843ea02", "realm_access": map[string]any{"roles": []string{"editor", "viewer"}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	signature, err := signer.Sign(payload)
	if err != nil {
		tb.Fatal(err)
	}
	token, err := signature.CompactSerialize()
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

// benchRequest returns a request as a browser sends it.
func benchRequest(token string) *http.Request {
	r := httptest.NewRequest("GET", "/notes?page=2", nil)
	for name, value := range map[string]string{
		"Accept": "application/json", "Accept-Encoding": "gzip, br", "Accept-Language": "en", "Origin": "https://app.example",
		"Referer": "https://app.example/", "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)", "X-Request-Id": "7f3a", "Authorization": "Bearer " + token,
	} {
		r.Header.Set(name, value)
	}
	return r
}

// route returns a handler that does nothing, behind Require. With cache 0 it has the
// cache that everybody has.
func (w *work) route(tb testing.TB, cache int) http.Handler {
	tb.Helper()
	v, err := oauth.NewJWTVerifier(oauth.JWTConfig{Issuer: w.issuer, Audiences: []string{api}, CacheTokens: cache}, w.keys)
	if err != nil {
		tb.Fatal(err)
	}
	return middleware.Require(v, "notes:read")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
}

// first answers requests whose tokens it has not seen: there are more of them than
// the smallest cache remembers, and they take turns.
func (w *work) first(tb testing.TB) func(i int) {
	tb.Helper()
	route := w.route(tb, 1)
	return func(i int) { serve(tb, route, w.requests[i%workTokens]) }
}

// repeat answers requests whose tokens it remembers.
func (w *work) repeat(tb testing.TB) func(i int) {
	tb.Helper()
	route := w.route(tb, 0)
	for _, r := range w.requests {
		serve(tb, route, r)
	}
	return func(i int) { serve(tb, route, w.requests[i%workTokens]) }
}

// refused is a response writer that takes note of a refusal.
type refused struct{ status int }

func (w *refused) Header() http.Header         { return make(http.Header) }
func (w *refused) Write(b []byte) (int, error) { return len(b), nil }
func (w *refused) WriteHeader(status int)      { w.status = status }

// nobody is the response writer of requests that are not refused.
var nobody = new(refused)

func serve(tb testing.TB, h http.Handler, r *http.Request) {
	h.ServeHTTP(nobody, r)
	if nobody.status != 0 {
		tb.Fatalf("answered %d", nobody.status)
	}
}

func BenchmarkRequire(b *testing.B) {
	for _, alg := range benchAlgorithms {
		w := newWork(b, alg)
		for name, do := range map[string]func(int){
			"raw signature": func(i int) { w.raw(i) }, "first sight": w.first(b), "repeated": w.repeat(b),
		} {
			b.Run(alg+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for i := 0; pb.Next(); i++ {
						do(i)
					}
				})
			})
		}
	}
}

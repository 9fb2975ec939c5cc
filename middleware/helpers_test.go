package middleware_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

const api = "https://api.example"

// An issuer is a small authorization server on a loopback port: metadata, a key
// set, and tokens on request. It answers 503 while it is down.
type issuer struct {
	url    string
	keys   jose.JSONWebKeySet
	down   atomic.Bool
	signer jose.Signer
	close  func()

	// What the introspection endpoint says, by token, and how often it was asked. Set
	// it before a request.
	active   map[string]map[string]any
	answered atomic.Int64
}

func newIssuer() *issuer {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	options := (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", "k1")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: private}, options)
	if err != nil {
		panic(err)
	}
	i := &issuer{signer: signer, keys: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: public, KeyID: "k1", Algorithm: "EdDSA", Use: "sig"}}}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(map[string]string{"issuer": i.url, "jwks_uri": i.url + "/keys", "introspection_endpoint": i.url + "/introspect"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(i.keys)
	})
	mux.HandleFunc("POST /introspect", func(w http.ResponseWriter, r *http.Request) {
		i.answered.Add(1)
		if id, secret, ok := r.BasicAuth(); !ok || id != "api" || secret != "s" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		answer, ok := i.active[r.PostFormValue("token")]
		if !ok {
			answer = map[string]any{"active": false}
		}
		json.NewEncoder(w).Encode(answer)
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	i.url, i.close = server.URL, server.Close
	return i
}

// token returns a token for api with scope, changed by changes.
func (i *issuer) token(scope string, changes map[string]any) string {
	claims := map[string]any{
		"iss": i.url, "sub": "user-1", "aud": api, "client_id": "app", "jti": "token-1", "scope": scope,
		"iat": time.Now().Unix(), "exp": time.Now().Add(10 * time.Minute).Unix(),
	}
	for name, value := range changes {
		claims[name] = value
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	signed, err := i.signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return token
}

// send sends a request with the given Authorization headers through h.
func send(t *testing.T, h http.Handler, target string, authorization ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", target, nil).WithContext(t.Context())
	r.Header["Authorization"] = authorization
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// newGuard returns an issuer and a guard for its tokens.
func newGuard(t testing.TB, cfg middleware.Config) (*issuer, *middleware.Guard) {
	t.Helper()
	i := newIssuer()
	t.Cleanup(i.close)
	v, err := middleware.ForIssuer(i.url, api)
	if err != nil {
		t.Fatal(err)
	}
	return i, guardFor(t, v, cfg)
}

func guardFor(t testing.TB, v oauth.Verifier, cfg middleware.Config) *middleware.Guard {
	t.Helper()
	g, err := middleware.New(v, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// wantStatus sends a request through h and looks at the status and whether the
// handler ran.
func wantStatus(t *testing.T, h http.Handler, handler *counter, r *http.Request, status int) *httptest.ResponseRecorder {
	t.Helper()
	before := handler.ran.Load()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != status {
		t.Errorf("status %d, want %d: %s %s", w.Code, status, w.Header()["Www-Authenticate"], w.Body)
	}
	if ran := handler.ran.Load() != before; ran != (status == http.StatusOK) {
		t.Errorf("status %d, and the handler ran: %v", w.Code, ran)
	}
	return w
}

// get returns a request with the given Authorization header.
func get(authorization string) *http.Request {
	r := httptest.NewRequest("GET", "/notes", nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return r
}

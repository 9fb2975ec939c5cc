package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lettergate/lettergate/oauth"
)

func TestRoutes(t *testing.T) {
	verifier, token := newIssuer(t)
	handler, err := routes(verifier)
	if err != nil {
		t.Fatal(err)
	}
	const named = `resource_metadata="http://localhost:8083/.well-known/oauth-protected-resource"`
	for _, c := range []struct {
		name, path, token, body, challenge string
		status                             int
	}{
		{"no token", "/notes/may", "", "", `Bearer ` + named, 401},
		{"no scope", "/notes/may", token("profile"), "", "", 403},
		{"good", "/notes/may", token("notes:read"), "may of user-1", "", 200},
		{"metadata", "/.well-known/oauth-protected-resource", "", `{"resource":"http://localhost:8083","bearer_methods_supported":["header"]}` + "\n", "", 200},
	} {
		r := httptest.NewRequest("GET", c.path, nil)
		r.Header.Set("X-User", "admin")
		if c.token != "" {
			r.Header.Set("Authorization", "Bearer "+c.token)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != c.status || c.status == 200 && w.Body.String() != c.body || c.challenge != "" && w.Header().Get("WWW-Authenticate") != c.challenge {
			t.Errorf("%s: %d %v %s", c.name, w.Code, w.Header(), w.Body)
		}
	}
}

// newIssuer returns a verifier and what issues the tokens that it accepts.
func newIssuer(t *testing.T) (oauth.Verifier, func(scope string) string) {
	t.Helper()
	const issuer, audience = "https://id.example", "http://localhost:8083"
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := oauth.NewStaticKeys(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: public, KeyID: "k1"}}})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := oauth.NewJWTVerifier(oauth.JWTConfig{Issuer: issuer, Audiences: []string{audience}}, keys)
	if err != nil {
		t.Fatal(err)
	}
	options := (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", "k1")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: private}, options)
	if err != nil {
		t.Fatal(err)
	}
	return verifier, func(scope string) string {
		claims, err := json.Marshal(map[string]any{
			"iss": issuer, "aud": audience, "sub": "user-1", "client_id": "app", "jti": "1", "scope": scope,
			"iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix(),
		})
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		token, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
}

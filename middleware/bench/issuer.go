package main

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
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

var algorithms = []string{"RS256", "ES256", "EdDSA"}

const (
	audience = "https://api.example"
	keyID    = "k1-2026-05"

	// tokenCount is more than our smallest cache holds.
	tokenCount = 64
)

// An issuer publishes one key on a loopback port and has issued tokens.
type issuer struct {
	url, jwks string
	alg       string
	close     func()

	private    crypto.Signer
	signed     [tokenCount][]byte
	signatures [tokenCount][]byte // as crypto takes them at once
	requests   [tokenCount]*http.Request
}

func newIssuer(alg string) (*issuer, error) {
	i := &issuer{alg: alg}
	var err error
	switch alg {
	case "RS256":
		i.private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		i.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		_, i.private, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		return nil, err
	}
	i.serve()
	for n := range tokenCount {
		token, err := i.token(n, nil)
		if err != nil {
			return nil, err
		}
		i.requests[n] = request(token)
		end := strings.LastIndexByte(token, '.')
		i.signed[n] = []byte(token[:end])
		if i.signatures[n], err = base64.RawURLEncoding.DecodeString(token[end+1:]); err != nil {
			return nil, err
		}
		if key, ok := i.private.(*ecdsa.PrivateKey); ok {
			digest := sha256.Sum256(i.signed[n])
			if i.signatures[n], err = ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
				return nil, err
			}
		}
	}
	return i, nil
}

// serve starts the server of the metadata and the key.
func (i *issuer) serve() {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	i.url, i.jwks, i.close = server.URL, server.URL+"/keys", server.Close
	answer := func(v any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "max-age=3600")
			json.NewEncoder(w).Encode(v) // the client has left, if anything
		}
	}
	mux.Handle("GET /.well-known/openid-configuration", answer(map[string]any{
		"issuer": i.url, "jwks_uri": i.jwks, "authorization_endpoint": i.url + "/authorize", "token_endpoint": i.url + "/token",
		"id_token_signing_alg_values_supported": []string{i.alg}, "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
	}))
	mux.Handle("GET /keys", answer(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.private.Public(), KeyID: keyID, Algorithm: i.alg, Use: "sig"}}}))
}

// token returns an access token with 14 claims, about a kilobyte, changed by changes.
func (i *issuer) token(n int, changes map[string]any) (string, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(i.alg), Key: i.private},
		(&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", keyID))
	if err != nil {
		return "", err
	}
	now := time.Now()
	claims := map[string]any{
		"iss": i.url, "sub": fmt.Sprint("248289761001-", n), "aud": []string{audience, "https://id.example/userinfo"}, "client_id": "s6BhdRkqt3",
		"jti": fmt.Sprintf("8f14e45f-ceea-467a-9575-%012d", n), "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"scope": "openid profile notes:read notes:write", "auth_time": now.Unix(), "acr": "otp", "amr": []string{"otp"},
		"sid": "08a5019c-17e1-4977-8f42-65a12843ea02", "realm_access": map[string]any{"roles": []string{"editor", "viewer"}},
	}
	for name, value := range changes {
		claims[name] = value
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signature, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signature.CompactSerialize()
}

// request returns a request with eight headers, as a browser sends it.
func request(token string) *http.Request {
	r := httptest.NewRequest("GET", "/notes?page=2", nil)
	for name, value := range map[string]string{
		"Accept": "application/json", "Accept-Encoding": "gzip, br", "Accept-Language": "en", "Origin": "https://app.example",
		"Referer": "https://app.example/", "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)", "X-Request-Id": "7f3a", "Authorization": "Bearer " + token,
	} {
		r.Header.Set(name, value)
	}
	return r
}

// raw is the signature check alone, in the cheapest form that crypto has.
func (i *issuer) raw(n int) {
	n %= tokenCount
	good := false
	switch key := i.private.Public().(type) {
	case *rsa.PublicKey:
		digest := sha256.Sum256(i.signed[n])
		good = rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], i.signatures[n]) == nil
	case *ecdsa.PublicKey:
		digest := sha256.Sum256(i.signed[n])
		good = ecdsa.VerifyASN1(key, digest[:], i.signatures[n])
	case ed25519.PublicKey:
		good = ed25519.Verify(key, i.signed[n], i.signatures[n])
	}
	if !good {
		panic("the signature is wrong")
	}
}

// forge returns a token with a signature that is not the issuer's.
func (i *issuer) forge(token string) string {
	end := strings.LastIndexByte(token, '.') + 1
	signature, err := base64.RawURLEncoding.DecodeString(token[end:])
	if err != nil {
		panic(err) // it is one of ours
	}
	number := new(big.Int).SetBytes(signature)
	number.Add(number, big.NewInt(1<<20)).FillBytes(signature)
	return token[:end] + base64.RawURLEncoding.EncodeToString(signature)
}

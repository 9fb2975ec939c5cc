package provider_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lettergate/lettergate/config"
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// A clientKey is what a client signs its assertions with.
type clientKey struct {
	kid, alg string
	private  crypto.Signer
}

// signerKey is the key of the client that signs in every test server.
func signerKey() clientKey {
	return clientKey{"ed", "EdDSA", ed25519.NewKeyFromSeed([]byte(strings.Repeat("s", ed25519.SeedSize)))}
}

func signerJWK() config.JWK {
	x := signerKey().private.Public().(ed25519.PublicKey)
	return config.JWK{Type: "OKP", ID: "ed", Curve: "Ed25519", X: base64.RawURLEncoding.EncodeToString(x)}
}

func newClientKey(t testing.TB, kid, alg string) clientKey {
	t.Helper()
	var private crypto.Signer
	var err error
	switch alg {
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	default:
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	return clientKey{kid, alg, private}
}

// publishedKeys is a set of public keys as a client publishes it.
func publishedKeys(t testing.TB, keys ...clientKey) []byte {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, k := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.private.Public(), KeyID: k.kid, Use: "sig"})
	}
	document, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return document
}

// registered is the same as a configuration has it.
func registered(t testing.TB, keys ...clientKey) config.JWKS {
	t.Helper()
	set, err := config.ParseJWKS(publishedKeys(t, keys...))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// An object is a JSON object that is varied without being changed.
type object map[string]any

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

func (o object) json() string {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err) // a value that a test made up
	}
	return string(b)
}

func (k clientKey) header() object { return object{"alg": k.alg, "kid": k.kid} }

// assertion returns good headers around claims.
func (k clientKey) assertion(t testing.TB, claims object) string {
	t.Helper()
	return k.sign(t, k.header().json(), claims.json())
}

// sign signs any header and payload, with the algorithm of the key whatever the header
// says.
func (k clientKey) sign(t testing.TB, header, payload string) string {
	t.Helper()
	input := encode(header) + "." + encode(payload)
	digest := sha256.Sum256([]byte(input))
	var signature []byte
	var err error
	switch private := k.private.(type) {
	case *ecdsa.PrivateKey:
		var r, s *big.Int
		if r, s, err = ecdsa.Sign(rand.Reader, private, digest[:]); err == nil {
			size := private.Params().BitSize / 8
			signature = append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}
	case *rsa.PrivateKey:
		if k.alg == "PS256" {
			signature, err = rsa.SignPSS(rand.Reader, private, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			signature, err = rsa.SignPKCS1v15(nil, private, crypto.SHA256, digest[:])
		}
	case ed25519.PrivateKey:
		signature = ed25519.Sign(private, []byte(input))
	}
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + encode(string(signature))
}

// byLibrary is an assertion as a library makes it that nobody here wrote.
func (k clientKey) byLibrary(t testing.TB, alg string, claims object) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", k.kid)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: k.private}, options)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(claims.json()))
	if err != nil {
		t.Fatal(err)
	}
	assertion, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return assertion
}

// hmacSigned is a token whose secret is known to everybody.
func hmacSigned(header, payload string, secret []byte) string {
	input := encode(header) + "." + encode(payload)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + encode(string(mac.Sum(nil)))
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// jtis counts assertions, so that each has a name of its own.
var jtis atomic.Int64

// claims are those of a good assertion of a client, never used before.
func (s *server) claims(client string, now time.Time) object {
	return object{
		"iss": client, "sub": client, "aud": s.provider.Issuer(), "jti": "assertion-" + strconv.FormatInt(jtis.Add(1), 10),
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}
}

// assert sends a form with an assertion beside it.
func (s *server) assert(path, assertion string, pairs ...string) answer {
	s.t.Helper()
	return s.post(path, append([]string{"client_assertion_type", assertionType, "client_assertion", assertion}, pairs...)...)
}

// asSigner sends a form as the client that signs, with a new assertion.
func (s *server) asSigner(path string, pairs ...string) answer {
	s.t.Helper()
	return s.assert(path, signerKey().assertion(s.t, s.claims(signerID, time.Now())), pairs...)
}

// ownToken asks for a token of the client itself, with the assertion.
func (s *server) ownToken(assertion string, pairs ...string) answer {
	s.t.Helper()
	return s.assert("/oauth2/token", assertion, append([]string{"grant_type", "client_credentials", "scope", "notes:read"}, pairs...)...)
}

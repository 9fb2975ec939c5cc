package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lettergate/lettergate/provider/storage"
)

const rsaBits = 2048

// pss is RFC 7518 section 3.5: the salt is as long as the hash.
var pss = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}

func known(alg string) bool {
	switch alg {
	case ES256, RS256, PS256, EdDSA:
		return true
	}
	return false
}

func generate(alg string) (crypto.Signer, error) {
	var private crypto.Signer
	var err error
	switch alg {
	case ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case RS256, PS256:
		private, err = rsa.GenerateKey(rand.Reader, rsaBits)
	case EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, fmt.Errorf("keys: unknown algorithm %q", alg)
	}
	if err != nil {
		return nil, fmt.Errorf("make a key for %s: %w", alg, err)
	}
	return private, nil
}

// key is one signing key. It is immutable and, printed, shows its id only.
type key struct {
	alg       string
	kid       string // RFC 7638 thumbprint
	published time.Time
	private   crypto.Signer
	headers   map[string]string // by typ: the encoded JOSE header and a dot
}

// Format writes the algorithm and the id, whatever the verb.
func (k *key) Format(w fmt.State, _ rune) { fmt.Fprint(w, k.alg, " key ", k.kid) }

// LogValue returns what Format writes.
func (k *key) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(k)) }

// newKey wraps a private key that suits the algorithm.
func newKey(alg string, private crypto.Signer, published time.Time) (*key, error) {
	if err := suits(alg, private); err != nil {
		return nil, err
	}
	k := &key{alg: alg, published: published, private: private, headers: map[string]string{}}
	thumb, err := k.public().Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("thumbprint of a key for %s: %w", alg, err)
	}
	k.kid = base64.RawURLEncoding.EncodeToString(thumb)
	for _, typ := range []string{"JWT", "at+jwt", "logout+jwt"} {
		k.headers[typ] = k.encodeHeader(typ)
	}
	return k, nil
}

func suits(alg string, private crypto.Signer) error {
	ok := false
	switch p := private.(type) {
	case *ecdsa.PrivateKey:
		ok = alg == ES256 && p.Curve == elliptic.P256()
	case *rsa.PrivateKey:
		ok = (alg == RS256 || alg == PS256) && p.N.BitLen() >= rsaBits
	case ed25519.PrivateKey:
		ok = alg == EdDSA
	}
	if !ok {
		return fmt.Errorf("keys: a key of type %T does not suit %q", private, alg)
	}
	return nil
}

// public returns the key as the key set shows it.
func (k *key) public() *jose.JSONWebKey {
	return &jose.JSONWebKey{Key: k.private.Public(), KeyID: k.kid, Algorithm: k.alg, Use: "sig"}
}

func (k *key) store() (storedKey, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return storedKey{}, fmt.Errorf("encode key %s: %w", k.kid, err)
	}
	return storedKey{KID: k.kid, Published: k.published.UTC(), PKCS8: der}, nil
}

func openKey(alg string, from storedKey) (*key, error) {
	unfit := fmt.Errorf("%w: key %q in the key set is not a key for %q", storage.ErrUnfit, from.KID, alg)
	parsed, err := x509.ParsePKCS8PrivateKey(from.PKCS8)
	if err != nil {
		return nil, unfit
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, unfit
	}
	k, err := newKey(alg, private, from.Published)
	if err != nil || k.kid != from.KID {
		return nil, unfit
	}
	return k, nil
}

// header is the JOSE header of every token of a ring.
type header struct {
	Alg string `json:"alg"`
	KID string `json:"kid"`
	Typ string `json:"typ,omitempty"`
}

func (k *key) encodeHeader(typ string) string {
	b, err := json.Marshal(header{k.alg, k.kid, typ})
	if err != nil {
		panic("keys: a header of strings does not encode: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(b) + "."
}

// header returns the encoded JOSE header and a dot.
func (k *key) header(typ string) string {
	if h, made := k.headers[typ]; made {
		return h
	}
	return k.encodeHeader(typ)
}

// sign returns the signature of RFC 7515 over input.
func (k *key) sign(input []byte) ([]byte, error) {
	if p, ok := k.private.(ed25519.PrivateKey); ok {
		return ed25519.Sign(p, input), nil
	}
	digest := sha256.Sum256(input)
	switch p := k.private.(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, p, digest[:])
		if err != nil {
			return nil, err
		}
		sig := make([]byte, 64) // RFC 7518 section 3.4: r || s
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
		return sig, nil
	case *rsa.PrivateKey:
		if k.alg == PS256 {
			return rsa.SignPSS(rand.Reader, p, crypto.SHA256, digest[:], pss)
		}
		return rsa.SignPKCS1v15(rand.Reader, p, crypto.SHA256, digest[:])
	}
	return nil, errors.New("keys: a key of an unknown type")
}

// verify reports whether sig is the key's signature over input.
func (k *key) verify(input, sig []byte) bool {
	switch p := k.private.Public().(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(p, input, sig)
	case *ecdsa.PublicKey:
		if len(sig) != 64 {
			return false
		}
		digest := sha256.Sum256(input)
		return ecdsa.Verify(p, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
	case *rsa.PublicKey:
		digest := sha256.Sum256(input)
		if k.alg == PS256 {
			return rsa.VerifyPSS(p, crypto.SHA256, digest[:], sig, pss) == nil
		}
		return rsa.VerifyPKCS1v15(p, crypto.SHA256, digest[:], sig) == nil
	}
	return false
}

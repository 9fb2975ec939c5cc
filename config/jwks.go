package config

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// A JWKS is a set of public keys (RFC 7517 section 5). It is written as it is
// published: JSON is YAML too.
type JWKS struct {
	// Keys are up to 10 public keys, for as long as the client signs with them.
	Keys []JWK `yaml:"keys" json:"keys" validate:"max=10,dive"`
}

// A JWK is one public key, for signatures of RS256, PS256 (RSA), ES256 (EC on P-256)
// or EdDSA (OKP on Ed25519).
type JWK struct {
	// Type is EC, RSA or OKP.
	Type string `yaml:"kty" json:"kty" validate:"required,oneof=EC RSA OKP"`
	// ID tells the key from the others. An assertion has to name it unless no other key
	// fits its algorithm.
	ID string `yaml:"kid" json:"kid" validate:"required,max=100,key_id"`
	// Use may be left out.
	Use string `yaml:"use" json:"use,omitempty" validate:"omitempty,oneof=sig"`
	// Operations may be left out.
	Operations []string `yaml:"key_ops" json:"key_ops,omitempty" validate:"unique,dive,oneof=verify"`
	// Algorithm is the only one that the key is for. Default each that fits it.
	Algorithm string `yaml:"alg" json:"alg,omitempty" validate:"omitempty,oneof=ES256 PS256 RS256 EdDSA"`
	// Curve is P-256 for EC and Ed25519 for OKP.
	Curve string `yaml:"crv" json:"crv,omitempty" validate:"omitempty,oneof=P-256 Ed25519"`
	// X is the point, or its first coordinate, of a key of EC or OKP, in base64url.
	X string `yaml:"x" json:"x,omitempty"`
	// Y is the second coordinate of a key of EC, in base64url.
	Y string `yaml:"y" json:"y,omitempty"`
	// N is the modulus of a key of RSA, 2048 to 4096 bits, in base64url.
	N string `yaml:"n" json:"n,omitempty"`
	// E is the exponent of a key of RSA, in base64url.
	E string `yaml:"e" json:"e,omitempty"`
}

// ParseJWKS reads a set as it is published, for a program that fills a [Client] by
// hand. Members that a JWK does not have are left out, as RFC 7517 asks; private ones
// are an error. Whether the keys can be used is what Validate says.
func ParseJWKS(document []byte) (JWKS, error) {
	var set JWKS
	if err := json.Unmarshal(document, &set); err != nil {
		return JWKS{}, fmt.Errorf("the key set is no JSON of a JWK set: %w", err)
	}
	var all struct {
		Keys []map[string]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(document, &all); err != nil {
		return JWKS{}, fmt.Errorf("the key set is no JSON of a JWK set: %w", err)
	}
	for i, key := range all.Keys {
		for member := range key {
			if slices.Contains(privateMembers(), member) {
				return JWKS{}, fmt.Errorf("keys[%d]: %q %s", i, member, isPrivate)
			}
		}
	}
	return set, nil
}

// privateMembers are those of RFC 7518 section 6 that only the owner of a key may have.
func privateMembers() []string { return []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} }

const isPrivate = "is a private part of the key, which only the client may have: make a new key, and write here what is public of it"

// unknown says what is wrong with a member that a JWK here does not have, or nothing.
func (JWK) unknown(member string) string {
	switch {
	case slices.Contains(privateMembers(), member):
		return isPrivate
	case member == "x5c", member == "x5u", member == "x5t", member == "x5t#S256":
		return "is about a certificate, and those are not looked at: leave it out"
	}
	return ""
}

// PublicKey returns the key as an *ecdsa.PublicKey, *rsa.PublicKey or ed25519.PublicKey,
// or why it is none that can be used.
func (k JWK) PublicKey() (crypto.PublicKey, error) {
	switch k.Type {
	case "EC":
		return k.ecdsa()
	case "OKP":
		return k.ed25519()
	case "RSA":
		return k.rsa()
	}
	return nil, errors.New("kty is EC, RSA or OKP")
}

func (k JWK) ecdsa() (crypto.PublicKey, error) {
	x, y := decodeMember(k.X), decodeMember(k.Y)
	if k.Curve != "P-256" || len(x) != 32 || len(y) != 32 || k.N != "" || k.E != "" {
		return nil, errors.New("a key of EC has crv P-256, and x and y of 32 bytes each in base64url")
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	if err != nil {
		return nil, errors.New("x and y are no point of P-256")
	}
	return key, nil
}

func (k JWK) ed25519() (crypto.PublicKey, error) {
	x := decodeMember(k.X)
	if k.Curve != "Ed25519" || len(x) != ed25519.PublicKeySize || k.Y != "" || k.N != "" || k.E != "" {
		return nil, errors.New("a key of OKP has crv Ed25519, and x of 32 bytes in base64url")
	}
	return ed25519.PublicKey(x), nil
}

func (k JWK) rsa() (crypto.PublicKey, error) {
	n, e := new(big.Int).SetBytes(decodeMember(k.N)), new(big.Int).SetBytes(decodeMember(k.E))
	switch {
	case n.Sign() == 0 || e.Sign() == 0 || k.Curve != "" || k.X != "" || k.Y != "":
		return nil, errors.New("a key of RSA has n and e in base64url")
	case n.BitLen() < 2048 || n.BitLen() > 4096:
		return nil, fmt.Errorf("n has %d bits; use a key of 2048 to 4096 bits", n.BitLen())
	case e.BitLen() > 31 || e.Int64() < 3 || e.Bit(0) == 0 || n.Bit(0) == 0:
		return nil, errors.New("n and e are no key of RSA; e is usually AQAB (65537)")
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

// decodeMember decodes what is base64url without padding; anything else is nothing.
func decodeMember(s string) []byte {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil
	}
	return raw
}

// AssertionAlgorithms returns, in a new slice, the algorithms that a client may sign its
// assertions with.
func AssertionAlgorithms() []string { return []string{"RS256", "PS256", "ES256", "EdDSA"} }

// algorithms are those that a key can verify.
func (k JWK) algorithms() []string {
	all := map[string][]string{"EC": {"ES256"}, "OKP": {"EdDSA"}, "RSA": {"RS256", "PS256"}}[k.Type]
	if k.Algorithm == "" {
		return all
	}
	return slices.DeleteFunc(all, func(alg string) bool { return alg != k.Algorithm })
}

// check adds what is wrong with the keys together, and with each beyond its tags.
func (s JWKS) check(l *faultList, path string) {
	seen := make(map[string]int, len(s.Keys))
	for i, k := range s.Keys {
		at := indexPath(keyPath(path, "keys"), i)
		if first, dup := seen[k.ID]; dup && k.ID != "" {
			l.add(keyPath(at, "kid"), "%s is the kid of keys[%d] already; an assertion could not say which it means", quote(k.ID), first)
		} else {
			seen[k.ID] = i
		}
		if !slices.Contains([]string{"EC", "RSA", "OKP"}, k.Type) || !slices.Contains([]string{"", "P-256", "Ed25519"}, k.Curve) {
			continue // said by its tag
		}
		if _, err := k.PublicKey(); err != nil {
			l.add(at, "cannot be used: %s", err)
		} else if len(k.algorithms()) == 0 && slices.Contains(AssertionAlgorithms(), k.Algorithm) {
			l.add(keyPath(at, "alg"), "%s does not fit a key of %s; leave it out", k.Algorithm, k.Type)
		}
	}
}

package oauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // for crypto.SHA256
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512
	"math/big"
)

// Bounds of an RSA modulus: shorter ones can be factored (RFC 7518 section 3.3),
// longer ones make a check slow enough to be a weapon.
const (
	minRSABits = 2048
	maxRSABits = 4096
)

// An algorithm is one way to sign a token (RFC 7518 section 3.1, RFC 8037).
// Symmetric ones and "none" do not exist here, so no setting can let them in.
type algorithm struct {
	family algorithmFamily
	hash   crypto.Hash    // 0 for EdDSA, which hashes by itself
	curve  elliptic.Curve // nil unless ECDSA
}

type algorithmFamily int

const (
	familyECDSA algorithmFamily = iota
	familyRSAPKCS1
	familyRSAPSS
	familyEd25519
)

var algorithms = map[string]algorithm{
	"ES256": {familyECDSA, crypto.SHA256, elliptic.P256()},
	"ES384": {familyECDSA, crypto.SHA384, elliptic.P384()},
	"ES512": {familyECDSA, crypto.SHA512, elliptic.P521()},
	"RS256": {familyRSAPKCS1, crypto.SHA256, nil},
	"RS384": {familyRSAPKCS1, crypto.SHA384, nil},
	"RS512": {familyRSAPKCS1, crypto.SHA512, nil},
	"PS256": {familyRSAPSS, crypto.SHA256, nil},
	"PS384": {familyRSAPSS, crypto.SHA384, nil},
	"PS512": {familyRSAPSS, crypto.SHA512, nil},
	"EdDSA": {familyEd25519, 0, nil},
}

// fits says whether key can verify this algorithm and is strong enough to.
func (a algorithm) fits(key crypto.PublicKey) bool {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		return a.family == familyECDSA && key.Curve == a.curve
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		return (a.family == familyRSAPKCS1 || a.family == familyRSAPSS) && bits >= minRSABits && bits <= maxRSABits
	case ed25519.PublicKey:
		return a.family == familyEd25519 && len(key) == ed25519.PublicKeySize
	}
	return false
}

// verify says whether signature was made over input by the owner of key. It is
// false for a key that does not fit, wherever the key came from.
func (a algorithm) verify(key crypto.PublicKey, input, signature []byte) bool {
	if !a.fits(key) {
		return false
	}
	if a.family == familyEd25519 {
		return ed25519.Verify(key.(ed25519.PublicKey), input, signature)
	}
	h := a.hash.New()
	h.Write(input)
	digest := h.Sum(nil)
	switch a.family {
	case familyECDSA:
		// r and s, each as long as a number of the curve (RFC 7518 section 3.4).
		size := (a.curve.Params().BitSize + 7) / 8
		if len(signature) != 2*size {
			return false
		}
		r := new(big.Int).SetBytes(signature[:size])
		s := new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(key.(*ecdsa.PublicKey), digest, r, s)
	case familyRSAPKCS1:
		return rsa.VerifyPKCS1v15(key.(*rsa.PublicKey), a.hash, digest, signature) == nil
	case familyRSAPSS:
		// RFC 7518 section 3.5 fixes the salt at the size of the hash.
		options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
		return rsa.VerifyPSS(key.(*rsa.PublicKey), a.hash, digest, signature, options) == nil
	}
	return false
}

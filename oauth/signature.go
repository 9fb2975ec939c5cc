package oauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
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

// sameKey says whether two public keys are one. A source hands out the same value
// as long as nothing changes, so the numbers are hardly ever compared.
func sameKey(a, b crypto.PublicKey) bool {
	switch a := a.(type) {
	case *ecdsa.PublicKey:
		b, ok := b.(*ecdsa.PublicKey)
		return ok && (a == b || a != nil && b != nil && a.Equal(b))
	case *rsa.PublicKey:
		b, ok := b.(*rsa.PublicKey)
		return ok && (a == b || a != nil && b != nil && a.Equal(b))
	case ed25519.PublicKey:
		return a.Equal(b)
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
	digest := a.digest(input)
	switch a.family {
	case familyECDSA:
		// r and s, each as long as a number of the curve (RFC 7518 section 3.4).
		if len(signature) != 2*((a.curve.Params().BitSize+7)/8) {
			return false
		}
		var space [maxASN1Signature]byte
		return ecdsa.VerifyASN1(key.(*ecdsa.PublicKey), digest, asn1Signature(space[:0], signature))
	case familyRSAPKCS1:
		return rsa.VerifyPKCS1v15(key.(*rsa.PublicKey), a.hash, digest, signature) == nil
	case familyRSAPSS:
		// RFC 7518 section 3.5 fixes the salt at the size of the hash.
		options := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}
		return rsa.VerifyPSS(key.(*rsa.PublicKey), a.hash, digest, signature, options) == nil
	}
	return false
}

// digest hashes input. It is nil for a hash that no algorithm here has.
func (a algorithm) digest(input []byte) []byte {
	switch a.hash {
	case crypto.SHA256:
		sum := sha256.Sum256(input)
		return sum[:]
	case crypto.SHA384:
		sum := sha512.Sum384(input)
		return sum[:]
	case crypto.SHA512:
		sum := sha512.Sum512(input)
		return sum[:]
	}
	return nil
}

// maxASN1Signature is the longest signature of asn1Signature, on P-521: two numbers
// of 66 bytes and a zero, each with a head of two, and one of three for both.
const maxASN1Signature = 3 + 2*(2+67)

// asn1Signature appends r and s, two numbers of the same length, in the form that
// crypto/ecdsa takes (RFC 3279 section 2.2.3). It makes math/big unnecessary, and
// with it half of a check's allocations.
func asn1Signature(to, rs []byte) []byte {
	r, s := asn1Integer(rs[:len(rs)/2]), asn1Integer(rs[len(rs)/2:])
	length := r.length() + s.length()
	to = append(to, 0x30) // SEQUENCE
	if length > 127 {
		to = append(to, 0x81) // one byte of length follows
	}
	return s.append(r.append(append(to, byte(length))))
}

// An asn1Integer is an unsigned number in big-endian bytes.
type asn1Integer []byte

// trimmed returns the number without needless zeros, and whether DER wants one more
// in front to keep it positive.
func (n asn1Integer) trimmed() (digits []byte, zero bool) {
	digits = n
	for len(digits) > 1 && digits[0] == 0 {
		digits = digits[1:]
	}
	return digits, digits[0] >= 0x80
}

// length counts the bytes that append adds.
func (n asn1Integer) length() int {
	digits, zero := n.trimmed()
	if zero {
		return 2 + 1 + len(digits)
	}
	return 2 + len(digits)
}

func (n asn1Integer) append(to []byte) []byte {
	digits, zero := n.trimmed()
	to = append(to, 0x02, byte(n.length()-2)) // INTEGER
	if zero {
		to = append(to, 0)
	}
	return append(to, digits...)
}

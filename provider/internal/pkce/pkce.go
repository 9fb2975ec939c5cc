// Package pkce is Proof Key for Code Exchange (RFC 7636) with S256, the only method
// there is here.
//
// Its invariant: each challenge has one spelling, and a verifier outside the
// grammar proves nothing.
package pkce

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
)

// S256 is the code_challenge_method.
const S256 = "S256"

// unreserved are the characters of a verifier (section 4.1).
const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

// ValidChallenge reports whether c can be an S256 challenge: 32 bytes in base64url
// without padding.
func ValidChallenge(c string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(c)
	return err == nil && len(raw) == sha256.Size && len(c) == 43 // no line breaks, which the decoder skips
}

// Proves reports whether challenge was made of verifier (section 4.6), in constant
// time for verifiers of the grammar.
func Proves(verifier, challenge string) bool {
	if len(verifier) < 43 || len(verifier) > 128 || strings.Trim(verifier, unreserved) != "" {
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	made := base64.RawURLEncoding.EncodeToString(sum[:])
	return subtle.ConstantTimeCompare([]byte(made), []byte(challenge)) == 1
}

package verification

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"
)

// PKCE as RFC 7636 has it, with S256 as the only method.

// validChallenge reports whether c can be an S256 challenge: 32 bytes in
// base64url without padding.
func validChallenge(c string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(c)
	return err == nil && len(raw) == sha256.Size && len(c) == 43 // no line breaks, which the decoder skips
}

// validVerifier reports whether v is 43 to 128 unreserved characters (section 4.1).
func validVerifier(v string) bool {
	if len(v) < 43 || len(v) > 128 {
		return false
	}
	for _, c := range []byte(v) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		digit := '0' <= c && c <= '9'
		if !letter && !digit && !strings.ContainsRune("-._~", rune(c)) {
			return false
		}
	}
	return true
}

// verifies reports whether verifier is what challenge was made of (section 4.6).
func verifies(challenge, verifier string) bool {
	if !validVerifier(verifier) {
		return false
	}
	sum := sha256.Sum256([]byte(verifier))
	made := base64.RawURLEncoding.EncodeToString(sum[:])
	return subtle.ConstantTimeCompare([]byte(made), []byte(challenge)) == 1
}

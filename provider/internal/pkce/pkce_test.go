package pkce_test

import (
	"strings"
	"testing"

	"github.com/lettergate/lettergate/provider/internal/pkce"
)

// The pair of RFC 7636 appendix B.
const (
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

func TestProves(t *testing.T) {
	for _, c := range []struct {
		name, verifier, challenge string
		want                      bool
	}{
		{"the pair of the RFC", verifier, challenge, true},
		{"another verifier", strings.Replace(verifier, "d", "e", 1), challenge, false},
		{"none", "", challenge, false},
		{"too short", verifier[:42], challenge, false},
		{"too long", strings.Repeat("a", 129), challenge, false},
		{"a character that is none", verifier[:42] + "+", challenge, false},
		{"NUL inside", verifier[:20] + "\x00" + verifier[21:], challenge, false},
		{"no challenge", verifier, "", false},
		{"plain", verifier, verifier, false},
	} {
		if got := pkce.Proves(c.verifier, c.challenge); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestValidChallenge(t *testing.T) {
	for c, want := range map[string]bool{
		challenge: true, "": false, challenge + "=": false, challenge[:42]: false, verifier[:20]: false,
		challenge[:42] + "N":                   false, // unused bits set: a second spelling
		challenge[:20] + "\n" + challenge[20:]: false,
	} {
		if got := pkce.ValidChallenge(c); got != want {
			t.Errorf("%q: %v, want %v", c, got, want)
		}
	}
}

package password

import (
	"strings"
	"testing"
)

const phc = "$argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"

// Each hash has one way to be written.
func TestParseIsStrict(t *testing.T) {
	if _, err := parse(phc); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		"", "$", "$$$$$", phc[1:], phc + "$", phc + "\n", " " + phc, phc + "=",
		strings.Replace(phc, "argon2id", "argon2i", 1),
		strings.Replace(phc, "argon2id", "Argon2id", 1),
		strings.Replace(phc, "v=19", "v=16", 1),
		strings.Replace(phc, "v=19$", "", 1),
		strings.Replace(phc, "m=", "m=0", 1),
		strings.Replace(phc, "m=", "m=+", 1),
		strings.Replace(phc, "t=2", "t=-2", 1),
		strings.Replace(phc, "t=2", "t=", 1),
		strings.Replace(phc, "m=19456,t=2", "t=2,m=19456", 1),
		strings.Replace(phc, "p=1", "p=1,x=1", 1),
		strings.Replace(phc, "p=1", "p=257", 1), // 1, as a byte
		strings.Replace(phc, "$AAEC", "$AAEC\\n", 1),
		strings.Replace(phc, "$AAEC", "$AAEC\n", 1),
		strings.Replace(phc, "DA0ODw$", "DA0ODx$", 1), // stray bits after the last byte
		strings.Replace(phc, "DA0ODw$", "DA0O$", 1),
		phc[:len(phc)-4],
		phc + "AAAA",
	} {
		if h, err := parse(s); err == nil {
			t.Errorf("parse(%q) = %v", s, h)
		}
	}
}

// Whatever parses is within bounds and says itself again.
func FuzzParse(f *testing.F) {
	f.Add(phc)
	f.Add("$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=4294967295,t=4294967295,p=255$$")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parse(s)
		if err != nil {
			if strings.Contains(s, "AAAAAAAAAA") && strings.Contains(err.Error(), "AAAAAAAAAA") {
				t.Errorf("the error quotes the hash: %v", err)
			}
			return
		}
		if h.String() != s {
			t.Errorf("parse(%q) says %q", s, h)
		}
		if h.memory > mostMemory || h.iterations > mostIterations || h.parallelism > mostParallelism || h.memory < 8*uint32(h.parallelism) || h.iterations < 1 {
			t.Errorf("beyond the bounds: %q", s)
		}
	})
}

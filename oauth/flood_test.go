package oauth_test

import (
	"encoding/base64"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/oauth"
)

// A randomToken is random in one of the ways a token can be.
func randomToken(random *rand.Rand, good string) string {
	noise := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	header, rest, _ := strings.Cut(good, ".")
	payload, _, _ := strings.Cut(rest, ".")
	switch random.IntN(40) {
	case 0: // all but the signature is good
		return header + "." + payload + "." + noise(64)
	case 1, 2, 3:
		return header + "." + noise(200+random.IntN(600)) + "." + noise(64)
	case 4, 5, 6:
		return header + "." + encode(`{"iss":"`+issuerURL+`","exp":9999999999,"jti":"`+noise(30)+`"`) + "." + noise(64)
	case 7, 8, 9:
		return encode(`{"typ":"at+jwt","alg":"EdDSA","kid":"`+noise(10)+`"}`) + "." + payload + "." + noise(64)
	case 10:
		return strings.Repeat("a.", random.IntN(9000))
	case 11:
		return noise(random.IntN(20_000))
	}
	return noise(40+random.IntN(60)) + "." + noise(200+random.IntN(600)) + "." + noise(64)
}

// However many tokens strangers make up, the memory stays what it was, and so does
// what is remembered of the good ones.
func TestFloodOfRandomTokens(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	revoked := newRevocations(t, 0)
	v, _ := withClock(t, staticKeys(t, key.public()), func(c *oauth.JWTConfig) { c.Revocations = revoked })
	var good []string
	for i := range 100 {
		good = append(good, key.token(t, goodClaims(noon).with("jti", string(rune('A'+i)))))
		wantAccepted(t, v, good[i])
	}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	random := rand.New(rand.NewPCG(1, 2))
	before, used, headers := v.CacheDump(), heap(), v.HeadersSeen()
	start := time.Now()
	for range randomTokens {
		if claims, err := v.Verify(t.Context(), randomToken(random, good[0])); claims != nil || err == nil {
			t.Fatal("a random token was accepted")
		}
	}
	t.Logf("%d random tokens, %v each", randomTokens, time.Since(start)/randomTokens)
	if grown := heap() - used; grown > 256<<10 {
		t.Errorf("the flood left %d bytes behind", grown)
	}
	if v.CacheDump() != before || v.HeadersSeen() != headers {
		t.Error("the flood changed the cache")
	}
	for _, token := range good {
		wantAccepted(t, v, token)
	}
}

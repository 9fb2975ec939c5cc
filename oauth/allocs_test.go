//go:build !race

package oauth_test

import (
	"testing"

	"github.com/lettergate/lettergate/oauth"
)

// A remembered token takes no memory, and a new one little more than its claims.
func TestAllocations(t *testing.T) {
	for alg, most := range map[string]float64{"RS256": 22, "ES256": 24, "EdDSA": 14} {
		key := newKey(t, "k1", alg)
		token := key.token(t, goodClaims(noon))
		m := new(memoryIssuer)
		m.publish(key)
		for name, keys := range map[string]oauth.KeySource{"static": staticKeys(t, key.public()), "remote": remoteKeys(t, m)} {
			remembers, _ := withClock(t, keys, nil)
			digests, _ := withClock(t, keys, func(c *oauth.JWTConfig) { c.CacheDigests = true })
			forgets, _ := withClock(t, keys, func(c *oauth.JWTConfig) { c.CacheTokens = -1 })
			for v, most := range map[*oauth.JWTVerifier]float64{remembers: 0, digests: 1, forgets: most} {
				wantAccepted(t, v, token)
				if got := testing.AllocsPerRun(100, func() { v.Verify(t.Context(), token) }); got > most {
					t.Errorf("%s, %s keys: %v allocations, want at most %v", alg, name, got, most)
				}
			}
		}
	}
}

package oauth

import (
	"fmt"
	"strings"
	"time"
)

// What the tests of the cache look at. Nothing here counts as use of an entry.

// CacheEntry is what the cache knows about a token.
type CacheEntry struct {
	Name        string
	Claims      *AccessToken
	From, Until time.Time
	Generation  uint64
}

// Cached returns the entry of a token.
func (v *JWTVerifier) Cached(token string) (CacheEntry, bool) {
	k, ok := v.cache.key(token)
	if !ok {
		return CacheEntry{}, false
	}
	set := v.cache.set(k)
	for i := range set.tokens {
		if e := set.tokens[i].Load(); e != nil && e.name == k.name {
			return CacheEntry{e.name, e.claims, e.from, e.until, e.revocations.Load()}, true
		}
	}
	return CacheEntry{}, false
}

// CacheDump describes the cache to the last bit.
func (v *JWTVerifier) CacheDump() string {
	var b strings.Builder
	for i := range v.cache.sets {
		set := &v.cache.sets[i]
		for way := range set.tokens {
			if e := set.tokens[way].Load(); e != nil || set.tags[way].Load() != 0 {
				fmt.Fprintln(&b, i, way, set.hand, set.tags[way].Load(), e, e.used.Load())
			}
		}
	}
	return b.String()
}

// CacheLen counts the entries, and CacheSpace what there is room for.
func (v *JWTVerifier) CacheLen() int { return strings.Count(v.CacheDump(), "\n") }

func (v *JWTVerifier) CacheSpace() int {
	if v.cache == nil {
		return 0
	}
	return len(v.cache.sets) * cacheWays
}

// PretendHash makes the entry of one token look as if another had the same hash.
func (v *JWTVerifier) PretendHash(of, token string) {
	from, _ := v.cache.key(of)
	to, _ := v.cache.key(token)
	set := v.cache.set(from)
	for i := range set.tokens {
		if e := set.tokens[i].Load(); e != nil && e.name == from.name {
			other := v.cache.set(to)
			other.tokens[0].Store(e)
			other.tags[0].Store(to.hash)
		}
	}
}

// HeadersSeen counts the headers that are remembered.
func (v *JWTVerifier) HeadersSeen() int {
	n := 0
	for i := range v.headers.slots {
		if v.headers.slots[i].Load() != nil {
			n++
		}
	}
	return n
}

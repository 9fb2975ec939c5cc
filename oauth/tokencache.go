package oauth

import (
	"crypto"
	"crypto/sha256"
	"fmt"
	"hash/maphash"
	"math/bits"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultCacheTokens = 8192
	maxCacheTokens     = 1 << 20
	defaultCacheMaxAge = 5 * time.Minute

	// Longer tokens are verified each time, so that the memory has a bound.
	maxCachedBytes = 4 << 10

	cacheWays = 8
)

// A tokenCache remembers verified tokens. It holds exactly one kind of fact: that
// these bytes were signed by this key, and say this. It never refuses anything, and
// whatever can change while the bytes stay the same is looked at again by whoever
// finds an entry: the time, the key, revocations, and all that a route asks for.
//
// It is an array of sets of eight that never grows. A token's set and tag come from
// a hash with a random seed, and only the comparison of the whole token decides.
// Reading takes no lock. A full set gives up the entry that was not used since the
// hand came by, an expired one first; a new entry counts as not used, so tokens
// that come once do not displace those that come again.
//
// A nil tokenCache remembers nothing.
type tokenCache struct {
	seed    maphash.Seed
	sets    []cacheSet
	maxAge  time.Duration
	digests bool
}

type cacheSet struct {
	tags   [cacheWays]atomic.Uint64 // one cache line
	tokens [cacheWays]atomic.Pointer[cachedToken]

	mu   sync.Mutex // held by writers
	hand int
	_    [48]byte // the next set begins on a line of its own
}

// A cachedToken is one entry. Its claims are given to many requests at once.
type cachedToken struct {
	name   string // the token, or its SHA-256
	claims *AccessToken
	header *joseHeader
	key    crypto.PublicKey // that its signature was checked with

	from, until time.Time     // when it may be used
	revocations atomic.Uint64 // the generation that its claims were looked up in
	used        atomic.Bool   // since the hand came by
}

// newTokenCache returns a cache for cfg, or nil when it is switched off.
func newTokenCache(cfg JWTConfig) (*tokenCache, error) {
	c := &tokenCache{seed: maphash.MakeSeed(), maxAge: cfg.CacheMaxAge, digests: cfg.CacheDigests}
	if c.maxAge == 0 {
		c.maxAge = defaultCacheMaxAge
	}
	if c.maxAge < 0 || c.maxAge > defaultCacheMaxAge {
		return nil, fmt.Errorf("oauth: cache age %v is not between 0 and %v", cfg.CacheMaxAge, defaultCacheMaxAge)
	}
	size := cfg.CacheTokens
	switch {
	case size < 0:
		return nil, nil
	case size == 0:
		size = defaultCacheTokens
	case size > maxCacheTokens:
		return nil, fmt.Errorf("oauth: a cache of %d tokens is more than %d", size, maxCacheTokens)
	}
	sets := (size + cacheWays - 1) / cacheWays
	c.sets = make([]cacheSet, 1<<bits.Len(uint(sets-1))) // the next power of two
	return c, nil
}

// A cacheKey is what a token is looked for by.
type cacheKey struct {
	name string
	hash uint64
}

// key returns the key of token, or false when it may not be remembered.
func (c *tokenCache) key(token string) (cacheKey, bool) {
	if c == nil || len(token) > maxCachedBytes {
		return cacheKey{}, false
	}
	if c.digests {
		var space [2048]byte
		sum := sha256.Sum256(append(space[:0], token...))
		token = string(sum[:])
	}
	return cacheKey{token, maphash.String(c.seed, token)}, true
}

func (c *tokenCache) set(k cacheKey) *cacheSet { return &c.sets[k.hash&uint64(len(c.sets)-1)] }

// find returns the entry, or nil.
func (c *tokenCache) find(k cacheKey) *cachedToken {
	set := c.set(k)
	for i := range set.tags {
		if set.tags[i].Load() != k.hash {
			continue
		}
		// A writer may be between the tag and the token; the name tells.
		if e := set.tokens[i].Load(); e != nil && e.name == k.name {
			if !e.used.Load() {
				e.used.Store(true)
			}
			return e
		}
	}
	return nil
}

// put remembers an entry, instead of another one where the set is full.
func (c *tokenCache) put(k cacheKey, e *cachedToken, now time.Time) {
	e.name = strings.Clone(k.name) // the token may be a piece of something large
	set := c.set(k)
	set.mu.Lock()
	defer set.mu.Unlock()
	i := set.victim(k, now)
	set.tokens[i].Store(e)
	set.tags[i].Store(k.hash)
}

// victim returns the way that an entry is put into: its own, one that nobody can
// use any more, or the next that was not used.
func (s *cacheSet) victim(k cacheKey, now time.Time) int {
	free := -1
	for i := range s.tokens {
		e := s.tokens[i].Load()
		switch {
		case e == nil:
			free = i
		case e.name == k.name:
			return i
		case !now.Before(e.until):
			free = i
		}
	}
	for ; free < 0; s.hand = (s.hand + 1) % cacheWays {
		if !s.tokens[s.hand].Load().used.Swap(false) {
			free = s.hand
		}
	}
	return free
}

package provider

import (
	"context"
	"crypto"
	"fmt"
	"sync"

	"github.com/lettergate/lettergate/oauth"
	"github.com/lettergate/lettergate/provider/keys"
)

// Verifier returns a verifier of this issuer's access tokens for handlers in the
// same process. A token has to be for one of the audiences; without any, for the
// issuer itself. It asks neither network nor store: a revoked token is accepted
// until it expires, and opaque tokens, which only the provider can read, are not.
// Before Run is ready it answers oauth.ErrUnavailable. The error is that of a name
// that is empty.
func (p *Provider) Verifier(audiences ...string) (oauth.Verifier, error) {
	if len(audiences) == 0 {
		audiences = []string{p.cfg.Issuer}
	}
	return oauth.NewJWTVerifier(oauth.JWTConfig{Issuer: p.cfg.Issuer, Audiences: audiences, Now: p.now}, &ringKeys{ring: p.keys})
}

// ringKeys lets a verifier in this process use the provider's keys.
type ringKeys struct {
	ring *keys.Ring
	mu   sync.Mutex
	etag string
	keys *oauth.StaticKeys
}

// Key implements oauth.KeySource.
func (k *ringKeys) Key(ctx context.Context, kid, alg string) (crypto.PublicKey, error) {
	_, etag := k.ring.JWKS()
	k.mu.Lock()
	if etag != k.etag || k.keys == nil {
		set, err := oauth.NewStaticKeys(k.ring.PublicKeys())
		if err != nil {
			k.mu.Unlock()
			return nil, fmt.Errorf("%w: %w", oauth.ErrUnavailable, err)
		}
		k.keys, k.etag = set, etag
	}
	current := k.keys
	k.mu.Unlock()
	return current.Key(ctx, kid, alg)
}

package provider

import (
	"context"
	"crypto"
	"fmt"
	"sync/atomic"

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
	held atomic.Pointer[heldKeys]
}

// heldKeys are the keys of one state of the ring.
type heldKeys struct {
	etag string
	keys *oauth.StaticKeys
}

// Key implements oauth.KeySource.
func (k *ringKeys) Key(ctx context.Context, kid, alg string) (crypto.PublicKey, error) {
	_, etag := k.ring.JWKS()
	held := k.held.Load()
	if held == nil || held.etag != etag {
		set, err := oauth.NewStaticKeys(k.ring.PublicKeys())
		if err != nil {
			return nil, fmt.Errorf("%w: %w", oauth.ErrUnavailable, err)
		}
		// Of two that do this at once either may stay: the tag is compared each time.
		held = &heldKeys{etag, set}
		k.held.Store(held)
	}
	return held.keys.Key(ctx, kid, alg)
}

package oauthcore

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/oauth"
)

// errAssertion is the one answer to every assertion that is not good, whoever sent
// it and whatever is wrong with it.
func errAssertion(cause error) *oauth.Error {
	return oauth.NewError(oauth.CodeInvalidClient, "The client is unknown, is not registered for private_key_jwt, or its assertion is not good: "+
		"client_assertion_type is "+oauth.AssertionType+"; a registered key signed it, which kid names; iss, sub and any client_id are the client_id; "+
		"aud is the issuer or the token endpoint alone; exp is at most ten minutes ahead; jti is new.").WithCause(cause)
}

// authenticateByAssertion is AuthenticateClient for private_key_jwt (RFC 7523
// section 2.2). Nothing is asked of the store before all but one thing is known to be
// right: that the assertion is new.
func (c *Core) authenticateByAssertion(r *http.Request, form url.Values) (*Client, *oauth.Error) {
	if len(r.Header.Values("Authorization")) > 0 || form.Has("client_secret") {
		return nil, oauth.NewError(oauth.CodeInvalidRequest, "Use one client authentication method: a client_assertion, or the Authorization header, or client_secret.")
	}
	if form.Get("client_assertion_type") != oauth.AssertionType {
		return nil, errAssertion(errors.New("client_assertion_type is another one"))
	}
	assertion, err := oauth.ParseClientAssertion(form.Get("client_assertion"))
	if err != nil {
		return nil, errAssertion(err)
	}
	if form.Has("client_id") && form.Get("client_id") != assertion.ClientID() {
		return nil, errAssertion(errors.New("client_id is not the assertion's"))
	}
	keys := &claimedKeys{nobody: c.nobody.keys}
	client, ok := c.clients.Lookup(assertion.ClientID())
	if ok && client.keys != nil {
		keys.client = client
	}
	err = assertion.Verify(r.Context(), oauth.AssertionRules{
		Audiences: []string{c.issuer, c.issuer + "/oauth2/token"}, Algorithms: config.AssertionAlgorithms(), Now: c.now(),
	}, keys)
	switch {
	case errors.Is(err, oauth.ErrInvalidToken):
		return nil, errAssertion(errors.Join(err, keys.missing))
	case err != nil:
		return nil, Outage(fmt.Errorf("client %q: %w", assertion.ClientID(), err)).
			WithDescription("The client's keys cannot be fetched from its jwks_uri right now; try again in a few seconds.")
	case keys.missing != nil: // nobody signs with nobody's keys
		return nil, errAssertion(keys.missing)
	}
	// The assertion is spent here.
	err = c.spendOnce(r.Context(), "assertion", client.ID, assertion.ID(), assertion.Until())
	switch {
	case errors.Is(err, errSpent):
		return nil, errAssertion(err)
	case err != nil:
		return nil, Outage(err)
	}
	return client, nil
}

// claimedKeys are the keys of the client that an assertion says it is from. Where
// there is none that fits it answers with nobody's, so that a signature is checked
// whoever was named: how long the answer takes does not tell who is registered, or
// for what. Keys that have to be fetched still do.
type claimedKeys struct {
	client  *Client // nil unless it is registered for assertions
	nobody  oauth.KeySource
	missing error // why the key is nobody's
}

// Key implements oauth.KeySource.
func (k *claimedKeys) Key(ctx context.Context, kid, alg string) (crypto.PublicKey, error) {
	switch {
	case k.client == nil:
		k.missing = errors.New("the client is unknown or has another method")
	case k.client.TokenEndpointAuthSigningAlg != "" && k.client.TokenEndpointAuthSigningAlg != alg:
		k.missing = errors.New("the client is registered for another alg")
	default:
		key, err := k.client.keys.Key(ctx, kid, alg)
		if !errors.Is(err, oauth.ErrUnknownKey) {
			return key, err
		}
		k.missing = err
	}
	return k.nobody.Key(ctx, kid, alg)
}

// nobodysKeys are public keys to which there are no private ones, one for each
// algorithm.
type nobodysKeys map[string]crypto.PublicKey

func newNobodysKeys() (nobodysKeys, error) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("nobody's keys: %w", err)
	}
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("nobody's keys: %w", err)
	}
	// To check a signature with it, a modulus need not be the product of two primes,
	// which take long to find.
	n := make([]byte, 2048/8)
	rand.Read(n) // crypto/rand.Read never fails
	n[0] |= 0x80
	n[len(n)-1] |= 1
	long := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}
	return nobodysKeys{"ES256": ec.Public(), "EdDSA": ed, "RS256": long, "PS256": long}, nil
}

// Key implements oauth.KeySource.
func (k nobodysKeys) Key(_ context.Context, _, alg string) (crypto.PublicKey, error) {
	if key := k[alg]; key != nil {
		return key, nil
	}
	return nil, oauth.ErrUnknownKey
}

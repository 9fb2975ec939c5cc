package oauthcore

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"strings"

	"github.com/ory/fosite"

	"github.com/lettergate/lettergate/provider/internal/fositestore"
)

// pkceHandler is RFC 7636 with S256 only. It stands in for fosite's handler, which
// forgets the challenge before it compares, so that a second try needs no verifier.
// Here the challenge is part of the grant, and a wrong verifier ends the grant.
type pkceHandler struct{ grants *fositestore.Store }

var (
	_ fosite.AuthorizeEndpointHandler = pkceHandler{}
	_ fosite.TokenEndpointHandler     = pkceHandler{}
)

// HandleAuthorizeEndpointRequest notes the challenge, which ParseAuthorize checked.
func (pkceHandler) HandleAuthorizeEndpointRequest(ctx context.Context, r fosite.AuthorizeRequester, _ fosite.AuthorizeResponder) error {
	if g := fositestore.UnitOf(ctx).Grant(); g != nil {
		g.Challenge = r.GetRequestForm().Get("code_challenge")
	}
	return nil
}

// CanSkipClientAuth implements fosite.TokenEndpointHandler.
func (pkceHandler) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

// CanHandleTokenEndpointRequest implements fosite.TokenEndpointHandler.
func (pkceHandler) CanHandleTokenEndpointRequest(_ context.Context, r fosite.AccessRequester) bool {
	return r.GetGrantTypes().ExactOne("authorization_code")
}

// HandleTokenEndpointRequest compares the verifier. It runs after the code was
// matched, so only who holds the code can end the grant by a wrong one.
func (pkceHandler) HandleTokenEndpointRequest(ctx context.Context, r fosite.AccessRequester) error {
	unit := fositestore.UnitOf(ctx)
	verifier := r.GetRequestForm().Get("code_verifier")
	r.GetRequestForm().Del("code_verifier")
	challenge := unit.Grant().Challenge
	switch {
	case challenge == "" && verifier == "":
		return nil // a confidential client that may leave PKCE out, and did
	case challenge == "":
		unit.Revoke()
		return fosite.ErrInvalidGrant.WithHint("The authorization request carried no code_challenge, so code_verifier cannot be right.")
	case verifier == "":
		unit.Revoke()
		return fosite.ErrInvalidGrant.WithHint("Send the code_verifier that belongs to the code_challenge of the authorization request.")
	}
	if !validVerifier(verifier) || !matchesChallenge(verifier, challenge) {
		unit.Revoke()
		return fosite.ErrInvalidGrant.WithHint("The code_verifier does not belong to the code_challenge of the authorization request.")
	}
	return nil
}

// PopulateTokenEndpointResponse implements fosite.TokenEndpointHandler.
func (pkceHandler) PopulateTokenEndpointResponse(context.Context, fosite.AccessRequester, fosite.AccessResponder) error {
	return nil
}

// validVerifier is the grammar of RFC 7636 section 4.1.
func validVerifier(v string) bool {
	return len(v) >= 43 && len(v) <= 128 && strings.Trim(v, unreserved) == ""
}

// validChallenge is what S256 makes: 32 bytes in base64url, in their one spelling.
func validChallenge(c string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(c)
	return err == nil && len(raw) == sha256.Size && len(c) == 43
}

func matchesChallenge(verifier, challenge string) bool {
	sum := sha256.Sum256([]byte(verifier))
	return subtle.ConstantTimeCompare([]byte(base64.RawURLEncoding.EncodeToString(sum[:])), []byte(challenge)) == 1
}

const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"

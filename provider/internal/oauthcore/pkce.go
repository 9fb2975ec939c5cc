package oauthcore

import (
	"context"
	"github.com/lettergate/lettergate/provider/internal/pkce"

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
	if !pkce.Proves(verifier, challenge) {
		unit.Revoke()
		return fosite.ErrInvalidGrant.WithHint("The code_verifier does not belong to the code_challenge of the authorization request.")
	}
	return nil
}

// PopulateTokenEndpointResponse implements fosite.TokenEndpointHandler.
func (pkceHandler) PopulateTokenEndpointResponse(context.Context, fosite.AccessRequester, fosite.AccessResponder) error {
	return nil
}

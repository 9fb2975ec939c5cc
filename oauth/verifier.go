package oauth

import (
	"context"
	"errors"
)

// A Verifier decides whether an access token, as it stood in the request, is
// good for this service now.
//
// It returns the token's claims, or an error for which [errors.Is] finds one of:
// [ErrInvalidToken] when the token is bad, [ErrUnavailable] when it could not be
// judged, or the context's own error when the caller stopped waiting. Any other
// error is a defect and never lets a request pass. Implementations are safe for
// concurrent use.
type Verifier interface {
	Verify(ctx context.Context, token string) (*AccessToken, error)
}

// A BoundVerifier also judges tokens that are bound to a key of their bearer
// ("cnf", RFC 7800). Verify refuses these, so that whoever knows nothing of proofs
// cannot take one for a plain bearer token.
type BoundVerifier interface {
	Verifier

	// VerifyBound is Verify without that refusal. The caller has to see the proof
	// that [AccessToken.Confirmation] asks for before it lets the request pass.
	VerifyBound(ctx context.Context, token string) (*AccessToken, error)
}

var (
	// ErrInvalidToken says that the token is not good here, whatever the
	// reason: the client is to get another one. The reason is in the error's
	// text, for logs; the client is not told, and the text never contains a
	// part of the token.
	ErrInvalidToken = errors.New("oauth: invalid token")

	// ErrUnavailable says that the token could not be judged, because what is
	// needed for it cannot be had at the moment. It may well be good.
	ErrUnavailable = errors.New("oauth: tokens cannot be verified at the moment")

	// ErrUnknownKey is the answer of a [KeySource] that has no key, or not
	// exactly one, for what it was asked.
	ErrUnknownKey = errors.New("oauth: unknown key")

	// ErrNoClaim is the answer of [AccessToken.Claim] when the token does not
	// have the claim.
	ErrNoClaim = errors.New("oauth: no such claim")
)

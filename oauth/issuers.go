package oauth

import (
	"context"
	"errors"
	"fmt"
	"maps"
)

// IssuersConfig says whose tokens an [Issuers] accepts. One of the two is required.
type IssuersConfig struct {
	// Verifiers judge the tokens of each issuer, by its exact name: the issuers' keys,
	// and the audiences that this service has at them, stay apart.
	Verifiers map[string]Verifier
	// Opaque judges tokens that are no JWTs, so that nobody can be asked who issued
	// them: usually an [IntrospectionVerifier]. Default they are refused.
	Opaque Verifier
}

// Issuers accepts the tokens of several issuers. It is a [BoundVerifier].
//
// The issuer that a token claims decides who judges it, and nothing else: its verifier
// looks at the claim again, on what was signed. A token that claims an issuer nobody
// here knows is refused before a key is asked for.
type Issuers struct{ cfg IssuersConfig }

// NewIssuers returns a verifier for cfg, or an error that says which setting is wrong.
func NewIssuers(cfg IssuersConfig) (*Issuers, error) {
	if len(cfg.Verifiers) == 0 && cfg.Opaque == nil {
		return nil, errors.New("oauth: several issuers need a verifier for at least one")
	}
	cfg.Verifiers = maps.Clone(cfg.Verifiers)
	for issuer, v := range cfg.Verifiers {
		if issuer == "" || v == nil {
			return nil, errors.New("oauth: several issuers: a name or a verifier is missing")
		}
		if jwt, ok := v.(*JWTVerifier); ok && jwt.issuer != issuer {
			return nil, fmt.Errorf("oauth: the verifier for the issuer %q is for the tokens of %q", issuer, jwt.issuer)
		}
	}
	return &Issuers{cfg}, nil
}

// Verify implements [Verifier].
func (i *Issuers) Verify(ctx context.Context, token string) (*AccessToken, error) {
	return i.verify(token, func(v Verifier) (*AccessToken, error) { return v.Verify(ctx, token) })
}

// VerifyBound implements [BoundVerifier]. The tokens of a verifier that is none are
// judged by its Verify.
func (i *Issuers) VerifyBound(ctx context.Context, token string) (*AccessToken, error) {
	return i.verify(token, func(v Verifier) (*AccessToken, error) {
		if bound, ok := v.(BoundVerifier); ok {
			return bound.VerifyBound(ctx, token)
		}
		return v.Verify(ctx, token)
	})
}

// verify has a token judged by whom it belongs to.
func (i *Issuers) verify(token string, by func(Verifier) (*AccessToken, error)) (*AccessToken, error) {
	issuer, isJWT, err := claimedIssuer(token)
	if err != nil {
		return nil, invalid(err)
	}
	v := i.cfg.Opaque
	if isJWT {
		v = i.cfg.Verifiers[issuer]
	}
	switch {
	case v == nil && isJWT:
		return nil, invalid(errors.New("iss is none of the issuers"))
	case v == nil:
		return nil, invalid(errors.New("the token is no JWT"))
	}
	t, err := by(v)
	if err == nil && t != nil && isJWT && t.Issuer() != issuer {
		return nil, invalid(errors.New("iss is another issuer than the verifier's"))
	}
	return t, err
}

// claimedIssuer returns what a token that looks like a JWT says in iss, proven by
// nobody.
func claimedIssuer(token string) (issuer string, isJWT bool, err error) {
	if len(token) > maxTokenBytes {
		return "", false, errors.New("the token is too long")
	}
	parts, err := cutToken(token)
	if err != nil {
		return "", false, nil
	}
	var space [1024]byte // most claims fit
	payload, err := decodePart(space[:], parts.payload)
	if err != nil {
		return "", false, nil
	}
	claims, err := parseMembers(payload)
	if err != nil {
		return "", false, nil
	}
	issuer = claims.text("iss")
	return issuer, true, claims.err
}

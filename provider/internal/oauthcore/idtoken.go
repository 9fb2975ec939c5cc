package oauthcore

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/openid"

	"github.com/lettergate/lettergate/provider/internal/fositestore"
)

const typeID = "JWT"

// IDClaims are what an ID token says (OpenID Connect Core section 2).
type IDClaims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  audience `json:"aud"`
	ExpiresAt int64    `json:"exp"`
	IssuedAt  int64    `json:"iat"`
	AuthTime  int64    `json:"auth_time"`
	Nonce     string   `json:"nonce,omitempty"`
	ACR       string   `json:"acr,omitempty"`
	AMR       []string `json:"amr,omitempty"`
	ATHash    string   `json:"at_hash,omitempty"`
	SessionID string   `json:"sid,omitempty"`
}

// idTokenStrategy makes ID tokens for fosite.
type idTokenStrategy struct{ core *Core }

var _ openid.OpenIDConnectTokenStrategy = idTokenStrategy{}

// GenerateIDToken implements openid.OpenIDConnectTokenStrategy.
func (s idTokenStrategy) GenerateIDToken(ctx context.Context, life time.Duration, r fosite.Requester) (string, error) {
	client, ok := r.GetClient().(*Client)
	if !ok {
		return "", fmt.Errorf("client is a %T", r.GetClient())
	}
	session, ok := r.GetSession().(*fositestore.Session)
	if !ok {
		return "", fmt.Errorf("session is a %T", r.GetSession())
	}
	unit := fositestore.UnitOf(ctx)
	g := unit.Grant()
	claims := IDClaims{
		Issuer:    s.core.issuer,
		Subject:   subjectFor(client, g.Subject),
		Audience:  audience{client.ID},
		IssuedAt:  unit.Now().Unix(),
		ExpiresAt: unit.Now().Add(life).Unix(),
		AuthTime:  g.AuthTime,
		ACR:       g.ACR,
		AMR:       g.AMR,
		ATHash:    session.IDTokenClaims().AccessTokenHash,
		SessionID: g.SessionID,
	}
	// The nonce answers the authorization request; a refresh answers none
	// (OpenID Connect Core section 12.2).
	if !unit.Refreshing() {
		claims.Nonce = g.Nonce
	}
	return s.core.keys.Sign(client.IDTokenSignedResponseAlg, typeID, claims)
}

// hashHint tells fosite, by the digits of a header it never emits, which hash
// at_hash is made with: Ed25519 goes with SHA-512 (RFC 8037, OpenID Connect Core
// section 3.1.3.6).
func hashHint(alg string) string {
	if alg == "EdDSA" {
		return "Ed512"
	}
	return alg
}

// ReadIDTokenHint returns the claims of an ID token of ours, however old (OpenID
// Connect RP-Initiated Logout section 4), or ErrToken.
func (c *Core) ReadIDTokenHint(token string) (IDClaims, error) {
	_, _, raw, err := c.keys.Verify(token, typeID)
	if err != nil {
		return IDClaims{}, fmt.Errorf("%w: %w", ErrToken, err)
	}
	var claims IDClaims
	if err := json.Unmarshal(raw, &claims); err != nil || claims.Issuer != c.issuer || len(claims.Audience) != 1 {
		return IDClaims{}, ErrToken
	}
	return claims, nil
}

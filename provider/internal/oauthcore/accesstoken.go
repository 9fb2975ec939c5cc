package oauthcore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/internal/fositestore"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/users"
)

const opaquePurpose secrets.Purpose = "opaque access token"

const (
	opaquePrefix = "lga_"
	typeAccess   = "at+jwt" // RFC 9068 section 2.1
)

// clientSubject keeps the subject of a client apart from every person's (RFC 9068
// section 5, RFC 9700 section 4.15).
const clientSubject = "client:"

// ErrToken says that a string is not an access token of ours, or not any more.
var ErrToken = errors.New("not a valid access token")

// AccessClaims are what an access token says (RFC 9068 section 2.2). An opaque
// token says the same, sealed.
type AccessClaims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  audience `json:"aud"`
	ExpiresAt int64    `json:"exp"`
	IssuedAt  int64    `json:"iat"`
	ID        string   `json:"jti"`
	ClientID  string   `json:"client_id"`
	Scope     string   `json:"scope,omitempty"`
	GrantID   string   `json:"gid,omitempty"`
	SessionID string   `json:"sid,omitempty"`
	AuthTime  int64    `json:"auth_time,omitempty"`
	ACR       string   `json:"acr,omitempty"`
	AMR       []string `json:"amr,omitempty"`
}

// Scopes returns the scope claim as a list.
func (a AccessClaims) Scopes() []string { return strings.Fields(a.Scope) }

// HasScope reports whether the token has the scope.
func (a AccessClaims) HasScope(scope string) bool { return slices.Contains(a.Scopes(), scope) }

// audience is one name or a list of names, as JWTs have it.
type audience []string

func (a audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

func (a *audience) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*a = audience{""}
		return json.Unmarshal(b, &(*a)[0])
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// accessStrategy makes access tokens for fosite.
type accessStrategy struct{ core *Core }

var _ oauth2.AccessTokenStrategy = accessStrategy{}

// AccessTokenSignature implements oauth2.AccessTokenStrategy; nothing is kept by it.
func (accessStrategy) AccessTokenSignature(context.Context, string) string { return "" }

// ValidateAccessToken implements oauth2.AccessTokenStrategy; fosite is never asked.
func (accessStrategy) ValidateAccessToken(context.Context, fosite.Requester, string) error {
	return errNotByFosite
}

// GenerateAccessToken implements oauth2.AccessTokenStrategy. The claims are built
// anew for every token, from the grant and the request.
func (s accessStrategy) GenerateAccessToken(ctx context.Context, r fosite.Requester) (token, signature string, err error) {
	client, ok := r.GetClient().(*Client)
	if !ok {
		return "", "", fmt.Errorf("client is a %T", r.GetClient())
	}
	unit := fositestore.UnitOf(ctx)
	claims := AccessClaims{
		Issuer:    s.core.issuer,
		Subject:   clientSubject + client.ID,
		Audience:  audience(unit.Audience(r.GetGrantedAudience())),
		IssuedAt:  unit.Now().Unix(),
		ExpiresAt: unit.Now().Add(s.core.lives.AccessToken.Std()).Unix(),
		ID:        secrets.NewID(),
		ClientID:  client.ID,
		Scope:     strings.Join(r.GetGrantedScopes(), " "),
	}
	if g := unit.Grant(); g != nil {
		claims.Subject, claims.GrantID, claims.SessionID = subjectFor(client, g.Subject), g.ID, g.SessionID
		claims.AuthTime, claims.ACR, claims.AMR = g.AuthTime, g.ACR, g.AMR
	}
	unit.NoteAccess(claims.ExpiresAt)
	token, err = s.core.encodeAccess(client, claims)
	// fosite takes an empty signature for "no token".
	return token, claims.ID, err
}

func (c *Core) encodeAccess(client *Client, claims AccessClaims) (string, error) {
	if client.AccessTokenFormat != config.AccessTokenOpaque {
		return c.keys.Sign("ES256", typeAccess, claims)
	}
	raw, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode access token: %w", err)
	}
	return opaquePrefix + c.secrets.SealString(opaquePurpose, raw, []byte(c.issuer)), nil
}

// ReadAccessToken returns what an access token of this issuer says, or ErrToken.
// It reads no store: whether the token was revoked is what Live tells.
func (c *Core) ReadAccessToken(token string) (AccessClaims, error) {
	claims, err := c.decodeAccess(token)
	if err != nil {
		return AccessClaims{}, err
	}
	if claims.Issuer != c.issuer || claims.ID == "" || c.now().Unix() >= claims.ExpiresAt {
		return AccessClaims{}, ErrToken
	}
	return claims, nil
}

func (c *Core) decodeAccess(token string) (claims AccessClaims, err error) {
	var raw []byte
	if sealed, ok := strings.CutPrefix(token, opaquePrefix); ok {
		raw, err = c.secrets.OpenString(opaquePurpose, sealed, []byte(c.issuer))
	} else {
		_, _, raw, err = c.keys.Verify(token, typeAccess)
	}
	if err != nil {
		return claims, fmt.Errorf("%w: %w", ErrToken, err)
	}
	if err := json.Unmarshal(raw, &claims); err != nil {
		return claims, fmt.Errorf("%w: %w", ErrToken, err)
	}
	return claims, nil
}

// Live reports whether an access token that was read still holds: neither it nor
// its grant was revoked, its client is registered, and its account may sign in. The
// account is returned; a token of a client itself has none. All is asked at once.
func (c *Core) Live(ctx context.Context, claims AccessClaims) (user users.User, live bool, err error) {
	if _, ok := c.clients.Lookup(claims.ClientID); !ok {
		return users.User{}, false, nil // the client was withdrawn
	}
	account := func() (users.User, error) { return users.User{}, nil }
	if claims.GrantID != "" {
		account = Async(func() (users.User, error) { return c.account(ctx, claims.Subject) })
	}
	status, err := c.grants.Status(ctx, claims.GrantID, claims.ID)
	user, accountErr := account()
	switch {
	case err != nil:
		return users.User{}, false, err
	case status.Revoked, claims.GrantID != "" && !status.Grant.Active(), errors.Is(accountErr, errStanding):
		return users.User{}, false, nil
	case accountErr != nil:
		return users.User{}, false, accountErr
	}
	return user, true, nil
}

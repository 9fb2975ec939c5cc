package oauthcore

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ory/fosite"

	"github.com/lettergate/lettergate/provider/internal/fositestore"
)

// ACRPassword is the authentication context class of a sign-in by password: one
// factor, as strong as the password.
const ACRPassword = "urn:lettergate:acr:password"

// An Authentication is a person who has shown who they are to a door of ours that
// gives the client its tokens in the same answer.
type Authentication struct {
	Type    string // what the grant is called
	Subject string
	ACR     string
	AMR     []string
	At      time.Time

	// GrantID names the grant, so that a request which is sent again within a minute
	// is answered with tokens of the same one.
	GrantID string
}

// issueAgain is how long a request that is sent again is taken for the same one.
const issueAgain = time.Minute

// ErrIssued says that the grant was made before, and that its tokens are not given
// again: it was ended, is older than a minute, or is somebody else's.
var ErrIssued = errors.New("the grant was made before")

// Issue gives the client tokens for all the scopes that it is registered with, and
// always a refresh token. What it decided is stored before it returns. When the grant
// was made just now, the tokens are of that one; otherwise Issue returns ErrIssued.
func (c *Core) Issue(ctx context.Context, client *Client, a Authentication) (TokenResponse, error) {
	answer, err := c.issue(ctx, client, a)
	if !errors.Is(err, fositestore.ErrExists) {
		return answer, err
	}
	ctx, unit := c.grants.Begin(ctx)
	found, err := unit.Resume(ctx, a.GrantID)
	if err != nil {
		return TokenResponse{}, err
	}
	if g := unit.Grant(); found && g.ClientID == client.ID && g.Subject == a.Subject && unit.Now().Sub(time.UnixMilli(g.CreatedAt)) < issueAgain {
		return c.mint(ctx, client, unit)
	}
	return TokenResponse{}, ErrIssued
}

func (c *Core) issue(ctx context.Context, client *Client, a Authentication) (TokenResponse, error) {
	ctx, unit := c.grants.Begin(ctx)
	unit.NameGrant(a.GrantID, time.Time{})
	unit.BeginActive(fositestore.Grant{
		Type: a.Type, ClientID: client.ID, Subject: a.Subject, Scopes: slices.Clone(client.Scopes),
		Audience: slices.Clone(client.audience(nil)), AuthTime: a.At.Unix(), ACR: a.ACR, AMR: a.AMR,
	})
	answer, err := c.mint(ctx, client, unit)
	if err != nil {
		return TokenResponse{}, err
	}
	return answer, unit.Commit(ctx)
}

// mint makes the tokens of the unit's grant.
func (c *Core) mint(ctx context.Context, client *Client, unit *fositestore.Unit) (TokenResponse, error) {
	g := unit.Grant()
	request := &fosite.Request{
		ID: g.ID, RequestedAt: unit.Now(), Client: client, Session: g.Session(),
		GrantedScope: slices.Clone(g.Scopes), GrantedAudience: slices.Clone(g.Audience),
	}
	access, _, err := accessStrategy{c}.GenerateAccessToken(ctx, request)
	if err != nil {
		return TokenResponse{}, err
	}
	refresh, _, err := c.grants.GenerateRefreshToken(ctx, request)
	if err != nil {
		return TokenResponse{}, err
	}
	response := fosite.NewAccessResponse()
	response.SetAccessToken(access)
	response.SetExtra("refresh_token", refresh)
	return tokenResponse(client, response, unit, g.Scopes), nil
}

// EndGrant ends the grant that an access or refresh token of the client belongs to,
// with all that was born of it. A token that is expired ends it as well; what is no
// token of the client's ends nothing, which is no error.
func (c *Core) EndGrant(ctx context.Context, client *Client, token string) error {
	id, _, ok := c.grants.ParseRefresh(token)
	if !ok {
		claims, err := c.decodeAccess(token)
		if err != nil || claims.Issuer != c.issuer || claims.GrantID == "" {
			return nil
		}
		id = claims.GrantID
	}
	_, err := c.grants.RevokeGrant(ctx, id, func(g *fositestore.Grant) bool { return g.ClientID == client.ID })
	return err
}

// Ours reports whether the token was made by this issuer as an access token,
// whatever has become of it.
func (c *Core) Ours(token string) bool {
	claims, err := c.decodeAccess(token)
	return err == nil && claims.Issuer == c.issuer
}

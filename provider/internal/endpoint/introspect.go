package endpoint

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/lettergate/lettergate/oauth"
	"github.com/lettergate/lettergate/provider/internal/fositestore"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
)

// introspection is an active token (RFC 7662 section 2.2).
type introspection struct {
	Active    bool   `json:"active"`
	TokenType string `json:"token_type"`
	oauthcore.AccessClaims
}

// inactive is all that is said of any token that is not active for the caller.
var inactive = struct {
	Active bool `json:"active"`
}{}

// Introspect tells a confidential client about an access token of its own, or one
// whose audience it is (RFC 7662).
func (e *Endpoints) Introspect(w http.ResponseWriter, r *http.Request) {
	client, form, bad := e.confidential(w, r)
	if bad != nil {
		e.Inbound.WriteError(w, r, bad)
		return
	}
	claims, err := e.Core.ReadAccessToken(form.Get("token"))
	if err != nil || !mayRead(client, claims) {
		e.Inbound.WriteJSON(w, r, http.StatusOK, inactive)
		return
	}
	_, live, err := e.Core.Live(r.Context(), claims)
	switch {
	case err != nil:
		e.Inbound.WriteError(w, r, oauthcore.Outage(err))
	case !live:
		e.Inbound.WriteJSON(w, r, http.StatusOK, inactive)
	default:
		e.Inbound.WriteJSON(w, r, http.StatusOK, introspection{Active: true, TokenType: "Bearer", AccessClaims: claims})
	}
}

func mayRead(client *oauthcore.Client, claims oauthcore.AccessClaims) bool {
	return claims.ClientID == client.ID || slices.Contains(claims.Audience, client.ID)
}

// confidential is authenticated, for endpoints where naming a public client proves
// nothing, and with the token parameter present.
func (e *Endpoints) confidential(w http.ResponseWriter, r *http.Request) (*oauthcore.Client, url.Values, *oauth.Error) {
	client, form, bad := e.authenticated(w, r)
	switch {
	case bad != nil:
		return nil, nil, bad
	case client.Public():
		return nil, nil, oauth.NewError(oauth.CodeInvalidClient, "Only a client with credentials may ask about tokens.")
	case form.Get("token") == "":
		return nil, nil, oauth.NewError(oauth.CodeInvalidRequest, "The request has no token.")
	}
	return client, form, nil
}

// Revoke ends a token of the caller's (RFC 7009): an access token alone, a refresh
// token with its whole family. Unknown tokens are answered as revoked ones; those
// of another client are refused.
func (e *Endpoints) Revoke(w http.ResponseWriter, r *http.Request) {
	client, form, bad := e.authenticated(w, r)
	if bad == nil {
		bad = e.revoke(r, client, form.Get("token"))
	}
	if bad != nil {
		e.Inbound.WriteError(w, r, bad)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

func (e *Endpoints) revoke(r *http.Request, client *oauthcore.Client, token string) *oauth.Error {
	if token == "" {
		return oauth.NewError(oauth.CodeInvalidRequest, "The request has no token.")
	}
	foreign := oauth.NewError(oauth.CodeUnauthorizedClient, "The token belongs to another client.")
	if id, _, ok := e.Core.Grants().ParseRefresh(token); ok {
		var owner string
		_, err := e.Core.Grants().RevokeGrant(r.Context(), id, func(g *fositestore.Grant) bool {
			owner = g.ClientID
			return owner == client.ID
		})
		switch {
		case err != nil:
			return oauthcore.Outage(err)
		case owner != "" && owner != client.ID:
			return foreign
		}
		return nil
	}
	claims, err := e.Core.ReadAccessToken(token)
	switch {
	case errors.Is(err, oauthcore.ErrToken):
		return nil
	case claims.ClientID != client.ID:
		return foreign
	}
	if err := e.Core.Grants().RevokeToken(r.Context(), claims.ID, claims.ExpiresAt); err != nil {
		return oauthcore.Outage(err)
	}
	return nil
}

package oauthcore

import (
	"net/url"

	"github.com/lettergate/lettergate/oauth"
)

// A LogoutRequest is a client's wish to sign a person out (OpenID Connect
// RP-Initiated Logout section 2).
type LogoutRequest struct {
	Client      *Client // nil when the request names none
	SessionID   string  // of the ID token it came with, "" without one
	RedirectURI string  // where the person goes afterwards, "" to stay here
	State       string
}

// ParseLogout checks a logout request. A post_logout_redirect_uri is followed only
// when it is registered for a client that the request names; anything else about
// the request that is not right is an error for the person, never a redirect.
func (c *Core) ParseLogout(params url.Values) (LogoutRequest, *oauth.Error) {
	r := LogoutRequest{}
	id := params.Get("client_id")
	if hint := params.Get("id_token_hint"); hint != "" {
		claims, err := c.ReadIDTokenHint(hint)
		if err != nil {
			return r, oauth.NewError(oauth.CodeInvalidRequest, "The id_token_hint is not an ID token of this issuer.").WithCause(err)
		}
		if id != "" && id != claims.Audience[0] {
			return r, oauth.NewError(oauth.CodeInvalidRequest, "The client_id is not the one that the id_token_hint was issued to.")
		}
		id, r.SessionID = claims.Audience[0], claims.SessionID
	}
	if id != "" {
		client, ok := c.clients.Lookup(id)
		if !ok {
			return LogoutRequest{}, oauth.NewError(oauth.CodeInvalidRequest, "The client_id is not registered here.")
		}
		r.Client = client
	}
	uri := params.Get("post_logout_redirect_uri")
	if uri == "" {
		return r, nil
	}
	if r.Client == nil {
		return LogoutRequest{}, oauth.NewError(oauth.CodeInvalidRequest, "Send id_token_hint or client_id with the post_logout_redirect_uri.")
	}
	if !matchRedirectURI(r.Client.PostLogoutRedirectURIs, uri) {
		return LogoutRequest{}, oauth.NewError(oauth.CodeInvalidRequest, "The post_logout_redirect_uri is not registered for the client.")
	}
	r.RedirectURI, r.State = uri, params.Get("state")
	return r, nil
}

// Target is RedirectURI with the state, if there is one.
func (r LogoutRequest) Target() string {
	if r.State == "" {
		return r.RedirectURI
	}
	return redirectTo(r.RedirectURI, url.Values{"state": {r.State}})
}

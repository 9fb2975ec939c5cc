package oauthcore

import (
	"net/url"
	"strings"

	"github.com/lettergate/lettergate/oauth"
)

// The ways in which a client can be answered (OAuth 2.0 Multiple Response Types
// section 2.1, OAuth 2.0 Form Post Response Mode).
const (
	modeQuery    = "query"
	modeFormPost = "form_post"
)

// ResponseModes are the ways in which a client can be answered.
func ResponseModes() []string { return []string{modeQuery, modeFormPost} }

// checkResponseMode reads how the client wants to be answered. A mode that cannot be
// served is told in the query, which always can.
func checkResponseMode(r *AuthorizeRequest) *oauth.Error {
	switch r.Params.Get("response_mode") {
	case "", modeQuery:
		return nil
	case modeFormPost:
	default:
		return oauth.NewError(oauth.CodeInvalidRequest, "The response_mode here is query or form_post.")
	}
	if !strings.HasPrefix(r.RedirectURI, "https://") && !strings.HasPrefix(r.RedirectURI, "http://") {
		// A browser hands an app the bare URI, and what was posted is lost.
		return oauth.NewError(oauth.CodeInvalidRequest, "A form can be posted to an https or http redirect_uri only; send response_mode=query.")
	}
	if strings.ContainsAny(r.Params.Get("state"), "\r\n") {
		// HTML makes CR LF of every line break, and the client would get another state.
		return oauth.NewError(oauth.CodeInvalidRequest, "A form changes the line breaks of a state; send one without, or response_mode=query.")
	}
	r.FormPost = true
	return nil
}

// An AuthorizeResponse is what a client is told of its authorization request, and how:
// by a redirect to URL or, with FormPost, by a form of the Params that the person's
// browser posts to RedirectURI.
type AuthorizeResponse struct {
	RedirectURI string
	Params      url.Values
	FormPost    bool
}

// URL is where the person is redirected.
func (a AuthorizeResponse) URL() string { return redirectTo(a.RedirectURI, a.Params) }

// ErrorResponse tells the client of an error (RFC 6749 section 4.1.2.1).
func (c *Core) ErrorResponse(r *AuthorizeRequest, e *oauth.Error) AuthorizeResponse {
	params := url.Values{"error": {e.Code}}
	if e.Description != "" {
		params.Set("error_description", e.Description)
	}
	return c.respond(r, params)
}

// respond adds what every response has: iss (RFC 9207), and the state if there was one.
func (c *Core) respond(r *AuthorizeRequest, params url.Values) AuthorizeResponse {
	params.Set("iss", c.issuer)
	if state := r.Params.Get("state"); state != "" {
		params.Set("state", state)
	}
	return AuthorizeResponse{RedirectURI: r.RedirectURI, Params: params, FormPost: r.FormPost}
}

package oauthcore

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/oauth"
	"github.com/lettergate/lettergate/provider/internal/fositestore"
	"github.com/lettergate/lettergate/provider/internal/pkce"
)

// An AuthorizeRequest is an authorization request whose client and redirect URI
// are right: whatever else is wrong with it may be told to the client.
type AuthorizeRequest struct {
	Params      url.Values // as sent, checked
	Client      *Client
	RedirectURI string
	Scopes      []string
	Resources   []string
	MaxAge      time.Duration // NoMaxAge when not asked for
	HintSubject string        // the subject of id_token_hint, "" without one
	FormPost    bool          // the client is answered by a form, not by a redirect

	prompts []string
}

// NoMaxAge is the MaxAge of a request that names none.
const NoMaxAge = time.Duration(-1)

// Prompt reports whether the request asks for the prompt (OpenID Connect Core
// section 3.1.2.1): none, login, consent or select_account.
func (r *AuthorizeRequest) Prompt(name string) bool { return slices.Contains(r.prompts, name) }

// ParseAuthorize checks an authorization request. With a request and an error, the
// error is for the client, by redirect; without a request it is for the person, on
// a page, because nobody who could be redirected to is known (RFC 6749 section
// 4.1.2.1).
func (c *Core) ParseAuthorize(params url.Values) (*AuthorizeRequest, *oauth.Error) {
	client, ok := c.clients.Lookup(params.Get("client_id"))
	if !ok {
		return nil, oauth.NewError(oauth.CodeInvalidClient, "The client_id is not registered here; check it in the application's settings.")
	}
	uri := params.Get("redirect_uri")
	if uri == "" {
		return nil, oauth.NewError(oauth.CodeInvalidRequest, "The request has no redirect_uri; send one that is registered for the client.")
	}
	if !matchRedirectURI(client.RedirectURIs, uri) {
		return nil, oauth.NewError(oauth.CodeInvalidRequest, "The redirect_uri is not registered for the client; it has to match a registered one exactly.")
	}
	r := &AuthorizeRequest{Params: params, Client: client, RedirectURI: uri, MaxAge: NoMaxAge}
	for _, check := range []func(*AuthorizeRequest) *oauth.Error{
		checkResponseMode, // first: it decides how the client is told of all the others
		checkUnsupported, checkResponseType, c.checkScope, checkPKCE, c.checkResource, checkPrompt, checkMaxAge, checkNonce, c.checkHint,
	} {
		if err := check(r); err != nil {
			return r, err
		}
	}
	return r, nil
}

// Impersonable reports whether another program on the person's device could answer
// at the redirect URI: a public client there is known by nothing else. On a loopback
// issuer everything is on one device.
func (c *Core) Impersonable(r *AuthorizeRequest) bool {
	return r.Client.Public() && !strings.HasPrefix(r.RedirectURI, "https://") && strings.HasPrefix(c.issuer, "https://")
}

func checkUnsupported(r *AuthorizeRequest) *oauth.Error {
	switch p := r.Params; {
	case p.Has("request"):
		return oauth.NewError(oauth.CodeRequestNotSupported, "Request objects are not supported; send the parameters themselves.")
	case p.Has("request_uri"):
		return oauth.NewError(oauth.CodeRequestURINotSupported, "The request_uri parameter is not supported; send the parameters themselves.")
	case p.Has("registration"):
		return oauth.NewError(oauth.CodeRegistrationNotSupported, "The registration parameter is not supported.")
	}
	return nil
}

func checkResponseType(r *AuthorizeRequest) *oauth.Error {
	switch p := r.Params; {
	case !r.Client.Allows(config.GrantAuthorizationCode):
		return oauth.NewError(oauth.CodeUnauthorizedClient, "The client is not registered for the authorization_code grant.")
	case p.Get("response_type") == "":
		return oauth.NewError(oauth.CodeInvalidRequest, "The request has no response_type; send response_type=code.")
	case p.Get("response_type") != "code":
		return oauth.NewError(oauth.CodeUnsupportedResponseType, "The only response_type here is code.")
	}
	return nil
}

func (c *Core) checkScope(r *AuthorizeRequest) *oauth.Error {
	parsed, err := oauth.ParseScope(r.Params.Get("scope"))
	scopes := slices.Collect(parsed.All())
	if err != nil {
		return oauth.NewError(oauth.CodeInvalidScope, "The scope is not a list of scope names with single spaces between them.")
	}
	if !r.Client.AllowsScopes(scopes) {
		return oauth.NewError(oauth.CodeInvalidScope, "The client is not registered for one of the scopes.")
	}
	r.Scopes = scopes
	return nil
}

func checkPKCE(r *AuthorizeRequest) *oauth.Error {
	challenge, method := r.Params.Get("code_challenge"), r.Params.Get("code_challenge_method")
	switch {
	case challenge == "" && method == "" && !r.Client.Public() && r.Client.PKCE == config.PKCEOptional:
		return nil
	case challenge == "":
		return oauth.NewError(oauth.CodeInvalidRequest, "The request has no code_challenge; PKCE with code_challenge_method=S256 is required.")
	case method != "S256":
		return oauth.NewError(oauth.CodeInvalidRequest, "Send code_challenge_method=S256; no other method is supported.")
	case !pkce.ValidChallenge(challenge):
		return oauth.NewError(oauth.CodeInvalidRequest, "The code_challenge is not a SHA-256 in base64url without padding.")
	}
	return nil
}

func (c *Core) checkResource(r *AuthorizeRequest) *oauth.Error {
	r.Resources = r.Params["resource"]
	return c.checkResources(r.Client, r.Resources)
}

// checkResources is RFC 8707 section 2 for a client whose resources are registered.
func (c *Core) checkResources(client *Client, resources []string) *oauth.Error {
	if len(resources) > 16 || slices.ContainsFunc(resources, func(s string) bool { return !slices.Contains(client.audience(nil), s) }) {
		return oauth.NewError(oauth.CodeInvalidTarget, "The client is not registered for the resource.")
	}
	return nil
}

func checkPrompt(r *AuthorizeRequest) *oauth.Error {
	r.prompts = strings.Fields(r.Params.Get("prompt"))
	for _, p := range r.prompts {
		if !slices.Contains([]string{"none", "login", "consent", "select_account"}, p) {
			return oauth.NewError(oauth.CodeInvalidRequest, "The prompt is none, or some of login, consent and select_account.")
		}
	}
	if r.Prompt("none") && len(r.prompts) > 1 {
		return oauth.NewError(oauth.CodeInvalidRequest, "prompt=none cannot be combined with another prompt.")
	}
	return nil
}

func checkMaxAge(r *AuthorizeRequest) *oauth.Error {
	raw := r.Params.Get("max_age")
	if raw == "" {
		return nil
	}
	seconds, err := strconv.ParseUint(raw, 10, 31)
	if err != nil {
		return oauth.NewError(oauth.CodeInvalidRequest, "The max_age is a number of seconds, 0 or more.")
	}
	r.MaxAge = time.Duration(seconds) * time.Second
	return nil
}

// checkNonce bounds what is copied into the ID token.
func checkNonce(r *AuthorizeRequest) *oauth.Error {
	if len(r.Params.Get("nonce")) > 1024 {
		return oauth.NewError(oauth.CodeInvalidRequest, "The nonce is longer than 1024 bytes.")
	}
	return nil
}

func (c *Core) checkHint(r *AuthorizeRequest) *oauth.Error {
	hint := r.Params.Get("id_token_hint")
	if hint == "" {
		return nil
	}
	claims, err := c.ReadIDTokenHint(hint)
	if err != nil || claims.Audience[0] != r.Client.ID {
		return oauth.NewError(oauth.CodeInvalidRequest, "The id_token_hint is not an ID token that this issuer gave to the client.").WithCause(err)
	}
	r.HintSubject = claims.Subject
	return nil
}

// An Approval is who allowed an authorization request.
type Approval struct {
	Subject   string
	SessionID string
	AuthTime  time.Time
	ACR       string
	AMR       []string
	Consent   string // by which the person has allowed it, now or before, and may withdraw it; "" for none
	Decision  string // names what a person decided, so that it makes one code however often it is submitted; "" for none
}

// IssueCode grants an authorization request and returns what the client is told: the
// code. It returns fositestore.ErrExists when this decision has issued a code already,
// and an *oauth.Error otherwise.
func (c *Core) IssueCode(ctx context.Context, r *AuthorizeRequest, a Approval) (AuthorizeResponse, error) {
	ctx, unit := c.grants.Begin(ctx)
	if a.Decision != "" {
		unit.NameGrant(a.Decision, unit.Now().Add(interactionLife))
	}
	ar, err := c.engine.NewAuthorizeRequest(ctx, fositeAuthorize(r))
	if err != nil {
		return AuthorizeResponse{}, fromFosite(err)
	}
	for _, scope := range r.Scopes {
		ar.GrantScope(scope)
	}
	for _, resource := range r.Client.audience(r.Resources) {
		ar.GrantAudience(resource)
	}
	resp, err := c.engine.NewAuthorizeResponse(ctx, ar, &fositestore.Session{
		Subject: a.Subject, AuthTime: a.AuthTime, RequestedAt: unit.Now(), ACR: a.ACR, AMR: a.AMR,
		SessionID: a.SessionID, Consent: a.Consent, Nonce: r.Params.Get("nonce"),
	})
	if err != nil {
		return AuthorizeResponse{}, fromFosite(err)
	}
	switch err := unit.Commit(ctx); {
	case errors.Is(err, fositestore.ErrExists):
		return AuthorizeResponse{}, err
	case err != nil:
		return AuthorizeResponse{}, Outage(err)
	}
	return c.respond(r, url.Values{"code": {resp.GetCode()}}), nil
}

// fositeAuthorize renders the request for fosite: what was decided here already
// (state, prompt, max_age, hints, resources) is not decided there again.
func fositeAuthorize(r *AuthorizeRequest) *http.Request {
	form := url.Values{}
	for _, name := range []string{"client_id", "redirect_uri", "response_type", "scope", "code_challenge", "code_challenge_method"} {
		if r.Params.Has(name) {
			form.Set(name, r.Params.Get(name))
		}
	}
	form.Set("state", "-") // fosite demands one; the client's own is added to the redirect
	return &http.Request{Method: http.MethodGet, Header: http.Header{}, URL: &url.URL{}, Form: form, PostForm: url.Values{}}
}

package oauthcore

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ory/fosite"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/oauth"
	"github.com/lettergate/lettergate/provider/internal/fositestore"
	"github.com/lettergate/lettergate/provider/users"
)

// A TokenResponse is the successful answer of the token endpoint (RFC 6749 section
// 5.1, OpenID Connect Core section 3.1.3.3).
type TokenResponse struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token,omitempty"`
	IDToken      string `json:"id_token,omitempty"`
	Scope        string `json:"scope,omitempty"`

	// Subject is who the access token is about, for doors that say it. Empty for a
	// client's own token.
	Subject string `json:"-"`
}

// GrantTypes are the grant types that the token endpoint knows.
func GrantTypes() []string {
	return []string{config.GrantAuthorizationCode, config.GrantRefreshToken, config.GrantClientCredentials, config.GrantEmailCaptcha}
}

// Token answers a token request of an authenticated client. Whatever it decided
// about the grant is stored before it returns.
func (c *Core) Token(ctx context.Context, client *Client, form url.Values) (TokenResponse, *oauth.Error) {
	grant := form.Get("grant_type")
	if bad := c.checkTokenRequest(client, grant, form); bad != nil {
		return TokenResponse{}, bad
	}
	ctx = context.WithValue(ctx, clientKey{}, client)
	ctx, unit := c.grants.Begin(ctx)
	request, err := c.engine.NewAccessRequest(ctx, fositeToken(form), &fositestore.Session{})
	if err != nil {
		return TokenResponse{}, c.refuse(ctx, unit, client, err)
	}
	if bad := c.prepare(unit, client, grant, request, form); bad != nil {
		return TokenResponse{}, bad
	}
	response, err := c.engine.NewAccessResponse(ctx, request)
	if err != nil {
		return TokenResponse{}, c.refuse(ctx, unit, client, err)
	}
	answer := tokenResponse(client, response, unit, request.GetGrantedScopes())
	if unit.Grant() == nil {
		return answer, nil // a token of the client itself: nothing to store
	}
	successor, bad := c.settle(ctx, unit)
	if bad != nil {
		return TokenResponse{}, bad
	}
	if successor != "" {
		answer.RefreshToken = successor
	}
	return answer, nil
}

func (c *Core) checkTokenRequest(client *Client, grant string, form url.Values) *oauth.Error {
	switch {
	case grant == "":
		return oauth.NewError(oauth.CodeInvalidRequest, "The request has no grant_type.")
	case !slices.Contains(GrantTypes(), grant):
		return oauth.NewError(oauth.CodeUnsupportedGrantType, "The grant_type is not supported; the metadata lists those that are.")
	case !client.Allows(grant):
		return oauth.NewError(oauth.CodeUnauthorizedClient, "The client is not registered for this grant_type.")
	}
	scopes, err := oauth.ParseScope(form.Get("scope"))
	if err != nil || (grant != config.GrantAuthorizationCode && !client.AllowsScopes(slices.Collect(scopes.All()))) {
		return oauth.NewError(oauth.CodeInvalidScope, "The scope is malformed, or the client is not registered for one of the scopes.")
	}
	for grantType, name := range map[string]string{config.GrantAuthorizationCode: "code", config.GrantRefreshToken: "refresh_token"} {
		if grant == grantType && form.Get(name) == "" {
			return oauth.NewError(oauth.CodeInvalidRequest, "The request has no "+name+".")
		}
	}
	return c.checkResources(client, form["resource"])
}

// refuse translates fosite's refusal, after it stored what the refusal decided: a
// replayed code or token, or a wrong verifier, ends the grant.
func (c *Core) refuse(ctx context.Context, unit *fositestore.Unit, client *Client, err error) *oauth.Error {
	if unit.Err() != nil {
		return Outage(unit.Err())
	}
	if unit.Reused() {
		if err := c.endReused(ctx, unit); err != nil {
			return Outage(err)
		}
	} else if err := unit.Commit(ctx); err != nil && !errors.Is(err, fositestore.ErrLost) {
		return Outage(err)
	}
	refusal := fromFosite(err)
	switch {
	case refusal.Code == oauth.CodeServerError && outage(err):
		// fosite's error says no more than its code.
		if rfc := (*fosite.RFC6749Error)(nil); errors.As(err, &rfc) && rfc.Unwrap() != nil {
			err = rfc.Unwrap()
		}
		return Outage(err)
	case unit.Refreshing() && (refusal.Code == oauth.CodeInvalidScope || refusal.Code == oauth.CodeInvalidRequest):
		// Not what the request asks for but what was granted: it was taken from the
		// client's registration since.
		return oauth.NewError(oauth.CodeInvalidGrant, "The client may not have what was granted any more.").WithCause(err)
	}
	return refusal
}

// prepare completes what fosite leaves to the server between the two halves of a
// token request: what is granted, and for whom.
func (c *Core) prepare(unit *fositestore.Unit, client *Client, grant string, r fosite.AccessRequester, form url.Values) *oauth.Error {
	request, ok := r.(*fosite.AccessRequest)
	session, ok2 := r.GetSession().(*fositestore.Session)
	if !ok || !ok2 {
		return oauth.NewError(oauth.CodeServerError, "The request could not be completed.")
	}
	session.IDTokenHeaders().Extra["alg"] = hashHint(client.IDTokenSignedResponseAlg)
	resources := form["resource"]
	switch grant {
	case config.GrantClientCredentials:
		request.GrantedScope = slices.Clone(request.RequestedScope)
		request.GrantedAudience = client.audience(resources)
		if slices.Contains(request.GrantedScope, "openid") || slices.Contains(request.GrantedScope, "offline_access") {
			return oauth.NewError(oauth.CodeInvalidScope, "A client's own token has no person in it: leave out openid and offline_access.")
		}
	case config.GrantEmailCaptcha:
		request.GrantedAudience = client.audience(resources)
		unit.BeginActive(fositestore.Grant{
			Type: grant, ClientID: client.ID, Subject: session.Subject, Scopes: slices.Clone(request.GrantedScope),
			Audience: slices.Clone(request.GrantedAudience), AuthTime: session.AuthTime.Unix(), ACR: session.ACR, AMR: session.AMR,
		})
	case config.GrantRefreshToken:
		if asked := strings.Fields(form.Get("scope")); len(asked) > 0 {
			for _, scope := range asked {
				if !request.GrantedScope.Has(scope) {
					return oauth.NewError(oauth.CodeInvalidScope, "The scope may only narrow what was granted.")
				}
			}
			request.GrantedScope = asked
		}
		return narrowAudience(unit, resources)
	case config.GrantAuthorizationCode:
		return narrowAudience(unit, resources)
	}
	return nil
}

// narrowAudience lets a token be for some of the resources that were granted (RFC
// 8707 section 2.2).
func narrowAudience(unit *fositestore.Unit, asked []string) *oauth.Error {
	for _, resource := range asked {
		if !slices.Contains(unit.Grant().Audience, resource) {
			return oauth.NewError(oauth.CodeInvalidTarget, "The resource was not part of the grant.")
		}
	}
	unit.NarrowAudience(asked)
	return nil
}

// settle stores the grant, and makes sure that its account may still sign in, that
// the session it came from is still open, and that the consent it rests on still holds.
//
// A refresh within a grace does both at the same time: should the asking fail, the
// client tries again and gets the same successor. Where a second try would be taken
// for a theft (a code, a refresh without grace), the asking comes first, so that an
// outage spends nothing.
func (c *Core) settle(ctx context.Context, unit *fositestore.Unit) (successor string, bad *oauth.Error) {
	before := *unit.Grant() // Commit changes the unit's own
	spends := unit.Spends()
	standing := Async(func() (none, error) { return none{}, c.checkStanding(ctx, before, spends) })
	if spends || c.lives.RefreshGrace.Std() == 0 {
		if _, err := standing(); err != nil && !errors.Is(err, errStanding) {
			return "", Outage(err)
		}
	}
	commitErr := unit.Commit(ctx)
	_, err := standing()
	switch {
	case errors.Is(err, errStanding):
		if _, err := c.grants.EndGrant(ctx, before.ID); err != nil {
			return "", Outage(err)
		}
		return "", oauth.NewError(oauth.CodeInvalidGrant, "The account is closed, or the person has signed out or does not allow this any more.").WithCause(err)
	case err != nil:
		return "", Outage(err)
	case commitErr == nil:
		return "", nil
	case !errors.Is(commitErr, fositestore.ErrLost):
		return "", Outage(commitErr)
	}
	if unit.Refreshing() {
		successor, err := unit.Rejoin(ctx)
		if err == nil {
			return successor, nil
		}
		if !errors.Is(err, fositestore.ErrLost) {
			return "", Outage(err)
		}
	}
	return "", oauth.NewError(oauth.CodeInvalidGrant, "Another request with the same code or refresh token was first.").WithCause(commitErr)
}

// errStanding says that nobody stands behind a grant any more.
var errStanding = errors.New("the account cannot sign in, its session is over, or its consent is withdrawn")

// checkStanding asks, all at once, whether the grant's account may sign in; unless the
// grant may outlive it, and its code is spent already, whether its session is open; and if it rests on a consent,
// whether that one covers it still. A code that was issued while its session was being ended, or
// the consent withdrawn, may have been missed when the grants were revoked.
func (c *Core) checkStanding(ctx context.Context, g fositestore.Grant, spends bool) error {
	alive, allowed := yes, yes
	if g.SessionID != "" && (spends || !g.Offline()) {
		alive = Async(func() (bool, error) { return c.session.Alive(ctx, g.SessionID) })
	}
	if g.Consent {
		allowed = Async(func() (bool, error) {
			id, err := c.consent.Covers(ctx, g.Subject, g.ClientID, g.Scopes)
			return id != "" && id == g.ConsentID, err
		})
	}
	_, err := c.account(ctx, g.Subject)
	for _, wait := range []func() (bool, error){alive, allowed} {
		holds, askErr := wait()
		if askErr == nil && !holds {
			askErr = errStanding
		}
		err = errors.Join(err, askErr)
	}
	return err
}

func yes() (bool, error) { return true, nil }

// account returns an account that may sign in, or errStanding.
func (c *Core) account(ctx context.Context, subject string) (users.User, error) {
	user, err := c.users.BySubject(ctx, subject)
	if errors.Is(err, users.ErrNotFound) || err == nil && user.Disabled {
		return users.User{}, errStanding
	}
	return user, err
}

func tokenResponse(client *Client, r fosite.AccessResponder, unit *fositestore.Unit, scopes []string) TokenResponse {
	answer := TokenResponse{
		AccessToken: r.GetAccessToken(),
		TokenType:   "Bearer",
		ExpiresIn:   max(0, unit.AccessExpires()-unit.Now().Unix()),
		Scope:       strings.Join(scopes, " "),
	}
	if g := unit.Grant(); g != nil {
		answer.Subject = subjectFor(client, g.Subject)
	}
	answer.RefreshToken, _ = r.GetExtra("refresh_token").(string)
	answer.IDToken, _ = r.GetExtra("id_token").(string)
	return answer
}

// fositeToken renders a checked form for fosite, which gets no header and no body
// to make anything of.
func fositeToken(form url.Values) *http.Request {
	own := url.Values{}
	for name, values := range form {
		own[name] = slices.Clone(values)
	}
	// Decided here: audiences come from resource, and the credentials were checked.
	for _, name := range []string{"audience", "resource", "client_secret", "client_assertion", "client_assertion_type"} {
		own.Del(name)
	}
	return &http.Request{Method: http.MethodPost, Header: http.Header{}, URL: &url.URL{}, Form: own, PostForm: own}
}

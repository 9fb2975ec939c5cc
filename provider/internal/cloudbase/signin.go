package cloudbase

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/oauth"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/password"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/internal/verification"
	"github.com/lettergate/lettergate/provider/mail"
	"github.com/lettergate/lettergate/provider/users"
)

// A tokens is the contract's token response. The SDK replaces what it has by the
// whole of it, so none of its fields may be missing.
type tokens struct {
	TokenType    string `json:"token_type"`
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	ExpiresIn    int64  `json:"expires_in"` // seconds
	Scope        string `json:"scope"`
	Subject      string `json:"sub"`
}

const grantPurpose secrets.Purpose = "cloudbase grant"

// grantID names the grant of a sign-in: the same proof, or the same request sent
// again, gives the same one.
func (a *API) grantID(parts ...string) (string, error) {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	mac, err := a.Secrets.MAC(a.Secrets.Current(), grantPurpose, sum[:])
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(mac[:16]), nil
}

// issue signs in the person who has proven the mailbox.
func (a *API) issue(c *call, u users.User, box verification.Mailbox) (tokens, error) {
	id, err := a.grantID("mailbox", box.ID)
	if err != nil {
		return tokens{}, err
	}
	answer, err := a.grant(c, oauthcore.Authentication{
		Type: GrantType, Subject: u.Subject, ACR: oauthcore.ACREmail, AMR: []string{"otp"}, At: box.At, GrantID: id,
	})
	if errors.Is(err, oauthcore.ErrIssued) {
		err = errToken().because(err) // a proof signs in once, and not again when that was ended
	}
	return answer, err
}

func (a *API) grant(c *call, who oauthcore.Authentication) (tokens, error) {
	answer, err := a.Core.Issue(c.Context(), c.client, who)
	if err != nil {
		return tokens{}, err
	}
	return response(answer), nil
}

func response(t oauthcore.TokenResponse) tokens {
	return tokens{t.TokenType, t.AccessToken, t.RefreshToken, t.ExpiresIn, t.Scope, t.Subject}
}

type signInRequest struct {
	Username text `json:"username"`
	Password text `json:"password"`
	Token    text `json:"verification_token"`
}

// signIn is POST signin: by a proven mailbox, or by password.
func (a *API) signIn(c *call, req signInRequest) (tokens, error) {
	if req.Token.value != "" {
		return a.signInByMailbox(c, req)
	}
	switch {
	case req.Username.value == "":
		return tokens{}, errMissing("username")
	case req.Password.value == "":
		return tokens{}, errMissing("password")
	}
	return a.signInByPassword(c, req)
}

func (a *API) signInByMailbox(c *call, req signInRequest) (tokens, error) {
	box, err := a.mailbox(c, req.Token)
	if err != nil {
		return tokens{}, err
	}
	u, err := a.Users.ByEmail(c.Context(), box.Identity)
	if errors.Is(err, users.ErrNotFound) {
		return tokens{}, errCredentials().because(err)
	}
	if err != nil {
		return tokens{}, err
	}
	if name := req.Username.value; name != "" && !calls(name, u) {
		return tokens{}, errTokenOf()
	}
	return a.signInProven(c, u, box)
}

// calls reports whether name is a name of the account.
func calls(name string, u users.User) bool {
	if address, err := mail.ParseAddress(name); err == nil {
		return address.Identity() == u.EmailKey
	}
	key, ok := users.UsernameKey(name)
	own, has := users.UsernameKey(u.Username)
	return ok && has && key == own
}

// signInProven signs in to an account whose mailbox was proven.
func (a *API) signInProven(c *call, u users.User, box verification.Mailbox) (tokens, error) {
	if u.Disabled {
		return tokens{}, errBlocked()
	}
	state, err := a.Passwords.State(c.Context(), u.Subject)
	if err != nil {
		return tokens{}, err
	}
	if outdated(box, state) {
		return tokens{}, errToken()
	}
	if u, err = a.Changes.Prove(c.Context(), u); err != nil {
		return tokens{}, err
	}
	if err := a.spend(c, box); err != nil {
		return tokens{}, err
	}
	return a.issue(c, u, box)
}

func (a *API) signInByPassword(c *call, req signInRequest) (tokens, error) {
	u, identity, err := a.Changes.Named(c.Context(), req.Username.value)
	if err != nil {
		return tokens{}, err
	}
	now := a.Now()
	state, err := a.Passwords.Verify(c.Context(), password.Try{
		Subject: u.Subject, Identity: identity, Password: req.Password.value, DeviceID: c.device, Source: a.Inbound.Source(c.Request),
	})
	switch {
	case errors.Is(err, password.ErrWrong), errors.Is(err, password.ErrNotSet):
		return tokens{}, errCredentials().because(err)
	case err != nil:
		return tokens{}, err
	case u.Disabled:
		return tokens{}, errBlocked()
	}
	answer, err := a.grantByPassword(c, u, now)
	if err != nil {
		return tokens{}, err
	}
	// Whoever has changed the password meanwhile has signed out all that there was, and
	// perhaps not yet this.
	after, err := a.Passwords.State(c.Context(), u.Subject)
	if err == nil && after == state {
		return answer, nil
	}
	if err = errors.Join(err, a.Core.EndGrant(c.Context(), c.client, answer.AccessToken)); err != nil {
		return tokens{}, err
	}
	return tokens{}, errCredentials()
}

// grantByPassword makes the grant of a sign-in by password, named after the request.
func (a *API) grantByPassword(c *call, u users.User, at time.Time) (tokens, error) {
	who := oauthcore.Authentication{
		Type: GrantType, Subject: u.Subject, ACR: oauthcore.ACRPassword, AMR: []string{"pwd"}, At: at, GrantID: secrets.NewID(),
	}
	if c.once == nil {
		return a.grant(c, who)
	}
	var err error
	if who.GrantID, err = a.grantID("password", string(c.once), u.Subject); err != nil {
		return tokens{}, err
	}
	answer, err := a.grant(c, who)
	if errors.Is(err, oauthcore.ErrIssued) { // the password was right once more: another sign-in in the same words
		who.GrantID = secrets.NewID()
		answer, err = a.grant(c, who)
	}
	return answer, err
}

type tokenRequest struct {
	GrantType    text `json:"grant_type"`
	RefreshToken text `json:"refresh_token"`
}

// token is POST token: a refresh token becomes fresh tokens.
func (a *API) token(c *call, req tokenRequest) (tokens, error) {
	switch {
	case req.GrantType.value != config.GrantRefreshToken:
		return tokens{}, invalid("api.grant_type")
	case req.RefreshToken.value == "":
		return tokens{}, errMissing("refresh_token")
	}
	answer, bad := a.Core.Token(c.Context(), c.client, url.Values{
		"grant_type": {config.GrantRefreshToken}, "refresh_token": {req.RefreshToken.value},
	})
	if bad == nil {
		return response(answer), nil
	}
	switch bad.Code {
	case oauth.CodeTemporarilyUnavailable:
		return tokens{}, errUnavailable(bad)
	case oauth.CodeServerError:
		return tokens{}, bad
	}
	return tokens{}, errRefresh().because(bad)
}

type revokeRequest struct {
	Token text `json:"token"`
}

// revoke is POST revoke: the SDK sends the access token only and means the whole
// sign-in. What is no token of this app's ends nothing and is no error: an error would
// keep the login in the SDK.
func (a *API) revoke(c *call, req revokeRequest) (void, error) {
	return void{}, a.Core.EndGrant(c.Context(), c.client, req.Token.value)
}

type signOutRequest struct {
	RedirectURI text `json:"redirect_uri"`
	State       text `json:"state"`
}

type signOutResponse struct {
	RedirectURI string `json:"redirect_uri,omitempty"`
}

// signOut is POST user/signout.
func (a *API) signOut(c *call, req signOutRequest) (signOutResponse, error) {
	if err := a.Core.EndGrant(c.Context(), c.client, bearer(c.Request)); err != nil {
		return signOutResponse{}, err
	}
	for _, registered := range c.client.PostLogoutRedirectURIs {
		if u, err := url.Parse(registered); registered == req.RedirectURI.value && err == nil {
			if req.State.value != "" {
				query := u.Query()
				query.Set("state", req.State.value)
				u.RawQuery = query.Encode()
			}
			return signOutResponse{u.String()}, nil
		}
	}
	return signOutResponse{}, nil
}

type introspection struct {
	TokenType string `json:"token_type,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	Subject   string `json:"sub,omitempty"`
	Scope     string `json:"scope,omitempty"`
}

// introspect is GET token/introspect: what the token that makes the call is, {} for
// none that is good.
func (a *API) introspect(c *call, _ void) (introspection, error) {
	_, claims, _, err := a.whoHolds(c.Context(), bearer(c.Request))
	if f := (*fault)(nil); errors.As(err, &f) {
		return introspection{}, nil
	}
	if err != nil {
		return introspection{}, err
	}
	return introspection{"Bearer", claims.ClientID, claims.Subject, claims.Scope}, nil
}

// seconds renders a duration for an answer.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }

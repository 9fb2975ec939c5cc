package endpoint

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/lettergate/lettergate/oauth"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/users"
)

// userInfo is the answer of the userinfo endpoint (OpenID Connect Core section
// 5.3.2): sub, and the claims of the scopes that were granted (section 5.4).
type userInfo struct {
	Subject           string `json:"sub"`
	Email             string `json:"email,omitempty"`
	EmailVerified     *bool  `json:"email_verified,omitempty"`
	Name              string `json:"name,omitempty"`
	PreferredUsername string `json:"preferred_username,omitempty"`
	Locale            string `json:"locale,omitempty"`
	UpdatedAt         int64  `json:"updated_at,omitempty"` // unix seconds
}

// UserInfo tells a client with an access token who signed in.
func (e *Endpoints) UserInfo(w http.ResponseWriter, r *http.Request) {
	token, bad := bearerToken(w, r)
	if bad != nil {
		e.refuseBearer(w, r, bad, "")
		return
	}
	claims, err := e.Core.ReadAccessToken(token)
	if err != nil || claims.GrantID == "" {
		e.refuseBearer(w, r, errToken().WithCause(err), "")
		return
	}
	if !claims.HasScope("openid") {
		e.refuseBearer(w, r, oauth.NewError(oauth.CodeInsufficientScope, "The token has no openid scope."), "openid")
		return
	}
	user, live, err := e.Core.Live(r.Context(), claims)
	switch {
	case err != nil:
		e.Inbound.WriteError(w, r, oauthcore.Outage(err))
	case !live:
		e.refuseBearer(w, r, errToken(), "")
	default:
		e.Inbound.WriteJSON(w, r, http.StatusOK, claimsOf(claims, user))
	}
}

func claimsOf(token oauthcore.AccessClaims, u users.User) userInfo {
	info := userInfo{Subject: token.Subject}
	if token.HasScope("email") {
		info.Email, info.EmailVerified = u.Email, &u.EmailVerified
	}
	if token.HasScope("profile") {
		info.Name, info.PreferredUsername, info.Locale = u.Name, u.Username, u.Locale
		info.UpdatedAt = u.UpdatedAt.Unix()
	}
	return info
}

// errNoToken is a request without any token: RFC 6750 section 3.1 wants no error
// code then.
var errNoToken = &oauth.Error{Status: http.StatusUnauthorized}

func errToken() *oauth.Error {
	return oauth.NewError(oauth.CodeInvalidToken, "The access token is invalid, expired or revoked.")
}

// bearerToken reads the token from the Authorization header, or from the form body
// of a POST (RFC 6750 sections 2.1 and 2.2), never from the URL.
func bearerToken(w http.ResponseWriter, r *http.Request) (string, *oauth.Error) {
	var tokens []string
	for _, header := range r.Header.Values("Authorization") {
		scheme, token, _ := strings.Cut(header, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", errNoToken
		}
		tokens = append(tokens, strings.TrimSpace(token))
	}
	form := url.Values{}
	if r.Method == http.MethodPost && r.Header.Get("Content-Type") != "" {
		var bad *oauth.Error
		if form, bad = oauthcore.ReadForm(w, r); bad != nil {
			return "", bad
		}
	}
	if form.Has("access_token") {
		tokens = append(tokens, form.Get("access_token"))
	}
	switch {
	case len(tokens) == 0:
		return "", errNoToken
	case len(tokens) > 1:
		return "", oauth.NewError(oauth.CodeInvalidRequest, "The access token is sent more than once.")
	}
	return tokens[0], nil
}

// refuseBearer answers with a challenge (RFC 6750 section 3).
func (e *Endpoints) refuseBearer(w http.ResponseWriter, r *http.Request, bad *oauth.Error, scope string) {
	challenge := "Bearer"
	if bad.Code != "" {
		challenge += ` error="` + bad.Code + `", error_description="` + bad.Description + `"`
	}
	if scope != "" {
		challenge += `, scope="` + scope + `"`
	}
	w.Header().Set("WWW-Authenticate", challenge)
	if bad.Code == "" {
		e.Inbound.WriteJSON(w, r, bad.Status, struct{}{})
		return
	}
	e.Inbound.WriteError(w, r, bad)
}

// Package emailcaptcha is signing in with a code sent by email as an OAuth 2.0
// grant (RFC 6749 section 4.5): a token endpoint handler for programs that run
// ory/fosite, the Lettergate provider among them.
//
// The client starts a verification for an address, the person types the code that
// arrives, and the client exchanges both for tokens:
//
//	POST /oauth2/token
//	grant_type=urn:lettergate:params:oauth:grant-type:email-captcha
//	&client_id=…&verification_id=…&verification_code=123456
//	&code_verifier=…   (when the start carried a code_challenge, RFC 7636)
//	&scope=…           (may only narrow what the start asked for)
//
// The handler knows no store and no mail. What a code is, when it is spent and
// who is signed in by it is decided behind [Redeemer]. Its invariant: whatever is
// wrong with a code (unknown, expired, used, mistyped, another client's), the
// answer is one and the same invalid_grant.
package emailcaptcha

import (
	"context"
	"errors"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
)

// GrantType is the value of grant_type.
const GrantType = "urn:lettergate:params:oauth:grant-type:email-captcha"

// The request's own parameters.
const (
	ParamID       = "verification_id"
	ParamCode     = "verification_code"
	ParamVerifier = "code_verifier"
)

var (
	// ErrInvalid is what a Redeemer returns for a code that does not sign anybody
	// in, whatever the reason. The client reads invalid_grant.
	ErrInvalid = errors.New("emailcaptcha: the code does not sign in")

	// ErrScope is what a Redeemer returns, before it spends anything, when more is
	// asked for than the verification was started with. The client reads
	// invalid_scope.
	ErrScope = errors.New("emailcaptcha: wider scope than the verification was started with")
)

// A Redemption is what a client presents.
type Redemption struct {
	ClientID       string
	VerificationID string
	Code           string
	CodeVerifier   string   // "" when none was sent
	Scopes         []string // empty means all that the start asked for
}

// An Authentication is who was signed in by a code.
type Authentication struct {
	Subject  string
	Scopes   []string // granted, at most those of the Redemption and the start
	Audience []string
	At       time.Time
	ACR      string   // authentication context class, "" to leave out
	AMR      []string // authentication methods (RFC 8176)
}

// A Redeemer spends a code. A code signs in once, however many callers present it
// at the same time. It returns ErrInvalid or ErrScope, possibly wrapped, for what
// the client did wrong; any other error is an outage of the server.
type Redeemer interface {
	Redeem(ctx context.Context, r Redemption) (Authentication, error)
}

// A Session is a fosite session that can be told who was authenticated.
// *openid.DefaultSession does not have the method; embed it in a type that has.
type Session interface {
	openid.Session
	SetAuthentication(subject string, at time.Time, acr string, amr []string)
}

// A Handler is the grant as a fosite.TokenEndpointHandler. All fields but
// IDTokens are required; without IDTokens no ID token is issued. It is safe for
// concurrent use once it is set up.
type Handler struct {
	Redeemer      Redeemer
	AccessTokens  oauth2.AccessTokenStrategy
	RefreshTokens oauth2.RefreshTokenStrategy
	Storage       interface {
		oauth2.AccessTokenStorage
		oauth2.RefreshTokenStorage
	}
	IDTokens openid.OpenIDConnectTokenStrategy
	Config   interface {
		fosite.AccessTokenLifespanProvider
		fosite.IDTokenLifespanProvider
		fosite.RefreshTokenScopesProvider
		fosite.ScopeStrategyProvider
	}
}

var _ fosite.TokenEndpointHandler = (*Handler)(nil)

// CanSkipClientAuth is always false: a public client names itself with the
// authentication method none, and is checked as every other.
func (h *Handler) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

// CanHandleTokenEndpointRequest reports whether the request is for this grant.
func (h *Handler) CanHandleTokenEndpointRequest(_ context.Context, r fosite.AccessRequester) bool {
	return r.GetGrantTypes().ExactOne(GrantType)
}

// HandleTokenEndpointRequest spends the code. Everything that can be refused
// without it is refused before.
func (h *Handler) HandleTokenEndpointRequest(ctx context.Context, r fosite.AccessRequester) error {
	if !h.CanHandleTokenEndpointRequest(ctx, r) {
		return fosite.ErrUnknownRequest
	}
	client, form := r.GetClient(), r.GetRequestForm()
	if !client.GetGrantTypes().Has(GrantType) {
		return fosite.ErrUnauthorizedClient.WithHint("The client is not registered for the email-captcha grant.")
	}
	for _, scope := range r.GetRequestedScopes() {
		if !h.Config.GetScopeStrategy(ctx)(client.GetScopes(), scope) {
			return fosite.ErrInvalidScope.WithHint("The client is not registered for one of the scopes.")
		}
	}
	session, ok := r.GetSession().(Session)
	if !ok {
		return fosite.ErrServerError.WithDebugf("The session is a %T; it has to implement emailcaptcha.Session.", r.GetSession())
	}
	if form.Get(ParamID) == "" || form.Get(ParamCode) == "" {
		return fosite.ErrInvalidRequest.WithHint("Send verification_id and verification_code.")
	}

	who, err := h.Redeemer.Redeem(ctx, Redemption{
		ClientID:       client.GetID(),
		VerificationID: form.Get(ParamID),
		Code:           form.Get(ParamCode),
		CodeVerifier:   form.Get(ParamVerifier),
		Scopes:         r.GetRequestedScopes(),
	})
	// Neither a later error nor a log of the request may carry the code, and fosite
	// would take these for parameters of an authorization request.
	for _, name := range []string{ParamCode, ParamVerifier, "prompt", "max_age", "acr_values", "id_token_hint", "nonce"} {
		form.Del(name)
	}
	switch {
	case errors.Is(err, ErrInvalid):
		return fosite.ErrInvalidGrant.WithWrap(err).WithHint("The code is wrong, was used, or is too old. Look at it again, or start a new verification.")
	case errors.Is(err, ErrScope):
		return fosite.ErrInvalidScope.WithWrap(err).WithHint("The scope may only narrow what the verification was started with.")
	case err != nil:
		return fosite.ErrServerError.WithWrap(err)
	}

	for _, scope := range who.Scopes {
		r.GrantScope(scope)
	}
	for _, audience := range who.Audience {
		r.GrantAudience(audience)
	}
	session.SetAuthentication(who.Subject, who.At, who.ACR, who.AMR)
	return nil
}

// PopulateTokenEndpointResponse issues what any grant issues: an access token, a
// refresh token with one of the refresh token scopes, an ID token with openid.
func (h *Handler) PopulateTokenEndpointResponse(ctx context.Context, r fosite.AccessRequester, resp fosite.AccessResponder) error {
	if !h.CanHandleTokenEndpointRequest(ctx, r) {
		return fosite.ErrUnknownRequest
	}
	access, accessSignature, err := h.AccessTokens.GenerateAccessToken(ctx, r)
	if err != nil {
		return fosite.ErrServerError.WithWrap(err)
	}
	kept := r.Sanitize(nil)
	if err := h.Storage.CreateAccessTokenSession(ctx, accessSignature, kept); err != nil {
		return fosite.ErrServerError.WithWrap(err)
	}
	life := fosite.GetEffectiveLifespan(r.GetClient(), GrantType, fosite.AccessToken, h.Config.GetAccessTokenLifespan(ctx))
	resp.SetAccessToken(access)
	resp.SetTokenType("bearer")
	resp.SetExpiresIn(life)
	resp.SetScopes(r.GetGrantedScopes())

	if h.issuesRefresh(ctx, r) {
		refresh, signature, err := h.RefreshTokens.GenerateRefreshToken(ctx, r)
		if err != nil {
			return fosite.ErrServerError.WithWrap(err)
		}
		if err := h.Storage.CreateRefreshTokenSession(ctx, signature, accessSignature, kept); err != nil {
			return fosite.ErrServerError.WithWrap(err)
		}
		resp.SetExtra("refresh_token", refresh)
	}
	if h.IDTokens == nil || !r.GetGrantedScopes().Has("openid") {
		return nil
	}
	session, ok := r.GetSession().(Session)
	if !ok {
		return fosite.ErrServerError.WithDebugf("The session is a %T; it has to implement emailcaptcha.Session.", r.GetSession())
	}
	helper := openid.IDTokenHandleHelper{IDTokenStrategy: h.IDTokens}
	session.IDTokenClaims().AccessTokenHash = helper.GetAccessTokenHash(ctx, r, resp)
	idLife := fosite.GetEffectiveLifespan(r.GetClient(), GrantType, fosite.IDToken, h.Config.GetIDTokenLifespan(ctx))
	if err := helper.IssueExplicitIDToken(ctx, idLife, r, resp); err != nil {
		return fosite.ErrServerError.WithWrap(err)
	}
	return nil
}

func (h *Handler) issuesRefresh(ctx context.Context, r fosite.AccessRequester) bool {
	scopes := h.Config.GetRefreshTokenScopes(ctx)
	return r.GetClient().GetGrantTypes().Has("refresh_token") &&
		(len(scopes) == 0 || r.GetGrantedScopes().HasOneOf(scopes...))
}

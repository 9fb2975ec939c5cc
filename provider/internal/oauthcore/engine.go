package oauthcore

import (
	"context"
	"errors"
	"net/url"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/oauth/emailcaptcha"
)

// engineConfig is fosite's configuration. It offers only the handlers of the
// request's own grant: every other one would build an error, with a stack trace,
// to say that it is not responsible.
type engineConfig struct {
	*fosite.Config
	byGrant map[string]fosite.TokenEndpointHandlers
}

// GetTokenEndpointHandlers implements fosite.TokenEndpointHandlersProvider.
func (c *engineConfig) GetTokenEndpointHandlers(ctx context.Context) fosite.TokenEndpointHandlers {
	r, ok := ctx.Value(fosite.AccessRequestContextKey).(fosite.AccessRequester)
	if !ok || len(r.GetGrantTypes()) != 1 {
		return nil
	}
	return c.byGrant[r.GetGrantTypes()[0]]
}

// GetRefreshTokenScopes implements fosite.RefreshTokenScopesProvider. Clients of the
// CloudBase API get refresh tokens whatever their scopes: without one they would be
// signed out when the first access token ends.
func (c *engineConfig) GetRefreshTokenScopes(ctx context.Context) []string {
	if client, ok := ctx.Value(clientKey{}).(*Client); ok && client.CloudBase {
		return []string{}
	}
	return c.Config.GetRefreshTokenScopes(ctx)
}

func newEngine(c *Core, redeemer emailcaptcha.Redeemer) fosite.OAuth2Provider {
	cfg := &engineConfig{Config: &fosite.Config{
		AccessTokenLifespan:   c.lives.AccessToken.Std(),
		IDTokenLifespan:       c.lives.IDToken.Std(),
		RefreshTokenLifespan:  c.lives.RefreshIdle.Std(),
		AuthorizeCodeLifespan: c.lives.Code.Std(),
		AccessTokenIssuer:     c.issuer,
		IDTokenIssuer:         c.issuer,
		RefreshTokenScopes:    []string{"offline_access"},
		// Our own PKCE handler decides; this closes fosite's for good measure.
		EnforcePKCE:            true,
		MinParameterEntropy:    1,
		OmitRedirectScopeParam: true,
		TokenURL:               c.issuer + "/oauth2/token",
		// fosite assigns the defaults of the next four on first use, which races.
		ScopeStrategy:            fosite.ExactScopeStrategy,
		AudienceMatchingStrategy: fosite.ExactAudienceMatchingStrategy,
		ClientSecretsHasher:      refusingHasher{},
		JWKSFetcherStrategy:      refusingFetcher{},
		// Redirect URIs are judged at registration and matched by our own matcher.
		RedirectSecureChecker:        func(context.Context, *url.URL) bool { return true },
		ClientAuthenticationStrategy: fositeClient,
	}}
	access := accessStrategy{c}
	idTokens := &openid.IDTokenHandleHelper{IDTokenStrategy: idTokenStrategy{c}}
	code := &oauth2.AuthorizeExplicitGrantHandler{
		AccessTokenStrategy: access, RefreshTokenStrategy: c.grants, AuthorizeCodeStrategy: c.grants,
		CoreStorage: c.grants, TokenRevocationStorage: c.grants, Config: cfg,
	}
	codeOpenID := &openid.OpenIDConnectExplicitHandler{
		OpenIDConnectRequestStorage: c.grants, IDTokenHandleHelper: idTokens, Config: cfg,
	}
	proof := pkceHandler{c.grants}
	// Without fosite's OpenID handler: what it checks, ParseAuthorize has checked,
	// and it compares auth_time with time.Now.
	cfg.AuthorizeEndpointHandlers = fosite.AuthorizeEndpointHandlers{code, proof}
	cfg.byGrant = map[string]fosite.TokenEndpointHandlers{
		config.GrantAuthorizationCode: {code, codeOpenID, proof},
		config.GrantRefreshToken: {
			&oauth2.RefreshTokenGrantHandler{
				AccessTokenStrategy: access, RefreshTokenStrategy: c.grants,
				TokenRevocationStorage: c.grants, Config: cfg,
			},
			&openid.OpenIDConnectRefreshHandler{IDTokenHandleHelper: idTokens, Config: cfg},
		},
		config.GrantClientCredentials: {
			&oauth2.ClientCredentialsGrantHandler{
				HandleHelper: &oauth2.HandleHelper{AccessTokenStrategy: access, AccessTokenStorage: c.grants, Config: cfg},
				Config:       cfg,
			},
		},
		config.GrantEmailCaptcha: {
			&emailcaptcha.Handler{
				Redeemer: redeemer, AccessTokens: access, RefreshTokens: c.grants, Storage: c.grants,
				IDTokens: idTokenStrategy{c}, Config: cfg,
			},
		},
	}
	return fosite.NewOAuth2Provider(c.grants, cfg)
}

var errNotByFosite = errors.New("decided before fosite is asked")

// The refusing types stand where fosite has an insecure or slow default for
// something that is decided elsewhere.
type refusingHasher struct{}

func (refusingHasher) Compare(context.Context, []byte, []byte) error { return errNotByFosite }
func (refusingHasher) Hash(context.Context, []byte) ([]byte, error)  { return nil, errNotByFosite }

type refusingFetcher struct{}

func (refusingFetcher) Resolve(context.Context, string, bool) (*jose.JSONWebKeySet, error) {
	return nil, errNotByFosite
}

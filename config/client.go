package config

import "slices"

// The token endpoint's client authentication methods.
const (
	AuthMethodNone       = "none"
	AuthMethodBasic      = "client_secret_basic"
	AuthMethodPost       = "client_secret_post"
	AuthMethodPrivateKey = "private_key_jwt"
)

// The PKCE policies.
const (
	PKCERequired = "required"
	PKCEOptional = "optional"
)

// The access token formats.
const (
	AccessTokenJWT    = "jwt"
	AccessTokenOpaque = "opaque"
)

// The grant types.
const (
	GrantAuthorizationCode = "authorization_code"
	GrantRefreshToken      = "refresh_token"
	GrantClientCredentials = "client_credentials"
	GrantEmailCaptcha      = "urn:lettergate:params:oauth:grant-type:email-captcha"
)

// A Client is an application that may use this provider (RFC 7591 names where it
// has one).
type Client struct {
	// ID is the client's identifier: 1 to 100 visible ASCII characters that do not
	// begin with "client:".
	ID string `yaml:"client_id" validate:"required,client_id"`
	// Name is what people read when they are asked about the client. Default the
	// ID.
	Name string `yaml:"client_name" validate:"max=100,text"`

	// Secrets make the client confidential; up to two are live at once, so that
	// they can be changed without an outage. At least 32 characters each, from a
	// random source: they are compared as SHA-256, which suits nothing shorter.
	Secrets []Secret `yaml:"client_secrets" validate:"max=2,dive,min=32"`

	// TokenEndpointAuthMethod is none, client_secret_basic, client_secret_post or
	// private_key_jwt: an assertion that the client signs for each request (RFC 7523).
	// Default client_secret_basic with Secrets, private_key_jwt with JWKS or JWKSURI, else
	// none.
	TokenEndpointAuthMethod string `yaml:"token_endpoint_auth_method" validate:"omitempty,oneof=none client_secret_basic client_secret_post private_key_jwt"`

	// TokenEndpointAuthSigningAlg is the only algorithm that the client may sign its
	// assertions with: ES256, PS256, RS256 or EdDSA. Default each that fits one of its keys.
	TokenEndpointAuthSigningAlg string `yaml:"token_endpoint_auth_signing_alg" validate:"omitempty,oneof=ES256 PS256 RS256 EdDSA"`

	// JWKS are the client's public keys as it publishes them (RFC 7517), in JSON or YAML:
	// jwks: {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "2026-01", "x": "…"}]}.
	// private_key_jwt needs this or JWKSURI.
	JWKS JWKS `yaml:"jwks"`

	// JWKSURI is where the client publishes its keys instead: https on a public address, or
	// what Outbound allows. They are fetched when an assertion first needs them, again when
	// they are older than their Cache-Control says (1 minute to 1 hour, 5 minutes without),
	// and for a key that is not among them, at most every 30 seconds. While they cannot be
	// fetched, the last ones are good for 24 hours; without any the client gets a 503.
	JWKSURI string `yaml:"jwks_uri" validate:"omitempty,jwks_uri"`

	// FirstParty clients belong to the operator: people are not asked whether they
	// allow them, except for a public client without an https redirect URI when it
	// would otherwise get a code without a click (RFC 8252 section 8.6).
	FirstParty bool `yaml:"first_party"`

	// CloudBase says that the client is an app written with @cloudbase/js-sdk, whose
	// email login is served at /auth/v1. The ID is the env id of the app. Such a client
	// is public. Its Origins may be empty, as for a Node program.
	CloudBase bool `yaml:"cloudbase"`

	// HideIsUser keeps /auth/v1 from telling anybody whether an address has an account,
	// which it does otherwise because apps ask for it. Only with CloudBase.
	HideIsUser bool `yaml:"hide_is_user"`

	// SignUp lets an address that is seen for the first time become an account.
	SignUp bool `yaml:"sign_up"`

	// RedirectURIs are matched exactly, except that the port of an http loopback
	// address literal is free (RFC 8252 section 7.3). Each is https, http on a
	// loopback host, or has a private-use scheme such as com.example.app:/callback.
	// At least one is required for the grant type authorization_code. With CloudBase they
	// are also where the links in mails may lead (email_redirect_to), letter by letter.
	RedirectURIs []string `yaml:"redirect_uris" validate:"unique,dive,redirect_uri"`

	// PostLogoutRedirectURIs are where a browser may be sent after signing out, as
	// strict as RedirectURIs.
	PostLogoutRedirectURIs []string `yaml:"post_logout_redirect_uris" validate:"unique,dive,redirect_uri"`

	// GrantTypes default to authorization_code, and with CloudBase to refresh_token and
	// urn:lettergate:params:oauth:grant-type:email-captcha. A CloudBase app needs
	// refresh_token.
	GrantTypes []string `yaml:"grant_types" validate:"unique,dive,oneof=authorization_code refresh_token client_credentials urn:lettergate:params:oauth:grant-type:email-captcha"`

	// Scopes are all that the client may ask for. Default "openid", and with CloudBase
	// openid, profile and email.
	Scopes []string `yaml:"scopes" validate:"unique,dive,scope"`

	// Audiences are the resources that access tokens are for when a request names
	// none, and all that a request may name. Default the issuer.
	Audiences []string `yaml:"audiences" validate:"unique,dive,required,max=255,text"`

	// Origins are the web origins that may call /auth/v1 and the token, userinfo,
	// revocation and verification endpoints from a browser: https, or http on a loopback host.
	// Default none.
	Origins []string `yaml:"origins" validate:"unique,dive,web_origin"`

	// PKCE is required (the default) or, for a confidential client only, optional.
	PKCE string `yaml:"pkce" validate:"omitempty,oneof=required optional"`

	// AccessTokenFormat is jwt (RFC 9068, the default) or opaque.
	AccessTokenFormat string `yaml:"access_token_format" validate:"omitempty,oneof=jwt opaque"`

	// IDTokenSignedResponseAlg is RS256 (the default), ES256, PS256 or EdDSA.
	IDTokenSignedResponseAlg string `yaml:"id_token_signed_response_alg" validate:"omitempty,oneof=RS256 ES256 PS256 EdDSA"`
}

func (c *Client) fill(issuer string) {
	c.TokenEndpointAuthMethod = c.AuthMethod()
	fill(&c.Name, c.ID)
	fill(&c.PKCE, PKCERequired)
	fill(&c.AccessTokenFormat, AccessTokenJWT)
	fill(&c.IDTokenSignedResponseAlg, "RS256")
	c.GrantTypes = c.grants()
	if len(c.Scopes) == 0 {
		c.Scopes = []string{"openid"}
		if c.CloudBase {
			c.Scopes = append(c.Scopes, "profile", "email")
		}
	}
	if len(c.Audiences) == 0 {
		c.Audiences = []string{issuer}
	}
}

// Public reports whether the client has no way to authenticate itself.
func (c Client) Public() bool { return c.AuthMethod() == AuthMethodNone }

// AuthMethod returns how the client authenticates at the token endpoint, with the
// default when TokenEndpointAuthMethod is empty.
func (c Client) AuthMethod() string {
	switch {
	case c.TokenEndpointAuthMethod != "":
		return c.TokenEndpointAuthMethod
	case len(c.Secrets) > 0:
		return AuthMethodBasic
	case len(c.JWKS.Keys) > 0 || c.JWKSURI != "":
		return AuthMethodPrivateKey
	default:
		return AuthMethodNone
	}
}

// Allows reports whether the client may use a grant type.
func (c Client) Allows(grant string) bool { return slices.Contains(c.grants(), grant) }

func (c Client) grants() []string {
	switch {
	case len(c.GrantTypes) > 0:
		return c.GrantTypes
	case c.CloudBase:
		return []string{GrantRefreshToken, GrantEmailCaptcha}
	default:
		return []string{GrantAuthorizationCode}
	}
}

func (c Client) check(l *faultList, path string) {
	c.checkMethod(l, path)
	if c.AuthMethod() == AuthMethodPrivateKey {
		c.checkKeys(l, path)
	} else {
		c.checkNoKeys(l, path)
	}
	c.JWKS.check(l, keyPath(path, "jwks"))
	if c.Public() && c.Allows(GrantClientCredentials) {
		l.add(keyPath(path, "grant_types"), "client_credentials needs a client with client_secrets or private_key_jwt: a public client could be anybody")
	}
	if c.CloudBase && !c.Allows(GrantRefreshToken) {
		l.add(keyPath(path, "grant_types"), "a CloudBase app stays signed in with refresh_token; add it, or leave grant_types out")
	}
	if c.HideIsUser && !c.CloudBase {
		l.add(keyPath(path, "hide_is_user"), "is for clients with cloudbase: true; leave it out")
	}
	if c.Public() && c.PKCE == PKCEOptional {
		l.add(keyPath(path, "pkce"), "optional is for clients with client_secrets or private_key_jwt only; use required")
	}
	if c.Allows(GrantAuthorizationCode) && len(c.RedirectURIs) == 0 {
		hint := ""
		if len(c.Origins) > 0 {
			hint = " (an app of @cloudbase/js-sdk needs none: write cloudbase: true)"
		}
		l.add(keyPath(path, "redirect_uris"), "at least one is required for the grant type authorization_code%s", hint)
	}
	if i := slices.Index(c.Scopes, "offline_access"); i >= 0 && !c.Allows(GrantRefreshToken) {
		l.add(indexPath(keyPath(path, "scopes"), i), "offline_access asks for refresh tokens, which the client may not use; add %s to its grant_types, or leave the scope out", GrantRefreshToken)
	}
	for i, s := range c.Secrets {
		if s != "" && slices.Contains(c.Secrets[:i], s) {
			l.add(indexPath(keyPath(path, "client_secrets"), i), "is listed already")
		}
	}
}

// checkMethod checks that the method and the secrets go together.
func (c Client) checkMethod(l *faultList, path string) {
	method, secrets := keyPath(path, "token_endpoint_auth_method"), keyPath(path, "client_secrets")
	switch {
	case c.CloudBase && len(c.Secrets) > 0:
		l.add(secrets, "does not go with cloudbase: such an app runs in browsers and cannot keep a secret; leave it out")
	case c.CloudBase && !c.Public():
		l.add(method, "%s does not go with cloudbase: such an app has no secret; leave it out", quote(c.AuthMethod()))
	case c.Public() && len(c.Secrets) > 0:
		l.add(method, "none does not go with client_secrets; use %s, or leave the secrets out", AuthMethodBasic)
	case c.AuthMethod() == AuthMethodPrivateKey && len(c.Secrets) > 0:
		l.add(secrets, "does not go with private_key_jwt, for which the client has keys; leave it out")
	case !c.Public() && c.AuthMethod() != AuthMethodPrivateKey && len(c.Secrets) == 0:
		l.add(method, "%s needs client_secrets; write them here, or set %s", quote(c.AuthMethod()), variablesOf(indexPath(secrets, 0)))
	}
}

// checkKeys checks the keys of a client that has to have some.
func (c Client) checkKeys(l *faultList, path string) {
	switch {
	case len(c.JWKS.Keys) > 0 && c.JWKSURI != "":
		l.add(keyPath(path, "jwks_uri"), "does not go with jwks: write the keys here or say where they are, not both")
	case len(c.JWKS.Keys) == 0 && c.JWKSURI == "":
		l.add(keyPath(path, "token_endpoint_auth_method"), "%s needs the client's public keys: write them under jwks, or where they are published under jwks_uri", quote(c.AuthMethod()))
	}
	alg := c.TokenEndpointAuthSigningAlg
	if len(c.JWKS.Keys) > 0 && alg != "" && slices.Contains(AssertionAlgorithms(), alg) &&
		!slices.ContainsFunc(c.JWKS.Keys, func(k JWK) bool { return slices.Contains(k.algorithms(), alg) }) {
		l.add(keyPath(path, "token_endpoint_auth_signing_alg"), "%s fits none of the keys under jwks; leave it out", alg)
	}
}

// checkNoKeys checks that a client that proves itself otherwise has nothing that would
// look as if it mattered.
func (c Client) checkNoKeys(l *faultList, path string) {
	const why = "is for clients with token_endpoint_auth_method: private_key_jwt; leave it out"
	if len(c.JWKS.Keys) > 0 {
		l.add(keyPath(path, "jwks"), why)
	}
	if c.JWKSURI != "" {
		l.add(keyPath(path, "jwks_uri"), why)
	}
	if c.TokenEndpointAuthSigningAlg != "" {
		l.add(keyPath(path, "token_endpoint_auth_signing_alg"), why)
	}
}

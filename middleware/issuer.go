package middleware

import "github.com/lettergate/lettergate/oauth"

// ForIssuer returns a verifier for the access tokens of one issuer, with the
// defaults of package oauth: tokens are verified here, with the keys that the
// issuer publishes, and no request is made before the first token arrives. So
// the program starts while the issuer is down, and answers 503 until it is up.
//
// The issuer is its exact name, an https URL or an http one on a loopback host.
// The audiences are the names of this service; a token has to carry one of them,
// and at least one is required. An issuer that was not told which service a
// token is for may name itself as the audience: to accept such tokens too, say
// the issuer here again. The error tells which of them is not acceptable.
//
// It is tried with oidc-provider 9.13.3 of npm, whose tokens it accepts, and with
// zitadel/oidc 3.52.0, whose tokens it does not: their type is JWT, which any token is.
// That issuer has to be asked about them ([oauth.NewIntrospectionVerifier]). See
// middleware/interop.
//
// For other settings, put [oauth.NewRemoteKeys] and [oauth.NewJWTVerifier]
// together, which is all that ForIssuer does.
func ForIssuer(issuer string, audiences ...string) (oauth.Verifier, error) {
	keys, err := oauth.NewRemoteKeys(oauth.RemoteConfig{Issuer: issuer})
	if err != nil {
		return nil, err
	}
	v, err := oauth.NewJWTVerifier(oauth.JWTConfig{Issuer: issuer, Audiences: audiences}, keys)
	if err != nil {
		return nil, err
	}
	return v, nil
}

// ForIssuers is ForIssuer for a service that accepts the tokens of several issuers: for
// each one's exact name, the names of this service at it. Their keys and audiences stay
// apart, and an issuer that is down concerns its own tokens only.
func ForIssuers(audiences map[string][]string) (oauth.Verifier, error) {
	verifiers := make(map[string]oauth.Verifier, len(audiences))
	for issuer, names := range audiences {
		v, err := ForIssuer(issuer, names...)
		if err != nil {
			return nil, err
		}
		verifiers[issuer] = v
	}
	all, err := oauth.NewIssuers(oauth.IssuersConfig{Verifiers: verifiers})
	if err != nil {
		return nil, err
	}
	return all, nil
}

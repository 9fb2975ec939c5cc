package endpoint

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
)

// metadata is what the provider says about itself (RFC 8414 section 2, OpenID
// Connect Discovery section 3). It lists exactly what works.
type metadata struct {
	Issuer                       string   `json:"issuer"`
	AuthorizationEndpoint        string   `json:"authorization_endpoint"`
	TokenEndpoint                string   `json:"token_endpoint"`
	UserInfoEndpoint             string   `json:"userinfo_endpoint"`
	JWKSURI                      string   `json:"jwks_uri"`
	EndSessionEndpoint           string   `json:"end_session_endpoint"`
	IntrospectionEndpoint        string   `json:"introspection_endpoint"`
	RevocationEndpoint           string   `json:"revocation_endpoint"`
	VerificationEndpoint         string   `json:"email_verification_endpoint"`
	Scopes                       []string `json:"scopes_supported"`
	ResponseTypes                []string `json:"response_types_supported"`
	ResponseModes                []string `json:"response_modes_supported"`
	GrantTypes                   []string `json:"grant_types_supported"`
	SubjectTypes                 []string `json:"subject_types_supported"`
	ACRValues                    []string `json:"acr_values_supported"`
	IDTokenAlgs                  []string `json:"id_token_signing_alg_values_supported"`
	TokenAuthMethods             []string `json:"token_endpoint_auth_methods_supported"`
	TokenAuthAlgs                []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	RevocationAuthMethods        []string `json:"revocation_endpoint_auth_methods_supported"`
	RevocationAuthAlgs           []string `json:"revocation_endpoint_auth_signing_alg_values_supported"`
	IntrospectionAuthMethods     []string `json:"introspection_endpoint_auth_methods_supported"`
	IntrospectionAuthAlgs        []string `json:"introspection_endpoint_auth_signing_alg_values_supported"`
	CodeChallengeMethods         []string `json:"code_challenge_methods_supported"`
	Prompts                      []string `json:"prompt_values_supported"`
	Claims                       []string `json:"claims_supported"`
	ClaimsParameterSupported     bool     `json:"claims_parameter_supported"`
	RequestParameterSupported    bool     `json:"request_parameter_supported"`
	RequestURIParameterSupported bool     `json:"request_uri_parameter_supported"`
	ISSParameterSupported        bool     `json:"authorization_response_iss_parameter_supported"`
}

func renderMetadata(cfg config.Config) (body []byte, etag string, err error) {
	at := func(path string) string { return cfg.Issuer + path }
	scopes := map[string]bool{"openid": true}
	for _, c := range cfg.Clients {
		for _, s := range c.Scopes {
			scopes[s] = true
		}
	}
	confidential := []string{config.AuthMethodBasic, config.AuthMethodPost, config.AuthMethodPrivateKey}
	all := append([]string{config.AuthMethodNone}, confidential...)
	body, err = json.Marshal(metadata{
		Issuer:                   cfg.Issuer,
		AuthorizationEndpoint:    at("/oauth2/authorize"),
		TokenEndpoint:            at("/oauth2/token"),
		UserInfoEndpoint:         at("/oauth2/userinfo"),
		JWKSURI:                  at("/oauth2/jwks"),
		EndSessionEndpoint:       at("/oauth2/logout"),
		IntrospectionEndpoint:    at("/oauth2/introspect"),
		RevocationEndpoint:       at("/oauth2/revoke"),
		VerificationEndpoint:     at("/oauth2/verification"),
		Scopes:                   slices.Sorted(maps.Keys(scopes)),
		ResponseTypes:            []string{"code"},
		ResponseModes:            oauthcore.ResponseModes(),
		GrantTypes:               oauthcore.GrantTypes(),
		SubjectTypes:             []string{"public"},
		ACRValues:                []string{oauthcore.ACREmail},
		IDTokenAlgs:              Algorithms(cfg),
		TokenAuthMethods:         all,
		TokenAuthAlgs:            config.AssertionAlgorithms(),
		RevocationAuthMethods:    all,
		RevocationAuthAlgs:       config.AssertionAlgorithms(),
		IntrospectionAuthMethods: confidential,
		IntrospectionAuthAlgs:    config.AssertionAlgorithms(),
		CodeChallengeMethods:     []string{"S256"},
		Prompts:                  []string{"none", "login", "consent", "select_account"},
		Claims: []string{
			"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "at_hash", "sid",
			"email", "email_verified", "name", "preferred_username", "locale", "updated_at",
		},
		ISSParameterSupported: true,
	})
	if err != nil {
		return nil, "", fmt.Errorf("render metadata: %w", err)
	}
	sum := sha256.Sum256(body)
	return body, `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`, nil
}

// Algorithms are those that some token is signed with: ES256 for access tokens,
// RS256 because OpenID Connect makes it the default of ID tokens, and what clients
// name.
func Algorithms(cfg config.Config) []string {
	algs := map[string]bool{"ES256": true, "RS256": true}
	for _, c := range cfg.Clients {
		if c.IDTokenSignedResponseAlg != "" {
			algs[c.IDTokenSignedResponseAlg] = true
		}
	}
	return slices.Sorted(maps.Keys(algs))
}

// Metadata serves both metadata documents.
func (e *Endpoints) Metadata(w http.ResponseWriter, r *http.Request) {
	e.document(w, r, e.metadata, e.metadataETag)
}

// JWKS serves the public keys (RFC 7517).
func (e *Endpoints) JWKS(w http.ResponseWriter, r *http.Request) {
	body, etag := e.Keys.JWKS()
	e.document(w, r, body, etag)
}

// document serves a rendered public document that clients may cache.
func (e *Endpoints) document(w http.ResponseWriter, r *http.Request, body []byte, etag string) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(int(e.Config.Keys.JWKSMaxAge.Std()/time.Second)))
	h.Set("ETag", etag)
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Write(body) // a peer that went away is nobody's error
}

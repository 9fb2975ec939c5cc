//go:build browser

package interop_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/lettergate/lettergate/oauth"
)

// opaque is a service that gets tokens which say nothing themselves.
const opaque = "https://opaque.example"

// newAskedIssuer starts an issuer that answers a service about tokens.
func newAskedIssuer(t *testing.T, folder string) *nodeIssuer {
	t.Helper()
	i := newNodeIssuer(t, folder)
	i.config.Resources[opaque] = newResource("opaque", "")
	i.config.Clients[0]["grant_types"] = []string{"authorization_code", "refresh_token"}
	i.config.Clients = append(i.config.Clients, map[string]any{
		"client_id": opaque, "client_secret": serviceSecret,
		"grant_types": []string{}, "redirect_uris": []string{}, "response_types": []string{},
	})
	i.start(newKey(t, "r", ""), newKey(t, "e", "ES256"))
	return i
}

// introspector asks the issuer in the name of the service.
func (i *nodeIssuer) introspector(cfg oauth.IntrospectionConfig) oauth.Verifier {
	i.t.Helper()
	cfg.Issuer, cfg.ClientID, cfg.ClientSecret, cfg.Audiences = i.url, opaque, serviceSecret, []string{opaque}
	v, err := oauth.NewIntrospectionVerifier(cfg)
	if err != nil {
		i.t.Fatal(err)
	}
	return v
}

// testOpaque asks oidc-provider about its tokens.
func testOpaque(t *testing.T, folder string) {
	i := newAskedIssuer(t, folder)
	var c clock
	route := protect(i.introspector(oauth.IntrospectionConfig{Now: c.now}), "notes:read")
	good := i.machine(opaque, "notes:read")
	// oidc-provider names no subject where a client acts for itself.
	passes(t, route, good, " by machine with notes:read")

	ann := newPerson(t, url.Values{"login": {"ann"}, "password": {"any"}})
	signedIn := ann.signIn(i.web("openid", "offline_access", "notes:read"), oauth2.SetAuthURLParam("resource", opaque), oauth2.SetAuthURLParam("prompt", "consent"))
	passes(t, route, signedIn.AccessToken, "ann by web with notes:read")

	for name, token := range map[string]string{
		"RS04_Invented":     strings.Repeat("a", len(good)),
		"RS06_RefreshToken": signedIn.RefreshToken, // which it calls active
		"RS09_Userinfo":     ann.signIn(i.web("openid")).AccessToken,
	} {
		t.Run(name, func(t *testing.T) {
			if token == "" {
				t.Fatal("no token")
			}
			refuses(t, route, token, http.StatusUnauthorized, oauth.CodeInvalidToken)
		})
	}
	t.Run("RS05_Scope", func(t *testing.T) {
		refuses(t, route, i.machine(opaque, "notes:write"), http.StatusForbidden, oauth.CodeInsufficientScope)
	})
	t.Run("RS19_Revoked", func(t *testing.T) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, i.url+"/token/revocation", strings.NewReader("token="+good))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("machine", "secret")
		fetch(t, r)
		c.step(30 * time.Second)
		refuses(t, route, good, http.StatusUnauthorized, oauth.CodeInvalidToken)
	})
	t.Run("RS20_Down", func(t *testing.T) {
		token := i.machine(opaque, "notes:read")
		i.stop()
		refuses(t, route, token, http.StatusServiceUnavailable, oauth.CodeTemporarilyUnavailable)
	})
}

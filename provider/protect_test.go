package provider_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

// A service that asks this provider about tokens: opaque ones anywhere, JWTs where a
// revocation has to count at once.
func TestRS19_ServiceThatAsks(t *testing.T) {
	for _, format := range []string{config.AccessTokenJWT, config.AccessTokenOpaque} {
		t.Run(format, func(t *testing.T) {
			s := start(t, options{config: func(cfg *config.Config) {
				for i := range cfg.Clients {
					if cfg.Clients[i].ID == secretID {
						cfg.Clients[i].AccessTokenFormat = format
					}
				}
			}})
			issuer := s.provider.Issuer()
			asking, err := oauth.NewIntrospectionVerifier(oauth.IntrospectionConfig{
				Issuer: issuer, ClientID: secretID, ClientSecret: backendSecret, Audiences: []string{api}, Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			keys, err := oauth.NewRemoteKeys(oauth.RemoteConfig{Issuer: issuer})
			if err != nil {
				t.Fatal(err)
			}
			local, err := oauth.NewJWTVerifier(oauth.JWTConfig{Issuer: issuer, Audiences: []string{api}}, keys)
			if err != nil {
				t.Fatal(err)
			}
			both, err := oauth.NewIssuers(oauth.IssuersConfig{Verifiers: map[string]oauth.Verifier{issuer: local}, Opaque: asking})
			if err != nil {
				t.Fatal(err)
			}
			guard, err := middleware.New(both, middleware.Config{Introspector: asking})
			if err != nil {
				t.Fatal(err)
			}
			route := guard.Protect(middleware.Route{Scopes: []string{"notes:read"}, Introspect: middleware.EachRequest})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				token, _ := middleware.Claims(r.Context())
				fmt.Fprint(w, token.Subject(), " ", token.ClientID())
			}))
			call := func(token string) *httptest.ResponseRecorder {
				r := httptest.NewRequest("GET", "/", nil).WithContext(t.Context())
				r.Header.Set("Authorization", "Bearer "+token)
				w := httptest.NewRecorder()
				route.ServeHTTP(w, r)
				return w
			}
			access := s.postAs(secretID, backendSecret, "/oauth2/token", "grant_type", "client_credentials", "scope", "notes:read").json(t)["access_token"].(string)
			if w := call(access); w.Code != http.StatusOK || w.Body.String() != "client:"+secretID+" "+secretID {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if w := call(access + "x"); w.Code != http.StatusUnauthorized {
				t.Errorf("another token: %d %s", w.Code, w.Body)
			}
			if a := s.postAs(secretID, backendSecret, "/oauth2/revoke", "token", access); a.status != http.StatusOK {
				t.Fatal(a.body)
			}
			if w := call(access); w.Code != http.StatusUnauthorized {
				t.Errorf("after the revocation: %d %s", w.Code, w.Body)
			}
		})
	}
}

//go:build browser

package interop_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

// testBound takes tokens that oidc-provider has bound to a key, JWTs and opaque ones,
// through a guard that wants to see the proof.
func testBound(t *testing.T, folder string) {
	i := newAskedIssuer(t, folder)
	local, err := middleware.ForIssuer(i.url, api)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, resource string
		verifier       oauth.Verifier
	}{
		{"RS23_JWT", api, local},
		{"RS23_Opaque", opaque, i.introspector(oauth.IntrospectionConfig{})},
	} {
		t.Run(c.name, func(t *testing.T) {
			guard, err := middleware.New(c.verifier, middleware.Config{DPoP: &oauth.DPoPConfig{}, BaseURLs: []string{api}})
			if err != nil {
				t.Fatal(err)
			}
			route := guard.Require("notes:read")(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
			key, other := newKey(t, "", "ES256"), newKey(t, "", "ES256")
			token := boundToken(t, i.url+"/token", c.resource, key)
			ath := func(token string) map[string]any {
				sum := sha256.Sum256([]byte(token))
				return map[string]any{"ath": base64.RawURLEncoding.EncodeToString(sum[:])}
			}
			good := proof(t, key, http.MethodGet, api+"/notes", ath(token))
			for _, request := range []struct {
				what, scheme, proof string
				status              int
				code                string
			}{
				{"with the proof", "DPoP", good, http.StatusNoContent, ""},
				{"with a proof that was used", "DPoP", good, http.StatusUnauthorized, oauth.CodeInvalidDPoPProof},
				{"with the proof of another key", "DPoP", proof(t, other, http.MethodGet, api+"/notes", ath(token)), http.StatusUnauthorized, oauth.CodeInvalidDPoPProof},
				{"with a proof for another token", "DPoP", proof(t, key, http.MethodGet, api+"/notes", ath("other")), http.StatusUnauthorized, oauth.CodeInvalidDPoPProof},
				{"without a proof", "DPoP", "", http.StatusUnauthorized, oauth.CodeInvalidDPoPProof},
				{"as a bearer token", "Bearer", proof(t, key, http.MethodGet, api+"/notes", ath(token)), http.StatusUnauthorized, oauth.CodeInvalidToken},
			} {
				r := httptest.NewRequest("GET", "/notes", nil).WithContext(t.Context())
				r.Header.Set("Authorization", request.scheme+" "+token)
				if request.proof != "" {
					r.Header.Set("DPoP", request.proof)
				}
				w := httptest.NewRecorder()
				route.ServeHTTP(w, r)
				if w.Code != request.status || !strings.Contains(w.Body.String(), request.code) {
					t.Errorf("%s: %d %s, want %d %s", request.what, w.Code, w.Body, request.status, request.code)
				}
			}
		})
	}
}

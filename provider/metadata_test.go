package provider_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lettergate/lettergate/config"
)

var documents = []string{"openid-configuration", "oauth-authorization-server"}

func TestAS78_Metadata(t *testing.T) {
	for _, path := range []string{"", "/id", "/a/b"} {
		t.Run("issuer"+path, func(t *testing.T) {
			s := start(t, options{path: path})
			var first answer
			for _, name := range documents {
				root := s.origin() + "/.well-known/" + name + path
				for _, url := range []string{s.url("/.well-known/" + name), root} {
					resp, err := s.Client().Get(url)
					a := read(t, resp, err)
					if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "public, max-age=300" {
						t.Fatalf("%s: %d %v", url, a.status, a.header)
					}
					if first.body == "" {
						first = a
					}
					if a.body != first.body {
						t.Errorf("%s says something else", url)
					}
				}
				// RootHandler serves what belongs to the root, and nothing else.
				w := httptest.NewRecorder()
				s.provider.RootHandler().ServeHTTP(w, httptest.NewRequest("GET", "/.well-known/"+name+path, nil))
				if w.Code != http.StatusOK || w.Body.String() != first.body {
					t.Errorf("RootHandler answers %d for %s", w.Code, name)
				}
			}
			w := httptest.NewRecorder()
			s.provider.RootHandler().ServeHTTP(w, httptest.NewRequest("GET", path+"/oauth2/jwks", nil))
			if w.Code != http.StatusNotFound {
				t.Errorf("RootHandler answers %d for the keys", w.Code)
			}
			m := first.json(t)
			if m["issuer"] != s.provider.Issuer() {
				t.Errorf("issuer %v", m["issuer"])
			}
			for name, v := range m {
				if u, ok := v.(string); ok && !strings.HasPrefix(u, s.provider.Issuer()) {
					t.Errorf("%s is %s", name, u)
				}
			}
			etag := first.header.Get("ETag")
			if a := s.send(s.request("GET", "/.well-known/openid-configuration", "", "If-None-Match", etag)); a.status != http.StatusNotModified || a.body != "" {
				t.Errorf("with its ETag: %d %q", a.status, a.body)
			}
		})
	}
}

// What the metadata lists works, and what works is listed.
func TestAS78_MetadataIsTrue(t *testing.T) {
	keys := newSignerKeys(t)
	s := start(t, options{config: func(c *config.Config) {
		keys.inline(t)(c)
		post := c.Clients[2]
		post.ID, post.TokenEndpointAuthMethod, post.IDTokenSignedResponseAlg = "post", config.AuthMethodPost, "EdDSA"
		c.Clients = append(c.Clients, post)
	}})
	m := s.get("/.well-known/openid-configuration").json(t)
	want := map[string]any{
		"response_types_supported":                      []any{"code"},
		"response_modes_supported":                      []any{"query", "form_post"},
		"subject_types_supported":                       []any{"public"},
		"code_challenge_methods_supported":              []any{"S256"},
		"grant_types_supported":                         []any{"authorization_code", "refresh_token", "client_credentials", config.GrantEmailCaptcha},
		"scopes_supported":                              []any{"email", "notes:read", "offline_access", "openid", "profile"},
		"id_token_signing_alg_values_supported":         []any{"ES256", "EdDSA", "RS256"},
		"token_endpoint_auth_methods_supported":         []any{"none", "client_secret_basic", "client_secret_post", "private_key_jwt"},
		"revocation_endpoint_auth_methods_supported":    []any{"none", "client_secret_basic", "client_secret_post", "private_key_jwt"},
		"introspection_endpoint_auth_methods_supported": []any{"client_secret_basic", "client_secret_post", "private_key_jwt"},
		"prompt_values_supported":                       []any{"none", "login", "consent", "select_account"},
		"request_parameter_supported":                   false,
		"request_uri_parameter_supported":               false,
		"claims_parameter_supported":                    false,
	}
	for name, v := range want {
		if diff := cmp.Diff(v, m[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if a := s.post("/oauth2/token", "grant_type", "client_credentials", "client_id", "post", "client_secret", backendSecret, "scope", "notes:read"); a.status != http.StatusOK {
		t.Errorf("client_secret_post: %d %s", a.status, a.body)
	}
	s.assertionsAreTrue(m, keys)
	for _, grant := range []string{"password", "implicit", "urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:token-exchange"} {
		s.post("/oauth2/token", "grant_type", grant, "client_id", webID).is(t, http.StatusBadRequest, "unsupported_grant_type")
	}
	for name, v := range m {
		u, ok := v.(string)
		if !ok || name == "issuer" {
			continue
		}
		method := map[bool]string{true: "POST", false: "GET"}[slices.Contains([]string{"token_endpoint", "introspection_endpoint", "revocation_endpoint", "email_verification_endpoint"}, name)]
		if a := s.send(s.request(method, strings.TrimPrefix(u, s.provider.Issuer()), "")); a.status == http.StatusNotFound || a.status == http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", name, a.status)
		}
	}
}

// assertionsAreTrue fails the test unless what the metadata lists for assertions is what
// works, at each endpoint that it lists it for.
func (s *server) assertionsAreTrue(m map[string]any, keys signerKeys) {
	s.t.Helper()
	own := s.tries(keys.es, time.Now()).json(s.t)["access_token"].(string)
	for name, path := range map[string]string{"token": "/oauth2/token", "introspection": "/oauth2/introspect", "revocation": "/oauth2/revoke"} {
		list := m[name+"_endpoint_auth_signing_alg_values_supported"]
		if diff := cmp.Diff([]any{"RS256", "PS256", "ES256", "EdDSA"}, list); diff != "" {
			s.t.Errorf("%s (-want +got):\n%s", name, diff)
			continue
		}
		for alg, k := range map[string]clientKey{
			"ES256": keys.es, "EdDSA": keys.ed, "RS256": keys.rs, "RS384": keys.rs, "RS512": keys.rs, "PS256": keys.rs, "PS384": keys.rs, "PS512": keys.rs,
		} {
			assertion := k.byLibrary(s.t, alg, s.claims(signerID, time.Now()))
			a := s.assert(path, assertion, "grant_type", "client_credentials", "token", own)
			if listed := slices.Contains(list.([]any), any(alg)); listed != (a.status == http.StatusOK) {
				s.t.Errorf("%s, %s is listed %v: %d %s", name, alg, listed, a.status, a.body)
			}
		}
		// client_secret_jwt is not listed.
		assertion := hmacSigned(object{"alg": "HS256"}.json(), s.claims(secretID, time.Now()).json(), []byte(backendSecret))
		s.assert(path, assertion, "grant_type", "client_credentials", "token", own).is(s.t, http.StatusUnauthorized, "invalid_client")
	}
}

func TestAS79_JWKS(t *testing.T) {
	s := start(t, options{config: func(c *config.Config) {
		c.Clients[0].IDTokenSignedResponseAlg, c.Clients[1].IDTokenSignedResponseAlg = "PS256", "EdDSA"
	}})
	a := s.get("/oauth2/jwks")
	if a.status != http.StatusOK || a.header.Get("Cache-Control") != "public, max-age=300" || len(a.body) > 16<<10 {
		t.Fatalf("%d, %d bytes, %v", a.status, len(a.body), a.header)
	}
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal([]byte(a.body), &set); err != nil {
		t.Fatal(err)
	}
	public := []string{"kty", "kid", "alg", "use", "n", "e", "crv", "x", "y"}
	kids, algs := map[any]bool{}, map[any]bool{}
	for _, key := range set.Keys {
		for member := range key {
			if !slices.Contains(public, member) {
				t.Errorf("a key of %v has the member %s", key["alg"], member)
			}
		}
		if key["use"] != "sig" || key["kid"] == nil || kids[key["kid"]] {
			t.Errorf("use %v, kid %v", key["use"], key["kid"])
		}
		kids[key["kid"]], algs[key["alg"]] = true, true
	}
	for _, alg := range []string{"ES256", "RS256", "PS256", "EdDSA"} {
		if !algs[alg] {
			t.Errorf("no key of %s", alg)
		}
	}
}

// withoutCloudBase takes the clients of the CloudBase API away, and with them the API.
func withoutCloudBase(c *config.Config) {
	c.Clients = slices.DeleteFunc(c.Clients, func(client config.Client) bool { return client.CloudBase })
}

func TestAS81_NothingElseIsServed(t *testing.T) {
	for _, path := range []string{"", "/id"} {
		s := start(t, options{path: path, config: withoutCloudBase})
		for _, p := range []string{
			"/metrics", "/debug/pprof", "/debug/pprof/", "/debug/vars", "/admin", "/admin/", "/admin/clients", "/dev/mailbox", "/dev/mailbox/messages.json",
			"/", "", "/oauth2", "/oauth2/", "/oauth2/token/", "/oauth2//token", "/oauth2/./token", "/x/../oauth2/token", "/oauth2/%74oken", "/OAUTH2/token",
			"/.well-known/", "/.well-known/webfinger", "/oauth2/register", "/oauth2/par", "/login/password", "/auth/v1/token",
		} {
			for _, method := range []string{"GET", "POST"} {
				if a := s.send(s.request(method, p, "")); a.status != http.StatusNotFound || a.header.Get("Location") != "" {
					t.Errorf("%s %s%s: %d %s", method, path, p, a.status, a.header.Get("Location"))
				}
			}
		}
		if path != "" { // nothing outside the issuer but its inserted metadata
			resp, err := s.Client().Get(s.origin() + "/oauth2/jwks")
			if a := read(t, resp, err); a.status != http.StatusNotFound {
				t.Errorf("outside the issuer's path: %d", a.status)
			}
		}
	}
}

package provider_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider"
	"github.com/lettergate/lettergate/provider/users"
)

// listed returns a list of the metadata.
func (s *server) listed(name string) []string {
	s.t.Helper()
	list, ok := s.get("/.well-known/openid-configuration").json(s.t)[name].([]any)
	if !ok || len(list) == 0 {
		s.t.Fatalf("the metadata has no %s", name)
	}
	var texts []string
	for _, v := range list {
		texts = append(texts, v.(string))
	}
	return texts
}

// TestAS78_AskedForEverything asks for each value that a specification knows: what the
// metadata lists is not refused, and what it does not list is.
func TestAS78_AskedForEverything(t *testing.T) {
	s := start(t, options{})
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	authorized := func(pairs ...string) bool {
		a := b.send(s.request("GET", authorizePath(webID, pairs...), ""))
		u, err := url.Parse(a.header.Get("Location"))
		return err == nil && a.status < 400 && !u.Query().Has("error") && !strings.Contains(u.Fragment, "error=")
	}
	for _, option := range []struct {
		list  string
		known []string
		works func(value string) bool
	}{
		{"response_types_supported", []string{"code", "token", "id_token", "id_token token", "code id_token", "code token", "code id_token token", "none"},
			func(v string) bool { return authorized("response_type", v) }},
		{"response_modes_supported", []string{"query", "fragment", "form_post", "jwt", "query.jwt", "fragment.jwt", "form_post.jwt", "web_message"},
			func(v string) bool { return authorized("response_mode", v) }},
		{"code_challenge_methods_supported", []string{"S256", "plain"}, func(v string) bool { return authorized("code_challenge_method", v) }},
		{"prompt_values_supported", []string{"none", "login", "consent", "select_account", "create"}, func(v string) bool { return authorized("prompt", v) }},
		{"scopes_supported", []string{"openid", "profile", "email", "offline_access", "address", "phone", "groups"}, func(v string) bool { return authorized("scope", v) }},
		{"grant_types_supported", []string{
			"authorization_code", "refresh_token", "client_credentials", config.GrantEmailCaptcha, "password", "implicit", "urn:ietf:params:oauth:grant-type:device_code",
			"urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:saml2-bearer", "urn:ietf:params:oauth:grant-type:token-exchange", "urn:openid:params:grant-type:ciba",
		}, func(v string) bool {
			return s.post("/oauth2/token", "grant_type", v, "client_id", webID).json(t)["error"] != "unsupported_grant_type"
		}},
	} {
		list := s.listed(option.list)
		for _, value := range append(option.known, list...) {
			if works := option.works(value); works != slices.Contains(list, value) {
				t.Errorf("%s lists %v, but of %q it is true that it works: %t", option.list, list, value, works)
			}
		}
	}
	m := s.get("/.well-known/openid-configuration").json(t)
	for name, param := range map[string]string{"request_parameter_supported": "request", "request_uri_parameter_supported": "request_uri"} {
		if works := authorized(param, "x"); works && m[name] == false {
			t.Errorf("%s is false, and %s is accepted", name, param)
		}
	}
}

// Each claim that the metadata lists is said by the ID token or by userinfo, and no other.
func TestAS78_Claims(t *testing.T) {
	s := start(t, options{})
	s.tokens("ann@example.com")
	s.change("ann@example.com", func(u *users.User) { u.Name, u.Username, u.Locale = "Ann", "ann", "en" })
	tokens := s.exchange(s.browser().signIn(authorizePath(webID, "scope", "openid email profile"), "ann@example.com").arrives(t, callback).Get("code")).json(t)
	said := claimsOf(t, tokens["id_token"])
	maps.Copy(said, s.userinfo(tokens["access_token"].(string)).json(t))
	list := s.listed("claims_supported")
	for _, name := range list {
		if said[name] == nil {
			t.Errorf("%s is listed, and nothing says it", name)
		}
	}
	for name := range said {
		if !slices.Contains(list, name) {
			t.Errorf("%s is said, and not listed", name)
		}
	}
}

func TestAS78_AddressesOfAPublicIssuer(t *testing.T) {
	s := start(t, options{direct: true, config: func(c *config.Config) { c.Issuer = "https://id.example/tenant" }})
	m := s.get("/.well-known/openid-configuration").json(t)
	n := 0
	for name, v := range m {
		text, ok := v.(string)
		if !ok {
			continue
		}
		n++
		if u, err := url.Parse(text); err != nil || u.Scheme != "https" || u.Host != "id.example" || !strings.HasPrefix(u.Path, "/tenant") || u.RawQuery != "" || u.Fragment != "" {
			t.Errorf("%s is %s", name, text)
		}
	}
	if n < 8 || m["issuer"] != "https://id.example/tenant" {
		t.Errorf("%d addresses, issuer %v", n, m["issuer"])
	}
}

// algorithms are those that an ID token can have, each with a client that has it.
var algorithms = map[string]string{"RS256": webID, "ES256": thirdID, "PS256": "ps256", "EdDSA": "eddsa"}

// signedDifferently gives each algorithm its client.
func signedDifferently(c *config.Config) {
	c.Clients[1].FirstParty, c.Clients[1].IDTokenSignedResponseAlg = true, "ES256"
	for _, alg := range []string{"PS256", "EdDSA"} {
		client := c.Clients[1]
		client.ID, client.IDTokenSignedResponseAlg = algorithms[alg], alg
		c.Clients = append(c.Clients, client)
	}
}

// TestOP15_EveryAlgorithm verifies an ID token of each algorithm that the metadata lists
// as a client does: by the published key that its header names.
func TestOP15_EveryAlgorithm(t *testing.T) {
	s := start(t, options{config: signedDifferently})
	list := s.listed("id_token_signing_alg_values_supported")
	if want := slices.Sorted(maps.Keys(algorithms)); !slices.Equal(slices.Sorted(slices.Values(list)), want) {
		t.Fatalf("the metadata lists %v, want %v", list, want)
	}
	var keys jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(s.get("/oauth2/jwks").body), &keys); err != nil {
		t.Fatal(err)
	}
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	for _, alg := range list {
		client := algorithms[alg]
		code := b.get(authorizePath(client)).arrives(t, callback).Get("code")
		tokens := s.post("/oauth2/token", append(without("client_id", exchangeForm(code)), "client_id", client)...).json(t)
		claims := verified(t, keys, alg, tokens["id_token"])
		if claims["iss"] != s.provider.Issuer() || claims["aud"] != client || claims["nonce"] != "some-nonce" || claims["at_hash"] != halfHash(alg, tokens["access_token"].(string)) {
			t.Errorf("%s: %v", alg, claims)
		}
		next := s.post("/oauth2/token", "grant_type", "refresh_token", "client_id", client, "refresh_token", tokens["refresh_token"].(string)).json(t)
		if again := verified(t, keys, alg, next["id_token"]); again["at_hash"] != halfHash(alg, next["access_token"].(string)) {
			t.Errorf("%s, refreshed: %v", alg, again)
		}
		verified(t, keys, "ES256", tokens["access_token"])
		hinted := b.send(s.request("GET", authorizePath(client, "prompt", "none", "id_token_hint", tokens["id_token"].(string)), ""))
		if hinted.arrives(t, callback).Get("code") == "" {
			t.Errorf("%s: the issuer does not know its own ID token", alg)
		}
	}
}

// verified returns the claims of a JWT that a published key of the algorithm has signed.
func verified(t *testing.T, keys jose.JSONWebKeySet, alg string, token any) (claims map[string]any) {
	t.Helper()
	text, _ := token.(string)
	jws, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
	if err != nil {
		t.Fatalf("%s: %v", alg, err)
	}
	found := keys.Key(jws.Signatures[0].Header.KeyID)
	if len(found) != 1 || found[0].Algorithm != alg {
		t.Fatalf("%s: %d published keys have the kid of the token", alg, len(found))
	}
	payload, err := jws.Verify(found[0])
	if err != nil {
		t.Fatalf("%s: %v", alg, err)
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// halfHash is at_hash (OpenID Connect Core section 3.1.3.6). Ed25519 hashes with SHA-512.
func halfHash(alg, token string) string {
	sum := sha256.Sum256([]byte(token))
	half := sum[:16]
	if alg == "EdDSA" {
		long := sha512.Sum512([]byte(token))
		half = long[:32]
	}
	return base64.RawURLEncoding.EncodeToString(half)
}

func TestOP15_OtherAlgorithmsAreNotRegistered(t *testing.T) {
	for _, alg := range []string{"none", "None", "HS256", "HS384", "HS512", "RS1", "RS384", "RS512", "ES384", "ES512", "ES256K", "PS384", "Ed25519", "rs256", " RS256", "RSA-OAEP"} {
		for i := range 3 { // public, public and third party, confidential
			cfg := testConfig("http://localhost:8080")
			cfg.Clients[i].IDTokenSignedResponseAlg = alg
			if _, err := provider.New(cfg, quiet(nil)); err == nil || !strings.Contains(err.Error(), "id_token_signed_response_alg") {
				t.Errorf("%q of %s: %v", alg, cfg.Clients[i].ID, err)
			}
		}
	}
}

// TestOP14_ClaimsParameter asks for claims by a parameter that the metadata says is not
// supported: whatever is in it, it gets nothing, and costs nothing.
func TestOP14_ClaimsParameter(t *testing.T) {
	s, _ := counted(t, options{})
	if s.get("/.well-known/openid-configuration").json(t)["claims_parameter_supported"] != false {
		t.Fatal("the claims parameter is supported: ask for what it should do")
	}
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	nested := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for name, claims := range map[string]string{
		"not consented": `{"id_token":{"email":{"essential":true},"name":null,"sub":{"value":"evil"}},"userinfo":{"email":{"essential":true},"name":null,"phone_number":null}}`,
		"broken":        `{"id_token":`, "no JSON": "email", "an array": `["email"]`, "a number": "1e999", "null": "null", "names twice": `{"userinfo":{},"userinfo":{"email":null}}`,
		"nested": nested(900), "brackets": strings.Repeat("[", 7_000),
	} {
		tokens := s.exchange(b.nextCode("scope", "openid", "claims", claims)).json(t)
		id, info := claimsOf(t, tokens["id_token"]), s.userinfo(tokens["access_token"].(string)).json(t)
		if id["email"] != nil || id["name"] != nil || info["email"] != nil || info["name"] != nil || id["sub"] != info["sub"] || info["sub"] == "evil" || len(info) != 1 {
			t.Errorf("%s: the ID token says %v, userinfo %v", name, id, info)
		}
	}
	for _, n := range []int{10_000, 100_000} { // longer than a request may be
		b.send(s.request("GET", authorizePath(webID, "claims", nested(n)), "")).isPage(t, http.StatusBadRequest)
		if a := b.send(s.request("POST", "/oauth2/authorize", "claims="+nested(n))); a.status != http.StatusBadRequest && a.status != http.StatusRequestEntityTooLarge {
			t.Errorf("%d levels of claims: %d", n, a.status)
		}
	}
	// Depth costs no more than length.
	cost := func(claims string) float64 {
		req := s.request("GET", authorizePath(webID, "prompt", "none", "claims", claims), "")
		return testing.AllocsPerRun(20, func() { s.send(req) })
	}
	deep, flat := nested(900), fmt.Sprintf(`{"a":"%s"}`, strings.Repeat("a:{}", 1500))
	if d, f := cost(deep), cost(flat); d > f+200 {
		t.Errorf("nested claims cost %.0f allocations, flat ones %.0f", d, f)
	}
}

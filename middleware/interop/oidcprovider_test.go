//go:build browser

package interop_test

import (
	"crypto/rand"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

// patience is how long a test waits for what takes a moment.
const patience = 20 * time.Second

// TestOIDCProvider runs oidc-provider of npm. Its tests share an installation.
func TestOIDCProvider(t *testing.T) {
	folder := install(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, string)
	}{
		{"Tokens", testTokens},
		{"Person", testPerson},
		{"Session", testSession},
		{"Down", testDown},
		{"Rotation", testRotation},
		{"Bound", testBound},
		{"Opaque", testOpaque},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, folder)
		})
	}
}

// testTokens asks for the tokens of a machine.
func testTokens(t *testing.T, folder string) {
	keys := []jose.JSONWebKey{newKey(t, "r", ""), newKey(t, "e", "ES256"), newKey(t, "d", "EdDSA")}
	algs := map[string]string{"ES256": "https://es256.example", "EdDSA": "https://eddsa.example", "RS256": "https://rs256.example", "PS256": "https://ps256.example"}
	i := newNodeIssuer(t, folder)
	for alg, name := range algs {
		i.config.Resources[name] = newResource("jwt", alg)
	}
	i.start(keys...)
	verifier, err := middleware.ForIssuer(i.url, api)
	if err != nil {
		t.Fatal(err)
	}
	route := protect(verifier, "notes:read")
	good := i.machine(api, "notes:read")

	t.Run("Good", func(t *testing.T) { passes(t, route, good, "machine by machine with notes:read") })
	t.Run("RS04_Expired", func(t *testing.T) {
		var c clock
		verifier, _ := forIssuer(t, &c, i.url)
		route := protect(verifier, "notes:read")
		c.step(59 * time.Minute)
		passes(t, route, good, "machine by machine with notes:read")
		c.step(2 * time.Minute)
		refuses(t, route, good, http.StatusUnauthorized, oauth.CodeInvalidToken)
	})
	t.Run("RS05_Scope", func(t *testing.T) {
		refuses(t, route, i.machine(api, "notes:write"), http.StatusForbidden, oauth.CodeInsufficientScope)
		refuses(t, route, i.machine(api), http.StatusForbidden, oauth.CodeInsufficientScope)
	})
	t.Run("RS07_Algorithms", func(t *testing.T) {
		for alg, name := range algs {
			verifier, err := middleware.ForIssuer(i.url, name)
			if err != nil {
				t.Fatal(err)
			}
			token := i.machine(name, "notes:read")
			signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
			if err != nil {
				t.Fatalf("the issuer did not sign with %s: %v", alg, err)
			}
			if got := signed.Signatures[0].Header.ExtraHeaders["typ"]; got != "at+jwt" {
				t.Errorf("typ %q", got)
			}
			passes(t, protect(verifier, "notes:read"), token, "machine by machine with notes:read")
		}
	})
	t.Run("RS08_OtherIssuer", func(t *testing.T) {
		// With the same keys, so that only its name tells it from ours.
		other := newNodeIssuer(t, folder)
		other.start(keys...)
		foreign := other.machine(api, "notes:read")
		refuses(t, route, foreign, http.StatusUnauthorized, oauth.CodeInvalidToken)
		if got := reason(t, verifier, foreign); !strings.Contains(got, "iss is another issuer") {
			t.Errorf("refused because: %s", got)
		}
	})
	t.Run("RS09_OtherService", func(t *testing.T) {
		refuses(t, route, i.machine(algs["ES256"], "notes:read"), http.StatusUnauthorized, oauth.CodeInvalidToken)
	})
	t.Run("RS22_BoundTokenAsBearer", func(t *testing.T) {
		bound := boundToken(t, i.url+"/token", api, newKey(t, "", "ES256"))
		refuses(t, route, bound, http.StatusUnauthorized, oauth.CodeInvalidToken)
		if got := reason(t, verifier, bound); !strings.Contains(got, "bound to a key") {
			t.Errorf("refused because: %s", got)
		}
	})
}

// boundToken gets a machine's token that is bound to key by DPoP.
func boundToken(t *testing.T, tokenURL, resource string, key jose.JSONWebKey) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "resource": {resource}, "scope": {"notes:read"}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, tokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("machine", "secret")
	r.Header.Set("DPoP", proof(t, key, http.MethodPost, tokenURL, nil))
	var answer struct {
		Token string `json:"access_token"`
		Type  string `json:"token_type"`
	}
	if err := json.Unmarshal([]byte(fetch(t, r)), &answer); err != nil || answer.Type != "DPoP" {
		t.Fatalf("no bound token: %+v %v", answer, err)
	}
	return answer.Token
}

// proof signs a DPoP proof.
func proof(t *testing.T, key jose.JSONWebKey, method, target string, more map[string]any) string {
	t.Helper()
	options := (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key.Key}, options)
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": target, "iat": time.Now().Unix()}
	maps.Copy(claims, more)
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// fetch returns the body of an answer that has to be good.
func fetch(t *testing.T, r *http.Request) string {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s %v", r.URL, resp.StatusCode, body, err)
	}
	return string(body)
}

// testPerson signs somebody in, and presents as an access token everything else that the
// issuer signs for the client.
func testPerson(t *testing.T, folder string) {
	logouts := make(chan string, 1)
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { logouts <- r.FormValue("logout_token") }))
	t.Cleanup(app.Close)
	i := newNodeIssuer(t, folder)
	for name, value := range map[string]string{
		"backchannel_logout_uri": app.URL, "userinfo_signed_response_alg": "RS256", "introspection_signed_response_alg": "RS256",
	} {
		i.config.Clients[0][name] = value
	}
	i.start(newKey(t, "r", ""), newKey(t, "e", "ES256"))
	// The client's name is a name of the service as well, so that all of these tokens
	// are for it.
	verifier, err := middleware.ForIssuer(i.url, api, "web")
	if err != nil {
		t.Fatal(err)
	}
	route := protect(verifier)
	ann := newPerson(t, url.Values{"login": {"ann"}, "password": {"any"}, "logout": {"yes"}})
	signedIn := ann.signIn(i.web("openid", "notes:read"), oauth2.SetAuthURLParam("resource", api))
	passes(t, route, signedIn.AccessToken, "ann by web with notes:read")

	idToken, _ := signedIn.Extra("id_token").(string)
	opaque := ann.signIn(i.web("openid")).AccessToken
	userinfo, err := http.NewRequestWithContext(t.Context(), http.MethodGet, i.url+"/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	userinfo.Header.Set("Authorization", "Bearer "+opaque)
	introspection, err := http.NewRequestWithContext(t.Context(), http.MethodPost, i.url+"/token/introspection", strings.NewReader("client_id=web&token="+opaque))
	if err != nil {
		t.Fatal(err)
	}
	introspection.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	introspection.Header.Set("Accept", "application/token-introspection+jwt")
	others := map[string]string{"ID token": idToken, "userinfo": fetch(t, userinfo), "introspection": fetch(t, introspection)}
	ann.visit(i.url + "/session/end?id_token_hint=" + idToken)
	select {
	case others["logout token"] = <-logouts:
	case <-time.After(patience):
		t.Fatal("no logout token arrived")
	}
	for name, token := range others {
		t.Run("RS06_"+name, func(t *testing.T) {
			refuses(t, route, token, http.StatusUnauthorized, oauth.CodeInvalidToken)
			if got := reason(t, verifier, token); !strings.Contains(got, "typ") {
				t.Errorf("refused because: %s", got)
			}
		})
	}
	t.Run("RS04_Opaque", func(t *testing.T) { refuses(t, route, opaque, http.StatusUnauthorized, oauth.CodeInvalidToken) })
}

// testDown has the issuer come late, and go.
func testDown(t *testing.T, folder string) {
	i := newNodeIssuer(t, folder)
	key := newKey(t, "e", "ES256")
	i.start(key)
	token := i.machine(api, "notes:read")
	i.stop()

	var c clock
	verifier, _ := forIssuer(t, &c, i.url)
	route := protect(verifier)
	for range 3 {
		refuses(t, route, token, http.StatusServiceUnavailable, oauth.CodeTemporarilyUnavailable)
	}
	i.start(key)
	c.step(2 * time.Second)
	passes(t, route, token, "machine by machine with notes:read")
	i.stop()
	for range 6 {
		c.step(5 * time.Minute)
		passes(t, route, token, "machine by machine with notes:read")
	}
}

// testRotation has many requests at each step of it, none of which may fail.
func testRotation(t *testing.T, folder string) {
	i := newNodeIssuer(t, folder)
	a, b, d := newKey(t, "a", "ES256"), newKey(t, "b", "ES256"), newKey(t, "d", "ES256")
	var c clock
	verifier, keys := forIssuer(t, &c, i.url)
	route := protect(verifier)
	flood := func(token string) {
		t.Helper()
		var requests sync.WaitGroup
		for range 64 {
			requests.Go(func() { passes(t, route, token, "machine by machine with notes:read") })
		}
		requests.Wait()
	}

	i.start(a)
	byA := i.machine(api, "notes:read")
	flood(byA)

	// The next key is published. It is asked for by name, to know that it has arrived.
	i.stop()
	flood(byA)
	i.start(a, b)
	c.step(6 * time.Minute)
	flood(byA)
	if _, err := keys.Key(t.Context(), "b", "ES256"); err != nil {
		t.Errorf("the key that was published: %v", err)
	}

	// It is used, and no request waits for the issuer.
	i.stop()
	i.start(b, a)
	byB := i.machine(api, "notes:read")
	i.stop()
	flood(byB)
	flood(byA)

	// The old key is withdrawn.
	i.start(b)
	c.step(11 * time.Minute)
	flood(byB)
	refuses(t, route, byA, http.StatusUnauthorized, oauth.CodeInvalidToken)

	// A key that nobody was told about.
	i.stop()
	i.start(d)
	c.step(31 * time.Second)
	flood(i.machine(api, "notes:read"))
	refuses(t, route, byB, http.StatusUnauthorized, oauth.CodeInvalidToken)
}

//go:build browser

package interop_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// install has npm fetch oidc-provider into a copy of its folder.
func install(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("this test runs oidc-provider and needs Node.js and npm: %s is not in PATH", program)
		}
	}
	folder := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc", "issuer.mjs"} {
		raw, err := os.ReadFile(filepath.Join("oidc-provider", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), raw, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	npm := exec.CommandContext(t.Context(), "npm", "ci", "--prefer-offline", "--no-audit", "--no-fund")
	npm.Dir = folder
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm ci could not fetch oidc-provider: %v\n%s", err, out)
	}
	return folder
}

// A resource is a protected service as oidc-provider knows it.
type resource struct {
	Scope     string `json:"scope"`
	Format    string `json:"accessTokenFormat"` // jwt or opaque
	LifeInSec int    `json:"accessTokenTTL"`
	JWT       struct {
		Sign struct {
			Alg string `json:"alg"`
		} `json:"sign"`
	} `json:"jwt"`
}

func newResource(format, alg string) resource {
	r := resource{Scope: "notes:read notes:write", Format: format, LifeInSec: 3600}
	r.JWT.Sign.Alg = alg
	return r
}

// A nodeIssuer is oidc-provider. It can be stopped and started again at its URL.
type nodeIssuer struct {
	t      *testing.T
	folder string
	url    string
	config struct {
		Port      int                 `json:"port"`
		Keys      []jose.JSONWebKey   `json:"keys"`
		Clients   []map[string]any    `json:"clients"`
		Resources map[string]resource `json:"resources"`
	}
	stop func() // does nothing while it does not run
}

// newNodeIssuer returns an issuer that does not run yet.
func newNodeIssuer(t *testing.T, folder string) *nodeIssuer {
	t.Helper()
	i := &nodeIssuer{t: t, folder: folder}
	i.config.Port = freePort(t)
	i.url = fmt.Sprintf("http://127.0.0.1:%d", i.config.Port)
	i.config.Clients = []map[string]any{{
		"client_id": "web", "token_endpoint_auth_method": "none", "redirect_uris": []string{callback},
	}, {
		"client_id": "machine", "client_secret": "secret",
		"grant_types": []string{"client_credentials"}, "redirect_uris": []string{}, "response_types": []string{},
		// It gets neither, but the issuer wants to have a key for them.
		"id_token_signed_response_alg": "ES256", "introspection_signed_response_alg": "ES256",
	}}
	i.config.Resources = map[string]resource{api: newResource("jwt", "ES256")}
	t.Cleanup(func() { i.stop() })
	i.stop = func() {}
	return i
}

// start runs the issuer with these keys, the first of which signs, and returns when it
// listens.
func (i *nodeIssuer) start(keys ...jose.JSONWebKey) {
	i.t.Helper()
	i.config.Keys = keys
	config, err := json.Marshal(i.config)
	if err != nil {
		i.t.Fatal(err)
	}
	cmd := exec.Command("node", "issuer.mjs")
	cmd.Dir = i.folder
	var said strings.Builder
	cmd.Stderr = &said
	stdin, err := cmd.StdinPipe()
	if err != nil {
		i.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		i.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		i.t.Fatal(err)
	}
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stdout); lines.Scan(); { // it talks a lot
			if lines.Text() == "ready" {
				close(ready)
			}
		}
	}()
	i.stop = func() {
		stdin.Close() // which tells it
		<-ended
		if err := cmd.Wait(); err != nil {
			i.t.Errorf("the issuer ended with %v and said:\n%s", err, said.String())
		}
		i.stop = func() {}
	}
	if _, err := stdin.Write(append(config, '\n')); err != nil {
		i.t.Fatalf("the issuer does not read its configuration: %v", err)
	}
	select {
	case <-ready:
	case <-ended:
		i.t.Fatal("the issuer ended instead of starting")
	}
}

// machine gets a token of the client machine for a resource.
func (i *nodeIssuer) machine(resource string, scopes ...string) string {
	i.t.Helper()
	return machine(i.t, clientcredentials.Config{
		ClientID: "machine", ClientSecret: "secret", TokenURL: i.url + "/token", Scopes: scopes,
		EndpointParams: url.Values{"resource": {resource}},
	})
}

// web is the client of a person's sign-in.
func (i *nodeIssuer) web(scopes ...string) *oauth2.Config {
	return &oauth2.Config{ClientID: "web", RedirectURL: callback, Scopes: scopes, Endpoint: oauth2.Endpoint{
		AuthURL: i.url + "/auth", TokenURL: i.url + "/token", AuthStyle: oauth2.AuthStyleInParams,
	}}
}

// newKey makes a key for an algorithm.
func newKey(t *testing.T, kid, alg string) jose.JSONWebKey {
	t.Helper()
	key := jose.JSONWebKey{KeyID: kid, Algorithm: alg, Use: "sig"}
	var err error
	switch alg {
	case "ES256":
		key.Key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, key.Key, err = ed25519.GenerateKey(rand.Reader)
	case "": // for RS256 and PS256
		key.Key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		t.Fatalf("no key for %s", alg)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// freePort finds a port of 127.0.0.1 that nobody listens on. It is below those that the
// system gives to outgoing connections, so nobody takes it while the issuer is stopped.
func freePort(t *testing.T) int {
	t.Helper()
	const from, to = 15000, 32000
	for range 100 {
		port := from + mathrand.IntN(to-from)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no free port on 127.0.0.1")
	return 0
}

package middleware_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lettergate/lettergate/middleware"
	"github.com/lettergate/lettergate/oauth"
)

// A client holds the key that its tokens are bound to.
type client struct {
	private *ecdsa.PrivateKey
	jkt     string
	made    atomic.Int64 // proofs
}

func newClient(t testing.TB) *client {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := jose.JSONWebKey{Key: private.Public()}
	print, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return &client{private: private, jkt: base64.RawURLEncoding.EncodeToString(print)}
}

// cnf are the claims of a token that is bound to the client.
func (c *client) cnf() map[string]any { return map[string]any{"cnf": map[string]string{"jkt": c.jkt}} }

// proof returns a new proof for a request with token, changed by changes.
func (c *client) proof(t testing.TB, method, address, token string, changes map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: c.private}, (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(token))
	claims := map[string]any{
		"jti": fmt.Sprint("proof-", c.made.Add(1)), "htm": method, "htu": address, "iat": time.Now().Unix(),
		"ath": base64.RawURLEncoding.EncodeToString(sum[:]),
	}
	for name, value := range changes {
		claims[name] = value
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

// with returns a request with an Authorization header and DPoP headers.
func with(authorization string, proofs ...string) *http.Request {
	r := get(authorization)
	r.Header["Dpop"] = proofs
	return r
}

const (
	dpopAlgs     = `algs="ES256 EdDSA PS256 RS256"`
	proofRefused = `DPoP error="invalid_dpop_proof", error_description="The DPoP proof is missing, malformed, too old, used before or not for this request and token.", ` + dpopAlgs
	dpopInvalid  = `DPoP error="invalid_token", error_description="The access token is expired, revoked, malformed or not meant for this service.", ` + dpopAlgs
)

func wantChallenges(t *testing.T, w *httptest.ResponseRecorder, want ...string) {
	t.Helper()
	if got := w.Header()["Www-Authenticate"]; !slices.Equal(got, want) {
		t.Errorf("challenges\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// newDPoPGuard returns a guard of https://api.example that accepts DPoP.
func newDPoPGuard(t testing.TB, change func(*middleware.Config)) (*issuer, *middleware.Guard) {
	t.Helper()
	cfg := middleware.Config{DPoP: new(oauth.DPoPConfig), BaseURLs: []string{api}}
	if change != nil {
		change(&cfg)
	}
	return newGuard(t, cfg)
}

func TestRS01_BothSchemesAreOffered(t *testing.T) {
	handler := new(counter)
	_, g := newDPoPGuard(t, nil)
	wantChallenges(t, wantStatus(t, g.Require()(handler), handler, get(""), 401), "Bearer", "DPoP "+dpopAlgs)
	_, g = newDPoPGuard(t, func(cfg *middleware.Config) { cfg.BoundOnly = true })
	wantChallenges(t, wantStatus(t, g.Require()(handler), handler, get(""), 401), "DPoP "+dpopAlgs)
	_, g = newDPoPGuard(t, func(cfg *middleware.Config) { cfg.Metadata.Resource, cfg.BaseURLs = api, nil })
	const named = `resource_metadata="https://api.example/.well-known/oauth-protected-resource"`
	wantChallenges(t, wantStatus(t, g.Require()(handler), handler, get(""), 401), "Bearer "+named, "DPoP "+dpopAlgs+", "+named)
}

// A bound token counts for nothing without its proof, and an unbound one is not better
// for a proof.
func TestRS22_SchemeAndBinding(t *testing.T) {
	i, g := newDPoPGuard(t, nil)
	c := newClient(t)
	handler := new(counter)
	route := g.Require("notes:read")(handler)
	bound, plain := i.token("notes:read", c.cnf()), i.token("notes:read", nil)
	const address = api + "/notes"

	wantStatus(t, route, handler, get("Bearer "+plain), 200)
	wantStatus(t, route, handler, with("DPoP "+bound, c.proof(t, "GET", address, bound, nil)), 200)
	wantStatus(t, route, handler, with("dpop "+bound, c.proof(t, "GET", address, bound, nil)), 200)

	for _, r := range []*http.Request{get("Bearer " + bound), with("Bearer "+bound, c.proof(t, "GET", address, bound, nil))} {
		w := wantStatus(t, route, handler, r, 401)
		wantChallenges(t, w, invalidChallenge, "DPoP "+dpopAlgs)
	}
	for _, token := range []string{plain, i.token("notes:read", map[string]any{"cnf": map[string]string{"x5t#S256": c.jkt}}), i.token("notes:read", map[string]any{"cnf": map[string]string{"kid": "x"}}), "x"} {
		w := wantStatus(t, route, handler, with("DPoP "+token, c.proof(t, "GET", address, token, nil)), 401)
		wantChallenges(t, w, dpopInvalid)
	}
	for _, authorization := range []string{"DPoP", "DPoP a b", "DPoP " + bound + " x"} {
		w := wantStatus(t, route, handler, with(authorization, c.proof(t, "GET", address, bound, nil)), 400)
		if got := w.Header().Get("WWW-Authenticate"); !strings.HasPrefix(got, `DPoP error="invalid_request"`) {
			t.Errorf("%q: %s", authorization, got)
		}
	}
	// What the token lacks is said in the scheme that it came with.
	few := i.token("", c.cnf())
	w := wantStatus(t, route, handler, with("DPoP "+few, c.proof(t, "GET", address, few, nil)), 403)
	wantChallenges(t, w, `DPoP error="insufficient_scope", error_description="The access token does not have the scopes that this needs.", scope="notes:read", `+dpopAlgs)
}

func TestRS22_BoundOnly(t *testing.T) {
	i, g := newDPoPGuard(t, func(cfg *middleware.Config) { cfg.BoundOnly = true })
	c := newClient(t)
	handler := new(counter)
	bound := i.token("", c.cnf())
	wantStatus(t, g.Require()(handler), handler, with("DPoP "+bound, c.proof(t, "GET", api+"/notes", bound, nil)), 200)
	wantChallenges(t, wantStatus(t, g.Require()(handler), handler, get("Bearer "+i.token("", nil)), 401), dpopInvalid)
}

// A verifier that does not look at cnf does not make a bound token a plain one.
func TestRS22_VerifierThatAcceptsBoundTokens(t *testing.T) {
	i, _ := newGuard(t, middleware.Config{})
	careless := carelessVerifier(t, i)
	handler := new(counter)
	w := wantStatus(t, middleware.Require(careless)(handler), handler, get("Bearer "+i.token("", newClient(t).cnf())), 401)
	wantRefused(t, w, 401, invalidChallenge, invalidBody)
}

func carelessVerifier(t *testing.T, i *issuer) oauth.Verifier {
	t.Helper()
	v, err := middleware.ForIssuer(i.url, api)
	if err != nil {
		t.Fatal(err)
	}
	return verifierFunc(v.(oauth.BoundVerifier).VerifyBound)
}

func TestRS23_Proofs(t *testing.T) {
	i, g := newDPoPGuard(t, nil)
	c, other := newClient(t), newClient(t)
	handler := new(counter)
	route := g.Require()(handler)
	token := i.token("", c.cnf())
	const address = api + "/notes"
	good := c.proof(t, "GET", address, token, nil)
	for name, proofs := range map[string][]string{
		"none":          {},
		"two":           {good, c.proof(t, "GET", address, token, nil)},
		"twice the one": {good, good},
		"empty":         {""},
		"garbage":       {"x"},
		"another key":   {other.proof(t, "GET", address, token, nil)},
		"method":        {c.proof(t, "POST", address, token, nil)},
		"path":          {c.proof(t, "GET", api+"/other", token, nil)},
		"host":          {c.proof(t, "GET", "https://evil.example/notes", token, nil)},
		"other token":   {c.proof(t, "GET", address, "x", nil)},
		"old":           {c.proof(t, "GET", address, token, map[string]any{"iat": time.Now().Unix() - 65})},
		"early":         {c.proof(t, "GET", address, token, map[string]any{"iat": time.Now().Unix() + 65})},
	} {
		t.Run(name, func(t *testing.T) {
			w := wantStatus(t, route, handler, with("DPoP "+token, proofs...), 401)
			wantChallenges(t, w, proofRefused)
			if !strings.Contains(w.Body.String(), `"error":"invalid_dpop_proof"`) || w.Header().Get("DPoP-Nonce") != "" {
				t.Errorf("%v %s", w.Header(), w.Body)
			}
		})
	}
	wantStatus(t, route, handler, with("DPoP "+token, good), 200)
	wantChallenges(t, wantStatus(t, route, handler, with("DPoP "+token, good), 401), proofRefused) // RS-25: once
}

// What a proof is compared with is the configuration and the path that was sent,
// however the server is reached.
func TestRS24_Addresses(t *testing.T) {
	i, g := newDPoPGuard(t, func(cfg *middleware.Config) {
		cfg.BaseURLs = []string{api, "https://public.example/v1/"}
	})
	c := newClient(t)
	handler := new(counter)
	mux := http.NewServeMux()
	mux.Handle("/stripped/", http.StripPrefix("/stripped", g.Require()(handler)))
	token := i.token("", c.cnf())
	for _, k := range []struct {
		target, host, htu string
		status            int
	}{
		{"/notes", "api.example", api + "/notes", 200},
		{"/notes?a=b", "api.example", api + "/notes", 200},
		{"/notes?a=b", "api.example", api + "/notes?c=d#e", 200},
		{"/notes", "api.example", "HTTPS://API.EXAMPLE:443/%6eotes", 200},
		{"/a%2fb/c%20d", "api.example", api + "/a%2Fb/c%20d", 200},
		{"/a%2fb", "api.example", api + "/a/b", 401},
		{"/notes", "internal:8080", "https://public.example/v1/notes", 200},
		{"/v1/notes", "public.example", "https://public.example/v1/notes", 401},
		{"/", "api.example", api, 200},
		{"https://evil.example/notes", "", api + "/notes", 200},
		{"https://evil.example/notes", "", "https://evil.example/notes", 401},
		{"https://evil.example?a=/notes", "", api + "/notes", 401},
		{"https://evil.example?a=/notes", "", api + "/", 200},
		{"/notes", "evil.example", "https://evil.example/notes", 401},
		{"/notes", "evil.example", api + "/notes", 200}, // behind a proxy
		{"/notes", "api.example:443", api + ":8443/notes", 401},
		{"/notes", "api.example", "http://api.example/notes", 401},
		{"/stripped/notes", "api.example", api + "/stripped/notes", 200},
		{"/stripped/notes", "api.example", api + "/notes", 401},
		{"/notes#x", "api.example", api + "/notes", 401}, // a path that ends in #x, not a fragment
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RequestURI, r.Host = k.target, k.host
		parsed, err := r.URL.Parse(strings.ReplaceAll(k.target, "#", "%23"))
		if err != nil {
			t.Fatal(err)
		}
		r.URL = parsed
		r.Header.Set("X-Forwarded-Host", "evil.example")
		r.Header.Set("Authorization", "DPoP "+token)
		r.Header.Set("DPoP", c.proof(t, "GET", k.htu, token, nil))
		route := g.Require()(handler)
		if strings.HasPrefix(k.target, "/stripped/") {
			route = mux
		}
		if w := wantStatus(t, route, handler, r, k.status); t.Failed() {
			t.Fatalf("%+v: %d", k, w.Code)
		}
	}
}

// Several replicas with one store: a proof passes once.
func TestRS25_OneWinnerAcrossReplicas(t *testing.T) {
	shared := oauth.NewReplayMemory(0, nil)
	i := newIssuer()
	defer i.close()
	handler := new(counter)
	var replicas []http.Handler
	for range 4 {
		v, err := middleware.ForIssuer(i.url, api)
		if err != nil {
			t.Fatal(err)
		}
		g := guardFor(t, v, middleware.Config{BaseURLs: []string{api}, DPoP: &oauth.DPoPConfig{Replays: shared}})
		replicas = append(replicas, g.Require()(handler))
	}
	c := newClient(t)
	token := i.token("", c.cnf())
	for range 10 {
		proof := c.proof(t, "GET", api+"/notes", token, nil)
		before := handler.ran.Load()
		var wg sync.WaitGroup
		for n := range 16 {
			wg.Go(func() { replicas[n%4].ServeHTTP(httptest.NewRecorder(), with("DPoP "+token, proof)) })
		}
		wg.Wait()
		if won := handler.ran.Load() - before; won != 1 {
			t.Errorf("%d requests with one proof passed", won)
		}
	}
}

func TestRS25_ReplayStoreIsDown(t *testing.T) {
	i, g := newDPoPGuard(t, func(cfg *middleware.Config) { cfg.DPoP.Replays = downReplays{} })
	c := newClient(t)
	handler := new(counter)
	token := i.token("", c.cnf())
	w := wantStatus(t, g.Require()(handler), handler, with("DPoP "+token, c.proof(t, "GET", api+"/notes", token, nil)), 503)
	wantRefused(t, w, 503, "", unavailableBody)
}

func TestRS26_Nonce(t *testing.T) {
	now := time.Now()
	i, g := newDPoPGuard(t, func(cfg *middleware.Config) {
		cfg.DPoP = &oauth.DPoPConfig{RequireNonce: true, Now: func() time.Time { return now }}
	})
	c := newClient(t)
	handler := new(counter)
	route := g.Require()(handler)
	token := i.token("", c.cnf())
	send := func(nonce any) *http.Request {
		changes := map[string]any{"iat": now.Unix()}
		if nonce != nil {
			changes["nonce"] = nonce
		}
		return with("DPoP "+token, c.proof(t, "GET", api+"/notes", token, changes))
	}
	const wanted = `DPoP error="use_dpop_nonce", error_description="The DPoP proof needs the nonce that is in DPoP-Nonce.", ` + dpopAlgs
	nonce := ""
	for _, bad := range []any{nil, "another server's"} {
		w := wantStatus(t, route, handler, send(bad), 401)
		wantChallenges(t, w, wanted)
		if nonce = w.Header().Get("DPoP-Nonce"); nonce == "" || !strings.Contains(w.Body.String(), `"error":"use_dpop_nonce"`) {
			t.Errorf("%v %s", w.Header(), w.Body)
		}
	}
	if w := wantStatus(t, route, handler, get(""), 401); w.Header().Get("DPoP-Nonce") != nonce {
		t.Error("the first challenge could have brought the nonce")
	}
	if w := wantStatus(t, route, handler, send(nonce), 200); w.Header().Get("DPoP-Nonce") != "" {
		t.Error("a nonce that is good is renewed")
	}
	now = now.Add(5 * time.Minute)
	w := wantStatus(t, route, handler, send(nonce), 200)
	if fresh := w.Header().Get("DPoP-Nonce"); fresh == "" || fresh == nonce {
		t.Errorf("a nonce that is about to go is not renewed: %q", fresh)
	}
	now = now.Add(5 * time.Minute)
	wantChallenges(t, wantStatus(t, route, handler, send(nonce), 401), wanted)
}

type downReplays struct{}

func (downReplays) First(_ context.Context, _ string, _ time.Time) (bool, error) {
	return true, errors.New("connection refused")
}

// A token that is bound to a certificate passes on a connection with that certificate
// (RFC 8705), over real TLS, and nowhere else.
func TestRS22_ClientCertificates(t *testing.T) {
	i, g := newGuard(t, middleware.Config{ClientCertificate: middleware.PeerCertificate})
	_, off := newGuard(t, middleware.Config{})
	handler := new(counter)
	mine, theirs := newCertificate(t), newCertificate(t)
	server := httptest.NewUnstartedServer(g.Require()(handler))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	defer server.Close()
	sum := sha256.Sum256(mine.Certificate[0])
	bound := i.token("", map[string]any{"cnf": map[string]string{"x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}})
	call := func(token string, certificates ...tls.Certificate) int {
		c := server.Client()
		transport := c.Transport.(*http.Transport).Clone()
		defer transport.CloseIdleConnections()
		transport.TLSClientConfig.Certificates = certificates
		r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := (&http.Client{Transport: transport}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := call(bound, mine); got != 200 {
		t.Errorf("with its certificate: %d", got)
	}
	if got := call(i.token("", nil), theirs); got != 200 {
		t.Errorf("a plain token: %d", got)
	}
	for name, certificates := range map[string][]tls.Certificate{"none": nil, "another": {theirs}} {
		if got := call(bound, certificates...); got != 401 {
			t.Errorf("certificate %s: %d", name, got)
		}
	}
	if got := call(i.token("", newClient(t).cnf()), mine); got != 401 {
		t.Errorf("bound by DPoP: %d", got)
	}
	if handler.ran.Load() != 2 {
		t.Errorf("the handler ran %d times", handler.ran.Load())
	}
	// Not enabled: refused even where the certificate is there.
	r := get("Bearer " + bound)
	leaf, err := x509.ParseCertificate(mine.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
	wantStatus(t, off.Require()(handler), handler, r, 401)
	// BoundOnly with certificates.
	_, only := newGuard(t, middleware.Config{ClientCertificate: middleware.PeerCertificate, BoundOnly: true})
	wantChallenges(t, wantStatus(t, only.Require()(handler), handler, get(""), 401), "Bearer")
}

func newCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: private}
}

func TestBoundSettings(t *testing.T) {
	plain := verifierFunc(nil)
	i := newIssuer()
	defer i.close()
	v, err := middleware.ForIssuer(i.url, api)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		verifier oauth.Verifier
		cfg      middleware.Config
	}{
		"verifier without VerifyBound": {plain, middleware.Config{DPoP: new(oauth.DPoPConfig), BaseURLs: []string{api}}},
		"the same for certificates":    {plain, middleware.Config{ClientCertificate: middleware.PeerCertificate}},
		"no base URL":                  {v, middleware.Config{DPoP: new(oauth.DPoPConfig)}},
		"base URL with a query":        {v, middleware.Config{DPoP: new(oauth.DPoPConfig), BaseURLs: []string{api + "?"}}},
		"base URL without a scheme":    {v, middleware.Config{DPoP: new(oauth.DPoPConfig), BaseURLs: []string{"api.example"}}},
		"base URL with a user":         {v, middleware.Config{DPoP: new(oauth.DPoPConfig), BaseURLs: []string{"https://u@api.example"}}},
		"DPoP settings":                {v, middleware.Config{DPoP: &oauth.DPoPConfig{Window: -1}, BaseURLs: []string{api}}},
		"bound only, to nothing":       {v, middleware.Config{BoundOnly: true}},
	} {
		if _, err := middleware.New(c.verifier, c.cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	g := guardFor(t, v, middleware.Config{
		Metadata: oauth.ResourceMetadata{Resource: api + "/notes"}, DPoP: new(oauth.DPoPConfig), BoundOnly: true,
	})
	_, h := g.Metadata()
	want := `{"resource":"https://api.example/notes","bearer_methods_supported":["header"],"dpop_signing_alg_values_supported":["ES256","EdDSA","PS256","RS256"],"dpop_bound_access_tokens_required":true}`
	if got := strings.TrimSpace(send(t, h, "/").Body.String()); got != want {
		t.Errorf("metadata %s", got)
	}
}

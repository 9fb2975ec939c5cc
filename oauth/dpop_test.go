package oauth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lettergate/lettergate/oauth"
)

const (
	resource    = "https://api.example/notes"
	accessToken = "an.access.token"
)

func newDPoPVerifier(t testing.TB, cfg oauth.DPoPConfig) *oauth.DPoPVerifier {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return noon }
	}
	v, err := oauth.NewDPoPVerifier(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A proof is the request that a verifier is asked about, in the making.
type proof struct {
	key            signingKey
	header, claims object
	request        oauth.DPoPRequest
}

// goodProof is good but for its key, which it lacks.
var goodProof = proof{
	header:  object{"typ": "dpop+jwt"},
	claims:  object{"jti": "proof-1", "htm": "GET", "htu": resource, "iat": noon.Unix(), "ath": tokenHash(accessToken)},
	request: oauth.DPoPRequest{Method: "GET", URLs: []string{resource}, Token: accessToken},
}

func tokenHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// with returns p signed by key with claims changed: names and values. The value nil
// leaves a claim out.
func (p proof) with(key signingKey, changes ...any) proof {
	p.key = key
	p.header = maps.Clone(p.header)
	if _, ok := p.header["alg"]; !ok {
		p.header["alg"] = key.alg
	}
	if _, ok := p.header["jwk"]; !ok {
		p.header["jwk"] = jose.JSONWebKey{Key: key.private.Public()}
	}
	p.claims = p.claims.change(changes...)
	return p
}

// head returns p with members of the header changed.
func (p proof) head(changes ...any) proof {
	p.header = p.header.change(changes...)
	return p
}

func (o object) change(changes ...any) object {
	o = maps.Clone(o)
	for i := 0; i < len(changes); i += 2 {
		name := changes[i].(string)
		if o[name] = changes[i+1]; changes[i+1] == nil {
			delete(o, name)
		}
	}
	return o
}

func (p proof) build(t testing.TB) oauth.DPoPRequest {
	t.Helper()
	r := p.request
	if r.Proof == "" {
		r.Proof = p.key.sign(t, p.header.json(t), p.claims.json(t))
	}
	return r
}

func thumbprint(t testing.TB, key signingKey) string {
	t.Helper()
	public := key.public()
	print, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(print)
}

func wantProof(t testing.TB, v *oauth.DPoPVerifier, p proof) oauth.DPoPProof {
	t.Helper()
	said, err := v.Verify(context.Background(), p.build(t))
	if err != nil || said.JKT != thumbprint(t, p.key) {
		t.Errorf("a good proof was refused, or by another key: %+v, %v", said, err)
	}
	return said
}

func wantNoProof(t testing.TB, v *oauth.DPoPVerifier, p proof, want error) {
	t.Helper()
	said, err := v.Verify(context.Background(), p.build(t))
	if said != (oauth.DPoPProof{}) || !errors.Is(err, want) {
		t.Errorf("got %+v, %v; want %v (header %v, claims %v)", said, err, want, p.header, p.claims)
	}
}

func TestRS23_Algorithms(t *testing.T) {
	for _, alg := range []string{"ES256", "RS256", "PS256", "EdDSA"} {
		v := newDPoPVerifier(t, oauth.DPoPConfig{})
		wantProof(t, v, goodProof.with(newKey(t, "", alg)))
	}
	for _, alg := range []string{"ES384", "ES512"} {
		key := newKey(t, "", alg)
		wantNoProof(t, newDPoPVerifier(t, oauth.DPoPConfig{}), goodProof.with(key), oauth.ErrInvalidProof)
		wantProof(t, newDPoPVerifier(t, oauth.DPoPConfig{Algorithms: []string{alg}}), goodProof.with(key))
	}
	if got := newDPoPVerifier(t, oauth.DPoPConfig{}).Algorithms(); strings.Join(got, " ") != "ES256 EdDSA PS256 RS256" {
		t.Error(got)
	}
}

func TestRS23_Header(t *testing.T) {
	key, other := newKey(t, "", "ES256"), newKey(t, "", "ES256")
	v := newDPoPVerifier(t, oauth.DPoPConfig{})
	public := jose.JSONWebKey{Key: key.private.Public()}
	members := func(jwk any, more object) object {
		raw, err := json.Marshal(jwk)
		if err != nil {
			t.Fatal(err)
		}
		o := make(object)
		if err := json.Unmarshal(raw, &o); err != nil {
			t.Fatal(err)
		}
		maps.Copy(o, more)
		return o
	}
	for name, p := range map[string]proof{
		"no typ":              goodProof.with(key).head("typ", nil),
		"typ JWT":             goodProof.with(key).head("typ", "JWT"),
		"typ of a token":      goodProof.with(key).head("typ", "at+jwt"),
		"alg none":            goodProof.with(key).head("alg", "none"),
		"alg HS256":           goodProof.with(key).head("alg", "HS256"),
		"alg of another kind": goodProof.with(key).head("alg", "RS256"),
		"no alg":              goodProof.with(key).head("alg", nil),
		"no jwk":              goodProof.with(key).head("jwk", nil),
		"jwk null":            goodProof.with(key).head("jwk", json.RawMessage("null")),
		"jwk a list":          goodProof.with(key).head("jwk", []any{public}),
		"kid instead of jwk":  goodProof.with(key).head("jwk", nil, "kid", "k1"),
		"jwk with d":          goodProof.with(key).head("jwk", jose.JSONWebKey{Key: key.private}),
		"jwk with d null":     goodProof.with(key).head("jwk", members(public, object{"d": nil})),
		"jwk with p":          goodProof.with(key).head("jwk", members(public, object{"p": "AQAB"})),
		"jwk with k":          goodProof.with(key).head("jwk", members(public, object{"k": "AQAB"})),
		"jwk for encryption":  goodProof.with(key).head("jwk", members(public, object{"use": "enc"})),
		"jwk symmetric":       goodProof.with(key).head("jwk", object{"kty": "oct", "k": "AQAB"}),
		"jwk off the curve":   goodProof.with(key).head("jwk", members(public, object{"x": tokenHash("x")})),
		"jwk of another":      goodProof.with(key).head("jwk", jose.JSONWebKey{Key: other.private.Public()}),
		"crit":                goodProof.with(key).head("crit", []string{"x"}),
		"b64":                 goodProof.with(key).head("b64", false),
	} {
		t.Run(name, func(t *testing.T) { wantNoProof(t, v, p, oauth.ErrInvalidProof) })
	}
	for i, p := range []proof{
		goodProof.with(key).head("typ", "application/dpop+jwt"), goodProof.with(key).head("typ", "DPoP+JWT"), goodProof.with(key).head("kid", "ignored", "jku", "https://evil.example"),
		goodProof.with(key).head("jwk", members(public, object{"use": "sig", "alg": "ES256"})),
	} {
		wantProof(t, v, p.with(key, "jti", string(rune('a'+i))))
	}
	for _, raw := range []string{"", ".", "..", "a.b.c", strings.Repeat("a", 9<<10), "e30.e30.", "e30.e30.AAAA\n"} {
		p := goodProof
		p.request.Proof = raw + " "
		wantNoProof(t, v, p, oauth.ErrInvalidProof)
	}
	wantNoProof(t, v, goodProof.with(key, "jti", "long", "x", strings.Repeat("x", 8<<10)), oauth.ErrInvalidProof)
	twice := goodProof.with(key).build(t)
	p := goodProof
	p.request.Proof = twice.Proof + ", " + twice.Proof
	wantNoProof(t, v, p, oauth.ErrInvalidProof)
	p.request.Proof = twice.Proof[:len(twice.Proof)-1] + map[bool]string{true: "B", false: "A"}[strings.HasSuffix(twice.Proof, "A")]
	wantNoProof(t, v, p, oauth.ErrInvalidProof)
}

func TestRS23_KeyOfTheToken(t *testing.T) {
	key, other := newKey(t, "", "ES256"), newKey(t, "", "ES256")
	v := newDPoPVerifier(t, oauth.DPoPConfig{})
	p := goodProof.with(key)
	p.request.JKT = thumbprint(t, other)
	wantNoProof(t, v, p, oauth.ErrInvalidProof)
	p.request.JKT = thumbprint(t, key)
	wantProof(t, v, p)
}

func TestRS24_MethodAndURL(t *testing.T) {
	key := newKey(t, "", "EdDSA")
	v := newDPoPVerifier(t, oauth.DPoPConfig{})
	for i, htu := range []string{
		resource, resource + "?a=b", resource + "#x", "HTTPS://API.EXAMPLE:443/notes", "https://api.example/%6Eotes", "https://api.example/x/../notes",
	} {
		wantProof(t, v, goodProof.with(key, "htu", htu, "jti", string(rune('a'+i))))
	}
	for _, htu := range []any{
		nil, "", 1, []string{resource}, "/notes", "https://api.example/notes/", "https://api.example/Notes", "https://api.example/", "https://evil.example/notes", "http://api.example/notes",
		"https://api.example:8443/notes", "https://api.example/notes%2F", "https://api.example./notes", "https://user@api.example/notes", "https://api.example/%zz",
	} {
		wantNoProof(t, v, goodProof.with(key, "htu", htu), oauth.ErrInvalidProof)
	}
	for _, htm := range []any{nil, "", "get", "POST", "GET ", 1} {
		wantNoProof(t, v, goodProof.with(key, "htm", htm), oauth.ErrInvalidProof)
	}
	// The query of the request counts as little, and one of several names will do.
	p := goodProof.with(key, "jti", "last")
	p.request.URLs = []string{"not a URL", "https://internal.example/notes", resource + "?c=d"}
	wantProof(t, v, p)
	p.request.URLs = nil
	wantNoProof(t, v, p.with(key, "jti", "none"), oauth.ErrInvalidProof)
}

func TestRS25_Times(t *testing.T) {
	key := newKey(t, "", "EdDSA")
	v := newDPoPVerifier(t, oauth.DPoPConfig{})
	for _, off := range []int64{-60, -59, 0, 59, 60} {
		wantProof(t, v, goodProof.with(key, "iat", noon.Unix()+off, "jti", string(rune('A'+off+60))))
	}
	for _, iat := range []any{noon.Unix() - 61, noon.Unix() + 61, nil, "1777896000", json.RawMessage("1e400"), 0, -1, json.RawMessage("1777896000.5")} {
		wantNoProof(t, v, goodProof.with(key, "iat", iat), oauth.ErrInvalidProof)
	}
	for _, jti := range []any{nil, "", 1} {
		wantNoProof(t, v, goodProof.with(key, "jti", jti), oauth.ErrInvalidProof)
	}
}

func TestRS25_Replay(t *testing.T) {
	now := noon
	key, other := newKey(t, "", "EdDSA"), newKey(t, "", "EdDSA")
	shared := oauth.NewReplayMemory(0, func() time.Time { return now })
	cfg := oauth.DPoPConfig{Replays: shared, Now: func() time.Time { return now }}
	here, there := newDPoPVerifier(t, cfg), newDPoPVerifier(t, cfg)

	// What is refused for something else is not used up.
	wantNoProof(t, here, goodProof.with(key, "htm", "POST"), oauth.ErrInvalidProof)
	p := goodProof.with(key)
	wantProof(t, here, p)
	wantNoProof(t, here, p, oauth.ErrInvalidProof)
	wantNoProof(t, there, p, oauth.ErrInvalidProof)
	wantNoProof(t, there, p.with(key, "iat", noon.Unix()+5), oauth.ErrInvalidProof)
	wantProof(t, there, goodProof.with(other)) // whose id it is as well
	now = noon.Add(time.Minute)
	wantNoProof(t, here, p, oauth.ErrInvalidProof)
	wantNoProof(t, there, p, oauth.ErrInvalidProof)
}

// A store that cannot tell refuses, and does not blame the client.
func TestRS25_StoreFails(t *testing.T) {
	key := newKey(t, "", "EdDSA")
	v := newDPoPVerifier(t, oauth.DPoPConfig{Replays: brokenReplays{}})
	wantNoProof(t, v, goodProof.with(key), oauth.ErrUnavailable)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.Verify(ctx, goodProof.with(key).build(t)); !errors.Is(err, context.Canceled) || errors.Is(err, oauth.ErrInvalidProof) {
		t.Errorf("a caller that left: %v", err)
	}
}

type brokenReplays struct{}

func (brokenReplays) First(context.Context, string, time.Time) (bool, error) {
	return true, errors.New("connection refused")
}

func TestRS26_TokenHash(t *testing.T) {
	key := newKey(t, "", "EdDSA")
	v := newDPoPVerifier(t, oauth.DPoPConfig{})
	for _, ath := range []any{nil, "", tokenHash("another.access.token"), tokenHash(accessToken) + "=", strings.ToUpper(tokenHash(accessToken)), 1} {
		wantNoProof(t, v, goodProof.with(key, "ath", ath), oauth.ErrInvalidProof)
	}
	// Without a token, at the token endpoint, there is nothing to compare.
	p := goodProof.with(key, "ath", nil)
	p.request.Token = ""
	wantProof(t, v, p)
}

func TestRS26_Nonce(t *testing.T) {
	now := noon
	secret := []byte(strings.Repeat("s", 32))
	cfg := oauth.DPoPConfig{RequireNonce: true, NonceSecret: secret, Now: func() time.Time { return now }}
	v, replica := newDPoPVerifier(t, cfg), newDPoPVerifier(t, cfg)
	stranger := newDPoPVerifier(t, oauth.DPoPConfig{RequireNonce: true, Now: cfg.Now})
	key := newKey(t, "", "EdDSA")
	id := 0
	with := func(nonce any) proof {
		id++
		return goodProof.with(key, "nonce", nonce, "iat", now.Unix(), "jti", string(rune('a'+id)))
	}
	nonce := v.Nonce()
	if nonce == "" || nonce != replica.Nonce() || nonce == stranger.Nonce() {
		t.Errorf("nonces %q, %q, %q", nonce, replica.Nonce(), stranger.Nonce())
	}
	for _, bad := range []any{nil, stranger.Nonce(), nonce[1:], nonce + "x", "x"} {
		wantNoProof(t, v, with(bad), oauth.ErrUseNonce)
	}
	for _, bad := range []any{"", 1} {
		wantNoProof(t, v, with(bad), oauth.ErrInvalidProof)
	}
	if said := wantProof(t, v, with(nonce)); said.RenewNonce {
		t.Error("the current nonce is to be renewed")
	}
	wantProof(t, replica, with(nonce))

	now = noon.Add(5 * time.Minute)
	if v.Nonce() == nonce {
		t.Error("the nonce does not change")
	}
	if said := wantProof(t, v, with(nonce)); !said.RenewNonce {
		t.Error("the old nonce is not to be renewed")
	}
	now = noon.Add(10 * time.Minute)
	wantNoProof(t, v, with(nonce), oauth.ErrUseNonce)
	wantProof(t, v, with(v.Nonce()))

	if none := newDPoPVerifier(t, oauth.DPoPConfig{Now: cfg.Now}); none.Nonce() != "" {
		t.Error("a nonce that nobody asked for")
	} else {
		wantProof(t, none, with("whatever"))
	}
}

func TestNewDPoPVerifierSettings(t *testing.T) {
	for _, cfg := range []oauth.DPoPConfig{
		{Algorithms: []string{"none"}}, {Algorithms: []string{"ES256", "HS256"}}, {Window: -1}, {Window: time.Hour}, {NonceLife: time.Millisecond}, {NonceLife: -1},
		{NonceSecret: []byte("short")},
	} {
		if _, err := oauth.NewDPoPVerifier(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

// Whatever is sent, only a proof that the key in it signed passes, and only once.
func FuzzDPoPProof(f *testing.F) {
	seed := newKey(f, "", "EdDSA")
	for _, p := range []proof{goodProof.with(seed), goodProof.with(seed).head("jwk", nil), goodProof.with(newKey(f, "", "ES256")), goodProof.with(seed, "iat", "x")} {
		f.Add(p.build(f).Proof)
	}
	f.Add("e30.e30.e30")
	f.Fuzz(func(t *testing.T, raw string) {
		v := newDPoPVerifier(t, oauth.DPoPConfig{})
		r := goodProof.request
		r.Proof = raw
		said, err := v.Verify(context.Background(), r)
		if err != nil {
			if !errors.Is(err, oauth.ErrInvalidProof) || said.JKT != "" {
				t.Errorf("%q: %+v, %v", raw, said, err)
			}
			return
		}
		parsed, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.PS256, jose.EdDSA})
		if err != nil {
			t.Fatalf("%q passed, and go-jose says %v", raw, err)
		}
		key := parsed.Signatures[0].Header.JSONWebKey
		if _, err := parsed.Verify(key); err != nil || !key.IsPublic() {
			t.Errorf("%q passed, and go-jose says %v", raw, err)
		}
		if _, err := v.Verify(context.Background(), r); !errors.Is(err, oauth.ErrInvalidProof) {
			t.Errorf("%q passed twice: %v", raw, err)
		}
	})
}

func BenchmarkDPoP(b *testing.B) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	key := signingKey{"", "ES256", private}
	v := newDPoPVerifier(b, oauth.DPoPConfig{Replays: everFirst{}})
	r := goodProof.with(key).build(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(context.Background(), r); err != nil {
			b.Fatal(err)
		}
	}
}

type everFirst struct{}

func (everFirst) First(context.Context, string, time.Time) (bool, error) { return true, nil }

package oauth_test

import (
	"context"
	"crypto"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/oauth"
)

const (
	issuerA = "https://a.example"
	issuerB = "https://b.example/tenant"
)

// issuerVerifier returns a verifier for the tokens of issuer for audience.
func issuerVerifier(t testing.TB, issuer, audience string, keys oauth.KeySource) *oauth.JWTVerifier {
	t.Helper()
	v, err := oauth.NewJWTVerifier(oauth.JWTConfig{Issuer: issuer, Audiences: []string{audience}, Now: func() time.Time { return noon }}, keys)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// askedKeys counts how often it is asked, and cannot tell.
type askedKeys struct{ times int }

func (k *askedKeys) Key(context.Context, string, string) (crypto.PublicKey, error) {
	k.times++
	return nil, errors.New("connection refused")
}

// verifyFunc is a verifier made of a function.
type verifyFunc func(context.Context, string) (*oauth.AccessToken, error)

func (f verifyFunc) Verify(ctx context.Context, token string) (*oauth.AccessToken, error) {
	return f(ctx, token)
}

// Each issuer speaks for itself only, whatever its keys are called.
func TestRS08_SeveralIssuers(t *testing.T) {
	keyA, keyB := newKey(t, "k1", "ES256"), newKey(t, "k1", "ES256")
	issuers, err := oauth.NewIssuers(oauth.IssuersConfig{Verifiers: map[string]oauth.Verifier{
		issuerA: issuerVerifier(t, issuerA, "api-at-a", staticKeys(t, keyA.public())),
		issuerB: issuerVerifier(t, issuerB, "api-at-b", staticKeys(t, keyB.public())),
	}})
	if err != nil {
		t.Fatal(err)
	}
	claims := func(issuer, audience string) object {
		return goodClaims(noon).with("iss", issuer).with("aud", audience)
	}
	if got := wantAccepted(t, issuers, keyA.token(t, claims(issuerA, "api-at-a"))); got.Issuer() != issuerA {
		t.Error(got.Issuer())
	}
	if got := wantAccepted(t, issuers, keyB.token(t, claims(issuerB, "api-at-b"))); got.Issuer() != issuerB {
		t.Error(got.Issuer())
	}
	for name, token := range map[string]string{
		"A's key, claims B": keyA.token(t, claims(issuerB, "api-at-b")),
		"B's key, claims A": keyB.token(t, claims(issuerA, "api-at-a")),
		"audience at B":     keyA.token(t, claims(issuerA, "api-at-b")),
		"unknown issuer":    keyA.token(t, claims("https://c.example", "api-at-a")),
		"slash":             keyA.token(t, claims(issuerA+"/", "api-at-a")),
		"case":              keyA.token(t, claims("https://A.example", "api-at-a")),
		"no issuer":         keyA.token(t, claims(issuerA, "api-at-a").without("iss")),
		"issuer a list":     keyA.token(t, claims(issuerA, "api-at-a").with("iss", []string{issuerA})),
		"issuer twice":      keyA.sign(t, keyA.header().json(t), `{"iss":"`+issuerA+`",`+strings.TrimPrefix(claims(issuerA, "api-at-a").json(t), "{")),
		"ISS beside iss":    keyA.token(t, claims(issuerB, "api-at-a").with("ISS", issuerA)),
		"garbage":           "garbage",
		"long":              strings.Repeat("a.", 10<<10),
		"opaque with dots":  "a.b.c",
		"no longer a JWT":   keyA.token(t, claims(issuerA, "api-at-a")) + "\n",
		"bound, to Verify":  keyA.token(t, claims(issuerA, "api-at-a").with("cnf", object{"jkt": tokenHash("x")})),
	} {
		t.Run(name, func(t *testing.T) { wantInvalid(t, issuers, token) })
	}
	bound := keyA.token(t, claims(issuerA, "api-at-a").with("cnf", object{"jkt": tokenHash("x")}))
	if token, err := issuers.VerifyBound(t.Context(), bound); err != nil || token.Confirmation().JKT == "" {
		t.Errorf("%v, %v", token, err)
	}
}

// An issuer nobody knows costs no work, and one that is down does not take the other
// along.
func TestRS08_UnknownIssuerCostsNothing(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	down := new(askedKeys)
	issuers, err := oauth.NewIssuers(oauth.IssuersConfig{Verifiers: map[string]oauth.Verifier{
		issuerA: issuerVerifier(t, issuerA, api, staticKeys(t, key.public())), issuerB: issuerVerifier(t, issuerB, api, down),
	}})
	if err != nil {
		t.Fatal(err)
	}
	wantInvalid(t, issuers, key.token(t, goodClaims(noon).with("iss", "https://c.example")))
	if down.times != 0 {
		t.Error("a key was asked for")
	}
	wantUnavailable(t, issuers, key.token(t, goodClaims(noon).with("iss", issuerB)))
	wantAccepted(t, issuers, key.token(t, goodClaims(noon).with("iss", issuerA)))
}

func TestIssuersOpaque(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	i := new(tellingIssuer)
	i.set("opaque", object{"active": true, "aud": api})
	i.set("o.pa.que", object{"active": true, "aud": api})
	issuers, err := oauth.NewIssuers(oauth.IssuersConfig{
		Verifiers: map[string]oauth.Verifier{issuerA: issuerVerifier(t, issuerA, api, staticKeys(t, key.public()))},
		Opaque:    introspector(t, i, nil),
	})
	if err != nil {
		t.Fatal(err)
	}
	wantAccepted(t, issuers, "opaque")
	wantAccepted(t, issuers, "o.pa.que")
	wantInvalid(t, issuers, "unknown")
	asked := i.questions()
	// A JWT is never sent anywhere.
	wantAccepted(t, issuers, key.token(t, goodClaims(noon).with("iss", issuerA)))
	wantInvalid(t, issuers, key.token(t, goodClaims(noon).with("iss", issuerB)))
	wantInvalid(t, issuers, key.token(t, goodClaims(noon).with("iss", issuerA).with("aud", "x")))
	if i.questions() != asked {
		t.Errorf("asked %q", i.asked[asked:])
	}
}

// A verifier of the program's own that answers for another issuer is not believed, and
// one that knows no bound tokens still judges plain ones.
func TestIssuersCarelessVerifier(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	v := issuerVerifier(t, issuerA, api, staticKeys(t, key.public()))
	token := key.token(t, goodClaims(noon).with("iss", issuerA))
	said := wantAccepted(t, v, token)
	issuers, err := oauth.NewIssuers(oauth.IssuersConfig{Verifiers: map[string]oauth.Verifier{
		issuerB: verifyFunc(func(context.Context, string) (*oauth.AccessToken, error) { return said, nil }),
		issuerA: verifyFunc(v.Verify),
	}})
	if err != nil {
		t.Fatal(err)
	}
	wantInvalid(t, issuers, key.token(t, goodClaims(noon).with("iss", issuerB)))
	if _, err := issuers.VerifyBound(t.Context(), token); err != nil {
		t.Error(err)
	}
	if _, err := issuers.VerifyBound(t.Context(), key.token(t, goodClaims(noon).with("iss", issuerA).with("cnf", object{"jkt": tokenHash("x")}))); !errors.Is(err, oauth.ErrInvalidToken) {
		t.Error(err)
	}
}

func TestNewIssuersSettings(t *testing.T) {
	v := issuerVerifier(t, issuerA, api, staticKeys(t, newKey(t, "k1", "ES256").public()))
	for _, cfg := range []oauth.IssuersConfig{
		{}, {Verifiers: map[string]oauth.Verifier{}}, {Verifiers: map[string]oauth.Verifier{"": v}}, {Verifiers: map[string]oauth.Verifier{issuerA: nil}},
		{Verifiers: map[string]oauth.Verifier{issuerB: v}},
	} {
		if _, err := oauth.NewIssuers(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

package oauth_test

import (
	"context"
	"crypto"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lettergate/lettergate/oauth"
)

const tokenURL = issuerURL + "/oauth2/token"

func goodAssertion() object {
	return object{"iss": "app", "sub": "app", "aud": issuerURL, "jti": "assertion-1", "iat": noon.Unix(), "exp": noon.Add(time.Minute).Unix()}
}

func rules() oauth.AssertionRules {
	return oauth.AssertionRules{Audiences: []string{issuerURL, tokenURL}, Algorithms: []string{"ES256", "RS256", "PS256", "EdDSA"}, Now: noon}
}

// assert parses and verifies.
func assert(ctx context.Context, assertion string, keys oauth.KeySource) (*oauth.ClientAssertion, error) {
	a, err := oauth.ParseClientAssertion(assertion)
	if err != nil {
		return nil, err
	}
	return a, a.Verify(ctx, rules(), keys)
}

func (k signingKey) assertion(t testing.TB, claims object) string {
	t.Helper()
	return k.sign(t, k.header().without("typ").json(t), claims.json(t))
}

func TestAS49_ClientAssertion(t *testing.T) {
	for _, alg := range []string{"ES256", "RS256", "PS256", "EdDSA"} {
		k := newKey(t, "k", alg)
		keys := staticKeys(t, k.public())
		// As a library makes it that nobody here wrote.
		options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", "k")
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: k.private}, options)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign([]byte(goodAssertion().with("aud", []string{tokenURL}).json(t)))
		if err != nil {
			t.Fatal(err)
		}
		assertion, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		a, err := assert(t.Context(), assertion, keys)
		if err != nil || a.ClientID() != "app" || a.ID() != "assertion-1" || !a.Until().Equal(noon.Add(2*time.Minute)) {
			t.Errorf("%s: %+v, %v", alg, a, err)
		}
		if _, err := assert(t.Context(), k.assertion(t, goodAssertion()), staticKeys(t, newKey(t, "other", alg).public())); !errors.Is(err, oauth.ErrInvalidToken) {
			t.Errorf("%s, another key: %v", alg, err)
		}
		// An access token is no assertion, and the other way round.
		if _, err := assert(t.Context(), k.token(t, goodAssertion()), keys); !errors.Is(err, oauth.ErrInvalidToken) {
			t.Errorf("%s, at+jwt: %v", alg, err)
		}
		wantInvalid(t, newVerifier(t, keys, nil), assertion)
	}
}

// What no key is needed for is refused before one is asked for, and a source that
// cannot tell says nothing about the assertion.
func TestAS49_KeysAreAskedLast(t *testing.T) {
	k := newKey(t, "k", "EdDSA")
	var asked int
	keys := keyFunc(func(context.Context, string, string) (crypto.PublicKey, error) {
		asked++
		return nil, errors.New("no connection")
	})
	for _, claims := range []object{
		goodAssertion().with("aud", "https://other.example"), goodAssertion().with("exp", noon.Add(-2*time.Minute).Unix()), goodAssertion().with("exp", noon.Add(time.Hour).Unix()),
		goodAssertion().without("jti"), goodAssertion().with("sub", "other"), goodAssertion().with("nbf", noon.Add(time.Hour).Unix()), goodAssertion().with("iat", noon.Add(time.Hour).Unix()),
	} {
		if _, err := assert(t.Context(), k.assertion(t, claims), keys); !errors.Is(err, oauth.ErrInvalidToken) {
			t.Errorf("%v: %v", claims, err)
		}
	}
	if asked != 0 {
		t.Errorf("a key was asked for %d times", asked)
	}
	if _, err := assert(t.Context(), k.assertion(t, goodAssertion()), keys); !errors.Is(err, oauth.ErrUnavailable) || errors.Is(err, oauth.ErrInvalidToken) {
		t.Errorf("a source that cannot tell: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := assert(ctx, k.assertion(t, goodAssertion()), keys); !errors.Is(err, context.Canceled) || errors.Is(err, oauth.ErrInvalidToken) {
		t.Errorf("a caller who leaves: %v", err)
	}
	narrow := rules()
	narrow.Algorithms = []string{"ES256"}
	a, err := oauth.ParseClientAssertion(k.assertion(t, goodAssertion()))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Verify(t.Context(), narrow, staticKeys(t, k.public())); !errors.Is(err, oauth.ErrInvalidToken) {
		t.Errorf("an algorithm that is not allowed: %v", err)
	}
}

// Without kid an assertion means the only key of its algorithm.
func TestAssertionWithoutKid(t *testing.T) {
	es, ed, other := newKey(t, "es", "ES256"), newKey(t, "ed", "EdDSA"), newKey(t, "other", "EdDSA")
	nameless := func(k signingKey) string {
		return k.sign(t, object{"alg": k.alg}.json(t), goodAssertion().json(t))
	}
	both := staticKeys(t, es.public(), ed.public())
	for _, k := range []signingKey{es, ed} {
		if _, err := assert(t.Context(), nameless(k), both); err != nil {
			t.Errorf("%s: %v", k.alg, err)
		}
	}
	if _, err := assert(t.Context(), nameless(other), both); !errors.Is(err, oauth.ErrInvalidToken) {
		t.Errorf("another key: %v", err)
	}
	two := staticKeys(t, es.public(), ed.public(), other.public())
	for _, k := range []signingKey{ed, other} {
		if _, err := assert(t.Context(), nameless(k), two); !errors.Is(err, oauth.ErrInvalidToken) {
			t.Errorf("one of two: %v", err)
		}
	}
	if _, err := assert(t.Context(), nameless(es), two); err != nil {
		t.Errorf("the only one beside two: %v", err)
	}
}

// An http key set elsewhere is for those who said so.
func TestInsecureHTTP(t *testing.T) {
	const address = "http://keys.internal:8080/jwks"
	if _, err := oauth.NewRemoteKeys(oauth.RemoteConfig{JWKSURL: address}); err == nil {
		t.Error("http was accepted")
	}
	if _, err := oauth.NewRemoteKeys(oauth.RemoteConfig{JWKSURL: "http://u:p@keys.internal/", InsecureHTTP: true}); err == nil {
		t.Error("a password was accepted")
	}
	if _, err := oauth.NewRemoteKeys(oauth.RemoteConfig{JWKSURL: address, InsecureHTTP: true}); err != nil {
		t.Error(err)
	}
}

// Of everything that can be made out of a good assertion only the good one passes, and
// whatever a client signs, what passes has all that is asked for.
func FuzzClientAssertion(f *testing.F) {
	k := fixedKey()
	keys := staticKeys(f, k.public())
	good := k.assertion(f, goodAssertion())
	if _, err := assert(f.Context(), good, keys); err != nil {
		f.Fatal(err)
	}
	header, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	for _, assertion := range []string{
		good, good + "=", good + "\n", "..", "", encode(`{"alg":"none","kid":"k1"}`) + "." + payload + ".", encode(`{"alg":"EdDSA"}`) + "." + payload + "." + signature,
		header + "." + encode(goodAssertion().with("sub", "admin").json(f)) + "." + signature,
	} {
		f.Add(assertion, goodAssertion().json(f))
	}
	for _, claims := range []string{
		`{"iss":null}`, `{"iss":"a","sub":"a","aud":[[]],"exp":1e400,"jti":""}`, `{"iss":"a","iss":"b"}`, "[]", "",
		goodAssertion().with("aud", []string{tokenURL}).with("nbf", 1).json(f), goodAssertion().with("exp", int64(253402300799)).json(f),
	} {
		f.Add(good, claims)
	}
	f.Fuzz(func(t *testing.T, assertion, claims string) {
		if _, err := assert(context.Background(), assertion, keys); (err == nil) != (assertion == good) {
			t.Errorf("%q: %v", assertion, err)
		}
		a, err := assert(context.Background(), k.sign(t, object{"alg": "EdDSA", "kid": k.kid}.json(t), claims), keys)
		if err != nil {
			if !errors.Is(err, oauth.ErrInvalidToken) {
				t.Errorf("%q: %v", claims, err)
			}
			return
		}
		if a.ClientID() == "" || a.ID() == "" || len(a.ID()) > 255 || !a.Until().After(noon) || a.Until().After(noon.Add(12*time.Minute)) {
			t.Errorf("accepted: %s", claims)
		}
	})
}

package oauth_test

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lettergate/lettergate/oauth"
)

func TestRS17_StaticKeys(t *testing.T) {
	es, other := newKey(t, "k", "ES256"), newKey(t, "k", "ES256")
	rs := newKey(t, "k", "RS256")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(k jose.JSONWebKey, change func(*jose.JSONWebKey)) jose.JSONWebKey {
		change(&k)
		return k
	}
	noAlg := changed(es.public(), func(k *jose.JSONWebKey) { k.Algorithm = "" })
	ed := newKey(t, "other", "EdDSA").public()

	for name, c := range map[string]struct {
		keys []jose.JSONWebKey
		good []signingKey
		bad  []signingKey
	}{
		"same kid, two keys":         {[]jose.JSONWebKey{es.public(), other.public(), ed}, nil, []signingKey{es, other}},
		"same kid, three keys":       {[]jose.JSONWebKey{es.public(), other.public(), noAlg, ed}, nil, []signingKey{es, other}},
		"same kid, other kind":       {[]jose.JSONWebKey{es.public(), rs.public()}, []signingKey{es, rs}, []signingKey{other}},
		"for encryption":             {[]jose.JSONWebKey{changed(es.public(), func(k *jose.JSONWebKey) { k.Use = "enc" }), ed}, nil, []signingKey{es}},
		"encryption beside signing":  {[]jose.JSONWebKey{changed(other.public(), func(k *jose.JSONWebKey) { k.Use = "enc" }), es.public()}, []signingKey{es}, []signingKey{other}},
		"without alg":                {[]jose.JSONWebKey{noAlg}, []signingKey{es}, []signingKey{other, rs}},
		"with an alg of another job": {[]jose.JSONWebKey{changed(es.public(), func(k *jose.JSONWebKey) { k.Algorithm = "ECDH-ES" }), ed}, nil, []signingKey{es}},
		"with an alg of another kind": {[]jose.JSONWebKey{changed(es.public(), func(k *jose.JSONWebKey) { k.Algorithm = "RS256" }), ed},
			nil, []signingKey{es, rs}},
		"RSA of 1024 bits":  {[]jose.JSONWebKey{{Key: small.Public(), KeyID: "k"}, ed}, nil, []signingKey{{"k", "RS256", small}}},
		"without kid":       {[]jose.JSONWebKey{changed(es.public(), func(k *jose.JSONWebKey) { k.KeyID = "" }), ed}, nil, []signingKey{es, {"", "ES256", es.private}}},
		"private keys":      {[]jose.JSONWebKey{{Key: es.private, KeyID: "k"}}, []signingKey{es}, []signingKey{other}},
		"a symmetric key":   {[]jose.JSONWebKey{{Key: []byte(strings.Repeat("s", 32)), KeyID: "k"}, ed}, nil, []signingKey{es}},
		"nothing but a kid": {[]jose.JSONWebKey{{KeyID: "k"}, ed}, nil, []signingKey{es}},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, staticKeys(t, c.keys...), nil)
			for _, k := range c.good {
				wantAccepted(t, v, k.token(t, goodClaims(noon)))
			}
			for _, k := range c.bad {
				wantInvalid(t, v, k.token(t, goodClaims(noon)))
			}
		})
	}
	if _, err := oauth.NewStaticKeys(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{es.public(), other.public()}}); err == nil {
		t.Error("a set without a usable key was accepted")
	}
	nameless := changed(es.public(), func(k *jose.JSONWebKey) { k.KeyID = "" })
	if key, err := staticKeys(t, nameless, ed).Key(t.Context(), "", "ES256"); key != nil || !errors.Is(err, oauth.ErrUnknownKey) {
		t.Errorf("a key without a name was found: %v, %v", key, err)
	}
}

func TestRS17_FetchedKeys(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	raw, err := key.public().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	private, err := jose.JSONWebKey{Key: key.private, KeyID: "k1"}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	with := func(member string) string { return string(raw[:len(raw)-1]) + "," + member + "}" }
	ed, err := newKey(t, "other", "EdDSA").public().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		jwk  string
		good bool
	}{
		"plain":            {string(raw), true},
		"unknown member":   {with(`"extra":{"y":[1]}`), true},
		"key_ops verify":   {with(`"key_ops":["verify"]`), true},
		"key_ops encrypt":  {with(`"key_ops":["encrypt"]`), false},
		"key_ops empty":    {with(`"key_ops":[]`), false},
		"private":          {string(private), false},
		"member twice":     {with(`"kid":"k1"`), false},
		"point off curve":  {strings.Replace(string(raw), `"x":"`, `"x":"AA`, 1), false},
		"bad certificate":  {with(`"x5c":["AAAA"]`), false},
		"beside an AKP":    {string(raw) + `,{"kty":"AKP","kid":"pq","alg":"ML-DSA-44","pub":"AAAA"}`, true},
		"beside a bad one": {`null,{"kty":"RSA","kid":"k1","n":"","e":"AQAB"},` + string(raw), true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := new(memoryIssuer)
				m.setAnswer(func(*http.Request) (*http.Response, error) {
					rec := httptest.NewRecorder()
					fmt.Fprintf(rec, `{"keys":[%s,%s]}`, ed, c.jwk)
					return rec.Result(), nil
				})
				v := remote(t, m, nil)
				token := key.token(t, goodClaims(time.Now()))
				if c.good {
					wantAccepted(t, v, token)
				} else {
					wantInvalid(t, v, token)
				}
			})
		})
	}
}

package oauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/oauth"
)

// fixedKey signs the same every time, which lets all fuzzing processes agree on a
// token, and its signatures cannot be rewritten.
func fixedKey() signingKey {
	return signingKey{"k1", "EdDSA", ed25519.NewKeyFromSeed([]byte(strings.Repeat("s", ed25519.SeedSize)))}
}

// Of everything that can be made out of a good token, only the good token passes.
func FuzzVerify(f *testing.F) {
	key := fixedKey()
	v := newVerifier(f, staticKeys(f, key.public()), nil)
	good := key.token(f, goodClaims(noon).with("gid", "g").with("auth_time", noon.Unix()).with("amr", []string{"otp"}))
	wantAccepted(f, v, good)

	header, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	f.Add(good)
	f.Add(good + "=")
	f.Add(good + "\n")
	f.Add(encode(`{"alg":"none","typ":"at+jwt","kid":"k1"}`) + "." + payload + ".")
	f.Add(header + "." + encode(goodClaims(noon).with("sub", "admin").json(f)) + "." + signature)
	f.Add(header + "." + encode(`{"iss":"x","iss":"y","exp":1e400,"aud":[[]]}`) + "." + signature)
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		claims, err := v.Verify(context.Background(), token)
		if (err == nil) != (token == good) || (claims == nil) != (err != nil) {
			t.Errorf("Verify(%q) = %v, %v", token, claims, err)
		}
	})
}

// Whatever claims are signed, what is accepted has all that RFC 9068 requires.
func FuzzClaims(f *testing.F) {
	key := fixedKey()
	v := newVerifier(f, staticKeys(f, key.public()), nil)
	f.Add(goodClaims(noon).json(f))
	f.Add(goodClaims(noon).with("aud", []string{api}).with("x", map[string]any{"y": 1}).json(f))
	f.Add(`{"iss":null,"exp":"1"}`)
	f.Fuzz(func(t *testing.T, payload string) {
		c, err := v.Verify(context.Background(), key.sign(t, key.header().json(t), payload))
		if err != nil {
			return
		}
		if c.Issuer() != issuerURL || c.Subject() == "" || c.ClientID() == "" || c.ID() == "" || !c.HasAudience(api) && !c.HasAudience("other") ||
			c.IssuedAt().IsZero() || c.ExpiresAt().Before(noon.Add(-30*1e9)) || c.Claim("cnf", new(any)) == nil {
			t.Errorf("accepted: %s", payload)
		}
	})
}

// Whatever an issuer publishes, a key that comes out of it fits its algorithm,
// and nothing panics on the way (a panic shows in the log that is read here).
func FuzzKeySet(f *testing.F) {
	for _, alg := range []string{"ES256", "RS256", "EdDSA"} {
		k := newKey(f, "k1", alg).public()
		raw, err := k.MarshalJSON()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(`{"keys":[` + string(raw) + `]}`)
		f.Add(`{"keys":[null,` + string(raw) + `,` + string(raw) + `]}`)
	}
	f.Add(`{"keys":[{"kty":"EC","crv":"P-256","kid":"k1","x":"","y":""},{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"AA"}]}`)
	f.Fuzz(func(t *testing.T, document string) {
		var log strings.Builder
		keys, err := oauth.NewRemoteKeys(oauth.RemoteConfig{
			JWKSURL: "https://id.example/keys",
			Client:  &http.Client{Transport: body(document)},
			Logger:  slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, alg := range []string{"ES256", "ES384", "RS256", "PS256", "EdDSA", "none", "HS256"} {
			key, err := keys.Key(context.Background(), "k1", alg)
			fits := key == nil
			switch key := key.(type) {
			case *ecdsa.PublicKey:
				fits = alg == "ES256" && key.Params().BitSize == 256 || alg == "ES384" && key.Params().BitSize == 384
			case *rsa.PublicKey:
				fits = (alg == "RS256" || alg == "PS256") && key.N.BitLen() >= 2048
			case ed25519.PublicKey:
				fits = alg == "EdDSA" && len(key) == 32
			}
			if !fits || (key == nil) != (err != nil) {
				t.Errorf("for %s: %T, %v", alg, key, err)
			}
		}
		if strings.Contains(log.String(), "panic") && !strings.Contains(document, "panic") {
			t.Error(log.String())
		}
	})
}

// body is a round tripper that answers everything with itself.
type body string

func (b body) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(b)))}, nil
}

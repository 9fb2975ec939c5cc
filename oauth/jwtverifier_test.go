package oauth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/lettergate/lettergate/oauth"
)

func TestAcceptedTokenSaysWhatItSays(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	v := newVerifier(t, staticKeys(t, key.public()), nil)
	token := wantAccepted(t, v, key.token(t, goodClaims(noon).
		with("aud", []string{"https://a.example", api}).
		with("gid", "grant-1").with("sid", "session-1").
		with("auth_time", noon.Add(-time.Hour).Unix()).
		with("acr", "otp").with("amr", []string{"otp", "mfa"}).
		with("realm", map[string]any{"roles": []string{"admin"}})))

	for _, c := range []struct{ name, got, want string }{
		{"Issuer", token.Issuer(), issuerURL},
		{"Subject", token.Subject(), "user-1"},
		{"Audience", strings.Join(token.Audience(), " "), "https://a.example " + api},
		{"ClientID", token.ClientID(), "app"},
		{"ID", token.ID(), "token-1"},
		{"GrantID", token.GrantID(), "grant-1"},
		{"SessionID", token.SessionID(), "session-1"},
		{"Scopes", token.Scopes().String(), "notes:read notes:write"},
		{"IssuedAt", token.IssuedAt().UTC().String(), noon.String()},
		{"ExpiresAt", token.ExpiresAt().UTC().String(), noon.Add(10 * time.Minute).String()},
		{"AuthTime", token.AuthTime().UTC().String(), noon.Add(-time.Hour).String()},
		{"ACR", token.ACR(), "otp"},
		{"AMR", strings.Join(token.AMR(), " "), "otp mfa"},
	} {
		if c.got != c.want {
			t.Errorf("%s = %q, want %q", c.name, c.got, c.want)
		}
	}

	var realm struct {
		Roles []string `json:"roles"`
	}
	if err := token.Claim("realm", &realm); err != nil || !slices.Equal(realm.Roles, []string{"admin"}) {
		t.Errorf("Claim(realm) = %v, %v", realm, err)
	}
	if err := token.Claim("absent", &realm); err != oauth.ErrNoClaim {
		t.Errorf("Claim(absent) = %v, want ErrNoClaim", err)
	}
	if err := token.Claim("realm", new(string)); err == nil || errors.Is(err, oauth.ErrNoClaim) {
		t.Errorf("Claim into the wrong type = %v, want another error than ErrNoClaim", err)
	}

	// What one request does to its slices is nothing to the next.
	token.Audience()[0], token.AMR()[0] = "changed", "changed"
	if token.HasAudience("changed") || token.AMR()[0] != "otp" {
		t.Error("a caller could change the token")
	}
}

func TestTokenWithoutOptionalClaims(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	v := newVerifier(t, staticKeys(t, key.public()), nil)
	token := wantAccepted(t, v, key.token(t, goodClaims(noon).without("scope")))
	if token.Scopes().Len() != 0 || token.GrantID() != "" || !token.AuthTime().IsZero() || token.AMR() != nil {
		t.Errorf("got %v %q %v %v, want nothing", token.Scopes(), token.GrantID(), token.AuthTime(), token.AMR())
	}
}

// Tokens and keys made by go-jose, which shares no code with our verification.
func TestEveryAlgorithmAgainstGoJose(t *testing.T) {
	all := []string{"ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA"}
	var keys []signingKey
	var public []jose.JSONWebKey
	for _, alg := range all {
		keys = append(keys, newKey(t, "key-"+alg, alg))
		public = append(public, keys[len(keys)-1].public())
	}
	v, err := oauth.NewJWTVerifier(oauth.JWTConfig{
		Issuer: issuerURL, Audiences: []string{api}, Algorithms: all, Now: func() time.Time { return noon },
	}, staticKeys(t, public...))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		t.Run(key.alg, func(t *testing.T) {
			options := (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", key.kid)
			signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.alg), Key: key.private}, options)
			if err != nil {
				t.Fatal(err)
			}
			signed, err := signer.Sign([]byte(goodClaims(noon).json(t)))
			if err != nil {
				t.Fatal(err)
			}
			token, err := signed.CompactSerialize()
			if err != nil {
				t.Fatal(err)
			}
			wantAccepted(t, v, token)
			// The same key for another algorithm of its kind was not published.
			for _, other := range all {
				if other != key.alg {
					k := signingKey{key.kid, other, newKey(t, "", other).private}
					wantInvalid(t, v, k.token(t, goodClaims(noon)))
				}
			}
		})
	}
}

func TestNewJWTVerifierSettings(t *testing.T) {
	keys := staticKeys(t, newKey(t, "k", "EdDSA").public())
	good := oauth.JWTConfig{Issuer: issuerURL, Audiences: []string{api}}
	if _, err := oauth.NewJWTVerifier(good, keys); err != nil {
		t.Errorf("the smallest setting: %v", err)
	}
	for name, change := range map[string]func(*oauth.JWTConfig){
		"no issuer":       func(c *oauth.JWTConfig) { c.Issuer = "" },
		"no audience":     func(c *oauth.JWTConfig) { c.Audiences = nil },
		"empty audience":  func(c *oauth.JWTConfig) { c.Audiences = []string{api, ""} },
		"alg none":        func(c *oauth.JWTConfig) { c.Algorithms = []string{"ES256", "none"} },
		"alg HS256":       func(c *oauth.JWTConfig) { c.Algorithms = []string{"HS256"} },
		"negative leeway": func(c *oauth.JWTConfig) { c.Leeway = -1 },
		"long leeway":     func(c *oauth.JWTConfig) { c.Leeway = time.Minute + 1 },
	} {
		cfg := good
		change(&cfg)
		if _, err := oauth.NewJWTVerifier(cfg, keys); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if _, err := oauth.NewJWTVerifier(good, nil); err == nil {
		t.Error("no key source was accepted")
	}
}

func TestRS04_OneSpelling(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	v := newVerifier(t, staticKeys(t, key.public()), nil)
	token := key.token(t, goodClaims(noon))
	wantAccepted(t, v, token)

	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	body, last := token[:len(token)-1], token[len(token)-1]
	for _, c := range []byte(alphabet) {
		if c != last {
			wantInvalid(t, v, body+string(c))
		}
	}
	dot := strings.IndexByte(token, '.')
	for _, changed := range []string{
		"", ".", "..", "...", token + "=", token + "==", token + ".", "." + token, token + "\n", "\r\n" + token,
		token[:dot] + "\n" + token[dot:], token[:dot+9] + "\r" + token[dot+9:], " " + token, token + " ", token[:dot] + "=" + token[dot:],
		strings.ReplaceAll(strings.ReplaceAll(token, "-", "+"), "_", "/") + "+", token[:len(token)-86], body, "garbage",
	} {
		wantInvalid(t, v, changed)
	}

	// The same two numbers with a zero in front of one of them.
	end := strings.LastIndexByte(token, '.') + 1
	signature, err := base64.RawURLEncoding.DecodeString(token[end:])
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 32, 64} {
		wantInvalid(t, v, token[:end]+encode(string(slices.Insert(slices.Clone(signature), at, 0))))
	}
}

func TestRS04_ExpiredAndNotYet(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	v := newVerifier(t, staticKeys(t, key.public()), nil)
	good := goodClaims(noon)
	wantInvalid(t, v, key.token(t, good.with("exp", noon.Add(-time.Hour).Unix())))
	wantInvalid(t, v, key.token(t, good.with("nbf", noon.Add(time.Hour).Unix())))
	wantInvalid(t, v, key.token(t, good.with("nbf", "soon")))
	wantAccepted(t, v, key.token(t, good.with("nbf", noon.Unix())))
	wantInvalid(t, v, newKey(t, "k1", "ES256").token(t, good)) // signed by a stranger
	wantInvalid(t, v, newKey(t, "k2", "ES256").token(t, good)) // unknown kid
}

func TestRS06_TokenType(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	v := newVerifier(t, staticKeys(t, key.public()), nil)
	payload := goodClaims(noon).json(t)
	for _, typ := range []any{"at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"} {
		wantAccepted(t, v, key.sign(t, key.header().with("typ", typ).json(t), payload))
	}
	for _, typ := range []any{"JWT", "jwt", "", "ID Token", "logout+jwt", "dpop+jwt", "at+jwt ", "application/at+jwt;x", nil, 1, []string{"at+jwt"}} {
		wantInvalid(t, v, key.sign(t, key.header().with("typ", typ).json(t), payload))
	}
	wantInvalid(t, v, key.sign(t, key.header().without("typ").json(t), payload))
}

func TestRS07_Algorithm(t *testing.T) {
	es, rs, ed := newKey(t, "es", "ES256"), newKey(t, "rs", "RS256"), newKey(t, "ed", "EdDSA")
	anyAlg := rs.public() // no alg, so that only the verifier's own rules stand in the way
	anyAlg.Algorithm = ""
	keys := staticKeys(t, es.public(), anyAlg, ed.public())
	v := newVerifier(t, keys, nil)
	payload := goodClaims(noon).json(t)

	for _, alg := range []any{"none", "None", "nOnE", "NONE", "", "HS256", "es256", "ES256K", "RS1", "A128KW", nil, 256} {
		unsigned := encode(es.header().with("alg", alg).json(t)) + "." + encode(payload) + "."
		wantInvalid(t, v, unsigned)
		wantInvalid(t, v, es.sign(t, es.header().with("alg", alg).json(t), payload))
	}

	// HS256 with the public key as the secret.
	der, err := x509.MarshalPKIXPublicKey(rs.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range [][]byte{der, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})} {
		options := (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", rs.kid)
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: secret}, options)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign([]byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		token, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		wantInvalid(t, v, token)
	}

	// One algorithm's token under the name of another's key, all ways round.
	for _, signer := range []signingKey{es, rs, ed} {
		for _, named := range []signingKey{es, rs, ed} {
			if signer.kid != named.kid {
				wantInvalid(t, v, signer.sign(t, signer.header().with("kid", named.kid).json(t), payload))
				wantInvalid(t, v, signer.sign(t, named.header().json(t), payload))
			}
		}
	}

	// PS256 is good by default, but not for a verifier that does not allow it.
	ps := signingKey{"rs", "PS256", rs.private}
	wantAccepted(t, v, ps.sign(t, ps.header().json(t), payload))
	strict, err := oauth.NewJWTVerifier(oauth.JWTConfig{
		Issuer: issuerURL, Audiences: []string{api}, Algorithms: []string{"RS256"}, Now: func() time.Time { return noon },
	}, keys)
	if err != nil {
		t.Fatal(err)
	}
	wantAccepted(t, strict, rs.sign(t, rs.header().json(t), payload))
	wantInvalid(t, strict, ps.sign(t, ps.header().json(t), payload))
}

// A key source that does not do its work must not open a door either.
func TestRS07_KeySourceReturnsTheWrongKey(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	// Its numbers fit into a signature of ES256.
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	es := newKey(t, "k", "ES256")
	for name, c := range map[string]struct {
		signer signingKey
		key    crypto.PublicKey
	}{
		"a weaker curve":  {signingKey{"k", "ES256", weak}, weak.Public()},
		"another curve":   {es, newKey(t, "k", "ES384").private.Public()},
		"another kind":    {es, rsaKey().Public()},
		"not a key":       {es, []byte("secret")},
		"no key":          {es, nil},
		"a private key":   {es, es.private},
		"a short RSA key": {signingKey{"k", "RS256", small}, small.Public()},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, keyFunc(func(context.Context, string, string) (crypto.PublicKey, error) { return c.key, nil }), nil)
			wantInvalid(t, v, c.signer.token(t, goodClaims(noon)))
		})
	}
}

func TestRS08_Issuer(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	v := newVerifier(t, staticKeys(t, key.public()), nil)
	for _, iss := range []any{
		issuerURL + "/", strings.ToUpper(issuerURL), "https://ID.example/tenant", "https://id.example/other", "https://id.example",
		"http://id.example/tenant", "", nil, 1, []string{issuerURL}, map[string]any{issuerURL: issuerURL},
	} {
		wantInvalid(t, v, key.token(t, goodClaims(noon).with("iss", iss)))
	}
	wantInvalid(t, v, key.token(t, goodClaims(noon).without("iss")))
	// Issuer A's key under the claim of issuer B.
	wantInvalid(t, v, newKey(t, "a", "ES256").token(t, goodClaims(noon)))
}

func TestRS09_Audience(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	v := newVerifier(t, staticKeys(t, key.public()), nil)
	for _, aud := range []any{api, "other", []string{api}, []string{"x", api}} {
		wantAccepted(t, v, key.token(t, goodClaims(noon).with("aud", aud)))
	}
	for _, aud := range []any{
		"", api + "/", strings.ToUpper(api), []string{}, []string{""}, []string{"x"}, nil, 1, true, map[string]any{"aud": api},
		[]any{[]string{api}}, []any{api, 1}, []any{api, nil}, api + " other",
	} {
		wantInvalid(t, v, key.token(t, goodClaims(noon).with("aud", aud)))
	}
	wantInvalid(t, v, key.token(t, goodClaims(noon).without("aud")))
}

func TestRS10_Times(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	now := noon
	v, err := oauth.NewJWTVerifier(oauth.JWTConfig{
		Issuer: issuerURL, Audiences: []string{api}, Leeway: time.Minute, Now: func() time.Time { return now },
	}, staticKeys(t, key.public()))
	if err != nil {
		t.Fatal(err)
	}
	good := goodClaims(noon)
	number := func(s string) any { return json.RawMessage(s) }
	for _, name := range []string{"exp", "iat", "nbf", "auth_time"} {
		for _, value := range []any{
			nil, "", "1777896000", true, []int{1777896000}, number("1e400"), number("-1e400"), number("1777896000.5"),
			number("1.777896e9"), -1, 0, number("1000000000000"), number("99999999999999999999999"), number("9223372036854775808"),
		} {
			wantInvalid(t, v, key.token(t, good.with(name, value)))
		}
	}
	wantInvalid(t, v, key.token(t, good.without("exp")))

	// 59 s of disagreement are forgiven, 61 are not.
	for _, c := range []struct {
		claim    string
		off      time.Duration
		accepted bool
	}{
		{"exp", -59 * time.Second, true}, {"exp", -60 * time.Second, false}, {"exp", -61 * time.Second, false},
		{"iat", 59 * time.Second, true}, {"iat", 61 * time.Second, false},
		{"nbf", 59 * time.Second, true}, {"nbf", 61 * time.Second, false},
	} {
		token := key.token(t, good.with(c.claim, noon.Add(c.off).Unix()))
		if _, err := v.Verify(t.Context(), token); (err == nil) != c.accepted {
			t.Errorf("%s %v away: %v", c.claim, c.off, err)
		}
	}

	// The default is 30 s.
	v = newVerifier(t, staticKeys(t, key.public()), func() time.Time { return now })
	token := key.token(t, good)
	now = noon.Add(10*time.Minute + 29*time.Second)
	wantAccepted(t, v, token)
	now = noon.Add(10*time.Minute + 30*time.Second)
	wantInvalid(t, v, token)
}

func TestRS11_RequiredClaims(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	v := newVerifier(t, staticKeys(t, key.public()), nil)
	for _, name := range []string{"sub", "client_id", "jti", "iat"} {
		wantInvalid(t, v, key.token(t, goodClaims(noon).without(name)))
		for _, value := range []any{"", nil, []string{"x"}, map[string]any{}, true} {
			wantInvalid(t, v, key.token(t, goodClaims(noon).with(name, value)))
		}
	}
	// What is there in the wrong type is not taken for absent.
	for _, name := range []string{"gid", "sid", "acr", "amr", "scope", "auth_time"} {
		for _, value := range []any{nil, true, map[string]any{}, []any{1}} {
			wantInvalid(t, v, key.token(t, goodClaims(noon).with(name, value)))
		}
	}
	wantInvalid(t, v, key.token(t, goodClaims(noon).with("scope", "two  spaces")))
}

func TestRS12_Header(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	v := newVerifier(t, staticKeys(t, key.public()), nil)
	payload := goodClaims(noon).json(t)

	// The attacker brings a key along, under the real name and another.
	mine := newKey(t, "k1", "ES256")
	public := mine.public()
	for name, value := range map[string]any{"jwk": &public, "jku": "https://evil.example/keys", "x5u": "https://evil.example/cert", "x5c": []string{"AAAA"}} {
		wantInvalid(t, v, mine.sign(t, mine.header().with(name, value).json(t), payload))
		wantInvalid(t, v, mine.sign(t, mine.header().with(name, value).without("kid").json(t), payload))
		// Ignored, so it does no harm where the real key signed.
		wantAccepted(t, v, key.sign(t, key.header().with(name, value).json(t), payload))
	}
	for name, value := range map[string]any{"crit": []string{"exp"}, "b64": false} {
		wantInvalid(t, v, key.sign(t, key.header().with(name, value).json(t), payload))
	}
	wantInvalid(t, v, key.sign(t, key.header().with("crit", nil).json(t), payload))
	wantInvalid(t, v, key.sign(t, key.header().with("b64", true).json(t), payload))
	for _, kid := range []any{"../../x", strings.Repeat("k", 10<<10), "k1\x00", "\x00", "k1\n", "", nil, 1, []string{"k1"}} {
		wantInvalid(t, v, key.sign(t, key.header().with("kid", kid).json(t), payload))
	}
	wantInvalid(t, v, key.sign(t, key.header().without("kid").json(t), payload))
	for _, header := range []string{"", "null", "[]", "1", `"x"`, "{", key.header().json(t) + "x", key.header().json(t) + "{}"} {
		wantInvalid(t, v, key.sign(t, header, payload))
	}
}

// A name that cannot be a key's is not even asked for.
func TestRS12_KeySourceIsNotAsked(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	asked := 0
	v := newVerifier(t, keyFunc(func(context.Context, string, string) (crypto.PublicKey, error) {
		asked++
		return nil, oauth.ErrUnknownKey
	}), nil)
	good := goodClaims(noon)
	for _, kid := range []string{strings.Repeat("k", 257), "k\x00", "k\x7f"} {
		wantInvalid(t, v, key.sign(t, key.header().with("kid", kid).json(t), good.json(t)))
	}
	wantInvalid(t, v, key.token(t, good.with("iss", "https://other.example")))
	wantInvalid(t, v, key.token(t, good.with("exp", noon.Add(-time.Hour).Unix())))
	if asked != 0 {
		t.Errorf("the key source was asked %d times for tokens that cannot be good", asked)
	}
	wantInvalid(t, v, key.token(t, good))
	if asked != 1 {
		t.Errorf("the key source was asked %d times, want once", asked)
	}
}

func TestRS13_StrictJSON(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	v := newVerifier(t, staticKeys(t, key.public()), nil)
	header, payload := key.header().json(t), goodClaims(noon).json(t)
	add := func(s string) string { return payload[:len(payload)-1] + "," + s + "}" }

	wantAccepted(t, v, key.sign(t, " "+header+"\n", "\t"+strings.ReplaceAll(payload, `":`, "\" :\n ")))
	wantAccepted(t, v, key.sign(t, header, add(`"AUD":"x","Exp":1,"x":{"a":[{"b":1},{"b":2}]}`)))

	for _, s := range []string{
		`"aud":"x"`, `"sub":"admin"`, `"\u0073ub":"admin"`, `"x":1,"x":1`, `"x":{"a":1,"a":2}`, `"x":[[{"a":1,"\u0061":2}]]`,
		"\"x\":\"\xff\"", "\"x\xc3\":1", `"x":NaN`, `"x":01`, `"x":'a'`, `"x":1,`,
	} {
		wantInvalid(t, v, key.sign(t, header, add(s)))
	}
	// Names match exactly: these are not the claims that they resemble.
	for _, c := range [][2]string{{`"aud"`, `"AUD"`}, {`"exp"`, `"Exp"`}, {`"sub"`, `"\u017fub"`}, {`"iss"`, `"iSS"`}, {`"client_id"`, `"Client_Id"`}} {
		wantInvalid(t, v, key.sign(t, header, strings.Replace(payload, c[0], c[1], 1)))
	}
	wantInvalid(t, v, key.sign(t, strings.Replace(header, `"alg"`, `"Alg"`, 1), payload))
	wantInvalid(t, v, key.sign(t, header[:len(header)-1]+`,"alg":"none"}`, payload))
	for _, s := range []string{"", "null", "[]", payload + payload, payload + "x"} {
		wantInvalid(t, v, key.sign(t, header, s))
	}
}

func TestRS13_Depth(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	v := newVerifier(t, staticKeys(t, key.public()), nil)
	payload := goodClaims(noon).json(t)
	for _, depth := range []int{100, 5_000, 11_000, 100_000} {
		for _, nested := range []string{strings.Repeat("[", depth), strings.Repeat(`{"a":`, depth)} {
			token := key.sign(t, key.header().json(t), payload[:len(payload)-1]+`,"x":`+nested)
			fastest := time.Hour
			for range 5 {
				start := time.Now()
				wantInvalid(t, v, token)
				fastest = min(fastest, time.Since(start))
			}
			if fastest > 5*time.Millisecond {
				t.Errorf("%d levels took %v", depth, fastest)
			}
		}
	}
}

func TestRS14_Size(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	v := newVerifier(t, staticKeys(t, key.public()), nil)
	// Grow a good token to exactly the limit: four characters for three bytes.
	base := goodClaims(noon).with("x", "")
	token := key.token(t, base)
	for n := (16<<10 - len(token)) / 4 * 3; len(token) < 16<<10-3; n++ {
		token = key.token(t, base.with("x", strings.Repeat("x", n)))
	}
	if len(token) > 16<<10 {
		t.Fatalf("the token has %d bytes", len(token))
	}
	wantAccepted(t, v, token)
	wantInvalid(t, v, key.token(t, base.with("x", strings.Repeat("x", 13<<10))))

	for _, hostile := range []string{
		strings.Repeat(".", 1<<20), strings.Repeat("a.", 5<<20), strings.Repeat("e", 10<<20), strings.Repeat(".", 16<<10),
		token[:strings.LastIndexByte(token, '.')+1] + strings.Repeat(".", 100),
	} {
		const rounds = 10
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range rounds {
			v.Verify(t.Context(), hostile)
		}
		runtime.ReadMemStats(&after)
		if used := (after.TotalAlloc - before.TotalAlloc) / rounds; used > 64<<10 {
			t.Errorf("a token of %d bytes took %d bytes of memory", len(hostile), used)
		}
		wantInvalid(t, v, hostile)
	}
}

func TestRS29_KeySourceFails(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	token := key.token(t, goodClaims(noon))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	broken := errors.New("the disk is gone")
	for _, c := range []struct {
		ctx  context.Context
		err  error
		want error
	}{
		{t.Context(), oauth.ErrUnknownKey, oauth.ErrInvalidToken},
		{t.Context(), fmt.Errorf("look: %w", oauth.ErrUnknownKey), oauth.ErrInvalidToken},
		{t.Context(), oauth.ErrUnavailable, oauth.ErrUnavailable},
		{t.Context(), broken, oauth.ErrUnavailable},
		{t.Context(), broken, broken},
		{cancelled, broken, context.Canceled},
		{cancelled, context.Canceled, context.Canceled},
	} {
		v := newVerifier(t, keyFunc(func(context.Context, string, string) (crypto.PublicKey, error) { return nil, c.err }), nil)
		claims, err := v.Verify(c.ctx, token)
		if claims != nil || !errors.Is(err, c.want) {
			t.Errorf("%v became %v, want %v", c.err, err, c.want)
		}
		if errors.Is(err, oauth.ErrInvalidToken) && c.want != oauth.ErrInvalidToken {
			t.Errorf("%v was held against the token: %v", c.err, err)
		}
	}
}

// keyFunc is a key source made of a function.
type keyFunc func(ctx context.Context, kid, alg string) (crypto.PublicKey, error)

func (f keyFunc) Key(ctx context.Context, kid, alg string) (crypto.PublicKey, error) {
	return f(ctx, kid, alg)
}

func BenchmarkVerify(b *testing.B) {
	for _, alg := range []string{"ES256", "RS256", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			key := newKey(b, "k1", alg)
			v := newVerifier(b, staticKeys(b, key.public()), nil)
			token := key.token(b, goodClaims(noon))
			b.ReportAllocs()
			for b.Loop() {
				wantAccepted(b, v, token)
			}
		})
	}
}

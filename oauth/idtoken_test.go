package oauth_test

import (
	"context"
	"crypto"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/oauth"
)

const (
	clientID = "app"
	nonce    = "the nonce of this sign-in"
	access   = "an.access.token"
)

func newIDVerifier(t testing.TB, keys oauth.KeySource) *oauth.IDTokenVerifier {
	t.Helper()
	v, err := oauth.NewIDTokenVerifier(oauth.IDTokenConfig{Issuer: issuerURL, ClientID: clientID, Now: func() time.Time { return noon }}, keys)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func idClaims() object {
	return object{
		"iss": issuerURL, "sub": "user-1", "aud": clientID, "iat": noon.Unix(), "exp": noon.Add(10 * time.Minute).Unix(),
		"nonce": nonce, "sid": "session-1", "auth_time": noon.Unix() - 60, "amr": []string{"otp"}, "acr": "one", "email": "ann@example.com",
	}
}

func logoutClaims() object {
	return object{
		"iss": issuerURL, "sub": "user-1", "sid": "session-1", "aud": clientID, "jti": "logout-1", "iat": noon.Unix(),
		"exp": noon.Add(2 * time.Minute).Unix(), "events": object{"http://schemas.openid.net/event/backchannel-logout": object{}},
	}
}

// atHash is at_hash by the book, with a hash function chosen here.
func atHash(h crypto.Hash, token string) string {
	sum := h.New()
	sum.Write([]byte(token))
	full := sum.Sum(nil)
	return base64.RawURLEncoding.EncodeToString(full[:len(full)/2])
}

func TestIDToken(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	v := newIDVerifier(t, staticKeys(t, key.public()))
	for name, header := range map[string]object{
		"JWT": key.header().with("typ", "JWT"), "no typ": key.header().without("typ"), "spelled out": key.header().with("typ", "application/jwt"),
	} {
		token := key.sign(t, header.json(t), idClaims().json(t))
		got, err := v.Verify(t.Context(), token, nonce, access)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var email string
		if got.Issuer() != issuerURL || got.Subject() != "user-1" || got.SessionID() != "session-1" || got.Nonce() != nonce || got.ACR() != "one" ||
			len(got.AMR()) != 1 || len(got.Audience()) != 1 || !got.IssuedAt().Equal(noon) || !got.ExpiresAt().Equal(noon.Add(10*time.Minute)) ||
			!got.AuthTime().Equal(noon.Add(-time.Minute)) || got.Claim("email", &email) != nil || email != "ann@example.com" ||
			!errors.Is(got.Claim("phone", &email), oauth.ErrNoClaim) || got.Claim("amr", &email) == nil {
			t.Errorf("%s: got %+v", name, got)
		}
		read, err := oauth.InsecureReadIDToken(token)
		if err != nil || read.Subject() != "user-1" {
			t.Errorf("%s: read again: %v, %v", name, read, err)
		}
	}
}

func TestIDTokenRefused(t *testing.T) {
	key, other, edDSA := newKey(t, "k1", "ES256"), newKey(t, "k1", "ES256"), newKey(t, "k2", "EdDSA")
	v := newIDVerifier(t, staticKeys(t, key.public(), edDSA.public()))
	good, head := idClaims(), key.header().with("typ", "JWT")
	sign := func(header, claims object) string { return key.sign(t, header.json(t), claims.json(t)) }
	for name, token := range map[string]string{
		"an access token":               sign(key.header(), good),
		"an access token, spelled out":  sign(head.with("typ", "application/AT+JWT"), good),
		"a logout token":                sign(head.with("typ", "logout+jwt"), logoutClaims()),
		"a logout token as JWT":         sign(head, logoutClaims().with("nonce", nonce)),
		"typ of no kind":                sign(head.with("typ", ""), good),
		"typ as a number":               sign(head.with("typ", 1), good),
		"alg none":                      encode(head.with("alg", "none").json(t)) + "." + encode(good.json(t)) + ".",
		"HS256":                         sign(head.with("alg", "HS256"), good),
		"ES384 with a P-256 key":        sign(head.with("alg", "ES384"), good),
		"another key":                   other.sign(t, head.json(t), good.json(t)),
		"unknown kid":                   sign(head.with("kid", "k9"), good),
		"no kid":                        sign(head.without("kid"), good),
		"crit":                          sign(head.with("crit", []string{"exp"}), good),
		"another issuer":                sign(head, good.with("iss", issuerURL+"/")),
		"another client":                sign(head, good.with("aud", "other")),
		"no audience":                   sign(head, good.without("aud")),
		"two clients, no azp":           sign(head, good.with("aud", []string{clientID, "other"})),
		"two clients, azp is the other": sign(head, good.with("aud", []string{clientID, "other"}).with("azp", "other")),
		"azp is the other":              sign(head, good.with("azp", "other")),
		"azp is a list":                 sign(head, good.with("azp", []string{clientID})),
		"expired":                       sign(head, good.with("exp", noon.Unix()-30)),
		"no exp":                        sign(head, good.without("exp")),
		"no iat":                        sign(head, good.without("iat")),
		"of the future":                 sign(head, good.with("iat", noon.Unix()+31)),
		"not yet":                       sign(head, good.with("nbf", noon.Unix()+31)),
		"no sub":                        sign(head, good.without("sub")),
		"empty sub":                     sign(head, good.with("sub", "")),
		"another nonce":                 sign(head, good.with("nonce", nonce+"x")),
		"no nonce":                      sign(head, good.without("nonce")),
		"hash of another token":         sign(head, good.with("at_hash", atHash(crypto.SHA256, "x"))),
		"hash by another function":      sign(head, good.with("at_hash", atHash(crypto.SHA512, access))),
		"hash as a number":              sign(head, good.with("at_hash", 7)),
		"events":                        sign(head, good.with("events", object{})),
		"a member twice":                key.sign(t, head.json(t), strings.Replace(good.json(t), "{", `{"sub":"admin",`, 1)),
		"EdDSA, hash by SHA-256":        edDSA.sign(t, edDSA.header().with("typ", "JWT").json(t), good.with("at_hash", atHash(crypto.SHA256, access)).json(t)),
		"no token":                      "",
		"too long":                      strings.Repeat("a", 17<<10),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := v.Verify(t.Context(), token, nonce, access)
			if got != nil || !errors.Is(err, oauth.ErrInvalidToken) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestIDTokenAtTheEdge(t *testing.T) {
	key, edDSA := newKey(t, "k1", "RS256"), newKey(t, "k2", "EdDSA")
	v := newIDVerifier(t, staticKeys(t, key.public(), edDSA.public()))
	for name, claims := range map[string]object{
		"expired within the leeway":     idClaims().with("exp", noon.Unix()-29),
		"issued within the leeway":      idClaims().with("iat", noon.Unix()+30),
		"two clients, and it is for us": idClaims().with("aud", []string{"other", clientID}).with("azp", clientID),
		"the hash of its access token":  idClaims().with("at_hash", atHash(crypto.SHA256, access)),
	} {
		if _, err := v.Verify(t.Context(), key.sign(t, key.header().with("typ", "JWT").json(t), claims.json(t)), nonce, access); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	claims := idClaims().with("at_hash", atHash(crypto.SHA512, access))
	if _, err := v.Verify(t.Context(), edDSA.sign(t, edDSA.header().without("typ").json(t), claims.json(t)), nonce, access); err != nil {
		t.Errorf("EdDSA: %v", err)
	}
}

// A caller that lost its nonce must not thereby accept every token.
func TestIDTokenWithoutANonceToCompare(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	v := newIDVerifier(t, staticKeys(t, key.public()))
	token := key.sign(t, key.header().without("typ").json(t), idClaims().without("nonce").json(t))
	if got, err := v.Verify(t.Context(), token, "", access); got != nil || err == nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestIDTokenRefreshed(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	v := newIDVerifier(t, staticKeys(t, key.public()))
	sign := func(claims object) string { return key.sign(t, key.header().without("typ").json(t), claims.json(t)) }
	before, err := v.Verify(t.Context(), sign(idClaims()), nonce, access)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		claims object
		good   bool
	}{
		"without nonce":    {idClaims().without("nonce"), true},
		"with its nonce":   {idClaims(), true},
		"another nonce":    {idClaims().with("nonce", "x"), false},
		"somebody else":    {idClaims().with("sub", "user-2"), false},
		"another client":   {idClaims().with("aud", "other"), false},
		"another's tokens": {idClaims().with("at_hash", atHash(crypto.SHA512, "x")), false},
	} {
		if _, err := v.VerifyRefreshed(t.Context(), sign(c.claims), before, access); (err == nil) != c.good || err != nil && !errors.Is(err, oauth.ErrInvalidToken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLogoutToken(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	v := newIDVerifier(t, staticKeys(t, key.public()))
	head := key.header().with("typ", "logout+jwt")
	sign := func(header, claims object) string { return key.sign(t, header.json(t), claims.json(t)) }
	const event = "http://schemas.openid.net/event/backchannel-logout"
	for name, token := range map[string]string{
		"as it should be": sign(head, logoutClaims()),
		"typ JWT":         sign(head.with("typ", "JWT"), logoutClaims()),
		"no typ":          sign(head.without("typ"), logoutClaims()),
		"only sub":        sign(head, logoutClaims().without("sid")),
		"only sid":        sign(head, logoutClaims().without("sub")),
		"another event":   sign(head, logoutClaims().with("events", object{event: object{}, "https://x.example": object{"a": 1}})),
	} {
		got, err := v.VerifyLogout(t.Context(), token)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got.ID() != "logout-1" || got.Subject()+got.SessionID() == "" || !got.IssuedAt().Equal(noon) || !got.ExpiresAt().Equal(noon.Add(2*time.Minute)) {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	for name, token := range map[string]string{
		"an ID token":         sign(head.with("typ", "JWT"), idClaims()),
		"an ID token, no typ": sign(head.without("typ"), idClaims().with("jti", "x").without("nonce")),
		"an access token":     sign(key.header(), logoutClaims()),
		"no events":           sign(head, logoutClaims().without("events")),
		"no such event":       sign(head, logoutClaims().with("events", object{"https://x.example": object{}})),
		"the event is null":   sign(head, logoutClaims().with("events", object{event: nil})),
		"the event is true":   sign(head, logoutClaims().with("events", object{event: true})),
		"events is a list":    sign(head, logoutClaims().with("events", []string{event})),
		"a nonce":             sign(head, logoutClaims().with("nonce", "x")),
		"nobody":              sign(head, logoutClaims().without("sub").without("sid")),
		"sid is a number":     sign(head, logoutClaims().with("sid", 1)),
		"no jti":              sign(head, logoutClaims().without("jti")),
		"no iat":              sign(head, logoutClaims().without("iat")),
		"no exp":              sign(head, logoutClaims().without("exp")),
		"expired":             sign(head, logoutClaims().with("exp", noon.Unix()-60)),
		"old":                 sign(head, logoutClaims().with("iat", noon.Unix()-3700)),
		"of the future":       sign(head, logoutClaims().with("iat", noon.Unix()+60)),
		"another client":      sign(head, logoutClaims().with("aud", "other")),
		"another issuer":      sign(head, logoutClaims().with("iss", "https://evil.example")),
		"alg none":            encode(head.with("alg", "none").json(t)) + "." + encode(logoutClaims().json(t)) + ".",
		"another key":         newKey(t, "k1", "EdDSA").sign(t, head.json(t), logoutClaims().json(t)),
	} {
		if got, err := v.VerifyLogout(t.Context(), token); got != nil || !errors.Is(err, oauth.ErrInvalidToken) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

func TestIDTokenKeysAway(t *testing.T) {
	key := newKey(t, "k1", "EdDSA")
	v := newIDVerifier(t, keysAway{})
	if _, err := v.Verify(t.Context(), key.sign(t, key.header().without("typ").json(t), idClaims().json(t)), nonce, access); !errors.Is(err, oauth.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if _, err := v.VerifyLogout(t.Context(), key.sign(t, key.header().without("typ").json(t), logoutClaims().json(t))); !errors.Is(err, oauth.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

// keysAway is a source of keys that cannot be reached.
type keysAway struct{}

func (keysAway) Key(context.Context, string, string) (crypto.PublicKey, error) {
	return nil, oauth.ErrUnavailable
}

func TestNewIDTokenVerifierRefuses(t *testing.T) {
	keys := staticKeys(t, newKey(t, "k1", "EdDSA").public())
	good := oauth.IDTokenConfig{Issuer: issuerURL, ClientID: clientID}
	for name, change := range map[string]func(*oauth.IDTokenConfig){
		"no issuer":       func(c *oauth.IDTokenConfig) { c.Issuer = "" },
		"no client":       func(c *oauth.IDTokenConfig) { c.ClientID = "" },
		"alg none":        func(c *oauth.IDTokenConfig) { c.Algorithms = []string{"none"} },
		"symmetric":       func(c *oauth.IDTokenConfig) { c.Algorithms = []string{"RS256", "HS256"} },
		"a long leeway":   func(c *oauth.IDTokenConfig) { c.Leeway = time.Hour },
		"negative leeway": func(c *oauth.IDTokenConfig) { c.Leeway = -1 },
	} {
		cfg := good
		change(&cfg)
		if v, err := oauth.NewIDTokenVerifier(cfg, keys); v != nil || err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if v, err := oauth.NewIDTokenVerifier(good, nil); v != nil || err == nil {
		t.Error("no keys: accepted")
	}
}

package oauth_test

import (
	"testing"

	"github.com/lettergate/lettergate/oauth"
)

// What issuers sign, in the form they give it: header and claims beside iss, sub, iat
// and exp.
var (
	keycloakAccess = object{"aud": api, "azp": "app", "jti": "t1", "typ": "Bearer", "sid": "s1", "acr": "1", "scope": "openid notes:read", "realm_access": map[string]any{"roles": []string{"editor"}}}
	keycloakID     = object{"aud": "app", "azp": "app", "jti": "t2", "typ": "ID", "sid": "s1", "at_hash": "x", "nonce": "n"}
	entraAccess    = object{"aud": api, "azp": "app", "azpacr": "1", "scp": "notes:read notes:write", "ver": "2.0", "uti": "u"}
	entraID        = object{"aud": "app", "nonce": "n", "ver": "2.0", "uti": "u"}
	auth0Access    = object{"aud": []string{api, "https://id.example/userinfo"}, "azp": "app", "scope": "openid notes:read"}
	auth0ID        = object{"aud": "app", "nonce": "n", "sid": "s1"}
	oktaAccess     = object{"aud": api, "cid": "app", "uid": "u1", "jti": "AT.1", "ver": 1, "scp": []string{"notes:read"}}
	oktaID         = object{"aud": "app", "jti": "ID.1", "ver": 1, "amr": []string{"pwd"}, "at_hash": "x"}
	zitadelAccess  = object{"aud": []string{api}, "client_id": "app", "jti": "t1", "scope": "notes:read"}
	zitadelID      = object{"aud": []string{api, "app"}, "client_id": "app", "azp": "app", "at_hash": "x", "c_hash": "y"}
	logout         = object{"aud": "app", "jti": "l1", "sid": "s1", "events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}
)

// plain adds what all tokens have.
func plain(claims object) object {
	all := object{"iss": issuerURL, "sub": "user-1", "iat": noon.Unix(), "exp": noon.Unix() + 600}
	for name, value := range claims {
		all[name] = value
	}
	return all
}

func acceptPlain(c *oauth.JWTConfig) {
	c.AcceptPlainJWT = true
	c.Audiences = []string{api, "app"} // a client's name too, which it should not be
}

func TestRS06_PlainAccessTokens(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	v, _ := withClock(t, staticKeys(t, key.public()), acceptPlain)
	strict := newVerifier(t, staticKeys(t, key.public()), nil)
	jwt, untyped, at := key.header().with("typ", "JWT"), key.header().without("typ"), key.header()
	for _, c := range []struct {
		name           string
		header, claims object
		id, scopes     string
	}{
		{"Keycloak", jwt, keycloakAccess, "t1", "openid notes:read"},
		{"Keycloak, typ at+jwt", at, keycloakAccess, "t1", "openid notes:read"},
		{"Entra", jwt, entraAccess, "", "notes:read notes:write"},
		{"Auth0", jwt, auth0Access, "", "openid notes:read"},
		{"Okta", untyped, oktaAccess, "AT.1", "notes:read"},
		{"zitadel", jwt, zitadelAccess, "t1", "notes:read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			token := key.sign(t, c.header.json(t), plain(c.claims).json(t))
			for range 2 { // from scratch, and remembered
				got := wantAccepted(t, v, token)
				if got.ClientID() != "app" || got.ID() != c.id || got.Scopes().String() != c.scopes {
					t.Errorf("client %q, id %q, scopes %q", got.ClientID(), got.ID(), got.Scopes())
				}
			}
			wantInvalid(t, strict, token)
		})
	}
}

func TestRS06_PlainOtherTokens(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	v, _ := withClock(t, staticKeys(t, key.public()), acceptPlain)
	for name, claims := range map[string]object{
		"Keycloak ID": keycloakID, "Entra ID": entraID, "Auth0 ID": auth0ID, "Okta ID": oktaID, "zitadel ID": zitadelID, "logout": logout,
		// Each check alone, on a token that is otherwise good.
		"no client":           zitadelAccess.without("client_id"),
		"another azp":         zitadelAccess.with("azp", "other"),
		"azp no string":       zitadelAccess.with("azp", 1),
		"aud is the client":   zitadelAccess.with("aud", "app"),
		"client among aud":    zitadelAccess.with("aud", []string{api, "app"}),
		"no scope":            zitadelAccess.without("scope"),
		"scope no string":     zitadelAccess.with("scope", []string{"notes:read"}),
		"scp null":            entraAccess.with("scp", nil),
		"nonce":               zitadelAccess.with("nonce", "n"),
		"at_hash":             zitadelAccess.with("at_hash", "x"),
		"c_hash":              zitadelAccess.with("c_hash", "x"),
		"s_hash":              zitadelAccess.with("s_hash", "x"),
		"events":              zitadelAccess.with("events", map[string]any{}),
		"token_introspection": zitadelAccess.with("token_introspection", map[string]any{}),
		"typ ID":              zitadelAccess.with("typ", "ID"),
		"typ Refresh":         zitadelAccess.with("typ", "Refresh"),
		"typ null":            zitadelAccess.with("typ", nil),
		"token_use id":        zitadelAccess.with("token_use", "id"),
		"jti no string":       zitadelAccess.with("jti", 1),
		"bound to a key":      zitadelAccess.with("cnf", map[string]any{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
	} {
		t.Run(name, func(t *testing.T) {
			for _, header := range []object{key.header().with("typ", "JWT"), key.header().with("typ", "jwt"), key.header().without("typ")} {
				wantInvalid(t, v, key.sign(t, header.json(t), plain(claims).json(t)))
			}
		})
	}
	for _, typ := range []any{"logout+jwt", "ID", "", nil, 1, "dpop+jwt", "token-introspection+jwt", "JWT ", "application/jwt"} {
		wantInvalid(t, v, key.sign(t, key.header().with("typ", typ).json(t), plain(zitadelAccess).json(t)))
	}
}

// A token that says that it is one of DPoP and names no key is not a bearer token.
func TestRS22_PlainDPoPWithoutKey(t *testing.T) {
	key := newKey(t, "k1", "ES256")
	v, _ := withClock(t, staticKeys(t, key.public()), acceptPlain)
	claims := plain(keycloakAccess)
	claims["typ"] = "DPoP"
	wantInvalid(t, v, key.sign(t, key.header().with("typ", "JWT").json(t), claims.json(t)))
}

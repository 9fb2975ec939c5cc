package config_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lettergate/lettergate/config"
)

// Keys of RFC 7517 appendix A.1 and RFC 8037 appendix A.2.
func ecKey() config.JWK {
	return config.JWK{Type: "EC", ID: "ec", Curve: "P-256", X: "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", Y: "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}
}

func edKey() config.JWK {
	return config.JWK{Type: "OKP", ID: "ed", Curve: "Ed25519", X: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
}

func rsaKey() config.JWK {
	return config.JWK{Type: "RSA", ID: "rsa", E: "AQAB", N: "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMst" +
		"n64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbIS" +
		"D08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}
}

// signer makes the first client of published one that signs.
func signer(keys ...config.JWK) func(*config.Config) {
	return func(c *config.Config) {
		c.Clients[0].TokenEndpointAuthMethod, c.Clients[0].Secrets, c.Clients[0].JWKS.Keys = "private_key_jwt", nil, keys
	}
}

// with is signer for one key that is changed.
func with(key config.JWK, change func(*config.JWK)) func(*config.Config) {
	change(&key)
	return signer(key)
}

// and makes one change of several.
func and(changes ...func(*config.Config)) func(*config.Config) {
	return func(c *config.Config) {
		for _, change := range changes {
			change(c)
		}
	}
}

func keyURI(uri string) func(*config.Config) {
	return and(signer(), func(c *config.Config) { c.Clients[0].JWKSURI = uri })
}

const (
	badEC     = "clients[0].jwks.keys[0]: cannot be used: a key of EC has crv P-256, and x and y of 32 bytes each in base64url"
	badOKP    = "clients[0].jwks.keys[0]: cannot be used: a key of OKP has crv Ed25519, and x of 32 bytes in base64url"
	badRSA    = "clients[0].jwks.keys[0]: cannot be used: a key of RSA has n and e in base64url"
	noRSA     = "clients[0].jwks.keys[0]: cannot be used: n and e are no key of RSA; e is usually AQAB (65537)"
	notSigner = "is for clients with token_endpoint_auth_method: private_key_jwt; leave it out"
)

// keyFaults are what can be wrong with the keys of clients and with what is asked of
// others.
var keyFaults = []faultRow{
	{"keys", signer(ecKey(), edKey(), rsaKey()), ""},
	{"keys by default", func(c *config.Config) {
		c.Clients[0].TokenEndpointAuthMethod, c.Clients[0].Secrets, c.Clients[0].JWKS.Keys = "", nil, []config.JWK{edKey()}
	}, ""},
	{"a key with everything", with(ecKey(), func(k *config.JWK) { k.Use, k.Algorithm, k.Operations = "sig", "ES256", []string{"verify"} }), ""},
	{"key URI", keyURI("https://keys.example.com/jwks?v=1"), ""},
	{"client_credentials", and(signer(edKey()), func(c *config.Config) { c.Clients[0].GrantTypes = []string{"client_credentials"} }), ""},
	{"PKCE optional", and(signer(edKey()), func(c *config.Config) { c.Clients[0].PKCE = "optional" }), ""},
	{"algorithm", and(signer(ecKey(), rsaKey()), func(c *config.Config) { c.Clients[0].TokenEndpointAuthSigningAlg = "PS256" }), ""},

	{"no keys", signer(), `clients[0].token_endpoint_auth_method: "private_key_jwt" needs the client's public keys: write them under jwks, or where they are published under jwks_uri`},
	{"keys twice", and(signer(edKey()), func(c *config.Config) { c.Clients[0].JWKSURI = "https://keys.example.com/" }), "clients[0].jwks_uri: does not go with jwks: write the keys here or say where they are, not both"},
	{"keys and secrets", func(c *config.Config) {
		c.Clients[0].TokenEndpointAuthMethod, c.Clients[0].JWKS.Keys = "private_key_jwt", []config.JWK{edKey()}
	}, "clients[0].client_secrets: does not go with private_key_jwt, for which the client has keys; leave it out"},
	{"keys of a client with secrets", func(c *config.Config) { c.Clients[0].JWKS.Keys = []config.JWK{edKey()} }, "clients[0].jwks: " + notSigner},
	{"key URI of a public client", func(c *config.Config) { c.Clients[1].JWKSURI = "https://keys.example.com/" }, "clients[1].jwks_uri: " + notSigner},
	{"algorithm of a client with secrets", func(c *config.Config) { c.Clients[0].TokenEndpointAuthSigningAlg = "ES256" }, "clients[0].token_endpoint_auth_signing_alg: " + notSigner},
	{"keys of an app", func(c *config.Config) {
		c.Clients[1] = config.Client{ID: "app", CloudBase: true, JWKS: config.JWKS{Keys: []config.JWK{edKey()}}}
	}, `clients[1].token_endpoint_auth_method: "private_key_jwt" does not go with cloudbase: such an app has no secret; leave it out`},
	{"algorithm of no key", and(signer(ecKey(), edKey()), func(c *config.Config) { c.Clients[0].TokenEndpointAuthSigningAlg = "RS256" }), "clients[0].token_endpoint_auth_signing_alg: RS256 fits none of the keys under jwks; leave it out"},
	{"algorithm that a key is not for", and(with(rsaKey(), func(k *config.JWK) { k.Algorithm = "RS256" }), func(c *config.Config) { c.Clients[0].TokenEndpointAuthSigningAlg = "PS256" }), "clients[0].token_endpoint_auth_signing_alg: PS256 fits none of the keys under jwks; leave it out"},
	{"symmetric algorithm", and(signer(ecKey()), func(c *config.Config) { c.Clients[0].TokenEndpointAuthSigningAlg = "HS256" }), `clients[0].token_endpoint_auth_signing_alg: "HS256" is not known; did you mean ES256?`},

	{"same kid", signer(ecKey(), edKey(), ecKey()), `clients[0].jwks.keys[2].kid: "ec" is the kid of keys[0] already; an assertion could not say which it means`},
	{"no kid", with(ecKey(), func(k *config.JWK) { k.ID = "" }), "clients[0].jwks.keys[0].kid: is required"},
	{"a kid with a line", with(ecKey(), func(k *config.JWK) { k.ID = "a\n" }), `clients[0].jwks.keys[0].kid: "a\n" is not allowed: use letters, digits and signs of ASCII, no spaces`},
	{"eleven keys", signer(manyKeys(11)...), "clients[0].jwks.keys: must have at most 10 entries"},
	{"symmetric key", with(config.JWK{ID: "s"}, func(k *config.JWK) { k.Type = "oct" }), `clients[0].jwks.keys[0].kty: "oct" is not known; known are EC, RSA, OKP`},
	{"key of no type", signer(config.JWK{ID: "s"}), "clients[0].jwks.keys[0].kty: is required"},
	{"key for encryption", with(ecKey(), func(k *config.JWK) { k.Use = "enc" }), `clients[0].jwks.keys[0].use: "enc" is not known; known are sig`},
	{"key to sign with", with(ecKey(), func(k *config.JWK) { k.Operations = []string{"verify", "sign"} }), `clients[0].jwks.keys[0].key_ops[1]: "sign" is not known; known are verify`},
	{"algorithm of another kind", with(ecKey(), func(k *config.JWK) { k.Algorithm = "RS256" }), "clients[0].jwks.keys[0].alg: RS256 does not fit a key of EC; leave it out"},
	{"unknown algorithm", with(ecKey(), func(k *config.JWK) { k.Algorithm = "ES384" }), `clients[0].jwks.keys[0].alg: "ES384" is not known; known are ES256, PS256, RS256, EdDSA`},

	{"other curve", with(ecKey(), func(k *config.JWK) { k.Curve = "P-384" }), `clients[0].jwks.keys[0].crv: "P-384" is not known; known are P-256, Ed25519`},
	{"no curve", with(ecKey(), func(k *config.JWK) { k.Curve = "" }), badEC},
	{"curve of another kind", with(ecKey(), func(k *config.JWK) { k.Curve = "Ed25519" }), badEC},
	{"short coordinate", with(ecKey(), func(k *config.JWK) { k.X = k.X[:40] }), badEC},
	{"padded coordinate", with(ecKey(), func(k *config.JWK) { k.Y += "=" }), badEC},
	{"point off the curve", with(ecKey(), func(k *config.JWK) { k.X, k.Y = k.Y, k.X }), "clients[0].jwks.keys[0]: cannot be used: x and y are no point of P-256"},
	{"EC and RSA in one", with(ecKey(), func(k *config.JWK) { k.N = "AQAB" }), badEC},
	{"short Ed25519", with(edKey(), func(k *config.JWK) { k.X = k.X[:42] }), badOKP},
	{"Ed25519 with y", with(edKey(), func(k *config.JWK) { k.Y = k.X }), badOKP},
	{"RSA without e", with(rsaKey(), func(k *config.JWK) { k.E = "" }), badRSA},
	{"RSA in base64", with(rsaKey(), func(k *config.JWK) { k.N = strings.ReplaceAll(k.N, "_", "/") }), badRSA},
	{"RSA of 2040 bits", with(rsaKey(), func(k *config.JWK) { k.N = k.N[4:] }), "clients[0].jwks.keys[0]: cannot be used: n has 2023 bits; use a key of 2048 to 4096 bits"},
	{"RSA of 8192 bits", with(rsaKey(), func(k *config.JWK) { k.N = strings.Repeat("AQAB", 340) + "Aw" }), "clients[0].jwks.keys[0]: cannot be used: n has 8161 bits; use a key of 2048 to 4096 bits"},
	{"RSA with e 1", with(rsaKey(), func(k *config.JWK) { k.E = "AQ" }), noRSA},
	{"RSA with an even e", with(rsaKey(), func(k *config.JWK) { k.E = "AQAC" }), noRSA},
	{"RSA with a huge e", with(rsaKey(), func(k *config.JWK) { k.E = "AQAAAAE" }), noRSA},
	{"RSA with an even n", with(rsaKey(), func(k *config.JWK) { k.N = k.N[:len(k.N)-1] + "g" }), noRSA},

	{"key URI in clear", keyURI("http://keys.example.com/jwks"), `clients[0].jwks_uri: "http://keys.example.com/jwks" is not allowed: use https; http is for hosts that outbound.insecure_allow lists, here as keys.example.com:80`},
	{"key URI on this machine, in clear", keyURI("http://localhost:9000/jwks"), `clients[0].jwks_uri: "http://localhost:9000/jwks" is not allowed: use https; http is for hosts that outbound.insecure_allow lists, here as localhost:9000`},
	{"key URI with a user", keyURI("https://u:hunter2@keys.example.com/"), `clients[0].jwks_uri: "https://***@keys.example.com/" is not allowed: it cannot have a user name or password`},
	{"key URI with a fragment", keyURI("https://keys.example.com/#a"), `clients[0].jwks_uri: "https://keys.example.com/#a" is not allowed: it cannot have a fragment (#)`},
	{"key URI of a file", keyURI("file:///etc/passwd"), `clients[0].jwks_uri: "file:///etc/passwd" is not allowed: use https`},
	{"key URI that hides an address", keyURI("https://0x7f000001/"), `clients[0].jwks_uri: "https://0x7f000001/" is not allowed: its host looks like an IP address and is none`},
	{"key URI without a host", keyURI("https:///jwks"), `clients[0].jwks_uri: "https:///jwks" is not allowed: it has no host`},

	{"insecure_allow", func(c *config.Config) { c.Outbound.InsecureAllow = []string{"localhost:9000"} }, "outbound.insecure_allow: is refused for an https issuer, which asks public addresses by https only"},
}

func manyKeys(n int) []config.JWK {
	keys := make([]config.JWK, n)
	for i := range keys {
		keys[i] = edKey()
		keys[i].ID = fmt.Sprint("key", i)
	}
	return keys
}

// keyFileFaults are what can be wrong with keys in a file.
var keyFileFaults = []loadRow{
	{"private key", `clients: [{client_id: a, grant_types: [client_credentials], jwks: {"keys":[{"kty":"OKP","crv":"Ed25519","kid":"ed","d":"hunter2","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}}]`, nil,
		"lettergate.yaml:1:116: clients[0].jwks.keys[0].d: is a private part of the key, which only the client may have: make a new key, and write here what is public of it"},
	{"symmetric key", "clients:\n- client_id: a\n  grant_types: [client_credentials]\n  jwks:\n    keys:\n    - kty: oct\n      kid: a\n      k: hunter2\n", nil,
		`lettergate.yaml:6:12: clients[0].jwks.keys[0].kty: "oct" is not known; known are EC, RSA, OKP` + "\n" +
			"lettergate.yaml:8:7: clients[0].jwks.keys[0].k: is a private part of the key, which only the client may have: make a new key, and write here what is public of it"},
	{"certificate", `clients: [{client_id: a, grant_types: [client_credentials], jwks: {keys: [{kty: OKP, crv: Ed25519, kid: ed, "x5t#S256": a, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo}]}}]`, nil,
		`lettergate.yaml:1:109: clients[0].jwks.keys[0]."x5t#S256": is about a certificate, and those are not looked at: leave it out`},
	{"misspelt member", `clients: [{client_id: a, grant_types: [client_credentials], jwks: {keys: [{kty: OKP, curve: Ed25519, kid: ed, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo}]}}]`, nil,
		"lettergate.yaml:1:75: clients[0].jwks.keys[0]: cannot be used: a key of OKP has crv Ed25519, and x of 32 bytes in base64url\n" +
			"lettergate.yaml:1:86: clients[0].jwks.keys[0].curve: is not a known key; known are kty, kid, use, key_ops, alg, crv, x, y, n, e"},
	{"private key in a variable", "", []string{"LETTERGATE_CLIENTS_0_JWKS_KEYS_0_D=hunter2"}, "LETTERGATE_CLIENTS_0_JWKS_KEYS_0_D: is not a known variable; did you mean LETTERGATE_CLIENTS_0_JWKS_KEYS_0_X?"},
	{"allowed, not as URLs name it", "outbound: {insecure_allow: [localhost, 'LOCALHOST:1', '[0::1]:1', ':1', 'a:0', '[::1]:1']}", nil, strings.Join([]string{
		`lettergate.yaml:1:29: outbound.insecure_allow[0]: "localhost" is not allowed: write host:port, as in localhost:9000 or [::1]:9000`,
		`lettergate.yaml:1:40: outbound.insecure_allow[1]: "LOCALHOST:1" is not allowed: write it as localhost:1`,
		`lettergate.yaml:1:55: outbound.insecure_allow[2]: "[0::1]:1" is not allowed: write it as [::1]:1`,
		`lettergate.yaml:1:67: outbound.insecure_allow[3]: ":1" is not allowed: write host:port, as in localhost:9000 or [::1]:9000`,
		`lettergate.yaml:1:73: outbound.insecure_allow[4]: "a:0" is not allowed: a port is a number from 1 to 65535`,
	}, "\n")},
}

// TestKeyVariables fills a client's keys from the environment alone.
func TestKeyVariables(t *testing.T) {
	c := load(t, "", "LETTERGATE_CLIENTS_0_CLIENT_ID=a", "LETTERGATE_CLIENTS_0_GRANT_TYPES=client_credentials",
		"LETTERGATE_CLIENTS_0_JWKS_KEYS_0_KTY=OKP", "LETTERGATE_CLIENTS_0_JWKS_KEYS_0_KID=ed", "LETTERGATE_CLIENTS_0_JWKS_KEYS_0_CRV=Ed25519",
		"LETTERGATE_CLIENTS_0_JWKS_KEYS_0_X="+edKey().X,
		"LETTERGATE_CLIENTS_1_CLIENT_ID=b", "LETTERGATE_CLIENTS_1_GRANT_TYPES=client_credentials", "LETTERGATE_CLIENTS_1_JWKS_URI=http://localhost:9000/",
		"LETTERGATE_OUTBOUND_INSECURE_ALLOW=localhost:9000,[::1]:9000", "LETTERGATE_OUTBOUND_CA_FILE=ca.pem")
	if diff := cmp.Diff(config.JWKS{Keys: []config.JWK{edKey()}}, c.Clients[0].JWKS); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(config.Outbound{InsecureAllow: []string{"localhost:9000", "[::1]:9000"}, CAFile: "ca.pem"}, c.Outbound); diff != "" {
		t.Error(diff)
	}
	for _, client := range c.Clients {
		if client.AuthMethod() != config.AuthMethodPrivateKey || client.Public() {
			t.Errorf("%s authenticates by %s", client.ID, client.AuthMethod())
		}
	}
}

func TestPublicKeys(t *testing.T) {
	for _, k := range []config.JWK{ecKey(), edKey(), rsaKey()} {
		key, err := k.PublicKey()
		fits := false
		switch key := key.(type) {
		case *ecdsa.PublicKey:
			fits = k.Type == "EC" && key.Params().BitSize == 256
		case ed25519.PublicKey:
			fits = k.Type == "OKP" && len(key) == 32
		case *rsa.PublicKey:
			fits = k.Type == "RSA" && key.N.BitLen() == 2048 && key.E == 65537
		}
		if err != nil || !fits {
			t.Errorf("%s: %T, %v", k.Type, key, err)
		}
	}
	if key, err := (config.JWK{}).PublicKey(); key != nil || err == nil {
		t.Errorf("nothing is %v, %v", key, err)
	}
}

func TestParseJWKS(t *testing.T) {
	document, err := json.Marshal(config.JWKS{Keys: []config.JWK{ecKey(), edKey(), rsaKey()}})
	if err != nil {
		t.Fatal(err)
	}
	// What the RFC lets a set have beside is left out.
	more := strings.Replace(string(document), `"kty":"EC"`, `"kty":"EC","x5c":["AA"],"iat":1`, 1)
	got, err := config.ParseJWKS([]byte(more))
	if diff := cmp.Diff(config.JWKS{Keys: []config.JWK{ecKey(), edKey(), rsaKey()}}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for _, bad := range []string{"", "[]", `{"keys":{}}`, `{"keys":["a"]}`, `{"keys":[{"kty":1}]}`, `{"keys":[{"kty":"OKP","x":"AA","d":"hunter2"}]}`, `{"keys":[{},{"k":"hunter2"}]}`} {
		if set, err := config.ParseJWKS([]byte(bad)); err == nil || len(set.Keys) > 0 || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, %v", bad, set, err)
		}
	}
}

func TestWarningOfKeyURIs(t *testing.T) {
	for uri, warned := range map[string]bool{
		"https://keys.example.com/": false, "https://198.41.0.4/": false, "http://localhost:9000/": false, "https://localhost:9000/": false,
		"https://localhost/": true, "https://127.0.0.1:9001/": true, "https://[::1]/": true, "https://10.0.0.1/": true, "https://169.254.169.254/": true,
		"https://[::ffff:127.0.0.1]/": true, "https://[fd00::1]/": true, "https://0.0.0.0/": true,
	} {
		c := config.Config{Clients: []config.Client{{ID: "a", GrantTypes: []string{"client_credentials"}, JWKSURI: uri}}, Outbound: config.Outbound{InsecureAllow: []string{"localhost:9000"}}}.WithDefaults()
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		if got := warningsOf(c); (got != "") != warned || warned && !strings.HasPrefix(got, "clients[0].jwks_uri: is on this machine or in its own network") {
			t.Errorf("%s: %q", uri, got)
		}
	}
}

package config_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/config"
)

// published is a valid configuration that the rows of the tables below change.
func published() config.Config {
	return config.Config{
		Issuer:  "https://id.example.com",
		Secrets: []config.SecretKey{{ID: "a", Value: secretA}},
		Mail:    config.Mail{From: "no-reply@example.com", Host: "smtp.example.com"},
		Clients: []config.Client{
			{ID: "web", Secrets: []config.Secret{secretB + secretA}, RedirectURIs: []string{"https://app.example.com/callback"}},
			{ID: "spa", RedirectURIs: []string{"https://spa.example.com/"}},
		},
	}
}

const (
	onlyHTTPS = "use https; http is for localhost, 127.0.0.0/8 and [::1] only"
	notRandom = "is not random; make one with: openssl rand -base64 48"
)

// A faultRow is a change to what published returns.
type faultRow struct {
	name   string
	change func(*config.Config)
	want   string // "path: message"; "" when the change is right
}

// deploymentFaults are what can be wrong with a deployment.
var deploymentFaults = []faultRow{
	{"valid", func(c *config.Config) {}, ""},

	{"http issuer", func(c *config.Config) { c.Issuer = "http://id.example.com" }, `issuer: "http://id.example.com" is not allowed: ` + onlyHTTPS},
	{"no listen host", func(c *config.Config) { c.Listen = ":443" }, ""},
	{"https on a loopback host", func(c *config.Config) { c.Issuer, c.Mail.Host, c.Mail.From = "https://localhost", "", "a@localhost" }, "mail.host: is required for an https issuer: sign-in codes leave by mail"},
	{"listen on IPv6", func(c *config.Config) { c.Listen = "[::]:443" }, ""},
	{"listen without port", func(c *config.Config) { c.Listen = "localhost" }, `listen: "localhost" is not allowed: write host:port, or :port for all addresses`},
	{"listen on no port", func(c *config.Config) { c.Listen = "localhost:70000" }, `listen: "localhost:70000" is not allowed: a port is a number from 1 to 65535`},

	{"no secret", func(c *config.Config) { c.Secrets = nil }, "secrets: at least one is required for an https issuer: write its id and value here, or set LETTERGATE_SECRETS_0_ID and LETTERGATE_SECRETS_0_VALUE (or LETTERGATE_SECRETS_0_VALUE_FILE, the name of a file with it); make a value with: openssl rand -base64 48"},
	{"short secret", func(c *config.Config) { c.Secrets[0].Value = config.Secret(secretA[1:]) }, "secrets[0].value: must have at least 32 characters"},
	{"secret without value", func(c *config.Config) { c.Secrets[0].Value = "" }, "secrets[0].value: is required; write it here, or set LETTERGATE_SECRETS_0_VALUE (or LETTERGATE_SECRETS_0_VALUE_FILE, the name of a file with it)"},
	{"secret without id", func(c *config.Config) { c.Secrets[0].ID = "" }, "secrets[0].id: is required"},
	{"secret with a spaced id", func(c *config.Config) { c.Secrets[0].ID = "a b" }, `secrets[0].id: "a b" is not allowed: use letters, digits and signs of ASCII, no spaces`},
	{"same secret id", func(c *config.Config) {
		c.Secrets = append(c.Secrets, config.SecretKey{ID: "a", Value: secretB})
	}, "secrets[1].id: is the id of secrets[0] already; never use one for two values"},
	{"same secret value", func(c *config.Config) {
		c.Secrets = append(c.Secrets, config.SecretKey{ID: "b", Value: secretA})
	}, "secrets[1].value: is the value of secrets[0] already"},
	{"one letter for a secret", func(c *config.Config) {
		c.Secrets[0].Value = config.Secret(strings.Repeat("x", 40))
	}, "secrets[0].value: " + notRandom},
	{"a word for a secret", func(c *config.Config) {
		c.Clients[0].Secrets[0] = config.Secret(strings.Repeat("changeme", 5)[:36])
	}, "clients[0].client_secrets[0]: " + notRandom},

	{"all are proxies", func(c *config.Config) { c.TrustedProxies = []string{"0.0.0.0/0"} }, `trusted_proxies[0]: "0.0.0.0/0" is not allowed: this trusts everybody: name the networks of your proxies`},
	{"proxy address", func(c *config.Config) { c.TrustedProxies = []string{"10.0.0.1"} }, `trusted_proxies[0]: "10.0.0.1" is not allowed: write a network, as in 10.0.0.0/8 or 192.0.2.7/32`},
	{"proxy with host bits", func(c *config.Config) { c.TrustedProxies = []string{"10.0.0.1/8"} }, `trusted_proxies[0]: "10.0.0.1/8" is not allowed: did you mean 10.0.0.0/8?`},
	{"mapped proxy", func(c *config.Config) { c.TrustedProxies = []string{"::ffff:10.0.0.0/104"} }, `trusted_proxies[0]: "::ffff:10.0.0.0/104" is not allowed: write networks of IPv4 as in 10.0.0.0/8`},
	{"same proxy", func(c *config.Config) { c.TrustedProxies = []string{"10.0.0.0/8", "10.0.0.0/8"} }, "trusted_proxies: lists the same value twice"},

	{"insecure_listen", func(c *config.Config) { c.InsecureListen = true }, "insecure_listen: is refused for an https issuer, which may listen anywhere"},
	{"no mail host", func(c *config.Config) { c.Mail = config.Mail{From: "a@example.com"} }, "mail.host: is required for an https issuer: sign-in codes leave by mail"},
	{"no sender", func(c *config.Config) { c.Mail.From = "" }, "mail.from: is required for an https issuer"},
	{"sender is no address", func(c *config.Config) { c.Mail.From = "Example" }, `mail.from: "Example" is not allowed: write name <address> or an address`},
	{"sender with a header", func(c *config.Config) { c.Mail.From = "a <a@example.com>\r\nBcc: b@example.com" }, `mail.from: "a <a@example.com>\r\nBcc: b@example.com" is not allowed: write name <address> or an address`},
	{"sender beyond ASCII", func(c *config.Config) { c.Mail.From = "ä@example.com" }, `mail.from: "ä@example.com" is not allowed: the address can only be ASCII (domains in their xn-- form), and nothing can be a control character`},
	{"sender that turns round", func(c *config.Config) { c.Mail.From = "\"a\u202eb\" <a@example.com>" }, `mail.from: "\"a\u202eb\" <a@example.com>" is not allowed: the address can only be ASCII (domains in their xn-- form), and nothing can be a control character`},
	{"sender with a name beyond ASCII", func(c *config.Config) { c.Mail.From = "Bücher <a@example.com>" }, ""},
	{"mail host is a URL", func(c *config.Config) { c.Mail.Host = "smtp://example.com" }, `mail.host: "smtp://example.com" is not allowed: its host is no domain name (xn-- for international ones) and no IP address`},
	{"mail port", func(c *config.Config) { c.Mail.Port = 65536 }, "mail.port: must be at most 65535, and is 65536"},
	{"mail security", func(c *config.Config) { c.Mail.Security = "tls" }, `mail.security: "tls" is not known; known are ssl, starttls`},
	{"mail in clear", func(c *config.Config) { c.Mail.InsecurePlaintext, c.Mail.Security = true, "" }, "mail.insecure_plaintext: is refused for an https issuer; use security: starttls or ssl"},
	{"mail in clear on this machine", func(c *config.Config) { c.Mail.InsecurePlaintext, c.Mail.Security, c.Mail.Host = true, "", "localhost" }, "mail.insecure_plaintext: is refused for an https issuer; use security: starttls or ssl"},
	{"username alone", func(c *config.Config) { c.Mail.Username = "u" }, "mail.password: is required with a username; write it here, or set LETTERGATE_MAIL_PASSWORD (or LETTERGATE_MAIL_PASSWORD_FILE, the name of a file with it)"},
	{"password alone", func(c *config.Config) { c.Mail.Password = plain }, "mail.username: is required with a password"},
	{"username with a line", func(c *config.Config) { c.Mail.Username, c.Mail.Password = "u\n", plain }, `mail.username: "u\n" is not allowed: it contains a control character or one that cannot be seen`},
}

// limitFaults are what can be wrong with lives and limits.
var limitFaults = []faultRow{
	{"digits", func(c *config.Config) { c.Verification.Digits = 5 }, "verification.digits: must be at least 6, and is 5"},
	{"code life", func(c *config.Config) { c.Verification.Lifetime *= 2 }, "verification.lifetime: must be at most 10m, and is 20m"},
	{"no code life", func(c *config.Config) { c.Verification.Lifetime = config.Off }, "verification.lifetime: must be at least 1m, and is 0s"},
	{"profile", func(c *config.Config) { c.Limits.Profile = "developement" }, `limits.profile: "developement" is not known; did you mean development?`},
	{"development", func(c *config.Config) { c.Limits.Profile = "development" }, "limits.profile: development is refused for an https issuer; use production"},
	{"tries", func(c *config.Config) { c.Limits.TriesPerVerification = -1 }, "limits.tries_per_verification: must be at least 1, and is -1"},

	{"strict refresh", func(c *config.Config) { c.Tokens.RefreshGrace = config.Off }, ""},
	{"negative grace", func(c *config.Config) { c.Tokens.RefreshGrace = -2 }, "tokens.refresh_grace: must be at least 0s, and is 0s"},
	{"refresh idle", func(c *config.Config) { c.Tokens.RefreshIdle = c.Tokens.RefreshMax + 1e9 }, "tokens.refresh_idle: 2160h0m1s is longer than tokens.refresh_max, which is 90d"},
	{"session idle", func(c *config.Config) { c.Sessions.Idle = c.Sessions.Max * 2 }, "sessions.idle: 60d is longer than sessions.max, which is 30d"},
	{"never rotate", func(c *config.Config) { c.Keys.RotateEvery = config.Off }, ""},
	{"rotate too fast", func(c *config.Config) { c.Keys.RotateEvery = c.Keys.JWKSMaxAge }, "keys.rotate_every: must be 0s (never) or at least twice keys.jwks_max_age, which is 5m"},
	{"name with markup is text", func(c *config.Config) { c.Pages.Name = "<b>&Ω" }, ""},
	{"name that turns round", func(c *config.Config) { c.Pages.Name = "a\u202eb" }, `pages.name: "a\u202eb" is not allowed: it contains a control character or one that cannot be seen`},
}

// clientFaults are what can be wrong with a client.
var clientFaults = []faultRow{
	{"client without id", func(c *config.Config) { c.Clients[1].ID = "" }, "clients[1].client_id: is required"},
	{"client named as a subject", func(c *config.Config) { c.Clients[1].ID = "client:a" }, `clients[1].client_id: "client:a" is not allowed: an id cannot begin with client:`},
	{"client id with a colon", func(c *config.Config) { c.Clients[1].ID = "urn:a" }, ""},
	{"client id too long", func(c *config.Config) { c.Clients[1].ID, c.Clients[1].Name = strings.Repeat("x", 101), "x" }, `clients[1].client_id: "` + strings.Repeat("x", 100) + `…" is not allowed: use 1 to 100 letters, digits and signs of ASCII, no spaces`},
	{"same client id", func(c *config.Config) { c.Clients[1].ID = "web" }, `clients[1].client_id: "web" is the id of clients[0] already`},
	{"no redirect URI", func(c *config.Config) { c.Clients[1].RedirectURIs = nil }, "clients[1].redirect_uris: at least one is required for the grant type authorization_code"},
	{"no need of a redirect URI", func(c *config.Config) {
		c.Clients[1].RedirectURIs, c.Clients[1].GrantTypes = nil, []string{config.GrantEmailCaptcha, "refresh_token"}
	}, ""},
	{"same redirect URI", func(c *config.Config) {
		c.Clients[1].RedirectURIs = slices.Repeat(c.Clients[1].RedirectURIs, 2)
	}, "clients[1].redirect_uris: lists the same value twice"},
	{"grant type", func(c *config.Config) { c.Clients[0].GrantTypes = []string{"authorization_code", "password"} }, `clients[0].grant_types[1]: "password" is not known; known are authorization_code, refresh_token, client_credentials, urn:lettergate:params:oauth:grant-type:email-captcha`},
	{"same grant type", func(c *config.Config) { c.Clients[0].GrantTypes = []string{"refresh_token", "refresh_token"} }, "clients[0].grant_types: lists the same value twice"},
	{"public client_credentials", func(c *config.Config) { c.Clients[1].GrantTypes = []string{"client_credentials"} }, "clients[1].grant_types: client_credentials needs a client with client_secrets or private_key_jwt: a public client could be anybody"},
	{"confidential client_credentials", func(c *config.Config) { c.Clients[0].GrantTypes = []string{"client_credentials"} }, ""},
	{"public without PKCE", func(c *config.Config) { c.Clients[1].PKCE = "optional" }, "clients[1].pkce: optional is for clients with client_secrets or private_key_jwt only; use required"},
	{"confidential without PKCE", func(c *config.Config) { c.Clients[0].PKCE = "optional" }, ""},
	{"none with secrets", func(c *config.Config) { c.Clients[0].TokenEndpointAuthMethod = "none" }, "clients[0].token_endpoint_auth_method: none does not go with client_secrets; use client_secret_basic, or leave the secrets out"},
	{"post without secrets", func(c *config.Config) { c.Clients[1].TokenEndpointAuthMethod = "client_secret_post" }, `clients[1].token_endpoint_auth_method: "client_secret_post" needs client_secrets; write them here, or set LETTERGATE_CLIENTS_1_CLIENT_SECRETS_0 (or LETTERGATE_CLIENTS_1_CLIENT_SECRETS_0_FILE, the name of a file with it)`},
	{"three secrets", func(c *config.Config) {
		c.Clients[0].Secrets = []config.Secret{secretA + "1", secretA + "2", secretA + "3"}
	}, "clients[0].client_secrets: must have at most 2 entries"},
	{"short client secret", func(c *config.Config) { c.Clients[0].Secrets[0] = config.Secret(plain[:31]) }, "clients[0].client_secrets[0]: must have at least 32 characters"},
	{"same client secret", func(c *config.Config) { c.Clients[0].Secrets = slices.Repeat(c.Clients[0].Secrets, 2) }, "clients[0].client_secrets[1]: is listed already"},
	{"scope", func(c *config.Config) { c.Clients[0].Scopes = []string{"openid", "a b"} }, `clients[0].scopes[1]: "a b" is not allowed: use 1 to 100 lower-case letters, digits and signs of ASCII other than " and \, no spaces`},
	{"scope in upper case", func(c *config.Config) { c.Clients[0].Scopes = []string{"Z"} }, `clients[0].scopes[0]: "Z" is not allowed: use 1 to 100 lower-case letters, digits and signs of ASCII other than " and \, no spaces`},
	{"odd scope", func(c *config.Config) { c.Clients[0].Scopes = []string{"https://api.example.com/a:b[c]~!#@"} }, ""},
	{"offline_access without refresh tokens", func(c *config.Config) { c.Clients[1].Scopes = []string{"openid", "offline_access"} }, "clients[1].scopes[1]: offline_access asks for refresh tokens, which the client may not use; add refresh_token to its grant_types, or leave the scope out"},
	{"offline_access", func(c *config.Config) {
		c.Clients[1].Scopes, c.Clients[1].GrantTypes = []string{"openid", "offline_access"}, []string{"authorization_code", "refresh_token"}
	}, ""},
	{"empty audience", func(c *config.Config) { c.Clients[0].Audiences = []string{""} }, "clients[0].audiences[0]: is required"},
	{"access token format", func(c *config.Config) { c.Clients[0].AccessTokenFormat = "JWT" }, `clients[0].access_token_format: "JWT" is not known; known are jwt, opaque`},
	{"algorithm none", func(c *config.Config) { c.Clients[0].IDTokenSignedResponseAlg = "none" }, `clients[0].id_token_signed_response_alg: "none" is not known; known are RS256, ES256, PS256, EdDSA`},
}

func TestValidate(t *testing.T) {
	for _, test := range slices.Concat(deploymentFaults, limitFaults, clientFaults, cloudBaseFaults, keyFaults) {
		t.Run(test.name, func(t *testing.T) {
			c := published()
			// Filled before, so that a change may start from a default, and after, as
			// provider.New does.
			c = c.WithDefaults()
			test.change(&c)
			err := c.WithDefaults().Validate()
			if test.want == "" && err == nil {
				return
			}
			if err == nil || err.Error() != test.want {
				t.Fatalf("got:\n%v\nwant:\n%s", err, test.want)
			}
			if strings.Contains(err.Error(), "hunter") || strings.Contains(err.Error(), secretA[:8]) {
				t.Error("the secret is in the error")
			}
			for _, name := range variable.FindAllString(err.Error(), -1) {
				if _, err := config.Load("", []string{name + "=x"}); err != nil && strings.Contains(err.Error(), "not a known variable") {
					t.Error(err)
				}
			}
		})
	}
}

// variable matches what a fault tells its reader to set.
var variable = regexp.MustCompile(`LETTERGATE_\w+`)

func TestValidateLoopback(t *testing.T) {
	for _, test := range []struct {
		name, want string
		change     func(*config.Config)
	}{
		{"nothing but defaults", "", func(c *config.Config) {}},
		{"production", "", func(c *config.Config) { c.Limits.Profile = "production" }},
		{"mail in clear to this machine", "", func(c *config.Config) { c.Mail = config.Mail{Host: "127.0.0.1", InsecurePlaintext: true} }},
		{"fillers", "", func(c *config.Config) {
			c.Secrets = []config.SecretKey{{ID: "a", Value: config.Secret(strings.Repeat("x", 32))}}
		}},
		{
			"mail in clear to another", "mail.insecure_plaintext: sends codes in clear to another machine; use security: starttls or ssl, or a host on this machine",
			func(c *config.Config) { c.Mail = config.Mail{Host: "smtp.example.com", InsecurePlaintext: true} },
		},
		{
			"clear and not", "mail.security: ssl and insecure_plaintext exclude each other; leave one out",
			func(c *config.Config) {
				c.Mail = config.Mail{Host: "localhost", InsecurePlaintext: true, Security: "ssl"}
			},
		},
	} {
		c := config.Config{Issuer: "http://127.0.0.1:9000"}
		test.change(&c)
		if err := c.WithDefaults().Validate(); fmt.Sprint(err) != test.want && (err != nil || test.want != "") {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}

// A loadRow is a file and an environment.
type loadRow struct {
	name, text string
	environ    []string
	want       string
}

// fileFaults are what can be wrong with a file.
var fileFaults = []loadRow{
	{"no YAML", "issuer: [", nil, `lettergate.yaml:1:9: is not YAML: sequence end token ']' not found`},
	{"secret in a syntax fault", "mail: {password: \"\\qhunter2\"}", nil, `lettergate.yaml:1:20: is not YAML: found unknown escape character`},
	{"secret as a block header", "mail:\n  password: |hunter2\n", nil, `lettergate.yaml:2:13: is not YAML: invalid header option`},
	{"tab", "mail:\n\thost: a\n", nil, "lettergate.yaml:2:1: is not YAML: found character that cannot start any token"},
	{"anchor", "issuer: &a http://localhost", nil, "lettergate.yaml:1:9: anchors (&) are not supported: write the value out, or put it in quotes"},
	{"alias", "issuer: *a", nil, "lettergate.yaml:1:9: aliases (*) are not supported: write the value out, or put it in quotes"},
	{"tag", "issuer: !!str a", nil, "lettergate.yaml:1:9: tags (!) are not supported: put a value that begins with ! in quotes"},
	{"merge", "mail:\n  <<: {port: 1}", nil, "lettergate.yaml:2:3: merging (<<) is not supported: write the keys out"},
	{"complex key", "? issuer\n: a", nil, "lettergate.yaml:1:1: complex keys (?) are not supported"},
	{"directive", "%YAML 1.2\n---\n", nil, "lettergate.yaml:1:1: directives (%) are not supported"},
	{"two documents", "issuer: http://localhost\n---\nissuer: http://localhost\n", nil, "lettergate.yaml:3:1: a second document begins here; a configuration is one document"},
	{"not UTF-8", "issuer:\n \xff", nil, "lettergate.yaml:2:2: is not UTF-8 text"},
	{"list at the top", "- issuer", nil, "lettergate.yaml:1:1: must be keys with values, as in “issuer: …”"},
	{"text at the top", "hunter2", nil, "lettergate.yaml:1:1: must be keys with values, as in “issuer: …”"},
	{"unknown key", "mail: {password_file: a}", nil, "lettergate.yaml:1:8: mail.password_file: is not a known key; known are preset, from, host, port, security, username, password, ca_file, insecure_plaintext"},
	{"swapped letters", "mail: {prot: 1}", nil, "lettergate.yaml:1:8: mail.prot: is not a known key; did you mean port?"},
	{"nothing more about what is no YAML", "issuer: [", []string{"LETTERGATE_ISSUER=https://id.example.com"}, `lettergate.yaml:1:9: is not YAML: sequence end token ']' not found`},
	{"odd key", "\"a\\nb\": c", nil, `lettergate.yaml:1:1: "a\nb": is not a known key; known are issuer, listen, insecure_listen, data_dir, secrets, trusted_proxies, storage, mail, verification, limits, passwords, tokens, sessions, keys, pages, outbound, clients, insecure_test_codes`},
	{"duplicate key", "pages: {name: a, name: b}", nil, "lettergate.yaml:1:18: pages.name: is already set in line 1"},
	{"scalar for a list", "trusted_proxies: 10.0.0.0/8", nil, "lettergate.yaml:1:18: trusted_proxies: must be a list, as in [a, b] or with one “- …” a line"},
	{"list for a scalar", "issuer: [http://localhost]", nil, "lettergate.yaml:1:9: issuer: must be a single value, not a list or keys"},
	{"empty issuer", "issuer: ''", nil, "lettergate.yaml:1:9: issuer: is required"},
	{"explicit zero", "verification: {digits: 0}", nil, "lettergate.yaml:1:24: verification.digits: must be at least 6, and is 0"},
	{"explicit zero duration", "sessions:\n  idle: 0s", nil, "lettergate.yaml:2:9: sessions.idle: must be at least 1m, and is 0s"},
	{"fraction", "verification: {digits: 6.5}", nil, "lettergate.yaml:1:24: verification.digits: must be a whole number"},
	{"huge number", "mail: {port: 99999999999999999999}", nil, "lettergate.yaml:1:14: mail.port: must be a whole number"},
	{"truth for a secret", "mail: {username: u, password: true}", nil, "lettergate.yaml:1:31: mail.password: must be text: put it in quotes"},
	{"missing in an item", "clients:\n  - client_name: A\n    redirect_uris: ['https://a.example/']\n", nil, "lettergate.yaml:2:5: clients[0].client_id: is required"},
	{"missing in a section", "issuer: https://id.example.com\nsecrets: [{id: a, value: " + secretA + "}]\nmail:\n  host: smtp.example.com\n", nil, "lettergate.yaml:3:1: mail.from: is required for an https issuer"},
}

// environFaults are what can be wrong with an environment.
var environFaults = []loadRow{
	{"unknown variable", "", []string{"LETTERGATE_ISUER=hunter2"}, "LETTERGATE_ISUER: is not a known variable; did you mean LETTERGATE_ISSUER?"},
	{"variable of a section", "", []string{"LETTERGATE_MAIL=hunter2"}, "LETTERGATE_MAIL: is not a known variable"},
	{"variable of a list of items", "", []string{"LETTERGATE_CLIENTS=hunter2"}, "LETTERGATE_CLIENTS: is not a known variable"},
	{"variable of an item", "", []string{"LETTERGATE_CLIENTS_0=hunter2"}, "LETTERGATE_CLIENTS_0: is not a known variable"},
	{"secrets in one variable", "", []string{"LETTERGATE_CLIENTS_0_CLIENT_SECRETS=hunter2"}, "LETTERGATE_CLIENTS_0_CLIENT_SECRETS: is not a known variable; did you mean LETTERGATE_CLIENTS_0_CLIENT_SECRETS_0?"},
	{"file for what is no secret", "", []string{"LETTERGATE_ISSUER_FILE=/hunter2"}, "LETTERGATE_ISSUER_FILE: is not a known variable"},
	{"index", "", []string{"LETTERGATE_TRUSTED_PROXIES_00=hunter2"}, "LETTERGATE_TRUSTED_PROXIES_00: is not a known variable; did you mean LETTERGATE_TRUSTED_PROXIES_00?"},
	{"gap", "", []string{"LETTERGATE_TRUSTED_PROXIES_1=10.0.0.0/8"}, "LETTERGATE_TRUSTED_PROXIES_1: trusted_proxies[1]: leaves a gap: the list has 0 entries so far, and the next is number 0"},
	{"variable's type", "", []string{"LETTERGATE_MAIL_PORT="}, "LETTERGATE_MAIL_PORT: mail.port: must be a whole number"},
	{"variable's value", "issuer: http://localhost", []string{"LETTERGATE_ISSUER=http://a.example"}, `LETTERGATE_ISSUER: issuer: "http://a.example" is not allowed: use https; http is for localhost, 127.0.0.0/8 and [::1] only`},
	{"item of a variable over a file", "trusted_proxies: [10.0.0.0/8]", []string{"LETTERGATE_TRUSTED_PROXIES=hunter"}, `LETTERGATE_TRUSTED_PROXIES: trusted_proxies[0]: "hunter" is not allowed: write a network, as in 10.0.0.0/8 or 192.0.2.7/32`},
	{"empty secret", "mail: {username: u, password: p}", []string{"LETTERGATE_MAIL_PASSWORD="}, "LETTERGATE_MAIL_PASSWORD: mail.password: is empty: give it a value or unset it"},
	{"value and file", "mail: {username: u}", []string{"LETTERGATE_MAIL_PASSWORD_FILE=/x", "LETTERGATE_MAIL_PASSWORD=p"}, "LETTERGATE_MAIL_PASSWORD_FILE: is set, and LETTERGATE_MAIL_PASSWORD too: set one of them"},
	{"no secret file", "mail: {username: u, password: p}", []string{"LETTERGATE_MAIL_PASSWORD_FILE=/nonexistent/hunter2"}, "LETTERGATE_MAIL_PASSWORD_FILE: mail.password: the file that it names cannot be read: no such file or directory"},
	{"secret for a file", "mail: {username: u, password: p}", []string{"LETTERGATE_MAIL_PASSWORD_FILE=hunter2"}, "LETTERGATE_MAIL_PASSWORD_FILE: mail.password: the file that it names cannot be read: no such file or directory"},
	{"empty secret file", "mail: {username: u, password: p}", []string{"LETTERGATE_MAIL_PASSWORD_FILE=" + os.DevNull}, "LETTERGATE_MAIL_PASSWORD_FILE: mail.password: the file that it names is empty"},
	{"large secret file", "mail: {username: u, password: p}", []string{"LETTERGATE_MAIL_PASSWORD_FILE=/dev/zero"}, "LETTERGATE_MAIL_PASSWORD_FILE: mail.password: the file that it names is larger than 64 KiB"},
}

func TestFT40Load(t *testing.T) {
	for _, test := range slices.Concat(fileFaults, environFaults, keyFileFaults) {
		t.Run(test.name, func(t *testing.T) {
			got := strings.Join(faultLines(t, test.text, test.environ...), "\n")
			if got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
			if strings.Contains(got, "hunter2") {
				t.Error("the secret is in the error")
			}
		})
	}
}

// TestHostileFiles feeds Load what exhausts a careless parser.
func TestHostileFiles(t *testing.T) {
	const deep, many = "is nested too deeply", 20_000
	var indented strings.Builder
	for i := range 500 {
		indented.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	for name, test := range map[string]struct{ text, want string }{
		"large":          {strings.Repeat("#", 1<<20+1), "is larger than 1 MiB"},
		"flow lists":     {strings.Repeat("[", many), deep},
		"flow maps":      {strings.Repeat("{a: ", many), deep},
		"lists":          {strings.Repeat("- ", many), deep},
		"maps":           {strings.Repeat("a: ", many), deep},
		"maps in a flow": {"[" + strings.Repeat("a: ", many), deep},
		"lists of maps":  {strings.Repeat("- a: ", many), deep},
		"indented":       {indented.String(), "a: is not a known key"},
		"keys":           {strings.Repeat("? ", many), "complex keys"},
		"anchors":        {strings.Repeat("&a ", many), "anchors"},
		"bomb":           {"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n", "aliases"},
	} {
		got := faultLines(t, test.text)
		if !slices.ContainsFunc(got, func(line string) bool { return strings.Contains(line, test.want) }) || len(got) > 20 {
			t.Errorf("%s: %d faults, the first %s, want %q", name, len(got), got[0], test.want)
		}
	}
	// The size is that of the file, not of what it holds.
	load(t, strings.Repeat("#", 1<<20))
}

func TestFaults(t *testing.T) {
	err := (config.Config{Issuer: "x", Listen: "y"}).WithDefaults().Validate()
	faults, ok := errors.AsType[config.Faults](err)
	if !ok || len(faults) != 2 || faults[0].Path != "issuer" || faults[1].Path != "listen" || faults[0].Line != 0 || faults[0].Source != "" {
		t.Errorf("got %+v", faults)
	}
}

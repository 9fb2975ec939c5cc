package config_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lettergate/lettergate/config"
)

var update = flag.Bool("update", false, "write the golden and generated files")

const (
	secretA = "Yc3vLr0nX2p8QwZk5sTj9mBf7hGd4aVe"
	secretB = "u6Rq1zWx8KpN3yMc0vJb5tLs9gHf2dAe"
)

// write writes a file of its own directory and returns its name.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t *testing.T, text string, environ ...string) config.Config {
	t.Helper()
	c, err := config.Load(write(t, "lettergate.yaml", text), environ)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return c
}

// faultLines returns the lines of Load's error, without the directory of the file.
func faultLines(t *testing.T, text string, environ ...string) []string {
	t.Helper()
	file := write(t, "lettergate.yaml", text)
	c, err := config.Load(file, environ)
	faults, ok := errors.AsType[config.Faults](err)
	if !ok {
		t.Fatalf("Load(%q) = %+v, %v, want faults", text, c, err)
	}
	if len(faults) == 0 || !cmp.Equal(c, config.Config{}) {
		t.Errorf("Load returned %d faults and %+v", len(faults), c)
	}
	return strings.Split(strings.ReplaceAll(err.Error(), filepath.Dir(file)+"/", ""), "\n")
}

func TestLoadNothing(t *testing.T) {
	got, err := config.Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Default(), got); diff != "" {
		t.Errorf("Load without a file and Default differ:\n%s", diff)
	}
	for name, empty := range map[string]string{
		"empty": "", "newline": "\n", "comment": "# nothing\n", "mark": "\ufeff", "head": "---\n", "null": "null\n",
		"null sections": "mail:\nclients:\nissuer: ~\nkeys: null\n", "empty map": "{}\n",
	} {
		if diff := cmp.Diff(config.Default(), load(t, empty)); diff != "" {
			t.Errorf("%s: Load and Default differ:\n%s", name, diff)
		}
	}
}

func TestLoadFull(t *testing.T) {
	got, err := config.Load("testdata/full.yaml", []string{"LETTERGATE_MAIL_PASSWORD=app-password"})
	if err != nil {
		t.Fatal(err)
	}
	d := func(std time.Duration) config.Duration { return config.Duration(std) }
	want := config.Config{
		Issuer: "https://id.example.com/tenant", Listen: ":8080", DataDir: "/var/lib/lettergate",
		Secrets:        []config.SecretKey{{ID: "2026-02", Value: secretA}, {ID: "2026-01", Value: secretB}},
		TrustedProxies: []string{"10.0.0.0/8", "fd00::/8"},
		Storage: config.Storage{
			URL:         "rediss+cluster://gate:p%40ss@cache1:6380,cache2:6380?prefix=login%3A",
			AccountsURL: "postgres://gate:p%40ss@db.internal/lettergate?sslmode=verify-full",
		},
		Mail: config.Mail{
			From: "Example <no-reply@example.com>", Host: "smtp.example.com", Port: 465, Security: "ssl",
			Username: "no-reply@example.com", Password: "app-password", CAFile: "/etc/ssl/corp.pem",
		},
		Verification: config.Verification{Digits: 8, Lifetime: d(5 * time.Minute)},
		Limits:       config.Limits{Profile: "production", TriesPerVerification: 3, TriesPerAccount: 6, TriesPerKnownAccount: 30, TriesPerSource: 12},
		Passwords:    config.Passwords{MinLength: 10, MaxLength: 64, AnyCharacters: true, Memory: 65536, Iterations: 3, Parallelism: 2, Concurrent: 8},
		Tokens: config.Tokens{
			Code: d(30 * time.Second), AccessToken: d(5 * time.Minute), IDToken: d(time.Hour),
			RefreshIdle: d(7 * 24 * time.Hour), RefreshMax: d(30 * 24 * time.Hour), RefreshGrace: config.Off,
		},
		Sessions: config.Sessions{Idle: d(8 * time.Hour), Max: d(7 * 24 * time.Hour)},
		Keys:     config.Keys{RotateEvery: config.Off, JWKSMaxAge: d(10 * time.Minute)},
		Pages:    config.Pages{Name: "Ëxample"},
		Outbound: config.Outbound{CAFile: "/etc/ssl/clients.pem"},
		Clients: []config.Client{{
			ID: "spa", Name: "Notes", FirstParty: true, SignUp: true, TokenEndpointAuthMethod: "none",
			RedirectURIs:           []string{"https://notes.example.com/callback", "com.example.notes:/callback"},
			PostLogoutRedirectURIs: []string{"https://notes.example.com/"},
			GrantTypes:             []string{"authorization_code", "refresh_token", config.GrantEmailCaptcha},
			Scopes:                 []string{"openid", "email", "offline_access", "notes:read"},
			Audiences:              []string{"https://api.example.com"}, Origins: []string{"https://notes.example.com"},
			PKCE: "required", AccessTokenFormat: "opaque", IDTokenSignedResponseAlg: "ES256",
		}, {
			ID: "1001", Name: "1001", Secrets: []config.Secret{secretA + secretB, secretB + secretA},
			TokenEndpointAuthMethod: "client_secret_basic", GrantTypes: []string{"client_credentials"},
			Scopes: []string{"openid"}, Audiences: []string{"https://id.example.com/tenant"},
			PKCE: "optional", AccessTokenFormat: "jwt", IDTokenSignedResponseAlg: "RS256",
		}, {
			ID: "notes-7g2x9", Name: "notes-7g2x9", CloudBase: true, HideIsUser: true, SignUp: true, TokenEndpointAuthMethod: "none",
			GrantTypes: []string{"refresh_token", config.GrantEmailCaptcha}, Scopes: []string{"openid", "profile", "email"},
			Audiences: []string{"https://id.example.com/tenant"},
			PKCE:      "required", AccessTokenFormat: "jwt", IDTokenSignedResponseAlg: "RS256",
		}, {
			ID: "signer", Name: "signer", TokenEndpointAuthMethod: "private_key_jwt", TokenEndpointAuthSigningAlg: "EdDSA",
			JWKS: config.JWKS{Keys: []config.JWK{{
				Type: "OKP", ID: "ed", Use: "sig", Operations: []string{"verify"}, Algorithm: "EdDSA", Curve: "Ed25519", X: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
			}}},
			GrantTypes: []string{"client_credentials"}, Scopes: []string{"openid"}, Audiences: []string{"https://id.example.com/tenant"},
			PKCE: "required", AccessTokenFormat: "jwt", IDTokenSignedResponseAlg: "RS256",
		}, {
			ID: "keys-elsewhere", Name: "keys-elsewhere", TokenEndpointAuthMethod: "private_key_jwt", JWKSURI: "https://keys.example.com/jwks?v=1",
			GrantTypes: []string{"client_credentials"}, Scopes: []string{"openid"}, Audiences: []string{"https://id.example.com/tenant"},
			PKCE: "required", AccessTokenFormat: "jwt", IDTokenSignedResponseAlg: "RS256",
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPrecedence(t *testing.T) {
	const file = "verification: {digits: 7}\nmail: {host: file.example.com, username: u, password: from-file}\ntrusted_proxies: [10.0.0.0/8, 10.1.0.0/16]\nclients: [{client_id: file, redirect_uris: ['https://a.example/1', 'https://a.example/2']}]\n"
	secret := write(t, "password", "from secret file\n")
	for _, test := range []struct {
		name    string
		environ []string
		get     func(config.Config) any
		want    any
	}{
		{"default", nil, func(c config.Config) any { return c.Limits.TriesPerSource }, 20},
		{"file over default", nil, func(c config.Config) any { return c.Verification.Digits }, 7},
		{"environment over file", []string{"LETTERGATE_VERIFICATION_DIGITS=8"}, func(c config.Config) any { return c.Verification.Digits }, 8},
		{"environment over default", []string{"LETTERGATE_SESSIONS_IDLE=1h"}, func(c config.Config) any { return c.Sessions.Idle.Std() }, time.Hour},
		{"last of two", []string{"LETTERGATE_PAGES_NAME=A", "LETTERGATE_PAGES_NAME=B"}, func(c config.Config) any { return c.Pages.Name }, "B"},
		{"secret file over file", []string{"LETTERGATE_MAIL_PASSWORD_FILE=" + secret}, func(c config.Config) any { return c.Mail.Password.Reveal() }, "from secret file"},
		{"list as a whole", []string{"LETTERGATE_TRUSTED_PROXIES=192.0.2.0/24, 198.51.100.0/24,"}, func(c config.Config) any { return c.TrustedProxies }, []string{"192.0.2.0/24", "198.51.100.0/24"}},
		{"list emptied", []string{"LETTERGATE_TRUSTED_PROXIES="}, func(c config.Config) any { return len(c.TrustedProxies) }, 0},
		{"list item", []string{"LETTERGATE_TRUSTED_PROXIES_1=192.0.2.0/24"}, func(c config.Config) any { return c.TrustedProxies }, []string{"10.0.0.0/8", "192.0.2.0/24"}},
		{"list appended", []string{"LETTERGATE_TRUSTED_PROXIES_2=192.0.2.0/24"}, func(c config.Config) any { return len(c.TrustedProxies) }, 3},
		{"whole then item", []string{"LETTERGATE_TRUSTED_PROXIES_1=192.0.2.0/24", "LETTERGATE_TRUSTED_PROXIES=172.16.0.0/12"}, func(c config.Config) any { return c.TrustedProxies }, []string{"172.16.0.0/12", "192.0.2.0/24"}},
		{"nested item", []string{"LETTERGATE_CLIENTS_0_REDIRECT_URIS_1=https://b.example/2"}, func(c config.Config) any { return c.Clients[0].RedirectURIs }, []string{"https://a.example/1", "https://b.example/2"}},
		{
			"new client in any order",
			[]string{"LETTERGATE_CLIENTS_1_CLIENT_SECRETS_1=" + secretB, "LETTERGATE_CLIENTS_1_CLIENT_SECRETS_0=" + secretA, "LETTERGATE_CLIENTS_1_GRANT_TYPES=client_credentials", "LETTERGATE_CLIENTS_1_CLIENT_ID=env"},
			func(c config.Config) any { return []any{c.Clients[1].ID, c.Clients[1].Secrets, c.Clients[0].ID} },
			[]any{"env", []config.Secret{secretA, secretB}, "file"},
		},
		{"boolean", []string{"LETTERGATE_CLIENTS_0_SIGN_UP=true"}, func(c config.Config) any { return c.Clients[0].SignUp }, true},
		{"off", []string{"LETTERGATE_TOKENS_REFRESH_GRACE=0s"}, func(c config.Config) any { return c.Tokens.RefreshGrace }, config.Off},
		{"others' variables", []string{"PATH=/bin", "LETTERGATE=1", "XLETTERGATE_X=1", "=C:=C:\\", "odd"}, func(c config.Config) any { return c.Verification.Digits }, 7},
		{
			"kubernetes service links",
			[]string{"LETTERGATE_SERVICE_HOST=10.0.0.1", "LETTERGATE_SERVICE_PORT=80", "LETTERGATE_SERVICE_PORT_HTTP=80", "LETTERGATE_PORT=tcp://10.0.0.1:80", "LETTERGATE_PORT_80_TCP=tcp://10.0.0.1:80", "LETTERGATE_PORT_80_TCP_ADDR=10.0.0.1"},
			func(c config.Config) any { return c.Mail.Port }, 587,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.get(load(t, file, test.environ...))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestSecretFiles(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"as it is", "x y", "x y"},
		{"one newline", "x\n", "x"},
		{"one newline of two", "x\n\n", "x\n"},
		{"windows", "x\r\n", "x"},
		{"spaces stay", " x \n", " x "},
		{"largest", strings.Repeat("x", 64<<10), strings.Repeat("x", 64<<10)},
	} {
		c := load(t, "mail: {username: u}", "LETTERGATE_MAIL_PASSWORD_FILE="+write(t, "password", test.text))
		if got := c.Mail.Password.Reveal(); got != test.want {
			t.Errorf("%s: got %.20q, want %.20q", test.name, got, test.want)
		}
	}
	c := load(t, "", "LETTERGATE_SECRETS_0_ID=a", "LETTERGATE_SECRETS_0_VALUE_FILE="+write(t, "value", secretA+"\n"),
		"LETTERGATE_STORAGE_URL_FILE="+write(t, "url", "sqlite:other.db"))
	if c.Secrets[0].Value != secretA || c.Storage.URL != "sqlite:other.db" {
		t.Errorf("got %q, %q", c.Secrets[0].Value.Reveal(), c.Storage.URL.Reveal())
	}
}

func TestLoadUnreadable(t *testing.T) {
	if _, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v, want ErrNotExist", err)
	}
	if _, err := config.Load(t.TempDir(), nil); err == nil {
		t.Error("a directory was read")
	}
}

// TestFaultsGolden holds the wording and the order of a file with many faults.
func TestFaultsGolden(t *testing.T) {
	_, err := config.Load("testdata/faults.yaml", []string{
		"LETTERGATE_MAIL_PASWORD=" + plain,
		"LETTERGATE_CLIENTS_0_REDIRECT_URI_0=https://a.example/",
		"LETTERGATE_TOKENS_CODE=5m",
		"LETTERGATE_VERIFICATION_DIGITS=six",
		"LETTERGATE_CLIENTS_9_CLIENT_ID=gap",
		"LETTERGATE_CLIENTS_2_CLIENT_SECRETS_0_FILE=/nonexistent/" + plain,
		"LETTERGATE_HUNTER=2",
	})
	if err == nil {
		t.Fatal("faults.yaml was loaded")
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Error("a secret is in the faults")
	}
	golden(t, "testdata/faults.golden", err.Error()+"\n")
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; write it with -update):\n%s", file, diff)
	}
}

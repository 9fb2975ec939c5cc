package config_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lettergate/lettergate/config"
)

// cloudBaseFaults are what can be wrong with what the CloudBase email login needs: its
// clients, passwords and codes for tests.
var cloudBaseFaults = []faultRow{
	{"CloudBase app", cloudBase(nil), ""},
	{"CloudBase app that hides", cloudBase(func(c *config.Client) { c.HideIsUser = true }), ""},
	{"CloudBase app with all its grants", cloudBase(func(c *config.Client) {
		c.GrantTypes, c.RedirectURIs = []string{"authorization_code", "refresh_token"}, []string{"https://notes.example.com/"}
	}), ""},
	{"CloudBase app with a secret", cloudBase(func(c *config.Client) { c.Secrets = []config.Secret{secretB} }),
		"clients[1].client_secrets: does not go with cloudbase: such an app runs in browsers and cannot keep a secret; leave it out"},
	{"CloudBase app with a method", cloudBase(func(c *config.Client) { c.TokenEndpointAuthMethod = "client_secret_post" }),
		`clients[1].token_endpoint_auth_method: "client_secret_post" does not go with cloudbase: such an app has no secret; leave it out`},
	{"CloudBase app that is signed out at once", cloudBase(func(c *config.Client) { c.GrantTypes = []string{config.GrantEmailCaptcha} }),
		"clients[1].grant_types: a CloudBase app stays signed in with refresh_token; add it, or leave grant_types out"},
	{"hide_is_user elsewhere", func(c *config.Config) { c.Clients[1].HideIsUser = true },
		"clients[1].hide_is_user: is for clients with cloudbase: true; leave it out"},

	{"short passwords", func(c *config.Config) { c.Passwords.MinLength = 7 }, "passwords.min_length: must be at least 8, and is 7"},
	{"long passwords", func(c *config.Config) { c.Passwords.MaxLength = 129 }, "passwords.max_length: must be at most 128, and is 129"},
	{"no password has this length", func(c *config.Config) { c.Passwords.MinLength, c.Passwords.MaxLength = 33, 32 },
		"passwords.max_length: 32 is less than passwords.min_length, which is 33"},
	{"passwords of one length", func(c *config.Config) { c.Passwords.MinLength, c.Passwords.MaxLength = 32, 32 }, ""},
	{"cheap hashes", func(c *config.Config) { c.Passwords.Memory = 1024 }, "passwords.memory: must be at least 8192, and is 1024"},
	{"no iteration", func(c *config.Config) { c.Passwords.Iterations = -1 }, "passwords.iterations: must be at least 1, and is -1"},
	{"many threads", func(c *config.Config) { c.Passwords.Parallelism = 17 }, "passwords.parallelism: must be at most 16, and is 17"},
	{"many hashes at once", func(c *config.Config) { c.Passwords.Concurrent = 65 }, "passwords.concurrent: must be at most 64, and is 65"},
	{"tries of known devices", func(c *config.Config) { c.Limits.TriesPerKnownAccount = 101 },
		"limits.tries_per_known_account: must be at most 100, and is 101"},

	{"test codes for everybody", func(c *config.Config) {
		c.InsecureTestCodes = []config.TestCode{{Email: "robot@example.com", Code: "135790"}}
	}, "insecure_test_codes: is refused for an https issuer: whoever knows a code signs in as its address"},
}

// cloudBase makes the second client a CloudBase app and then changes it.
func cloudBase(change func(*config.Client)) func(*config.Config) {
	return func(c *config.Config) {
		c.Clients[1] = config.Client{ID: "notes-7g2x9", CloudBase: true}
		if change != nil {
			change(&c.Clients[1])
		}
	}
}

func TestWithDefaultsCloudBase(t *testing.T) {
	c := config.Config{Clients: []config.Client{{ID: "a", CloudBase: true}}}.WithDefaults()
	want := []string{"refresh_token", config.GrantEmailCaptcha}
	if diff := cmp.Diff(want, c.Clients[0].GrantTypes); diff != "" {
		t.Errorf("grant types, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"openid", "profile", "email"}, c.Clients[0].Scopes); diff != "" {
		t.Errorf("scopes, -want +got:\n%s", diff)
	}
	if !c.Clients[0].Public() || c.Clients[0].Allows(config.GrantAuthorizationCode) || (config.Client{CloudBase: true}).Allows(config.GrantAuthorizationCode) {
		t.Error("a CloudBase app is not a public client without authorization_code")
	}
}

func TestInsecureTestCodes(t *testing.T) {
	const needs = "insecure_test_codes[0].code: is required; write it here, or set LETTERGATE_INSECURE_TEST_CODES_0_CODE (or LETTERGATE_INSECURE_TEST_CODES_0_CODE_FILE, the name of a file with it)"
	for name, test := range map[string]struct {
		codes []config.TestCode
		want  string
	}{
		"good":           {[]config.TestCode{{Email: "a@example.com", Code: "001357"}, {Email: "b@example.com", Code: "0013572468"}}, ""},
		"no address":     {[]config.TestCode{{Code: "001357"}}, "insecure_test_codes[0].email: is required"},
		"with a name":    {[]config.TestCode{{Email: "A <a@example.com>", Code: "001357"}}, `insecure_test_codes[0].email: "A <a@example.com>" is not allowed: write an address, as in name@example.com`},
		"no code":        {[]config.TestCode{{Email: "a@example.com"}}, needs},
		"short code":     {[]config.TestCode{{Email: "a@example.com", Code: "97531"}}, "insecure_test_codes[0].code: is not allowed: a code is 6 to 10 digits"},
		"long code":      {[]config.TestCode{{Email: "a@example.com", Code: "97531975319"}}, "insecure_test_codes[0].code: is not allowed: a code is 6 to 10 digits"},
		"letters":        {[]config.TestCode{{Email: "a@example.com", Code: "97531x"}}, "insecure_test_codes[0].code: is not allowed: a code is 6 to 10 digits"},
		"the same again": {[]config.TestCode{{Email: "a@example.com", Code: "001357"}, {Email: "A@example.com", Code: "001358"}}, `insecure_test_codes[1].email: "A@example.com" is the address of insecure_test_codes[0] already`},
	} {
		t.Run(name, func(t *testing.T) {
			c := config.Config{InsecureTestCodes: test.codes}.WithDefaults()
			err := c.Validate()
			if fmt.Sprint(err) != test.want && (err != nil || test.want != "") {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if text := fmt.Sprintf("%+v %v %v", c, err, c.Warnings()); strings.Contains(text, "97531") || strings.Contains(text, "001357") {
				t.Errorf("the code is in %s", text)
			}
		})
	}
}

// TestInsecureTestCodesLoopback: what is not on this machine has none, however its
// issuer is written.
func TestInsecureTestCodesLoopback(t *testing.T) {
	for issuer, allowed := range map[string]bool{
		"http://localhost:8080": true, "http://127.0.0.1": true, "http://[::1]:9000": true,
		"https://localhost": false, "http://id.example.com": false, "http://localhost.example.com": false, "http://[::ffff:127.0.0.1]": false,
	} {
		c := config.Config{
			Issuer: issuer, Secrets: []config.SecretKey{{ID: "a", Value: secretA}}, Mail: config.Mail{Host: "h", From: "a@example.com"},
			InsecureTestCodes: []config.TestCode{{Email: "a@example.com", Code: "001357"}},
		}
		if err := c.WithDefaults().Validate(); (err == nil) != allowed {
			t.Errorf("%s: %v, want allowed %v", issuer, err, allowed)
		}
	}
}

func TestWarningOfTestCodes(t *testing.T) {
	c := config.Config{InsecureTestCodes: []config.TestCode{{Email: "a@example.com", Code: "001357"}}, Clients: []config.Client{{ID: "a"}}}
	want := []config.Fault{{Path: "insecure_test_codes", Message: "whoever knows a code that is listed here signs in as its address"}}
	if diff := cmp.Diff(want, c.WithDefaults().Warnings()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

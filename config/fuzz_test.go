package config_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lettergate/lettergate/config"
)

// FuzzLoad checks that no file and no environment makes Load panic, that what
// loads is complete and valid, and that each fault is one line.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"testdata/full.yaml", "testdata/faults.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), "")
	}
	f.Add("clients: [{client_id: a, redirect_uris: ['https://a.example/']}]", "LETTERGATE_CLIENTS_0_REDIRECT_URIS_0=http://localhost/\nLETTERGATE_CLIENTS_1_CLIENT_ID=b")
	f.Add("a: &a [*a, *a]\n<<: *a\n? b\n: !!c d\n%YAML 1.2\n---\n...\n", "LETTERGATE_X=1\n=\nLETTERGATE_")
	f.Add("issuer: http://[::1]:1\nmail: |\n  x\nkeys: {rotate_every: 1.5d}\n- [{", "LETTERGATE_TOKENS_CODE=1d1d")
	f.Add("mail: {preset: qq, username: a@qq.com, password: b, port: 587}\nclients: [{client_id: a, cloudbase: true}]", "LETTERGATE_INSECURE_TEST_CODES_0_EMAIL=a@b.example\nLETTERGATE_INSECURE_TEST_CODES_0_CODE=001357")
	f.Add("clients: [{client_id: a, jwks: {keys: [{kty: RSA, kid: a, n: AQAB, e: AQAB}, {kty: oct, k: a}]}, jwks_uri: 'http://a:1/'}]\noutbound: {insecure_allow: ['a:1']}", "LETTERGATE_CLIENTS_0_JWKS_KEYS_0_CRV=P-256")
	f.Add("\"\\ud800\": '\n\t- >2\n", "LETTERGATE_LIMITS=\nLETTERGATE_PORT=x")

	file := filepath.Join(f.TempDir(), "lettergate.yaml")
	f.Fuzz(func(t *testing.T, text, environ string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		variables := strings.Split(environ, "\n")
		for _, v := range variables {
			if name, _, _ := strings.Cut(v, "="); strings.HasSuffix(name, "_FILE") {
				return // a stranger does not choose which of our files are read
			}
		}
		c, err := config.Load(file, variables)
		if err != nil {
			faults, ok := errors.AsType[config.Faults](err)
			if !ok || len(faults) == 0 {
				t.Fatalf("Load: %#v, want faults", err)
			}
			for _, fault := range faults {
				if fault.Message == "" || strings.ContainsAny(fault.String(), "\n\r") {
					t.Errorf("fault %+q is not one line", fault)
				}
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Errorf("loaded and not valid: %v", err)
		}
		if diff := cmp.Diff(c, c.WithDefaults()); diff != "" {
			t.Errorf("loaded and not complete:\n%s", diff)
		}
	})
}

// FuzzStorageURL checks that no URL makes the check of storage URLs panic, that
// none of what is said about one repeats its password, and that what is shown of a
// good one has neither user nor password.
func FuzzStorageURL(f *testing.F) {
	for _, test := range storageFaults {
		scheme, rest, _ := strings.Cut(test.url, ":")
		f.Add(scheme, "", strings.TrimPrefix(rest, "//"))
		f.Add(scheme, rest, "db.internal/1")
	}
	f.Add("postgres", "%40", "db1,db2:5433/x?sslmode=verify-full&schema=a")
	f.Add("rediss", "/:?#[]@!$&'()*+,;=%zz", "cache:6380/2?prefix=a%3A&wait=1&ca_file=/ca.pem")
	f.Add("redis+cluster", ":", "[::1]:7000,a:7001")
	f.Add("redis", "1?prefix=", "db.internal") // a password that begins like a port
	f.Add("rediss+sentinel", "%", "a,b/mymaster/3")
	f.Add("sqlite", "", "/var/lib/a.db")

	f.Fuzz(func(t *testing.T, scheme, password, rest string) {
		if strings.Contains(scheme+rest, "Zq9") {
			return // the mark of the password
		}
		for _, url := range []string{
			scheme + ":" + rest, scheme + "://" + rest,
			scheme + "://Zq9:Zq9" + password + "Zq9@" + rest,
			scheme + "://:Zq9" + password + "Zq9@" + rest,
			scheme + "://Zq9:" + password + "Zq9@" + rest,
		} {
			c := at(url)
			c.Storage.AccountsURL = "sqlite:other.db"
			err := c.Validate()
			shown := config.Redacted(c.Storage.URL)
			if (err == nil) != (shown != "***") && !strings.Contains(fmt.Sprint(err), "same store") {
				t.Errorf("%+q: %v, shown as %q", url, err, shown)
			}
			if err == nil && config.StorageEngine(c.Storage.URL) == "" {
				t.Errorf("%+q has no engine", url)
			}
			if strings.HasPrefix(url, "sqlite:") {
				continue // which has no password
			}
			for _, text := range []string{fmt.Sprint(err), shown, fmt.Sprint(c.Warnings())} {
				if strings.Contains(text, "Zq9") || strings.ContainsAny(text, "\n\r\x00") {
					t.Errorf("%+q: %+q", url, text)
				}
			}
		}
	})
}

package config_test

import (
	"errors"
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

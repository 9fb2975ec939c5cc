package archtest_test

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/lettergate/lettergate/provider/internal/archtest"
)

var update = flag.Bool("update", false, "put the tests of this module into the list of security rules")

// TestModule holds this module to its rules. With -update it first puts the tests into
// the list of security rules.
func TestModule(t *testing.T) {
	load := func() *archtest.Module {
		m, err := archtest.Load(os.DirFS("../../.."))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	m := load()
	if *update {
		if err := os.WriteFile("../../SECURITY-RULES.md", []byte(m.UpdateSecurityRules()), 0o644); err != nil {
			t.Fatal(err)
		}
		m = load()
	}
	for _, rule := range archtest.Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			for _, fault := range rule.Check(m) {
				t.Error(fault)
			}
		})
	}
}

// sound is a small module that keeps every rule, close to the edge of each.
func sound() map[string]string {
	return map[string]string{
		"go.mod":     "module example.org/m\n\ngo 1.26\n\nrequire github.com/ory/fosite v0.49.0\n",
		".gitignore": "# left behind\nlettergate-data/\n",

		".github/CONTRIBUTING.md":        "",
		"lettergate-data/db":             "",
		"provider/testdata/x.go":         "not Go",
		"provider/.hidden/x.go":          "not Go",
		"examples/bench/go.mod":          "module bench\n\nreplace example.org/m => ../..\n",
		"examples/bench/x.go":            "package util\n",
		"examples/spa/node_modules/x.go": "not Go",
		"oauth/_draft/x.go":              "not Go",

		"config/config.go":      doc("config") + imports("github.com/goccy/go-yaml"),
		"config/config_test.go": "package config_test\n" + imports("testing", "example.org/m/config"),

		"oauth/oauth.go":                doc("oauth") + imports("github.com/go-jose/go-jose/v4/jwt"),
		"oauth/oauth_test.go":           "package oauth_test\n" + imports("example.org/m/oauth", "github.com/coreos/go-oidc/v3/oidc"),
		"oauth/emailcaptcha/captcha.go": doc("emailcaptcha") + imports("example.org/m/oauth", "github.com/ory/fosite"),

		"middleware/middleware.go":      doc("middleware") + imports("example.org/m/oauth"),
		"middleware/session/session.go": doc("session") + imports("example.org/m/middleware", "golang.org/x/oauth2"),

		"provider/provider.go":      doc("provider") + imports("example.org/m/config", "example.org/m/provider/internal/endpoint"),
		"provider/provider_test.go": "package provider_test\n" + imports("example.org/m/provider/mail/mailtest"),

		"provider/storage/storage.go":             doc("storage") + imports("context"),
		"provider/storage/storage_test.go":        "package storage_test\n" + imports("example.org/m/provider/storage/sqlstore"),
		"provider/storage/storetest/storetest.go": doc("storetest") + imports("testing", "example.org/m/provider/storage"),
		"provider/storage/sqlstore/sqlstore.go":   doc("sqlstore") + imports("example.org/m/provider/storage", "modernc.org/sqlite"),
		"provider/storage/sqlstore/sql_test.go":   "package sqlstore_test\n" + imports("example.org/m/provider/storage/storetest", "example.org/m/provider/storage/servertest"),
		"provider/mail/mailtest/mailtest.go":      doc("mailtest") + imports("testing"),

		"provider/internal/ratelimit/ratelimit.go": doc("ratelimit"),
		"provider/internal/secrets/secrets.go":     doc("secrets") + imports("example.org/m/provider/internal/ratelimit"),
		"provider/internal/oauthcore/oauthcore.go": doc("oauthcore") + imports("github.com/ory/fosite", "example.org/m/provider/internal/fositestore/x"),
		"provider/internal/endpoint/endpoint.go":   doc("endpoint") + imports("example.org/m/provider/internal/page"),
		"provider/internal/endpoint/x_test.go":     "package endpoint_test\n" + imports("example.org/m/provider/internal/endpoint"),
		"provider/internal/interact/interact.go":   doc("interact") + imports("example.org/m/provider/internal/oauthcore"),

		"provider/cmd/lettergate/main.go": "// Command lettergate serves.\npackage main\n" + imports("example.org/m/provider") + "func main() {}\n",
		"examples/embed/main_test.go":     "// The example runs.\npackage main_test\n",

		listFile:                     soundList(),
		"provider/rules_test.go":     soundTests,
		"provider/mail/mail.go":      doc("mail"),
		"provider/mail/smtp_test.go": "package mail_test\n\nfunc TestEM03Auth() {}\n",
	}
}

// doc begins a file of the package called name.
func doc(name string) string { return "// Package " + name + " is sound.\npackage " + name + "\n" }

func imports(paths ...string) string {
	var b strings.Builder
	for _, p := range paths {
		fmt.Fprintf(&b, "import _ %q\n", p)
	}
	return b.String()
}

func files(contents map[string]string) fs.FS {
	m := fstest.MapFS{}
	for name, text := range contents {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return m
}

// faults lists what every rule finds in a module, as "rule file:line".
func faults(t *testing.T, contents map[string]string) []string {
	t.Helper()
	m, err := archtest.Load(files(contents))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, rule := range archtest.Rules() {
		for _, f := range rule.Check(m) {
			if f.What == "" || f.Right == "" {
				t.Errorf("%s does not say what was found and what would be right", f)
			}
			all = append(all, fmt.Sprintf("%s %s:%d", f.Rule, f.File, f.Line))
		}
	}
	return all
}

func TestSoundModuleHasNoFault(t *testing.T) {
	if got := faults(t, sound()); len(got) > 0 {
		t.Errorf("faults in a sound module:\n%s", strings.Join(got, "\n"))
	}
}

// TestBrokenRules breaks the rules one by one.
func TestBrokenRules(t *testing.T) {
	for _, b := range breaches() {
		t.Run(b.name, func(t *testing.T) {
			contents := sound()
			contents[b.file] = b.text
			if diff := cmp.Diff(b.want, faults(t, contents)); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
		})
	}
}

// TestEveryRuleIsBrokenOnce keeps a new rule from going untested.
func TestEveryRuleIsBrokenOnce(t *testing.T) {
	var broken []string
	for _, b := range breaches() {
		for _, w := range b.want {
			rule, _, _ := strings.Cut(w, " ")
			broken = append(broken, rule)
		}
	}
	for _, rule := range archtest.Rules() {
		if !slices.Contains(broken, rule.Name) {
			t.Errorf("no test breaks %s", rule.Name)
		}
	}
}

func TestFaultSaysWhereWhatAndWhatWouldBeRight(t *testing.T) {
	f := archtest.Fault{Rule: "no-init", File: "oauth/x.go", Line: 7, What: "has an init function", Right: "do it in New"}
	want := "oauth/x.go:7: has an init function\n\trule: no-init\n\tright: do it in New"
	if got := f.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, contents := range map[string]map[string]string{
		"a folder without go.mod":      {"x.go": "package x\n"},
		"a go.mod without module line": {"go.mod": "go 1.26\n"},
		"a file that does not parse":   {"go.mod": "module m\n", "x/x.go": "package\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := archtest.Load(files(contents)); err == nil {
				t.Error("no error")
			}
		})
	}
}

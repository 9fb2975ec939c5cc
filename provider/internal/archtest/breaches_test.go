package archtest_test

import (
	"slices"
	"strings"
)

// A breach is one file, added to the sound module or put in place of one of its
// files, and the faults it makes: none where it is just inside the rules.
type breach struct {
	name, file, text string
	want             []string
}

func breaches() []breach {
	return slices.Concat(importBreaches(), storageBreaches(), sourceBreaches(), securityBreaches())
}

// pkg is a file of package name that imports paths.
func pkg(name string, paths ...string) string { return "package " + name + "\n" + imports(paths...) }

func importBreaches() []breach {
	return []breach{
		{"config imports oauth", "config/x.go", pkg("config", "example.org/m/oauth"), []string{
			"config-is-a-leaf config/x.go:2",
		}},
		{"a test of config imports provider", "config/x_test.go", pkg("config_test", "example.org/m/provider"), []string{
			"config-is-a-leaf config/x_test.go:2",
		}},
		{"oauth imports config", "oauth/x.go", pkg("oauth", "example.org/m/config"), []string{
			"oauth-is-a-leaf oauth/x.go:2",
		}},
		{"oauth imports provider", "oauth/x.go", pkg("oauth", "example.org/m/provider/users"), []string{
			"oauth-is-a-leaf oauth/x.go:2",
		}},
		{"oauth imports its own grant", "oauth/x.go", pkg("oauth", "example.org/m/oauth/emailcaptcha"), []string{
			"oauth-is-a-leaf oauth/x.go:2",
		}},
		{"oauth imports another module", "oauth/x.go", pkg("oauth", "golang.org/x/sync/singleflight"), []string{
			"oauth-needs-only-go-jose oauth/x.go:2",
		}},
		{"a test of oauth imports fosite", "oauth/x_test.go", pkg("oauth_test", "github.com/ory/fosite"), []string{
			"fosite-has-four-homes oauth/x_test.go:2",
		}},
		{"a test of oauth imports provider", "oauth/x_test.go", pkg("oauth_test", "example.org/m/provider"), []string{
			"oauth-is-a-leaf oauth/x_test.go:2",
			"consumers-tests-without-provider oauth/x_test.go:2",
		}},
		{"the grant imports config", "oauth/emailcaptcha/x.go", pkg("emailcaptcha", "example.org/m/config"), []string{
			"emailcaptcha-imports-oauth oauth/emailcaptcha/x.go:2",
		}},
		{"the grant imports another module", "oauth/emailcaptcha/x.go", pkg("emailcaptcha", "github.com/ory/x/errorsx"), []string{
			"emailcaptcha-needs-only-fosite oauth/emailcaptcha/x.go:2",
		}},
		{"middleware imports config", "middleware/x.go", pkg("middleware", "example.org/m/config"), []string{
			"middleware-imports-oauth middleware/x.go:2",
		}},
		{"middleware imports the grant", "middleware/x.go", pkg("middleware", "example.org/m/oauth/emailcaptcha"), []string{
			"middleware-imports-oauth middleware/x.go:2",
		}},
		{"middleware imports another module", "middleware/x.go", pkg("middleware", "golang.org/x/oauth2"), []string{
			"middleware-needs-only-go-jose middleware/x.go:2",
		}},
		{"a test of middleware imports another module", "middleware/x_test.go", pkg("middleware_test", "golang.org/x/oauth2"), nil},
		{"the browser side imports another module", "middleware/session/x.go", pkg("session", "golang.org/x/sync/singleflight"), []string{
			"session-needs-only-x-oauth2 middleware/session/x.go:2",
		}},
		{"middleware imports fosite", "middleware/x.go", pkg("middleware", "github.com/ory/fosite/token/jwt"), []string{
			"middleware-needs-only-go-jose middleware/x.go:2",
			"fosite-has-four-homes middleware/x.go:2",
		}},
		{"a test of middleware imports providertest", "middleware/session/x_test.go", pkg("session_test", "example.org/m/provider/providertest"), []string{
			"middleware-imports-oauth middleware/session/x_test.go:2",
			"consumers-tests-without-provider middleware/session/x_test.go:2",
		}},
		{"the command imports an internal package", "provider/cmd/lettergate/x_test.go", pkg("main_test", "example.org/m/provider/internal/secrets"), []string{
			"programs-use-public-packages provider/cmd/lettergate/x_test.go:2",
		}},
		{"an example imports an internal package", "examples/embed/x_test.go", pkg("main", "example.org/m/provider/internal/secrets"), []string{
			"programs-use-public-packages examples/embed/x_test.go:2",
		}},
		{"provider imports fosite", "provider/x.go", pkg("provider", "github.com/ory/fosite"), []string{
			"fosite-has-four-homes provider/x.go:2",
		}},
		{"shipping code imports testing", "provider/x.go", pkg("provider", "testing/synctest"), []string{
			"shipping-code-without-test-code provider/x.go:2",
		}},
		{"shipping code imports mailtest", "provider/x.go", pkg("provider", "example.org/m/provider/mail/mailtest"), []string{
			"shipping-code-without-test-code provider/x.go:2",
		}},
		{"an internal package of no place", "provider/internal/misc/x.go", "// Package misc is new.\npackage misc\n", []string{
			"internal-packages-have-a-place provider/internal/misc/x.go:0",
		}},
		{"a service imports a later one", "provider/internal/ratelimit/x.go", pkg("ratelimit", "example.org/m/provider/internal/outbox"), []string{
			"services-look-one-way provider/internal/ratelimit/x.go:2",
		}},
		{"a service imports its neighbour", "provider/internal/secrets/x_test.go", pkg("secrets_test", "example.org/m/provider/internal/messages"), []string{
			"services-look-one-way provider/internal/secrets/x_test.go:2",
		}},
		{"a door imports another", "provider/internal/interact/x.go", pkg("interact", "example.org/m/provider/internal/cloudbase/wire"), []string{
			"doors-stand-apart provider/internal/interact/x.go:2",
		}},
		{"a service imports a door", "provider/internal/oauthcore/x.go", pkg("oauthcore", "example.org/m/provider/internal/endpoint"), []string{
			"doors-stand-apart provider/internal/oauthcore/x.go:2",
		}},
	}
}

func storageBreaches() []breach {
	return []breach{
		{"storage imports another module", "provider/storage/x.go", pkg("storage", "github.com/google/uuid"), []string{
			"storage-is-stdlib provider/storage/x.go:2",
		}},
		{"storage imports an engine", "provider/storage/x.go", pkg("storage", "example.org/m/provider/storage/sqlstore"), []string{
			"storage-is-stdlib provider/storage/x.go:2",
		}},
		{"storage imports its own internal", "provider/storage/x.go", pkg("storage", "example.org/m/provider/storage/internal/x"), nil},
		{"storetest imports an engine", "provider/storage/storetest/x.go", pkg("storetest", "example.org/m/provider/storage/sqlstore"), []string{
			"storage-is-stdlib provider/storage/storetest/x.go:2",
		}},
		{"servertest imports a driver", "provider/storage/servertest/x.go", "// Package servertest starts servers.\n" + pkg("servertest", "github.com/jackc/pgx/v5"), []string{
			"storage-is-stdlib provider/storage/servertest/x.go:3",
		}},
		{"an engine imports servertest", "provider/storage/sqlstore/x.go", pkg("sqlstore", "example.org/m/provider/storage/servertest"), []string{
			"engines-import-storage provider/storage/sqlstore/x.go:2",
			"shipping-code-without-test-code provider/storage/sqlstore/x.go:2",
		}},
		{"storage knows who uses it", "provider/storage/x_test.go", pkg("storage_test", "example.org/m/provider/internal/secrets"), []string{
			"storage-is-a-family provider/storage/x_test.go:2",
		}},
		{"an engine imports another", "provider/storage/redisstore/x.go", "// Package redisstore is an engine.\n" + pkg("redisstore", "example.org/m/provider/storage/sqlstore"), []string{
			"engines-import-storage provider/storage/redisstore/x.go:3",
		}},
	}
}

func sourceBreaches() []breach {
	const imp = "package oauth_test\n\nimport (\n\t\"testing\"\n\tclock \"time\"\n)\n\n"
	return []breach{
		{"a long file", "oauth/x.go", "package oauth\n" + strings.Repeat("\n", 600), []string{
			"short-files oauth/x.go:0",
		}},
		{"the longest file", "oauth/x.go", "package oauth\n" + strings.Repeat("\n", 599), nil},
		{"a long function", "oauth/x.go", "package oauth\n\n// F is long.\nfunc F() {" + strings.Repeat("\n", 100) + "}\n", []string{
			"short-functions oauth/x.go:4",
		}},
		{"the longest function", "oauth/x.go", "package oauth\n\n// F is as long\n// as it may be.\nfunc F() {" + strings.Repeat("\n", 99) + "}\n", nil},
		{"a long function literal", "oauth/x.go", "package oauth\n\nvar f = func() {" + strings.Repeat("\n", 100) + "}\n", []string{
			"short-functions oauth/x.go:3",
		}},
		{"an init function", "oauth/x.go", "package oauth\n\nfunc init() {}\n", []string{
			"no-init oauth/x.go:3",
		}},
		{"a method called init", "oauth/x.go", "package oauth\n\ntype t struct{}\n\nfunc (t) init() {}\n", nil},
		{"work left over", "oauth/x.go", "package oauth\n\n// TODO: more.\n\nvar a = 1 // FIXME\n\n/* see\nXXX */\n\n// Not implemented.\n", []string{
			"nothing-left-over oauth/x.go:3",
			"nothing-left-over oauth/x.go:5",
			"nothing-left-over oauth/x.go:7",
			"nothing-left-over oauth/x.go:10",
		}},
		{"marks that are no comments", "oauth/x.go", "package oauth\n\nvar mask = \"XXX\" // it was not implementedly said\n", nil},
		{"a skipped test", "oauth/x_test.go", imp + "func TestX(t *testing.T) { t.Skip(clock.Now()) }\n", []string{
			"no-skipped-tests oauth/x_test.go:8",
		}},
		{"a skip in a suite", "provider/storage/storetest/x.go", strings.Replace(imp, "oauth_test", "storetest", 1) +
			"type s struct{ tb testing.TB }\n\nfunc (s *s) run(_ clock.Time) { s.tb.SkipNow() }\n", []string{
			"no-skipped-tests provider/storage/storetest/x.go:10",
		}},
		{"a skip through an embedded test", "oauth/x_test.go", imp + "type s struct{ *testing.T }\n\nfunc (s s) run(_ clock.Time) { s.T.Skipf(\"\") }\n", []string{
			"no-skipped-tests oauth/x_test.go:10",
		}},
		{"a Skip of something else", "oauth/x_test.go", imp + "func TestX(t *testing.T) { dec.Skip(); clock.Now() }\n", nil},
		{"a test sleeps", "oauth/x_test.go", imp + "func TestX(t *testing.T) { clock.Sleep(1) }\n", []string{
			"tests-never-sleep oauth/x_test.go:8",
		}},
		{"shipping code sleeps", "oauth/x.go", "package oauth\n\nimport \"time\"\n\nfunc f() { time.Sleep(1) }\n", nil},
		{"a new top-level folder", "tools/x.txt", "", []string{
			"fixed-top-level tools:0",
		}},
		{"a replace", "go.mod", "module example.org/m\n\nreplace a => b\n\nreplace (\n\tc => d\n)\n", []string{
			"no-replace go.mod:3",
			"no-replace go.mod:5",
		}},
		{"a vague package", "provider/helpers/x_test.go", "// Package helpers_test is vague.\npackage helpers_test\n", []string{
			"packages-named-for-what-they-do provider/helpers/x_test.go:2",
		}},
		{"a vague folder", "provider/common/x.go", "// Package x is elsewhere.\npackage x\n", []string{
			"packages-named-for-what-they-do provider/common/x.go:2",
		}},
		{"a package comment in a test", "provider/keys/x_test.go", "// Package keys is said in the wrong file.\npackage keys\n", nil},
		{"no package comment", "provider/keys/x.go", "//go:build linux\n\npackage keys\n", []string{
			"packages-say-what-they-are provider/keys/x.go:0",
		}},
		{"a package comment of another form", "provider/keys/x.go", "// Keys.\npackage keys\n", []string{
			"packages-say-what-they-are provider/keys/x.go:0",
		}},
		{"a command without comment", "examples/spa/main.go", "package main\n", []string{
			"packages-say-what-they-are examples/spa/main.go:0",
		}},
	}
}

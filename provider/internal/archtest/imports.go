package archtest

const (
	fosite      = "github.com/ory/fosite/..."
	internal    = "provider/internal/..."
	captcha     = "oauth/emailcaptcha/..."
	browserSide = "middleware/session/..."
	joseV4      = "github.com/go-jose/go-jose/v4/..."
	storeFamily = "provider/storage/..."
	// What tests of engines need: the suite and real servers.
	storeSuite   = "provider/storage/storetest/..."
	storeServers = "provider/storage/servertest/..."
)

// An importRule says what the packages of one part of the module may import.
// Packages are patterns as of within, ours by their path inside the module. The
// zero value of a list is nothing; the standard library is always allowed, and
// so are the package itself, which its external tests import, and its internal.
type importRule struct {
	name, right string

	of, except []string
	// shipping and tests narrow the rule to one kind of file.
	shipping, tests bool

	ours, notOurs     []string // packages of this module
	theirs, notTheirs []string // packages of other modules
}

// anything is the list for a rule that is about something else.
func anything() []string { return []string{"..."} }

// importRules is who may import whom. The reason for most of it: fosite links
// about 46 modules and go-jose one, so a service that only verifies tokens must
// not pay for the provider, not even in its go.sum through a test.
func importRules() []Rule {
	table := []importRule{{
		name:  "config-is-a-leaf",
		right: "config describes a deployment and knows no other package of ours: move what it needs into it, or the use of it to provider",
		of:    []string{"config/..."}, ours: []string{"config/..."}, theirs: anything(),
	}, {
		name:  "oauth-is-a-leaf",
		right: "oauth is the vocabulary that provider, resource servers and clients share: what needs more belongs to one of them",
		of:    []string{"oauth/..."}, except: []string{captcha}, ours: []string{"oauth/..."}, notOurs: []string{captcha}, theirs: anything(),
	}, {
		name:  "oauth-needs-only-go-jose",
		right: "write it with the standard library and go-jose v4; a test may use more",
		of:    []string{"oauth/..."}, except: []string{captcha}, shipping: true, ours: anything(), theirs: []string{joseV4},
	}, {
		name:  "emailcaptcha-imports-oauth",
		right: "the grant knows no store and no mail: declare what it needs as an interface of its own",
		of:    []string{captcha}, ours: []string{"oauth/..."}, theirs: anything(),
	}, {
		name:  "emailcaptcha-needs-only-fosite",
		right: "the grant is for programs that already run fosite and must bring them nothing else; a test may use more",
		of:    []string{captcha}, shipping: true, ours: anything(), theirs: []string{fosite},
	}, {
		name:  "middleware-imports-oauth",
		right: "take what is needed as an oauth type or an interface; a test of both sides belongs in provider",
		of:    []string{"middleware/..."}, ours: []string{"middleware/...", "oauth/..."}, notOurs: []string{captcha}, theirs: anything(),
	}, {
		name:  "middleware-needs-only-go-jose",
		right: "a service that only verifies tokens pays for nothing else: write it with the standard library, or make it an example in a module of its own",
		of:    []string{"middleware/..."}, except: []string{browserSide}, shipping: true, ours: anything(), theirs: []string{joseV4},
	}, {
		name:  "session-needs-only-x-oauth2",
		right: "write it with the standard library, go-jose v4 and golang.org/x/oauth2",
		of:    []string{browserSide}, shipping: true, ours: anything(), theirs: []string{joseV4, "golang.org/x/oauth2"},
	}, {
		name:  "consumers-tests-without-provider",
		right: "put the joint test in provider: one such test takes the go.sum of who uses this package from 2 lines to 196",
		of:    []string{"oauth/...", "middleware/..."}, tests: true, ours: anything(), notOurs: []string{"provider/..."}, theirs: anything(),
	}, {
		name:  "storage-is-stdlib",
		right: "the seam that other people implement costs them no dependency: what needs one is an engine",
		of:    []string{"provider/storage", storeSuite, storeServers}, shipping: true, ours: []string{"provider/storage"},
	}, {
		name:  "storage-is-a-family",
		right: "the store and its engines keep bytes: typed code belongs above, in the package that owns the record",
		of:    []string{storeFamily}, ours: []string{storeFamily}, theirs: anything(),
	}, {
		name:  "engines-import-storage",
		right: "an engine knows the Store contract and its own database, not another engine",
		of:    []string{storeFamily}, except: []string{"provider/storage", storeSuite, storeServers}, shipping: true,
		ours: []string{"provider/storage"}, theirs: anything(),
	}, {
		name:  "programs-use-public-packages",
		right: "what a program of ours needs, other people's programs need: make it public or do without",
		of:    []string{"provider/cmd/...", "examples/..."}, ours: anything(), notOurs: []string{internal}, theirs: anything(),
	}, {
		name:  "fosite-has-four-homes",
		right: "speak of it in terms of oauth, or move the code to provider/internal/oauthcore",
		of:    anything(),
		except: []string{
			captcha, "provider/internal/oauthcore/...", "provider/internal/fositestore/...", "provider/internal/endpoint/...",
		},
		ours: anything(), theirs: anything(), notTheirs: []string{fosite},
	}}
	rules := make([]Rule, 0, len(table)+1)
	for _, r := range table {
		rules = append(rules, Rule{Name: r.name, Right: r.right, check: perFile(r.check)})
	}
	return append(rules, Rule{
		Name:  "shipping-code-without-test-code",
		Right: "keep testing and the packages whose name ends in test to test files: what is imported here is linked into users' programs",
		check: perFile(testCode),
	})
}

func (r importRule) check(f *file) []Fault {
	if !within(f.dir, r.of...) || within(f.dir, r.except...) || r.shipping && f.test || r.tests && !f.test {
		return nil
	}
	var faults []Fault
	for _, in := range f.ours {
		own := within(in.path, f.dir, f.dir+"/internal/...")
		if !own && !within(in.path, r.ours...) || within(in.path, r.notOurs...) {
			faults = append(faults, f.fault(in.line, "imports our %s", in.path))
		}
	}
	for _, in := range f.theirs {
		if !within(in.path, r.theirs...) || within(in.path, r.notTheirs...) {
			faults = append(faults, f.fault(in.line, "imports %s", in.path))
		}
	}
	return faults
}

// testCode finds imports of test code in files that are not test code.
func testCode(f *file) []Fault {
	if f.test || forTests(f.dir) {
		return nil
	}
	var faults []Fault
	for _, in := range f.std {
		if within(in.path, "testing/...") {
			faults = append(faults, f.fault(in.line, "imports %s", in.path))
		}
	}
	for _, in := range f.ours {
		if forTests(in.path) {
			faults = append(faults, f.fault(in.line, "imports our %s", in.path))
		}
	}
	return faults
}

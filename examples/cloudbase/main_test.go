package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the tests start this binary as the real program.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cloudbase": main})
}

// TestNotBuilt: who starts the program first is told what to run before.
func TestNotBuilt(t *testing.T) {
	folder := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "cloudbase", "-issuer-addr", "localhost:0", "-app-addr", "localhost:0", "-data", t.TempDir(), "-folder", folder).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "run npm ci in "+folder) {
		t.Errorf("%v, %s", err, out)
	}
}

// TestDocumentedCode: the example holds what the documentation of CloudBase prints,
// but for the lines here. Its subject is that this code works unchanged.
func TestDocumentedCode(t *testing.T) {
	const code = `// Assume the user enters the Captcha 000000.` + "\n" + `const verificationCode = "000000";`
	documented := contents(t, filepath.Join("testdata", "seed.js"))
	for file, changes := range map[string][]string{
		"flow.mjs": {
			`"your-env-id"`, `env`,
			code, "const verificationCode = await terminal.question(`The code in the mail (${issuer}/dev/mailbox): `);\nterminal.close();",
		},
		filepath.Join("web", "page.js"): {
			`"your-env-id"`, `env`,
			code, `const verificationCode = await typed(email);`,
			// The person types these, too.
			`"test@example.com"`, `$("email").value`,
			`"userFromEmail"`, `$("username").value`,
			`"password123"`, `$("password").value`,
		},
	} {
		rest := strings.Split(contents(t, file), "\n")
		for line := range strings.SplitSeq(strings.NewReplacer(changes...).Replace(documented), "\n") {
			at := slices.Index(rest, line)
			switch {
			case line == "":
			case at < 0:
				t.Errorf("%s: this line is missing, or in another order: %s", file, line)
			default:
				rest = rest[at+1:]
			}
		}
	}
}

// TestLockFile: it pins versions and hashes, and leaves it to npm's configuration
// where the packages come from.
func TestLockFile(t *testing.T) {
	lock := contents(t, "package-lock.json")
	for _, want := range []string{`"version": "3.7.0"`, `"version": "2.32.0"`, `"integrity": "sha512-`} {
		if !strings.Contains(lock, want) {
			t.Errorf("the lock file has no %s", want)
		}
	}
	if strings.Contains(lock, "://") {
		t.Error("the lock file names a host")
	}
}

func contents(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

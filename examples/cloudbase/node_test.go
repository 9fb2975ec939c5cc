//go:build browser

package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// node prepares a Node program. Settings of the cloud that the SDK reads from the
// environment are kept from it.
func node(t *testing.T, folder string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", args...)
	cmd.Dir = folder
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "TENCENTCLOUD") || strings.HasPrefix(v, "CLOUDBASE") || strings.HasPrefix(v, "NODE_ENV=")
	})
	cmd.Env = append(cmd.Env, "TENCENTCLOUD=true") // so that it does not look for the cloud's metadata
	return cmd
}

// inNode is the SDK in a Node process, whose storage lasts as long as that.
func inNode(t *testing.T, p *program) *sdk {
	t.Helper()
	cmd := node(t, p.folder, "testdata/session.mjs", p.issuer, envID)
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Process.Kill() // the SDK may have timers left
		cmd.Wait()
	})
	answers := bufio.NewReader(stdout)
	return &sdk{t, p, func(expression string) (string, error) {
		line, err := json.Marshal(expression)
		if err != nil {
			return "", err
		}
		if _, err := stdin.Write(append(line, '\n')); err != nil {
			return "", err
		}
		return answers.ReadString('\n')
	}}
}

// testNodeFlow runs the documented flow as a person does: twice, in a process of its
// own each time.
func testNodeFlow(t *testing.T, p *program) {
	for _, want := range []string{"Signed up as test@example.com (", "Signed in as test@example.com ("} {
		cmd := node(t, p.folder, "flow.mjs", p.issuer, envID)
		cmd.Stderr = t.Output()
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		io.WriteString(stdin, p.code("test@example.com")+"\n") // what goes wrong shows below
		said, err := io.ReadAll(stdout)
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil || !strings.Contains(string(said), want) {
			t.Fatalf("no %q: %v\n%s", want, err, said)
		}
	}
}

func testNode(t *testing.T, p *program) {
	s := inNode(t, p)
	s.ordinary()
	s.signOut()
	s.fails("unimplemented", `return auth.signInAnonymously()`)
	s.signedOut()
}

//go:build browser

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for what takes a moment.
const patience = time.Minute

// install makes a copy of this folder and has npm fetch the SDK into it.
func install(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("this test runs @cloudbase/js-sdk and needs Node.js and npm: %s is not in PATH", program)
		}
	}
	folder := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", ".npmrc", "build.mjs", "flow.mjs", "web", "testdata"} {
		if err := copyTo(folder, name); err != nil {
			t.Fatal(err)
		}
	}
	npm := exec.CommandContext(t.Context(), "npm", "ci", "--prefer-offline", "--no-audit", "--no-fund")
	npm.Dir = folder
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm ci could not fetch the SDK and build the page: %v\n%s", err, out)
	}
	return folder
}

// copyTo copies a file, or a directory of files.
func copyTo(folder, name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.CopyFS(filepath.Join(folder, name), os.DirFS(name))
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, name), raw, 0o600)
}

// A program is the real one, running.
type program struct {
	t            *testing.T
	folder       string
	issuer, page string         // the URLs that it printed
	stop         func() error   // ends it
	codes        map[string]int // the codes that were read, by address
}

var (
	printedPage    = regexp.MustCompile(`(?m)^ *page +(\S+)`)
	printedMailbox = regexp.MustCompile(`(?m)^ *mailbox +(\S+)/dev/mailbox `)
)

// start runs the program until the test ends, and waits until it is ready.
func start(t *testing.T, folder string) *program {
	t.Helper()
	cmd := exec.Command("cloudbase", "-issuer-addr", "localhost:0", "-app-addr", "localhost:0", "-data", t.TempDir(), "-folder", folder)
	var log bytes.Buffer
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, folder: folder, codes: map[string]int{}}
	p.stop = func() error {
		if cmd.ProcessState != nil {
			return nil
		}
		cmd.Process.Signal(os.Interrupt)
		return cmd.Wait()
	}
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Errorf("after an interrupt: %v", err)
		}
		if t.Failed() || strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("its log:\n%s", log.String())
		}
	})
	said := readSaid(stdout)
	page, mailbox := printedPage.FindStringSubmatch(said), printedMailbox.FindStringSubmatch(said)
	if page == nil || mailbox == nil {
		t.Fatalf("no addresses in what it printed:\n%s", said)
	}
	p.page, p.issuer = page[1], mailbox[1]
	p.await("the provider to be ready", func() bool { return p.status(p.issuer+"/readyz", "") == http.StatusOK })
	return p
}

// readSaid reads up to the last line that the program prints, or all there is.
func readSaid(stdout io.Reader) string {
	var said strings.Builder
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		said.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "Stop with ") {
			break
		}
	}
	return said.String()
}

// await waits until something has come about.
func (p *program) await(what string, done func() bool) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.t.Fatalf("waited a minute for %s", what)
		}
	}
}

// status asks for a URL, with an access token unless it is empty.
func (p *program) status(url, token string) int {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// revoke ends the sign-in of an access token, as another device of the person could.
func (p *program) revoke(token string) {
	p.t.Helper()
	resp, err := http.Post(p.issuer+"/auth/v1/revoke?client_id="+envID, "text/plain", strings.NewReader(`{"token":"`+token+`"}`))
	if err != nil {
		p.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		p.t.Fatalf("revoke: %d", resp.StatusCode)
	}
}

// A message is one mail of /dev/mailbox/messages.json.
type message struct {
	To   string `json:"to"`
	Text string `json:"text"`
}

// messages are the mails in the mailbox, newest first.
func (p *program) messages() (list []message) {
	p.t.Helper()
	resp, err := http.Get(p.issuer + "/dev/mailbox/messages.json")
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		p.t.Fatal(err)
	}
	return list
}

var codeLine = regexp.MustCompile(`(?m)^ *([0-9]{6})$`)

// code waits for the next mail with a code to an address.
func (p *program) code(to string) string {
	p.t.Helper()
	var found []string // oldest first
	p.await("a code to "+to, func() bool {
		found = nil
		for _, m := range slices.Backward(p.messages()) {
			if code := codeLine.FindStringSubmatch(m.Text); code != nil && m.To == to {
				found = append(found, code[1])
			}
		}
		return len(found) > p.codes[to]
	})
	p.codes[to]++
	return found[p.codes[to]-1]
}

// wrong is a code that looks like this one and is another.
func wrong(code string) string {
	if strings.HasSuffix(code, "0") {
		return code[:len(code)-1] + "1"
	}
	return code[:len(code)-1] + "0"
}

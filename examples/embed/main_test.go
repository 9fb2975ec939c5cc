package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lettergate/lettergate/config"
)

// TestMain lets the test start this binary as the program, at another address.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"embed": func() {
		log.Fatal(serve(context.Background(), config.Config{Issuer: os.Getenv("ISSUER")}.WithDefaults()))
	}})
}

// TestEmbedded: both the program's own page and the provider answer, and the
// provider knows the program's client.
func TestEmbedded(t *testing.T) {
	issuer := "http://" + freeAddress(t)
	cmd := exec.Command("embed")
	cmd.Dir = t.TempDir()
	cmd.Env = append(cmd.Environ(), "ISSUER="+issuer)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // it says that it was killed
	})
	awaitReady(t, issuer)

	for path, want := range map[string]string{
		"/hello":                            "hello",
		"/.well-known/openid-configuration": `"issuer":"` + issuer + `"`,
		"/dev/mailbox/messages.json":        "[]",
		"/oauth2/authorize?client_id=my-app&redirect_uri=http://localhost:3000/callback&response_type=code&scope=openid&state=some-state" +
			"&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256": `id="email"`,
	} {
		resp, err := http.Get(issuer + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("GET %s: %s, %v, without %q:\n%s", path, resp.Status, err, want, body)
		}
	}
}

// freeAddress returns a loopback host:port that nothing listens on. It is not on
// 127.0.0.1, so nobody else's ephemeral port takes it before it is used.
func freeAddress(t *testing.T) string {
	t.Helper()
	host := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func awaitReady(t *testing.T, issuer string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 12_000 {
		if resp, err := http.Get(issuer + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		<-tick.C
	}
	t.Fatal("not ready in a minute")
}

// TestREADME holds the README's Go against programs that compile: each block stands
// in one of them, line by line.
func TestREADME(t *testing.T) {
	readme := read(t, "../../README.md")
	programs := flat(read(t, "main.go")) + flat(read(t, "../../middleware/example_test.go"))
	blocks := strings.Split(readme, "```go\n")[1:]
	if len(blocks) < 3 {
		t.Fatalf("%d Go blocks in the README, want at least 3", len(blocks))
	}
	for _, block := range blocks {
		code, _, _ := strings.Cut(block, "```")
		if !strings.Contains(programs, flat(code)) {
			t.Errorf("this is in no program that compiles:\n%s", code)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// flat is text without its indentation.
func flat(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return b.String()
}

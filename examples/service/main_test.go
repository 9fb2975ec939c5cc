package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider"
)

const (
	audience = "https://reports.example"
	secret   = "a-client-secret-of-at-least-32-characters"
)

// TestMain lets the test start this binary as the real program.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"service": main})
}

func TestService(t *testing.T) {
	issuer := startProvider(t)
	service := startService(t, issuer)
	reader := token(t, issuer, "reader", "reports:read")
	writer := token(t, issuer, "reader", "reports:read reports:write")
	stranger := token(t, issuer, "stranger", "reports:read")

	for _, c := range []struct {
		name, method, path, token string
		status                    int
		challenge                 string // what WWW-Authenticate says
	}{
		{"open to all", "GET", "/healthz", "", 200, ""},
		{"any good token", "GET", "/me", reader, 200, ""},
		{"the scope", "GET", "/reports/may", reader, 200, ""},
		{"both scopes", "DELETE", "/reports/may", writer, 204, ""},
		{"no token", "GET", "/reports/may", "", 401, `Bearer resource_metadata="https://reports.example/.well-known/oauth-protected-resource"`},
		{"a forged token", "GET", "/reports/may", reader[:len(reader)-6] + "AAAAAA", 401, `error="invalid_token"`},
		{"a token for another service", "GET", "/reports/may", stranger, 401, `error="invalid_token"`},
		{"one scope too few", "DELETE", "/reports/may", reader, 403, `error="insufficient_scope"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, _ := call(t, c.method, service+c.path, c.token)
			challenge := resp.Header.Get("WWW-Authenticate")
			if resp.StatusCode != c.status || !strings.Contains(challenge, c.challenge) || (challenge == "") != (c.challenge == "") {
				t.Errorf("got %d, challenge %q; want %d, %q", resp.StatusCode, challenge, c.status, c.challenge)
			}
			if c.token == "" && strings.Contains(challenge, "error=") {
				t.Errorf("%q accuses a request without a token (RFC 6750 section 3.1)", challenge)
			}
			if c.status == http.StatusForbidden && !strings.Contains(challenge, `scope="reports:read reports:write"`) {
				t.Errorf("%q does not say which scopes it takes", challenge)
			}
		})
	}

	var me map[string]string
	_, body := call(t, "GET", service+"/me", reader)
	if err := json.Unmarshal(body, &me); err != nil {
		t.Fatal(err)
	}
	if me["subject"] != "client:reader" || me["client"] != "reader" || me["scope"] != "reports:read" {
		t.Errorf("me: %v", me)
	}
}

// startProvider runs a provider that mails nothing and listens on a free port.
func startProvider(t *testing.T) (issuer string) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	issuer = "http://" + server.Listener.Addr().String()
	machine := config.Client{
		ID: "reader", Secrets: []config.Secret{secret}, GrantTypes: []string{config.GrantClientCredentials},
		Scopes: []string{"reports:read", "reports:write"}, Audiences: []string{audience},
	}
	stranger := machine
	stranger.ID, stranger.Audiences = "stranger", []string{"https://other.example"}
	p, err := provider.New(config.Config{
		Issuer: issuer, DataDir: t.TempDir(), Clients: []config.Client{machine, stranger},
	}, provider.Deps{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = p
	server.Start()

	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- p.Run(ctx) }()
	t.Cleanup(func() {
		server.Close()
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 30_000 {
		if resp, _ := call(t, "GET", issuer+"/readyz", ""); resp.StatusCode == http.StatusOK {
			return issuer
		}
		<-tick.C
	}
	t.Fatal("the provider is not ready")
	return ""
}

// startService runs the real program until the test ends.
func startService(t *testing.T, issuer string) (address string) {
	t.Helper()
	cmd := exec.Command("service", "-issuer", issuer, "-audience", audience, "-addr", "127.0.0.1:0")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait() // it says that it was killed
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	address, _, _ = strings.Cut(line, " ")
	return address
}

// token gets an access token for a client itself, as any client would.
func token(t *testing.T, issuer, client, scope string) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {scope}}
	req, err := http.NewRequestWithContext(t.Context(), "POST", issuer+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(client, secret)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.AccessToken == "" {
		t.Fatalf("%s: no token (%v)", resp.Status, err)
	}
	return answer.AccessToken
}

func call(t *testing.T, method, url, token string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

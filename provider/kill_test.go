package provider_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider"
)

// serveEnv makes the test binary a server that can be killed: "address storage".
const serveEnv = "LETTERGATE_TEST_SERVE"

func TestMain(m *testing.M) {
	if spec := os.Getenv(serveEnv); spec != "" {
		if err := serveUntilKilled(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	os.Exit(runTests(m))
}

// runTests runs them with the servers of the engine under test.
func runTests(m *testing.M) int {
	defer running.close()
	if err := startServers(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func serveUntilKilled(spec string) error {
	addr, at, _ := strings.Cut(spec, " ")
	cfg := testConfig("http://" + addr)
	cfg.Limits.TriesPerSource = 1_000_000 // all of them are one source
	var err error
	if cfg.Storage, err = storageFromJSON(at); err != nil {
		return err
	}
	p, err := provider.New(cfg, provider.Deps{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() { failed <- http.Serve(listener, p) }()
	go func() { failed <- p.Run(context.Background()) }()
	return <-failed
}

// A victim is a server process that is killed and started again.
type victim struct {
	t      *testing.T
	addr   string
	at     config.Storage
	cmd    *exec.Cmd
	stderr bytes.Buffer
	client *http.Client
}

func newVictim(t *testing.T) *victim {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return &victim{t: t, addr: l.Addr().String(), at: emptyStorage(t), client: &http.Client{Timeout: 20 * time.Second}}
}

func (v *victim) start() {
	v.t.Helper()
	v.stderr.Reset()
	v.cmd = exec.Command(os.Args[0])
	v.cmd.Env = append(os.Environ(), serveEnv+"="+v.addr+" "+storageJSON(v.at))
	v.cmd.Stderr = &v.stderr
	if err := v.cmd.Start(); err != nil {
		v.t.Fatal(err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 4000 {
		if resp, err := v.client.Get("http://" + v.addr + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		<-tick.C
	}
	v.cmd.Process.Kill()
	v.cmd.Wait()
	v.t.Fatalf("not ready in 20 s:\n%s", v.stderr.String())
}

// kill ends the process as a power switch would end the program: no handler runs.
func (v *victim) kill() {
	v.cmd.Process.Kill() // SIGKILL
	v.cmd.Wait()
	v.client.CloseIdleConnections()
}

var errDown = errors.New("the server is gone")

// ask posts a form. errDown means that no answer came: nothing was acknowledged.
func (v *victim) ask(path string, pairs ...string) (int, map[string]any, error) {
	resp, err := v.client.PostForm("http://"+v.addr+path, values(pairs...))
	if err != nil {
		return 0, nil, errDown
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, errDown
	}
	var m map[string]any
	if err := json.Unmarshal(body, &m); err != nil {
		return 0, nil, fmt.Errorf("%s: status %d, not JSON: %q", path, resp.StatusCode, body)
	}
	return resp.StatusCode, m, nil
}

var codeInMail = regexp.MustCompile(`(?m)^\s*(\d{6})\s*$`)

// code reads the newest code for the address from the development mailbox.
func (v *victim) code(address string) (string, error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 4000 {
		resp, err := v.client.Get("http://" + v.addr + "/dev/mailbox/messages.json")
		if err != nil {
			return "", errDown
		}
		var mails []struct{ To, Text string }
		err = json.NewDecoder(resp.Body).Decode(&mails)
		resp.Body.Close()
		if err != nil {
			return "", errDown
		}
		for _, m := range mails {
			if match := codeInMail.FindStringSubmatch(m.Text); m.To == address && match != nil {
				return match[1], nil
			}
		}
		<-tick.C
	}
	return "", fmt.Errorf("no mail to %s in 20 s", address)
}

// signUp signs an address in, up if it is new, and returns the token response.
func (v *victim) signUp(address string) (map[string]any, error) {
	status, started, err := v.ask("/oauth2/verification", "client_id", nativeID, "email", address, "scope", "openid email offline_access")
	if err != nil || status != http.StatusOK {
		return nil, orStatus(err, status, started)
	}
	code, err := v.code(address)
	if err != nil {
		return nil, err
	}
	status, tokens, err := v.ask("/oauth2/token", "grant_type", config.GrantEmailCaptcha, "client_id", nativeID,
		"verification_id", started["verification_id"].(string), "verification_code", code)
	if err != nil || status != http.StatusOK {
		return nil, orStatus(err, status, tokens)
	}
	return tokens, nil
}

func (v *victim) refresh(token string) (map[string]any, error) {
	status, tokens, err := v.ask("/oauth2/token", "grant_type", "refresh_token", "client_id", nativeID, "refresh_token", token)
	if err != nil || status != http.StatusOK {
		return nil, orStatus(err, status, tokens)
	}
	return tokens, nil
}

func orStatus(err error, status int, body map[string]any) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("status %d: %v", status, body)
}

// A ledger is what the server has acknowledged.
type ledger struct {
	mu      sync.Mutex
	tried   []string
	subject map[string]string // by address
	refresh map[string]string // the newest refresh token received, by address
}

func (l *ledger) note(address string, tokens map[string]any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if sub := subjectOf(tokens["access_token"].(string)); l.subject[address] == "" {
		l.subject[address] = sub
	}
	l.refresh[address] = tokens["refresh_token"].(string)
}

// load signs up new addresses and refreshes their tokens until the server is gone.
func (v *victim) load(round, worker int, l *ledger) error {
	for n := 0; ; n++ {
		address := fmt.Sprintf("r%d-w%d-n%d@example.com", round, worker, n)
		l.mu.Lock()
		l.tried = append(l.tried, address)
		l.mu.Unlock()
		tokens, err := v.signUp(address)
		for err == nil {
			l.note(address, tokens)
			if rand.N(2) == 0 {
				break
			}
			tokens, err = v.refresh(tokens["refresh_token"].(string))
		}
		if errors.Is(err, errDown) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", address, err)
		}
	}
}

// TestKill kills the server at random moments under load. Whatever it had
// acknowledged is there when it comes back, and no address is stuck.
func TestKill(t *testing.T) {
	v := newVictim(t)
	l := &ledger{subject: map[string]string{}, refresh: map[string]string{}}
	v.start()
	t.Cleanup(func() { v.kill() })
	for round := range kills {
		const workers = 4
		failed := make(chan error, workers)
		for worker := range workers {
			go func() { failed <- v.load(round, worker, l) }()
		}
		<-time.After(20*time.Millisecond + rand.N(400*time.Millisecond))
		v.kill()
		for range workers {
			if err := <-failed; err != nil {
				t.Fatalf("round %d, before the kill: %v", round, err)
			}
		}
		v.start()
		v.check(l)
		if t.Failed() {
			t.Fatalf("round %d\n%s", round, v.stderr.String())
		}
	}
	if len(l.subject) < kills {
		t.Fatalf("only %d sign-ups were acknowledged in %d rounds: the load does not work", len(l.subject), kills)
	}
	t.Logf("%d kills, %d addresses tried, %d sign-ups acknowledged", kills, len(l.tried), len(l.subject))
}

// check holds the ledger against the server, then forgets it.
func (v *victim) check(l *ledger) {
	v.t.Helper()
	for address, token := range l.refresh {
		tokens, err := v.refresh(token)
		if err != nil {
			v.t.Errorf("%s: its acknowledged refresh token: %v", address, err)
			continue
		}
		if got := subjectOf(tokens["access_token"].(string)); got != l.subject[address] {
			v.t.Errorf("%s: was %s, is %s", address, l.subject[address], got)
		}
	}
	// The newest address of each worker is the one that was cut off.
	for _, address := range l.tried[max(0, len(l.tried)-8):] {
		tokens, err := v.signUp(address)
		if err != nil {
			v.t.Errorf("%s is stuck: %v", address, err)
			continue
		}
		if want := l.subject[address]; want != "" && subjectOf(tokens["access_token"].(string)) != want {
			v.t.Errorf("%s: another account than was acknowledged", address)
		}
	}
	clear(l.refresh)
}

// subjectOf reads the subject of a JWT without verifying it.
func subjectOf(token string) string {
	var claims struct {
		Subject string `json:"sub"`
	}
	payload := strings.Split(token, ".")[1]
	if err := json.NewDecoder(base64Reader(payload)).Decode(&claims); err != nil {
		return "unreadable: " + err.Error()
	}
	return claims.Subject
}

func base64Reader(s string) io.Reader {
	return base64.NewDecoder(base64.RawURLEncoding, strings.NewReader(s))
}

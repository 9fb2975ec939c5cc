package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A process is a running server with one request that is not sent to its end.
type process struct {
	t       *testing.T
	cmd     *exec.Cmd
	address string
	log     bytes.Buffer // read it after Wait only
	conn    net.Conn
	answers *bufio.Reader
}

// A request that needs the store, before and after its handler waits for the body.
const (
	theRest    = "client_id=native&email=ann%40example.com"
	unfinished = "POST /oauth2/verification HTTP/1.1\r\nHost: lettergate\r\nContent-Type: application/x-www-form-urlencoded\r\n" +
		"Content-Length: 40\r\nExpect: 100-continue\r\n\r\n"
)

// startBusy starts the real program and begins a request that its handler then
// waits in for the body.
func startBusy(t *testing.T) *process {
	t.Helper()
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, address: address, cmd: exec.Command("lettergate", "serve")}
	p.cmd.Dir = t.TempDir()
	p.cmd.Env = append(p.cmd.Environ(), "LETTERGATE_ISSUER=http://"+address, "LETTERGATE_CLIENTS_0_CLIENT_ID=native",
		"LETTERGATE_CLIENTS_0_GRANT_TYPES=urn:lettergate:params:oauth:grant-type:email-captcha")
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	if err := awaitReady("http://" + address + "/readyz"); err != nil {
		t.Fatal(err)
	}
	if p.conn, err = net.Dial("tcp", address); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.conn.Close() })
	p.conn.SetDeadline(time.Now().Add(time.Minute))
	p.answers = bufio.NewReader(p.conn)
	io.WriteString(p.conn, unfinished)
	// The server says so when a handler reads.
	if line, err := p.answers.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("got %q, %v; want 100 Continue", line, err)
	}
	if line, err := p.answers.ReadString('\n'); err != nil || line != "\r\n" {
		t.Fatalf("got %q, %v; want an empty line", line, err)
	}
	return p
}

// terminate sends SIGTERM and waits until nobody can connect any more.
func (p *process) terminate() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 30_000 {
		conn, err := net.Dial("tcp", p.address)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err == nil {
			conn.Close()
		}
		<-tick.C
	}
	p.t.Fatal("still accepts connections after SIGTERM")
}

func TestRequestsInFlightAreFinished(t *testing.T) {
	p := startBusy(t)
	p.terminate()

	io.WriteString(p.conn, theRest)
	resp, err := http.ReadResponse(p.answers, nil)
	if err != nil {
		t.Fatalf("the request that had begun was cut off: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(`"verification_id"`)) {
		t.Errorf("got %s %s, %v; want a verification", resp.Status, body, err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%v, want exit status 0\n%s", err, p.log.String())
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	p := startBusy(t)
	p.terminate()

	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	err := p.cmd.Wait()
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGTERM {
		t.Errorf("ended with %v, want by the second SIGTERM", err)
	}
	// Without the second signal it would wait for the request, which times out
	// after 10 s.
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the tests start this binary as the real program.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"quickstart": main})
}

// A quickstart is the real program, running.
type quickstart struct {
	t           *testing.T
	tour        string // what it printed
	issuer, app string // the URLs that it printed
}

var (
	printedApp     = regexp.MustCompile(`(?m)^ *app +(\S+)`)
	printedMailbox = regexp.MustCompile(`(?m)^ *mailbox +(\S+)/dev/mailbox `)
)

// start runs the program until the test ends, which has to end it well, and waits
// until it is ready.
func start(t *testing.T) *quickstart {
	t.Helper()
	cmd := exec.Command("quickstart", "-issuer-addr", "localhost:0", "-app-addr", "localhost:0", "-data", t.TempDir())
	var log bytes.Buffer
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("after an interrupt: %v", err)
		}
		if t.Failed() || strings.Contains(log.String(), "level=ERROR") {
			t.Errorf("its log:\n%s", log.String())
		}
	})
	q := &quickstart{t: t, tour: readTour(stdout)}
	app, mailbox := printedApp.FindStringSubmatch(q.tour), printedMailbox.FindStringSubmatch(q.tour)
	if app == nil || mailbox == nil {
		t.Fatalf("no addresses in what it printed:\n%s", q.tour)
	}
	q.app, q.issuer = app[1], mailbox[1]
	q.await("the provider to be ready", func() bool { return q.get(q.issuer+"/readyz", "").status == http.StatusOK })
	return q
}

// readTour reads up to the last line of the tour, or all there is.
func readTour(stdout io.Reader) string {
	var tour strings.Builder
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		tour.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "Stop with ") {
			break
		}
	}
	return tour.String()
}

// TestAddressTaken: it says which address is taken, and how to choose another.
func TestAddressTaken(t *testing.T) {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct{ flag, other string }{{"-issuer-addr", "-app-addr"}, {"-app-addr", "-issuer-addr"}} {
		out, err := exec.CommandContext(t.Context(), "quickstart", c.flag, l.Addr().String(), c.other, "localhost:0", "-data", t.TempDir()).CombinedOutput()
		if err == nil || !strings.Contains(string(out), l.Addr().String()) || !strings.Contains(string(out), "choose another with "+c.flag) {
			t.Errorf("%s: %v, %s", c.flag, err, out)
		}
	}
}

// await waits until something has come about.
func (q *quickstart) await(what string, done func() bool) {
	q.t.Helper()
	ctx, cancel := context.WithTimeout(q.t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			q.t.Fatalf("waited a minute for %s", what)
		}
	}
}

// An answer is what came back, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// json decodes the answer, which has to be JSON.
func (a answer) json(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		t.Fatalf("status %d: %v\n%s", a.status, err, a.body)
	}
}

// get asks for a URL, with an access token unless it is empty.
func (q *quickstart) get(url, token string) answer {
	q.t.Helper()
	return q.do(http.MethodGet, url, token, "")
}

func (q *quickstart) do(method, url, token, body string) answer {
	q.t.Helper()
	req, err := http.NewRequestWithContext(q.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		q.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	return read(q.t, resp, err)
}

// form posts a form to the issuer; pairs are names and values.
func (q *quickstart) form(path string, pairs ...string) answer {
	q.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	resp, err := http.PostForm(q.issuer+path, form)
	return read(q.t, resp, err)
}

func read(t *testing.T, resp *http.Response, err error) answer {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

// A message is one mail of /dev/mailbox/messages.json.
type message struct {
	To         string    `json:"to"`
	Subject    string    `json:"subject"`
	Text       string    `json:"text"`
	HTML       string    `json:"html"`
	ReceivedAt time.Time `json:"received_at"`
}

// messages are the mails in the mailbox, newest first.
func (q *quickstart) messages() (list []message) {
	q.t.Helper()
	q.get(q.issuer+"/dev/mailbox/messages.json", "").json(q.t, &list)
	return list
}

var codeLine = regexp.MustCompile(`(?m)^ *([0-9]{6,10})$`)

// code waits for the n-th mail to an address, from 1, and returns the code in it.
func (q *quickstart) code(to string, n int) string {
	q.t.Helper()
	var mails []message
	q.await(fmt.Sprintf("mail %d to %s", n, to), func() bool {
		mails = slices.DeleteFunc(q.messages(), func(m message) bool { return m.To != to })
		return len(mails) >= n
	})
	found := codeLine.FindStringSubmatch(mails[len(mails)-n].Text)
	if found == nil {
		q.t.Fatalf("no code in this mail:\n%s", mails[len(mails)-n].Text)
	}
	return found[1]
}

// tokens is what the token endpoint answers.
type tokens struct {
	Access    string `json:"access_token"`
	Refresh   string `json:"refresh_token"`
	ID        string `json:"id_token"`
	Type      string `json:"token_type"`
	Scope     string `json:"scope"`
	ExpiresIn int    `json:"expires_in"`
}

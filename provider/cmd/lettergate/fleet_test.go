package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider/mail/mailtest"
)

// replicas is how many processes a fleet has, and anywhere asks whichever is next.
const (
	replicas = 3
	anywhere = -1
)

// A fleet is replicas of the real program on one store, behind a proxy that sends each
// request to the next of them, whoever asks: what a replica has in its memory is of no
// use to the next request.
type fleet struct {
	t        *testing.T
	issuer   string
	replicas []*replica
	mails    *mailtest.Server
	client   *http.Client // without cookies; follows no redirect
	turn     atomic.Uint64
	outages  atomic.Int64 // that racers were told of

	mu   sync.Mutex
	read map[string]int // how many mails to an address were read
}

// A replica is one process.
type replica struct {
	name    string
	address string
	dir     string
	cmd     *exec.Cmd
	done    chan struct{} // closed when the process has ended
	log     *logBuffer
	out     atomic.Bool // the proxy has found that it does not answer
}

// A logBuffer can be read while a process writes to it.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const fleetConfig = `
issuer: %s
secrets: [{id: test, value: a secret of at least thirty-two bytes}]
trusted_proxies: ["127.0.0.0/8"]
mail: {host: %s, port: %d, insecure_plaintext: true}
limits: {tries_per_source: 1000000}
clients:
  - client_id: web
    first_party: true
    sign_up: true
    grant_types: [authorization_code, refresh_token]
    redirect_uris: ["https://app.example/callback"]
    post_logout_redirect_uris: ["https://app.example/bye"]
    scopes: [openid, email, offline_access]
    audiences: ["https://api.example"]
  - client_id: native
    first_party: true
    sign_up: true
    grant_types: [urn:lettergate:params:oauth:grant-type:email-captcha, refresh_token]
    scopes: [openid, email, offline_access]
    audiences: ["https://api.example"]
`

// startFleet starts the replicas at the same time and waits until all are ready. They
// end with the test, and then have logged no error.
func startFleet(t *testing.T, at config.Storage) *fleet {
	t.Helper()
	f := &fleet{t: t, read: map[string]int{}, mails: mailtest.NewServer(t, mailtest.ServerConfig{NoSTARTTLS: true})}
	front := httptest.NewServer(f.proxy())
	t.Cleanup(front.Close)
	f.issuer = front.URL
	f.client = &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 100},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       20 * time.Second,
	}
	t.Cleanup(f.client.CloseIdleConnections)
	file := filepath.Join(t.TempDir(), "lettergate.yaml")
	text := fmt.Sprintf(fleetConfig, f.issuer, f.mails.Host, f.mails.Port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range replicas {
		f.replicas = append(f.replicas, newReplica(t, i, file, at))
	}
	t.Cleanup(func() { f.end(t) })
	for _, r := range f.replicas {
		r.start(t)
	}
	for _, r := range f.replicas {
		r.awaitReady(t)
	}
	return f
}

func newReplica(t *testing.T, i int, file string, at config.Storage) *replica {
	t.Helper()
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	r := &replica{name: fmt.Sprint(i), address: address, dir: t.TempDir(), done: make(chan struct{}), log: &logBuffer{}}
	r.cmd = exec.Command("lettergate", "serve", "--config", file)
	r.cmd.Dir, r.cmd.Stderr = r.dir, r.log
	r.cmd.Env = append(r.cmd.Environ(), "LETTERGATE_LISTEN="+address, "LETTERGATE_STORAGE_URL="+at.URL.Reveal(),
		"GORACE=atexit_sleep_ms=0") // under the race detector, it would end a second later
	if at.AccountsURL != "" {
		r.cmd.Env = append(r.cmd.Env, "LETTERGATE_STORAGE_ACCOUNTS_URL="+at.AccountsURL.Reveal())
	}
	return r
}

func (r *replica) start(t *testing.T) {
	t.Helper()
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		r.cmd.Wait()
		close(r.done)
	}()
}

func (r *replica) awaitReady(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 6000 {
		if resp, err := http.Get("http://" + r.address + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-tick.C:
		case <-r.done:
			t.Fatalf("replica %s ended: %v\n%s", r.name, r.cmd.ProcessState, r.log)
		}
	}
	t.Fatalf("replica %s is not ready in 30 s\n%s", r.name, r.log)
}

// end ends the replicas as an operator does and looks at what they have left behind.
func (f *fleet) end(t *testing.T) {
	t.Helper()
	for _, r := range f.replicas {
		if r.cmd.Process != nil {
			r.cmd.Process.Signal(syscall.SIGTERM) // which fails when it has ended
		}
	}
	for _, r := range f.replicas {
		if r.cmd.Process != nil {
			r.ended(t, f.outages.Load() > 0)
		}
	}
	if n := f.outages.Load(); n > racers {
		t.Errorf("%d requests were told of an outage", n)
	} else if n > 0 {
		t.Logf("%d requests were told of an outage: the machine is busy", n)
	}
}

// ended waits for the end of a process that was told to end. One that a test has killed
// may have left anything but an error. outages are whether there were any.
func (r *replica) ended(t *testing.T, outages bool) {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(30 * time.Second):
		r.cmd.Process.Kill()
		<-r.done
		t.Errorf("replica %s does not end", r.name)
	}
	status, ok := r.cmd.ProcessState.Sys().(syscall.WaitStatus)
	killed := ok && status.Signal() == syscall.SIGKILL
	if code := r.cmd.ProcessState.ExitCode(); code != 0 && !killed {
		t.Errorf("replica %s: exit status %d", r.name, code)
	}
	for line := range strings.Lines(r.log.String()) {
		wrong := strings.Contains(line, "level=ERROR") && !(outages && strings.Contains(line, "temporarily_unavailable"))
		if wrong || strings.Contains(line, "DATA RACE") || strings.Contains(line, "panic") {
			t.Errorf("replica %s logged %s:\n%s", r.name, line, r.log)
			break
		}
	}
	if left, err := os.ReadDir(r.dir); err != nil || len(left) > 0 {
		t.Errorf("replica %s keeps files of its own: %v %v", r.name, left, err)
	}
}

type chosenKey struct{}

func chosen(r *http.Request) *replica {
	c, _ := r.Context().Value(chosenKey{}).(*replica)
	return c
}

// proxy is the one way to the replicas. X-Replica in a request asks for one of them,
// and in an answer says whose it is.
func (f *fleet) proxy() http.Handler {
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	f.t.Cleanup(transport.CloseIdleConnections)
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", chosen(r.In).address, r.In.Host
			r.SetXForwarded()
		},
		ModifyResponse: func(resp *http.Response) error {
			resp.Header.Set("X-Replica", chosen(resp.Request).name)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, _ error) {
			chosen(r).out.Store(true)
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := f.pick(r.Header.Get("X-Replica"))
		defer func() {
			if fault := recover(); fault != nil { // an answer that was cut off
				to.out.Store(true)
				panic(fault)
			}
		}()
		proxy.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), chosenKey{}, to)))
	})
}

// pick is the replica that was asked for or, when none was or it does not answer, the
// next one that does.
func (f *fleet) pick(name string) *replica {
	turn := int(f.turn.Add(1))
	var next *replica
	for i := range replicas {
		r := f.replicas[(turn+i)%replicas]
		if r.out.Load() {
			continue
		}
		if r.name == name {
			return r
		}
		if next == nil {
			next = r
		}
	}
	if next == nil {
		next = f.replicas[0]
	}
	return next
}

// A reply is what came back. Its status is 0 when nothing did.
type reply struct {
	status int
	header http.Header
	body   string
}

// lost reports whether the replica that was asked gave no answer.
func (r reply) lost() bool { return r.status == 0 || r.status == http.StatusBadGateway }

func (r reply) from() string { return r.header.Get("X-Replica") }

// value is a member of a JSON answer, "" if there is none.
func (r reply) value(name string) string {
	var all map[string]any
	if json.Unmarshal([]byte(r.body), &all) != nil {
		return ""
	}
	v, _ := all[name].(string)
	return v
}

// is fails the test unless the reply has the status, and the error if that is not "".
func (r reply) is(t *testing.T, what string, status int, code string) {
	t.Helper()
	if r.status != status || r.value("error") != code {
		t.Fatalf("%s: %d %.300s from replica %s, want %d %s", what, r.status, r.body, r.from(), status, code)
	}
}

func (f *fleet) do(client *http.Client, at int, req *http.Request) reply {
	if at != anywhere {
		req.Header.Set("X-Replica", fmt.Sprint(at))
	}
	resp, err := client.Do(req)
	if err != nil {
		return reply{body: err.Error()}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{body: err.Error()}
	}
	return reply{resp.StatusCode, resp.Header, string(body)}
}

func (f *fleet) request(method, target, body string) *http.Request {
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		panic(err) // a target of our own making
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req
}

// post sends a form as a program does; pairs are names and values.
func (f *fleet) post(at int, path string, pairs ...string) reply {
	return f.do(f.client, at, f.request("POST", f.issuer+path, form(pairs...).Encode()))
}

// userinfo asks with an access token.
func (f *fleet) userinfo(at int, token string) reply {
	req := f.request("GET", f.issuer+"/oauth2/userinfo", "")
	req.Header.Set("Authorization", "Bearer "+token)
	return f.do(f.client, at, req)
}

func form(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

// mailedCode is the line of a mail with the code.
var mailedCode = regexp.MustCompile(`(?m)^[ \t]*([0-9]{6})[ \t]*\r?$`)

// code waits for a mail to the address that was not read yet, whichever replica sends
// it, and returns its code, or "" when none comes within the time.
func (f *fleet) code(address string, within time.Duration) string {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(within)
	for {
		if code := f.unread(address); code != "" {
			return code
		}
		select {
		case <-tick.C:
		case <-deadline:
			return ""
		}
	}
}

func (f *fleet) unread(address string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, m := range f.mails.Mails() {
		if !strings.Contains(m.To, "<"+address+">") {
			continue
		}
		if n++; n <= f.read[address] {
			continue
		}
		if match := mailedCode.FindSubmatch(m.Raw); match != nil {
			f.read[address] = n
			return string(match[1])
		}
	}
	return ""
}

// A visitor is a browser that goes through the proxy, whose every request is answered
// by another replica.
type visitor struct {
	f      *fleet
	client *http.Client
	by     []string // who answered, in order
}

func (f *fleet) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // New has no error without options
	}
	client := *f.client
	client.Jar = jar
	return &visitor{f: f, client: &client}
}

// copy is a browser with the same cookies.
func (v *visitor) copy() *visitor {
	other := v.f.visitor()
	issuer, err := url.Parse(v.f.issuer)
	if err != nil {
		panic(err) // of a server of our own
	}
	other.client.Jar.SetCookies(issuer, v.client.Jar.Cookies(issuer))
	return other
}

// send sends a request and follows redirects, but not away from the issuer.
func (v *visitor) send(at int, req *http.Request) reply {
	for range 10 {
		r := v.f.do(v.client, at, req)
		v.by = append(v.by, r.from())
		location := r.header.Get("Location")
		if r.status != http.StatusSeeOther {
			return r
		}
		target, err := req.URL.Parse(location)
		if err != nil || !strings.HasPrefix(target.String(), v.f.issuer+"/") {
			return r
		}
		req = v.f.request("GET", target.String(), "")
	}
	return reply{body: "redirected again and again"}
}

func (v *visitor) open(at int, path string) reply {
	return v.send(at, v.f.request("GET", v.f.issuer+path, ""))
}

// submit sends the form of a page that has the element, with pairs set over its values.
func (v *visitor) submit(at int, page reply, element string, pairs ...string) reply {
	action, values := pageForm(page.body, element)
	for i := 0; i < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	req := v.f.request("POST", v.f.issuer+action, values.Encode())
	req.Header.Set("Origin", "null")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	return v.send(at, req)
}

// pageForm returns action and values of the form that has the element, or nothing.
func pageForm(page, element string) (action string, values url.Values) {
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return "", url.Values{}
	}
	attr := func(n *html.Node, name string) string {
		for _, a := range n.Attr {
			if a.Key == name {
				return a.Val
			}
		}
		return ""
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" {
			continue
		}
		values, found := url.Values{}, false
		for c := range n.Descendants() {
			found = found || attr(c, "id") == element
			if c.Data == "input" && attr(c, "name") != "" {
				values.Set(attr(c, "name"), attr(c, "value"))
			}
		}
		if found {
			return attr(n, "action"), values
		}
	}
	return "", url.Values{}
}

package devbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lettergate/lettergate/provider/mail"
	"github.com/lettergate/lettergate/provider/mail/devbox"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func newBox(t *testing.T, max int) *devbox.Box {
	t.Helper()
	b, err := devbox.New(devbox.Config{Prefix: "/dev/mailbox", MaxMessages: max, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func send(t *testing.T, b *devbox.Box, m mail.Message) {
	t.Helper()
	if err := b.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func get(b *devbox.Box, target string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, "http://localhost:8080"+target, nil)
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	_, content, _ := strings.Cut(b.String(), "\r\n\r\n")
	return content
}

func TestJSON(t *testing.T) {
	b := newBox(t, 0)
	if got := body(t, get(b, "/dev/mailbox/messages.json")); got != "[]\n" {
		t.Errorf("an empty box is %q", got)
	}
	send(t, b, mail.Message{To: "kim@example.com", Subject: "first", Text: "a"})
	send(t, b, mail.Message{To: "kim@example.com", Subject: "second", Text: "b", HTML: "<p>b"})
	r := get(b, "/dev/mailbox/messages.json")
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	var got []map[string]string
	if err := json.Unmarshal([]byte(body(t, r)), &got); err != nil {
		t.Fatal(err)
	}
	want := []map[string]string{
		{"to": "kim@example.com", "subject": "second", "text": "b", "html": "<p>b", "received_at": "2026-11-22T12:00:00Z"},
		{"to": "kim@example.com", "subject": "first", "text": "a", "html": "", "received_at": "2026-11-22T12:00:00Z"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestKeepsTheNewest(t *testing.T) {
	for max, kept := range map[int]int{0: 200, 3: 3} {
		b := newBox(t, max)
		for i := range 250 {
			send(t, b, mail.Message{To: "kim@example.com", Subject: fmt.Sprintf("mail %d", i)})
		}
		var got []map[string]string
		if err := json.Unmarshal([]byte(body(t, get(b, "/dev/mailbox/messages.json"))), &got); err != nil {
			t.Fatal(err)
		}
		if len(got) != kept || got[0]["subject"] != "mail 249" || got[kept-1]["subject"] != fmt.Sprintf("mail %d", 250-kept) {
			t.Errorf("%d kept, from %q", len(got), got[0]["subject"])
		}
		if r := get(b, "/dev/mailbox?mail=1"); r.StatusCode != http.StatusNotFound || !strings.Contains(body(t, r), "no longer here") {
			t.Errorf("a forgotten mail: %d", r.StatusCode)
		}
	}
}

// A click on the list's newest entry leads to that mail.
func TestListLeadsToMail(t *testing.T) {
	b := newBox(t, 0)
	if page := body(t, get(b, "/dev/mailbox")); !strings.Contains(page, "No mail yet") {
		t.Errorf("an empty box is\n%s", page)
	}
	send(t, b, mail.Message{To: "eve@example.com", Subject: "older", Text: "older text"})
	send(t, b, mail.Message{To: "kim@example.com", Subject: "newer", Text: "newer text"})
	page := body(t, get(b, "/dev/mailbox"))
	links := regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(links) != 2 {
		t.Fatalf("links %q in\n%s", links, page)
	}
	shown := body(t, get(b, html.UnescapeString(links[0][1])))
	if !strings.Contains(shown, "newer text") || strings.Contains(shown, "older") {
		t.Errorf("the first link leads to\n%s", shown)
	}
}

// What a mail holds stays text, and its HTML stays in the frame.
func TestHostileMail(t *testing.T) {
	attack := `"></pre></iframe><script>alert(1)</script><img src=x onerror=alert(2)>`
	b := newBox(t, 0)
	send(t, b, mail.Message{To: "kim@example.com", Subject: attack, Text: attack, HTML: attack})
	for _, target := range []string{"/dev/mailbox", "/dev/mailbox?mail=1"} {
		r := get(b, target)
		page := body(t, r)
		if regexp.MustCompile(`(?i)<script|<img|onerror=[^&]*>`).MatchString(page) {
			t.Errorf("%s has the attack in\n%s", target, page)
		}
		if got := strings.Count(page, "<iframe"); got != strings.Count(target, "mail=") {
			t.Errorf("%s has %d frames", target, got)
		}
	}
	frame := regexp.MustCompile(`<iframe sandbox title="[^"]*" srcdoc="([^"]*)"></iframe>`).FindStringSubmatch(body(t, get(b, "/dev/mailbox?mail=1")))
	if frame == nil || html.UnescapeString(frame[1]) != attack {
		t.Errorf("the frame shows %q", frame)
	}
}

func TestHeaders(t *testing.T) {
	b := newBox(t, 0)
	for _, target := range []string{"/dev/mailbox", "/dev/mailbox/", "/dev/mailbox/messages.json", "/dev/mailbox?mail=7", "/elsewhere"} {
		r := get(b, target)
		policy := r.Header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: the policy %q lacks %s", target, policy, want)
			}
		}
		if strings.Contains(policy, "script-src") || r.Header.Get("Cache-Control") != "no-store" ||
			r.Header.Get("X-Content-Type-Options") != "nosniff" || r.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: header %v", target, r.Header)
		}
	}
}

func TestOnlyLoopbackHosts(t *testing.T) {
	b := newBox(t, 0)
	send(t, b, mail.Message{To: "kim@example.com", Subject: "secret", Text: "secret"})
	for host, want := range map[string]int{
		"localhost": 200, "localhost:8080": 200, "LocalHost.:80": 200, "id.localhost:8080": 200,
		"127.0.0.1": 200, "127.9.9.9:1": 200, "[::1]:8080": 200, "[::1]": 200, "[::ffff:127.0.0.1]:80": 200,
		"": 403, "evil.example": 403, "localhost.evil.example": 403, "evil.example:8080": 403, "notlocalhost": 403,
		"10.0.0.1": 403, "[::2]:80": 403, "0.0.0.0": 403, "127.0.0.1.evil.example": 403, "127.0.0.1@evil.example": 403,
		"localhost:80@evil.example": 403, "0177.0.0.1": 403,
	} {
		for _, path := range []string{"/dev/mailbox", "/dev/mailbox/messages.json"} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Host = host
			w := httptest.NewRecorder()
			b.ServeHTTP(w, r)
			if w.Code != want || strings.Contains(w.Body.String(), "secret") != (want == 200) {
				t.Errorf("Host %q, %s: %d; want %d", host, path, w.Code, want)
			}
		}
	}
}

func TestMethodsAndPaths(t *testing.T) {
	b := newBox(t, 0)
	for target, want := range map[string]int{
		"GET /dev/mailbox": 200, "HEAD /dev/mailbox": 200, "GET /dev/mailbox/": 200, "POST /dev/mailbox": 405,
		"DELETE /dev/mailbox/messages.json": 405, "GET /dev/mailbox/x": 404, "GET /": 404, "GET /dev/mailbox?mail=x": 404,
		"GET /dev/mailbox?mail=-1": 404, "GET /dev/mailbox?mail=99999999999999999999": 404,
	} {
		method, path, _ := strings.Cut(target, " ")
		w := httptest.NewRecorder()
		b.ServeHTTP(w, httptest.NewRequest(method, "http://localhost"+path, nil))
		if w.Code != want {
			t.Errorf("%s: %d; want %d", target, w.Code, want)
		}
	}
}

func TestSendRefuses(t *testing.T) {
	b := newBox(t, 0)
	if err := b.Send(t.Context(), mail.Message{To: "nobody"}); !errors.Is(err, mail.ErrRejected) {
		t.Errorf("no address: %v; want ErrRejected", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Send(ctx, mail.Message{To: "kim@example.com"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, config := range []devbox.Config{{}, {Prefix: "/"}, {Prefix: "dev"}, {Prefix: "/dev/"}, {Prefix: "/a/../b"}, {Prefix: "/dev", MaxMessages: -1}} {
		if _, err := devbox.New(config); err == nil {
			t.Errorf("%+v: no error", config)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	b := newBox(t, 5)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { send(t, b, mail.Message{To: "kim@example.com", Subject: "x"}) })
		all.Go(func() { get(b, "/dev/mailbox") })
		all.Go(func() { get(b, "/dev/mailbox/messages.json") })
	}
	all.Wait()
}

var _ mail.Mailer = (*devbox.Box)(nil)

package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/mail/mailtest"
)

// A halfway is a flow whose last step is still to come.
type halfway struct {
	what   string
	finish func() error
}

func status(r reply) error {
	if r.status != http.StatusOK {
		return fmt.Errorf("%d %.300s", r.status, r.body)
	}
	return nil
}

func arrived(q url.Values) error {
	if q.Get("code") == "" {
		return fmt.Errorf("%v", q)
	}
	return nil
}

// begunAt are flows of every kind, all of which the replica has served last.
func (f *fleet) begunAt(t *testing.T, at int) []halfway {
	t.Helper()
	mailed, started := f.begin(at, "halfway@example.com")
	started.is(t, "start", http.StatusOK, "")
	mailedCode := f.code(mailed.address, 10*time.Second)

	page := f.visitor()
	asked := page.submit(at, page.open(at, authorizePath()), "email", "email", "page@example.com")
	asked = page.open(at, "/login/code?v="+url.QueryEscape(hidden(asked, "v")))
	typed := f.code("page@example.com", 10*time.Second)

	v, q := f.signedIn(t, "session@example.com")
	tokens := f.exchange(at, q.Get("code"))
	tokens.is(t, "code exchange", http.StatusOK, "")
	code := v.nextCode(at).Get("code")
	return []halfway{
		{"a mailed code", func() error { return status(mailed.redeem(mailedCode)) }},
		{"a page that asks for the code", func() error {
			return arrived(page.submit(anywhere, asked, "code", "code", typed).arrived())
		}},
		{"an authorization code", func() error { return status(f.exchange(anywhere, code)) }},
		{"a refresh token", func() error { return status(f.refresh(anywhere, "web", tokens.value("refresh_token"))) }},
		{"an access token", func() error { return status(f.userinfo(anywhere, tokens.value("access_token"))) }},
		{"a session", func() error { return arrived(v.nextCode(anywhere)) }},
	}
}

func hidden(page reply, name string) string {
	_, values := pageForm(page.body, "code")
	return values.Get(name)
}

// A traffic is what people do while a replica is killed.
type traffic struct {
	f    *fleet
	done atomic.Int64 // sign-ins that were completed
	stop atomic.Bool

	mu      sync.Mutex
	late    []verification // whose mail the killed replica was to send
	errs    []error
	retried int // requests that got no answer
	spent   int // codes that were spent by a request that got no answer
}

// survivesKill kills replica 0 under load. It returns what waits for a mail that only
// another replica can send.
func (f *fleet) survivesKill(t *testing.T) []verification {
	victim := f.replicas[0]
	flows := f.begunAt(t, 0)
	// A mail that was promised and is not out when the sender dies.
	f.mails.Fault(mailtest.OnConnect, mailtest.Fault{Hang: true})
	late, started := f.begin(0, "late@example.com")
	started.is(t, "start", http.StatusOK, "")
	await(t, "the mail is being sent", func() bool {
		talks := f.mails.Conversations()
		last := talks[len(talks)-1]
		return len(last.Commands) == 0 && len(last.Mails) == 0
	})
	f.mails.Fault(mailtest.OnConnect, mailtest.Fault{})

	const workers = 6
	l := &traffic{f: f}
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() { l.run(w) })
	}
	await(t, "the load runs", func() bool { return l.done.Load() >= 2*workers || l.failed() })
	if err := victim.cmd.Process.Signal(os.Kill); err != nil {
		t.Error(err)
	}
	<-victim.done
	atKill := l.done.Load()
	await(t, "the load runs on", func() bool { return l.done.Load() >= atKill+3*workers || l.failed() })
	l.stop.Store(true)
	running.Wait()

	if err := errors.Join(l.errs...); err != nil {
		t.Fatal(err)
	}
	if !victim.out.Load() {
		t.Error("nobody has noticed that a replica was killed: nothing was proved")
	}
	if l.retried > workers {
		t.Errorf("%d requests got no answer, and at most %d were under way", l.retried, workers)
	}
	for _, h := range flows {
		if err := h.finish(); err != nil {
			t.Errorf("%s of before the kill: %v", h.what, err)
		}
	}
	t.Logf("%d sign-ins before the kill, %d in all; %d requests without an answer, of which %d had spent a code; %d mails left",
		atKill, l.done.Load(), l.retried, l.spent, len(l.late))
	return append(l.late, late)
}

// await waits at most half a minute.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for range 15_000 {
		if is() {
			return
		}
		<-tick.C
	}
	t.Fatalf("%s: not in 30 s", what)
}

func (l *traffic) failed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.errs) > 0
}

func (l *traffic) run(worker int) {
	for n := 0; !l.stop.Load(); n++ {
		address := fmt.Sprintf("load%d-%d@example.com", worker, n)
		if err := l.signIn(address); err != nil {
			l.mu.Lock()
			l.errs = append(l.errs, fmt.Errorf("%s: %w", address, err))
			l.mu.Unlock()
			return
		}
	}
}

// signIn signs up and does what a signed-in client does. What got no answer is asked
// again, as it was.
func (l *traffic) signIn(address string) error {
	var v verification
	var started reply
	l.ask(func() reply {
		v, started = l.f.begin(anywhere, address)
		return started
	})
	if started.status != http.StatusOK {
		return fmt.Errorf("start: %w", status(started))
	}
	ofVictim := started.from() == l.f.replicas[0].name
	patience := 20 * time.Second
	if ofVictim {
		patience = 2 * time.Second
	}
	code := l.f.code(address, patience)
	if code == "" {
		if !ofVictim {
			return errors.New("no mail")
		}
		l.mu.Lock()
		l.late = append(l.late, v)
		l.mu.Unlock()
		return nil
	}
	tokens, lost := l.ask(func() reply { return v.redeem(code) })
	if lost && tokens.status == http.StatusBadRequest {
		// The one request that may not be repeated, cut off behind its decision.
		l.mu.Lock()
		l.spent++
		l.mu.Unlock()
		tokens = l.f.signUp(anywhere, address)
	}
	if err := status(tokens); err != nil {
		return fmt.Errorf("redeem: %w", err)
	}
	for range 3 {
		next, _ := l.ask(func() reply { return l.f.refresh(anywhere, "native", tokens.value("refresh_token")) })
		if err := status(next); err != nil {
			return fmt.Errorf("refresh: %w", err)
		}
		tokens = next
		info, _ := l.ask(func() reply { return l.f.userinfo(anywhere, tokens.value("access_token")) })
		if err := status(info); err != nil || !strings.EqualFold(info.value("email"), address) {
			return fmt.Errorf("userinfo: %w %s", err, info.body)
		}
	}
	l.done.Add(1)
	return nil
}

// ask repeats once what got no answer. lost is whether the first may have had an effect.
func (l *traffic) ask(request func() reply) (r reply, lost bool) {
	before := l.f.outages.Load()
	r = l.f.patient(request)
	if !r.lost() {
		return r, l.f.outages.Load() != before
	}
	l.mu.Lock()
	l.retried++
	l.mu.Unlock()
	return l.f.patient(request), true
}

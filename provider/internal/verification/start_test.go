package verification_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/internal/outbox"
	"github.com/lettergate/lettergate/provider/internal/verification"
	"github.com/lettergate/lettergate/provider/mail"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

func TestStartRefuses(t *testing.T) {
	w := newWorld(t, setup{})
	for name, change := range map[string]func(*verification.Request){
		"no client":           func(r *verification.Request) { r.ClientID = "" },
		"no address":          func(r *verification.Request) { r.Email = mail.Address{} },
		"unknown purpose":     func(r *verification.Request) { r.Purpose = "reset" },
		"short secret":        func(r *verification.Request) { r.Browser = []byte{} },
		"two bindings":        func(r *verification.Request) { r.Browser, r.Challenge = browser, challenge(verifier) },
		"short challenge":     func(r *verification.Request) { r.Challenge = challenge(verifier)[:42] },
		"challenge with junk": func(r *verification.Request) { r.Challenge = challenge(verifier)[:42] + "=" },
		"too much to keep":    func(r *verification.Request) { r.State = make([]byte, 64<<10+1) },
	} {
		r := verification.Request{ClientID: client, Email: address(t, "ann@example.com")}
		change(&r)
		if _, _, err := w.Start(t.Context(), r); !errors.Is(err, verification.ErrRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.start("ann@example.com", func(r *verification.Request) { r.State = make([]byte, 64<<10) })
}

func TestLoad(t *testing.T) {
	w := newWorld(t, setup{})
	s := w.start("Ann@example.com", inBrowser, func(r *verification.Request) {
		r.Scopes, r.State, r.Locale = []string{"openid"}, []byte("door"), "de"
	})
	begin := w.clock.Now()
	v := must(w.Load(t.Context(), s.ID, browser))(t)
	if v.ID != s.ID || v.Email != "Ann@example.com" || v.ClientID != client || v.ClientName != "The App" || v.Locale != "de" ||
		string(v.State) != "door" || v.Digits != 6 || v.Spent || v.Purpose != verification.SignIn ||
		!v.Expires.Equal(begin.Add(10*time.Minute)) || !v.ResendAt.Equal(begin.Add(30*time.Second)) {
		t.Errorf("the view is %+v", v)
	}
	w.wins(s.page())
	if v := must(w.Load(t.Context(), s.ID, browser))(t); !v.Spent || !v.ResendAt.IsZero() {
		t.Errorf("spent, the view is %+v", v)
	}
	unbound := w.start("ann@example.com")
	for name, c := range map[string]struct {
		id      string
		browser []byte
	}{
		"another browser":    {s.ID, []byte("another browser's secret.......!")},
		"no browser":         {s.ID, nil},
		"not of a browser":   {unbound.ID, browser},
		"not of no browser":  {unbound.ID, nil},
		"absent":             {strings.Repeat("A", 22), browser},
		"no id":              {"", browser},
		"a handle is no id":  {s.Handle, browser},
		"longer than a key ": {strings.Repeat("A", 5000), browser},
	} {
		if _, err := w.Load(t.Context(), c.id, c.browser); !errors.Is(err, verification.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := w.Resend(t.Context(), c.id, c.browser, home); !errors.Is(err, verification.ErrNotFound) {
			t.Errorf("resend, %s: %v", name, err)
		}
	}
	w.clock.advance(10 * time.Minute)
	if _, err := w.Load(t.Context(), s.ID, browser); !errors.Is(err, verification.ErrNotFound) {
		t.Errorf("expired: %v", err)
	}
}

// The same code up to five times, half a minute apart, each time as a new mail.
func TestResend(t *testing.T) {
	onStores(t, func(t *testing.T, w *world) {
		s := w.start("ann@example.com", inBrowser)
		for range 4 {
			w.clock.advance(29 * time.Second)
			if _, err := w.Resend(t.Context(), s.ID, browser, home); !errors.Is(err, verification.ErrNoResend) {
				t.Fatalf("too early: %v", err)
			}
			w.clock.advance(time.Second)
			w.out.Dispatch(must(w.Resend(t.Context(), s.ID, browser, home))(t))
			if c := w.code("ann@example.com"); c != s.Code {
				t.Fatal("another code was sent")
			}
		}
		w.clock.advance(time.Minute)
		if _, err := w.Resend(t.Context(), s.ID, browser, home); !errors.Is(err, verification.ErrNoResend) {
			t.Errorf("a sixth mail: %v", err)
		}
		ids := map[string]bool{}
		for _, m := range w.inbox.Messages() {
			ids[m.MessageID] = true
		}
		if len(ids) != 5 {
			t.Errorf("five mails had %d Message-IDs", len(ids))
		}
		w.wins(s.page())
		w.clock.advance(time.Minute)
		if _, err := w.Resend(t.Context(), s.ID, browser, home); !errors.Is(err, verification.ErrNoResend) {
			t.Errorf("of a spent code: %v", err)
		}
	})
}

// Twenty requests to send again at once send once.
func TestResendRace(t *testing.T) {
	w := newWorld(t, setup{})
	s := w.start("ann@example.com", inBrowser)
	w.clock.advance(time.Minute)
	var wg sync.WaitGroup
	var mu sync.Mutex
	sent := 0
	for range 20 {
		wg.Go(func() {
			_, err := w.Resend(t.Context(), s.ID, browser, home)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				sent++
			} else if !errors.Is(err, verification.ErrNoResend) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if sent != 1 {
		t.Errorf("sent %d times", sent)
	}
}

// The mail goes to the spelling that the account has, not to the one just typed.
func TestEC18(t *testing.T) {
	w := newWorld(t, setup{})
	w.wins(w.start("Ann@example.com").try())
	s := w.start("aNN@example.com")
	all := w.inbox.Messages()
	m := all[len(all)-1]
	if m.To != "Ann@example.com" {
		t.Errorf("sent to %q", m.To)
	}
	host := strings.TrimPrefix(issuer, "https://")
	if !strings.HasSuffix(m.MessageID, "@"+host) || strings.Contains(m.MessageID, s.ID) || strings.Contains(s.Handle, m.MessageID[:8]) {
		t.Errorf("Message-ID %q", m.MessageID)
	}
	if !m.Expires.Equal(w.clock.Now().Add(10*time.Minute)) || !strings.Contains(m.Text, "The App") || strings.Contains(m.Subject, s.Code) {
		t.Errorf("the mail is %+v", m)
	}
}

// Known, unknown and disabled addresses cost the same calls, at the start and at
// each wrong try, and trip the limit at the same one.
func TestEC25EC26(t *testing.T) {
	w := newWorld(t, setup{cfg: verification.Config{Development: true}})
	w.wins(w.start("known@example.com").try())
	u := w.wins(w.start("disabled@example.com").try()).User
	u.Disabled = true
	must(w.users.Update(t.Context(), u))(t)

	count := storetest.Count(w.store)
	process := w.beside(count) // its outbox does not run: the mail comes later for everybody
	costs := map[string][]int{}
	kinds := []string{"Get", "Put", "Delete", "List", "Add"}
	note := func(email string) {
		for _, kind := range kinds {
			costs[email] = append(costs[email], count.Calls(kind))
		}
		count.Reset()
	}
	emails := []string{"known@example.com", "unknown@example.com", "disabled@example.com"}
	for _, email := range emails {
		for range 3 {
			count.Reset()
			s, _, err := process.Start(t.Context(), verification.Request{ClientID: client, Email: address(t, email)})
			if err != nil {
				t.Fatal(err)
			}
			note(email)
			for range 6 {
				_, _ = process.Redeem(t.Context(), verification.Try{Handle: s.Handle, ClientID: client, Code: "000000", Source: home})
				note(email)
			}
		}
	}
	for _, email := range emails[1:] {
		if !slices.Equal(costs[email], costs[emails[0]]) {
			t.Errorf("%s cost %v, %s %v", emails[0], costs[emails[0]], email, costs[email])
		}
	}
}

// Digits are uniform: chi-square over each place of a thousand codes.
func TestEC40(t *testing.T) {
	w := newWorld(t, setup{})
	var codes []string
	h := must(verification.MailHandler(verification.MailConfig{
		Store: w.store, Secrets: w.ring, Accounts: w.users, Mailer: w.inbox, Issuer: issuer, Now: w.clock.Now,
		Composer: composer(func(m mail.CodeMail) { codes = append(codes, m.Code) }),
	}))(t)
	jobs := &lastJob{Jobs: w.newOutbox(w.store)}
	svc := must(verification.New(verification.Config{Now: w.clock.Now}, w.deps(w.store, jobs)))(t)
	const n = 1000
	for range n {
		if _, _, err := svc.Start(t.Context(), verification.Request{ClientID: client, Email: address(t, "ann@example.com"), Source: w.elsewhere()}); err != nil {
			t.Fatal(err)
		}
		if err := h(t.Context(), jobs.payload); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for place := range 6 {
		var count [10]float64
		for _, c := range codes {
			if len(c) != 6 {
				t.Fatalf("a code of %d digits", len(c))
			}
			seen[c] = true
			count[c[place]-'0']++
		}
		chi := 0.0
		for _, c := range count {
			chi += (c - n/10) * (c - n/10) / (n / 10)
		}
		if chi > 45 { // one in a million with nine degrees of freedom
			t.Errorf("place %d: chi-square %.1f of %v", place, chi, count)
		}
	}
	if len(seen) < n-10 {
		t.Errorf("%d different codes of %d", len(seen), n)
	}
}

type composer func(mail.CodeMail)

func (c composer) Code(m mail.CodeMail) (mail.Message, error) {
	c(m)
	return mail.Message{To: m.To, Text: "hello"}, nil
}

func (composer) Link(mail.LinkMail) (mail.Message, error) {
	return mail.Message{}, errors.New("no verification of this test has a link")
}

// lastJob remembers the last job that was added.
type lastJob struct {
	verification.Jobs
	payload json.RawMessage
}

func (l *lastJob) Add(ctx context.Context, j outbox.Job) (outbox.Ticket, error) {
	l.payload, _ = json.Marshal(j.Payload)
	return l.Jobs.Add(ctx, j)
}

// The store holds neither code nor handle nor what a browser or device is known
// by, in no usual spelling.
func TestEC42(t *testing.T) {
	w := newWorld(t, setup{cfg: verification.Config{Digits: 10}})
	s := w.start("ann@example.com", inBrowser, func(r *verification.Request) { r.DeviceID = "device-id-of-a-phone" })
	w.refused(wrong(s.page(), 0))
	pkce := w.start("bob@example.com", func(r *verification.Request) { r.Challenge = challenge(verifier) })
	try := pkce.try()
	try.Verifier = verifier
	w.wins(try)
	var dump []byte
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(w.path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		dump = append(dump, b...)
	}
	if !bytes.Contains(dump, []byte(s.ID)) {
		t.Fatal("the dump does not hold the verification")
	}
	for name, v := range map[string]string{
		"code": s.Code, "spent code": pkce.Code, "handle": s.Handle, "spent handle": pkce.Handle,
		"browser": string(browser), "device": "device-id-of-a-phone", "verifier": verifier, "source": home.String(),
	} {
		for form, enc := range map[string]string{
			"raw": v, "hex": hex.EncodeToString([]byte(v)),
			"base64": base64.RawStdEncoding.EncodeToString([]byte(v)), "base64url": base64.RawURLEncoding.EncodeToString([]byte(v)),
		} {
			if bytes.Contains(dump, []byte(enc)) {
				t.Errorf("the store holds the %s as %s", name, form)
			}
		}
	}
	raw := must(base64.RawURLEncoding.DecodeString(s.Handle))(t)
	if bytes.Contains(dump, raw[20:]) {
		t.Error("the store holds the handle's MAC")
	}
}

// The process dies after its answer: another one sends the mail.
func TestMailSurvivesItsMaker(t *testing.T) {
	w := newWorld(t, setup{})
	s, _, err := w.Start(t.Context(), verification.Request{ClientID: client, Email: address(t, "ann@example.com")})
	if err != nil {
		t.Fatal(err)
	}
	w.clock.advance(31 * time.Second) // the lease; w's own scanner is the other process
	w.wins(started{s, w.code("ann@example.com")}.try())
}

// A mail that is sent twice is the same mail.
func TestMailTwice(t *testing.T) {
	w := newWorld(t, setup{})
	jobs := &lastJob{Jobs: w.out}
	svc := must(verification.New(verification.Config{Now: w.clock.Now}, w.deps(w.store, jobs)))(t)
	s, _, err := svc.Start(t.Context(), verification.Request{ClientID: client, Email: address(t, "ann@example.com")})
	if err != nil {
		t.Fatal(err)
	}
	h := w.mailHandler(w.store)
	var ids []string
	w.inbox.Fail(func(m mail.Message) error {
		ids = append(ids, m.MessageID)
		if len(ids) == 1 {
			return errors.New("451 later")
		}
		return nil
	})
	if err := h(t.Context(), jobs.payload); err == nil {
		t.Fatal("a failure was not reported")
	}
	if err := h(t.Context(), jobs.payload); err != nil {
		t.Fatal(err)
	}
	if len(ids) != 2 || ids[0] != ids[1] || ids[0] == "" {
		t.Errorf("Message-IDs %q", ids)
	}
	w.wins(started{s, w.code("ann@example.com")}.try())
}

func TestMailHandler(t *testing.T) {
	w := newWorld(t, setup{})
	jobs := &lastJob{Jobs: w.newOutbox(w.store)}
	svc := must(verification.New(verification.Config{Now: w.clock.Now}, w.deps(w.store, jobs)))(t)
	h := w.mailHandler(w.store)
	start := func() (started, json.RawMessage) {
		t.Helper()
		s, _, err := svc.Start(t.Context(), verification.Request{ClientID: client, Email: address(t, "ann@example.com")})
		if err != nil {
			t.Fatal(err)
		}
		payload := jobs.payload
		if err := h(t.Context(), payload); err != nil {
			t.Fatal(err)
		}
		return started{s, w.code("ann@example.com")}, payload
	}
	s, payload := start()
	mails := func() int { return len(w.inbox.Messages()) }
	before := mails()

	other := bytes.Replace(payload, []byte(`"generation":1`), []byte(`"generation":2`), 1)
	if err := h(t.Context(), other); err != nil || bytes.Equal(other, payload) {
		t.Errorf("of another generation: %v", err)
	}
	w.wins(s.try())
	if err := h(t.Context(), payload); err != nil {
		t.Errorf("of a spent code: %v", err)
	}
	_, payload = start()
	before++
	w.clock.advance(10 * time.Minute)
	if err := h(t.Context(), payload); err != nil {
		t.Errorf("of an expired code: %v", err)
	}
	if mails() != before {
		t.Errorf("%d mails that nobody can use", mails()-before)
	}
	if err := h(t.Context(), json.RawMessage(`[]`)); err == nil {
		t.Error("a payload that is none was accepted")
	}
}

// A mail to a recipient that is refused for good is dropped, not put back.
func TestMailRejected(t *testing.T) {
	ops := make(chan string, 100)
	w := newWorld(t, setup{wrap: func(s storage.Store) storage.Store {
		return storetest.Faulty(s, func(op storetest.Op) error {
			if op.Key.Kind == storage.Outbox {
				ops <- op.Name
			}
			return nil
		})
	}})
	w.inbox.Fail(func(m mail.Message) error { return mail.ErrRejected })
	_, ticket, err := w.Start(t.Context(), verification.Request{ClientID: client, Email: address(t, "ann@example.com")})
	if err != nil {
		t.Fatal(err)
	}
	w.out.Dispatch(ticket)
	if made, after := <-ops, <-ops; made != "Put" || after != "Delete" {
		t.Errorf("the job was made by %s and then met %s", made, after)
	}
}

func TestNewRefuses(t *testing.T) {
	w := newWorld(t, setup{})
	deps := w.deps(w.store, w.out)
	for name, change := range map[string]func(*verification.Config, *verification.Deps){
		"no store":    func(_ *verification.Config, d *verification.Deps) { d.Store = nil },
		"no secrets":  func(_ *verification.Config, d *verification.Deps) { d.Secrets = nil },
		"no outbox":   func(_ *verification.Config, d *verification.Deps) { d.Outbox = nil },
		"no accounts": func(_ *verification.Config, d *verification.Deps) { d.Accounts = nil },
		"no devices":  func(_ *verification.Config, d *verification.Deps) { d.Devices = nil },
		"5 digits":    func(c *verification.Config, _ *verification.Deps) { c.Digits = 5 },
	} {
		c, d := verification.Config{}, deps
		change(&c, &d)
		if _, err := verification.New(c, d); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := verification.MailHandler(verification.MailConfig{}); err == nil {
		t.Error("a mail handler of nothing was accepted")
	}
}

func from(source netip.Addr) func(*verification.Request) {
	return func(r *verification.Request) { r.Source = source }
}

// EC-48: one network can have so many codes mailed, whoever they are for, and a resend
// is one of them. What is refused sends nothing and tells nothing.
func TestMailsPerSource(t *testing.T) {
	w := newWorld(t, setup{cfg: verification.Config{TriesPerSource: 3}})
	ask := func(i int, source string) error {
		_, ticket, err := w.Start(t.Context(), verification.Request{
			ClientID: client, Email: address(t, fmt.Sprintf("user%d@example.com", i)), Source: netip.MustParseAddr(source),
		})
		w.out.Dispatch(ticket)
		return err
	}
	first := w.start("ann@example.com", inBrowser, from(home))
	w.clock.advance(31 * time.Second)
	for i, want := range []error{nil, nil, verification.ErrTooMany, verification.ErrTooMany} {
		if err := ask(i, home.String()); !errors.Is(err, want) {
			t.Fatalf("mail %d: %v, want %v", i+2, err, want)
		}
	}
	if _, err := w.Resend(t.Context(), first.ID, browser, home); !errors.Is(err, verification.ErrTooMany) {
		t.Errorf("resend: %v", err)
	}
	w.code("user0@example.com")
	w.code("user1@example.com")
	if n := len(w.inbox.Messages()); n != 3 {
		t.Errorf("%d mails, want 3", n)
	}
	// Other networks are not affected; an IPv6 subscriber is one of them.
	for i, source := range []string{"2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3", "192.0.2.2"} {
		if err := ask(10+i, source); err != nil {
			t.Errorf("from %s: %v", source, err)
		}
	}
	if err := ask(20, "2001:db8::4"); !errors.Is(err, verification.ErrTooMany) {
		t.Errorf("the fourth from one /64: %v", err)
	}
	// The window is fixed by its first mail.
	w.clock.advance(verification.SourceWindow)
	if err := ask(30, home.String()); err != nil {
		t.Errorf("ten minutes later: %v", err)
	}
}

// A resend that comes too early is no mail.
func TestEarlyResendIsNotCounted(t *testing.T) {
	w := newWorld(t, setup{cfg: verification.Config{TriesPerSource: 2}})
	s := w.start("ann@example.com", inBrowser, from(home))
	for range 5 {
		if _, err := w.Resend(t.Context(), s.ID, browser, home); !errors.Is(err, verification.ErrNoResend) {
			t.Fatal(err)
		}
	}
	w.start("bob@example.com", from(home))
}

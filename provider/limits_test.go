package provider_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/provider"
	"github.com/lettergate/lettergate/provider/internal/ratelimit"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// A proxied is a transport behind a proxy: it says where a request comes from, a new
// place each time unless the test has named one.
type proxied struct {
	next http.RoundTripper
	from *atomic.Pointer[string]
	n    *atomic.Int64
}

func (p proxied) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	n := p.n.Add(1)
	from := fmt.Sprintf("198.18.%d.%d", n>>8&0xff, n&0xff)
	if named := p.from.Load(); named != nil {
		from = *named
	}
	if r.Header.Get("X-Forwarded-For") == "" {
		r.Header.Set("X-Forwarded-For", from)
	}
	return p.next.RoundTrip(r)
}

// behindProxy starts a server with small limits behind a proxy that it trusts, and
// returns what sets the place that requests come from, "" for everywhere.
func behindProxy(t *testing.T, opts options) (s *server, from func(string)) {
	t.Helper()
	opts.direct = true
	change := opts.config
	opts.config = func(c *config.Config) {
		c.TrustedProxies = []string{"127.0.0.0/8"}
		c.Limits = config.Limits{Profile: config.ProfileProduction, TriesPerSource: sourceLimit, TriesPerAccount: 100, TriesPerKnownAccount: 100, TriesPerVerification: 10}
		if change != nil {
			change(c)
		}
	}
	s = start(t, opts)
	p := proxied{s.transport, new(atomic.Pointer[string]), new(atomic.Int64)}
	s.transport = p
	return s, func(place string) {
		p.from.Store(&place)
		if place == "" {
			p.from.Store(nil)
		}
	}
}

const sourceLimit = 3

// An attack is what somebody does to a route as often as they can. Each time it is
// prepared from anywhere, for another account and verification, so that nothing but the
// limit of one source is in its way.
type attack struct {
	prepare func(s *server, address string) (ask func(right bool) answer)
	passed  int // the status of what is right and within the limit
	wrong   int // of what is wrong
	stopped int // of what is right and over the limit
}

// attacks are for each route that tries or sends.
func attacks() map[string]attack {
	sends := func(row string, passed int) attack {
		fl := specimens()[row]
		return attack{passed: passed, wrong: passed, stopped: http.StatusTooManyRequests, prepare: func(s *server, address string) func(bool) answer {
			ask := fl.prepare(s, address)
			return func(bool) answer { return ask() }
		}}
	}
	all := map[string]attack{
		"/login/email":          sends("POST /login/email", http.StatusSeeOther),
		"/login/code/resend":    sends("POST /login/code/resend", http.StatusSeeOther),
		"/oauth2/verification":  sends("POST /oauth2/verification", http.StatusOK),
		"/auth/v1/verification": sends("POST /auth/v1/verification", http.StatusOK),
		"/oauth2/token": {passed: http.StatusOK, wrong: http.StatusBadRequest, stopped: http.StatusBadRequest, prepare: func(s *server, address string) func(bool) answer {
			v := s.begin(address)
			return func(right bool) answer {
				if !right {
					return s.redeem(v.wrong())
				}
				return s.redeem(v)
			}
		}},
	}
	maps.Copy(all, pageAttacks())
	maps.Copy(all, appAttacks())
	return all
}

// The password that an account under attack has, and one that it has not.
const rightPassword, wrongPassword = "password123", "password124"

// pageAttacks type what is wrong into a page.
func pageAttacks() map[string]attack {
	guess := func(prepare func(s *server, address string) (b *browser, f form, field, value string)) attack {
		return attack{passed: http.StatusSeeOther, wrong: http.StatusBadRequest, stopped: http.StatusBadRequest, prepare: func(s *server, address string) func(bool) answer {
			b, f, field, value := prepare(s, address)
			return func(right bool) answer {
				if !right {
					value = started{code: value}.wrong().code
				}
				return f.send(b, f.with(field, value))
			}
		}}
	}
	return map[string]attack{
		"/login/code": guess(func(s *server, address string) (*browser, form, string, string) {
			b := s.browser()
			action, fields := formOf(s.t, b.submit(b.get(authorizePath(webID)), "email", "email", address).body, "code")
			return b, form{action: action, values: fields}, "code", s.code(address)
		}),
		"/login/password": guess(func(s *server, address string) (*browser, form, string, string) {
			s.app(envID).signedUp(address, "", rightPassword)
			b := s.browser()
			action, fields := formOf(s.t, b.onPasswordPage(authorizePath(webID), address).body, "password")
			return b, form{action: action, values: fields}, "password", rightPassword
		}),
	}
}

// appAttacks are calls of an app, from a device that nobody knows.
func appAttacks() map[string]attack {
	call := func(wrong int, prepare func(a *app, email string) (good, bad req)) attack {
		return attack{passed: http.StatusOK, wrong: wrong, stopped: wrong, prepare: func(s *server, address string) func(bool) answer {
			a := s.app(envID)
			good, bad := prepare(a, address)
			stranger := s.app(envID) // on a device that nobody knows
			stranger.token = a.token
			return func(right bool) answer {
				if right {
					return stranger.do(good)
				}
				return stranger.do(bad)
			}
		}}
	}
	return map[string]attack{
		"/auth/v1/verification/verify": call(http.StatusBadRequest, func(a *app, email string) (req, req) {
			a.device = "" // the verification is bound to none
			v := a.verification(email)
			code := a.s.code(email)
			try := func(code string) req {
				return req{path: "verification/verify", body: fields{"verification_id": v["verification_id"], "verification_code": code}}
			}
			return try(code), try(started{code: code}.wrong().code)
		}),
		"/auth/v1/signin": call(http.StatusBadRequest, func(a *app, email string) (req, req) {
			a.signedUp(email, "", rightPassword)
			try := func(password string) req {
				return req{path: "signin", body: fields{"username": email, "password": password}}
			}
			return try(rightPassword), try(wrongPassword)
		}),
		"/auth/v1/user/sudo": call(http.StatusBadRequest, func(a *app, email string) (req, req) {
			a.signedUp(email, "", rightPassword)
			try := func(password string) req {
				return req{path: "user/sudo", body: fields{"password": password}, bearer: true}
			}
			return try(rightPassword), try(wrongPassword)
		}),
		"/auth/v1/user/password": call(http.StatusBadRequest, func(a *app, email string) (req, req) {
			a.signedUp(email, "", rightPassword)
			return a.change(rightPassword, "password456"), a.change(wrongPassword, "password456")
		}),
	}
}

// TestEC48_EveryRouteThatTriesOrSends is hammered from one source: what comes after the
// limit is refused although it is right, and from elsewhere it is not.
func TestEC48_EveryRouteThatTriesOrSends(t *testing.T) {
	all := attacks()
	bounded := []ratelimit.Class{ratelimit.Sends, ratelimit.Tries, ratelimit.Passwords}
	s := start(t, options{direct: true})
	for _, row := range provider.Rows(s.provider) {
		hit, ok := all[row.Path]
		if want := slices.Contains(bounded, row.Limit); want != ok {
			t.Errorf("%s is of class %s: an attack on it %t", row.Path, row.Limit, ok)
		}
		if !ok {
			continue
		}
		delete(all, row.Path)
		t.Run(row.Path, func(t *testing.T) {
			clock := newClock()
			s, from := behindProxy(t, options{now: clock.now})
			ready := make([]func(bool) answer, sourceLimit+3)
			for i := range ready {
				ready[i] = hit.prepare(s, fmt.Sprintf("%s%d@example.com", strings.ReplaceAll(strings.ToLower(row.Path[1:]), "/", "-"), i))
			}
			clock.advance(31 * time.Second) // a resend may come now
			from("203.0.113.66")
			for i := range sourceLimit {
				if a := ready[i](false); a.status != hit.wrong {
					t.Fatalf("within the limit, %d: %d %.300s", i, a.status, a.body)
				}
			}
			a := ready[sourceLimit](true)
			a.keepsTo(t, row, "over the limit")
			if a.status != hit.stopped || a.header.Get("Location") != "" {
				t.Fatalf("over the limit: %d to %q %.300s", a.status, a.header.Get("Location"), a.body)
			}
			if a.status == http.StatusTooManyRequests && a.header.Get("Retry-After") == "" {
				t.Errorf("over the limit: %v", a.header)
			}
			from("203.0.113.67")
			if a := ready[sourceLimit+1](true); a.status != hit.passed {
				t.Errorf("from elsewhere: %d %.300s", a.status, a.body)
			}
			from("203.0.113.66")
			if a := ready[sourceLimit+2](true); a.status != hit.stopped {
				t.Errorf("still over the limit: %d %.300s", a.status, a.body)
			}
		})
	}
	for path := range all {
		t.Errorf("an attack on %s, which is no route", path)
	}
}

// Routes of the other classes count nothing, so none of them guesses or sends unseen.
func TestEC48_OtherRoutesCountNothing(t *testing.T) {
	var count *storetest.Counter
	s := start(t, options{direct: true, store: func(db storage.Store) storage.Store {
		count = storetest.Count(db)
		return requestsOnly{db, count}
	}})
	s.walk(func(t *testing.T, row provider.Row, method string, fl flow) {
		ask := fl.prepare(s, addressFor(method, row.Path, 0))
		count.Reset()
		if a := ask(); a.status != fl.ok {
			t.Fatalf("%d %.300s", a.status, a.body)
		}
		if n := count.Calls("Add"); n > 0 && row.Limit <= ratelimit.Clients {
			t.Errorf("it is of class %s and counts %d times", row.Limit, n)
		}
	})
}

// TestEC47_WhoIsCounted: the peer, unless it is a proxy of ours; then whom the proxy has
// seen. A header that is missing, forged or too long does not switch the limit off.
func TestEC47_WhoIsCounted(t *testing.T) {
	var hops []string
	for i := range 100 {
		hops = append(hops, fmt.Sprintf("10.0.%d.1", i))
	}
	trusting := func(c *config.Config) {}
	alone := func(c *config.Config) { c.TrustedProxies = nil }
	elsewhere := func(c *config.Config) { c.TrustedProxies = []string{"192.0.2.0/24"} }
	for name, c := range map[string]struct {
		config    func(*config.Config)
		forwarded func(n int) string
		limited   bool
	}{
		"no proxy is configured":        {alone, func(n int) string { return fmt.Sprintf("198.51.100.%d", n) }, true},
		"the peer is none of them":      {elsewhere, func(n int) string { return fmt.Sprintf("198.51.100.%d", n) }, true},
		"people behind the proxy":       {trusting, func(n int) string { return fmt.Sprintf("198.51.100.%d", n) }, false},
		"one of them":                   {trusting, func(int) string { return "198.51.100.1" }, true},
		"one with forged hops":          {trusting, func(n int) string { return fmt.Sprintf("203.0.113.%d, 198.51.100.1", n) }, true},
		"one who claims to be a proxy":  {trusting, func(n int) string { return fmt.Sprintf("203.0.113.%d, 127.0.0.%d, 198.51.100.1", n, n+1) }, true},
		"behind two proxies":            {trusting, func(n int) string { return fmt.Sprintf("198.51.100.%d, 127.0.0.9", n) }, false},
		"a hundred hops":                {trusting, func(n int) string { return strings.Join(hops, ", ") + ", 198.51.100.1" }, true},
		"nonsense":                      {trusting, func(n int) string { return fmt.Sprintf("unknown-%d", n) }, true},
		"one IPv6 subscriber":           {trusting, func(n int) string { return fmt.Sprintf("2001:db8::%d", n) }, true},
		"IPv6 subscribers":              {trusting, func(n int) string { return fmt.Sprintf("2001:db8:0:%d::1", n) }, false},
		"with ports":                    {trusting, func(n int) string { return fmt.Sprintf("198.51.100.1:%d", 1000+n) }, true},
		"two spellings of one address":  {trusting, func(n int) string { return []string{"198.51.100.1", "::ffff:198.51.100.1"}[n%2] }, true},
		"only another header's address": {trusting, func(int) string { return "" }, true},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := behindProxy(t, options{config: c.config})
			s.transport = s.transport.(proxied).next
			limited := 0
			for n := range sourceLimit + 2 {
				body := values("client_id", nativeID, "email", fmt.Sprintf("user%d@example.com", n)).Encode()
				in := s.request("POST", "/oauth2/verification", body, "X-Forwarded-For", c.forwarded(n), "X-Real-Ip", fmt.Sprintf("198.51.100.%d", n),
					"Forwarded", fmt.Sprintf("for=198.51.100.%d", n), "Cf-Connecting-Ip", fmt.Sprintf("198.51.100.%d", n))
				switch a := s.send(in); a.status {
				case http.StatusTooManyRequests:
					a.is(t, http.StatusTooManyRequests, "slow_down")
					limited++
				case http.StatusOK:
				default:
					t.Fatalf("%d %s", a.status, a.body)
				}
			}
			if limited != map[bool]int{true: 2, false: 0}[c.limited] {
				t.Errorf("%d of %d were refused", limited, sourceLimit+2)
			}
		})
	}
}

// What each door says to whoever asks for too many mails.
func TestEC48_TooManyMails(t *testing.T) {
	s, from := behindProxy(t, options{})
	from("203.0.113.66")
	b := s.browser()
	page := b.get(authorizePath(webID))
	for i := range sourceLimit {
		if a := b.submit(page, "email", "email", fmt.Sprintf("user%d@example.com", i)); !strings.Contains(a.body, `id="code"`) {
			t.Fatalf("%d %.300s", a.status, a.body)
		}
	}
	a := b.submit(page, "email", "email", "ann@example.com")
	if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "600" || !strings.Contains(a.body, `value="ann@example.com"`) || !strings.Contains(a.body, "Too many codes") {
		t.Errorf("the page: %d %v %s", a.status, a.header, a.body)
	}
	m := s.app(envID).fails(req{path: "verification", body: fields{"email": "ann@example.com"}}, "resource_exhausted", 8)
	if m.status != http.StatusTooManyRequests || m.header.Get("Retry-After") != "600" || m.json(t)["retry_after"] != 600.0 {
		t.Errorf("the app: %d %v %s", m.status, m.header, m.body)
	}
	from("")
	if a := b.submit(a, "email"); !strings.Contains(a.body, `id="code"`) {
		t.Errorf("from elsewhere the very page: %d %.300s", a.status, a.body)
	}
	if n := len(s.inbox.Messages()); n > sourceLimit+1 {
		t.Errorf("%d mails", n)
	}
}

// A proof that is asked for again, in the same words, has paid for its mail once: whoever
// could have it pay again and again would have no limit.
func TestEC48_ProofSentAgainPaysForOneMail(t *testing.T) {
	s, from := behindProxy(t, options{})
	const here = "203.0.113.66"
	from(here)
	a := s.app(envID)
	v := a.verification("mallory@example.com")
	again := req{path: "verification/verify", id: "one-request-sent-again", body: fields{
		"verification_id": v["verification_id"], "verification_code": s.code("mallory@example.com"),
	}}
	token := a.ok(again)["verification_token"]
	sent := 0
	for n := range 3 * sourceLimit {
		if s.app(envID).do(req{path: "verification", body: fields{"email": fmt.Sprintf("victim%d@example.com", n)}}).status == http.StatusOK {
			sent++
		}
		if got := a.do(again); got.status == http.StatusOK && got.json(t)["verification_token"] != token {
			t.Errorf("sent again, %d: %s", n, got.body)
		}
	}
	if sent > sourceLimit {
		t.Errorf("one source had %d mails sent, its limit is %d", sent, sourceLimit)
	}
}

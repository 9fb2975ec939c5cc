package provider_test

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/lettergate/lettergate/provider"
)

// A form is one POST page of ours, ready to be sent.
type form struct {
	name   string
	action string // path below the issuer
	values url.Values
}

// forms opens every page that has a form, in one browser, and returns the forms. All
// but the last of a session and the link would change something if they were sent.
func forms(b *browser) []form {
	s := b.s
	s.t.Helper()
	take := func(name, element string, page answer, pairs ...string) form {
		s.t.Helper()
		action, fields := formOf(s.t, page.body, element)
		for i := 0; i < len(pairs); i += 2 {
			fields.Set(pairs[i], pairs[i+1])
		}
		return form{name, action, fields}
	}
	signIn := b.get(authorizePath(thirdID))
	all := []form{take("sign-in", "email", signIn, "email", "bob@example.com")}
	codePage := b.submit(signIn, "email", "email", "ann@example.com")
	all = append(all, take("resend", "resend", codePage), take("code", "code", codePage, "code", s.code("ann@example.com")))
	// Another verification, so that the forms above stay good.
	consent := b.signIn(authorizePath(thirdID), "ann@example.com")
	all = append(all,
		take("consent", "allow", consent, "decision", "allow"),
		take("sign out", "confirm", b.get("/logout")),
		take("end session", "confirm", b.get("/oauth2/logout?client_id=web")),
		take("link", "confirm", b.get(s.mailedLink("lin@example.com"))))
	s.app(envID).signedUp("pat@example.com", "", "password123")
	return append(all, take("password", "password", b.onPasswordPage(authorizePath(thirdID, "prompt", "login"), "pat@example.com"), "password", "password123"))
}

// send sends a form as a browser does, with headers set over the usual ones.
func (f form) send(b *browser, values url.Values, headers ...string) answer {
	b.s.t.Helper()
	usual := []string{"Origin", "null", "Sec-Fetch-Site", "same-origin", "Content-Type", formType}
	return b.send(b.s.request("POST", f.action, values.Encode(), append(usual, headers...)...))
}

// with returns the form's values with one changed or, when it is empty, left out.
func (f form) with(name, value string) url.Values {
	v := url.Values{}
	for k, all := range f.values {
		v[k] = all
	}
	v.Set(name, value)
	if value == "" {
		v.Del(name)
	}
	return v
}

func TestAS21_CSRF(t *testing.T) {
	s, count := counted(t, options{})
	b, other := s.browser(), s.browser()
	fs := forms(b)
	_, foreign := formOf(t, other.get(authorizePath(webID)).body, "email")
	mails := len(s.inbox.Messages())
	for _, f := range fs {
		for name, try := range map[string]func() answer{
			"without a token":            func() answer { return f.send(b, f.with("csrf", "")) },
			"another browser's token":    func() answer { return f.send(b, f.with("csrf", foreign.Get("csrf"))) },
			"cut token":                  func() answer { return f.send(b, f.with("csrf", f.values.Get("csrf")[1:])) },
			"foreign Origin":             func() answer { return f.send(b, f.values, "Origin", "https://evil.example", "Sec-Fetch-Site", "") },
			"foreign Origin, old header": func() answer { return f.send(b, f.values, "Origin", "https://evil.example") },
			"Origin of another port":     func() answer { return f.send(b, f.values, "Origin", s.origin()+"0", "Sec-Fetch-Site", "") },
			"cross-site":                 func() answer { return f.send(b, f.values, "Sec-Fetch-Site", "cross-site") },
			"same-site":                  func() answer { return f.send(b, f.values, "Sec-Fetch-Site", "same-site", "Origin", s.origin()) },
			"text/plain":                 func() answer { return f.send(b, f.values, "Content-Type", "text/plain") },
			"multipart":                  func() answer { return f.send(b, f.values, "Content-Type", "multipart/form-data; boundary=x") },
			"no type":                    func() answer { return f.send(b, f.values, "Content-Type", "") },
			"token in the URL": func() answer {
				moved := f
				moved.action += "?csrf=" + f.values.Get("csrf")
				return moved.send(b, f.with("csrf", ""))
			},
			"no cookie":   func() answer { return f.send(s.browser(), f.values) },
			"by GET only": func() answer { return b.send(s.request("GET", f.action+"?"+f.values.Encode(), "")) },
		} {
			count.Reset()
			a := try()
			if a.status != http.StatusForbidden && a.status != http.StatusBadRequest && name != "by GET only" {
				t.Errorf("%s, %s: %d", f.name, name, a.status)
			}
			if n := writes(count); n != 0 || a.header.Get("Location") != "" {
				t.Errorf("%s, %s: %d writes, to %q", f.name, name, n, a.header.Get("Location"))
			}
		}
	}
	if n := len(s.inbox.Messages()); n != mails {
		t.Errorf("%d mails were sent", n-mails)
	}
	// All of them are good, in the order that keeps the session to the end.
	sent := map[string]bool{"/oauth2/authorize": true, "/oauth2/logout": true} // what is posted there is asked again as a GET
	for _, f := range fs {
		sent[f.action] = true
		count.Reset()
		if a := f.send(b, f.values); a.status != http.StatusSeeOther && a.status != http.StatusOK {
			t.Errorf("%s as it should be: %d", f.name, a.status)
		}
		if n := writes(count); n == 0 && f.name != "end session" && f.name != "link" { // signed out by then; only leads on
			t.Errorf("%s changes nothing, so nothing was tested", f.name)
		}
	}
	for _, row := range provider.Rows(s.provider) {
		if row.Person && slices.Contains(row.Methods, http.MethodPost) && !sent[row.Path] {
			t.Errorf("%s is posted to, and was not tried", row.Path)
		}
	}
}

// What browsers say about the origin of our own forms: Chromium and Firefox send
// "null", because of Referrer-Policy: no-referrer.
func TestFormsOfOurs(t *testing.T) {
	s := start(t, options{})
	for name, headers := range map[string][]string{
		"current":                {"Origin", "null", "Sec-Fetch-Site", "same-origin"},
		"current, with referrer": {"Origin", s.origin(), "Sec-Fetch-Site", "same-origin"},
		"older":                  {"Origin", "null", "Sec-Fetch-Site", ""},
		"oldest":                 {"Origin", "", "Sec-Fetch-Site", ""},
	} {
		b := s.browser()
		action, fields := formOf(t, b.get(authorizePath(webID)).body, "email")
		f := form{action: action, values: fields}
		if a := f.send(b, f.with("email", "ann@example.com"), headers...); a.status != http.StatusSeeOther {
			t.Errorf("%s: %d", name, a.status)
		}
	}
}

func TestAS22_FlowIsBoundToItsBrowser(t *testing.T) {
	s, count := counted(t, options{})
	a, b := s.browser(), s.browser()
	b.signIn(authorizePath(thirdID), "bob@example.com") // B is somebody, with cookies of its own
	_, own := formOf(t, b.get("/logout").body, "confirm")
	fs := forms(a)
	code := fs[2]
	codeID := code.values.Get("v")
	refused := func(what string, got answer) {
		t.Helper()
		if got.status < 400 || got.status > 499 || got.header.Get("Location") != "" {
			t.Errorf("%s: B gets %d to %q", what, got.status, got.header.Get("Location"))
		}
		if n := writes(count); n != 0 {
			t.Errorf("%s: %d writes", what, n)
		}
		count.Reset()
	}
	count.Reset()
	for _, f := range fs {
		if f.name == "sign out" || f.name == "end session" || f.name == "link" {
			continue // that signs B out, whom B's own token names; a link is worth nothing without the app's own browser
		}
		refused(f.name+" with A's token", f.send(b, f.values))
		refused(f.name+" with B's token", f.send(b, f.with("csrf", own.Get("csrf"))))
	}
	for _, path := range []string{"/login/code?v=", "/login/email?v=", "/oauth2/authorize?resume="} {
		refused(path+" of a pending code", b.send(s.request("GET", path+codeID, "")))
	}
	// A signs in; now the way back to the client is there to be taken.
	if done := code.send(a, code.values); done.status != http.StatusSeeOther {
		t.Fatalf("A cannot use the code any more: %d %s", done.status, done.body)
	}
	count.Reset()
	for _, path := range []string{"/login/code?v=", "/login/email?v=", "/oauth2/authorize?resume="} {
		refused(path+" of a spent code", b.send(s.request("GET", path+codeID, "")))
		refused(path+" without cookies", s.get(path+codeID))
	}
	if got := a.get("/oauth2/authorize?resume=" + codeID); got.status != http.StatusOK || !strings.Contains(got.body, `id="allow"`) {
		t.Errorf("A is asked for consent by %d", got.status)
	}
}

// The address of a code page that was begun in one browser tells another nothing.
func TestAS22_PendingCannotBeResumed(t *testing.T) {
	s := start(t, options{})
	b := s.browser()
	page := b.submit(b.get(authorizePath(webID)), "email", "email", "ann@example.com")
	_, fields := formOf(t, page.body, "code")
	b.send(s.request("GET", "/oauth2/authorize?resume="+fields.Get("v"), "")).isPage(t, http.StatusBadRequest)
	for _, id := range []string{"x", strings.Repeat("A", 22), strings.Repeat("A", 5000), "..%2f", "%00"} {
		b.send(s.request("GET", "/oauth2/authorize?resume="+id, "")).isPage(t, http.StatusBadRequest)
		b.send(s.request("GET", "/login/code?v="+id, "")).isPage(t, http.StatusBadRequest)
	}
}

var policyParts = []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"}

// isFramedNowhere checks the headers that every page needs.
func (a answer) isFramedNowhere(t *testing.T, name string) {
	t.Helper()
	policy := a.header.Get("Content-Security-Policy")
	for _, part := range policyParts {
		if !strings.Contains(policy, part) {
			t.Errorf("%s: the policy has no %s: %s", name, part, policy)
		}
	}
	if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
		t.Errorf("%s: the policy is %s", name, policy)
	}
	for header, want := range map[string]string{
		"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
	} {
		if got := a.header.Get(header); got != want {
			t.Errorf("%s: %s is %q, want %q", name, header, got, want)
		}
	}
}

func TestAS18_AS20_PagesLeakNothing(t *testing.T) {
	s := start(t, options{})
	b := s.browser()
	signIn := b.get(authorizePath(thirdID))
	code := b.submit(signIn, "email", "email", "ann@example.com")
	wrong := b.submit(code, "code", "code", "000000")
	consent := b.submit(wrong, "code", "code", s.code("ann@example.com"))
	pages := map[string]answer{
		"sign-in": signIn, "code": code, "wrong code": wrong, "consent": consent, "signed in": b.get("/login/email"), "sign out": b.get("/logout"),
		"no client": b.get("/oauth2/authorize"), "not found": b.get("/nowhere"), "method": b.send(s.request("DELETE", "/login/email", "")),
		"password": b.onPasswordPage(authorizePath(webID, "prompt", "login"), "ann"), "link": b.get(s.link("bob@example.com")), "dead link": b.get("/login/link?v=x"),
		"wrong form": b.send(s.request("POST", "/login/email", "a=b")), "wrong address": b.submit(signIn, "email", "email", "nobody"),
	}
	remote := regexp.MustCompile(`(?i)(src|href|action|formaction|url\()\s*=?\s*["']?\s*(https?:)?//`)
	for name, page := range pages {
		page.isFramedNowhere(t, name)
		if found := remote.FindString(page.body); found != "" {
			t.Errorf("%s loads or leads elsewhere: %s", name, found)
		}
		if strings.Contains(page.body, "<script") {
			t.Errorf("%s has a script", name)
		}
	}
	// Redirects that carry a secret, and those after a POST.
	_, form := formOf(t, consent.body, "allow")
	form.Set("decision", "allow")
	posted := b.send(s.request("POST", "/consent", form.Encode(), "Origin", "null"))
	posted.arrives(t, callback)
	for name, a := range map[string]answer{
		"code to the client": posted,
		"error":              s.get(authorizePath(webID, "prompt", "none")),
		"posted request":     s.send(s.request("POST", "/oauth2/authorize", "client_id=web&state=secret")),
	} {
		if a.status != http.StatusSeeOther || a.header.Get("Referrer-Policy") != "no-referrer" || a.header.Get("Cache-Control") != "no-store" || a.body != "" {
			t.Errorf("%s: %d %v %q", name, a.status, a.header, a.body)
		}
	}
}

func TestOP09_LoginHint(t *testing.T) {
	s := start(t, options{})
	s.tokens("known@example.com")
	hidden := regexp.MustCompile(`name="(csrf|request)" value="[^"]*"`)
	page := func(hint string) string {
		a := s.get(authorizePath(webID, "login_hint", hint))
		if a.status != http.StatusOK {
			t.Fatalf("login_hint %.20q: %d", hint, a.status)
		}
		return hidden.ReplaceAllString(a.body, "")
	}
	known, unknown := page("known@example.com"), page("other@example.com")
	if strings.ReplaceAll(known, "known@", "other@") != unknown {
		t.Error("the page tells whether there is an account")
	}
	for _, hint := range []string{`"><script>alert(1)</script>`, `' onfocus=alert(1) x='`, strings.Repeat("é", 3<<10), "a\u202eb@example.com", "javascript:alert(1)"} {
		body := page(hint)
		root, err := html.Parse(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for n := range root.Descendants() {
			if n.Data == "script" || attr(n, "onfocus") != "" {
				t.Errorf("%q became <%s>", hint, n.Data)
			}
			if attr(n, "id") == "email" && (len(attr(n, "value")) > 254 || strings.Contains(attr(n, "value"), "\u202e")) {
				t.Errorf("%.20q: the field starts with %d bytes", hint, len(attr(n, "value")))
			}
		}
	}
}

func TestOP13_ConsentTwiceInParallel(t *testing.T) {
	for name, wrap := range stores {
		t.Run(name, func(t *testing.T) {
			s := start(t, options{store: wrap})
			b := s.browser()
			for round := range 10 {
				page := b.get(authorizePath(thirdID, "prompt", "consent"))
				if round == 0 {
					page = b.signIn(authorizePath(thirdID), "ann@example.com")
				}
				action, fields := formOf(t, page.body, "allow")
				fields.Set("decision", "allow")
				f := form{action: action, values: fields}
				codes := 0
				for _, a := range race(func() answer { return f.send(b, f.values) }) {
					if a.status == http.StatusSeeOther {
						if a.arrives(t, callback).Get("code") == "" {
							t.Fatalf("to %s", a.header.Get("Location"))
						}
						codes++
						continue
					}
					a.isPage(t, http.StatusBadRequest)
				}
				if codes != 1 {
					t.Fatalf("%d codes of one decision", codes)
				}
			}
		})
	}
}

func TestConsent(t *testing.T) {
	s := start(t, options{})
	b := s.browser()
	page := b.signIn(authorizePath(thirdID), "ann@example.com")
	q := b.submit(page, "deny", "decision", "deny").redirectsError(t, "access_denied")
	if q.Get("state") != "some-state" || q.Get("iss") != s.provider.Issuer() {
		t.Errorf("denied: %v", q)
	}
	// No decision is no.
	b.submit(b.get(authorizePath(thirdID)), "allow").redirectsError(t, "access_denied")
	// Whoever else is signed in by now was not asked.
	page = b.get(authorizePath(thirdID))
	b.signIn(authorizePath(webID, "prompt", "login"), "bob@example.com").arrives(t, callback)
	again := b.submit(page, "allow", "decision", "allow")
	if again.status != http.StatusBadRequest || again.header.Get("Location") != "" || !strings.Contains(again.body, `id="email"`) {
		t.Errorf("Ann's page sent by Bob: %d to %q", again.status, again.header.Get("Location"))
	}
}

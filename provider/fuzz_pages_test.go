package provider_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/net/html"

	"github.com/lettergate/lettergate/provider"
)

// A visitor is one browser of a provider that is fuzzed, with a form of every kind at
// hand. Inputs name what is in it by placeholders, so that they are as good in another
// process: {browser} {session} {csrf} {request} {consent} {v} {code}.
type visitor struct {
	p       *provider.Provider
	browser string // the cookie
	session string // the cookie, "" when it may have been ended
	prefix  string // of the names of the cookies

	csrf, request string // see fill
}

func newVisitor(f *testing.F, p *provider.Provider) *visitor {
	f.Helper()
	v := &visitor{p: p}
	w := v.ask("GET", "/login/email", "")
	for _, c := range w.Result().Cookies() {
		v.prefix = strings.TrimSuffix(c.Name, "-browser")
	}
	v.browser = v.prefix + "-browser=" + base64.RawURLEncoding.EncodeToString(make([]byte, 32))
	return v
}

// ask sends what a person sends.
func (v *visitor) ask(method, target, form string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(form))
	r.Header.Set("Content-Type", formType)
	r.Header.Set("Cookie", v.browser+"; "+v.session)
	w := httptest.NewRecorder()
	v.p.ServeHTTP(w, r)
	return w
}

// begin starts a verification for the address with the known code.
func (v *visitor) begin(t *testing.T) (id, csrf string) {
	t.Helper()
	_, form := formOf(t, v.ask("GET", authorizePath(thirdID, "prompt", "login"), "").Body.String(), "email")
	form.Set("email", "test@example.com")
	to, err := url.Parse(v.ask("POST", "/login/email", form.Encode()).Header().Get("Location"))
	if err != nil || to.Query().Get("v") == "" {
		t.Fatalf("to %q: %v", to, err)
	}
	return to.Query().Get("v"), form.Get("csrf")
}

// signIn makes a session if there may be none.
func (v *visitor) signIn(t *testing.T) {
	t.Helper()
	if v.session != "" {
		return
	}
	id, csrf := v.begin(t)
	w := v.ask("POST", "/login/code", values("csrf", csrf, "v", id, "code", "123456").Encode())
	for _, c := range w.Result().Cookies() {
		v.session = c.Name + "=" + c.Value
	}
	if v.session == "" {
		t.Fatalf("not signed in: %d %s", w.Code, w.Body)
	}
}

// consent returns the request of a consent page.
func (v *visitor) consent(t *testing.T) string {
	t.Helper()
	path := authorizePath(thirdID, "prompt", "consent")
	page := v.ask("GET", path, "").Body.String()
	if !strings.Contains(page, `id="allow"`) { // the session was ended by what was sent before
		v.session = ""
		v.signIn(t)
		page = v.ask("GET", path, "").Body.String()
	}
	_, form := formOf(t, page, "allow")
	return form.Get("request")
}

// fill puts what placeholders stand for into all of the inputs.
func (v *visitor) fill(t *testing.T, inputs ...*string) {
	t.Helper()
	all := ""
	for _, in := range inputs {
		all += *in
	}
	found := []string{"{browser}", v.browser, "{code}", "123456"}
	if strings.Contains(all, "{session}") || strings.Contains(all, "{consent}") {
		v.signIn(t)
	}
	if strings.Contains(all, "{consent}") {
		found = append(found, "{consent}", v.consent(t))
	}
	found = append(found, "{session}", v.session)
	if strings.Contains(all, "{v}") {
		id, _ := v.begin(t)
		found = append(found, "{v}", id)
	}
	if v.csrf == "" { // both are good for an hour
		_, form := formOf(t, v.ask("GET", authorizePath(webID, "prompt", "login"), "").Body.String(), "email")
		v.csrf, v.request = form.Get("csrf"), form.Get("request")
	}
	found = append(found, "{csrf}", v.csrf, "{request}", v.request)
	for _, in := range inputs {
		*in = strings.NewReplacer(found...).Replace(*in)
	}
}

// oneLine is s as a header can have it.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, s)
}

// harmless fails the test when a page has an element or attribute that it should not, or
// leads elsewhere.
func harmless(t *testing.T, body string) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		switch n.Data {
		case "script":
			if n.FirstChild == nil || n.FirstChild.Data != `document.getElementById("submit").click()` {
				t.Fatalf("a script of somebody's: %s", body)
			}
		case "iframe", "object", "embed", "base", "img", "template", "math":
			t.Fatalf("a page with <%s>: %s", n.Data, body)
		}
		for _, a := range n.Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") || a.Key == "srcdoc" {
				t.Fatalf("<%s %s>: %s", n.Data, a.Key, body)
			}
			switch a.Key {
			case "action", "formaction", "href", "src":
				if a.Val != "data:," && (!strings.HasPrefix(a.Val, "/") || strings.HasPrefix(a.Val, "//")) {
					isRegistered(t, a.Val)
				}
			}
		}
	}
}

// goodForms are forms of our pages by path.
var goodForms = map[string][]string{
	"/login/email":       {"csrf={csrf}&request={request}&email=test%40example.com", "csrf={csrf}&request={request}&email=%22%3E%3Cscript%3E", "csrf={csrf}&request={consent}&email=ann%40example.com"},
	"/login/code":        {"csrf={csrf}&v={v}&code={code}", "csrf={csrf}&v={v}&code=000000", "csrf={csrf}&v={v}&code=%EF%BC%91+23-456"},
	"/login/code/resend": {"csrf={csrf}&v={v}"},
	"/login/password":    {"csrf={csrf}&request={request}&email=ann", "csrf={csrf}&request={request}&email=ann&password=password123"},
	"/consent":           {"csrf={csrf}&request={consent}&decision=allow", "csrf={csrf}&request={consent}&decision=deny", "csrf={csrf}&request={request}&decision=allow"},
	"/logout":            {"csrf={csrf}&request={request}", "csrf={csrf}"},
	"/login/link":        {"csrf={csrf}&v={v}"},
}

// FuzzPageRequests sends anything to any route (FZ-04): never a failure of ours, never an
// answer in another form than the row's, never an element, a place or a session that
// somebody has made up.
func FuzzPageRequests(f *testing.F) {
	p := fuzzed(f)
	visit := newVisitor(f, p)
	rows := provider.Rows(p)
	methods := []string{"GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"}
	_, good, _ := strings.Cut(authorizePath(webID), "?")
	for i, row := range rows {
		for j := range methods[:2] {
			f.Add(uint8(i), uint8(j), "", "", formType, "", "", "", "")
			f.Add(uint8(i), uint8(j), good, "{}", "text/plain", "{browser}; {session}", "https://evil.example", "cross-site", "Bearer x")
			f.Add(uint8(i), uint8(j), "v={v}&resume={v}", good, formType, "{browser}", "null", "same-origin", "Basic eDp5")
			f.Add(uint8(i), uint8(j), "client_id="+envID, `{"email":"ann@example.com","username":"ann","password":"x","verification_id":"x","verification_code":1}`, "", "", appOrigin, "", "")
		}
		for _, form := range goodForms[row.Path] {
			f.Add(uint8(i), uint8(1), "", form, formType, "{browser}; {session}", "null", "same-origin", "")
			f.Add(uint8(i), uint8(1), "", form, formType, "{browser}", "http://localhost:8080", "", "")
			f.Add(uint8(i), uint8(1), "", form, formType, "{browser}", "https://evil.example", "", "")
			f.Add(uint8(i), uint8(1), "", form, formType, "{browser}", "null", "cross-site", "")
			f.Add(uint8(i), uint8(1), "", form+"&csrf=x", formType+"; charset=utf-8", "{browser}", "null", "none", "")
		}
	}
	for _, query := range []string{"&response_mode=form_post", "&prompt=none", "&prompt=consent&response_mode=form_post&prompt=none", "&ui_locales=zh&login_hint=%3Cb%3E"} {
		f.Add(uint8(0), uint8(0), good+query, "", "", "{browser}; {session}", "", "", "")
	}
	f.Fuzz(func(t *testing.T, route, method uint8, query, body, kind, cookie, origin, site, authorization string) {
		row := rows[int(route)%len(rows)]
		visit.fill(t, &query, &body, &cookie)
		r := httptest.NewRequest(methods[int(method)%len(methods)], row.Path, strings.NewReader(body))
		r.URL.RawQuery = query
		for name, value := range map[string]string{
			"Content-Type": kind, "Cookie": cookie, "Origin": origin, "Sec-Fetch-Site": site, "Authorization": authorization, "Accept-Language": site,
		} {
			if value != "" {
				r.Header.Set(name, oneLine(value))
			}
		}
		w := httptest.NewRecorder()
		p.ServeHTTP(w, r)
		if slices.Contains([]string{"/login/code", "/login/password", "/logout", "/oauth2/logout"}, row.Path) {
			visit.session = "" // replaced or ended, perhaps
		}
		a := answer{w.Code, w.Result().Header, w.Body.String()}
		if w.Code >= 500 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		what := r.Method + " " + row.Path
		if r.Method == "OPTIONS" || r.Method == "HEAD" {
			return
		}
		a.hasForm(t, row, what)
		if strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
			harmless(t, a.body)
		}
		if to := a.header.Get("Location"); to != "" && !ownPlace(to) && !strings.HasPrefix(to, "https://app.example/bye") {
			isRegistered(t, to)
		}
		foreign := site != "" && oneLine(site) != "same-origin" || origin != "" && oneLine(origin) != "null" && oneLine(origin) != "http://localhost:8080"
		for _, c := range w.Result().Cookies() {
			if c.Name == visit.prefix+"-session" && c.Value != "" && (foreign || !strings.Contains(cookie, visit.browser) || !strings.Contains(body, "csrf=")) {
				t.Fatalf("%s: a session for a form from elsewhere", what)
			}
		}
	})
}

// ownPlace reports whether a redirect stays on our pages.
func ownPlace(to string) bool {
	path, _, _ := strings.Cut(to, "?")
	return slices.Contains([]string{"/oauth2/authorize", "/oauth2/logout", "/login/code", "/login/email"}, path) && !strings.ContainsAny(to, "\\\r\n\t ")
}

// FuzzCookies sends any cookies to every page (FZ-17): they are somebody's or nobody's,
// and what they say is never said again.
func FuzzCookies(f *testing.F) {
	p := fuzzed(f)
	visit := newVisitor(f, p)
	var pages []string
	for _, row := range provider.Rows(p) {
		if row.Person && slices.Contains(row.Methods, http.MethodGet) {
			pages = append(pages, row.Path)
		}
	}
	pages = append(pages, authorizePath(webID), authorizePath(webID, "prompt", "none"), authorizePath(webID, "prompt", "none", "response_mode", "form_post"), logoutPath("client_id", webID))
	names := []string{visit.prefix + "-browser=", visit.prefix + "-session=", strings.ToUpper(visit.prefix) + "-SESSION=", "__Host-" + visit.prefix + "-session=", "x="}
	for i := range pages {
		for _, name := range names {
			for _, value := range []string{"", "x", strings.Repeat("A", 43), strings.Repeat("A", 70), strings.Repeat("=", 50), `"` + strings.Repeat("A", 43) + `"`, "%00%ff", "<script>alert(1)</script>", strings.Repeat("B", 9000)} {
				f.Add(uint8(i), name+value)
			}
		}
		f.Add(uint8(i), "{browser}; {browser}")
		f.Add(uint8(i), "{browser}; "+names[1]+strings.Repeat("A", 70)+"; "+names[1]+strings.Repeat("B", 70))
		for _, session := range []string{"{live}", "{live}A", "A{live}", `"{live}"`, "{live}=", "{live}; " + names[1] + "x", "x; " + names[1] + "{live}", "{live}; " + names[1] + "{live}"} {
			f.Add(uint8(i), "{browser}; "+names[1]+session)
			f.Add(uint8(i), names[2]+session)
		}
		f.Add(uint8(i), ";;=;,=\x00;\r\n\xff")
		f.Add(uint8(i), strings.Repeat("a=b; ", 300))
	}
	f.Fuzz(func(t *testing.T, page uint8, cookie string) {
		target := pages[int(page)%len(pages)]
		ask := func(cookie string) *httptest.ResponseRecorder {
			r := httptest.NewRequest("GET", target, nil)
			if cookie != "" {
				r.Header.Set("Cookie", cookie)
			}
			w := httptest.NewRecorder()
			p.ServeHTTP(w, r)
			return w
		}
		visit.signIn(t)
		_, live, _ := strings.Cut(visit.session, "=")
		cookie = strings.NewReplacer("{browser}", visit.browser, "{live}", live).Replace(cookie)
		sent := (&http.Request{Header: http.Header{"Cookie": {cookie}}}).CookiesNamed(visit.prefix + "-session")
		somebody := len(sent) == 1 && sent[0].Value == live
		without, with := ask(""), ask(cookie)
		if with.Code >= 500 || with.Code != without.Code && !somebody {
			t.Fatalf("%s: %d, without cookies %d", target, with.Code, without.Code)
		}
		told := with.Body.String() + "\n" + with.Header().Get("Location")
		signedIn := strings.Contains(told, "test@example.com") || strings.Contains(told, "code=") && strings.Contains(told, "iss=")
		if signedIn && !somebody {
			t.Fatalf("%s: somebody is signed in by %q: %s", target, cookie, told)
		}
		if somebody && !signedIn && target == "/login/email" {
			t.Fatalf("%s: nobody is signed in by %q: %s", target, cookie, told)
		}
		for _, c := range with.Result().Cookies() {
			fresh := c.Name == visit.prefix+"-browser" && len(c.Value) == 43 && !strings.Contains(cookie, c.Value)
			gone := c.Name == visit.prefix+"-session" && c.Value == "" && c.MaxAge < 0
			if !fresh && !gone || !c.HttpOnly || c.Path != "/" || c.Domain != "" {
				t.Fatalf("%s: sets %s", target, c)
			}
		}
		for name, values := range with.Header() {
			if name != "Set-Cookie" { // whose names are ours, and whose values are new
				told += "\n" + strings.Join(values, "\n")
			}
		}
		for _, part := range strings.FieldsFunc(cookie, func(r rune) bool { return strings.ContainsRune(`;=, "`, r) }) {
			if len(part) >= 12 && strings.Contains(told, part) && !strings.Contains(without.Body.String(), part) {
				t.Fatalf("%s: %q is said again", target, part)
			}
		}
	})
}

package provider_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/provider"
	"github.com/lettergate/lettergate/provider/internal/secrets"
)

// specimens are a good request for each method of each route. A route without one fails
// the tests that walk the table, so whoever adds a route says here what a good request
// for it is.
func specimens() map[string]flow {
	all := map[string]flow{}
	// Those that meet a failing store anyway.
	for row, name := range map[string]string{
		"GET /oauth2/authorize": "authorize, consent page", "POST /consent": "consent", "POST /login/email": "sign-in page, sent", "GET /login/code": "code page",
		"GET /login/email": "code page, other address", "POST /login/code/resend": "resend", "POST /login/code": "code page, sent by a new person",
		"GET /oauth2/logout": "logout with a hint", "POST /logout": "logout page, sent", "POST /oauth2/token": "code exchange", "POST /oauth2/verification": "verification",
		"GET /oauth2/userinfo": "userinfo", "POST /oauth2/introspect": "introspection", "POST /oauth2/revoke": "revocation of a refresh token",
	} {
		for _, fl := range flows {
			if fl.name == name {
				all[row] = fl
			}
		}
	}
	for row, name := range map[string]string{
		"POST verification": "verification", "POST verification/verify": "verify", "POST signin": "signin by password", "POST token": "token", "GET token/introspect": "introspect",
		"POST revoke": "revoke", "POST reset": "reset", "GET checkIfUserExist": "exists", "GET user/me": "me", "DELETE user/me": "delete", "POST user/sudo": "sudo",
		"PATCH user/password": "password", "POST user/basic/edit": "edit",
	} {
		method, path, _ := strings.Cut(row, " ")
		all[method+" /auth/v1/"+path] = appFlow(cloudFlows[name])
	}
	for _, rest := range []map[string]flow{pageSpecimens(), appSpecimens(), documentSpecimens()} {
		for row, fl := range rest {
			all[row] = fl
		}
	}
	return all
}

// appFlow makes a flow of a call.
func appFlow(prepare func(a *app, email string) req) flow {
	return flow{ok: http.StatusOK, prepare: func(s *server, address string) func() answer {
		a := s.app(envID)
		r := prepare(a, address)
		r.id = secrets.NewID()
		return func() answer { return a.do(r) }
	}}
}

func pageSpecimens() map[string]flow {
	_, request, _ := strings.Cut(authorizePath(webID), "?")
	return map[string]flow{
		"POST /oauth2/authorize": {ok: http.StatusSeeOther, prepare: func(s *server, _ string) func() answer {
			return func() answer { return s.send(s.request("POST", "/oauth2/authorize", request)) }
		}},
		"POST /oauth2/logout": {ok: http.StatusSeeOther, prepare: func(s *server, _ string) func() answer {
			return func() answer { return s.send(s.request("POST", "/oauth2/logout", "client_id=web")) }
		}},
		"GET /logout": {ok: http.StatusOK, prepare: func(s *server, _ string) func() answer {
			return func() answer { return s.get("/logout") }
		}},
		"GET /login/link": {ok: http.StatusOK, prepare: func(s *server, address string) func() answer {
			link := s.mailedLink(address)
			return func() answer { return s.get(link) }
		}},
		"POST /login/link": {ok: http.StatusSeeOther, prepare: func(s *server, address string) func() answer {
			b := s.browser()
			action, fields := formOf(s.t, b.get(s.mailedLink(address)).body, "confirm")
			return func() answer { return form{action: action, values: fields}.send(b, fields) }
		}},
		"POST /login/password": {ok: http.StatusSeeOther, prepare: func(s *server, address string) func() answer {
			s.app(envID).signedUp(address, "", "password123")
			b := s.browser()
			action, fields := formOf(s.t, b.onPasswordPage(authorizePath(webID), address).body, "password")
			fields.Set("password", "password123")
			return func() answer { return form{action: action, values: fields}.send(b, fields) }
		}},
	}
}

// mailedLink has a link mailed to the address and returns its path.
func (s *server) mailedLink(address string) string {
	s.t.Helper()
	s.app(envID).verification(address, "email_redirect_to", appOrigin+"/")
	for _, line := range strings.Split(s.waitMail(address).Text, "\n") {
		if link, ok := strings.CutPrefix(strings.TrimSpace(line), s.provider.Issuer()); ok {
			return link
		}
	}
	s.t.Fatal("no link in the mail")
	return ""
}

func appSpecimens() map[string]flow {
	signedIn := func(r req) flow {
		r.bearer = true
		return appFlow(func(a *app, email string) req {
			a.signedUp(email, "", "")
			return r
		})
	}
	guess := appFlow(func(a *app, _ string) req {
		return req{path: "captcha/data/verify", body: fields{"token": a.ok(req{path: "captcha/data", body: fields{}})["token"], "key": "abcd"}}
	})
	guess.ok = http.StatusBadRequest
	return map[string]flow{
		"POST /auth/v1/signup": appFlow(func(a *app, email string) req {
			return req{path: "signup", body: fields{"verification_token": a.prove(email), "password": "password123"}}
		}),
		"POST /auth/v1/captcha/data":        appFlow(func(*app, string) req { return req{path: "captcha/data", body: fields{}} }),
		"POST /auth/v1/captcha/data/verify": guess,
		"PATCH /auth/v1/user/me":            signedIn(req{method: "PATCH", path: "user/me", body: fields{"nickname": "A"}}),
		"PATCH /auth/v1/user/profile":       signedIn(req{method: "PATCH", path: "user/profile", body: fields{"nickname": "B"}}),
		"GET /auth/v1/user/provider":        signedIn(req{method: "GET", path: "user/provider"}),
		"POST /auth/v1/user/signout":        signedIn(req{path: "user/signout", body: fields{}}),
		"PATCH /auth/v1/user/contact": appFlow(func(a *app, email string) req {
			a.signedUp(email, "", "password123")
			to := "new-" + email
			token := a.verify(a.verification(to), a.s.code(to))
			return req{method: "PATCH", path: "user/contact", body: fields{"email": to, "verification_token": token, "sudo_token": a.sudo("password123")}, bearer: true}
		}),
	}
}

func documentSpecimens() map[string]flow {
	all := map[string]flow{"POST /oauth2/userinfo": {ok: http.StatusOK, prepare: func(s *server, address string) func() answer {
		token := s.tokens(address)["access_token"].(string)
		return func() answer { return s.post("/oauth2/userinfo", "access_token", token) }
	}}}
	for _, path := range []string{
		"/oauth2/jwks", "/healthz", "/readyz", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/dev/mailbox", "/dev/mailbox/messages.json",
	} {
		all["GET "+path] = flow{ok: http.StatusOK, prepare: func(s *server, _ string) func() answer {
			return func() answer { return s.get(path) }
		}}
	}
	return all
}

// walk calls visit for each method of each route of the server with a good request for
// it, and fails the test for one that has none.
func (s *server) walk(visit func(t *testing.T, row provider.Row, method string, fl flow)) {
	s.t.Helper()
	all := specimens()
	for _, row := range provider.Rows(s.provider) {
		for _, method := range row.Methods {
			name := method + " " + row.Path
			fl, ok := all[name]
			if !ok {
				s.t.Errorf("%s has no good request in specimens", name)
				continue
			}
			s.t.Run(name, func(t *testing.T) {
				outer := s.t
				s.t = t
				defer func() { s.t = outer }()
				visit(t, row, method, fl)
			})
		}
	}
}

// keepsTo fails the test unless the answer is what its row says every answer is, and
// tells nothing of the inside.
func (a answer) keepsTo(t *testing.T, row provider.Row, what string) {
	t.Helper()
	a.leaksNothing(t, what)
	a.hasForm(t, row, what)
}

// hasForm fails the test unless the answer looks as its row says.
func (a answer) hasForm(t *testing.T, row provider.Row, what string) {
	t.Helper()
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	if a.header.Get("X-Request-Id") == "" || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s: headers %v", what, a.header)
	}
	if kept := row.Public && (a.status == http.StatusOK || a.status == http.StatusNotModified); kept == (a.header.Get("Cache-Control") == "no-store") {
		t.Errorf("%s: %d with Cache-Control %q", what, a.status, a.header.Get("Cache-Control"))
	}
	mailbox := strings.Contains(row.Path, "/dev/mailbox") // shows mails, in a policy of its own
	switch {
	case a.status == http.StatusSeeOther:
		if !row.Person || a.body != "" || a.header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: redirects with %v %q", what, a.header, a.body)
		}
	case a.status/100 == 3 && a.status != http.StatusNotModified:
		t.Errorf("%s: redirects with %d", what, a.status)
	case row.Person && !mailbox:
		if kind != "text/html" && (a.status < 500 || kind != "text/plain") {
			t.Errorf("%s: %d is %q", what, a.status, kind)
		}
		a.isFramedNowhere(t, what)
	case row.Person || a.body == "" && a.status < 400:
	case kind != "application/json":
		t.Errorf("%s: %d is %q", what, a.status, kind)
	case row.App && a.status >= 400:
		if m := a.json(t); m["error"] == nil || m["error_code"] == nil || m["error_description"] == nil {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	case a.status >= 400:
		anonymous := a.status == http.StatusUnauthorized && a.header.Get("WWW-Authenticate") == "Bearer" // RFC 6750 section 3.1
		if m := a.json(t); m["error"] == nil && !anonymous && !row.Early {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
}

// isFailure fails the test unless the answer is the row's own for what is our fault, with
// the request's id, and logged once.
func (a answer) isFailure(t *testing.T, row provider.Row, what string, log *syncLog) {
	t.Helper()
	a.keepsTo(t, row, what)
	id := a.header.Get("X-Request-Id")
	if row.Person && !strings.Contains(a.body, id) {
		t.Errorf("%s: the page does not name the request: %.300s", what, a.body)
	}
	if a.header.Get("Location") != "" || a.header.Get("ETag") != "" {
		t.Errorf("%s: %d with %v", what, a.status, a.header)
	}
	if n := log.errorsOf(id); n != 1 {
		t.Errorf("%s: %d was logged %d times", what, a.status, n)
	}
}

// errorsOf counts what was logged as an error of the request.
func (l *syncLog) errorsOf(id string) (n int) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, "level=ERROR") && strings.Contains(line, "request_id="+id) {
			n++
		}
	}
	return n
}

// addressFor is an address for a try at a row.
func addressFor(method, path string, n int) string {
	return fmt.Sprintf("%s%s%d@example.com", strings.ToLower(method), url.QueryEscape(strings.NewReplacer("/", "-", ".", "-", "_", "-").Replace(strings.ToLower(path))), n)
}

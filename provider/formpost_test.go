package provider_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/config"
)

// posts fails the test unless the answer is the page that sends the client a form, and
// returns what the form says.
func (a answer) posts(t *testing.T, uri string) url.Values {
	t.Helper()
	if a.status != http.StatusOK || a.header.Get("Location") != "" || !strings.Contains(a.body, "<script>") {
		t.Fatalf("got %d to %q, want a form for %s\n%.300s", a.status, a.header.Get("Location"), uri, a.body)
	}
	a.isFramedNowhere(t, "form_post")
	action, form := formOf(t, a.body, "submit")
	if action != uri {
		t.Fatalf("the form goes to %q, want %q", action, uri)
	}
	return form
}

// formPost is authorizePath with the answer as a form.
func formPost(client string, pairs ...string) string {
	return authorizePath(client, append([]string{"response_mode", "form_post"}, pairs...)...)
}

func TestAS33_FormPost(t *testing.T) {
	s := start(t, options{path: "/id"})
	b := s.browser()
	answers := map[string]url.Values{
		"error":     b.send(s.request("GET", formPost(webID, "prompt", "none"), "")).posts(t, callback),
		"signed in": b.signIn(formPost(webID), "ann@example.com").posts(t, callback),
		"again":     b.get(formPost(webID, "prompt", "none")).posts(t, callback),
		"no PKCE":   b.get(formPost(webID, "code_challenge", "")).posts(t, callback),
		"loopback":  b.get(formPost(webID, "redirect_uri", "http://127.0.0.1:4711/cb")).posts(t, "http://127.0.0.1:4711/cb"),
		"denied":    b.submit(b.get(formPost(thirdID)), "deny", "decision", "deny").posts(t, callback),
		"allowed":   b.submit(b.get(formPost(thirdID)), "allow", "decision", "allow").posts(t, callback),
		"posted":    b.follow(s.request("POST", "/oauth2/authorize", strings.SplitN(formPost(webID), "?", 2)[1])).posts(t, callback),
	}
	for name, form := range answers {
		want := map[string]string{"error": "login_required", "no PKCE": "invalid_request", "denied": "access_denied"}[name]
		if form.Get("error") != want || form.Has("code") != (want == "") || form.Has("error_description") != (want != "") {
			t.Errorf("%s: the client is told %v", name, form)
		}
		if form.Get("iss") != s.provider.Issuer() || form.Get("state") != "some-state" {
			t.Errorf("%s: iss %q, state %q", name, form.Get("iss"), form.Get("state"))
		}
	}
	if got := s.exchange(answers["signed in"].Get("code")); got.status != http.StatusOK {
		t.Errorf("the code: %d %s", got.status, got.body)
	}
	if form := b.get(formPost(webID, "state", "")).posts(t, callback); form.Has("state") || len(form) != 2 {
		t.Errorf("without a state: %v", form)
	}
}

// follow sends a request with the browser's cookies and goes where it leads.
func (b *browser) follow(req *http.Request) answer {
	b.s.t.Helper()
	resp, err := b.client.Do(req)
	return read(b.s.t, resp, err)
}

func TestAS33_StateIsEscaped(t *testing.T) {
	s := start(t, options{})
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	for name, state := range map[string]string{
		"markup": `"><script>alert(1)</script><input name=code value=x>`, "specials": `&=%"<>'+#;?/\ ~%00%zz`, "UTF-8": "ключ-鍵-🔑-é",
		"a form's end": `</form><form action=//evil.example>`, "spaces": "  two  ", "tab": "a\tb", "separators": "a\u2028b", "4 KiB": strings.Repeat("0123456789abcdef", 256),
	} {
		a := b.get(formPost(webID, "state", state))
		form := a.posts(t, callback)
		if form.Get("state") != state {
			t.Errorf("%s: %q came back as %q", name, state, form.Get("state"))
		}
		if n := strings.Count(a.body, "<script"); n != 1 || strings.Count(a.body, "<form") != 1 {
			t.Errorf("%s: %d scripts, %d forms", name, n, strings.Count(a.body, "<form"))
		}
	}
}

// What cannot be answered by a form is told by a redirect, with the state as it was.
func TestAS33_ModesThatAreNot(t *testing.T) {
	const app = "com.example.app:/callback"
	s := start(t, options{config: func(c *config.Config) { c.Clients[0].RedirectURIs = append(c.Clients[0].RedirectURIs, app) }})
	b := s.browser()
	b.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	for _, mode := range []string{"fragment", "query.jwt", "form_post.jwt", "jwt", "web_message", "Form_Post", "QUERY", "form_post ", "query form_post", "<script>"} {
		q := b.get(authorizePath(webID, "response_mode", mode)).redirectsError(t, "invalid_request")
		if q.Get("state") != "some-state" || q.Get("iss") == "" {
			t.Errorf("%s: the client is told %v", mode, q)
		}
	}
	q := b.get(formPost(webID, "redirect_uri", app)).arrives(t, app+"?")
	if q.Get("error") != "invalid_request" || q.Has("code") {
		t.Errorf("an app's own scheme is told %v", q)
	}
	for _, state := range []string{"a\nb", "a\rb", "a\r\nb"} {
		if q := b.get(formPost(webID, "state", state)).redirectsError(t, "invalid_request"); q.Get("state") != state {
			t.Errorf("the state %q came back as %q", state, q.Get("state"))
		}
	}
	for _, mode := range []string{"query", ""} {
		if q := b.get(authorizePath(webID, "response_mode", mode)).arrives(t, callback); q.Get("code") == "" {
			t.Errorf("response_mode=%s: %v", mode, q)
		}
	}
	// Who is not to be redirected to gets no form either.
	b.get(formPost(webID, "redirect_uri", "https://evil.example/")).isPage(t, http.StatusBadRequest)
	b.get(formPost("nobody")).isPage(t, http.StatusBadRequest)
}

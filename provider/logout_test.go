package provider_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

const bye = "https://app.example/bye"

// logoutPath is the path of a logout request.
func logoutPath(pairs ...string) string {
	return "/oauth2/logout?" + values(pairs...).Encode()
}

// isSignedIn asks without showing a page.
func (b *browser) isSignedIn() bool {
	b.s.t.Helper()
	q := b.send(b.s.request("GET", authorizePath(webID, "prompt", "none"), "")).arrives(b.s.t, callback)
	if e := q.Get("error"); e != "" && e != "login_required" {
		b.s.t.Fatalf("prompt=none: %v", q)
	}
	return q.Get("code") != ""
}

// signedIn is a browser with somebody's session, and tokens of it with the scope.
func (s *server) signedIn(address, scope string) (*browser, map[string]any) {
	s.t.Helper()
	b := s.browser()
	q := b.signIn(authorizePath(webID, "scope", scope), address).arrives(s.t, callback)
	return b, s.exchange(q.Get("code")).json(s.t)
}

func TestOP12_LogoutWithHint(t *testing.T) {
	clk := newClock()
	s := start(t, options{now: clk.now, path: "/id"})
	b, tokens := s.signedIn("ann@example.com", "openid email")
	offline := s.exchange(b.nextCode()).json(t) // with offline_access
	clk.advance(time.Hour)                      // an old ID token is as good
	fresh := s.exchange(b.nextCode("scope", "openid")).json(t)
	a := b.send(s.request("GET", logoutPath("id_token_hint", tokens["id_token"].(string), "post_logout_redirect_uri", bye, "state", "a&b é"), ""))
	if a.status != http.StatusSeeOther || a.header.Get("Location") != bye+"?state="+url.QueryEscape("a&b é") {
		t.Fatalf("%d to %q %s", a.status, a.header.Get("Location"), a.body)
	}
	if b.isSignedIn() {
		t.Error("still signed in")
	}
	if a := s.userinfo(fresh["access_token"].(string)); a.status != http.StatusUnauthorized {
		t.Errorf("an access token of the session: %d", a.status)
	}
	next := s.rotated(offline) // what was to outlive the session does
	s.alive(next)
	// Signing out twice is signing out once.
	again := b.send(s.request("GET", logoutPath("id_token_hint", tokens["id_token"].(string), "post_logout_redirect_uri", bye), ""))
	if again.status != http.StatusSeeOther || again.header.Get("Location") != bye {
		t.Errorf("again: %d to %q", again.status, again.header.Get("Location"))
	}
}

func TestOP12_LogoutWithoutHintAsks(t *testing.T) {
	s := start(t, options{})
	b, tokens := s.signedIn("ann@example.com", "openid email")
	_, other := s.signedIn("ann@example.com", "openid")
	for name, path := range map[string]string{
		"an image on another site": "/oauth2/logout",
		"only a client":            logoutPath("client_id", webID, "post_logout_redirect_uri", bye),
		"another session's hint":   logoutPath("id_token_hint", other["id_token"].(string), "post_logout_redirect_uri", bye),
		"our own link":             "/logout",
	} {
		a := b.send(s.request("GET", path, "", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "image"))
		if a.status != http.StatusOK || !strings.Contains(a.body, `id="confirm"`) {
			t.Errorf("%s: %d %.200s", name, a.status, a.body)
		}
		a.isFramedNowhere(t, name)
		if !b.isSignedIn() {
			t.Fatalf("%s signed out", name)
		}
	}
	done := b.submit(b.get(logoutPath("client_id", webID, "post_logout_redirect_uri", bye, "state", "s")), "confirm")
	if done.status != http.StatusSeeOther || done.header.Get("Location") != bye+"?state=s" {
		t.Errorf("confirmed: %d to %q", done.status, done.header.Get("Location"))
	}
	if b.isSignedIn() {
		t.Error("still signed in")
	}
	if a := s.userinfo(tokens["access_token"].(string)); a.status != http.StatusUnauthorized {
		t.Errorf("an access token of the session: %d", a.status)
	}
	s.alive(other) // of another browser
	if a := b.get("/logout"); a.status != http.StatusOK {
		t.Errorf("nobody to sign out: %d", a.status)
	}
}

func TestOP12_WrongLogoutRequests(t *testing.T) {
	s := start(t, options{})
	b, tokens := s.signedIn("ann@example.com", "openid")
	hint := tokens["id_token"].(string)
	for name, pairs := range map[string][]string{
		"unregistered":              {"id_token_hint", hint, "post_logout_redirect_uri", "https://evil.example/"},
		"a redirect_uri":            {"id_token_hint", hint, "post_logout_redirect_uri", callback},
		"with a query":              {"id_token_hint", hint, "post_logout_redirect_uri", bye + "?x=1"},
		"script":                    {"id_token_hint", hint, "post_logout_redirect_uri", "javascript:alert(1)"},
		"no scheme":                 {"id_token_hint", hint, "post_logout_redirect_uri", "//evil.example"},
		"backslash":                 {"id_token_hint", hint, "post_logout_redirect_uri", `/\evil.example`},
		"of a client that has none": {"client_id", thirdID, "post_logout_redirect_uri", bye},
		"without client":            {"post_logout_redirect_uri", bye},
		"unknown client":            {"client_id", "nobody", "post_logout_redirect_uri", bye},
		"client is not the hint's":  {"client_id", thirdID, "id_token_hint", hint},
		"forged hint":               {"id_token_hint", altered(hint)},
		"another issuer's hint":     {"id_token_hint", foreignIDToken(t)},
		"access token as hint":      {"id_token_hint", tokens["access_token"].(string)},
	} {
		t.Run(name, func(t *testing.T) {
			b.send(s.request("GET", logoutPath(pairs...), "")).isPage(t, http.StatusBadRequest)
		})
	}
	b.send(s.request("GET", logoutPath("state", "a", "state", "b"), "")).isPage(t, http.StatusBadRequest)
	if !b.isSignedIn() {
		t.Error("one of them signed out")
	}
	// None of the usual names for it is a redirect.
	for _, name := range []string{"return_to", "back", "next", "redirect_uri", "redirect", "url", "continue"} {
		for _, path := range []string{"/login/email?", "/logout?", "/oauth2/logout?", "/oauth2/authorize?client_id=web&"} {
			a := b.send(s.request("GET", path+name+"=https%3A%2F%2Fevil.example", ""))
			if a.header.Get("Location") != "" || strings.Contains(a.body, "evil.example") {
				t.Errorf("%s%s: %d to %q", path, name, a.status, a.header.Get("Location"))
			}
		}
	}
}

func TestOP12_LogoutByPost(t *testing.T) {
	s := start(t, options{})
	b, tokens := s.signedIn("ann@example.com", "openid")
	form := values("id_token_hint", tokens["id_token"].(string), "post_logout_redirect_uri", bye, "state", "s").Encode()
	a := b.send(s.request("POST", "/oauth2/logout", form, "Sec-Fetch-Site", "cross-site", "Origin", "https://app.example"))
	if a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/oauth2/logout?") {
		t.Fatalf("%d to %q", a.status, a.header.Get("Location"))
	}
	a = b.send(s.request("GET", a.header.Get("Location"), ""))
	if a.header.Get("Location") != bye+"?state=s" || b.isSignedIn() {
		t.Errorf("%d to %q", a.status, a.header.Get("Location"))
	}
}

func TestOP12_LogoutTwiceInParallel(t *testing.T) {
	for name, wrap := range stores {
		t.Run(name, func(t *testing.T) {
			s := start(t, options{store: wrap})
			for range 3 {
				b, tokens := s.signedIn("ann@example.com", "openid email")
				for _, a := range race(func() answer {
					return b.send(s.request("GET", logoutPath("id_token_hint", tokens["id_token"].(string), "post_logout_redirect_uri", bye), ""))
				}) {
					if wrap != nil && a.status == http.StatusServiceUnavailable {
						a.isOutage(t, "a sign-out whose reply was lost")
						continue
					}
					if a.status != http.StatusSeeOther || a.header.Get("Location") != bye {
						t.Fatalf("%d to %q %.300s", a.status, a.header.Get("Location"), a.body)
					}
				}
				if b.isSignedIn() {
					t.Error("still signed in")
				}
				if a := s.userinfo(tokens["access_token"].(string)); a.status != http.StatusUnauthorized {
					t.Errorf("an access token of the session: %d", a.status)
				}
			}
		})
	}
}

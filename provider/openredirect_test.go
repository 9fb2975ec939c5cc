package provider_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// elsewhere are the spellings of a place that nobody registered.
var elsewhere = []string{
	"https://evil.example", "https://evil.example/callback", "//evil.example", "///evil.example", `/\evil.example`, `\\evil.example`, `/\/evil.example`,
	"/%09/evil.example", "/\t/evil.example", "/%2f/evil.example", "/%5cevil.example", "%2f%2fevil.example", "%252f%252fevil.example", "https%253A%252F%252Fevil.example",
	"https:evil.example", "https:/evil.example", `https:\\evil.example`, "HTTPS://EVIL.EXAMPLE", " https://evil.example", "\nhttps://evil.example",
	"https://app.example@evil.example", "https://app.example.evil.example/bye", "https://evil.example#https://app.example/bye", "https://evil.example?https://app.example/bye",
	"javascript:alert(1)", "JavaScript:alert(1)", "java\tscript:alert(1)", "data:text/html,evil", "vbscript:evil", "/..//evil.example", "./\\evil.example",
	"/login/email\r\nLocation: https://evil.example", "%0d%0aLocation:%20https://evil.example", "https://evil.example\x00.app.example",
}

// forwarders are names that software gives to a parameter which says where to go next.
var forwarders = []string{
	"return_to", "returnTo", "return", "back", "next", "continue", "url", "uri", "redirect", "redirect_to", "redirect_uri", "redirectUrl", "target", "to", "dest",
	"destination", "goto", "rd", "service", "RelayState", "callback", "ref", "post_logout_redirect_uri", "email_redirect_to", "client_uri", "resume", "v",
}

// leadsNowhere fails the test when the answer leads, or lets anybody be led, to a place
// that was only asked for.
func (a answer) leadsNowhere(t *testing.T, what string) {
	t.Helper()
	to := a.header.Get("Location")
	own := strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "//") && !strings.ContainsAny(to, "\\\t\r\n")
	u, err := url.Parse(to)
	registered := err == nil && (u.Scheme+"://"+u.Host == "https://app.example" || u.Scheme+"://"+u.Host == appOrigin)
	if to != "" && !own && !registered {
		t.Errorf("%s leads to %q", what, to)
	}
	for _, name := range []string{"Refresh", "Content-Location", "Link"} {
		if a.header.Get(name) != "" {
			t.Errorf("%s: %s %q", what, name, a.header.Get(name))
		}
	}
	if policy := a.header.Get("Content-Security-Policy"); strings.Contains(strings.ToLower(a.body+policy), "evil.example") || strings.Contains(a.body, "alert(1)") {
		t.Errorf("%s: evil.example is on the page: %.2000s", what, a.body)
	}
}

func TestAS30_GetOfEveryPage(t *testing.T) {
	s := start(t, options{direct: true})
	in := s.browser()
	in.signIn(authorizePath(webID), "ann@example.com").arrives(t, callback)
	out := s.browser()
	raw := strings.NewReplacer("\t", "%09", "\r", "%0D", "\n", "%0A", " ", "+", "\x00", "%00", "#", "%23")
	for _, path := range []string{"/login/email?", "/login/code?", "/login/link?", "/logout?", "/oauth2/logout?", "/oauth2/logout?client_id=web&", "/oauth2/authorize?"} {
		for _, name := range forwarders {
			for _, place := range elsewhere {
				query := values(name, place).Encode()
				if strings.Contains(place, "%") { // decoded once more or once less
					query = name + "=" + raw.Replace(place)
				}
				for _, b := range []*browser{in, out} {
					a := b.send(s.request("GET", path+query, ""))
					a.leadsNowhere(t, path+query)
					if a.status >= 500 || a.status == http.StatusSeeOther {
						t.Errorf("%s%s: %d to %q", path, query, a.status, a.header.Get("Location"))
					}
				}
			}
		}
	}
	if !in.isSignedIn() {
		t.Error("one of them signed out")
	}
}

// The same in the forms of our pages, and in an authorization request that is right.
func TestAS30_FieldsOfEveryForm(t *testing.T) {
	s := start(t, options{direct: true})
	extra := url.Values{}
	for i, name := range forwarders {
		if name != "v" { // a field of ours
			extra.Set(name, elsewhere[i%len(elsewhere)])
		}
	}
	b := s.browser()
	for _, f := range forms(b) {
		goes := map[string]string{
			"sign-in": "/login/code?v=", "resend": "/login/code?v=", "code": "/oauth2/authorize?resume=", "consent": callback + "?",
			"password": "/oauth2/authorize?resume=", "link": appOrigin + "/#",
		}[f.name]
		for name, value := range extra {
			f.values[name] = value
		}
		f.action += "?" + values("next", "https://evil.example", "return_to", "//evil.example").Encode()
		a := f.send(b, f.values)
		a.leadsNowhere(t, f.name)
		if to := a.header.Get("Location"); !strings.HasPrefix(to, goes) || a.status >= 400 {
			t.Errorf("%s: %d to %q, want %s", f.name, a.status, to, goes)
		}
	}
	in := s.browser()
	in.signIn(authorizePath(webID), "eve@example.com").arrives(t, callback) // Ann has had her code sent again
	extra.Del("redirect_uri")
	extra.Del("resume")
	if q := in.get(authorizePath(webID)+"&"+extra.Encode()).arrives(t, callback+"?"); q.Get("code") == "" || len(q) != 3 {
		t.Errorf("authorize: %v", q)
	}
}

func TestAS30_PostLogoutRedirectURI(t *testing.T) {
	s := start(t, options{direct: true})
	b, tokens := s.signedIn("ann@example.com", "openid")
	for _, place := range append(elsewhere, callback, bye+"/", bye+"?x=1", strings.ToUpper(bye), bye+"#x", bye+"%2f..", "https://app.example:443/bye", "http://app.example/bye") {
		for _, pairs := range [][]string{{"client_id", webID}, {"id_token_hint", tokens["id_token"].(string)}, {"client_id", webID, "id_token_hint", tokens["id_token"].(string)}} {
			form := values(append(pairs, "post_logout_redirect_uri", place, "state", "//evil")...).Encode()
			for what, a := range map[string]answer{
				"GET":  b.send(s.request("GET", "/oauth2/logout?"+form, "")),
				"POST": b.follow(s.request("POST", "/oauth2/logout", form)),
			} {
				a.leadsNowhere(t, what+" "+place)
				a.isPage(t, http.StatusBadRequest)
			}
		}
	}
	if !b.isSignedIn() {
		t.Error("one of them signed out")
	}
}

func TestAS30_CloudBase(t *testing.T) {
	s := start(t, options{direct: true})
	a := s.app(envID)
	a.signedUp("ann@example.com", "", "")
	mails := len(s.inbox.Messages())
	for _, place := range append(elsewhere, appOrigin, appOrigin+"/welcome", appOrigin+"/welcome?x=1&y", appOrigin+"/#", "https://CB.example/") {
		got := s.app(envID).fails(req{path: "verification", body: fields{"email": "bob@example.com", "email_redirect_to": place}}, "invalid_argument", 3)
		got.leadsNowhere(t, "email_redirect_to "+place)
		out := s.app(envID)
		out.took(out.ok(req{path: "signin", body: fields{"verification_token": out.prove("ann@example.com")}}))
		if m := out.ok(req{path: "user/signout", body: fields{"redirect_uri": place, "state": "s"}, bearer: true}); len(m) != 0 {
			t.Errorf("signing out to %q: %v", place, m)
		}
		mails++ // of who signs out
	}
	if n := len(s.inbox.Messages()); n != mails {
		t.Errorf("%d mails with a link to elsewhere", n-mails)
	}
	if m := a.ok(req{path: "user/signout", body: fields{"redirect_uri": "https://cb.example/bye", "state": "//evil.example/?&#"}, bearer: true}); m["redirect_uri"] != "https://cb.example/bye?state="+url.QueryEscape("//evil.example/?&#") {
		t.Errorf("signing out: %v", m)
	}
}

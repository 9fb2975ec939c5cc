package oauthcore

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/lettergate/lettergate/config"
	"github.com/lettergate/lettergate/oauth"
)

// referenceMatch is matchRedirectURI by another road: parsed, not cut.
func referenceMatch(registered []string, uri string) bool {
	if slices.Contains(registered, uri) {
		return true
	}
	asked, err := url.Parse(uri)
	if err != nil || asked.Scheme != "http" || asked.User != nil {
		return false
	}
	host := asked.Hostname()
	if host != "127.0.0.1" && host != "::1" {
		return false
	}
	for _, r := range registered {
		known, err := url.Parse(r)
		if err != nil || known.Scheme != "http" || known.Hostname() != host {
			continue
		}
		if strings.TrimPrefix(r, "http://"+known.Host) == strings.TrimPrefix(uri, "http://"+asked.Host) {
			return true
		}
	}
	return false
}

var registeredURIs = []string{
	"https://app.example/cb", "https://app.example/cb?x=1", "http://127.0.0.1/cb", "http://[::1]:8000/cb", "com.example.app:/cb", "http://localhost/cb",
}

func TestAS03_LoopbackPort(t *testing.T) {
	for uri, want := range map[string]bool{
		"http://127.0.0.1:9/cb":                true,
		"http://127.0.0.1/cb":                  true,
		"http://[::1]/cb":                      true,
		"http://[::1]:65535/cb":                true,
		"https://127.0.0.1:9/cb":               false,
		"http://localhost:9/cb":                false,
		"http://u:p@127.0.0.1:9/cb":            false,
		"http://127.0.0.2:9/cb":                false,
		"http://127.0.0.1.evil.example/cb":     false,
		"http://127.0.0.1:9@evil.example/cb":   false,
		"http://127.0.0.1:9/cb?x=1":            false,
		"http://127.0.0.1:9/cb/":               false,
		"http://127.0.0.1:/cb":                 false,
		"http://127.0.0.1:+9/cb":               false,
		"http://127.0.0.1:65536/cb":            false,
		"http://127.0.0.1:9\\@evil.example/cb": false,
		"https://app.example:443/cb":           false,
		"HTTPS://app.example/cb":               false,
	} {
		if got := matchRedirectURI(registeredURIs, uri); got != want {
			t.Errorf("%s: %v, want %v", uri, got, want)
		}
	}
}

// FuzzRedirectURI holds the matcher against one that parses: what ours lets pass,
// the other has to let pass too.
func FuzzRedirectURI(f *testing.F) {
	for _, uri := range append(registeredURIs, "http://127.0.0.1:80/cb", "http://127.0.0.1:80#/cb", "//127.0.0.1/cb") {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		if matchRedirectURI(registeredURIs, uri) && !referenceMatch(registeredURIs, uri) {
			t.Errorf("%q passes", uri)
		}
	})
}

// FuzzParameters holds the strict parser to what it promises.
func FuzzParameters(f *testing.F) {
	for _, raw := range []string{"a=1&b=2", "a=1&a=2", "a=%zz", "a;b", "a=%00", "a=%ff", "resource=x&resource=y", "=", "&&", strings.Repeat("a&", 200)} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		values, bad := parseParameters(raw)
		if bad != nil {
			if bad.Status != 400 || values != nil {
				t.Errorf("%q: %d, %v", raw, bad.Status, values)
			}
			return
		}
		for name, all := range values {
			if !repeatable(name) && (len(all) != 1 || all[0] == "") {
				t.Errorf("%q: %s has %q", raw, name, all)
			}
		}
	})
}

// FuzzBasic reads what it would write, and never panics.
func FuzzBasic(f *testing.F) {
	f.Add("Basic YTpi", "a:b", "p%+ &")
	f.Add("basic  =", "", "")
	f.Fuzz(func(t *testing.T, header, id, secret string) {
		basicCredentials(header)
		if id == "" {
			return
		}
		encoded := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id) + ":" + url.QueryEscape(secret)))
		gotID, gotSecret, ok := basicCredentials("Basic " + encoded)
		if !ok || gotID != id || gotSecret != secret {
			t.Errorf("%q:%q came back as %q:%q, %v", id, secret, gotID, gotSecret, ok)
		}
	})
}

func TestAS40_OnlyForms(t *testing.T) {
	for kind, want := range map[string]bool{
		"application/x-www-form-urlencoded":                true,
		"application/x-www-form-urlencoded; charset=UTF-8": true,
		"application/json":                                 false,
		"multipart/form-data; boundary=x":                  false,
		"text/plain":                                       false,
		"":                                                 false,
	} {
		r := httptest.NewRequest("POST", "/oauth2/token", strings.NewReader("a=1"))
		r.Header.Set("Content-Type", kind)
		if _, bad := ReadForm(httptest.NewRecorder(), r); (bad == nil) != want {
			t.Errorf("%q: %v", kind, bad)
		}
	}
}

// The route has a limit of its own before this one, and fosite a list of scopes behind
// the next, so that only here either is seen alone.
func TestAS42_FormsAreBounded(t *testing.T) {
	for most, read := range map[int]func(http.ResponseWriter, *http.Request) (url.Values, *oauth.Error){MaxForm: ReadForm, MaxPage: ReadBody} {
		for size, want := range map[int]int{most: 0, most + 1: http.StatusRequestEntityTooLarge} {
			r := httptest.NewRequest("POST", "/oauth2/token", strings.NewReader("a="+strings.Repeat("x", size-len("a="))))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			values, bad := read(httptest.NewRecorder(), r)
			got := 0
			if bad != nil {
				got = bad.Status
			}
			if got != want || (bad == nil) != values.Has("a") {
				t.Errorf("%d bytes where %d may be: %v", size, most, bad)
			}
		}
	}
}

func TestAS26_NoWildcards(t *testing.T) {
	c := &Client{Client: config.Client{Scopes: []string{"users.*", "notes:read"}}}
	for scope, want := range map[string]bool{
		"users.*": true, "notes:read": true, "users.delete": false, "users.delete.all": false, "users.": false, "users": false,
		"notes": false, "notes:read:all": false, "notes:*": false, "*": false, "Notes:Read": false, "": false,
	} {
		if got := c.AllowsScopes([]string{"notes:read", scope}); got != want {
			t.Errorf("%q: %v, want %v", scope, got, want)
		}
	}
}

func TestRedirectKeepsTheRegisteredQuery(t *testing.T) {
	for uri, want := range map[string]string{
		"https://a.example/cb":     "https://a.example/cb?code=1",
		"https://a.example/cb?x=2": "https://a.example/cb?x=2&code=1",
		"https://a.example/cb?":    "https://a.example/cb?code=1",
		"com.example.app:/cb":      "com.example.app:/cb?code=1",
	} {
		if got := redirectTo(uri, url.Values{"code": {"1"}}); got != want {
			t.Errorf("%s: %s, want %s", uri, got, want)
		}
	}
}

// What a client proves itself with is not fosite's business.
func TestFositeSeesNoCredentials(t *testing.T) {
	form := url.Values{"grant_type": {"refresh_token"}, "client_secret": {"a"}, "client_assertion": {"b"}, "client_assertion_type": {"c"}}
	r := fositeToken(form)
	for name := range form {
		if kept := r.PostForm.Has(name) || r.Form.Has(name); kept != (name == "grant_type") {
			t.Errorf("%s is kept: %v", name, kept)
		}
	}
}

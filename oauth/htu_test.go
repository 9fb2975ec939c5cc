package oauth

import (
	"net/url"
	"strings"
	"testing"
)

func TestRS24_NormalURL(t *testing.T) {
	for raw, want := range map[string]string{
		"https://api.example/notes":             "https://api.example/notes",
		"HTTPS://API.Example/Notes":             "https://api.example/Notes",
		"https://api.example":                   "https://api.example/",
		"https://api.example/":                  "https://api.example/",
		"https://api.example:443/notes":         "https://api.example/notes",
		"https://api.example:/notes":            "https://api.example/notes",
		"http://api.example:80/":                "http://api.example/",
		"http://api.example:443/":               "http://api.example:443/",
		"https://api.example:80/":               "https://api.example:80/",
		"https://api.example:8443/":             "https://api.example:8443/",
		"https://api.example/notes?a=b&c#d":     "https://api.example/notes",
		"https://api.example?a=b/../c":          "https://api.example/",
		"https://api.example#/c":                "https://api.example/",
		"https://api.example/%6eotes/%7Ex":      "https://api.example/notes/~x",
		"https://api.example/a%2fb":             "https://api.example/a%2Fb",
		"https://api.example/a%2Fb/%c3%a4":      "https://api.example/a%2Fb/%C3%A4",
		"https://api.example/ä b|c":             "https://api.example/%C3%A4%20b%7Cc",
		"https://api.example/%2541":             "https://api.example/%2541",
		"https://api.example/a/./b/../c":        "https://api.example/a/c",
		"https://api.example/a/%2e%2e/b":        "https://api.example/b",
		"https://api.example/../../x":           "https://api.example/x",
		"https://api.example/a/..":              "https://api.example/",
		"https://api.example/a/.":               "https://api.example/a/",
		"https://api.example/a//b/":             "https://api.example/a//b/",
		"https://api.example/.well-known/x":     "https://api.example/.well-known/x",
		"https://api.example/a;x=1,2!$&'()*+:@": "https://api.example/a;x=1,2!$&'()*+:@",
		"https://api.example./":                 "https://api.example./",
		"https://[::1]:8443/x":                  "https://[::1]:8443/x",
		"https://[2001:DB8:0::1]:443/x":         "https://[2001:db8::1]/x",
		"https://[0]/":                          "",
		"http://127.0.0.1:8080/x":               "http://127.0.0.1:8080/x",
		"":                                      "",
		"/notes":                                "",
		"//api.example/notes":                   "",
		"api.example/notes":                     "",
		"ftp://api.example/":                    "",
		"https:api.example":                     "",
		"https:///notes":                        "",
		"https://user@api.example/":             "",
		"https://api.example@evil.example/":     "",
		"https://api.example:x/":                "",
		"https://api.example:443:443/":          "",
		"https://api.example:999999/":           "",
		"https://api example/":                  "",
		"https://ä.example/":                    "",
		"https://api.ex%61mple/":                "",
		"https://api.example\\.evil.example/":   "",
		"https://[::1/":                         "",
		"https://::1]/":                         "",
		"https://[]/":                           "",
		"https://[::1%25eth0]/":                 "",
		"https://api.example/%":                 "",
		"https://api.example/%4":                "",
		"https://api.example/%zz":               "",
		"https://api.example/a\r\nb":            "",
		"https://api.example/\x7f":              "",
		" https://api.example/":                 "",
	} {
		got, err := normalURL(raw)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", raw, got, err, want)
		}
	}
}

// What comes out is a URL, is the same when it is put in again, and has the host that
// net/url sees in what went in: two readers of one URL do not go to two places.
func FuzzNormalURL(f *testing.F) {
	for _, seed := range []string{
		"https://api.example/a/%2e%2e/b?c#d", "HTTP://[::1]:80//x/../..", "https://api.example:443", "https://a/%zz", "https://a@b/\\", "https://a/.%2e/.", "https://a/ä|%7c%25",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		normal, err := normalURL(raw)
		if err != nil {
			if normal != "" {
				t.Errorf("%q: %q beside an error", raw, normal)
			}
			return
		}
		if again, err := normalURL(normal); err != nil || again != normal {
			t.Errorf("%q: %q, then %q, %v", raw, normal, again, err)
		}
		u, err := url.Parse(normal)
		if err != nil {
			t.Fatalf("%q: %q: %v", raw, normal, err)
		}
		if u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Scheme+"://"+u.Host+u.EscapedPath() != normal {
			t.Errorf("%q: %q is read as %+v", raw, normal, u)
		}
		if strings.Contains(u.EscapedPath()+"/", "/../") || strings.Contains(u.EscapedPath()+"/", "/./") {
			t.Errorf("%q: dots are left in %q", raw, normal)
		}
		if before, err := url.Parse(raw); err == nil && !strings.EqualFold(before.Hostname(), u.Hostname()) && !strings.Contains(u.Host, "[") {
			t.Errorf("%q: host %q became %q", raw, before.Hostname(), u.Hostname())
		}
	})
}

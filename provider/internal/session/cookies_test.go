package session_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/lettergate/lettergate/provider/internal/session"
)

func cookies(t *testing.T, issuer string) session.Cookies {
	t.Helper()
	c, err := session.NewCookies(issuer)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// back is the request of a browser that was given what w says.
func back(w *httptest.ResponseRecorder) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	for _, c := range w.Result().Cookies() {
		r.AddCookie(c)
	}
	return r
}

func TestCookies(t *testing.T) {
	for _, tc := range []struct {
		issuer, name string
		secure       bool
	}{
		{"https://id.example/tenant", `^__Host-lg-[0-9a-f]{8}-(session|browser)$`, true},
		{"http://localhost:8080", `^lg-[0-9a-f]{8}-(session|browser)$`, false},
	} {
		c := cookies(t, tc.issuer)
		w := httptest.NewRecorder()
		c.SetSession(w, "value")
		secret := c.NewBrowser(w)
		set := w.Result().Cookies()
		if len(set) != 2 || set[0].Name == set[1].Name {
			t.Fatalf("%s set %v", tc.issuer, set)
		}
		for _, k := range set {
			if !regexp.MustCompile(tc.name).MatchString(k.Name) || k.Secure != tc.secure || !k.HttpOnly || k.SameSite != http.SameSiteLaxMode ||
				k.Path != "/" || k.Domain != "" || k.MaxAge != 0 || !k.Expires.IsZero() {
				t.Errorf("%s set %v", tc.issuer, k)
			}
		}
		if got, ok := c.Browser(back(w)); !ok || !bytes.Equal(got, secret) || len(secret) != 32 {
			t.Errorf("the browser's secret came back as %x, %t", got, ok)
		}
		if got := c.Session(back(w)); got != "value" {
			t.Errorf("the session came back as %q", got)
		}
		w = httptest.NewRecorder()
		c.ClearSession(w)
		if gone := w.Result().Cookies()[0]; gone.MaxAge != -1 || gone.Value != "" || gone.Name != set[0].Name || gone.Secure != tc.secure {
			t.Errorf("cleared by %v", gone)
		}
	}
}

func TestCookiesOfAnotherIssuer(t *testing.T) {
	w := httptest.NewRecorder()
	cookies(t, "https://id.example/one").SetSession(w, "value")
	if got := cookies(t, "https://id.example/two").Session(back(w)); got != "" {
		t.Errorf("read %q", got)
	}
}

func TestNewBrowserIsNew(t *testing.T) {
	c := cookies(t, "https://id.example")
	if bytes.Equal(c.NewBrowser(httptest.NewRecorder()), c.NewBrowser(httptest.NewRecorder())) {
		t.Error("two browsers have one secret")
	}
}

// Of two cookies with one name, one was planted.
func TestTwoCookies(t *testing.T) {
	c := cookies(t, "http://localhost:8080")
	w := httptest.NewRecorder()
	c.SetSession(w, "planted")
	c.NewBrowser(w)
	c.SetSession(w, "mine")
	c.NewBrowser(w)
	r := back(w)
	if got := c.Session(r); got != "" {
		t.Errorf("took %q of two", got)
	}
	if _, ok := c.Browser(r); ok {
		t.Error("took one of two browsers")
	}
}

func TestBadBrowserCookie(t *testing.T) {
	c := cookies(t, "https://id.example")
	w := httptest.NewRecorder()
	c.NewBrowser(w)
	name := w.Result().Cookies()[0].Name
	for _, value := range []string{"", "x", "AAAA", string(bytes.Repeat([]byte("A"), 44)), string(bytes.Repeat([]byte("A"), 10_000))} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", name+"="+value)
		if _, ok := c.Browser(r); ok {
			t.Errorf("took %.50q", value)
		}
	}
}

func TestNewCookiesRefuses(t *testing.T) {
	for _, issuer := range []string{"", "id.example", "ftp://id.example", "https://", "://"} {
		if _, err := session.NewCookies(issuer); err == nil {
			t.Errorf("%q was accepted", issuer)
		}
	}
}

package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
)

// browserBytes is the length of a browser's secret.
const browserBytes = 32

// Cookies names, sets and reads an issuer's two cookies: the session, and the
// secret that a browser is recognised by while nobody is signed in.
//
// Both are HttpOnly, SameSite=Lax and end with the browser. On an https issuer
// they are Secure and have the __Host- prefix, so that no other host of the domain
// can set them (RFC 6265bis section 4.1.3); on an http one, which is on this
// machine, neither is possible. The names carry a hash of the issuer: several may
// share a host.
type Cookies struct {
	session, browser string
	secure           bool
}

// NewCookies returns the cookies of an issuer, an absolute http or https URL.
func NewCookies(issuer string) (Cookies, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return Cookies{}, errors.New("session: cookies: the issuer is not an http or https URL")
	}
	sum := sha256.Sum256([]byte(issuer))
	name := "lg-" + hex.EncodeToString(sum[:4])
	secure := u.Scheme == "https"
	if secure {
		name = "__Host-" + name
	}
	return Cookies{session: name + "-session", browser: name + "-browser", secure: secure}, nil
}

// Session returns the value of the request's session cookie, "" for none.
func (c Cookies) Session(r *http.Request) string { return only(r, c.session) }

// SetSession gives the browser a session cookie with the value that Authenticated
// has returned.
func (c Cookies) SetSession(w http.ResponseWriter, value string) {
	http.SetCookie(w, c.cookie(c.session, value))
}

// ClearSession takes the session cookie away.
func (c Cookies) ClearSession(w http.ResponseWriter) {
	gone := c.cookie(c.session, "")
	gone.MaxAge = -1
	http.SetCookie(w, gone)
}

// Browser returns the secret of the browser that sent r; ok is false when it has
// none. Records keep only a hash of it.
func (c Cookies) Browser(r *http.Request) (secret []byte, ok bool) {
	secret, err := base64.RawURLEncoding.Strict().DecodeString(only(r, c.browser))
	if err != nil || len(secret) != browserBytes {
		return nil, false
	}
	return secret, true
}

// NewBrowser draws a secret, gives it to the browser and returns it. It is stored
// nowhere.
func (c Cookies) NewBrowser(w http.ResponseWriter) (secret []byte) {
	secret = make([]byte, browserBytes)
	rand.Read(secret) // crypto/rand.Read never fails
	http.SetCookie(w, c.cookie(c.browser, base64.RawURLEncoding.EncodeToString(secret)))
	return secret
}

func (c Cookies) cookie(name, value string) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/",
		Secure: c.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

// only returns the value of the one cookie with this name. Of two, one was
// planted, and nothing says which: there is none then.
func only(r *http.Request, name string) string {
	found := r.CookiesNamed(name)
	if len(found) != 1 {
		return ""
	}
	return found[0].Value
}

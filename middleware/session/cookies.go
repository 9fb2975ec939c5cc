package session

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// chunk is the longest value of one cookie: browsers keep 4096 bytes with its
	// name and attributes.
	chunk = 3800
	// maxChunks is how many a session takes. Both together still fit into the 8 KiB
	// that common proxies give a header line.
	maxChunks = 2
)

var errTooLarge = errors.New("the session does not fit into cookies")

// cookies names, sets and reads the cookies of one app: its session, in one or two
// of them, and one for each sign-in that has begun.
//
// All are HttpOnly and SameSite=Lax. On an https app they are Secure and have the
// __Host- prefix, so that no other host of the domain can set them (RFC 6265bis
// section 4.1.3); on an http one, which is on this machine, neither is possible.
// The names hold a hash of issuer, client and app, because apps on other ports of
// a host get each other's cookies.
type cookies struct {
	session, flow string
	secure        bool
}

func newCookies(app string, redirect *url.URL) cookies {
	sum := sha256.Sum256([]byte(app))
	name := "lg-" + hex.EncodeToString(sum[:4])
	if redirect.Scheme == "https" {
		name = "__Host-" + name
	}
	return cookies{session: name + "-app", flow: name + "-login-", secure: redirect.Scheme == "https"}
}

func (c cookies) set(w http.ResponseWriter, name, value string, life time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: max(int((life+time.Second-1)/time.Second), 1),
		Secure: c.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

func (c cookies) clear(w http.ResponseWriter, name string) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Path: "/", MaxAge: -1, Secure: c.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
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

// part is the name of the session's i-th cookie, from 0.
func (c cookies) part(i int) string {
	if i == 0 {
		return c.session
	}
	return fmt.Sprintf("%s%d", c.session, i+1)
}

// setSession gives the browser a session, in as many cookies as it takes. The
// first one says how many.
func (c cookies) setSession(w http.ResponseWriter, r *http.Request, value string, life time.Duration) error {
	parts := (len(value) + chunk - 1) / chunk
	if parts > maxChunks {
		return fmt.Errorf("%w: it takes %d bytes of at most %d; set Config.Store, or ask for smaller tokens", errTooLarge, len(value), maxChunks*chunk)
	}
	for i := range maxChunks {
		if i >= parts {
			if len(r.CookiesNamed(c.part(i))) > 0 {
				c.clear(w, c.part(i))
			}
			continue
		}
		piece := value[i*chunk : min((i+1)*chunk, len(value))]
		if i == 0 {
			piece = fmt.Sprintf("%d.%s", parts, piece)
		}
		c.set(w, c.part(i), piece, life)
	}
	return nil
}

// sessionValue returns what setSession was given, or "". Parts that do not belong
// together do not open later.
func (c cookies) sessionValue(r *http.Request) string {
	count, value, _ := strings.Cut(only(r, c.session), ".")
	switch count {
	case "1":
		return value
	case "2":
		if rest := only(r, c.part(1)); rest != "" {
			return value + rest
		}
	}
	return ""
}

// clearSession takes the session's cookies away, those that the browser has.
func (c cookies) clearSession(w http.ResponseWriter, r *http.Request) {
	for i := range maxChunks {
		if len(r.CookiesNamed(c.part(i))) > 0 {
			c.clear(w, c.part(i))
		}
	}
}

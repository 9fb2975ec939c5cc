package page

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/bidi"
)

// maxEmail is the longest address in octets (RFC 5321 section 4.5.3.1.3, less the
// brackets).
const maxEmail = 254

// cleanEmail cuts an address and takes out what no address has.
func cleanEmail(s string) string {
	if len(s) > maxEmail {
		s = strings.ToValidUTF8(s[:maxEmail], "") // the cut may have split a rune
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.C, unicode.Zl, unicode.Zp) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD")))
}

// isolate wraps text that runs right to left in directional isolates, so that it
// does not reorder the sentence it is put into. Other text stays as it is.
func isolate(s string) string {
	for _, r := range s {
		p, _ := bidi.LookupRune(r)
		if c := p.Class(); c == bidi.R || c == bidi.AL {
			return "\u2068" + s + "\u2069"
		}
	}
	return s
}

// direction returns the dir attribute of a language.
func direction(lang string) string {
	tag, _ := language.Parse(lang) // an error gives und, which is written left to right
	script, _ := tag.Script()
	switch script.String() {
	case "Adlm", "Arab", "Hebr", "Nkoo", "Rohg", "Syrc", "Thaa":
		return "rtl"
	}
	return "ltr"
}

// A target is where a redirect may lead.
type target struct {
	scheme string
	host   string // with its port, in ASCII; empty for an app's own scheme
}

// source is the target as a CSP source expression. It is built from checked
// parts only, so nothing in a URI can add to the header.
func (t target) source() string {
	if t.host == "" {
		return t.scheme + ":"
	}
	if strings.HasPrefix(t.host, "[") {
		// CSP has no grammar for IPv6 literals (level 3, section 2.3.1), and
		// browsers match none: any host, but on this port only.
		u := url.URL{Host: t.host}
		if u.Port() == "" {
			return t.scheme + "://*"
		}
		return t.scheme + "://*:" + u.Port()
	}
	return t.scheme + "://" + t.host
}

// onward is where the target may lead on: browsers apply form-action to every redirect
// that follows a POST, and would stop people at a client whose callback leads to a
// front end on another host. Where a client leads on is the client's business; an app
// on the device leads nowhere.
func (t target) onward() []string {
	switch {
	case t.host == "":
		return nil
	case t.scheme == "http": // on this device, where front ends are http too
		return []string{"http:", "https:"}
	}
	return []string{"https:"}
}

// loopback says whether the host is this very device.
func (t target) loopback() bool {
	u := url.URL{Host: t.host}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && addr.IsLoopback()
}

// parseTarget accepts http, https and apps' own schemes (RFC 8252 section 7.1),
// as a whole URI or only its origin or scheme.
func parseTarget(uri string) (target, error) {
	u, err := url.Parse(uri)
	if err != nil {
		// Without err, which quotes the URI: its query is none of a log's business.
		return target{}, errors.New("redirect target is not a URI")
	}
	switch u.Scheme {
	case "http", "https":
	case "":
		return target{}, errors.New("redirect target has no scheme")
	case "about", "blob", "data", "file", "filesystem", "javascript", "vbscript", "ws", "wss":
		return target{}, fmt.Errorf("redirect target has the scheme %q, which no app owns", u.Scheme)
	default:
		return target{scheme: u.Scheme}, nil
	}
	host := u.Host
	if strings.ContainsFunc(host, func(r rune) bool { return r > unicode.MaxASCII }) {
		// A header is ASCII, and people better see the name that DNS sees.
		if host, err = idna.Lookup.ToASCII(u.Hostname()); err != nil {
			return target{}, fmt.Errorf("redirect target: %w", err)
		}
		if port := u.Port(); port != "" {
			host += ":" + port
		}
	}
	if u.Hostname() == "" || strings.ContainsFunc(host, notInHost) {
		return target{}, errors.New("redirect target has no usable host")
	}
	return target{scheme: u.Scheme, host: strings.ToLower(host)}, nil
}

func notInHost(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return !strings.ContainsRune("-._:[]", r)
}

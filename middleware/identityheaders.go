package middleware

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// IdentityHeaders returns, in a new slice, the headers that a [Guard] takes away from
// requests unless [Config.IdentityHeaders] says otherwise: those in which proxies tell
// applications who is signed in, and Forwarded. A client that reaches the service
// can write anything into them.
func IdentityHeaders() []string {
	return []string{
		"Cf-Access-*", "Forwarded", "Remote-*", "Tailscale-*",
		"X-Amzn-Oidc-*", "X-Auth-*", "X-Authenticated-*", "X-Authentik-*", "X-Consumer-*", "X-Credential-*", "X-Email",
		"X-Forwarded-Access-Token", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username", "X-Forwarded-User",
		"X-Goog-Authenticated-*", "X-Goog-Iap-*", "X-Ms-Client-Principal", "X-Ms-Client-Principal-*", "X-Pomerium-*",
		"X-Remote-*", "X-User", "X-User-*", "X-Userinfo", "X-Username", "X-Vouch-*", "X-Webauth-*",
	}
}

// headerPatterns find headers by name. Case does not count, and neither does the
// difference of "-" and "_", which is lost on the way into CGI and its descendants.
type headerPatterns struct {
	// By their third byte, in which most differ: few headers are compared with any.
	byThird [256][]headerPattern
	short   []headerPattern // those that have none
}

type headerPattern struct {
	name   string // folded
	prefix bool
}

func newHeaderPatterns(patterns []string) (headerPatterns, error) {
	var h headerPatterns
	var long []headerPattern
	for _, p := range patterns {
		name, prefix := strings.CutSuffix(strings.Map(foldRune, p), "*")
		if name == "" || strings.ContainsFunc(name, notInHeaderName) {
			return headerPatterns{}, fmt.Errorf("middleware: identity header %q is not the name of a header, or the beginning of one and *", p)
		}
		if len(name) < 3 {
			h.short = append(h.short, headerPattern{name, prefix})
		} else {
			long = append(long, headerPattern{name, prefix})
		}
	}
	for c := range h.byThird {
		for _, p := range long {
			if p.name[2] == foldByte(byte(c)) {
				h.byThird[c] = append(h.byThird[c], p)
			}
		}
	}
	return h, nil
}

func notInHeaderName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'+-.^`|~", r)
}

func foldByte(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c | 0x20
	case c == '_':
		return '-'
	}
	return c
}

func foldRune(r rune) rune {
	if r < 0x80 {
		return rune(foldByte(byte(r)))
	}
	return r
}

// match is on the way of every request, so it makes no copy of name.
func (h *headerPatterns) match(name string) bool {
	matches := func(p headerPattern) bool { return p.match(name) }
	return len(name) > 2 && slices.ContainsFunc(h.byThird[name[2]], matches) || slices.ContainsFunc(h.short, matches)
}

func (p headerPattern) match(name string) bool {
	if len(name) < len(p.name) || !p.prefix && len(name) > len(p.name) {
		return false
	}
	for i := range len(p.name) {
		if foldByte(name[i]) != p.name[i] {
			return false
		}
	}
	return true
}

func (h *headerPatterns) any(header http.Header) bool {
	for name := range header {
		if h.match(name) {
			return true
		}
	}
	return false
}

// without returns a copy of header that lacks what the patterns find. The values are
// shared, the request's own header is not touched.
func (h *headerPatterns) without(header http.Header) http.Header {
	kept := make(http.Header, len(header))
	for name, values := range header {
		if !h.match(name) {
			kept[name] = values
		}
	}
	return kept
}

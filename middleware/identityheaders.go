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
		"Forwarded", "Remote-*", "X-Auth-*", "X-Authenticated-*", "X-Email",
		"X-Forwarded-Access-Token", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username", "X-Forwarded-User",
		"X-Remote-*", "X-User", "X-User-*", "X-Username", "X-Webauth-*",
	}
}

// headerPatterns find headers by name. Case does not count, and neither does the
// difference of "-" and "_", which is lost on the way into CGI and its descendants.
type headerPatterns struct {
	exact    map[string]bool
	prefixes []string
	first    [256]bool // the first byte of any pattern: most headers end here
}

func newHeaderPatterns(patterns []string) (headerPatterns, error) {
	h := headerPatterns{exact: make(map[string]bool)}
	for _, p := range patterns {
		name, prefix := strings.CutSuffix(foldHeader(p), "*")
		if name == "" || strings.ContainsFunc(name, notInHeaderName) {
			return headerPatterns{}, fmt.Errorf("middleware: identity header %q is not the name of a header, or the beginning of one and *", p)
		}
		if prefix {
			h.prefixes = append(h.prefixes, name)
		} else {
			h.exact[name] = true
		}
		h.first[name[0]] = true
		h.first[name[0]&^0x20] = true // and in upper case; other bytes only cost a look
	}
	return h, nil
}

func notInHeaderName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'+-.^`|~", r)
}

func foldHeader(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }

func (h *headerPatterns) match(name string) bool {
	if name == "" || !h.first[name[0]] {
		return false
	}
	name = foldHeader(name)
	return h.exact[name] || slices.ContainsFunc(h.prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
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

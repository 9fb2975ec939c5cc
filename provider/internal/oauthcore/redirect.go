package oauthcore

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// matchRedirectURI reports whether the client may be redirected to uri: it equals
// a registered one byte for byte (RFC 9700 section 2.1), or differs from a
// registered http URI on a loopback address literal in its port alone (RFC 8252
// section 7.3).
func matchRedirectURI(registered []string, uri string) bool {
	if slices.Contains(registered, uri) {
		return true
	}
	bare, ok := withoutLoopbackPort(uri)
	return ok && slices.ContainsFunc(registered, func(r string) bool {
		b, ok := withoutLoopbackPort(r)
		return ok && b == bare
	})
}

// withoutLoopbackPort returns uri without its port when it is an http URI on a
// loopback address literal. It works on the text, so that nothing but the port
// can differ: what it returns is compared byte for byte.
func withoutLoopbackPort(uri string) (string, bool) {
	rest, ok := strings.CutPrefix(uri, "http://")
	if !ok {
		return "", false
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	authority, tail := rest[:end], rest[end:]
	host, port := authority, ""
	for _, literal := range []string{"127.0.0.1", "[::1]"} {
		if authority == literal {
			return "http://" + literal + tail, true
		}
		if p, found := strings.CutPrefix(authority, literal+":"); found {
			host, port = literal, p
		}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", false
	}
	return "http://" + host + tail, true
}

// redirectTo returns uri with the parameters added to its query (RFC 6749 section
// 4.1.2), which keeps the query it was registered with.
func redirectTo(uri string, params url.Values) string {
	separator := "?"
	if strings.Contains(uri, "?") {
		separator = "&"
		if strings.HasSuffix(uri, "?") || strings.HasSuffix(uri, "&") {
			separator = ""
		}
	}
	return uri + separator + params.Encode()
}

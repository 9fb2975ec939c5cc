package middleware

import (
	"strings"

	"github.com/lettergate/lettergate/oauth"
)

// challenges returns the values of WWW-Authenticate for a request that used a
// scheme, with names and values of parameters. Each names the service's metadata (RFC
// 9728 section 5.1).
func (g *Guard) challenges(used scheme, params ...string) []string {
	return []string{challenge(used.String(), append(params, "resource_metadata", g.metadata.url)...)}
}

// challenge writes one challenge (RFC 9110 section 11.6.1) with parameters given as
// names and values. Those with an empty value are left out. Whatever a value holds,
// it stays inside its quotes: it is written in the characters of
// [oauth.SafeDescription], none of which needs to be escaped.
func challenge(scheme string, params ...string) string {
	var b strings.Builder
	b.WriteString(scheme)
	separator := " "
	for i := 0; i+1 < len(params); i += 2 {
		if params[i+1] == "" {
			continue
		}
		b.WriteString(separator + params[i] + `="` + oauth.SafeDescription(params[i+1]) + `"`)
		separator = ", "
	}
	return b.String()
}

package middleware

import (
	"net/http"
	"strings"
)

// A scheme is how a request carries its token.
type scheme int

const (
	bearer scheme = iota // RFC 6750 section 2.1
	dpop                 // RFC 9449 section 7.1
	schemes
)

// schemeOf returns the scheme that a client named, if the guard accepts it.
func (g *Guard) schemeOf(name string) (scheme, bool) {
	switch {
	case strings.EqualFold(name, "Bearer"):
		return bearer, true
	case strings.EqualFold(name, "DPoP"):
		return dpop, g.proofs != nil
	}
	return 0, false
}

// credentials are the token as it stood in the request.
type credentials struct {
	scheme scheme
	token  string
}

// credentials returns the token of the Authorization header, or the refusal of a
// request that has none or has it wrong.
func (g *Guard) credentials(r *http.Request) (credentials, *Refusal) {
	values := r.Header["Authorization"]
	if len(values) > 1 {
		return credentials{}, g.answers.malformed[bearer].because(errTwoHeaders)
	}
	if len(values) == 0 || values[0] == "" {
		return credentials{}, g.answers.noToken.because(errNoToken)
	}
	name, token, _ := strings.Cut(values[0], " ")
	used, known := g.schemeOf(name)
	if !known {
		return credentials{}, g.answers.noToken.because(errOtherScheme)
	}
	token = strings.TrimLeft(token, " ")
	if !isB64Token(token) {
		return credentials{}, g.answers.malformed[used].because(errNotAToken)
	}
	// Two ways to send a token leave open which of them counts (section 2).
	if strings.Contains(r.URL.RawQuery, "access_token") && r.URL.Query().Has("access_token") {
		return credentials{}, g.answers.malformed[used].because(errTwoWays)
	}
	return credentials{used, token}, nil
}

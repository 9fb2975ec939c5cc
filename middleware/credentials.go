package middleware

import (
	"net/http"
	"strings"
)

// A scheme is how a request carries its token.
type scheme int

const (
	bearer scheme = iota // RFC 6750 section 2.1
	schemes
)

func (s scheme) String() string { return "Bearer" }

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
		return credentials{}, g.answers.malformed.because(errTwoHeaders)
	}
	if len(values) == 0 || values[0] == "" {
		return credentials{}, g.answers.noToken.because(errNoToken)
	}
	name, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(name, "Bearer") {
		return credentials{}, g.answers.noToken.because(errOtherScheme)
	}
	token = strings.TrimLeft(token, " ")
	if !isB64Token(token) {
		return credentials{}, g.answers.malformed.because(errNotAToken)
	}
	// Two ways to send a token leave open which of them counts (section 2).
	if strings.Contains(r.URL.RawQuery, "access_token") && r.URL.Query().Has("access_token") {
		return credentials{}, g.answers.malformed.because(errTwoWays)
	}
	return credentials{bearer, token}, nil
}

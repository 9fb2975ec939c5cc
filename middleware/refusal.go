package middleware

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/lettergate/lettergate/oauth"
)

// retryAfter, in seconds, is sent with a 503. Keys are asked for again by then.
const retryAfter = "5"

// A refusal is an answer to a request that does not reach the handler. It is
// put together once, so that a flood of bad tokens costs no more than it must
// and all of them get the same bytes.
type refusal struct {
	status    int
	challenge string // WWW-Authenticate
	body      []byte
}

// The answers that are the same on all routes.
var (
	// RFC 6750 section 3.1: a client that sent no token is not told about an
	// error, in the body neither.
	noToken = &refusal{status: http.StatusUnauthorized, challenge: "Bearer"}

	malformed    = newRefusal(oauth.NewError(oauth.CodeInvalidRequest, "The access token must be sent once, as Authorization: Bearer and the token."), "")
	invalidToken = newRefusal(oauth.NewError(oauth.CodeInvalidToken, "The access token is expired, revoked, malformed or not meant for this service."), "")
	unavailable  = newRefusal(oauth.NewError(oauth.CodeTemporarilyUnavailable, "Access tokens cannot be verified at the moment."), "")

	brokenVerifier = newRefusal(oauth.NewError(oauth.CodeServerError, "The access token could not be verified."), "")
)

// newRefusal returns the answer that tells a client about e. A required scope is
// named in the challenge.
func newRefusal(e *oauth.Error, scope string) *refusal {
	body, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings always marshal
	}
	refused := &refusal{status: e.Status, body: append(body, '\n')}
	if e.Status >= http.StatusInternalServerError {
		return refused // nothing is wrong with the client's credentials
	}
	// Neither a description nor a scope holds a quote or a backslash, so they
	// can be quoted as they are.
	refused.challenge = `Bearer error="` + e.Code + `", error_description="` + e.Description + `"`
	if scope != "" {
		refused.challenge += `, scope="` + scope + `"`
	}
	return refused
}

func (refused *refusal) write(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	if refused.challenge != "" {
		header.Set("WWW-Authenticate", refused.challenge)
	}
	if refused.status == http.StatusServiceUnavailable {
		header.Set("Retry-After", retryAfter)
	}
	if refused.body != nil {
		header.Set("Content-Type", "application/json")
	}
	header.Set("Content-Length", strconv.Itoa(len(refused.body)))
	w.WriteHeader(refused.status)
	w.Write(refused.body) // nobody is left to tell about an error
}

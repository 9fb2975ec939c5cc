package middleware

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/lettergate/lettergate/oauth"
)

// retryAfter, in seconds, is sent with a 503. Keys are asked for again by then.
const retryAfter = "5"

// A Refusal is the answer to a request that does not reach its handler. It is not to
// be changed.
type Refusal struct {
	// Status is the HTTP status.
	Status int
	// Error is what the client is told. It is nil when the request had no token: RFC
	// 6750 section 3.1 has nothing to say to it but the challenge.
	Error *oauth.Error
	// Challenges are the values of WWW-Authenticate, one for each scheme. None where
	// nothing is wrong with the client's credentials.
	Challenges []string
	// Nonce is the value of DPoP-Nonce, for the client's next proof, or "".
	Nonce string
	// Cause is why, for logs. It is not for the client and never holds a token.
	Cause error

	body []byte
}

// WriteHeaders sets the headers that belong to the refusal: the challenges, the nonce,
// Cache-Control, and Retry-After for a 503. Whoever writes a body of their own calls
// it before.
func (f *Refusal) WriteHeaders(w http.ResponseWriter) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	if len(f.Challenges) > 0 {
		header["Www-Authenticate"] = slices.Clone(f.Challenges)
	}
	if f.Nonce != "" {
		header["Dpop-Nonce"] = []string{f.Nonce}
	}
	if f.Status == http.StatusServiceUnavailable {
		header.Set("Retry-After", retryAfter)
	}
}

// Write sends the whole answer: the headers, the status and the error as JSON (RFC
// 6750 section 3, RFC 6749 section 5.2).
func (f *Refusal) Write(w http.ResponseWriter) {
	f.WriteHeaders(w)
	header := w.Header()
	if f.body != nil {
		header.Set("Content-Type", "application/json")
	}
	header.Set("Content-Length", strconv.Itoa(len(f.body)))
	w.WriteHeader(f.Status)
	w.Write(f.body) // nobody is left to tell about an error
}

// writeRefusal is the default of Config.Refuse.
func writeRefusal(w http.ResponseWriter, _ *http.Request, refused *Refusal) { refused.Write(w) }

// An answer is a refusal without its cause. It is put together once, so that a flood
// of bad tokens costs no more than it must and all of them get the same bytes.
type answer struct{ refusal Refusal }

// because returns the refusal for one request.
func (a *answer) because(cause error) *Refusal {
	refused := a.refusal
	refused.Cause = cause
	return &refused
}

// answerByScheme is an answer for each way to send a token.
type answerByScheme [schemes]*answer

// commonAnswers are those that are the same on all routes of a guard.
type commonAnswers struct {
	noToken, unavailable, broken *answer
	invalidProof, useNonce       *answer // with DPoP only

	malformed, invalidToken, denied answerByScheme
}

func (g *Guard) newAnswers() commonAnswers {
	answers := commonAnswers{
		// RFC 6750 section 3.1: a client that sent no token is not told about an
		// error, in the body neither.
		noToken:      &answer{Refusal{Status: http.StatusUnauthorized, Challenges: g.offers()}},
		malformed:    g.byScheme(oauth.NewError(oauth.CodeInvalidRequest, "The access token must be sent once, as Authorization: Bearer and the token.")),
		unavailable:  g.newAnswer(bearer, oauth.NewError(oauth.CodeTemporarilyUnavailable, "Access tokens cannot be verified at the moment.")),
		broken:       g.newAnswer(bearer, oauth.NewError(oauth.CodeServerError, "The access token could not be verified.")),
		invalidToken: g.byScheme(oauth.NewError(oauth.CodeInvalidToken, "The access token is expired, revoked, malformed or not meant for this service.")),
		denied:       g.byScheme(oauth.NewError(oauth.CodeAccessDenied, "The access token does not allow this.")),
	}
	// A token that does not do as a bearer token may do with a proof.
	invalid := &answers.invalidToken[bearer].refusal
	invalid.Challenges = g.offers("error", invalid.Error.Code, "error_description", invalid.Error.Description)
	if g.proofs != nil {
		answers.malformed[dpop] = g.newAnswer(dpop, oauth.NewError(oauth.CodeInvalidRequest, "The access token must be sent once, as Authorization: DPoP and the token."))
		// At the token endpoint these are 400, here they are about credentials.
		answers.invalidProof = g.newAnswer(dpop, &oauth.Error{Code: oauth.CodeInvalidDPoPProof, Status: http.StatusUnauthorized,
			Description: "The DPoP proof is missing, malformed, too old, used before or not for this request and token."})
		answers.useNonce = g.newAnswer(dpop, &oauth.Error{Code: oauth.CodeUseDPoPNonce, Status: http.StatusUnauthorized,
			Description: "The DPoP proof needs the nonce that is in DPoP-Nonce."})
	}
	return answers
}

func (g *Guard) byScheme(e *oauth.Error, params ...string) answerByScheme {
	var answers answerByScheme
	for s := range schemes {
		if s == dpop && g.proofs == nil {
			continue
		}
		answers[s] = g.newAnswer(s, e, params...)
	}
	return answers
}

// newAnswer returns the answer that tells a client about e, with more parameters for
// the challenge: names and values.
func (g *Guard) newAnswer(used scheme, e *oauth.Error, params ...string) *answer {
	body, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings always marshal
	}
	refused := Refusal{Status: e.Status, Error: e, body: append(body, '\n')}
	// RFC 6750 section 3 has no code for what is not about the token; then there is
	// nothing that the client could send instead.
	if e.Status < http.StatusInternalServerError && e.Code != oauth.CodeAccessDenied {
		refused.Challenges = g.challenges(used, append([]string{"error", e.Code, "error_description", e.Description}, params...)...)
	}
	return &answer{refused}
}

// refusalFor is the one place that turns a verifier's error into an answer.
func (g *Guard) refusalFor(err error, used scheme) *Refusal {
	switch {
	case errors.Is(err, oauth.ErrInvalidToken):
		return g.answers.invalidToken[used].because(err)
	case errors.Is(err, oauth.ErrUnavailable),
		// The caller left, or the program ran out of patience: the token
		// was not judged.
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return g.answers.unavailable.because(err)
	}
	return g.answers.broken.because(err)
}

// checkRefusal does the same for an error of Route.Check.
func (g *Guard) checkRefusal(err error, used scheme) *Refusal {
	if told := new(oauth.Error); errors.As(err, &told) && told.Status >= http.StatusBadRequest {
		return g.newAnswer(used, told.WithDescription(told.Description)).because(err)
	}
	switch refused := g.refusalFor(err, used); refused.Status {
	case http.StatusInternalServerError:
		return g.answers.denied[used].because(err)
	default:
		return refused
	}
}

// Why a request had no token, or no token that could be read.
var (
	errNoToken     = errors.New("the request has no Authorization header")
	errOtherScheme = errors.New("the Authorization header has another scheme")
	errTwoHeaders  = errors.New("the request has several Authorization headers")
	errNotAToken   = errors.New("the Authorization header has no token, or what is no token")
	errTwoWays     = errors.New("the request also has a token in its query")
)

package middleware

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/lettergate/lettergate/oauth"
)

// Require protects a handler: it runs only with an access token that v accepts
// and that has all of scopes (none: any good token will do). The handler finds
// the token's claims with [Claims].
//
// Without that the request is answered here (RFC 6750 section 3):
//
//	no token                       401, a challenge without error
//	a malformed Authorization      400 invalid_request
//	a token that is not good       401 invalid_token, whatever the reason
//	a scope is missing             403 insufficient_scope, naming the scopes
//	the token cannot be judged     503 temporarily_unavailable, Retry-After
//	any other error of v           500 server_error
//
// A token is taken from the Authorization header only. In the query it is not
// accepted, and beside the header it is one token too many: 400. A body is never
// read. Other headers that name a user mean nothing, whoever sent them.
//
// A CORS preflight carries no token and is answered 401 as well: put what
// answers preflights around Require. A panic of the verifier is not caught; it
// reaches the server, or the recovery that the program has, and the handler does
// not run.
//
// A nil verifier or a string that is not one scope name is a mistake in the
// program, and Require panics, as [http.ServeMux.Handle] does for a bad pattern.
func Require(v oauth.Verifier, scopes ...string) func(http.Handler) http.Handler {
	if v == nil {
		panic("middleware.Require: the verifier is nil")
	}
	for _, name := range scopes {
		if !oauth.ValidScopeName(name) {
			panic(fmt.Sprintf("middleware.Require: %q is not one scope name: it is empty or has a space, a quote, a backslash or a character outside ASCII", name))
		}
	}
	scopes = slices.Clone(scopes)
	forbidden := newRefusal(oauth.NewError(oauth.CodeInsufficientScope,
		"The access token does not have the scopes that this needs."), strings.Join(scopes, " "))
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			token, refused := bearerToken(r)
			if refused != nil {
				refused.write(w)
				return
			}
			claims, err := v.Verify(r.Context(), token)
			switch {
			case err != nil:
				refusalFor(err).write(w)
			case claims == nil:
				brokenVerifier.write(w)
			case !claims.Scopes().HasAll(scopes...):
				forbidden.write(w)
			default:
				next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), claimsKey{}, claims)))
			}
		})
	}
}

type claimsKey struct{}

// Claims returns what the access token of the request says. It is false for a
// context that does not come from a handler behind [Require]; behind it there
// always are claims.
func Claims(ctx context.Context) (*oauth.AccessToken, bool) {
	claims, ok := ctx.Value(claimsKey{}).(*oauth.AccessToken)
	return claims, ok
}

// bearerToken returns the token of the Authorization header (RFC 6750 section
// 2.1), or the answer to a request that has none or has it wrong.
func bearerToken(r *http.Request) (string, *refusal) {
	values := r.Header["Authorization"]
	if len(values) > 1 {
		return "", malformed
	}
	if len(values) == 0 || values[0] == "" {
		return "", noToken
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", noToken // credentials for something else
	}
	token = strings.TrimLeft(token, " ")
	if !isB64Token(token) {
		return "", malformed
	}
	// Two ways to send a token leave open which of them counts (section 2).
	if strings.Contains(r.URL.RawQuery, "access_token") && r.URL.Query().Has("access_token") {
		return "", malformed
	}
	return token, nil
}

// refusalFor is the one place that turns a verifier's error into an answer.
func refusalFor(err error) *refusal {
	switch {
	case errors.Is(err, oauth.ErrInvalidToken):
		return invalidToken
	case errors.Is(err, oauth.ErrUnavailable),
		// The caller left, or the program ran out of patience: the token
		// was not judged.
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return unavailable
	}
	return brokenVerifier
}

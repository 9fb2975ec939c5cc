package middleware

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/lettergate/lettergate/oauth"
)

// Require protects a handler: it runs only with an access token that v accepts
// and that has all of scopes (none: any good token will do). The handler finds
// the token's claims with [Claims]. It is short for a [Guard] with a zero [Config];
// a service that asks for more than scopes makes one with [New].
//
// Without that the request is answered here (RFC 6750 section 3):
//
//	no token                       401, a challenge without error
//	a malformed Authorization      400 invalid_request
//	a token that is not good       401 invalid_token, whatever the reason
//	a scope is missing             403 insufficient_scope, naming the scopes
//	the token cannot be judged     503 temporarily_unavailable, Retry-After
//	any other error of v, a panic  500 server_error
//
// A token is taken from the Authorization header only. In the query it is not
// accepted, and beside the header it is one token too many: 400. A body is never
// read. Other headers that name a user mean nothing, whoever sent them, and those of
// [IdentityHeaders] do not reach the handler. Neither do headers that ask for another
// method mean anything.
//
// A CORS preflight carries no token and is answered 401 as well: put what
// answers preflights around Require, or into [Config.Preflight].
//
// A nil verifier or a string that is not one scope name is a mistake in the
// program, and Require panics, as [http.ServeMux.Handle] does for a bad pattern.
func Require(v oauth.Verifier, scopes ...string) func(http.Handler) http.Handler {
	if v == nil {
		panic("middleware.Require: the verifier is nil")
	}
	g, err := New(v, Config{})
	if err != nil {
		panic("middleware.Require: " + err.Error())
	}
	return g.Require(scopes...)
}

// A claimsContext is the context of a request that was let through. One node holds
// all there is to hold, because every request pays for it.
type claimsContext struct {
	context.Context
	token *oauth.AccessToken // nil when the request had none

	mu    sync.Mutex
	typed map[any]any // by a nil pointer of the type
}

type claimsKey struct{}

// Value implements context.Context.
func (c *claimsContext) Value(key any) any {
	if key == (claimsKey{}) {
		return c
	}
	return c.Context.Value(key)
}

func claimsOf(ctx context.Context) *claimsContext {
	if c, ok := ctx.Value(claimsKey{}).(*claimsContext); ok && c.token != nil {
		return c
	}
	return nil
}

// Claims returns what the access token of the request says. It is false for a
// context that does not come from a handler behind [Require], and behind an optional
// route for a request without a token; behind all others there always are claims.
func Claims(ctx context.Context) (*oauth.AccessToken, bool) {
	if c := claimsOf(ctx); c != nil {
		return c.token, true
	}
	return nil, false
}

// ErrNoToken is the answer of [ClaimsAs] where [Claims] is false.
var ErrNoToken = errors.New("middleware: the request was not let through with an access token")

// ClaimsAs returns the claims of the request's token as a T, which is usually a
// struct whose fields have json tags. Names match exactly. The error is [ErrNoToken],
// or that of decoding.
//
// The token is decoded once for each request and T, when ClaimsAs is called first:
// who does not call it does not pay. Callers of one request share what a T points
// to; no two requests share anything.
func ClaimsAs[T any](ctx context.Context) (T, error) {
	var claims T
	c := claimsOf(ctx)
	if c == nil {
		return claims, ErrNoToken
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, ok := c.typed[(*T)(nil)]; ok {
		return known.(T), nil
	}
	if err := c.token.Claims(&claims); err != nil {
		var none T
		return none, err
	}
	if c.typed == nil {
		c.typed = make(map[any]any)
	}
	c.typed[(*T)(nil)] = claims
	return claims, nil
}

// pass returns the request that the handler sees: with the claims of token, or with
// none for a nil token, and without headers in which a client could name somebody.
func (g *Guard) pass(r *http.Request, token *oauth.AccessToken) *http.Request {
	admitted := r
	// Claims come from this request's token or there are none, even where a program
	// makes one request out of another.
	if token != nil || claimsOf(r.Context()) != nil {
		admitted = r.WithContext(&claimsContext{Context: r.Context(), token: token})
	}
	if !g.strip.any(r.Header) {
		return admitted
	}
	if admitted == r {
		admitted = r.WithContext(r.Context())
	}
	admitted.Header = g.strip.without(r.Header)
	return admitted
}

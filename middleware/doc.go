// Package middleware protects net/http handlers with access tokens.
//
// Its invariant: a handler behind [Require] runs only for a request whose token
// a verifier has accepted just now and which carries every scope that the route
// asks for; what [Claims] returns to it comes from that token and from nothing
// else in the request. Whatever goes wrong on the way, the handler does not run.
//
// A request's way: [Require] takes the token from the Authorization header, the
// only place it looks, hands it to the [oauth.Verifier], compares the scopes,
// and calls the handler with the claims in the request's context. Every other
// answer is the one that RFC 6750 section 3 describes, so that a client knows
// whether to get a token, to get another one, to ask for more scopes or to come
// back later.
//
// [ForIssuer] makes the usual verifier from the issuer's URL.
package middleware

// Package middleware protects net/http handlers with access tokens.
//
// Its invariant: a protected handler runs only for a request whose token a verifier has
// accepted just now, which came with the proof of the key that it is bound to, if it is
// bound to one, and which has all that the route asks for; what [Claims] returns to the
// handler comes from that token and from nothing else in the request. Whatever goes
// wrong on the way, a panic included, the handler does not run. Only a route that says
// so ([Route.Optional]) also runs for requests without a token, and then without claims.
//
// [Require] is all that most programs need. A [Guard] says once what the routes of a
// service have in common, in its [Config], and each [Route] what it asks for; both are
// checked and prepared before a request comes.
//
// A request's way: the token is taken from the Authorization header, the only place
// that is looked at, and given to the [oauth.Verifier]. A bound token has to have come
// with the scheme and the proof that belong to it (DPoP, a client certificate). Then the
// route is compared with the claims, what costs nothing first: audience, scopes, the
// sign-in behind the token, a check of the program's own, and last, where the route asks
// for it, the issuer. The handler gets the request with the claims in its context and
// without the headers in which a client could name somebody.
//
// Every other answer is the one that the specifications describe (RFC 6750, 9449, 9470,
// 9728), so that a client knows whether to get a token, and where, to get another one,
// to ask for more scopes, to sign the person in again or to come back later. Why a
// request was refused is for the log, and for nobody else.
//
// # Preflights
//
// The guard does not answer CORS preflights, and does not let them through either: a
// preflight is an OPTIONS request with two headers, which anybody can send, and a
// handler that ran for it would run without a token. Put the CORS layer around the
// guard, so that browsers can also read its refusals, or give it the preflights alone
// ([Config.Preflight]).
//
// # Other frameworks
//
// What a guard returns is a func(http.Handler) http.Handler. chi and gorilla/mux take it
// as it is, echo through echo.WrapMiddleware, gin through five lines, and [Guard.Admit]
// is for what has no http.Handler, such as gRPC. All of them are programs in
// examples/adapters.
//
// [ForIssuer] and [ForIssuers] make the usual verifier from the issuers' URLs.
package middleware

// Package oauth is the vocabulary that an identity provider, the services that
// accept its tokens and the programs that ask for them have in common: scopes,
// error codes, server metadata, and the checks of an access token and of a client's
// assertion.
//
// Its invariant: an [AccessToken] that this package returns was signed by a key
// of the issuer, or the issuer has just said that it is good; it names this service
// as audience, is valid at the time of the check, and cannot be changed by anybody
// who holds it. Everything that goes
// into that check was written by a stranger and is treated so: sizes are
// bounded before anything is decoded, JSON is read strictly (names match
// exactly, no member twice), and one token has one spelling.
//
// A token's way through the package: [JWTVerifier.Verify] takes it apart, looks
// at what is cheap to see, asks its [KeySource] for the key, checks the
// signature over the bytes that arrived, and only then believes the claims. The
// usual source is [RemoteKeys], which reads the issuer's keys over HTTP and
// keeps them through rotations and outages. A [ClientAssertion], which a client signs
// for an authorization server, goes the same way, and so does what an issuer tells a
// client about a sign-in, an [IDToken] or a [LogoutToken], in front of a verifier of its
// own.
//
// The verifier remembers tokens that were good, because the same ones come again
// and again. What it remembers is one fact, that a key signed these bytes, which
// say this; everything else is asked at every request: the clock, the key source
// (which is how a rotation is noticed, and an outage), the [Revocations]. So a
// remembered token is accepted exactly when it would be accepted the first time,
// which TestCacheRule14_OnAndOffDecideAlike holds by living through thousands of
// random histories with the cache and without. The memory is an array of fixed
// size that only good tokens enter. [AccessToken.Context] is for requests that
// last longer than the look at their token.
//
// [IntrospectionVerifier] asks the issuer instead, for tokens that say nothing
// themselves and for what must notice a revocation at once; [Issuers] chooses among
// the verifiers of several issuers. All three are [BoundVerifier]s: a token that is
// bound to a key passes only by the method of whoever sees the proof of it, which for
// DPoP is a [DPoPVerifier].
//
// Whether a token was bad ([ErrInvalidToken]) or could not be judged
// ([ErrUnavailable]) is never mixed up: the first tells a client to throw its
// token away, the second to come back with it.
//
// The package imports the standard library and go-jose, nothing else.
package oauth

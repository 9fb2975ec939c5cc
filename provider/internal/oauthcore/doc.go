// Package oauthcore runs fosite over the grants of package fositestore, and is the
// guard in front of it.
//
// Its invariant: fosite never sees a request that was not checked here, and
// nobody outside sees what fosite answered before it was translated. A request
// walks through it so:
//
//	ReadForm / ReadQuery      content type, size, encoding, repeated parameters
//	AuthenticateClient        exactly one method, constant-time, same work for unknown clients; an assertion is spent
//	ParseAuthorize            client and redirect_uri first (a page), then the rest (a redirect)
//	IssueCode, Token          one unit of work on one grant (package fositestore), one Put
//	ReadAccessToken, Live     what an access token says, and whether it still holds
//
// fosite calls time.Now itself. Whatever it decides by that is decided again, or
// first, by our own strategies with the provider's clock.
package oauthcore

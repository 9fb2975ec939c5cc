package middleware

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lettergate/lettergate/oauth"
)

// maxAhead is how far the issuer's clock may be ahead of ours when it says when
// somebody signed in. Later than that is no time of a sign-in.
const maxAhead = time.Minute

// stepUp returns the answers of RFC 9470 section 3 to a token whose sign-in is not
// good enough: they name all that the route asks for, so that one new sign-in will do.
func (g *Guard) stepUp(route Route) answerByScheme {
	maxAge := ""
	if route.MaxAge > 0 {
		maxAge = strconv.FormatInt(int64(route.MaxAge/time.Second), 10)
	}
	return g.byScheme(
		oauth.NewError(oauth.CodeInsufficientUserAuthentication, "This needs a stronger or a more recent sign-in."),
		"acr_values", strings.Join(route.ACR, " "), "max_age", maxAge)
}

// weakSignIn says what is wrong with the sign-in behind the token, or returns nil.
func (p *policy) weakSignIn(token *oauth.AccessToken) error {
	if len(p.route.ACR) > 0 && !slices.Contains(p.route.ACR, token.ACR()) {
		return errors.New("acr is none of those that the route asks for")
	}
	if p.route.MaxAge == 0 {
		return nil
	}
	at := token.AuthTime()
	switch age := p.guard.cfg.Now().Sub(at); {
	case at.IsZero():
		return errors.New("the token does not say when the sign-in was (auth_time)")
	case age > p.route.MaxAge:
		return errors.New("the sign-in is too old")
	case age < -maxAhead:
		return errors.New("auth_time is in the future")
	}
	return nil
}

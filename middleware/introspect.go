package middleware

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lettergate/lettergate/oauth"
)

// An Introspector knows what has become of a token since it was issued, such as an
// [oauth.IntrospectionVerifier]. It returns what is known, no older than maxAge (zero:
// of now), or an error like those of an [oauth.Verifier]. It is safe for concurrent
// use.
type Introspector interface {
	Introspect(ctx context.Context, token string, maxAge time.Duration) (*oauth.AccessToken, error)
}

// stillGood asks about a token that was good when it was issued. The handler sees what
// the token says; the answer only ever takes something away.
func (p *policy) stillGood(ctx context.Context, sent credentials, token *oauth.AccessToken) *Refusal {
	g := p.guard
	answer, err := g.introspector.Introspect(ctx, sent.token, max(p.route.Introspect, 0))
	if err == nil && answer == nil {
		err = fmt.Errorf("the introspector %T returned neither claims nor an error", g.introspector)
	}
	if err != nil {
		return g.refusalFor(err, sent.scheme)
	}
	bound := answer.Confirmation()
	if differ(answer.Issuer(), token.Issuer()) || differ(answer.Subject(), token.Subject()) || differ(answer.ClientID(), token.ClientID()) ||
		bound != (oauth.Confirmation{}) && bound != token.Confirmation() {
		return g.answers.invalidToken[sent.scheme].because(errors.New("the introspector speaks of another token"))
	}
	// A consent may have become narrower since.
	var scope *string
	if answer.Claim("scope", &scope) == nil && scope != nil {
		if missing := p.missingScope(answer.Scopes()); missing != "" {
			return p.forbidden[sent.scheme].because(errors.New("the token no longer has the scope " + missing))
		}
	}
	return nil
}

// differ says whether two names are there and not the same.
func differ(a, b string) bool { return a != "" && b != "" && a != b }

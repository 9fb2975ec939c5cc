package interact

import (
	"context"
	"net/http"

	"github.com/lettergate/lettergate/provider/internal/fositestore"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/page"
)

// Consents remembers what people have allowed clients. *consent.Service is one.
type Consents interface {
	oauthcore.Consents

	// Allow adds to what the person has allowed the client, and returns the id of that
	// consent.
	Allow(ctx context.Context, subject, clientID string, scopes []string) (id string, err error)

	// Withdraw takes back all that the person has allowed the client.
	Withdraw(ctx context.Context, subject, clientID string) error
}

// remembered asks, beside what follows, for the consent by which the person has allowed
// before what the request asks for, "" without one. It asks nothing when the page is shown anyway, or never: a client
// whose place another program could take has to be allowed every time (RFC 8252 section
// 8.6).
func (p *Pages) remembered(ctx context.Context, r *oauthcore.AuthorizeRequest, subject string) (wait func() (string, error)) {
	if r == nil || r.Client.FirstParty || r.Prompt("consent") || p.Core.Impersonable(r) {
		return func() (string, error) { return "", nil }
	}
	return oauthcore.Async(func() (string, error) { return p.Consents.Covers(ctx, subject, r.Client.ID, r.Scopes) })
}

// allow remembers that the person has allowed the request, and answers it. Remembered
// first, because the code is good for nothing without it. A decision that was answered
// before is not remembered anew: the person may have withdrawn it since.
func (p *Pages) allow(v *visit, r *oauthcore.AuthorizeRequest, who person, decision string) {
	answered, err := p.Core.Grants().Made(v.r.Context(), decision)
	switch {
	case err != nil:
		p.outage(v, err)
		return
	case answered:
		p.fail(v, http.StatusBadRequest, page.Expired, fositestore.ErrExists)
		return
	}
	if who.consent, err = p.Consents.Allow(v.r.Context(), who.Subject, r.Client.ID, r.Scopes); err != nil {
		p.outage(v, err)
		return
	}
	// Whoever was signed out meanwhile may have been so by the account's owner, who has
	// seen to it that nothing is left of them: this was too late for that.
	open, err := p.Sessions.Alive(v.r.Context(), who.ID)
	if err == nil && !open {
		err = p.Consents.Withdraw(v.r.Context(), who.Subject, r.Client.ID)
	}
	switch {
	case err != nil:
		p.outage(v, err)
	case !open:
		p.showSignIn(v, http.StatusBadRequest, p.Core.NewInteraction(r.Params), r, signIn{problem: page.StartAgain})
	default:
		p.issue(v, r, who, decision)
	}
}

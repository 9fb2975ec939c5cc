package interact

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/page"
	"github.com/lettergate/lettergate/provider/internal/password"
	"github.com/lettergate/lettergate/provider/internal/session"
	"github.com/lettergate/lettergate/provider/internal/verification"
	"github.com/lettergate/lettergate/provider/mail"
	"github.com/lettergate/lettergate/provider/users"
)

// amrPassword is the authentication method of a password (RFC 8176).
const amrPassword = "pwd"

// acrOf is the authentication context class of a sign-in by these methods.
func acrOf(amr []string) string {
	if slices.Contains(amr, amrPassword) {
		return oauthcore.ACRPassword
	}
	return oauthcore.ACREmail
}

// passwordAction is where a password is entered, "" when nobody has one: only apps of
// the CloudBase API let people choose them.
func (p *Pages) passwordAction() string {
	if len(p.Core.Clients().CloudBase()) == 0 {
		return ""
	}
	return p.base + "/login/password"
}

// Password is POST /login/password: it asks for the password, or signs in with it.
func (p *Pages) Password(w http.ResponseWriter, r *http.Request) {
	v, form, ok := p.form(w, r)
	if !ok {
		return
	}
	i, err := p.Core.OpenInteraction(form.Get("request"), v.browser)
	if err != nil {
		p.fail(v, http.StatusBadRequest, page.Expired, err)
		return
	}
	p.speak(v, i)
	request, ok := p.request(v, i)
	if !ok {
		return
	}
	name := strings.TrimFunc(norm.NFKC.String(form.Get("email")), unicode.IsSpace)
	if form.Get("password") == "" {
		p.showPassword(v, http.StatusOK, i, request, name, "")
		return
	}
	u, state, err := p.verified(r, name, form.Get("password"))
	switch {
	case errors.Is(err, password.ErrWrong), errors.Is(err, password.ErrNotSet):
		p.showPassword(v, http.StatusBadRequest, i, request, name, page.WrongPassword)
	case err != nil:
		p.outage(v, err)
	default:
		p.enter(v, i, request, u, state)
	}
}

func (p *Pages) showPassword(v *visit, status int, i oauthcore.Interaction, r *oauthcore.AuthorizeRequest, name, problem string) {
	sealed, err := p.seal(v, i)
	if err != nil {
		p.fail(v, http.StatusInternalServerError, page.Internal, err)
		return
	}
	p.show(v, status, page.Password{
		Lang: v.lang, Client: pageClient(r), FormTargets: targets(r), Action: p.passwordAction(), CodeAction: p.base + "/login/email",
		Hidden: p.hidden(v, sealed), Email: name, Error: problem,
	})
}

// verified returns the account whose password this is. A name that nobody has costs
// the same work and gets the same error as a wrong password.
func (p *Pages) verified(r *http.Request, name, typed string) (users.User, password.State, error) {
	u, identity, err := p.Names.Named(r.Context(), name)
	if err != nil {
		return users.User{}, password.State{}, err
	}
	state, err := p.Passwords.Verify(r.Context(), password.Try{
		Subject: u.Subject, Identity: identity, Password: typed, Source: p.Inbound.Source(r),
	})
	if err == nil && u.Disabled {
		err = password.ErrWrong
	}
	return u, state, err
}

// enter signs in whoever has shown who they are, and goes on to what they came for.
func (p *Pages) enter(v *visit, i oauthcore.Interaction, request *oauthcore.AuthorizeRequest, u users.User, state password.State) {
	previous, _, err := p.Sessions.Load(v.r.Context(), p.Cookies.Session(v.r))
	if err != nil {
		p.outage(v, err)
		return
	}
	address, err := mail.ParseAddress(u.Email)
	if err != nil {
		p.fail(v, http.StatusInternalServerError, page.Internal, err)
		return
	}
	carried, err := i.Encode()
	if err != nil {
		p.fail(v, http.StatusInternalServerError, page.Internal, err)
		return
	}
	passed := verification.Request{ClientID: ownClient, ClientName: p.Name, Email: address, Browser: v.browser, Locale: v.lang, State: carried}
	if request != nil {
		passed.ClientID, passed.ClientName = request.Client.ID, request.Client.DisplayName()
	}
	id, err := p.Verifications.Passed(v.r.Context(), passed)
	if err != nil {
		p.outage(v, err)
		return
	}
	made, cookie, err := p.Sessions.Authenticated(v.r.Context(), session.Authentication{
		Subject: u.Subject, AMR: []string{amrPassword}, At: p.Now(), Previous: previous.ID,
	})
	if err != nil {
		p.outage(v, err)
		return
	}
	// Whoever has changed the password meanwhile has signed out all that there was, and
	// perhaps not yet this.
	if after, err := p.Passwords.State(v.r.Context(), u.Subject); err != nil || after != state {
		if err := errors.Join(err, p.Sessions.End(v.r.Context(), made.ID)); err != nil {
			p.outage(v, err)
			return
		}
		p.showPassword(v, http.StatusBadRequest, i, request, "", page.WrongPassword)
		return
	}
	p.Cookies.SetSession(v.w, cookie)
	p.onward(v, id, request)
}

// after is where a person goes who has just signed in.
func (p *Pages) after(id string, r *oauthcore.AuthorizeRequest) string {
	if r == nil {
		return p.base + "/login/email"
	}
	return p.base + "/oauth2/authorize?resume=" + url.QueryEscape(id)
}

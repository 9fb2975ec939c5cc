package interact

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/page"
	"github.com/lettergate/lettergate/provider/internal/session"
	"github.com/lettergate/lettergate/provider/internal/verification"
	"github.com/lettergate/lettergate/provider/internal/web"
	"github.com/lettergate/lettergate/provider/mail"
)

// ownClient is what a verification is for that no client asked for: our own pages.
const ownClient = "urn:lettergate:pages"

// signIn is what the sign-in page starts with.
type signIn struct {
	email   string
	problem string
}

// showSignIn asks for the address. r is nil when no client asked.
func (p *Pages) showSignIn(v *visit, status int, i oauthcore.Interaction, r *oauthcore.AuthorizeRequest, with signIn) {
	sealed, err := p.seal(v, i)
	if err != nil {
		p.fail(v, http.StatusInternalServerError, page.Internal, err)
		return
	}
	p.show(v, status, page.SignIn{
		Lang: v.lang, Client: pageClient(r), FormTargets: targets(r), Action: p.base + "/login/email",
		Hidden: p.hidden(v, sealed),
		Email:  with.email, Error: with.problem, PasswordAction: p.passwordAction(),
	})
}

// EmailPage is GET /login/email: signing in without a client, or entering another
// address for a verification that was begun (?v=).
func (p *Pages) EmailPage(w http.ResponseWriter, r *http.Request) {
	v := p.begin(w, r, r.URL.Query().Get("ui_locales"))
	if id := r.URL.Query().Get("v"); id != "" {
		view, i, request, ok := p.verification(v, id)
		if ok {
			p.showSignIn(v, http.StatusOK, renewed(p.Core, i), request, signIn{email: view.Email})
		}
		return
	}
	who, signedIn, err := p.signedIn(r, nil)
	switch {
	case err != nil:
		p.outage(v, err)
	case !signedIn:
		p.showSignIn(v, http.StatusOK, p.Core.NewInteraction(nil), nil, signIn{})
	default:
		p.show(v, http.StatusOK, page.SignedIn{Lang: v.lang, Action: p.base + "/logout", Hidden: p.hidden(v), Email: who.email})
	}
}

// renewed is the same request as a new decision, at the time it was made.
func renewed(core *oauthcore.Core, old oauthcore.Interaction) oauthcore.Interaction {
	i := core.NewInteraction(old.Params)
	i.RequestedAt = old.RequestedAt
	return i
}

// Email is POST /login/email: it starts a verification for the address. The answer
// is the same whether or not there is an account.
func (p *Pages) Email(w http.ResponseWriter, r *http.Request) {
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
	typed := strings.TrimFunc(norm.NFKC.String(form.Get("email")), unicode.IsSpace)
	address, err := mail.ParseAddress(typed)
	if err != nil {
		p.showSignIn(v, http.StatusBadRequest, i, request, signIn{email: typed, problem: page.WrongEmail})
		return
	}
	state, err := i.Encode()
	if err != nil {
		p.fail(v, http.StatusInternalServerError, page.Internal, err)
		return
	}
	start := verification.Request{
		ClientID: ownClient, ClientName: p.Name, Email: address, Purpose: verification.SignIn,
		Browser: v.browser, Locale: v.lang, State: state, Source: p.Inbound.Source(r),
	}
	if request != nil {
		start.ClientID, start.ClientName = request.Client.ID, request.Client.DisplayName()
	}
	started, ticket, err := p.Verifications.Start(r.Context(), start)
	if errors.Is(err, verification.ErrTooMany) {
		web.RetryAfter(v.w.Header(), verification.SourceWindow)
		p.showSignIn(v, http.StatusTooManyRequests, i, request, signIn{email: typed, problem: page.TooManySends})
		return
	}
	if err != nil {
		p.outage(v, err)
		return
	}
	page.SeeOther(w, r, p.base+"/login/code?v="+url.QueryEscape(started.ID))
	p.Outbox.Dispatch(ticket)
}

// request is the authorization request of an interaction, nil when no client asked.
// On false the answer was given.
func (p *Pages) request(v *visit, i oauthcore.Interaction) (*oauthcore.AuthorizeRequest, bool) {
	if len(i.Params) == 0 {
		return nil, true
	}
	request, bad := p.Core.ParseAuthorize(i.Params)
	if bad != nil {
		p.refuse(v, request, bad)
		return nil, false
	}
	return request, true
}

// verification loads what this browser began under the id. On false the answer was
// given.
func (p *Pages) verification(v *visit, id string) (view verification.View, i oauthcore.Interaction, r *oauthcore.AuthorizeRequest, ok bool) {
	view, err := p.Verifications.Load(v.r.Context(), id, v.browser)
	switch {
	case errors.Is(err, verification.ErrNotFound):
		p.fail(v, http.StatusBadRequest, page.Expired, err)
		return
	case err != nil:
		p.outage(v, err)
		return
	}
	if i, err = oauthcore.DecodeInteraction(view.State); err != nil {
		p.fail(v, http.StatusInternalServerError, page.Internal, err)
		return
	}
	p.speak(v, i)
	r, ok = p.request(v, i)
	return view, i, r, ok
}

// CodePage is GET /login/code: it asks for the emailed code.
func (p *Pages) CodePage(w http.ResponseWriter, r *http.Request) {
	v := p.begin(w, r, "")
	view, _, request, ok := p.verification(v, r.URL.Query().Get("v"))
	if !ok {
		return
	}
	if view.Spent {
		p.onward(v, view.ID, request) // the back button, after signing in
		return
	}
	p.showCode(v, http.StatusOK, view, request, "", nil)
}

func (p *Pages) showCode(v *visit, status int, view verification.View, r *oauthcore.AuthorizeRequest, problem string, args map[string]string) {
	content := page.Code{
		Lang: v.lang, Client: pageClient(r), FormTargets: targets(r), Action: p.base + "/login/code",
		Hidden: p.hidden(v, page.Field{Name: "v", Value: view.ID}),
		Email:  view.Email, Lifetime: p.within(view.Expires), ChangeURL: p.base + "/login/email?v=" + url.QueryEscape(view.ID),
		Error: problem, ErrorArgs: args,
	}
	if !view.ResendAt.IsZero() {
		content.ResendAction = p.base + "/login/code/resend"
	}
	p.show(v, status, content)
}

// onward sends a person on who has just signed in.
func (p *Pages) onward(v *visit, id string, r *oauthcore.AuthorizeRequest) {
	page.SeeOther(v.w, v.r, p.after(id, r))
}

// Code is POST /login/code: it redeems the code and signs in.
func (p *Pages) Code(w http.ResponseWriter, r *http.Request) {
	v, form, ok := p.form(w, r)
	if !ok {
		return
	}
	view, _, request, ok := p.verification(v, form.Get("v"))
	if !ok {
		return
	}
	// Whatever can fail is asked before the code is spent.
	previous, _, err := p.Sessions.Load(r.Context(), p.Cookies.Session(r))
	if err != nil {
		p.outage(v, err)
		return
	}
	proof, err := p.Verifications.Redeem(r.Context(), verification.Try{
		ID: view.ID, ClientID: view.ClientID, Browser: v.browser, Code: typedCode(form.Get("code")),
		AllowSignUp: request == nil || request.Client.SignUp, Source: p.Inbound.Source(r),
	})
	switch {
	case errors.Is(err, verification.ErrInvalid):
		p.showCode(v, http.StatusBadRequest, view, request, page.WrongCode, nil)
		return
	case err != nil:
		p.outage(v, err)
		return
	}
	_, cookie, err := p.Sessions.Authenticated(r.Context(), session.Authentication{
		Subject: proof.User.Subject, AMR: []string{"otp"}, At: proof.At, Previous: previous.ID,
	})
	if err != nil {
		p.outage(v, err)
		return
	}
	p.Cookies.SetSession(w, cookie)
	p.onward(v, view.ID, request)
}

// typedCode forgives what people and mail programs add to a code: spaces and
// hyphens between the digits, and full-width digits.
func typedCode(s string) string {
	if len(s) > 64 {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '-' {
			return -1
		}
		return r
	}, norm.NFKC.String(s))
}

// Resend is POST /login/code/resend: the same code once more.
func (p *Pages) Resend(w http.ResponseWriter, r *http.Request) {
	v, form, ok := p.form(w, r)
	if !ok {
		return
	}
	view, _, request, ok := p.verification(v, form.Get("v"))
	if !ok {
		return
	}
	ticket, err := p.Verifications.Resend(r.Context(), view.ID, v.browser, p.Inbound.Source(r))
	switch {
	case errors.Is(err, verification.ErrTooMany):
		web.RetryAfter(v.w.Header(), verification.SourceWindow)
		p.showCode(v, http.StatusTooManyRequests, view, request, page.TooManySends, nil)
		return
	case errors.Is(err, verification.ErrNoResend):
		problem, args := page.TooManySends, map[string]string(nil)
		if wait := view.ResendAt.Sub(p.Now()); !view.ResendAt.IsZero() && wait > 0 {
			problem, args = page.WaitToSend, map[string]string{"seconds": strconv.Itoa(int(wait/time.Second) + 1)}
		}
		p.showCode(v, http.StatusBadRequest, view, request, problem, args)
		return
	case errors.Is(err, verification.ErrNotFound):
		p.fail(v, http.StatusBadRequest, page.Expired, err)
		return
	case err != nil:
		p.outage(v, err)
		return
	}
	page.SeeOther(w, r, p.base+"/login/code?v="+url.QueryEscape(view.ID))
	p.Outbox.Dispatch(ticket)
}

// Package interact is the provider's doors for people: the authorization endpoint
// and the pages behind it.
//
// Its steps never call each other. They meet in what is stored or sealed: until an
// address was typed, the request travels inside the page, sealed for the browser
// that asked; from then on it is part of the verification, which only that browser
// can load; and once somebody is signed in, the authorization endpoint is asked
// again and finds the session.
//
//	GET  /oauth2/authorize            sign-in page, consent page, or a code
//	POST /login/email                 starts a verification      -> /login/code?v=…
//	POST /login/code                  redeems it, signs in       -> /oauth2/authorize?resume=…
//	POST /login/password              instead of both            -> /oauth2/authorize?resume=…
//	POST /consent                     remembered, and a code, or no -> the client
//	     /oauth2/logout, /logout      ends the session
//
// The id in these URLs names a verification; it is worth nothing without the
// browser's own cookie.
package interact

import (
	"context"
	"crypto/hmac"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/lettergate/lettergate/oauth"
	"github.com/lettergate/lettergate/provider/internal/messages"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/outbox"
	"github.com/lettergate/lettergate/provider/internal/page"
	"github.com/lettergate/lettergate/provider/internal/password"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/internal/session"
	"github.com/lettergate/lettergate/provider/internal/verification"
	"github.com/lettergate/lettergate/provider/internal/web"
	"github.com/lettergate/lettergate/provider/users"
)

// Deps are what the pages work with. All are required.
type Deps struct {
	Issuer        string
	Name          string // what the provider calls itself
	Core          *oauthcore.Core
	Verifications *verification.Service
	Sessions      *session.Service
	Cookies       session.Cookies
	Users         oauthcore.Subjects
	Names         Names
	Consents      Consents
	Passwords     *password.Service
	Outbox        interface{ Dispatch(outbox.Ticket) }
	Pages         *page.Renderer
	Messages      *messages.Catalogue
	Secrets       *secrets.Ring
	Inbound       *web.Inbound
	Logger        *slog.Logger
	Now           func() time.Time
}

// Names finds accounts by what people call them. *account.Service is one.
type Names interface {
	Named(ctx context.Context, name string) (u users.User, identity string, err error)
}

// Pages are the handlers. They are safe for concurrent use.
type Pages struct {
	Deps
	base string // the issuer's path: where our own URLs begin
}

// New returns the pages.
func New(deps Deps) (*Pages, error) {
	issuer, err := url.Parse(deps.Issuer)
	if err != nil {
		return nil, err
	}
	if deps.Core == nil || deps.Verifications == nil || deps.Sessions == nil || deps.Users == nil || deps.Names == nil || deps.Consents == nil || deps.Passwords == nil || deps.Outbox == nil ||
		deps.Pages == nil || deps.Messages == nil || deps.Secrets == nil || deps.Inbound == nil || deps.Logger == nil || deps.Now == nil {
		return nil, errors.New("interact: all of Deps are required")
	}
	return &Pages{Deps: deps, base: strings.TrimSuffix(issuer.EscapedPath(), "/")}, nil
}

// visit is one request of one browser.
type visit struct {
	w       http.ResponseWriter
	r       *http.Request
	lang    string
	browser []byte // the browser's secret, nil until it has one
}

// begin reads the browser's secret and the person's language.
func (p *Pages) begin(w http.ResponseWriter, r *http.Request, uiLocales string) *visit {
	v := &visit{w: w, r: r, lang: p.Messages.Match(uiLocales, r.Header.Get("Accept-Language"))}
	v.browser, _ = p.Cookies.Browser(r)
	return v
}

// speak chooses the language that the client asked for when the interaction began.
func (p *Pages) speak(v *visit, i oauthcore.Interaction) {
	v.lang = p.Messages.Match(i.Params.Get("ui_locales"), v.r.Header.Get("Accept-Language"))
}

// seal gives the browser a secret if it has none, and seals the interaction for it.
// Only pages with a form call it: a request that is refused must not replace the
// cookie of a browser that another site made send it without cookies.
func (p *Pages) seal(v *visit, i oauthcore.Interaction) (page.Field, error) {
	p.recognise(v)
	sealed, err := p.Core.SealInteraction(i, v.browser)
	return page.Field{Name: "request", Value: sealed}, err
}

func (p *Pages) recognise(v *visit) {
	if v.browser == nil {
		v.browser = p.Cookies.NewBrowser(v.w)
	}
}

// form reads a form of ours: from a page of ours, of this browser, with its token.
// On false the answer was given.
func (p *Pages) form(w http.ResponseWriter, r *http.Request) (*visit, url.Values, bool) {
	v := p.begin(w, r, "")
	form, bad := oauthcore.ReadBody(w, r)
	if bad != nil {
		p.fail(v, bad.Status, page.WrongRequest, bad)
		return nil, nil, false
	}
	token := []byte(form.Get("csrf"))
	if v.browser == nil || len(token) == 0 || !p.Inbound.OwnForm(r) || !hmac.Equal(token, []byte(p.formToken(v.browser))) {
		p.fail(v, http.StatusForbidden, page.WrongBrowser, errors.New("the form is not from a page of ours in this browser"))
		return nil, nil, false
	}
	return v, form, true
}

const formPurpose secrets.Purpose = "form token"

// formToken proves that a form was on a page of ours in this browser.
func (p *Pages) formToken(browser []byte) string {
	mac, err := p.Secrets.MAC(p.Secrets.Current(), formPurpose, browser)
	if err != nil {
		return "" // the current secret always exists; an empty token is never accepted
	}
	return base64.RawURLEncoding.EncodeToString(mac)
}

// hidden are the hidden fields of a form, its token among them.
func (p *Pages) hidden(v *visit, fields ...page.Field) []page.Field {
	p.recognise(v)
	return append(fields, page.Field{Name: "csrf", Value: p.formToken(v.browser)})
}

// show renders a page; when that fails, the error page.
func (p *Pages) show(v *visit, status int, content page.Page) {
	if err := p.Pages.Render(v.w, status, content); err != nil {
		p.fail(v, http.StatusInternalServerError, page.Internal, err)
	}
}

// fail shows the error page and logs the cause.
func (p *Pages) fail(v *visit, status int, problem string, cause error) {
	code := ""
	if e := (*oauth.Error)(nil); errors.As(cause, &e) {
		code = e.Code
	}
	if status == http.StatusServiceUnavailable {
		web.RetryAfter(v.w.Header(), web.OutagePause)
	}
	id := web.RequestID(v.r.Context())
	err := p.Pages.Render(v.w, status, page.Error{Lang: v.lang, Problem: problem, Code: code, RequestID: id})
	if err != nil {
		p.Inbound.Log(v.r, http.StatusInternalServerError, errors.Join(cause, err))
		page.Bare(v.w, http.StatusInternalServerError, p.Messages.Text(v.lang, page.Internal+".title", nil)+" · "+id)
		return
	}
	p.Inbound.LogError(v.r, cause)
}

// outage is fail for a part that does not answer.
func (p *Pages) outage(v *visit, cause error) {
	p.fail(v, http.StatusServiceUnavailable, page.Unavailable, oauthcore.Outage(cause))
}

// Fail shows an error page for a request that reached no handler of ours.
func (p *Pages) Fail(w http.ResponseWriter, r *http.Request, status int, cause error) {
	problem := page.Internal
	switch status {
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		problem = page.NotFound
	case http.StatusServiceUnavailable:
		problem = page.Unavailable
	}
	v := &visit{w: w, r: r, lang: p.Messages.Match(r.Header.Get("Accept-Language"))}
	p.fail(v, status, problem, cause)
}

// pageClient is how a page names a client; nil for a sign-in without one.
func pageClient(r *oauthcore.AuthorizeRequest) *page.Client {
	if r == nil {
		return nil
	}
	return &page.Client{Name: r.Client.DisplayName()}
}

// targets are where the answers to a page's forms may lead.
func targets(r *oauthcore.AuthorizeRequest) []string {
	if r == nil {
		return nil
	}
	return []string{r.RedirectURI}
}

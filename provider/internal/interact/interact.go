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
//	POST /consent                     issues the code, or says no -> the client
//	     /oauth2/logout, /logout      ends the session
//
// The id in these URLs names a verification; it is worth nothing without the
// browser's own cookie.
package interact

import (
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
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/internal/session"
	"github.com/lettergate/lettergate/provider/internal/verification"
	"github.com/lettergate/lettergate/provider/internal/web"
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
	Outbox        interface{ Dispatch(outbox.Ticket) }
	Pages         *page.Renderer
	Messages      *messages.Catalogue
	Secrets       *secrets.Ring
	Inbound       *web.Inbound
	Logger        *slog.Logger
	Now           func() time.Time
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
	if deps.Core == nil || deps.Verifications == nil || deps.Sessions == nil || deps.Users == nil || deps.Outbox == nil ||
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
	browser []byte // the browser's secret
	fresh   bool   // the secret was drawn for this request: no form of ours can carry it
}

// begin reads the browser's secret, or gives it one. Only a cookie is set; the
// store is not asked.
func (p *Pages) begin(w http.ResponseWriter, r *http.Request, uiLocales string) *visit {
	v := &visit{w: w, r: r, lang: p.Messages.Match(uiLocales, r.Header.Get("Accept-Language"))}
	var ok bool
	if v.browser, ok = p.Cookies.Browser(r); !ok {
		v.browser, v.fresh = p.Cookies.NewBrowser(w), true
	}
	return v
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
	if v.fresh || !p.Inbound.OwnForm(r) || !hmac.Equal(token, []byte(p.formToken(v.browser))) {
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
		return "" // the current secret always exists; an empty token fits no form
	}
	return base64.RawURLEncoding.EncodeToString(mac)
}

func (p *Pages) hidden(v *visit, fields ...page.Field) []page.Field {
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
	p.Inbound.LogError(v.r, cause)
	code := ""
	if e := (*oauth.Error)(nil); errors.As(cause, &e) {
		code = e.Code
	}
	if status == http.StatusServiceUnavailable {
		v.w.Header().Set("Retry-After", "5")
	}
	err := p.Pages.Render(v.w, status, page.Error{
		Lang: v.lang, Problem: problem, Code: code, RequestID: web.RequestID(v.r.Context()),
	})
	if err != nil {
		p.Inbound.LogError(v.r, err)
		http.Error(v.w, "Internal error", http.StatusInternalServerError)
	}
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

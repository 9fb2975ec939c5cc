package interact

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/lettergate/lettergate/oauth"
	"github.com/lettergate/lettergate/provider/internal/fositestore"
	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/page"
	"github.com/lettergate/lettergate/provider/internal/session"
	"github.com/lettergate/lettergate/provider/internal/verification"
	"github.com/lettergate/lettergate/provider/users"
)

// maxRedirect is the longest query that a POSTed authorization request is turned
// into.
const maxRedirect = 8 << 10

// Authorize is the authorization endpoint (RFC 6749 section 3.1). It ends in one of
// the sign-in page, the consent page, the error page, or an answer to the client.
func (p *Pages) Authorize(w http.ResponseWriter, r *http.Request) {
	params, bad := oauthcore.ReadQuery(w, r)
	if bad != nil {
		p.fail(p.begin(w, r, ""), bad.Status, page.WrongRequest, bad)
		return
	}
	if r.Method == http.MethodPost {
		p.again(w, r, "/oauth2/authorize?", params)
		return
	}
	v := p.begin(w, r, params.Get("ui_locales"))
	i, resumed, ok := p.interaction(v, params)
	if !ok {
		return
	}
	request, bad := p.Core.ParseAuthorize(i.Params)
	if bad != nil {
		p.refuse(v, request, bad)
		return
	}
	who, signedIn, err := p.signedIn(r, request)
	if err != nil {
		p.outage(v, err)
		return
	}
	if signedIn {
		if err := p.Sessions.Touch(r.Context(), who.Session); err != nil {
			p.outage(v, err)
			return
		}
	}
	// Whether the session was made by the sign-in that this request began. Times are
	// compared in whole seconds, as tokens carry them.
	fresh := signedIn && resumed && who.AuthTime.Unix() >= i.RequestedAt
	p.decide(v, i, request, who, signedIn && !p.stale(request, who.Session, fresh), fresh)
}

// person is who is signed in to a browser.
type person struct {
	session.Session
	email   string
	consent string // by which what the request asks for is allowed; "" when it has to be asked for
}

// signedIn returns who is signed in, and what that means for the request, nil without
// one. A session whose account was deleted or disabled meanwhile is none: its owner has
// to be able to sign in as somebody else.
func (p *Pages) signedIn(r *http.Request, request *oauthcore.AuthorizeRequest) (person, bool, error) {
	sess, ok, err := p.Sessions.Load(r.Context(), p.Cookies.Session(r))
	if err != nil || !ok {
		return person{}, false, err
	}
	remembered := p.remembered(r.Context(), request, sess.Subject)
	user, err := p.Users.BySubject(r.Context(), sess.Subject)
	consent, askErr := remembered()
	switch {
	case errors.Is(err, users.ErrNotFound):
		return person{}, false, nil
	case err != nil || askErr != nil:
		return person{}, false, errors.Join(err, askErr)
	}
	return person{sess, user.Email, consent}, !user.Disabled, nil
}

// again answers a POST by the same request as a GET: a cross-site POST brings no
// cookies (SameSite=Lax), so whatever it was answered would be an answer to somebody
// who is not signed in.
func (p *Pages) again(w http.ResponseWriter, r *http.Request, path string, params url.Values) {
	encoded := params.Encode()
	if len(encoded) > maxRedirect {
		tooLong := oauth.NewError(oauth.CodeInvalidRequest, "The request is longer than 8 KiB; shorten the state.").WithStatus(http.StatusRequestEntityTooLarge)
		p.fail(p.begin(w, r, ""), tooLong.Status, page.WrongRequest, tooLong)
		return
	}
	page.SeeOther(w, r, p.base+path+encoded)
}

// interaction returns the request that is being made: the one in the URL, or the
// one that a verification of this browser carries. On false the answer was given.
func (p *Pages) interaction(v *visit, params url.Values) (i oauthcore.Interaction, resumed, ok bool) {
	id := params.Get("resume")
	if id == "" {
		return p.Core.NewInteraction(params), false, true
	}
	view, err := p.Verifications.Load(v.r.Context(), id, v.browser)
	if err == nil && view.Spent {
		if i, err = oauthcore.DecodeInteraction(view.State); err == nil {
			// A new id: going back and forth in the browser's history is a new decision.
			return renewed(p.Core, i), true, true
		}
	}
	if err != nil && !errors.Is(err, verification.ErrNotFound) {
		p.outage(v, err)
	} else {
		p.fail(v, http.StatusBadRequest, page.Expired, errors.New("no spent verification of this browser to resume"))
	}
	return i, false, false
}

// stale reports whether the session is not what the request asks for: too old, of
// somebody else, or not made for this request.
func (p *Pages) stale(r *oauthcore.AuthorizeRequest, s session.Session, fresh bool) bool {
	switch {
	case r.HintSubject != "" && r.HintSubject != s.Subject:
		return true
	case fresh:
		return false
	case r.Prompt("login"), r.Prompt("select_account"), r.MaxAge == 0:
		return true
	}
	return r.MaxAge != oauthcore.NoMaxAge && p.Now().Sub(s.AuthTime) > r.MaxAge
}

// decide answers a request that is right, for a session that is good enough or
// not.
func (p *Pages) decide(v *visit, i oauthcore.Interaction, r *oauthcore.AuthorizeRequest, who person, signedIn, fresh bool) {
	// Any program on the device can take the place of a public client that is not
	// reached by https, so such a client gets nothing without a click: at the least
	// that of signing in (RFC 8252 section 8.6).
	asks := !r.Client.FirstParty && who.consent == "" || r.Prompt("consent") || p.Core.Impersonable(r) && !fresh
	switch {
	case !signedIn && r.Prompt("none"):
		p.refuse(v, r, oauth.NewError(oauth.CodeLoginRequired, "Nobody is signed in as the request demands."))
	case !signedIn:
		p.showSignIn(v, http.StatusOK, i, r, signIn{email: r.Params.Get("login_hint")})
	case asks && r.Prompt("none"):
		p.refuse(v, r, oauth.NewError(oauth.CodeConsentRequired, "The person has to allow this."))
	case asks:
		p.showConsent(v, i, r, who)
	default:
		p.issue(v, r, who, "")
	}
}

// refuse tells the client, or the person when there is no client that
// could be redirected to (RFC 6749 section 4.1.2.1).
func (p *Pages) refuse(v *visit, r *oauthcore.AuthorizeRequest, bad *oauth.Error) {
	switch {
	case r != nil:
		p.Inbound.LogError(v.r, bad)
		p.respond(v, r, p.Core.ErrorResponse(r, bad))
	case bad.Code == oauth.CodeInvalidClient:
		p.fail(v, http.StatusBadRequest, page.UnknownClient, bad)
	default:
		p.fail(v, http.StatusBadRequest, page.WrongRedirect, bad)
	}
}

// respond sends the person back to the client with what it is told.
func (p *Pages) respond(v *visit, r *oauthcore.AuthorizeRequest, response oauthcore.AuthorizeResponse) {
	if !response.FormPost {
		page.SeeOther(v.w, v.r, response.URL())
		return
	}
	content := page.FormPost{Lang: v.lang, Client: pageClient(r), Action: response.RedirectURI}
	for _, name := range slices.Sorted(maps.Keys(response.Params)) {
		content.Hidden = append(content.Hidden, page.Field{Name: name, Value: response.Params.Get(name)})
	}
	p.show(v, http.StatusOK, content)
}

// issue sends the person back with a code. A decision that is named makes one.
func (p *Pages) issue(v *visit, r *oauthcore.AuthorizeRequest, who person, decision string) {
	response, err := p.Core.IssueCode(v.r.Context(), r, oauthcore.Approval{
		Subject: who.Subject, SessionID: who.ID, AuthTime: who.AuthTime, ACR: acrOf(who.AMR), AMR: who.AMR,
		Consent: who.consent, Decision: decision,
	})
	bad := (*oauth.Error)(nil)
	switch {
	case errors.Is(err, fositestore.ErrExists):
		p.fail(v, http.StatusBadRequest, page.Expired, err)
	case errors.As(err, &bad) && bad.Status == http.StatusServiceUnavailable:
		p.outage(v, err)
	case errors.As(err, &bad):
		p.refuse(v, r, bad)
	case err != nil:
		p.fail(v, http.StatusInternalServerError, page.Internal, err)
	default:
		p.respond(v, r, response)
	}
}

// showConsent asks whether the client gets what it wants.
func (p *Pages) showConsent(v *visit, i oauthcore.Interaction, r *oauthcore.AuthorizeRequest, who person) {
	i.Subject = who.Subject
	sealed, err := p.seal(v, i)
	if err != nil {
		p.fail(v, http.StatusInternalServerError, page.Internal, err)
		return
	}
	p.show(v, http.StatusOK, page.Consent{
		Lang: v.lang, Client: pageClient(r), FormTargets: targets(r), Action: p.base + "/consent",
		Hidden: p.hidden(v, sealed),
		Email:  who.email, Scopes: r.Scopes, RedirectURI: r.RedirectURI,
	})
}

// Consent takes the answer of the consent page. It is given for one session of one
// person: whoever else is signed in by now is asked again.
func (p *Pages) Consent(w http.ResponseWriter, r *http.Request) {
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
	request, bad := p.Core.ParseAuthorize(i.Params)
	if bad != nil {
		p.refuse(v, request, bad)
		return
	}
	who, signedIn, err := p.signedIn(r, nil)
	switch {
	case err != nil:
		p.outage(v, err)
	case !signedIn || who.Subject != i.Subject:
		p.showSignIn(v, http.StatusBadRequest, p.Core.NewInteraction(i.Params), request, signIn{problem: page.StartAgain})
	case form.Get("decision") == "allow":
		p.allow(v, request, who, i.ID)
	default:
		p.refuse(v, request, oauth.NewError(oauth.CodeAccessDenied, "The person did not allow it."))
	}
}

// within reports how long a code still works, for the page.
func (p *Pages) within(expires time.Time) time.Duration { return max(0, expires.Sub(p.Now())) }

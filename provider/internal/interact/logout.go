package interact

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/lettergate/lettergate/provider/internal/oauthcore"
	"github.com/lettergate/lettergate/provider/internal/page"
)

// EndSession is the end-session endpoint (OpenID Connect RP-Initiated Logout
// section 2). It signs out at once when the client proves, by an ID token of this
// very session, that it is the one who was signed in to; otherwise the person is
// asked, because any page may link here.
func (p *Pages) EndSession(w http.ResponseWriter, r *http.Request) {
	params, bad := oauthcore.ReadQuery(w, r)
	if bad != nil {
		p.fail(p.begin(w, r, ""), bad.Status, page.WrongRequest, bad)
		return
	}
	if r.Method == http.MethodPost {
		p.again(w, r, "/oauth2/logout?", params)
		return
	}
	v := p.begin(w, r, params.Get("ui_locales"))
	request, bad := p.Core.ParseLogout(params)
	if bad != nil {
		p.fail(v, bad.Status, page.WrongRequest, bad)
		return
	}
	sess, signedIn, err := p.Sessions.Load(r.Context(), p.Cookies.Session(r))
	switch {
	case err != nil:
		p.outage(v, err)
	case !signedIn && sess.ID == "":
		p.signedOut(v, request)
	case !signedIn || request.SessionID == sess.ID: // begun before, and not answered
		p.signOut(v, sess.ID, request)
	default:
		p.askLogout(v, params, request)
	}
}

// LogoutPage is GET /logout: it asks whether to sign out.
func (p *Pages) LogoutPage(w http.ResponseWriter, r *http.Request) {
	p.askLogout(p.begin(w, r, ""), nil, oauthcore.LogoutRequest{})
}

func (p *Pages) askLogout(v *visit, params url.Values, request oauthcore.LogoutRequest) {
	sealed, err := p.seal(v, p.Core.NewInteraction(params))
	if err != nil {
		p.fail(v, http.StatusInternalServerError, page.Internal, err)
		return
	}
	content := page.Logout{
		Lang: v.lang, Action: p.base + "/logout", Hidden: p.hidden(v, sealed),
	}
	if request.Client != nil {
		content.Client = &page.Client{Name: request.Client.DisplayName()}
	}
	if request.RedirectURI != "" {
		content.FormTargets = []string{request.RedirectURI}
	}
	p.show(v, http.StatusOK, content)
}

// Logout is POST /logout: the person said yes.
func (p *Pages) Logout(w http.ResponseWriter, r *http.Request) {
	v, form, ok := p.form(w, r)
	if !ok {
		return
	}
	request := oauthcore.LogoutRequest{}
	if sealed := form.Get("request"); sealed != "" {
		i, err := p.Core.OpenInteraction(sealed, v.browser)
		if err != nil {
			p.fail(v, http.StatusBadRequest, page.Expired, err)
			return
		}
		if parsed, bad := p.Core.ParseLogout(i.Params); bad == nil {
			request = parsed
		}
	}
	sess, signedIn, err := p.Sessions.Load(r.Context(), p.Cookies.Session(r))
	switch {
	case err != nil:
		p.outage(v, err)
	case signedIn || sess.ID != "": // or begun before, and not answered
		p.signOut(v, sess.ID, request)
	default:
		p.signedOut(v, request)
	}
}

// signOut ends the session, then tells the browser.
func (p *Pages) signOut(v *visit, sid string, request oauthcore.LogoutRequest) {
	if err := p.Sessions.End(v.r.Context(), sid); err != nil {
		p.outage(v, errors.Join(errors.New("sign out"), err))
		return
	}
	p.signedOut(v, request)
}

func (p *Pages) signedOut(v *visit, request oauthcore.LogoutRequest) {
	if p.Cookies.Session(v.r) != "" {
		p.Cookies.ClearSession(v.w)
	}
	if request.RedirectURI != "" {
		page.SeeOther(v.w, v.r, request.Target())
		return
	}
	p.show(v, http.StatusOK, page.LoggedOut{Lang: v.lang})
}

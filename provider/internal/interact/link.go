package interact

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/lettergate/lettergate/provider/internal/page"
	"github.com/lettergate/lettergate/provider/internal/verification"
)

// LinkPage is GET /login/link: what a link in a mail leads to. It only asks: mail
// filters open links before people do.
func (p *Pages) LinkPage(w http.ResponseWriter, r *http.Request) {
	v := p.begin(w, r, "")
	handle := r.URL.Query().Get("v")
	link, ok := p.link(v, handle)
	if !ok {
		return
	}
	p.show(v, http.StatusOK, page.Link{
		Lang: v.lang, Client: &page.Client{Name: link.ClientName}, FormTargets: []string{link.Target},
		Action: p.base + verification.LinkPath, Hidden: p.hidden(v, page.Field{Name: "v", Value: handle}), Email: link.Email,
	})
}

// Link is POST /login/link: the person goes on to the app with the code, in the
// fragment, which no server sees. The code works only together with the
// verification_id, and that only the browser has which asked for the mail.
func (p *Pages) Link(w http.ResponseWriter, r *http.Request) {
	v, form, ok := p.form(w, r)
	if !ok {
		return
	}
	link, ok := p.link(v, form.Get("v"))
	if !ok {
		return
	}
	page.SeeOther(w, r, link.Target+"#"+url.Values{"verification_code": {link.Code}}.Encode())
}

// link opens the link. On false the answer was given.
func (p *Pages) link(v *visit, handle string) (verification.Link, bool) {
	link, err := p.Verifications.OpenLink(v.r.Context(), handle)
	switch {
	case errors.Is(err, verification.ErrNotFound):
		p.fail(v, http.StatusBadRequest, page.Expired, err)
		return link, false
	case err != nil:
		p.outage(v, err)
		return link, false
	case link.Spent:
		p.fail(v, http.StatusBadRequest, page.Expired, errors.New("the code of the link was used"))
		return link, false
	}
	if v.r.Header.Get("Accept-Language") == "" {
		v.lang = link.Locale
	}
	return link, true
}

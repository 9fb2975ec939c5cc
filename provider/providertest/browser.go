package providertest

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/lettergate/lettergate/config"
)

// A Browser is a client with cookies that follows redirects, says of itself what
// browsers say, and knows the issuer's pages. It runs no scripts.
type Browser struct {
	*http.Client
	issuer *Issuer
}

// A Page is what a browser shows, read to its end.
type Page struct {
	URL    *url.URL // where it came from, after all redirects
	Status int
	Header http.Header
	Body   string
}

// Browser returns a browser that nobody has used before.
func (i *Issuer) Browser(t testing.TB) *Browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatalf("providertest: %v", err)
	}
	return &Browser{&http.Client{Jar: jar, Transport: navigation{&i.apps}}, i}
}

// SignedIn returns a browser in which a person has a session at the issuer: apps
// that send it there get it back signed in.
func (i *Issuer) SignedIn(t testing.TB, who Person) *Browser {
	t.Helper()
	b := i.Browser(t)
	q := url.Values{
		"client_id": {ClientID}, "redirect_uri": {clientOrigin + "/callback"}, "response_type": {"code"}, "scope": {"openid"}, "state": {"state"},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"},
	}
	p := b.SignIn(t, i.URL()+"/oauth2/authorize?"+q.Encode(), who)
	if p.URL.Query().Get("code") == "" {
		t.Fatalf("providertest: the sign-in of %s ended at %s: %d %s", who.Email, p.URL, p.Status, p.Body)
	}
	return b
}

// Open opens a page, as a click on a link does.
func (b *Browser) Open(t testing.TB, target string) Page {
	t.Helper()
	return read(t)(b.Get(target))
}

// SignIn opens a page that leads to the issuer, signs the person in there with a
// mailed code, allows what the app asks for, and returns the page that it comes back
// to. A browser in which somebody is signed in already is not asked.
func (b *Browser) SignIn(t testing.TB, target string, who Person) Page {
	t.Helper()
	b.issuer.turn.take()
	defer b.issuer.turn.give()
	p := b.Open(t, target)
	if has(t, p, "email") {
		p = b.Submit(t, p, "email", "email", who.Email)
		p = b.Submit(t, p, "code", "code", b.issuer.codeFor(t, who.Email))
	}
	if has(t, p, "allow") {
		p = b.Submit(t, p, "allow")
	}
	return p
}

// Submit sends the form of a page that holds the element with this id, such as a
// button, with values over those that it has. Pairs are names and values.
func (b *Browser) Submit(t testing.TB, p Page, id string, pairs ...string) Page {
	t.Helper()
	form, element := find(t, p, id)
	if form == nil {
		t.Fatalf("providertest: no form with #%s on %s:\n%s", id, p.URL, p.Body)
	}
	target, err := p.URL.Parse(attr(form, "action"))
	if err != nil {
		t.Fatalf("providertest: %v", err)
	}
	values := url.Values{}
	for n := range form.Descendants() {
		kind := attr(n, "type")
		if n.Type == html.ElementNode && n.Data == "input" && attr(n, "name") != "" && kind != "submit" && kind != "checkbox" {
			values.Set(attr(n, "name"), attr(n, "value"))
		}
	}
	if name := attr(element, "name"); name != "" && element.Data == "button" {
		values.Set(name, attr(element, "value"))
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Set(pairs[i], pairs[i+1])
	}
	return read(t)(b.PostForm(target.String(), values))
}

// read returns what a client has got as a page.
func read(t testing.TB) func(*http.Response, error) Page {
	return func(resp *http.Response, err error) Page {
		t.Helper()
		if err != nil {
			t.Fatalf("providertest: %v", err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("providertest: %v", err)
		}
		return Page{resp.Request.URL, resp.StatusCode, resp.Header, string(body)}
	}
}

func has(t testing.TB, p Page, id string) bool {
	t.Helper()
	form, _ := find(t, p, id)
	return form != nil
}

// find returns the element with an id that stands in a form, and that form.
func find(t testing.TB, p Page, id string) (form, element *html.Node) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(p.Body))
	if err != nil {
		t.Fatalf("providertest: %s is not HTML: %v", p.URL, err)
	}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" {
			continue
		}
		for c := range n.Descendants() {
			if c.Type == html.ElementNode && attr(c, "id") == id {
				return n, c
			}
		}
	}
	return nil, nil
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// navigation says what a browser says when a person clicks on a link or sends a
// form of the page, unless the request says something itself.
type navigation struct{ next http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (n navigation) RoundTrip(r *http.Request) (*http.Response, error) {
	out := r.Clone(r.Context())
	say := func(name, value string) {
		if out.Header.Get(name) == "" {
			out.Header.Set(name, value)
		}
	}
	say("Accept", "text/html")
	say("Sec-Fetch-Mode", "navigate")
	say("Sec-Fetch-Dest", "document")
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		say("Sec-Fetch-Site", "none")
	} else {
		say("Sec-Fetch-Site", "same-origin")
		say("Origin", r.URL.Scheme+"://"+r.URL.Host)
	}
	return n.next.RoundTrip(out)
}

// AppClient is the registration of an app whose callback is at redirectURL: a
// public client of the first party that people may sign up through, with refresh
// tokens. It may ask for openid, email, profile, offline_access and the scopes. Change
// it as needed and hand it to AddClient.
func AppClient(id, redirectURL string, scopes ...string) config.Client {
	return config.Client{
		ID: id, FirstParty: true, SignUp: true, RedirectURIs: []string{redirectURL},
		GrantTypes: []string{config.GrantAuthorizationCode, config.GrantRefreshToken},
		Scopes:     slices.Compact(slices.Sorted(slices.Values(append([]string{"openid", "email", "profile", "offline_access"}, scopes...)))),
	}
}

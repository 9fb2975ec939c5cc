package page

import (
	"errors"
	"html/template"
	"strconv"
	"time"

	"github.com/lettergate/lettergate/provider/internal/messages"
)

// A Page is one of this package's page types.
//
// Their common fields: Lang is the person's language as Catalogue.Match chose it
// (an unknown one gives the default language). Action is the URL that the page's
// form is posted to and Hidden what it carries unseen. FormTargets are the
// redirect URIs, or their origins or schemes, to which the answer to that POST
// may lead: browsers apply form-action to the whole chain of redirects, and stop
// people on their way back to the client when its origin is missing here. Where the
// client leads on from there is not restricted, but for the schemes.
type Page interface {
	// content returns what the template shows. It is unexported because the set
	// of pages is closed: each has a template and a golden file.
	content() (content, error)
}

// content is a page made ready: cleaned, and with its URLs checked.
type content struct {
	template string
	lang     string
	client   *Client
	targets  []string
	submits  bool              // a script sends its form to the one target
	args     map[string]string // for messages, besides provider and client
	data     any
}

// A Client is the app that a person came from.
type Client struct {
	// Name is what it calls itself: up to 64 characters are shown. A name of
	// which nothing can be shown reads "an app without a name".
	Name string
}

// A Field is one hidden input of a form.
type Field struct {
	Name, Value string
}

// What can be wrong with what a person entered: ids for SignIn.Error and
// Code.Error.
const (
	WrongEmail    = "page.problem.email"    // not an address that mail can be sent to
	WrongCode     = "page.problem.code"     // wrong, spent or too old; it does not say which
	WrongPassword = "page.problem.password" // or no such account; it does not say which
	TooManyTries  = "page.problem.tries"    // no more codes are compared for now
	WaitToSend    = "page.problem.wait"     // needs ErrorArgs seconds
	TooManySends  = "page.problem.sends"    // no more codes are sent for now
	StartAgain    = "page.problem.again"    // the sign-in expired, here is a new one
	TryLater      = "page.problem.later"    // nothing was decided: we could not
)

// SignIn asks for the email address. Its field is #email (sent as email), its
// button #submit.
type SignIn struct {
	Lang        string
	Client      *Client // nil for a sign-in that no client asked for
	FormTargets []string
	Action      string
	Hidden      []Field

	// PasswordAction is where the form is posted to by who wants to enter a password,
	// empty where there are none.
	PasswordAction string

	Email     string // what the field starts with; the first 254 octets
	Error     string // a message id, empty for none
	ErrorArgs map[string]string
}

func (p SignIn) content() (content, error) {
	p.Email = cleanEmail(p.Email)
	return content{template: "signin", lang: p.Lang, client: p.Client, targets: p.FormTargets, args: p.ErrorArgs, data: p}, nil
}

// Password asks for a password. Its fields are #email (an address or a username, sent
// as email) and #password, its button #submit; #use-code asks for a code instead.
type Password struct {
	Lang        string
	Client      *Client // nil for a sign-in that no client asked for
	FormTargets []string
	Action      string
	CodeAction  string // where the form is posted to by who wants a code
	Hidden      []Field

	Email string // what the field starts with; the first 254 octets
	Error string // a message id, empty for none
}

func (p Password) content() (content, error) {
	p.Email = cleanEmail(p.Email)
	return content{template: "password", lang: p.Lang, client: p.Client, targets: p.FormTargets, data: p}, nil
}

// Code asks for the emailed code. Its field is #code (sent as code), its button
// #submit; #resend is the button of a form of its own.
type Code struct {
	Lang        string
	Client      *Client
	FormTargets []string
	Action      string
	Hidden      []Field // of both forms

	Email    string        // where the code went, shown so that people notice a typing error
	Lifetime time.Duration // how long the code still works; shown in whole minutes, at least 1
	// ResendAction is what the resend form is posted to. When empty, no more
	// codes can be sent and the page says so in place of the button.
	ResendAction string
	ChangeURL    string // where another address is entered
	Error        string // a message id, empty for none
	ErrorArgs    map[string]string
}

func (p Code) content() (content, error) {
	p.Email = cleanEmail(p.Email)
	args := map[string]string{"minutes": strconv.Itoa(max(1, int(p.Lifetime/time.Minute)))}
	for k, v := range p.ErrorArgs {
		args[k] = v
	}
	return content{template: "code", lang: p.Lang, client: p.Client, targets: p.FormTargets, args: args, data: p}, nil
}

// Link is what a link in a mail leads to. Its button is #confirm.
type Link struct {
	Lang        string
	Client      *Client // required
	FormTargets []string
	Action      string
	Hidden      []Field

	Email string // whose sign-in it is
}

func (p Link) content() (content, error) {
	if p.Client == nil {
		return content{}, errors.New("page: a link without a client")
	}
	return content{template: "link", lang: p.Lang, client: p.Client, targets: p.FormTargets,
		args: map[string]string{"email": cleanEmail(p.Email)}, data: p}, nil
}

// Consent asks whether the client gets what it wants. Its buttons #allow and
// #deny send decision=allow and decision=deny.
type Consent struct {
	Lang        string
	Client      *Client // required
	FormTargets []string
	Action      string
	Hidden      []Field

	Email  string   // of the account
	Scopes []string // those without a text of their own are shown as they are
	// RedirectURI is where both answers lead. Its host is shown, and it is one of
	// the FormTargets whether listed or not. Required.
	RedirectURI string
}

func (p Consent) content() (content, error) {
	if p.Client == nil {
		return content{}, errors.New("a consent page without a client")
	}
	to, err := parseTarget(p.RedirectURI)
	if err != nil {
		return content{}, err
	}
	view := struct {
		Consent
		Web   string   // the host it leads to, or empty for an app on the device
		Known []string // ids of scope texts
		Other []string
	}{Consent: p}
	args := map[string]string{"app": to.host}
	if to.host == "" {
		args["app"] = to.scheme
	} else if !to.loopback() {
		view.Web = to.host
	}
	view.Email = cleanEmail(p.Email)
	for _, scope := range p.Scopes {
		if id := scopeText(scope); id != "" {
			view.Known = append(view.Known, id)
		} else {
			view.Other = append(view.Other, messages.Name(scope))
		}
	}
	targets := append([]string{p.RedirectURI}, p.FormTargets...)
	return content{template: "consent", lang: p.Lang, client: p.Client, targets: targets, args: args, data: view}, nil
}

// scopeText returns the id of the text that says what a scope allows, or "".
func scopeText(scope string) string {
	switch scope {
	case "openid":
		return "page.scope.openid"
	case "email":
		return "page.scope.email"
	case "profile":
		return "page.scope.profile"
	case "offline_access":
		return "page.scope.offline_access"
	}
	return ""
}

// FormPost sends a person back to the client, with what the client is told as a form
// (OAuth 2.0 Form Post Response Mode). A script sends it at once; without scripts its
// button #submit does.
type FormPost struct {
	Lang   string
	Client *Client // required
	Action string  // the redirect URI, https or http; it is kept byte for byte. Required
	Hidden []Field
}

func (p FormPost) content() (content, error) {
	if p.Client == nil {
		return content{}, errors.New("a form for nobody")
	}
	to, err := parseTarget(p.Action)
	if err != nil {
		return content{}, err
	}
	if to.host == "" {
		return content{}, errors.New("an app's own scheme cannot be posted to")
	}
	view := struct {
		FormPost
		Target template.HTMLAttr
	}{FormPost: p}
	// Written as it is: the template engine would encode some characters of a URL anew,
	// and the client knows one spelling.
	view.Target = template.HTMLAttr(`action="` + template.HTMLEscapeString(p.Action) + `"`)
	return content{template: "formpost", lang: p.Lang, client: p.Client, targets: []string{p.Action}, submits: true, data: view}, nil
}

// SignedIn is where a sign-in ends that no client asked for. Its form signs out,
// its button is #submit.
type SignedIn struct {
	Lang   string
	Action string
	Hidden []Field

	Email string
}

func (p SignedIn) content() (content, error) {
	p.Email = cleanEmail(p.Email)
	return content{template: "signedin", lang: p.Lang, data: p}, nil
}

// Logout asks whether to sign out. Its button is #confirm.
type Logout struct {
	Lang        string
	Client      *Client // the client that asks for it, or nil
	FormTargets []string
	Action      string
	Hidden      []Field
}

func (p Logout) content() (content, error) {
	return content{template: "logout", lang: p.Lang, client: p.Client, targets: p.FormTargets, data: p}, nil
}

// LoggedOut says that the person is signed out.
type LoggedOut struct {
	Lang        string
	Client      *Client // whose ContinueURL it is
	ContinueURL string  // a registered post_logout_redirect_uri, or empty
}

func (p LoggedOut) content() (content, error) {
	view := struct{ Continue template.URL }{}
	if p.ContinueURL != "" {
		// The template engine only lets http and https pass by itself; an app's own
		// scheme is as good once parseTarget has refused those that run scripts.
		if _, err := parseTarget(p.ContinueURL); err != nil {
			return content{}, err
		}
		view.Continue = template.URL(p.ContinueURL)
	}
	return content{template: "loggedout", lang: p.Lang, client: p.Client, data: view}, nil
}

// What can end a flow: values of Error.Problem.
const (
	UnknownClient = "page.error.client"      // client_id names nobody; do not redirect
	WrongRedirect = "page.error.redirect"    // redirect_uri is not registered; do not redirect
	WrongRequest  = "page.error.request"     // anything else about the client's request
	Expired       = "page.error.expired"     // the flow is over or took too long
	WrongBrowser  = "page.error.browser"     // cookie or forgery token missing
	NotFound      = "page.error.not_found"   // 404, and 405
	TooMany       = "page.error.too_many"    // 429
	Unavailable   = "page.error.unavailable" // 503
	Internal      = "page.error.internal"    // 500
)

// Error says what is wrong and what would be right, never why it happened inside.
type Error struct {
	Lang    string
	Client  *Client // the client that the person came from, when it is known for sure
	Problem string  // one of the constants above

	Code      string // the protocol's name for it, like invalid_request; may be empty
	RequestID string // what to look for in the log; may be empty
}

func (p Error) content() (content, error) {
	p.Code, p.RequestID = messages.Name(p.Code), messages.Name(p.RequestID)
	return content{template: "error", lang: p.Lang, client: p.Client, data: p}, nil
}

package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/lettergate/lettergate/provider/internal/messages"
)

//go:embed templates
var files embed.FS

// A Config is what a Renderer is made of. Both fields are required.
type Config struct {
	Name      string // what the provider calls itself
	Catalogue *messages.Catalogue
}

// A Renderer writes pages. It is immutable and safe for concurrent use.
type Renderer struct {
	name      string
	catalogue *messages.Catalogue
	style     template.CSS
	styleHash string // as a CSP source
	submitter string // the hash of submitScript, likewise
	pages     map[string]*template.Template
}

// New returns a Renderer. It parses every template.
func New(cfg Config) (*Renderer, error) {
	name := messages.Name(cfg.Name)
	if name == "" {
		return nil, errors.New("page: the provider's name is empty")
	}
	if cfg.Catalogue == nil {
		return nil, errors.New("page: no message catalogue")
	}
	css, err := files.ReadFile("templates/style.css")
	if err != nil {
		return nil, fmt.Errorf("read the stylesheet: %w", err)
	}
	r := &Renderer{
		name:      name,
		catalogue: cfg.Catalogue,
		style:     template.CSS(css),
		styleHash: cspHash(css),
		submitter: cspHash([]byte(submitScript)),
		pages:     map[string]*template.Template{},
	}
	for _, name := range []string{"signin", "password", "code", "consent", "formpost", "signedin", "link", "logout", "loggedout", "error"} {
		t, err := template.ParseFS(files, "templates/layout.html", "templates/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("parse the %s page: %w", name, err)
		}
		r.pages[name] = t
	}
	return r, nil
}

// submitScript sends the form of the one page that has a script. It clicks, because
// form.submit is the button of that name.
const submitScript = `document.getElementById("submit").click()`

// cspHash is what a Content-Security-Policy calls an inline style or script.
func cspHash(text []byte) string {
	sum := sha256.Sum256(text)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// Render writes p with status and every security header. When it returns an
// error (a message id or redirect target that does not exist, a template that
// fails) nothing was written, not even a header, and the caller still owns the
// response. That the reader went away is not an error.
func (r *Renderer) Render(w http.ResponseWriter, status int, p Page) error {
	c, err := p.content()
	if err != nil {
		return fmt.Errorf("render a page: %w", err)
	}
	policy, err := r.policy(c)
	if err != nil {
		return fmt.Errorf("render the %s page: %w", c.template, err)
	}
	v := r.view(c)
	var body bytes.Buffer
	if err := r.pages[c.template].ExecuteTemplate(&body, "layout.html", v); err != nil {
		return fmt.Errorf("render the %s page: %w", c.template, err)
	}

	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", v.Lang)
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	h.Set("Content-Security-Policy", policy)
	h.Set("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	setPrivate(h)
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // fails only when the reader is gone
	return nil
}

// Bare writes a line of text in place of a page that cannot be rendered, with nothing
// of what a page is made of but its headers.
func Bare(w http.ResponseWriter, status int, line string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	setPrivate(h)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, line+"\n") // fails only when the reader is gone
}

// SeeOther redirects to url with 303, so that a posted form is not posted again
// (RFC 9700 section 4.12). It writes no body: url may carry a code.
func SeeOther(w http.ResponseWriter, r *http.Request, url string) {
	h := w.Header()
	setPrivate(h)
	h["Content-Type"] = nil // keeps http.Redirect from adding a body
	http.Redirect(w, r, url, http.StatusSeeOther)
}

// setPrivate keeps a response out of caches and its URL out of other requests.
func setPrivate(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
}

// policy returns the Content-Security-Policy of a page whose form may lead to its
// targets.
func (r *Renderer) policy(c content) (string, error) {
	var sources []string
	for _, uri := range c.targets {
		t, err := parseTarget(uri)
		if err != nil {
			return "", err
		}
		sources = append(append(sources, t.source()), t.onward()...)
	}
	slices.Sort(sources)
	parts := []string{"default-src 'none'", "style-src " + r.styleHash, "img-src 'self' data:"}
	forms := "form-action 'self'"
	if c.submits {
		parts = append(parts, "script-src "+r.submitter)
		forms = "form-action"
	}
	forms = strings.Join(append([]string{forms}, slices.Compact(sources)...), " ")
	return strings.Join(append(parts, forms, "base-uri 'none'", "frame-ancestors 'none'"), "; "), nil
}

// A view is what the templates see.
type view struct {
	Lang, Dir string
	Style     template.CSS
	Submit    template.JS
	Provider  string
	Client    string // cleaned; empty for none
	Page      any

	text func(id string) (string, error)
}

// T returns a message.
func (v view) T(id string) (string, error) { return v.text(id) }

func (r *Renderer) view(c content) view {
	v := view{Lang: r.catalogue.Match(c.lang), Style: r.style, Submit: submitScript, Provider: r.name, Page: c.data}
	v.Dir = direction(v.Lang)

	args := map[string]string{"provider": isolate(r.name)}
	for k, s := range c.args {
		args[k] = isolate(messages.Name(s))
	}
	v.text = func(id string) (string, error) {
		if _, ok := r.catalogue.Placeholders(id); !ok {
			return "", fmt.Errorf("no message %q", id)
		}
		return r.catalogue.Text(v.Lang, id, args), nil
	}
	if c.client != nil {
		v.Client = messages.Name(c.client.Name)
		if v.Client == "" {
			v.Client = r.catalogue.Text(v.Lang, "page.client.unnamed", nil)
		}
		args["client"] = isolate(v.Client)
	}
	return v
}

package mail

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/lettergate/lettergate/provider/internal/messages"
)

//go:embed templates/*.tmpl
var templateFiles embed.FS

// Templates writes messages. Each kind is a pair, text and HTML, that was parsed
// once and takes every visible text from the message catalogue; neither refers to
// anything outside itself. Templates is safe for concurrent use.
type Templates struct {
	texts *messages.Catalogue
	code  pair
}

// A pair is the two forms of one kind of mail.
type pair struct {
	text *template.Template
	html *htmltemplate.Template
}

// NewTemplates parses the templates and texts that are part of the program.
func NewTemplates() (*Templates, error) {
	texts, err := messages.New()
	if err != nil {
		return nil, fmt.Errorf("read the texts of mails: %w", err)
	}
	code, err := parsePair("code")
	if err != nil {
		return nil, err
	}
	return &Templates{texts: texts, code: code}, nil
}

func parsePair(kind string) (p pair, err error) {
	file := "templates/" + kind
	if p.text, err = template.New(kind+".txt.tmpl").Option("missingkey=error").ParseFS(templateFiles, file+".txt.tmpl"); err != nil {
		return pair{}, fmt.Errorf("parse the text of mail %q: %w", kind, err)
	}
	if p.html, err = htmltemplate.New(kind+".html.tmpl").Option("missingkey=error").ParseFS(templateFiles, file+".html.tmpl"); err != nil {
		return pair{}, fmt.Errorf("parse the HTML of mail %q: %w", kind, err)
	}
	return p, nil
}

// render executes both forms. They see T and the fields of data.
func (p pair) render(data any) (text, html string, err error) {
	var t, h bytes.Buffer
	if err := p.text.Execute(&t, data); err != nil {
		return "", "", fmt.Errorf("write the text of a mail: %w", err)
	}
	if err := p.html.Execute(&h, data); err != nil {
		return "", "", fmt.Errorf("write the HTML of a mail: %w", err)
	}
	return t.String(), h.String(), nil
}

// A CodeMail brings somebody a code.
type CodeMail struct {
	To        string    // as Message.To
	MessageID string    // as Message.MessageID
	Expires   time.Time // as Message.Expires
	Lang      string    // a language of the catalogue; anything else is English

	// Code is the code, digits only. It is in each form exactly once and not in
	// the subject, which a locked telephone shows to everybody.
	Code string

	// ClientName is the application that the code is for. It may come from a
	// stranger: it is shown in quotes, on one line, cut to 64 characters, without
	// what would make it a link. If empty, ProviderName stands there.
	ClientName string

	// ProviderName is what the provider calls itself. Required.
	ProviderName string

	// Minutes is how long the code can be used. At least 1.
	Minutes int

	// RequestedAt is when the code was asked for; it is shown in UTC.
	RequestedAt time.Time

	// Device is what it was asked for from, such as "Firefox on Linux". It may
	// come from a stranger and is treated like ClientName. Optional.
	Device string
}

// codeView is what the templates of a code mail see.
type codeView struct {
	Lang, Subject, Code string
	Requested           string // the id of the sentence that says when and where from

	texts *messages.Catalogue
	args  map[string]string
}

// T returns a text of the catalogue.
func (v codeView) T(id string) string { return v.texts.Text(v.Lang, id, v.args) }

// Code writes a code mail. It fails rather than write one without a code.
func (t *Templates) Code(m CodeMail) (Message, error) {
	provider := messages.Name(m.ProviderName)
	client := messages.Name(m.ClientName)
	if client == "" {
		client = provider
	}
	switch {
	case m.Code == "" || strings.Trim(m.Code, "0123456789") != "":
		return Message{}, errors.New("write a code mail: the code is not made of digits")
	case provider == "":
		return Message{}, errors.New("write a code mail: the provider has no name")
	case m.Minutes < 1:
		return Message{}, errors.New("write a code mail: the code has no lifetime")
	case m.RequestedAt.IsZero():
		return Message{}, errors.New("write a code mail: the time of the request is missing")
	}
	view := codeView{
		Lang:      t.texts.Match(m.Lang),
		Code:      m.Code,
		Requested: "mail.code.requested",
		texts:     t.texts,
		args: map[string]string{
			"client":   client,
			"provider": provider,
			"minutes":  strconv.Itoa(m.Minutes),
			"time":     m.RequestedAt.UTC().Format("2006-01-02 15:04 UTC"),
		},
	}
	if device := messages.Name(m.Device); device != "" {
		view.Requested = "mail.code.requested_from"
		view.args["device"] = device
	}
	view.Subject = view.T("mail.code.subject")
	text, html, err := t.code.render(view)
	if err != nil {
		return Message{}, err
	}
	return Message{
		To: m.To, Subject: view.Subject, Text: text, HTML: html,
		MessageID: m.MessageID, Lang: view.Lang, Expires: m.Expires,
	}, nil
}

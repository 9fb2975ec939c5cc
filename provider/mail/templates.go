package mail

import (
	"bytes"
	"embed"
	"fmt"
	htmltemplate "html/template"
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
	texts              *messages.Catalogue
	code, link, notice pair
}

// words is what the templates of every mail see.
type words struct {
	Lang, Subject string

	texts *messages.Catalogue
	args  map[string]string
}

// T returns a text of the catalogue.
func (w words) T(id string) string { return w.texts.Text(w.Lang, id, w.args) }

// words returns those of a mail whose subject has this id.
func (t *Templates) words(lang, subject string, args map[string]string) words {
	w := words{Lang: t.texts.Match(lang), texts: t.texts, args: args}
	w.Subject = w.T(subject)
	return w
}

// moment is how a mail says when something was.
func moment(at time.Time) string { return at.UTC().Format("2006-01-02 15:04 UTC") }

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
	t := &Templates{texts: texts}
	for kind, p := range map[string]*pair{"code": &t.code, "link": &t.link, "notice": &t.notice} {
		if *p, err = parsePair(kind); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func parsePair(kind string) (p pair, err error) {
	file := "templates/" + kind
	if p.text, err = template.New(kind+".txt.tmpl").Option("missingkey=error").ParseFS(templateFiles, file+".txt.tmpl"); err != nil {
		return pair{}, fmt.Errorf("parse the text of mail %q: %w", kind, err)
	}
	if p.html, err = htmltemplate.New(kind+".html.tmpl").Option("missingkey=error").ParseFS(templateFiles, file+".html.tmpl", "templates/frame.html.tmpl"); err != nil {
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

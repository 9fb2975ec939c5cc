package devbox

import (
	"bytes"
	"embed"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/lettergate/lettergate/provider/internal/messages"
)

//go:embed page.html.tmpl
var files embed.FS

// jsonMail is one element of messages.json. Its fields are fixed: scripts read them.
type jsonMail struct {
	To         string    `json:"to"`
	Subject    string    `json:"subject"`
	Text       string    `json:"text"`
	HTML       string    `json:"html"`
	ReceivedAt time.Time `json:"received_at"`
}

// serveJSON writes all mails as a JSON array, newest first.
func (b *Box) serveJSON(w http.ResponseWriter) {
	mails := b.all()
	list := make([]jsonMail, len(mails)) // never null
	for i, m := range mails {
		list[i] = jsonMail{To: m.To, Subject: m.Subject, Text: m.Text, HTML: m.HTML, ReceivedAt: m.At.UTC()}
	}
	body, err := json.Marshal(list)
	if err != nil {
		http.Error(w, "500 internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(body, '\n'))
}

// pageView is what the page's template sees: the list, or one mail of it.
type pageView struct {
	Lang, Prefix string
	Mails        []received
	Mail         *received
	Gone         bool // the mail that was asked for is not there

	texts *messages.Catalogue
}

// T returns a text of the catalogue.
func (v pageView) T(id string) string { return v.texts.Text(v.Lang, id, nil) }

// Time shows when a mail came.
func (v pageView) Time(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func (b *Box) servePage(w http.ResponseWriter, r *http.Request) {
	view := pageView{
		Lang:   b.texts.Match(r.Header.Get("Accept-Language")),
		Prefix: b.prefix,
		texts:  b.texts,
	}
	status := http.StatusOK
	if wanted := r.URL.Query().Get("mail"); wanted != "" {
		number, _ := strconv.Atoi(wanted) // no mail has the number 0
		if m, found := b.find(number); found {
			view.Mail = &m
		} else {
			view.Gone, status = true, http.StatusNotFound
		}
	}
	if view.Mail == nil {
		view.Mails = b.all()
	}
	var page bytes.Buffer
	if err := b.page.Execute(&page, view); err != nil {
		http.Error(w, "500 internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(page.Bytes())
}

package mail

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/lettergate/lettergate/provider/internal/messages"
)

// A LinkMail brings somebody a link to open in the browser where it was asked for.
type LinkMail struct {
	To        string    // as Message.To
	MessageID string    // as Message.MessageID
	Expires   time.Time // as Message.Expires
	Lang      string    // as CodeMail.Lang

	// ClientName is the application that the link leads to, as CodeMail.ClientName.
	ClientName string

	// ProviderName is what the provider calls itself. Required.
	ProviderName string

	// Minutes is how long the link can be used. At least 1.
	Minutes int

	// RequestedAt is when the link was asked for; it is shown in UTC.
	RequestedAt time.Time

	// URL is where the link leads: the provider's own page, by https or, on this
	// machine, http. It is in each form exactly once and not in the subject.
	URL string
}

// linkView is what the templates of a link mail see.
type linkView struct {
	words
	URL string
}

// Link writes a link mail. It fails rather than write one without a link.
func (t *Templates) Link(m LinkMail) (Message, error) {
	provider := messages.Name(m.ProviderName)
	client := messages.Name(m.ClientName)
	if client == "" {
		client = provider
	}
	switch {
	case !ownURL(m.URL):
		return Message{}, errors.New("write a link mail: the link is not an https address, or an http one of this machine")
	case provider == "":
		return Message{}, errors.New("write a link mail: the provider has no name")
	case m.Minutes < 1:
		return Message{}, errors.New("write a link mail: the link has no lifetime")
	case m.RequestedAt.IsZero():
		return Message{}, errors.New("write a link mail: the time of the request is missing")
	}
	w := t.words(m.Lang, "mail.link.subject", map[string]string{
		"client":   client,
		"provider": provider,
		"minutes":  strconv.Itoa(m.Minutes),
		"time":     moment(m.RequestedAt),
	})
	text, html, err := t.link.render(linkView{words: w, URL: m.URL})
	if err != nil {
		return Message{}, err
	}
	return Message{
		To: m.To, Subject: w.Subject, Text: text, HTML: html,
		MessageID: m.MessageID, Lang: w.Lang, Expires: m.Expires,
	}, nil
}

// ownURL reports whether s can be a page of ours, and a mail program would take
// all of it for the link when it stands on a line of plain text.
func ownURL(s string) bool {
	for _, c := range []byte(s) {
		if !letterOrDigit(c) && !strings.ContainsRune("-._~:/?[]@$&=%+,;", rune(c)) {
			return false
		}
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname())
}

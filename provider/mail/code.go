package mail

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/lettergate/lettergate/provider/internal/messages"
)

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
	words
	Code   string
	Limits string // the id of the sentences that say until when, and what it was asked for with
}

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
	limits := "mail.code.limits"
	args := map[string]string{
		"client":   client,
		"provider": provider,
		"minutes":  strconv.Itoa(m.Minutes),
		"time":     moment(m.RequestedAt),
	}
	if device := messages.Name(m.Device); device != "" {
		limits = "mail.code.limits_device"
		args["device"] = device
	}
	w := t.words(m.Lang, "mail.code.subject", args)
	text, html, err := t.code.render(codeView{words: w, Code: m.Code, Limits: limits})
	if err != nil {
		return Message{}, err
	}
	return Message{
		To: m.To, Subject: w.Subject, Text: text, HTML: html,
		MessageID: m.MessageID, Lang: w.Lang, Expires: m.Expires,
	}, nil
}

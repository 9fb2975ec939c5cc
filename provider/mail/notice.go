package mail

import (
	"errors"
	"fmt"
	"time"

	"github.com/lettergate/lettergate/provider/internal/messages"
)

// A Notice is something that happened to an account and that its owner is told.
type Notice string

// All notices. NoticeEmailChanged goes to the old address.
const (
	NoticePasswordChanged Notice = "password_changed"
	NoticeEmailChanged    Notice = "email_changed"
)

// A NoticeMail tells somebody what happened to his account. It has neither a link
// nor a code, so that nobody gets used to follow one out of a mail that alarms him.
type NoticeMail struct {
	To        string    // as Message.To
	MessageID string    // as Message.MessageID
	Expires   time.Time // as Message.Expires
	Lang      string    // as CodeMail.Lang

	// ProviderName is what the provider calls itself. Required.
	ProviderName string

	// Kind is what happened. Required.
	Kind Notice

	// NewEmail is the account's new address, acceptable to ParseAddress. Only its
	// first character and its domain are shown. Required for NoticeEmailChanged.
	NewEmail string

	// At is when it happened; it is shown in UTC. Required.
	At time.Time
}

// noticeView is what the templates of a notice see: the ids of what happened and
// of what to do if it was somebody else.
type noticeView struct {
	words
	Happened, Otherwise string
}

// Notice writes a notice. It fails rather than write one that does not say what
// happened.
func (t *Templates) Notice(m NoticeMail) (Message, error) {
	provider := messages.Name(m.ProviderName)
	switch {
	case provider == "":
		return Message{}, errors.New("write a notice: the provider has no name")
	case m.At.IsZero():
		return Message{}, errors.New("write a notice: the time is missing")
	}
	args := map[string]string{"provider": provider, "time": moment(m.At)}
	var subject string
	var view noticeView
	switch m.Kind {
	case NoticePasswordChanged:
		subject = "mail.notice.password.subject"
		view.Happened, view.Otherwise = "mail.notice.password.happened", "mail.notice.password.otherwise"
	case NoticeEmailChanged:
		to, err := ParseAddress(m.NewEmail)
		if err != nil {
			return Message{}, fmt.Errorf("write a notice: the new address: %w", err)
		}
		args["email"] = to.masked()
		subject = "mail.notice.email.subject"
		view.Happened, view.Otherwise = "mail.notice.email.happened", "mail.notice.email.otherwise"
	default:
		return Message{}, fmt.Errorf("write a notice: there is no kind %q", m.Kind)
	}
	view.words = t.words(m.Lang, subject, args)
	text, html, err := t.notice.render(view)
	if err != nil {
		return Message{}, err
	}
	return Message{
		To: m.To, Subject: view.Subject, Text: text, HTML: html,
		MessageID: m.MessageID, Lang: view.Lang, Expires: m.Expires,
	}, nil
}

// masked returns as much of the address as its owner needs to know it again, and
// no more: always as many dots, because how many would be a hint.
func (a Address) masked() string { return a.local[:1] + "•••@" + a.domain }

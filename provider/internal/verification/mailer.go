package verification

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/lettergate/lettergate/provider/internal/outbox"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/mail"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/users"
)

// MailKind is the outbox kind of mails with a code.
const MailKind outbox.Kind = "mail.code"

// A mailJob is what the outbox keeps of a mail: enough to write it, and not the
// code.
type mailJob struct {
	ID         string `json:"id"`
	Generation int    `json:"generation"`
	Send       int    `json:"send"` // 1 for the first mail
}

// A Composer writes a mail. mail.Templates is one.
type Composer interface {
	Code(m mail.CodeMail) (mail.Message, error)
	Link(m mail.LinkMail) (mail.Message, error)
}

// MailConfig is what sending codes needs. All but Now is required.
type MailConfig struct {
	Store    storage.Store
	Secrets  *secrets.Ring
	Accounts interface {
		ByEmail(ctx context.Context, emailKey string) (users.User, error)
	}
	Composer     Composer
	Mailer       mail.Mailer
	Issuer       string           // where links lead; its host ends the Message-ID
	ProviderName string           // as the mail names this provider
	Now          func() time.Time // default time.Now
}

// MailHandler returns the outbox handler of MailKind. It is apart from the
// Service because the outbox is made first.
//
// It derives the code when the mail is sent, sends to the spelling that the
// account has, and gives each mail a Message-ID that stays the same when a mail
// is sent twice. A verification that has expired, was spent, or is gone gets no
// mail.
func MailHandler(cfg MailConfig) (outbox.Handler, error) {
	switch {
	case cfg.Store == nil:
		return nil, errors.New("verification: mail: no store")
	case cfg.Secrets == nil:
		return nil, errors.New("verification: mail: no secrets")
	case cfg.Accounts == nil:
		return nil, errors.New("verification: mail: no accounts")
	case cfg.Composer == nil:
		return nil, errors.New("verification: mail: no composer")
	case cfg.Mailer == nil:
		return nil, errors.New("verification: mail: no mailer")
	}
	issuer, err := url.Parse(cfg.Issuer)
	if err != nil || issuer.Hostname() == "" {
		return nil, errors.New("verification: mail: the issuer is not a URL with a host")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	domain := issuer.Hostname()
	if strings.Contains(domain, ":") { // an IPv6 literal, which a Message-ID cannot end with
		domain = "localhost"
	}
	return mailer{cfg, domain}.handle, nil
}

type mailer struct {
	cfg    MailConfig
	domain string
}

func (m mailer) handle(ctx context.Context, payload json.RawMessage) error {
	var job mailJob
	if err := json.Unmarshal(payload, &job); err != nil {
		return outbox.Permanent(fmt.Errorf("verification: mail: decode: %w", err))
	}
	now := m.cfg.Now()
	_, v, ok, err := read(ctx, m.cfg.Store, job.ID, now)
	if err != nil {
		return err
	}
	if !ok || v.State != pending || v.Generation != job.Generation {
		return nil
	}
	msg, err := m.write(ctx, job, v, now)
	if err != nil {
		return err
	}
	if err := m.cfg.Mailer.Send(ctx, msg); err != nil {
		err = fmt.Errorf("verification: mail: %w", err)
		if errors.Is(err, mail.ErrRejected) {
			err = outbox.Permanent(err)
		}
		return err
	}
	return nil
}

func (m mailer) write(ctx context.Context, job mailJob, v record, now time.Time) (mail.Message, error) {
	code, err := v.code(m.cfg.Secrets, job.ID)
	if err != nil {
		return mail.Message{}, outbox.Permanent(fmt.Errorf("verification: mail: derive the code: %w", err))
	}
	to := v.Email
	switch u, err := m.cfg.Accounts.ByEmail(ctx, v.Identity); {
	case err == nil:
		to = u.Email // whoever types another spelling does not choose where the code goes
	case !errors.Is(err, users.ErrNotFound):
		return mail.Message{}, unavailable("mail: find the account", err)
	}
	messageID, err := m.messageID(job, v)
	if err != nil {
		return mail.Message{}, outbox.Permanent(err)
	}
	expires := time.UnixMilli(v.Expires)
	minutes := max(1, int(expires.Sub(now).Round(time.Minute)/time.Minute))
	var msg mail.Message
	if v.Link == "" {
		msg, err = m.cfg.Composer.Code(mail.CodeMail{
			To: to, MessageID: messageID, Expires: expires, Lang: v.Locale, Code: code, ClientName: v.ClientName,
			ProviderName: m.cfg.ProviderName, Minutes: minutes, RequestedAt: time.UnixMilli(v.Sent),
		})
	} else {
		msg, err = m.cfg.Composer.Link(mail.LinkMail{
			To: to, MessageID: messageID, Expires: expires, Lang: v.Locale, ClientName: v.ClientName,
			URL:          m.cfg.Issuer + LinkPath + "?v=" + linkHandle(m.cfg.Secrets, job.ID),
			ProviderName: m.cfg.ProviderName, Minutes: minutes, RequestedAt: time.UnixMilli(v.Sent),
		})
	}
	if err != nil {
		return mail.Message{}, fmt.Errorf("verification: mail: %w", err)
	}
	return msg, nil
}

// messageID follows from the mail's place in its verification and tells nothing
// of the handle. A resend has another one: with the same, mailboxes would take it
// for the mail that they had already, perhaps among the spam.
func (m mailer) messageID(job mailJob, v record) (string, error) {
	mac, err := m.cfg.Secrets.MAC(v.Kid, messagePurpose, []byte(job.ID), number(job.Generation), number(job.Send))
	if err != nil {
		return "", fmt.Errorf("verification: mail: derive the Message-ID: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(mac[:16]) + "@" + m.domain, nil
}

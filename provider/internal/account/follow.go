package account

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

// The outbox kinds of what follows from a change.
const (
	NoticeKind  outbox.Kind = "mail.notice"
	signOutKind outbox.Kind = "sign_out.everywhere"
)

// A signOutJob ends sign-ins that are older than a change, if the change took place.
type signOutJob struct {
	Subject string `json:"sub"`
	Since   int64  `json:"since,omitempty"` // when the password was changed
	Keep    string `json:"keep,omitempty"`
	Deleted bool   `json:"deleted,omitempty"` // the change is that the account is gone
}

// A notice tells the owner of an account what was changed, if it was.
type notice struct {
	Kind     mail.Notice `json:"kind"`
	Subject  string      `json:"sub"`
	To       string      `json:"to"`
	Lang     string      `json:"lang,omitempty"`
	NewEmail string      `json:"new_email,omitempty"`
	OldKey   string      `json:"old_key,omitempty"`
	At       int64       `json:"at"`
}

// A Composer writes notices. mail.Templates is one.
type Composer interface {
	Notice(m mail.NoticeMail) (mail.Message, error)
}

// FollowConfig is what the handlers of the jobs need. All is required.
type FollowConfig struct {
	Store        storage.Store
	Users        Directory
	Passwords    Passwords
	Consents     Consents
	SignOut      SignOut
	Composer     Composer
	Mailer       mail.Mailer
	Secrets      *secrets.Ring
	Issuer       string
	ProviderName string
}

// Handlers returns the outbox handlers of this package's jobs. They are apart from
// the Service because the outbox is made first.
func Handlers(cfg FollowConfig) (map[outbox.Kind]outbox.Handler, error) {
	switch {
	case cfg.Store == nil, cfg.Users == nil, cfg.Passwords == nil, cfg.Consents == nil, cfg.SignOut == nil, cfg.Composer == nil, cfg.Mailer == nil, cfg.Secrets == nil, cfg.ProviderName == "":
		return nil, errors.New("account: a collaborator of the jobs is missing")
	}
	issuer, err := url.Parse(cfg.Issuer)
	if err != nil || issuer.Hostname() == "" {
		return nil, errors.New("account: the issuer is not a URL with a host")
	}
	f := follower{cfg, issuer.Hostname()}
	if strings.Contains(f.domain, ":") {
		f.domain = "localhost" // a Message-ID cannot end with an IPv6 literal
	}
	return map[outbox.Kind]outbox.Handler{NoticeKind: f.notice, signOutKind: f.signOut}, nil
}

type follower struct {
	cfg    FollowConfig
	domain string
}

func (f follower) signOut(ctx context.Context, payload json.RawMessage) error {
	var job signOutJob
	if err := decodeJob(payload, &job); err != nil {
		return err
	}
	if job.Deleted {
		_, err := f.cfg.Users.BySubject(ctx, job.Subject)
		if err == nil {
			return nil // the account is there: it was not deleted in the end
		}
		if !errors.Is(err, users.ErrNotFound) {
			return fmt.Errorf("account: find the account: %w", err)
		}
		return attached{f.cfg.Store, f.cfg.Passwords, f.cfg.Consents, f.cfg.SignOut}.drop(ctx, job.Subject)
	}
	at, ok, err := f.cfg.Passwords.Changed(ctx, job.Subject)
	if err != nil {
		return fmt.Errorf("account: ask for the password: %w", err)
	}
	if !ok || at.UnixMilli() < job.Since {
		return nil // it was not changed in the end
	}
	return f.cfg.SignOut(ctx, job.Subject, at.UnixMilli()+1, job.Keep)
}

// passwordChanged reports whether the password was set at the moment or later.
func (f follower) passwordChanged(ctx context.Context, subject string, since int64) (bool, error) {
	at, ok, err := f.cfg.Passwords.Changed(ctx, subject)
	if err != nil {
		return false, fmt.Errorf("account: ask for the password: %w", err)
	}
	return ok && at.UnixMilli() >= since, nil
}

func (f follower) notice(ctx context.Context, payload json.RawMessage) error {
	var job notice
	if err := decodeJob(payload, &job); err != nil {
		return err
	}
	took, err := f.took(ctx, job)
	if err != nil || !took {
		return err
	}
	id, err := f.cfg.Secrets.MAC(f.cfg.Secrets.Current(), noticePurpose, payload)
	if err != nil {
		return outbox.Permanent(fmt.Errorf("account: derive the Message-ID: %w", err))
	}
	at := time.UnixMilli(job.At)
	msg, err := f.cfg.Composer.Notice(mail.NoticeMail{
		To: job.To, MessageID: base64.RawURLEncoding.EncodeToString(id[:16]) + "@" + f.domain, Expires: at.Add(jobLife),
		Lang: job.Lang, ProviderName: f.cfg.ProviderName, Kind: job.Kind, NewEmail: job.NewEmail, At: at,
	})
	if err != nil {
		return outbox.Permanent(fmt.Errorf("account: write a notice: %w", err))
	}
	if err := f.cfg.Mailer.Send(ctx, msg); err != nil {
		err = fmt.Errorf("account: send a notice: %w", err)
		if errors.Is(err, mail.ErrRejected) {
			err = outbox.Permanent(err)
		}
		return err
	}
	return nil
}

const noticePurpose secrets.Purpose = "notice message-id"

// took reports whether what the notice is about took place. The job was stored
// before the change was tried.
func (f follower) took(ctx context.Context, job notice) (bool, error) {
	if job.Kind == mail.NoticePasswordChanged {
		return f.passwordChanged(ctx, job.Subject, job.At)
	}
	u, err := f.cfg.Users.BySubject(ctx, job.Subject)
	if errors.Is(err, users.ErrNotFound) {
		return true, nil // gone since: the owner of the old address learns at least this
	}
	if err != nil {
		return false, fmt.Errorf("account: find the account: %w", err)
	}
	return u.EmailKey != job.OldKey, nil
}

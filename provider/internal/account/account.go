package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lettergate/lettergate/provider/internal/outbox"
	"github.com/lettergate/lettergate/provider/internal/password"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/mail"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/users"
)

// Directory is the part of users.Directory that changes need.
type Directory interface {
	BySubject(ctx context.Context, subject string) (users.User, error)
	ByEmail(ctx context.Context, emailKey string) (users.User, error)
	ByUsername(ctx context.Context, username string) (users.User, error)
	Update(ctx context.Context, u users.User) (users.User, error)
	Delete(ctx context.Context, subject string) error
}

// Passwords is the part of password.Service that changes need.
type Passwords interface {
	Set(ctx context.Context, subject, hash string, expires time.Time) error
	Replace(ctx context.Context, subject, hash string, was password.State, mark string) error
	Remove(ctx context.Context, subject string) error
	Changed(ctx context.Context, subject string) (at time.Time, ok bool, err error)
}

// Consents is the part of consent.Service that changes need.
type Consents interface {
	Forget(ctx context.Context, subject string) error
}

// Jobs is the part of outbox.Outbox that a maker of jobs needs.
type Jobs interface {
	Add(ctx context.Context, j outbox.Job) (outbox.Ticket, error)
	Dispatch(t outbox.Ticket)
}

// Config is what New needs. All but Now and Logger is required.
type Config struct {
	Store     storage.Store
	Users     Directory
	Passwords Passwords
	Consents  Consents
	Outbox    Jobs
	SignOut   SignOut
	Now       func() time.Time // default time.Now
}

// A SignOut ends what was signed in before the given moment, in unix milliseconds:
// browser sessions and grants, except one grant ("" for none). It can be repeated.
type SignOut func(ctx context.Context, subject string, before int64, keepGrant string) error

// A Service changes accounts. It is safe for concurrent use.
type Service struct{ cfg Config }

// New returns a Service. It starts nothing.
func New(cfg Config) (*Service, error) {
	switch {
	case cfg.Store == nil, cfg.Users == nil, cfg.Passwords == nil, cfg.Consents == nil, cfg.Outbox == nil, cfg.SignOut == nil:
		return nil, errors.New("account: a collaborator is missing")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg}, nil
}

// Named finds the account that a person calls by an address or a username, and what
// tries of its password are counted under. A name that nobody has is no error: the
// account is zero, the name is counted for itself, and the work is the same.
func (s *Service) Named(ctx context.Context, name string) (u users.User, identity string, err error) {
	if address, bad := mail.ParseAddress(name); bad == nil {
		identity = address.Identity()
		u, err = s.cfg.Users.ByEmail(ctx, identity)
	} else {
		key, ok := users.UsernameKey(name)
		if !ok {
			key = "nobody" // it is read, and does not count
		}
		identity = "username " + key
		if u, err = s.cfg.Users.ByUsername(ctx, key); err == nil && !ok {
			err = users.ErrNotFound
		}
	}
	switch {
	case errors.Is(err, users.ErrNotFound):
		return users.User{}, identity, nil
	case err != nil:
		return users.User{}, "", fmt.Errorf("find the account: %w", err)
	}
	return u, u.EmailKey, nil
}

// Prove makes an account whose address nobody has proven its owner's. Whoever
// registered it may have been somebody else: the password, the profile, the consents,
// the username and every sign-in from before are dropped, so that nobody waits behind
// the door for the owner to come.
func (s *Service) Prove(ctx context.Context, u users.User) (users.User, error) {
	if u.EmailVerified {
		return u, nil
	}
	if err := s.drop(ctx, u.Subject); err != nil {
		return users.User{}, fmt.Errorf("prove the address: %w", err)
	}
	u.EmailVerified, u.Username, u.Name = true, "", ""
	proven, err := s.cfg.Users.Update(ctx, u) // the account is its owner's from here
	if errors.Is(err, users.ErrConflict) {
		// Somebody has proven it at the same time, or it was changed: what is there now
		// decides.
		if proven, err = s.cfg.Users.BySubject(ctx, u.Subject); err == nil && !proven.EmailVerified {
			err = users.ErrConflict
		}
	}
	if err != nil {
		return users.User{}, fmt.Errorf("prove the address: %w", err)
	}
	return proven, nil
}

// attached is where things are that are attached to a subject.
type attached struct {
	store     storage.Store
	passwords Passwords
	consents  Consents
	signOut   SignOut
}

// drop removes what is attached to a subject and ends what it was signed in to: first,
// so that no call under way puts something back, and last, because one of them may
// have signed in meanwhile.
func (a attached) drop(ctx context.Context, subject string) error {
	if err := a.signOut(ctx, subject, forEver, ""); err != nil {
		return err
	}
	if err := a.passwords.Remove(ctx, subject); err != nil {
		return err
	}
	if err := a.store.Delete(ctx, profileKey(subject)); err != nil {
		return err
	}
	if err := a.consents.Forget(ctx, subject); err != nil {
		return err
	}
	return a.signOut(ctx, subject, forEver, "")
}

func (s *Service) drop(ctx context.Context, subject string) error {
	return attached{s.cfg.Store, s.cfg.Passwords, s.cfg.Consents, s.cfg.SignOut}.drop(ctx, subject)
}

// forEver is a moment after every other.
const forEver = int64(1) << 62

// SetPassword gives the account a new password in the place of the one that it had,
// and signs it out everywhere but in the grant that is kept ("" for none). The owner
// is told by mail. It returns password.ErrChanged when somebody else has set another
// one meanwhile. mark is as for password.Service.Replace.
func (s *Service) SetPassword(ctx context.Context, u users.User, hash string, was password.State, mark, lang, keepGrant string) error {
	err := s.newPassword(ctx, u, lang, keepGrant, func() error { return s.cfg.Passwords.Replace(ctx, u.Subject, hash, was, mark) })
	if err != nil {
		return fmt.Errorf("set the password: %w", err)
	}
	return nil
}

// SignOutOthers signs the account out everywhere but in the grant that is kept.
func (s *Service) SignOutOthers(ctx context.Context, subject, keepGrant string) error {
	return s.cfg.SignOut(ctx, subject, forEver, keepGrant)
}

// ResetPassword gives the account a new password, whatever it had, for whoever has
// proven the mailbox. Changes of the account that are under way elsewhere fail.
func (s *Service) ResetPassword(ctx context.Context, u users.User, hash, lang string) error {
	err := s.cfg.SignOut(ctx, u.Subject, forEver, "")
	if err == nil {
		u, err = s.cfg.Users.Update(ctx, u) // a new version: no edit that began before is stored
	}
	if err == nil {
		err = s.newPassword(ctx, u, lang, "", func() error { return s.cfg.Passwords.Set(ctx, u.Subject, hash, time.Time{}) })
	}
	if err != nil {
		return fmt.Errorf("reset the password: %w", err)
	}
	return nil
}

// newPassword puts a password, with all that has to follow.
func (s *Service) newPassword(ctx context.Context, u users.User, lang, keepGrant string, put func() error) error {
	out, told, err := s.announce(ctx, u, s.cfg.Now(), lang, keepGrant)
	if err != nil {
		return err
	}
	// Once before: whatever is under way with an older sign-in finds it dead, or finds
	// that the password is not the one it knew. Once after: somebody may have signed in
	// with the old one in between.
	if err := s.cfg.SignOut(ctx, u.Subject, forEver, keepGrant); err != nil {
		return err
	}
	if err := put(); err != nil { // the old password is worth nothing from here
		return err
	}
	if err := s.cfg.SignOut(ctx, u.Subject, forEver, keepGrant); err != nil {
		return err
	}
	s.cfg.Outbox.Dispatch(out)
	s.cfg.Outbox.Dispatch(told)
	return nil
}

// announce stores what has to follow from a new password.
func (s *Service) announce(ctx context.Context, u users.User, at time.Time, lang, keepGrant string) (out, told outbox.Ticket, err error) {
	out, err = s.add(ctx, signOutKind, signOutJob{Subject: u.Subject, Since: at.UnixMilli(), Keep: keepGrant})
	if err != nil {
		return out, told, err
	}
	told, err = s.add(ctx, NoticeKind, notice{
		Kind: mail.NoticePasswordChanged, Subject: u.Subject, To: u.Email, Lang: lang, At: at.UnixMilli(),
	})
	return out, told, err
}

// ChangeEmail gives the account a new, proven address. Its owner is told at the old
// one. It returns users.ErrEmailTaken when the address is another account's.
func (s *Service) ChangeEmail(ctx context.Context, u users.User, to mail.Address, lang string) (users.User, error) {
	told, err := s.add(ctx, NoticeKind, notice{
		Kind: mail.NoticeEmailChanged, Subject: u.Subject, To: u.Email, Lang: lang,
		NewEmail: to.String(), OldKey: u.EmailKey, At: s.cfg.Now().UnixMilli(),
	})
	if err != nil {
		return users.User{}, fmt.Errorf("change the address: %w", err)
	}
	u.Email, u.EmailKey, u.EmailVerified = to.String(), to.Identity(), true
	changed, err := s.cfg.Users.Update(ctx, u)
	if err != nil {
		return users.User{}, fmt.Errorf("change the address: %w", err)
	}
	s.cfg.Outbox.Dispatch(told)
	return changed, nil
}

// Delete removes the account with all that is attached to it. It may be repeated.
func (s *Service) Delete(ctx context.Context, subject string) error {
	out, err := s.add(ctx, signOutKind, signOutJob{Subject: subject, Deleted: true})
	if err != nil {
		return fmt.Errorf("delete the account: %w", err)
	}
	if err := s.cfg.Users.Delete(ctx, subject); err != nil { // the account is gone from here
		return fmt.Errorf("delete the account: %w", err)
	}
	if err := s.drop(ctx, subject); err != nil {
		return fmt.Errorf("delete the account: %w", err)
	}
	s.cfg.Outbox.Dispatch(out)
	return nil
}

// jobLife is how long what follows from a change is tried.
const jobLife = 48 * time.Hour

func (s *Service) add(ctx context.Context, kind outbox.Kind, payload any) (outbox.Ticket, error) {
	return s.cfg.Outbox.Add(ctx, outbox.Job{
		ID: string(kind) + "." + secrets.NewID(), Kind: kind, Payload: payload, Expires: s.cfg.Now().Add(jobLife),
	})
}

// decodeJob reads a payload; one that cannot be read never will be.
func decodeJob(payload json.RawMessage, into any) error {
	if err := json.Unmarshal(payload, into); err != nil {
		return outbox.Permanent(fmt.Errorf("account: decode a job: %w", err))
	}
	return nil
}

package verification

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/lettergate/lettergate/provider/internal/outbox"
	"github.com/lettergate/lettergate/provider/internal/pkce"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/mail"
	"github.com/lettergate/lettergate/provider/storage"
)

// maxState bounds what a door may keep in a verification, maxLink where a link leads,
// and maxLocale the language tag: a longer one is none.
const (
	maxState  = 64 << 10
	maxLocale = 64
	maxLink   = 2048
)

// A Request starts a verification.
type Request struct {
	ClientID   string // whose sign-in this is. Required
	ClientName string // as the mail shows it
	Email      mail.Address
	Purpose    Purpose // default SignIn
	Scopes     []string

	// Browser is the secret of the browser that the verification belongs to, and
	// Challenge a PKCE S256 challenge (RFC 7636). At most one is given; with
	// neither the verification is bound to its client and handle only.
	Browser   []byte
	Challenge string

	DeviceID string // the client's name for the device; only its pseudonym is kept

	// Of an Ownership: who is signed in and asks for it, as a subject; where a link in the
	// mail leads that stands there instead of the code; and what names the request, so
	// that sent again within a minute it gets the same answer and no second mail.
	Requester string
	Link      string
	Once      []byte

	Source netip.Addr // where the request comes from, behind all trusted proxies
	Locale string     // a language tag for the mail
	State  []byte     // what the door wants back from Load and Redeem, at most 64 KiB
}

// Started is a verification whose code is on its way.
type Started struct {
	ID        string        // for pages, whose browser is checked besides
	Handle    string        // for clients: the verification_id
	ExpiresIn time.Duration // the life of the code
	Interval  time.Duration // how long to wait before another mail can be asked for
}

// Start makes a verification and puts its mail into the outbox; when it returns,
// both survive this process. The caller gives its answer and then passes the
// ticket to outbox.Dispatch.
//
// Start looks for no account: an address that nobody has costs the same calls and
// gets the same answer. The error wraps ErrRequest when r cannot be served, is
// ErrTooMany when its source has asked for enough, and otherwise is the store's.
func (s *Service) Start(ctx context.Context, r Request) (Started, outbox.Ticket, error) {
	if err := r.check(); err != nil {
		return Started{}, outbox.Ticket{}, err
	}
	now := s.cfg.Now()
	id := secrets.NewID()
	if r.Once != nil {
		var again bool
		var err error
		if id, again, err = s.again(ctx, r, now); err != nil {
			return Started{}, outbox.Ticket{}, err
		}
		if again {
			return s.started(id), outbox.Ticket{}, nil
		}
	}
	v := s.newRecord(r, now)
	rec, err := v.into(storage.Record{Key: key(id), Version: storage.NewVersion()})
	if err != nil {
		return Started{}, outbox.Ticket{}, err
	}
	// The mail first: a verification that is there has had its mail queued. A mail
	// without a verification is not sent.
	var ticket outbox.Ticket
	if _, test := s.cfg.InsecureTestCodes[v.Identity]; test {
		s.cfg.Logger.WarnContext(ctx, "verification: a code of insecure_test_codes can be used now", "client", v.Client)
	} else if err = s.countSend(ctx, r.Source); err != nil {
		return Started{}, outbox.Ticket{}, err
	} else if ticket, err = s.queueMail(ctx, id, v); err != nil {
		return Started{}, outbox.Ticket{}, err
	}
	err = storage.Settle(ctx, s.deps.Store, rec)
	if errors.Is(err, storage.ErrConflict) && r.Once != nil {
		return s.started(id), outbox.Ticket{}, nil // the same request, at the same time
	}
	if err != nil {
		return Started{}, outbox.Ticket{}, unavailable("start", err)
	}
	return s.started(id), ticket, nil
}

// Passed keeps r.State for the browser of somebody who has shown otherwise who they
// are. Load returns it as it does that of a spent verification: whoever goes on from
// there need not know how the person signed in.
func (s *Service) Passed(ctx context.Context, r Request) (id string, err error) {
	if err := r.check(); err != nil {
		return "", err
	}
	if r.Browser == nil || r.Purpose == Ownership {
		return "", fmt.Errorf("%w: only a sign-in in a browser can be passed", ErrRequest)
	}
	v := s.newRecord(r, s.cfg.Now())
	v.State = spent
	id = secrets.NewID()
	rec, err := v.into(storage.Record{Key: key(id), Version: storage.NewVersion()})
	if err != nil {
		return "", err
	}
	if err := storage.Settle(ctx, s.deps.Store, rec); err != nil {
		return "", unavailable("keep the request", err)
	}
	return id, nil
}

func (s *Service) started(id string) Started {
	return Started{ID: id, Handle: s.handle(id), ExpiresIn: s.cfg.Lifetime, Interval: s.resendPause()}
}

func (s *Service) newRecord(r Request, now time.Time) record {
	v := record{
		V:          recordVersion,
		Client:     r.ClientID,
		ClientName: r.ClientName,
		Email:      r.Email.String(),
		Identity:   r.Email.Identity(),
		Purpose:    SignIn,
		Scopes:     r.Scopes,
		Challenge:  r.Challenge,
		Requester:  r.Requester,
		Link:       r.Link,
		Digits:     s.cfg.Digits,
		Kid:        s.deps.Secrets.Current(),
		Generation: 1,
		Sends:      1,
		Sent:       now.UnixMilli(),
		State:      pending,
		Request:    r.State,
		Locale:     r.Locale,
		Created:    now.UnixMilli(),
		Expires:    now.Add(s.cfg.Lifetime).UnixMilli(),
	}
	if r.Purpose != "" {
		v.Purpose = r.Purpose
	}
	if r.Browser != nil {
		v.Browser = browserHash(r.Browser)
	}
	if len(v.Locale) > maxLocale {
		v.Locale = ""
	}
	if r.DeviceID != "" {
		v.Device = s.deps.Devices.Key(r.DeviceID).ID
	}
	return v
}

// again finds the verification that the same request has started in the last
// minute. Without one it returns the id for the verification to be made: it follows
// from the request, so that of two at the same time one is made. The id is as
// unguessable as what names the request, and tells nothing of the code.
func (s *Service) again(ctx context.Context, r Request, now time.Time) (id string, again bool, err error) {
	mac, err := s.deps.Secrets.MAC(s.deps.Secrets.Current(), oncePurpose, r.Once)
	if err != nil {
		return "", false, fmt.Errorf("verification: name the request: %w", err)
	}
	id = base64.RawURLEncoding.EncodeToString(mac[:16])
	recs, err := s.deps.Store.Get(ctx, key(id))
	if err != nil {
		return "", false, unavailable("look for the same request", err)
	}
	if recs[0].IsZero() {
		return id, false, nil
	}
	v, err := decode(recs[0])
	if err != nil {
		return "", false, err
	}
	if now.Sub(time.UnixMilli(v.Created)) < repeatWithin {
		return id, true, nil
	}
	return secrets.NewID(), false, nil // long ago: another wish in the same words
}

// repeatWithin is how long a request that is sent again is taken for the same one.
const repeatWithin = time.Minute

func (r Request) check() error {
	switch {
	case r.ClientID == "":
		return fmt.Errorf("%w: no client", ErrRequest)
	case r.Email == mail.Address{}:
		return fmt.Errorf("%w: no address", ErrRequest)
	case r.Purpose != "" && r.Purpose != SignIn && r.Purpose != Ownership:
		return fmt.Errorf("%w: unknown purpose", ErrRequest)
	case r.Purpose == Ownership && (r.Browser != nil || r.Challenge != ""):
		return fmt.Errorf("%w: a proof is bound to its client and device", ErrRequest)
	case r.Purpose != Ownership && (r.Requester != "" || r.Link != "" || r.Once != nil):
		return fmt.Errorf("%w: only a proof has a requester, a link, or a request that can be sent again", ErrRequest)
	case len(r.Link) > maxLink:
		return fmt.Errorf("%w: a link of more than %d bytes", ErrRequest, maxLink)
	case r.Browser != nil && len(r.Browser) < 16:
		return fmt.Errorf("%w: the browser's secret is too short", ErrRequest)
	case r.Browser != nil && r.Challenge != "":
		return fmt.Errorf("%w: bound to a browser and to a code_challenge", ErrRequest)
	case r.Challenge != "" && !pkce.ValidChallenge(r.Challenge):
		return fmt.Errorf("%w: code_challenge is not an S256 challenge", ErrRequest)
	case len(r.State) > maxState:
		return fmt.Errorf("%w: more than %d bytes to keep", ErrRequest, maxState)
	}
	return nil
}

// queueMail puts one mail of v into the outbox. Its id counts the mails: the same
// one is never queued twice, and a second one is another mail.
func (s *Service) queueMail(ctx context.Context, id string, v record) (outbox.Ticket, error) {
	ticket, err := s.deps.Outbox.Add(ctx, outbox.Job{
		ID:      id + "." + strconv.Itoa(v.Sends),
		Kind:    MailKind,
		Payload: mailJob{ID: id, Generation: v.Generation, Send: v.Sends},
		Expires: time.UnixMilli(v.Expires),
	})
	if err != nil {
		return outbox.Ticket{}, unavailable("queue the mail", err)
	}
	return ticket, nil
}

// A View is what the page of a verification shows.
type View struct {
	ID         string
	ClientID   string
	ClientName string
	Email      string // as typed
	Purpose    Purpose
	Scopes     []string
	Locale     string
	State      []byte // as given to Start
	Digits     int
	Expires    time.Time
	Spent      bool      // the code was used
	ResendAt   time.Time // when another mail can be asked for; zero means never
}

// Load returns the verification that this browser started, or ErrNotFound when
// there is none, it has expired, or it belongs to another browser or to none.
func (s *Service) Load(ctx context.Context, id string, browser []byte) (View, error) {
	_, v, ok, err := read(ctx, s.deps.Store, id, s.cfg.Now())
	if err != nil {
		return View{}, err
	}
	if !ok || !v.inBrowser(browser) {
		return View{}, ErrNotFound
	}
	return View{
		ID:         id,
		ClientID:   v.Client,
		ClientName: v.ClientName,
		Email:      v.Email,
		Purpose:    v.Purpose,
		Scopes:     v.Scopes,
		Locale:     v.Locale,
		State:      v.Request,
		Digits:     v.Digits,
		Expires:    time.UnixMilli(v.Expires),
		Spent:      v.State == spent,
		ResendAt:   s.resendAt(v),
	}, nil
}

// resendAt is when v may be mailed again, zero when never.
func (s *Service) resendAt(v record) time.Time {
	if v.State != pending || v.Sends >= maxSends {
		return time.Time{}
	}
	return time.UnixMilli(v.Sent).Add(s.resendPause())
}

// Resend mails the same code again, at most four times and 30 s apart, without
// the pause in development. It returns ErrNotFound as Load does, ErrNoResend when it
// is too early or enough, and ErrTooMany as Start does. The ticket is the caller's as
// after Start.
//
// Nothing about the tries changes: what is left of them is left.
func (s *Service) Resend(ctx context.Context, id string, browser []byte, source netip.Addr) (outbox.Ticket, error) {
	if _, ok := secrets.ParseID(id); !ok {
		return outbox.Ticket{}, ErrNotFound
	}
	if err := s.countSend(ctx, source); err != nil {
		return outbox.Ticket{}, err
	}
	var v record
	_, err := storage.Update(ctx, s.deps.Store, key(id), func(cur storage.Record) (storage.Record, error) {
		now := s.cfg.Now()
		if cur.IsZero() {
			return cur, ErrNotFound
		}
		var err error
		if v, err = decode(cur); err != nil {
			return cur, err
		}
		if now.UnixMilli() >= v.Expires || !v.inBrowser(browser) {
			return cur, ErrNotFound
		}
		if at := s.resendAt(v); at.IsZero() || at.After(now) {
			return cur, ErrNoResend
		}
		v.Sends++
		v.Sent = now.UnixMilli()
		return v.into(cur)
	})
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrNoResend):
		s.sends(source).GiveBack(ctx, s.deps.Store)
		return outbox.Ticket{}, err
	case err != nil:
		return outbox.Ticket{}, unavailable("resend", err)
	}
	return s.queueMail(ctx, id, v)
}

// narrow returns what of the started scopes is asked for: all when nothing is
// named. ok is false when something else is.
func narrow(started, asked []string) (scopes []string, ok bool) {
	if len(asked) == 0 {
		return started, true
	}
	for _, scope := range asked {
		if !slices.Contains(started, scope) {
			return nil, false
		}
		if !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	return scopes, true
}

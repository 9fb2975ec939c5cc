package verification

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/lettergate/lettergate/provider/internal/outbox"
	"github.com/lettergate/lettergate/provider/internal/ratelimit"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/users"
)

var (
	// ErrInvalid is the one answer to a try that does not succeed: a wrong,
	// malformed, spent or expired code, one too many, another client, browser or
	// PKCE verifier, no such verification, no account.
	ErrInvalid = errors.New("verification: the code was not accepted")

	// ErrScope says that a try asked for more than its verification was started
	// with. Nothing was counted, and the code is as good as before.
	ErrScope = errors.New("verification: scope exceeds what the verification was started with")

	// ErrNotFound says that there is no such verification for this browser.
	ErrNotFound = errors.New("verification: not found")

	// ErrNoResend says that no further mail is sent, now or at all.
	ErrNoResend = errors.New("verification: no further mail")

	// ErrTooMany says that too many mails were asked for from one place. It tells
	// nothing about an address.
	ErrTooMany = errors.New("verification: too many mails for one source")

	// ErrRequest says that a verification cannot be started as it was asked for.
	// Its text says why and may be shown to the client's developer.
	ErrRequest = errors.New("verification: bad request")
)

// A Purpose is what a verification is good for. One is never accepted for another.
type Purpose string

const (
	// SignIn signs somebody in, and up where the client allows it.
	SignIn Purpose = "sign_in"

	// Ownership proves that a mailbox is somebody's. Its code is exchanged for a token,
	// which is spent on one of the deeds that need the proof.
	Ownership Purpose = "ownership"
)

// maxSends bounds the mails of one verification, the first included; sendPause is
// the shortest time between two.
const (
	maxSends  = 5
	sendPause = 30 * time.Second
)

// Config holds the numbers of a Service. The zero value of each field stands for
// its default.
type Config struct {
	Digits   int           // length of a code. Default 6
	Lifetime time.Duration // of a code. Default 10m

	TriesPerVerification int // wrong codes that end a verification. Default 5
	TriesPerAccount      int // wrong codes per address in 24 h. Default 10
	TriesPerKnownAccount int // the same from a device that has signed in before. Default 20
	TriesPerSource       int // tries per network in SourceWindow, and mails likewise. Default 20

	// Development lets one source try and ask for mails 100 times as often, and mails be
	// sent again without a pause.
	Development bool

	// InsecureTestCodes are addresses, by identity, whose code is always the same.
	// They get no mail and are under no limit.
	InsecureTestCodes map[string]string

	Now    func() time.Time // default time.Now
	Logger *slog.Logger     // gets which limits were reached. Default none
}

// Accounts is the part of users.Directory that a sign-in needs.
type Accounts interface {
	ByEmail(ctx context.Context, emailKey string) (users.User, error)
	Create(ctx context.Context, u users.User) (users.User, error)

	// Prove makes the address of an account that nobody has proven its owner's, and
	// drops what was attached to the account before.
	Prove(ctx context.Context, u users.User) (users.User, error)
}

// Jobs is the part of outbox.Outbox that a maker of jobs needs.
type Jobs interface {
	Add(ctx context.Context, j outbox.Job) (outbox.Ticket, error)
}

// Deps are a Service's collaborators. All are required.
type Deps struct {
	Store    storage.Store
	Secrets  *secrets.Ring
	Outbox   Jobs
	Accounts Accounts
	Devices  Devices
}

// Devices tells devices that have signed in before from others. *device.Devices is
// one.
type Devices interface {
	Key(id string) storage.Key
	Known(r storage.Record, identity string) bool
	Remember(ctx context.Context, id, identity string) error
}

// A Service starts and redeems verifications. It is safe for concurrent use.
type Service struct {
	cfg  Config
	deps Deps
}

// New returns a Service. It starts nothing.
func New(cfg Config, deps Deps) (*Service, error) {
	switch {
	case deps.Store == nil:
		return nil, errors.New("verification: no store")
	case deps.Secrets == nil:
		return nil, errors.New("verification: no secrets")
	case deps.Outbox == nil:
		return nil, errors.New("verification: no outbox")
	case deps.Accounts == nil:
		return nil, errors.New("verification: no accounts")
	case deps.Devices == nil:
		return nil, errors.New("verification: no devices")
	}
	for _, n := range []struct {
		field    *int
		fallback int
	}{
		{&cfg.Digits, 6},
		{&cfg.TriesPerVerification, 5},
		{&cfg.TriesPerAccount, 10},
		{&cfg.TriesPerKnownAccount, 20},
		{&cfg.TriesPerSource, 20},
	} {
		if *n.field <= 0 {
			*n.field = n.fallback
		}
	}
	if cfg.Digits < 6 || cfg.Digits > 10 {
		return nil, fmt.Errorf("verification: codes of %d digits; 6 to 10 are possible", cfg.Digits)
	}
	if cfg.Lifetime <= 0 {
		cfg.Lifetime = 10 * time.Minute
	}
	if cfg.Development {
		cfg.TriesPerSource *= ratelimit.DevelopmentSources
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{cfg: cfg, deps: deps}, nil
}

// resendPause is the shortest time between two mails of one verification.
func (s *Service) resendPause() time.Duration {
	if s.cfg.Development {
		return 0
	}
	return sendPause
}

// unavailable wraps an error of the store or of the accounts with the deed. A
// conflict that outlasted every retry is an outage as well: the caller did
// nothing wrong, and waiting helps.
func unavailable(deed string, err error) error {
	if errors.Is(err, storage.ErrConflict) || errors.Is(err, users.ErrConflict) {
		err = fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	return fmt.Errorf("verification: %s: %w", deed, err)
}

package password

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/lettergate/lettergate/provider/internal/ratelimit"
	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
)

var (
	// ErrRule says that a password cannot be chosen. Its text says why, without the
	// password; Service.Rule is what to tell a person.
	ErrRule = errors.New("password: the password breaks the rule")

	// ErrWrong is the one answer to a try that does not succeed: a wrong password,
	// one try too many, nobody of this name.
	ErrWrong = errors.New("password: wrong")

	// ErrNotSet says that the account has no password. It is for people who are
	// signed in; to anybody else it is ErrWrong.
	ErrNotSet = errors.New("password: the account has none")

	// ErrBusy says that too many passwords are being worked on, or that the caller
	// did not want to wait. Nothing was compared.
	ErrBusy = errors.New("password: too many at once")

	// ErrChanged says that the password is not the one that it was.
	ErrChanged = errors.New("password: changed by somebody else")
)

// Config holds the numbers of a Service. The zero value of each field stands for
// its default.
type Config struct {
	MinLength     int  // characters of a new password. Default 8
	MaxLength     int  // the same. Default 32, at most 256
	AnyCharacters bool // do not ask for a letter and a digit

	Memory      uint32 // of argon2id, in KiB. Default 19456, at most 262144
	Iterations  uint32 // the same. Default 2, at most 16
	Parallelism uint8  // the same. Default 1, at most 16

	Concurrent int           // hashes that are computed at once. Default 4
	Wait       time.Duration // how long one waits for its turn. Default 2s

	TriesPerAccount      int // wrong passwords per identity in 24 h. Default 10
	TriesPerKnownAccount int // the same from a device that has signed in before. Default 20
	TriesPerSource       int // tries per network in 10 min. Default 20

	// Development lets one source try 100 times as often.
	Development bool

	Now    func() time.Time // default time.Now
	Logger *slog.Logger     // gets which limits were reached. Default none
}

// Devices tells devices that have signed in before from others. *device.Devices is
// one.
type Devices interface {
	Key(id string) storage.Key
	Known(r storage.Record, identity string) bool
	Remember(ctx context.Context, id, identity string) error
}

// Deps are a Service's collaborators. All are required.
type Deps struct {
	Store   storage.Store
	Secrets *secrets.Ring
	Devices Devices
}

// A Service keeps passwords and compares them. It is safe for concurrent use.
type Service struct {
	cfg   Config
	deps  Deps
	cost  cost          // of new hashes
	turns chan struct{} // holds one for each hash that is being computed
}

// New returns a Service. It starts nothing.
func New(cfg Config, deps Deps) (*Service, error) {
	switch {
	case deps.Store == nil:
		return nil, errors.New("password: no store")
	case deps.Secrets == nil:
		return nil, errors.New("password: no secrets")
	case deps.Devices == nil:
		return nil, errors.New("password: no devices")
	}
	fill(&cfg)
	if cfg.MinLength > cfg.MaxLength || cfg.MaxLength > mostCharacters {
		return nil, fmt.Errorf("password: passwords of %d to %d characters; 1 to %d are possible", cfg.MinLength, cfg.MaxLength, mostCharacters)
	}
	c := cost{cfg.Memory, cfg.Iterations, cfg.Parallelism}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	return &Service{cfg: cfg, deps: deps, cost: c, turns: make(chan struct{}, cfg.Concurrent)}, nil
}

// fill replaces what is zero by its default.
func fill(cfg *Config) {
	positive(&cfg.MinLength, 8)
	positive(&cfg.MaxLength, 32)
	positive(&cfg.Memory, 19456)
	positive(&cfg.Iterations, 2)
	positive(&cfg.Parallelism, 1)
	positive(&cfg.Concurrent, 4)
	positive(&cfg.Wait, 2*time.Second)
	positive(&cfg.TriesPerAccount, 10)
	positive(&cfg.TriesPerKnownAccount, 20)
	positive(&cfg.TriesPerSource, 20)
	if cfg.Development {
		cfg.TriesPerSource *= ratelimit.DevelopmentSources
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
}

func positive[T int | uint8 | uint32 | time.Duration](field *T, fallback T) {
	if *field <= 0 {
		*field = fallback
	}
}

// record is the value of password/<subject>.
type record struct {
	V       int    `json:"v"`
	Hash    string `json:"hash"`    // PHC string
	Changed int64  `json:"changed"` // when it was set; unix ms
	Mark    string `json:"mark"`    // of the Put that set it
}

// A State says which password a subject has. States are compared with ==: each Set
// makes another one, and the zero State is that of nobody's password.
type State struct {
	At   time.Time // when it was set
	mark string
}

// String names the password; it tells nothing of it.
func (s State) String() string { return s.mark }

// IsSet reports whether there is a password.
func (s State) IsSet() bool { return s.mark != "" }

func (v record) state() State { return State{time.UnixMilli(v.Changed), v.Mark} }

const recordVersion = 1

func key(subject string) storage.Key { return storage.Key{Kind: storage.Password, ID: subject} }

// decode returns a record with its hash taken apart.
func decode(r storage.Record) (record, hash, error) {
	var v record
	if err := json.Unmarshal(r.Value, &v); err != nil {
		return record{}, hash{}, fmt.Errorf("password: decode: %w", storage.ErrCorrupt)
	}
	if v.V != recordVersion {
		return record{}, hash{}, fmt.Errorf("password: decode: version %d: %w", v.V, storage.ErrUnfit)
	}
	h, err := parse(v.Hash)
	if err != nil {
		return record{}, hash{}, fmt.Errorf("password: decode: %w: %w", storage.ErrCorrupt, err)
	}
	return v, h, nil
}

// Set makes hash, which Hash has made, the subject's password until it expires; the
// zero time is never. The last one to be set counts.
func (s *Service) Set(ctx context.Context, subject, hash string, expires time.Time) error {
	v := record{Hash: hash, Mark: secrets.NewID()}
	return s.put(ctx, subject, v, expires, func(storage.Record) error { return nil })
}

// Replace is Set for whoever knows which password there was: when it is another one
// by now, Replace returns ErrChanged and leaves it. mark names the new password's
// State, so that a request can find out that it has set it; "" draws one.
func (s *Service) Replace(ctx context.Context, subject, hash string, was State, mark string) error {
	if mark == "" {
		mark = secrets.NewID()
	}
	return s.put(ctx, subject, record{Hash: hash, Mark: mark}, time.Time{}, func(cur storage.Record) error {
		now, err := stateOf(cur)
		if err == nil && now != was {
			err = ErrChanged
		}
		return err
	})
}

func (s *Service) put(ctx context.Context, subject string, v record, expires time.Time, check func(storage.Record) error) error {
	if _, err := parse(v.Hash); err != nil {
		return fmt.Errorf("password: set: %w", err)
	}
	v.V, v.Changed = recordVersion, s.cfg.Now().UnixMilli()
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("password: encode: %w", err)
	}
	_, err = storage.Update(ctx, s.deps.Store, key(subject), func(cur storage.Record) (storage.Record, error) {
		return storage.Record{Value: value, Expires: expires}, check(cur)
	})
	if errors.Is(err, ErrChanged) {
		return ErrChanged
	}
	if err != nil {
		return unavailable("set", err)
	}
	return nil
}

// Remove leaves the subject without a password. To remove none is no error.
func (s *Service) Remove(ctx context.Context, subject string) error {
	if err := s.deps.Store.Delete(ctx, key(subject)); err != nil {
		return unavailable("remove", err)
	}
	return nil
}

// State returns which password the subject has, the zero State for none.
func (s *Service) State(ctx context.Context, subject string) (State, error) {
	recs, err := s.deps.Store.Get(ctx, key(subject))
	if err != nil {
		return State{}, unavailable("read", err)
	}
	return stateOf(recs[0])
}

func stateOf(r storage.Record) (State, error) {
	if r.IsZero() {
		return State{}, nil
	}
	v, _, err := decode(r)
	if err != nil {
		return State{}, err
	}
	return v.state(), nil
}

// Changed returns when the subject's password was set; ok is false when there is
// none.
func (s *Service) Changed(ctx context.Context, subject string) (at time.Time, ok bool, err error) {
	state, err := s.State(ctx, subject)
	return state.At, state.IsSet(), err
}

// unavailable wraps an error of the store with the deed. A conflict that outlasted
// every retry is an outage as well: the caller did nothing wrong, and waiting
// helps.
func unavailable(deed string, err error) error {
	if errors.Is(err, storage.ErrConflict) {
		err = fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	return fmt.Errorf("password: %s: %w", deed, err)
}

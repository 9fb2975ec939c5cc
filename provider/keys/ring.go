package keys

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lettergate/lettergate/provider/internal/secrets"
	"github.com/lettergate/lettergate/provider/storage"
)

// The algorithms of RFC 7518 section 3.1 and RFC 8037 that a Ring knows. RS256
// and PS256 have keys of their own, because a key has one algorithm.
const (
	ES256 = "ES256"
	RS256 = "RS256"
	PS256 = "PS256"
	EdDSA = "EdDSA" // Ed25519
)

var (
	// ErrNotLoaded says that Load has not succeeded yet.
	ErrNotLoaded = errors.New("keys: not loaded")

	// ErrTooSoon says that the next keys were not published for long enough, or
	// that a key to be withdrawn has signed tokens that are still good.
	ErrTooSoon = errors.New("keys: too soon to rotate")

	// ErrInvalid says that a token was not signed by this ring in this form. It
	// tells nothing about who is asking.
	ErrInvalid = errors.New("keys: invalid token")
)

// Config is what New needs.
type Config struct {
	// Store keeps the set: the part of a store that belongs to one issuer
	// (storage.Scope). Required.
	Store storage.Store

	// Secrets seal the set. Required.
	Secrets *secrets.Ring

	// Algorithms are those to sign with: ES256, RS256, PS256, EdDSA. Required. Keys
	// of an algorithm that is no longer listed stay published and verify, but are
	// not rotated.
	Algorithms []string

	// RotateEvery is how long a key signs. It is prolonged to what the package
	// comment asks for. 0 means that only Rotate changes keys.
	RotateEvery time.Duration

	// MaxAge is how long others may cache the key set. Default 5 minutes.
	MaxAge time.Duration

	// Poll is how often Run looks for a set that another replica has changed.
	// Default 30 seconds.
	Poll time.Duration

	// TokenLife is the longest life of a token that is signed here. Default 24 hours.
	TokenLife time.Duration

	// Now is the clock that says when a rotation is due. Default time.Now.
	Now func() time.Time

	// Logger is told of rotations and of polls that failed. Default none.
	Logger *slog.Logger
}

// A Ring signs and verifies with the keys of one issuer. Its methods are safe for
// concurrent use. Printed, it shows no key.
type Ring struct {
	cfg  Config
	held atomic.Pointer[snapshot] // nil before Load

	changing sync.Mutex // one look at the store at a time, so that no older set replaces a newer one
}

// New returns a ring without keys; Load gets them. New starts nothing and reads
// nothing. It returns an error when something required is missing or an algorithm
// is unknown or listed twice.
func New(cfg Config) (*Ring, error) {
	switch {
	case cfg.Store == nil:
		return nil, errors.New("keys: Config.Store is required")
	case cfg.Secrets == nil:
		return nil, errors.New("keys: Config.Secrets is required")
	case len(cfg.Algorithms) == 0:
		return nil, errors.New("keys: Config.Algorithms is required")
	case cfg.RotateEvery < 0 || cfg.MaxAge < 0 || cfg.Poll < 0 || cfg.TokenLife < 0:
		return nil, errors.New("keys: a duration of Config is negative")
	}
	cfg.Algorithms = slices.Clone(cfg.Algorithms)
	for i, alg := range cfg.Algorithms {
		if !known(alg) {
			return nil, fmt.Errorf("keys: unknown algorithm %q", alg)
		}
		if slices.Contains(cfg.Algorithms[:i], alg) {
			return nil, fmt.Errorf("keys: algorithm %s is listed twice", alg)
		}
	}
	cfg.MaxAge = cmp.Or(cfg.MaxAge, 5*time.Minute)
	cfg.Poll = cmp.Or(cfg.Poll, 30*time.Second)
	cfg.TokenLife = cmp.Or(cfg.TokenLife, 24*time.Hour)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Ring{cfg: cfg}, nil
}

// Format writes the ids of the keys, whatever the verb.
func (r *Ring) Format(w fmt.State, _ rune) {
	fmt.Fprint(w, "keys")
	if s := r.held.Load(); s != nil {
		for _, k := range s.keys {
			fmt.Fprint(w, " ", k.alg, ":", k.kid)
		}
	}
}

// LogValue returns what Format writes.
func (r *Ring) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

// Load reads the set, making it or adding the keys of further algorithms where
// they are missing, and sealing it anew when it is sealed with an older secret.
// However many replicas start at once, they end with the same set.
//
// When a stored set cannot be used, the error wraps storage.ErrUnfit or
// storage.ErrCorrupt, says why, and the set is left as it is; with another error
// another try may succeed.
func (r *Ring) Load(ctx context.Context) error {
	r.changing.Lock()
	defer r.changing.Unlock()
	fresh := maker{}
	err := r.update(ctx, func(s *set, sealedWith string) error {
		missing := false
		for _, alg := range r.cfg.Algorithms {
			if _, has := s.slots[alg]; has {
				continue
			}
			missing = true
			if err := s.begin(alg, fresh, r.cfg.Now()); err != nil {
				return err
			}
		}
		if !missing && sealedWith == r.cfg.Secrets.Current() {
			return storage.ErrKeep
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("load signing keys: %w", err)
	}
	return nil
}

// Run looks every Config.Poll for a set that was changed elsewhere, and rotates
// the keys that are due, until ctx is done; then it returns nil. When the store
// fails it goes on with the keys it has. It returns ErrNotLoaded at once when
// Load has not succeeded.
func (r *Ring) Run(ctx context.Context) error {
	if r.held.Load() == nil {
		return ErrNotLoaded
	}
	tick := time.NewTicker(r.cfg.Poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := r.poll(ctx); err != nil && ctx.Err() == nil {
				r.cfg.Logger.ErrorContext(ctx, "signing keys were not refreshed; the ones in memory stay in use", "err", err)
			}
		}
	}
}

// poll adopts what is stored, and rotates what is due.
func (r *Ring) poll(ctx context.Context) error {
	r.changing.Lock()
	defer r.changing.Unlock()
	got, err := r.cfg.Store.Get(ctx, setKey())
	if err != nil {
		return fmt.Errorf("poll signing keys: %w", err)
	}
	if got[0].IsZero() {
		// Not made anew here: an emptied store is the operator's to judge, and a
		// restart makes a set.
		return fmt.Errorf("poll signing keys: %w: the set is gone from the store", storage.ErrUnfit)
	}
	if err := r.adopt(ctx, got[0]); err != nil {
		return fmt.Errorf("poll signing keys: %w", err)
	}
	if len(r.due(r.held.Load().set)) == 0 {
		return nil
	}
	fresh := maker{}
	err = r.update(ctx, func(s *set, _ string) error {
		due := r.due(s)
		if len(due) == 0 { // another replica was faster
			return storage.ErrKeep
		}
		return s.rotate(due, fresh, r.cfg.Now())
	})
	if err != nil {
		return fmt.Errorf("rotate signing keys: %w", err)
	}
	return nil
}

// due lists the algorithms whose keys have signed for long enough and may be
// rotated.
func (r *Ring) due(s *set) []string {
	var due []string
	for _, alg := range r.cfg.Algorithms {
		slot, has := s.slots[alg]
		if !has || r.cfg.RotateEvery == 0 {
			continue
		}
		now := r.cfg.Now()
		if !now.Before(slot.since.Add(r.cfg.RotateEvery)) && !now.Before(r.ready(slot)) {
			due = append(due, alg)
		}
	}
	return due
}

// ready is when the keys of a slot may be rotated without a token failing.
func (r *Ring) ready(s slot) time.Time {
	ready := s.next.published.Add(r.cfg.MaxAge + 2*r.cfg.Poll)
	if s.previous != nil {
		if over := s.since.Add(r.cfg.TokenLife + 2*r.cfg.Poll); over.After(ready) {
			ready = over
		}
	}
	return ready
}

// Rotate makes the next key of each algorithm the current one now, for all
// replicas within Config.Poll. Unless force is set it returns ErrTooSoon, naming
// the time from which it can be done, when tokens could fail by it.
//
// force is for a leaked key, and takes two calls: the first puts the leaked key
// out of use, the second withdraws it, so that its tokens are refused. Others may
// refuse good tokens until their copy of the key set is Config.MaxAge old.
func (r *Ring) Rotate(ctx context.Context, force bool) error {
	r.changing.Lock()
	defer r.changing.Unlock()
	if r.held.Load() == nil {
		return ErrNotLoaded
	}
	fresh := maker{}
	err := r.update(ctx, func(s *set, _ string) error {
		now := r.cfg.Now()
		for _, alg := range r.cfg.Algorithms {
			slot, has := s.slots[alg]
			if !has {
				return fmt.Errorf("%w: no keys of %s", ErrNotLoaded, alg)
			}
			if ready := r.ready(slot); !force && now.Before(ready) {
				return fmt.Errorf("%w: %s can be rotated from %s", ErrTooSoon, alg, ready.UTC().Format(time.RFC3339))
			}
		}
		return s.rotate(r.cfg.Algorithms, fresh, now)
	})
	if err != nil {
		return fmt.Errorf("rotate signing keys: %w", err)
	}
	return nil
}

// update changes the stored set and adopts the outcome. change is given the set
// as it is, empty when there is none, and the id of the secret it is sealed with.
func (r *Ring) update(ctx context.Context, change func(s *set, sealedWith string) error) error {
	stored, err := storage.Update(ctx, r.cfg.Store, setKey(), func(cur storage.Record) (storage.Record, error) {
		s, sealedWith, err := openSet(r.cfg.Secrets, cur)
		if err != nil {
			return storage.Record{}, err
		}
		if err := change(s, sealedWith); err != nil {
			return storage.Record{}, err
		}
		value, err := s.seal(r.cfg.Secrets)
		return storage.Record{Value: value}, err
	})
	if err != nil {
		return err
	}
	return r.adopt(ctx, stored)
}

// adopt makes a stored set the one in use.
func (r *Ring) adopt(ctx context.Context, stored storage.Record) error {
	old := r.held.Load()
	if old != nil && old.version == stored.Version {
		return nil
	}
	s, _, err := openSet(r.cfg.Secrets, stored)
	if err != nil {
		return err
	}
	next, err := newSnapshot(s, stored.Version)
	if err != nil {
		return err
	}
	r.held.Store(next)
	r.cfg.Logger.InfoContext(ctx, "signing keys in use", "ring", r)
	return nil
}

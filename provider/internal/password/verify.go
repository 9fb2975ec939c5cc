package password

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"

	"github.com/lettergate/lettergate/provider/storage"
)

// A Try is one attempt to prove to be somebody.
type Try struct {
	// Subject is whose password it should be, "" when nobody has the name that was
	// typed.
	Subject string

	// Identity is what is counted: the account's EmailKey, or, when nobody has it,
	// the name that was typed, folded as names are.
	Identity string

	Password string // as typed

	// DeviceID is what the device calls itself, "" when it does not.
	DeviceID string

	// Source is where the try comes from, behind all trusted proxies.
	Source netip.Addr
}

// Verify returns the state of the password that was right. Else it returns ErrWrong,
// ErrNotSet when the account exists and has no password, ErrBusy, or an error of the
// store, which says nothing about the password.
//
// Within the limits every try costs the same: one Get, two counters, and one hash.
// Nothing is compared that was not counted, so that any number of parallel tries has
// as many comparisons as the limits allow. Over a limit nothing is computed: names
// that nobody has are over theirs as soon, and whoever is over it must not keep
// others from their turn.
//
// The password may have been changed since it was compared. Whoever lets somebody in
// by it asks for the State again once that is stored.
func (s *Service) Verify(ctx context.Context, t Try) (State, error) {
	kept, err := s.read(ctx, t)
	if err != nil {
		return State{}, err
	}
	tries := s.tries(t, kept.device)
	over, err := tries.count(ctx)
	if err != nil {
		return State{}, err
	}
	if over != "" {
		s.cfg.Logger.InfoContext(ctx, "password: a try over a limit was refused", "limit", over)
		return State{}, ErrWrong
	}
	if err := s.turn(ctx); err != nil {
		tries.refund(ctx)
		return State{}, err
	}
	right := s.compare(kept.hash, t.Password)
	switch {
	case !kept.found && t.Subject != "":
		return State{}, ErrNotSet
	case !kept.found || !right:
		return State{}, ErrWrong
	}
	s.succeeded(ctx, t, kept, tries)
	return kept.v.state(), nil
}

// kept is what is stored about the one who tries.
type kept struct {
	found  bool
	rec    storage.Record // these two are zero when nothing was found
	v      record
	hash   hash // then one that no password has
	device storage.Record
}

// read reads the password and the device at once. For nobody it asks for a record
// as well, so that the store is asked the same.
func (s *Service) read(ctx context.Context, t Try) (kept, error) {
	subject := t.Subject
	if subject == "" {
		subject = "nobody"
	}
	recs, err := s.deps.Store.Get(ctx, key(subject), s.deps.Devices.Key(t.DeviceID))
	if err != nil {
		return kept{}, unavailable("read", err)
	}
	if t.Subject == "" || recs[0].IsZero() {
		return kept{hash: hash{cost: s.cost}, device: recs[1]}, nil
	}
	v, h, err := decode(recs[0])
	if err != nil {
		return kept{}, err
	}
	return kept{found: true, rec: recs[0], v: v, hash: h, device: recs[1]}, nil
}

// compare computes one hash in the caller's turn and ends the turn.
func (s *Service) compare(h hash, password string) bool {
	defer s.done()
	return h.is(password)
}

// succeeded is what follows from the right password. Losing it loses nothing but
// comfort.
func (s *Service) succeeded(ctx context.Context, t Try, k kept, tries tries) {
	tries.forgive(ctx)
	if err := s.deps.Devices.Remember(ctx, t.DeviceID, t.Identity); err != nil {
		s.cfg.Logger.WarnContext(ctx, "password: a device was not remembered", "err", err)
	}
	if k.hash.cost == s.cost || !s.turnNow() {
		return
	}
	defer s.done()
	if err := s.renew(ctx, t.Password, k); err != nil {
		s.cfg.Logger.WarnContext(ctx, "password: an old hash was not made again", "err", err)
	}
}

// renew stores a new hash of the same password. It replaces only what was read: a
// password that was set or removed meanwhile stays as it is.
func (s *Service) renew(ctx context.Context, password string, k kept) error {
	k.v.Hash = s.fresh(password).String()
	value, err := json.Marshal(k.v)
	if err != nil {
		return fmt.Errorf("password: encode: %w", err)
	}
	next := k.rec
	next.Value, next.Version, next.Prev = value, storage.NewVersion(), k.rec.Version
	if err := s.deps.Store.Put(ctx, next); err != nil && !errors.Is(err, storage.ErrConflict) {
		return err
	}
	return nil
}

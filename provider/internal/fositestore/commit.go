package fositestore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/lettergate/lettergate/provider/storage"
)

// Commit stores what the unit decided. It does nothing when nothing was decided,
// returns ErrLost (or ErrExists for a new grant) when another request was first,
// and any other error when the outcome is not known to be stored.
func (u *Unit) Commit(ctx context.Context) error {
	if u.err != nil {
		return u.err
	}
	if !u.dirty {
		return nil
	}
	version := storage.NewVersion()
	u.mark(base64.RawURLEncoding.EncodeToString(version[:]))
	r, err := u.grant.record(u.prev, version)
	if err != nil {
		return err
	}
	// The code is spent here; the refresh token is rotated here; the family is
	// revoked here.
	err = storage.Settle(ctx, u.store.records, r)
	switch {
	case err == nil:
		u.prev, u.dirty, u.ended = r, false, u.ends
		return nil
	case errors.Is(err, storage.ErrConflict):
		return u.lost()
	}
	return u.inquire(ctx, version, fmt.Errorf("store grant: %w", err))
}

// mark notes in the grant what this unit's Put decides.
func (u *Unit) mark(by string) {
	if u.prev.IsZero() {
		u.grant.MadeBy = by
	}
	if u.spends {
		u.grant.SpentBy = by
	}
	if u.ends {
		u.grant.EndedBy = by
	}
	if u.rotates {
		u.grant.Rotations[len(u.grant.Rotations)-1].By = by
	}
}

func (u *Unit) lost() error {
	if u.prev.IsZero() {
		return ErrExists
	}
	return ErrLost
}

// inquire finds out what became of a Put whose reply was lost, after somebody else
// may have changed the grant again.
func (u *Unit) inquire(ctx context.Context, version storage.Version, cause error) error {
	records, err := u.store.records.Get(ctx, u.key())
	if err != nil || (records[0].Version == u.prev.Version) {
		u.err = cause // not known, or not stored (yet)
		return u.err
	}
	if records[0].IsZero() {
		return u.lost()
	}
	now, err := decodeGrant(records[0])
	if err != nil {
		u.err = err
		return err
	}
	put := base64.RawURLEncoding.EncodeToString(version[:])
	if u.decided(now, put) {
		u.prev, u.dirty, u.ended = records[0], false, now.EndedBy == put
		return nil
	}
	return u.lost()
}

func (u *Unit) key() storage.Key { return storage.Key{Kind: storage.Grant, ID: u.grant.ID} }

// decided reports whether the grant, as it is now, shows that the Put decided what
// the unit was to decide.
func (u *Unit) decided(now *Grant, put string) bool {
	rotation, _ := now.rotation(u.presented)
	switch {
	case u.prev.IsZero():
		return now.MadeBy == put
	case u.spends:
		return now.SpentBy == put
	case u.rotates:
		return rotation.By == put
	}
	return now.State == stateRevoked // all that is left to decide
}

// Rejoin is for a refresh that lost the race: it reads the grant again and, if
// the presented token is now within its grace, returns the successor that the
// winner was given. Otherwise it returns ErrLost.
func (u *Unit) Rejoin(ctx context.Context) (string, error) {
	id := u.grant.ID
	u.grant, u.dirty = nil, false
	if err := u.load(ctx, id); errors.Is(err, errNoGrant) {
		return "", ErrLost
	} else if err != nil {
		return "", err
	}
	if !u.grant.Active() || !u.inGrace() {
		return "", ErrLost
	}
	return u.currentRefresh()
}

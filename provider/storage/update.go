package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// ErrKeep is returned by the change given to [Update] to leave the record as it is.
var ErrKeep = errors.New("storage: keep the record")

// Update gives up after so many conflicts; the pause before try n is random,
// below backoffFirst * 2^(n-1) and never above backoffMost.
const (
	updateTries  = 10
	backoffFirst = 2 * time.Millisecond
	backoffMost  = 100 * time.Millisecond
)

// Settle is [Store.Put] for a caller who must know the outcome. When Put cannot
// tell, Settle reads the record: if r.Version is stored, the Put took effect and
// Settle returns nil. With ErrNotDurable it does not read.
//
// Otherwise it returns the error of Put. Unless that is ErrConflict or
// ErrInvalid, the outcome is still unknown: r may have been stored and replaced
// since, or be stored a moment later. The caller then answers that it does not
// know, and never does the deed again under a new version.
func Settle(ctx context.Context, s Store, r Record) error {
	err := s.Put(ctx, r)
	if err == nil || errors.Is(err, ErrConflict) || errors.Is(err, ErrInvalid) {
		return err
	}
	if errors.Is(err, ErrNotDurable) {
		return err
	}
	if got, readErr := s.Get(ctx, r.Key); readErr == nil && len(got) == 1 && got[0].Version == r.Version {
		return nil
	}
	return err
}

// Update replaces the record under key by what change makes of it, and returns
// what is stored then.
//
// change is given the record as it is now, the zero Record when there is none,
// and returns the whole next one: Value, Sort, Expires and, for a new record,
// Groups. Update fills in Key, Version and Prev, and keeps the Groups of a record
// that exists. When somebody else was faster, Update reads again and calls change
// again, so change has no side effects. After ten conflicts, with growing random
// pauses that end with ctx, Update returns ErrConflict.
//
// When change returns ErrKeep, nothing is written and Update returns the record
// as it was read. Any other error of change is returned as it is. An error of the
// store leaves the outcome as [Settle] says.
func Update(ctx context.Context, s Store, key Key, change func(cur Record) (Record, error)) (Record, error) {
	for try := range updateTries {
		if err := pause(ctx, try); err != nil {
			return Record{}, fmt.Errorf("update %s: %w", key.Kind, err)
		}
		got, err := s.Get(ctx, key)
		if err != nil {
			return Record{}, fmt.Errorf("update %s: read: %w", key.Kind, err)
		}
		cur := got[0]
		// change may do with cur as it likes, but not to what Update needs of it.
		exists, prev, groups := !cur.IsZero(), cur.Version, cur.Groups
		next, err := change(cur)
		if errors.Is(err, ErrKeep) {
			return cur, nil
		}
		if err != nil {
			return Record{}, err
		}
		next.Key, next.Prev, next.Version = key, prev, NewVersion()
		if exists {
			next.Groups = groups
		}
		switch err := Settle(ctx, s, next); {
		case err == nil:
			next.Prev = Version{}
			return next, nil
		case !errors.Is(err, ErrConflict):
			return Record{}, fmt.Errorf("update %s: write: %w", key.Kind, err)
		}
	}
	return Record{}, fmt.Errorf("update %s: %d tries: %w", key.Kind, updateTries, ErrConflict)
}

// pause waits before the given try, counted from 0, so that callers who met once
// do not meet again.
func pause(ctx context.Context, try int) error {
	if try == 0 {
		return nil
	}
	t := time.NewTimer(rand.N(min(backoffFirst<<(try-1), backoffMost)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, context.Cause(ctx))
	}
}

package storage

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// probeLife is how long a probe's records live if it cannot remove them.
const probeLife = time.Minute

// Probe tries every operation of the contract on s, with records and a counter of
// its own that it removes again, and returns an error that names the first which
// does not work. It finds a database user that may connect but not write, or not run
// scripts, before a person does. now is the clock that s was opened with.
//
// Both an account and another record are tried, so Probe sees both sides of a [Split].
func Probe(ctx context.Context, s Store, now time.Time) error {
	for _, kind := range []Kind{Consent, Lease} {
		if err := probeRecord(ctx, s, kind, now.Add(probeLife)); err != nil {
			return fmt.Errorf("probe, kind %s: %w", kind, err)
		}
	}
	if err := probeCounter(ctx, s); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	return named("probe: ping", s.Ping(ctx))
}

var errProbe = fmt.Errorf("%w: it did not answer with what was stored", ErrUnfit)

func probeRecord(ctx context.Context, s Store, kind Kind, expires time.Time) error {
	id := "probe/" + rand.Text()
	first := Record{
		Key: Key{kind, id}, Groups: []string{id}, Sort: 1, Expires: expires,
		Value: []byte("a probe"), Version: NewVersion(),
	}
	second := first
	second.Sort, second.Prev, second.Version = 2, first.Version, NewVersion()
	late := first
	late.Version = NewVersion()

	if err := s.Put(ctx, first); err != nil {
		return fmt.Errorf("make a record: %w", err)
	}
	if err := s.Put(ctx, second); err != nil {
		return fmt.Errorf("replace a record: %w", err)
	}
	if err := s.Put(ctx, late); !errors.Is(err, ErrConflict) {
		return fmt.Errorf("refuse to make a record twice: %w", errors.Join(err, errProbe))
	}
	got, err := s.Get(ctx, first.Key)
	if err != nil {
		return fmt.Errorf("read a record: %w", err)
	}
	if len(got) != 1 || got[0].Version != second.Version || !bytes.Equal(got[0].Value, first.Value) {
		return fmt.Errorf("read a record: %w", errProbe)
	}
	if err := probeList(ctx, s, id, second.Version); err != nil {
		return fmt.Errorf("list a group: %w", err)
	}
	return named("remove a record", s.Delete(ctx, first.Key))
}

// probeList walks a group that holds the one version. A page may be empty though
// more follow, so a few are asked for.
func probeList(ctx context.Context, s Store, group string, version Version) error {
	page := Page{}
	for range 10 {
		listed, next, err := s.List(ctx, group, page)
		switch {
		case err != nil:
			return err
		case len(listed) == 1 && listed[0].Version == version:
			return nil
		case len(listed) > 0 || next == "":
			return errProbe
		}
		page.After = next
	}
	return errProbe
}

func probeCounter(ctx context.Context, s Store) error {
	key := Key{Counter, "probe/" + rand.Text()}
	for _, step := range []struct{ delta, want int64 }{{2, 2}, {-1, 1}} {
		n, err := s.Add(ctx, key, step.delta, probeLife)
		if err != nil {
			return fmt.Errorf("count: %w", err)
		}
		if n != step.want {
			return fmt.Errorf("count: %w", errProbe)
		}
	}
	return named("remove a counter", s.Delete(ctx, key))
}

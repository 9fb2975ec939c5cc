package storage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Split returns one Store made of two: records of the kinds that are accounts
// ([Kind.Account]) are kept in accounts, everything else in rest. Typically
// accounts is a database that is backed up, and rest one that is fast.
//
// Each record is in one of them, so Split keeps the contract if they do. A Get of
// both sorts asks both at the same time; so does List, because a group may hold
// both sorts, and merges what they answer. An outage of either fails the calls
// that need it. Closing it closes both.
func Split(accounts, rest Store) Store { return &split{accounts, rest} }

type split struct{ accounts, rest Store }

// side returns the store that keeps records of kind k.
func (s *split) side(k Kind) Store {
	if k.Account() {
		return s.accounts
	}
	return s.rest
}

// both calls a and b at the same time and returns their errors, a's first.
func both(a, b func() error) error {
	var wg sync.WaitGroup
	var second error
	wg.Go(func() { second = b() })
	first := a()
	wg.Wait()
	return errors.Join(first, second)
}

func (s *split) Get(ctx context.Context, keys ...Key) ([]Record, error) {
	if len(keys) > MaxKeys {
		return nil, fmt.Errorf("%w: get of %d keys", ErrInvalid, len(keys))
	}
	var accounts, rest []Key
	for _, k := range keys {
		if k.Kind.Account() {
			accounts = append(accounts, k)
		} else {
			rest = append(rest, k)
		}
	}
	switch {
	case len(accounts) == 0:
		return s.rest.Get(ctx, keys...)
	case len(rest) == 0:
		return s.accounts.Get(ctx, keys...)
	}
	var ofAccounts, ofRest []Record
	err := both(
		func() (err error) { ofAccounts, err = getAll(ctx, s.accounts, accounts); return err },
		func() (err error) { ofRest, err = getAll(ctx, s.rest, rest); return err },
	)
	if err != nil {
		return nil, err
	}
	records := make([]Record, 0, len(keys))
	for _, k := range keys {
		from := &ofRest
		if k.Kind.Account() {
			from = &ofAccounts
		}
		records, *from = append(records, (*from)[0]), (*from)[1:]
	}
	return records, nil
}

// getAll is Get of a store whose answer has to have a record for every key.
func getAll(ctx context.Context, s Store, keys []Key) ([]Record, error) {
	records, err := s.Get(ctx, keys...)
	if err == nil && len(records) != len(keys) {
		err = fmt.Errorf("%w: %d records for %d keys", ErrCorrupt, len(records), len(keys))
	}
	return records, err
}

func (s *split) Put(ctx context.Context, r Record) error { return s.side(r.Key.Kind).Put(ctx, r) }

func (s *split) Delete(ctx context.Context, key Key) error {
	return s.side(key.Kind).Delete(ctx, key)
}

func (s *split) Add(ctx context.Context, key Key, delta int64, life time.Duration) (int64, error) {
	return s.side(key.Kind).Add(ctx, key, delta, life)
}

func (s *split) List(ctx context.Context, group string, page Page) ([]Record, string, error) {
	_, _, limit, err := page.Check()
	if err != nil {
		return nil, "", err
	}
	var accounts, rest part
	err = both(
		func() error { return accounts.list(ctx, s.accounts, group, page) },
		func() error { return rest.list(ctx, s.rest, group, page) },
	)
	if err != nil {
		return nil, "", err
	}
	return merge(accounts, rest, limit)
}

// A part is one store's page of a group.
type part struct {
	records []Record
	next    string
}

func (p *part) list(ctx context.Context, s Store, group string, page Page) (err error) {
	p.records, p.next, err = s.List(ctx, group, page)
	return err
}

// merge makes one page of two that begin at the same place. It ends where either
// of them does: behind that, a record of the other store could be missing.
func merge(a, b part, limit int) ([]Record, string, error) {
	records := slices.Concat(a.records, b.records)
	slices.SortFunc(records, func(x, y Record) int { return CursorOf(x).Compare(CursorOf(y)) })
	end, more := Cursor{}, false
	for _, p := range []part{a, b} {
		if p.next == "" {
			continue
		}
		at, err := ParseCursor(p.next)
		if err != nil {
			return nil, "", err
		}
		if !more || at.Compare(end) < 0 {
			end, more = at, true
		}
	}
	if more {
		behind := slices.IndexFunc(records, func(r Record) bool { return CursorOf(r).Compare(end) > 0 })
		if behind >= 0 {
			records = records[:behind]
		}
	}
	if len(records) > limit {
		records = records[:limit]
		end, more = CursorOf(records[limit-1]), true
	}
	if !more {
		return records, "", nil
	}
	return records, end.String(), nil
}

// Ping reports the first of the two that cannot be used.
func (s *split) Ping(ctx context.Context) error {
	return both(
		func() error { return named("the store of accounts", s.accounts.Ping(ctx)) },
		func() error { return named("the store of everything else", s.rest.Ping(ctx)) },
	)
}

func (s *split) Close() error {
	return errors.Join(named("the store of accounts", s.accounts.Close()), named("the store of everything else", s.rest.Close()))
}

func named(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

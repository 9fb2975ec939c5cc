package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/lettergate/lettergate/provider/storage"
)

// A page is read in pieces, and ends early when it becomes big.
const (
	pieceRecords = 100
	pageBytes    = 4 << 20
)

// Get implements [storage.Store].
func (s *Store) Get(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
	if len(keys) > storage.MaxKeys {
		return nil, fmt.Errorf("%w: get of %d keys", storage.ErrInvalid, len(keys))
	}
	for _, k := range keys {
		if err := k.Check(); err != nil {
			return nil, err
		}
		if k.Kind == storage.Counter {
			return nil, fmt.Errorf("%w: a counter is not a record", storage.ErrInvalid)
		}
	}
	keys = slices.Clone(keys)
	return call(ctx, s, func(ctx context.Context) ([]storage.Record, error) {
		found, err := s.fetch(ctx, keys)
		if err != nil {
			return nil, err
		}
		now := s.unixMilli()
		records := make([]storage.Record, len(keys))
		for i, f := range found {
			if f.live(now) {
				records[i] = f.record
			}
		}
		return records, nil
	})
}

// A found is what is stored under one key, expired or not.
type found struct {
	exists bool
	head   head
	record storage.Record
	bytes  int
}

func (f found) live(now int64) bool { return f.exists && f.head.expires > now }

// fetch reads the records under keys, in one round trip to each server.
func (s *Store) fetch(ctx context.Context, keys []storage.Key) ([]found, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	cmds := make([]*redis.StringCmd, len(keys))
	err := s.servers.read(ctx, func(pipe redis.Pipeliner) {
		for i, k := range keys {
			cmds[i] = pipe.Get(ctx, s.recordKey(k))
		}
	})
	if err != nil {
		return nil, err
	}
	all := make([]found, len(keys))
	for i, cmd := range cmds {
		text, err := cmd.Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if text == "" { // see delete.lua
			continue
		}
		f := &all[i]
		if f.record, f.head, f.exists = parseRecord(keys[i], []byte(text)); !f.exists {
			return nil, errForeign
		}
		f.bytes = len(text)
	}
	return all, nil
}

// A listing is what List returns.
type listing struct {
	records []storage.Record
	next    string
}

// List implements [storage.Store].
func (s *Store) List(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
	if err := storage.CheckGroup(group); err != nil {
		return nil, "", err
	}
	after, until, limit, err := page.Check()
	if err != nil {
		return nil, "", err
	}
	l, err := call(ctx, s, func(ctx context.Context) (listing, error) {
		entries, err := s.entries(ctx, group, after, until, limit)
		if err != nil {
			return listing{}, err
		}
		return s.list(ctx, group, entries, limit)
	})
	return l.records, l.next, err
}

// An entry is a place in a group that a record had or has.
type entry struct {
	member string
	place  storage.Cursor
	mark   mark
}

func (e entry) key() storage.Key { return storage.Key{Kind: e.place.Kind, ID: e.place.ID} }

// entries reads what a group has behind a place.
func (s *Store) entries(ctx context.Context, group string, after storage.Cursor, until int64, limit int) ([]entry, error) {
	score, base, most := "-inf", "", "+inf"
	if after.ID != "" {
		score, base = strconv.FormatInt(after.Sort, 10), memberBase(storage.Key{Kind: after.Kind, ID: after.ID})
	}
	if until < math.MaxInt64 {
		most = strconv.FormatInt(until, 10)
	}
	var answer []string
	err := again(ctx, func() (err error) {
		answer, err = s.servers.eval(ctx, pageScript, []string{s.groupKey(group)}, score, base, most, limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	entries := make([]entry, 0, len(answer)/2)
	for pair := range slices.Chunk(answer, 2) {
		e := entry{member: pair[0]}
		key, m, ok := parseMember(pair[0])
		if !ok || len(pair) < 2 {
			return nil, errForeign
		}
		sort, err := strconv.ParseFloat(pair[1], 64)
		if err != nil {
			return nil, errForeign
		}
		e.mark, e.place = m, storage.Cursor{Sort: int64(sort), Kind: key.Kind, ID: key.ID}
		entries = append(entries, e)
	}
	return entries, nil
}

// list reads the records that entries name. An entry counts if its record is in the
// group at that place now, by whichever entry; that a record has two there, for a
// moment or because a Put did not come, shows it once all the same.
func (s *Store) list(ctx context.Context, group string, entries []entry, limit int) (l listing, err error) {
	l.records = make([]storage.Record, 0, min(len(entries), storage.DefaultPage))
	var last storage.Cursor // of an entry that has been looked at
	size := 0
	for piece := range slices.Chunk(entries, pieceRecords) {
		if size >= pageBytes {
			break
		}
		keys := make([]storage.Key, len(piece))
		for i, e := range piece {
			keys[i] = e.key()
		}
		all, err := s.fetch(ctx, keys)
		if err != nil {
			return listing{}, err
		}
		now := s.unixMilli()
		var dead []string
		for i, f := range all {
			e := piece[i]
			if f.dangling(e.mark, now) {
				dead = append(dead, e.member)
			}
			if f.live(now) && f.record.Sort == e.place.Sort && slices.Contains(f.record.Groups, group) && e.place != last {
				l.records = append(l.records, f.record)
				size += f.bytes
			}
			last = e.place
		}
		if len(dead) > 0 {
			s.discard(garbage{group: group, members: dead})
		}
	}
	if len(entries) == limit || len(entries) > 0 && last != entries[len(entries)-1].place {
		l.next = last.String()
	}
	return l, nil
}

package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// Where the entries of a record in its groups come from, when it needs new ones.
const (
	joinHere  = "here"  // the script makes them: it is given the groups
	joinAsk   = "ask"   // nobody has made them: the script says so and writes nothing
	joinMoved = "moved" // they have been made
)

// lateAfter is how long after it was announced a record may be stored. Later, another
// program could take its entries for garbage. A call that long can only be one of a
// program, or a whole machine, that was stopped meanwhile.
const lateAfter = time.Minute

var errLate = fmt.Errorf("%w: the program was stopped in the midst of a call", storage.ErrUnavailable)

// A put is one Put on its way. Nothing in it belongs to the caller.
type put struct {
	key                  storage.Key
	version, prev, value []byte
	groups               []string
	sort, expires        int64
	now, bound           int64
	mark                 mark
}

// Put implements [storage.Store].
func (s *Store) Put(ctx context.Context, r storage.Record) error {
	if err := r.Check(); err != nil {
		return err
	}
	p := &put{
		key: r.Key, version: r.Version[:], value: append([]byte{}, r.Value...),
		groups: append([]string{}, r.Groups...), sort: r.Sort, expires: millis(r.Expires),
	}
	if !r.Prev.IsZero() {
		p.prev = r.Prev[:]
	}
	_, err := call(ctx, s, func(ctx context.Context) (struct{}, error) { return struct{}{}, s.put(ctx, p) })
	return s.promised(err)
}

// put stores p. On one server that is one step. In a cluster the groups are elsewhere,
// and told first: an entry without a record does no harm, a record without its entries
// would. So a new record is announced to its groups and then stored; one that replaces
// another is tried without that, because its entries seldom change.
func (s *Store) put(ctx context.Context, p *put) error {
	p.now = s.unixMilli()
	p.bound, p.mark = bound(p.now, p.expires), newMark(p.now)
	if s.servers.many == nil {
		_, err := s.store(ctx, p, joinHere)
		return err
	}
	if p.prev != nil || len(p.groups) == 0 {
		if move, err := s.store(ctx, p, joinAsk); !move {
			return err
		}
	}
	if err := s.join(ctx, p); err != nil {
		return err
	}
	if s.unixMilli()-p.now > lateAfter.Milliseconds() {
		return errLate
	}
	_, err := s.store(ctx, p, joinMoved)
	if errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrInvalid) {
		s.leaveAs(p.key, p.groups, p.mark) // what was announced did not come
	}
	return err
}

// store runs the script that stores p. The record is replaced here. move reports that
// nothing was written because the record needs other entries in its groups.
func (s *Store) store(ctx context.Context, p *put, mode string) (move bool, err error) {
	keys := []string{s.recordKey(p.key)}
	if mode == joinHere {
		for _, g := range p.groups {
			keys = append(keys, s.groupKey(g))
		}
	}
	answer, err := s.servers.eval(ctx, putScript, keys,
		p.now, p.version, p.prev, bytes8(p.sort), p.sort,
		bytes8(p.expires), life(p.now, p.expires), appendGroups(nil, p.groups), p.value,
		p.mark[:], bytes8(p.bound), life(p.now, p.bound), memberBase(p.key),
		mode, s.touch())
	if len(answer) == 0 {
		return false, err
	}
	switch answer[0] {
	case "conflict": // and whether replicas know does not matter: nothing was written
		return false, storage.ErrConflict
	case "groups":
		return false, errGroups
	case "move":
		return true, nil
	case "stored":
		if mode == joinHere {
			// In a cluster the entries of before stay until nothing can bring back the
			// record that they belong to: they are elsewhere, and would not come back.
			s.leave(p.key, answer[1], answer[2])
		}
		for _, place := range answer[3:] {
			if i, err := strconv.Atoi(place); err == nil && i >= 1 && i <= len(p.groups) {
				s.discard(garbage{group: p.groups[i-1]})
			}
		}
	case "same":
		if mode == joinMoved {
			s.leaveAs(p.key, p.groups, p.mark) // it had been announced already
		}
	}
	return false, err
}

// join announces p to its groups, to all of them at the same time.
func (s *Store) join(ctx context.Context, p *put) error {
	member := memberBase(p.key) + string(p.mark[:])
	errs := make([]error, len(p.groups))
	var wg sync.WaitGroup
	for i, name := range p.groups {
		wg.Go(func() {
			answer, err := s.servers.eval(ctx, joinScript, []string{s.groupKey(name)}, p.sort, member, life(p.now, p.bound))
			if err == nil && answer[0] == "full" {
				s.discard(garbage{group: name})
			}
			errs[i] = fault(err)
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

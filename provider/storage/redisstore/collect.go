package redisstore

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lettergate/lettergate/provider/storage"
)

// An entry of a group is garbage when its record is not there, or has another mark:
// what made the entry did not come about, or is over. It is collected only when it is
// garbageAge old, by its mark. No Put takes so long between announcing a record and
// storing it, whatever the clocks of several machines say.
const (
	garbageAge   = 10 * time.Minute
	garbageQueue = 256 // what waits for the collector; more is dropped, and found again later

	sampleSize   = 64
	sampleRounds = 256 // at most, of one group in one go
)

// garbage is what the collector is to look at: entries that are known to be garbage,
// or, when there are none, a whole group.
type garbage struct {
	group   string
	members []string
}

// dangling reports whether an entry with mark m is garbage, given what is stored under
// its record's key. That this has expired is no reason: by the clock of another program
// it may live, and Redis removes it soon enough. Nor is another mark that is young: a
// failover may bring back the state in which the record had this one.
func (f found) dangling(m mark, now int64) bool {
	old := now - garbageAge.Milliseconds()
	return m.made() < old && (!f.exists || f.head.mark != m && f.head.mark.made() < old)
}

// discard has the collector look at g, if it finds the time.
func (s *Store) discard(g garbage) {
	select {
	case s.garbage <- g:
	default:
	}
}

// leave has the collector remove the entries that a record had, as a script returned
// them.
func (s *Store) leave(key storage.Key, groups, oldMark string) {
	names, ok := parseGroups([]byte(groups))
	var m mark
	if copy(m[:], oldMark) == len(m) && ok {
		s.leaveAs(key, names, m)
	}
}

// leaveAs has the collector remove the entries of key that bear m, which no record
// has or will have.
func (s *Store) leaveAs(key storage.Key, groups []string, m mark) {
	for _, name := range groups {
		s.discard(garbage{group: name, members: []string{memberBase(key) + string(m[:])}})
	}
}

// collect collects garbage until ctx is done.
func (s *Store) collect(ctx context.Context) {
	for {
		select {
		case g := <-s.garbage:
			if err := s.sweep(ctx, g); err != nil {
				// It stays where it is until somebody meets it again.
				s.logger.Debug("garbage in store was not collected", "err", fault(err))
			}
		case <-ctx.Done():
			return
		}
	}
}

// sweep removes g. Of a whole group it looks at a sample, and at another one for as
// long as much of the last one was garbage.
func (s *Store) sweep(ctx context.Context, g garbage) error {
	if len(g.members) > 0 {
		return s.remove(ctx, g)
	}
	for range sampleRounds {
		seen, dead, err := s.sample(ctx, g.group)
		if err != nil || len(dead) == 0 {
			return err
		}
		if err := s.remove(ctx, garbage{g.group, dead}); err != nil {
			return err
		}
		if len(dead) < seen/4 {
			return nil
		}
	}
	return nil
}

func (s *Store) remove(ctx context.Context, g garbage) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	members := make([]any, len(g.members))
	for i, m := range g.members {
		members[i] = m
	}
	return s.servers.noticed(s.servers.any().ZRem(ctx, s.groupKey(g.group), members...).Err())
}

// sample looks at some entries of a group, drawn at random, and returns how many, and
// which of them are garbage.
func (s *Store) sample(ctx context.Context, group string) (seen int, dead []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	members, err := s.servers.any().ZRandMember(ctx, s.groupKey(group), sampleSize).Result()
	if err != nil || len(members) == 0 {
		return 0, nil, s.servers.noticed(err)
	}
	marks := make([]mark, len(members))
	cmds := make([]*redis.StringCmd, len(members))
	err = s.servers.read(ctx, func(pipe redis.Pipeliner) {
		for i, m := range members {
			key, made, ok := parseMember(m)
			if ok {
				marks[i], cmds[i] = made, pipe.GetRange(ctx, s.recordKey(key), 0, headBytes-1)
			}
		}
	})
	if err != nil {
		return 0, nil, err
	}
	now := s.unixMilli()
	for i, cmd := range cmds {
		if cmd == nil { // nothing of ours
			continue
		}
		text, err := cmd.Result()
		if err != nil {
			return 0, nil, err
		}
		var f found
		f.head, f.exists = parseHead([]byte(text))
		if f.dangling(marks[i], now) {
			dead = append(dead, members[i])
		}
	}
	return len(members), dead, nil
}

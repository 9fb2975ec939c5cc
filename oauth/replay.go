package oauth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"
)

// A ReplayStore remembers what may be used once. Replicas that share one see each
// other's; a store in Redis is one SET with NX and PX.
type ReplayStore interface {
	// First says whether id has never been used before, and remembers it at least
	// until then. Of several callers with one id at the same time exactly one is the
	// first. An error says that the store cannot tell; nobody is the first then. An
	// id has at most 64 bytes, all of them letters, digits, "-" and "_". First is
	// called by many goroutines.
	First(ctx context.Context, id string, until time.Time) (bool, error)
}

const (
	defaultReplays = 1 << 20
	// What is remembered is dropped in lots, by the time that it is remembered until.
	replayLot = 8 * time.Second
	// The longest that anything is remembered: it bounds the number of lots.
	maxReplayLife = time.Hour
)

// A ReplayMemory is a [ReplayStore] in this process, for a service that runs once. Its
// memory is bounded: an id takes about 30 bytes, whatever its length, and the default
// of 1,048,576 ids at once about 32 MiB.
//
// When that is not enough it does not forget, which would let a replay through. It
// drops the lot that would have been dropped next and from then on refuses what would
// have been in it: in a flood, proofs have to be younger.
type ReplayMemory struct {
	max int
	now func() time.Time

	mu    sync.Mutex
	lots  map[int64]map[replayID]struct{} // by the time until, in replayLot
	count int
	floor int64 // lots before this one are gone
}

// replayID is the beginning of a SHA-256: long enough that nobody finds two that meet.
type replayID [16]byte

// NewReplayMemory returns an empty memory for max ids (zero: 1,048,576) whose clock is
// now (nil: time.Now).
func NewReplayMemory(max int, now func() time.Time) *ReplayMemory {
	if max <= 0 {
		max = defaultReplays
	}
	if now == nil {
		now = time.Now
	}
	return &ReplayMemory{max: max, now: now, lots: make(map[int64]map[replayID]struct{})}
}

// First implements [ReplayStore]. The error is that of a time more than an hour away.
func (m *ReplayMemory) First(_ context.Context, id string, until time.Time) (bool, error) {
	now := m.now()
	if until.Sub(now) > maxReplayLife {
		return false, fmt.Errorf("oauth: a replay memory keeps nothing for longer than %v", maxReplayLife)
	}
	sum := sha256.Sum256([]byte(id))
	key, lot := replayID(sum[:len(replayID{})]), until.UnixNano()/int64(replayLot)

	m.mu.Lock()
	defer m.mu.Unlock()
	current := now.UnixNano() / int64(replayLot)
	m.tick(current)
	// One id may come with several times.
	for _, ids := range m.lots {
		if _, used := ids[key]; used {
			return false, nil
		}
	}
	for m.count >= m.max {
		m.drop(m.first() + 1)
	}
	if lot < max(m.floor, current) {
		return false, nil
	}
	if m.lots[lot] == nil {
		m.lots[lot] = make(map[replayID]struct{})
	}
	m.lots[lot][key] = struct{}{}
	m.count++
	return true, nil
}

// tick drops what no longer has to be remembered.
func (m *ReplayMemory) tick(current int64) {
	// Nothing puts the floor this far ahead but a clock that was wrong and has been
	// set back. It must not refuse everything until that time comes.
	if m.floor > current+int64(maxReplayLife/replayLot)+1 {
		m.floor = current
	}
	// The floor goes no higher than what is dropped: a clock that is ahead for a moment
	// must not have everything refused that comes after it is right again.
	last, found := int64(0), false
	for lot := range m.lots {
		if lot < current && (!found || lot > last) {
			last, found = lot, true
		}
	}
	if found {
		m.drop(last + 1)
	}
}

// drop removes the lots before floor, for good.
func (m *ReplayMemory) drop(floor int64) {
	if floor <= m.floor {
		return
	}
	m.floor = floor
	for lot, ids := range m.lots {
		if lot < floor {
			m.count -= len(ids)
			delete(m.lots, lot)
		}
	}
}

// first returns the lot that goes next.
func (m *ReplayMemory) first() int64 {
	first, found := m.floor, false
	for lot := range m.lots {
		if !found || lot < first {
			first, found = lot, true
		}
	}
	return first
}

package storetest

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// A model is the contract in as few words as possible, for one caller at a time.
type model struct {
	now      func() time.Time
	records  map[storage.Key]storage.Record
	counters map[storage.Key]modelCounter
}

type modelCounter struct {
	value int64
	ends  time.Time
}

func newModel(now func() time.Time) *model {
	return &model{now: now, records: map[storage.Key]storage.Record{}, counters: map[storage.Key]modelCounter{}}
}

// get returns the record under key, the zero Record if there is none.
func (m *model) get(key storage.Key) storage.Record {
	r := m.records[key]
	if !r.Expires.IsZero() && !m.now().Before(r.Expires) {
		return storage.Record{}
	}
	return r
}

func (m *model) put(r storage.Record) error {
	cur := m.get(r.Key)
	switch {
	case cur.Version == r.Version:
		return nil
	case cur.Version != r.Prev:
		return storage.ErrConflict
	case !cur.IsZero() && !slices.Equal(cur.Groups, r.Groups):
		return storage.ErrInvalid
	}
	m.records[r.Key] = read(r)
	return nil
}

func (m *model) delete(key storage.Key) {
	delete(m.records, key)
	delete(m.counters, key)
}

// list returns all that is in the group behind after and until there.
func (m *model) list(group string, after storage.Cursor, until int64) []storage.Record {
	var found []storage.Record
	for key := range m.records {
		r := m.get(key)
		if slices.Contains(r.Groups, group) && storage.CursorOf(r).Compare(after) > 0 && r.Sort <= cmp.Or(until, math.MaxInt64) {
			found = append(found, r)
		}
	}
	return inPlaceOrder(found)
}

func (m *model) add(key storage.Key, delta int64, life time.Duration) int64 {
	c, ok := m.counters[key]
	if !ok || !m.now().Before(c.ends) {
		if delta <= 0 {
			return 0
		}
		c = modelCounter{ends: m.now().Truncate(time.Millisecond).Add(life)}
	}
	if delta > 0 && c.value > math.MaxInt64-delta {
		c.value = math.MaxInt64
	} else {
		c.value = max(0, c.value+delta)
	}
	m.counters[key] = c
	return c.value
}

package session

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"
)

// Memory is a [Store] in the memory of one process. Sessions end with the process;
// replicas do not see each other's.
type Memory struct {
	limit int
	now   func() time.Time

	mu      sync.Mutex
	records map[string]*entry
	groups  map[string]map[string]bool // of ids
	order   byExpiry
}

// An entry is a record with its place in the order.
type entry struct {
	Record
	place int
}

// NewMemory returns a store for at most limit sessions. A sign-in beyond that ends
// the session that would have ended first. A session takes as much memory as its
// tokens, commonly 3 to 6 KB. now is the clock, nil for time.Now.
func NewMemory(limit int, now func() time.Time) *Memory {
	if now == nil {
		now = time.Now
	}
	return &Memory{limit: max(limit, 1), now: now, records: make(map[string]*entry), groups: make(map[string]map[string]bool)}
}

// Get implements [Store].
func (m *Memory) Get(_ context.Context, id string) (Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.collect()
	e, ok := m.records[id]
	if !ok {
		return Record{}, nil
	}
	return clone(e.Record), nil
}

// Put implements [Store].
func (m *Memory) Put(_ context.Context, r Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.collect()
	e, ok := m.records[r.ID]
	switch {
	case ok && e.Version != r.Prev, !ok && r.Prev != "":
		return ErrConflict
	case ok:
		e.Record = clone(r)
		heap.Fix(&m.order, e.place)
		return nil
	}
	if len(m.records) >= m.limit {
		m.remove(m.order[0])
	}
	e = &entry{Record: clone(r)}
	m.records[r.ID] = e
	heap.Push(&m.order, e)
	for _, group := range r.Groups {
		if m.groups[group] == nil {
			m.groups[group] = make(map[string]bool)
		}
		m.groups[group][r.ID] = true
	}
	return nil
}

// Delete implements [Store].
func (m *Memory) Delete(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.records[id]; ok {
		m.remove(e)
	}
	return nil
}

// List implements [Store].
func (m *Memory) List(_ context.Context, group string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.collect()
	ids := make([]string, 0, len(m.groups[group]))
	for id := range m.groups[group] {
		ids = append(ids, id)
	}
	return ids, nil
}

// Len returns how many sessions there are.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.collect()
	return len(m.records)
}

// collect removes what has expired. The caller holds the lock, here and below.
func (m *Memory) collect() {
	for now := m.now(); len(m.order) > 0 && !now.Before(m.order[0].Expires); {
		m.remove(m.order[0])
	}
}

func (m *Memory) remove(e *entry) {
	heap.Remove(&m.order, e.place)
	delete(m.records, e.ID)
	for _, group := range e.Groups {
		delete(m.groups[group], e.ID)
		if len(m.groups[group]) == 0 {
			delete(m.groups, group)
		}
	}
}

func clone(r Record) Record {
	r.Groups, r.Value, r.Prev = slices.Clone(r.Groups), slices.Clone(r.Value), ""
	return r
}

// byExpiry is a heap: what expires first is at 0.
type byExpiry []*entry

func (b byExpiry) Len() int           { return len(b) }
func (b byExpiry) Less(i, j int) bool { return b[i].Expires.Before(b[j].Expires) }

func (b byExpiry) Swap(i, j int) {
	b[i], b[j] = b[j], b[i]
	b[i].place, b[j].place = i, j
}

// Push implements heap.Interface.
func (b *byExpiry) Push(x any) {
	e := x.(*entry)
	e.place = len(*b)
	*b = append(*b, e)
}

// Pop implements heap.Interface.
func (b *byExpiry) Pop() any {
	last := (*b)[len(*b)-1]
	*b = (*b)[:len(*b)-1]
	return last
}

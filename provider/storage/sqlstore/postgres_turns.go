package sqlstore

import (
	"context"
	"sync"
)

// turns lets the callers who change one counter go one after the other, before they
// have a connection. They would stand in line for its row anyway, each with a
// connection in his hands and for as long as a commit takes; and whoever is refused
// for trying too often counts each of his tries.
type turns struct {
	mu    sync.Mutex
	lines map[string]*line // by the counter's id; those in which somebody is
}

// A line is the callers of one counter.
type line struct {
	turn   chan struct{} // holds one value: whose turn it is
	inside int           // how many have it or wait for it, guarded by turns.mu
}

// take waits for the caller's turn, or the end of ctx. The caller who has it calls
// done.
func (t *turns) take(ctx context.Context, id string) (done func(), err error) {
	t.mu.Lock()
	l := t.lines[id]
	if l == nil {
		if t.lines == nil {
			t.lines = map[string]*line{}
		}
		l = &line{turn: make(chan struct{}, 1)}
		t.lines[id] = l
	}
	l.inside++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if l.inside--; l.inside == 0 {
			delete(t.lines, id)
		}
	}
	select {
	case l.turn <- struct{}{}:
		return func() { <-l.turn; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

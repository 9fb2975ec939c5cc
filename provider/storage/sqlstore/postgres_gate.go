package sqlstore

import (
	"container/list"
	"context"
	"sync"
)

// newcomers is how many connections are made at a time.
const newcomers = 2

// A gate stands before the pool and lets as many callers through as there are
// connections, in the order in which they came. While somebody waits it has more
// connections made, beside the callers, so that each gets whatever is free first.
//
// The pool alone would have every caller who finds no free connection make one and
// wait for just that one: at the start, or when many come at once, all of them for
// what so many connections cost the server together, while one connection could
// have served them in less.
type gate struct {
	connect func() error // makes a connection and gives it to the pool
	most    int          // connections
	running sync.WaitGroup

	mu      sync.Mutex
	alive   int       // connections
	free    int       // of them, may be taken; below 0 when some have ended in use
	making  int       // calls of connect
	fresh   int       // made meanwhile, and free when connect returns
	waiting list.List // of *waiter
	closed  bool
}

type waiter struct {
	done chan struct{} // closed when he may enter, or err is set
	err  error
}

// enter waits until the caller may take a connection from the pool. When he is
// done he calls leave. An error is that of ctx, or of the attempt to make the first
// connection.
func (g *gate) enter(ctx context.Context) error {
	g.mu.Lock()
	if g.free > 0 { // then nobody waits
		g.free--
		g.mu.Unlock()
		return nil
	}
	if g.closed {
		g.mu.Unlock()
		return errClosed
	}
	w := &waiter{done: make(chan struct{})}
	e := g.waiting.PushBack(w)
	g.grow()
	g.mu.Unlock()
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-w.done:
		if w.err == nil { // just now; somebody else can have it
			g.give()
		}
	default:
		g.waiting.Remove(e)
	}
	return ctx.Err()
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.give()
}

// made counts a new connection.
func (g *gate) made() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.alive++
	if g.making > 0 {
		g.fresh++
		return
	}
	g.give()
}

// lost counts a connection that has ended.
func (g *gate) lost() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.alive--
	g.free--
}

// close sends all away who wait, and has no more connections made. Those in the
// making end with the pool.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for g.waiting.Len() > 0 {
		g.next(errClosed)
	}
}

// wait returns when no connection is being made any more, after close.
func (g *gate) wait() { g.running.Wait() }

// give makes one more free, with mu held, and with it as many of the waiting enter
// as can.
func (g *gate) give() {
	g.free++
	for g.free > 0 && g.waiting.Len() > 0 {
		g.free--
		g.next(nil)
	}
}

// next answers the first who waits, with mu held.
func (g *gate) next(err error) {
	w := g.waiting.Remove(g.waiting.Front()).(*waiter)
	w.err = err
	close(w.done)
}

// grow has a connection made, with mu held, if somebody waits for it and it may be.
func (g *gate) grow() {
	if g.closed || g.waiting.Len() <= g.making || g.making >= newcomers || g.alive+g.making >= g.most {
		return
	}
	g.making++
	g.running.Go(func() {
		err := g.connect()
		g.mu.Lock()
		defer g.mu.Unlock()
		g.making--
		for ; g.fresh > 0; g.fresh-- {
			g.give()
		}
		if err == nil {
			g.grow()
			return
		}
		for g.alive == 0 && g.waiting.Len() > 0 { // there is nothing to wait for
			g.next(err)
		}
	})
}

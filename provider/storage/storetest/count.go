package storetest

import (
	"context"
	"sync"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// A Counter is a store that counts its calls, made by [Count].
type Counter struct {
	store storage.Store

	mu      sync.Mutex
	calls   map[string]int
	longest int // the longest chain among the calls that began
	ended   int // and among those that have ended
	reset   int // how often Reset was called, so that older calls do not count
}

var _ storage.Store = (*Counter)(nil)

// Count returns s as a store that counts, for one request at a time.
func Count(s storage.Store) *Counter {
	return &Counter{store: s, calls: map[string]int{}}
}

// Reset begins anew. Calls in flight count no more.
func (c *Counter) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.calls)
	c.longest, c.ended = 0, 0
	c.reset++
}

// Calls returns how many calls of the given names (Get, Put, Delete, List, Add,
// Ping) were made since Reset, of all names if there is none.
func (c *Counter) Calls(names ...string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	if len(names) == 0 {
		for _, calls := range c.calls {
			n += calls
		}
	}
	for _, name := range names {
		n += c.calls[name]
	}
	return n
}

// Sequential returns how often a request had to wait for the store, one wait after
// the other, since Reset: the length of the longest chain of calls in which each
// began after the one before had ended. Calls that overlap count once.
//
// Calls that could overlap do so for certain only when they take a while: put
// [Slow] beneath Count, best inside a testing/synctest bubble.
func (c *Counter) Sequential() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.longest
}

// begin counts a call and returns what to do at its end.
func (c *Counter) begin(name string) (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[name]++
	chain, reset := c.ended+1, c.reset
	c.longest = max(c.longest, chain)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.reset == reset {
			c.ended = max(c.ended, chain)
		}
	}
}

// Get implements [storage.Store].
func (c *Counter) Get(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
	defer c.begin("Get")()
	return c.store.Get(ctx, keys...)
}

// Put implements [storage.Store].
func (c *Counter) Put(ctx context.Context, r storage.Record) error {
	defer c.begin("Put")()
	return c.store.Put(ctx, r)
}

// Delete implements [storage.Store].
func (c *Counter) Delete(ctx context.Context, key storage.Key) error {
	defer c.begin("Delete")()
	return c.store.Delete(ctx, key)
}

// List implements [storage.Store].
func (c *Counter) List(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
	defer c.begin("List")()
	return c.store.List(ctx, group, page)
}

// Add implements [storage.Store].
func (c *Counter) Add(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
	defer c.begin("Add")()
	return c.store.Add(ctx, key, delta, life)
}

// Ping implements [storage.Store].
func (c *Counter) Ping(ctx context.Context) error {
	defer c.begin("Ping")()
	return c.store.Ping(ctx)
}

// Close implements [storage.Store]. It is not counted.
func (c *Counter) Close() error { return c.store.Close() }

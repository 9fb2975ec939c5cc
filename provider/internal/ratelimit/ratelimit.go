// Package ratelimit counts what may be done only so often.
//
// Its invariant: what is refused was counted first, and whoever is over one limit does
// not use up the next. A counter's window begins with its first count and is never
// extended.
package ratelimit

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// DevelopmentSources is how many times more one source may do in development, where
// every browser and script shares the loopback address.
const DevelopmentSources = 100

// A Counter is one budget.
type Counter struct {
	Name   string // for the log
	Key    storage.Key
	Limit  int64
	Window time.Duration
}

// Count counts once in each counter, in this order, and returns the name of the first
// that is over its limit, "" for none. It stops there: whoever has used up the budget
// of a source cannot use up the one of an account. An error is the store's.
func Count(ctx context.Context, store storage.Store, counters ...Counter) (over string, err error) {
	for _, c := range counters {
		n, err := store.Add(ctx, c.Key, 1, c.Window)
		if err != nil {
			return "", fmt.Errorf("count %s: %w", c.Name, err)
		}
		if n > c.Limit {
			return c.Name, nil
		}
	}
	return "", nil
}

// GiveBack takes one count back. What the store fails to do here leaves a limit lower
// than it could be, and nothing else.
func (c Counter) GiveBack(ctx context.Context, store storage.Store) {
	_, _ = store.Add(ctx, c.Key, -1, c.Window)
}

// Clear takes all counts back, as GiveBack does one.
func (c Counter) Clear(ctx context.Context, store storage.Store) {
	_ = store.Delete(ctx, c.Key)
}

// Network is what callers from one place have in common: an IPv4 address, or the /64
// that one IPv6 subscriber has. What is no address is one place as well, so that a
// missing one does not switch a limit off.
func Network(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return "unknown"
	}
	return p.String()
}

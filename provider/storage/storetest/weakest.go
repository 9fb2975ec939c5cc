package storetest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// A WeakConfig says how often a store made by [WeakConfig.Store] does what the
// contract allows but good engines seldom do: chances from 0, never, to 1. They
// are drawn from Seed, so one sequence of calls always meets the same fate.
type WeakConfig struct {
	Seed uint64

	// LostReplies is the chance that a Put or Delete takes effect, or is refused,
	// and the caller only gets an error that wraps ErrUnavailable.
	LostReplies float64

	// LostAdds is the same for Add. A caller cannot settle it, so it is apart.
	LostAdds float64

	// ShortPages is the chance that a page of List is shorter than it could be,
	// or empty, though more follow.
	ShortPages float64

	// SlowGets is the chance that a Get of several keys reads them one by one, in
	// any order and with other calls in between.
	SlowGets float64
}

// Weakest returns s as the weakest store that the contract allows: replies of one
// Put or Delete in ten are lost, pages are short or empty, and keys are read at
// different moments. Each Get still gets its answer: a lost one is an outage, which
// [Faulty] is for.
func Weakest(s storage.Store) storage.Store {
	return WeakConfig{Seed: 1, LostReplies: 0.1, ShortPages: 0.4, SlowGets: 0.5}.Store(s)
}

// Store returns s, weakened.
func (c WeakConfig) Store(s storage.Store) storage.Store {
	return &weak{Store: s, cfg: c, rand: rand.New(rand.NewPCG(c.Seed, 0)), emptied: map[[2]string]bool{}}
}

type weak struct {
	storage.Store
	cfg WeakConfig

	mu      sync.Mutex
	rand    *rand.Rand         // guarded by mu
	emptied map[[2]string]bool // groups and places whose last page was empty; guarded by mu
}

// errLost is the answer that takes the place of a lost one.
var errLost = fmt.Errorf("%w: the reply was lost", storage.ErrUnavailable)

func (w *weak) chance(p float64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rand.Float64() < p
}

func (w *weak) draw(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rand.IntN(n)
}

func (w *weak) order(n int) []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rand.Perm(n)
}

func (w *weak) Put(ctx context.Context, r storage.Record) error {
	lost := w.chance(w.cfg.LostReplies)
	err := w.Store.Put(ctx, r)
	if lost {
		return errLost
	}
	return err
}

func (w *weak) Delete(ctx context.Context, key storage.Key) error {
	lost := w.chance(w.cfg.LostReplies)
	err := w.Store.Delete(ctx, key)
	if lost {
		return errLost
	}
	return err
}

func (w *weak) Add(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
	lost := w.chance(w.cfg.LostAdds)
	n, err := w.Store.Add(ctx, key, delta, life)
	if lost {
		return 0, errLost
	}
	return n, err
}

func (w *weak) Get(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
	if len(keys) < 2 || len(keys) > storage.MaxKeys || !w.chance(w.cfg.SlowGets) {
		return w.Store.Get(ctx, keys...)
	}
	records := make([]storage.Record, len(keys))
	for _, i := range w.order(len(keys)) {
		if err := w.linger(ctx); err != nil {
			return nil, err
		}
		got, err := w.Store.Get(ctx, keys[i])
		if err != nil {
			return nil, err
		}
		records[i] = got[0]
	}
	return records, nil
}

// linger lets others go first.
func (w *weak) linger(ctx context.Context) error {
	switch w.draw(4) {
	case 0:
		return wait(ctx, time.Duration(1+w.draw(200))*time.Microsecond)
	case 1:
		runtime.Gosched()
	}
	return nil
}

// List returns an empty page now and then, whose next page is not empty too, so that
// every walk ends.
func (w *weak) List(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
	_, _, limit, err := page.Check()
	short := err == nil && w.chance(w.cfg.ShortPages)
	if empty, next := w.empty(group, page.After, short); empty {
		// As a page of nothing but dangling entries. The store is asked all the
		// same, for it may refuse.
		_, _, err := w.Store.List(ctx, group, page)
		if err != nil {
			return nil, "", err
		}
		return nil, next, nil
	}
	if short {
		page.Limit = 1 + w.draw(limit)
	}
	records, next, err := w.Store.List(ctx, group, page)
	if err != nil {
		return nil, "", err
	}
	if short && next == "" && len(records) > 0 { // nothing follows, which the next page says
		next = storage.CursorOf(records[len(records)-1]).String()
	}
	return records, next, nil
}

// empty decides whether the page behind after is to be empty, and then returns where
// the next one begins: at the same place.
func (w *weak) empty(group, after string, short bool) (empty bool, next string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if place := [2]string{group, after}; w.emptied[place] {
		delete(w.emptied, place)
		return false, ""
	}
	if !short || w.rand.Float64() >= 0.5 {
		return false, ""
	}
	if after == "" { // before all that there can be
		after = storage.Cursor{Sort: math.MinInt64, Kind: storage.Client, ID: "\x00"}.String()
	}
	w.emptied[[2]string{group, after}] = true
	return true, after
}

// wait waits for d or the end of ctx.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, ctx.Err())
	}
}

package storetest_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

func contextMutants() []mutant {
	// ended reports whether the call failed because its context is done.
	ended := func(ctx context.Context, err error) bool { return err != nil && ctx.Err() != nil }
	return []mutant{
		{"contexts are left out", func(b *broken) {
			b.get = func(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
				return b.Store.Get(context.WithoutCancel(ctx), keys...)
			}
			b.put = func(ctx context.Context, r storage.Record) error { return b.Store.Put(context.WithoutCancel(ctx), r) }
		}, []string{"a context that is done"}},
		{"the end of a context is no outage", func(b *broken) {
			b.list = func(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
				records, next, err := b.Store.List(ctx, group, page)
				if ended(ctx, err) {
					err = ctx.Err()
				}
				return records, next, err
			}
		}, []string{"a context that is done"}},
		{"the end of a context is an outage like others", func(b *broken) {
			b.add = func(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
				n, err := b.Store.Add(ctx, key, delta, life)
				if ended(ctx, err) {
					err = storage.ErrUnavailable
				}
				return n, err
			}
		}, []string{"a context that is done"}},
		{"a call that is interrupted has its own error", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				before := ctx.Err()
				err := b.Store.Put(ctx, r)
				if before == nil && ended(ctx, err) {
					err = errors.New("interrupted")
				}
				return err
			}
		}, []string{"a context that ends during a call"}},
	}
}

func interruptedMutants() []mutant {
	// ended reports whether the call failed because its context is done.
	ended := func(ctx context.Context, err error) bool { return err != nil && ctx.Err() != nil }
	return []mutant{
		{"a put that is interrupted is half made", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				err := b.Store.Put(ctx, r)
				if ended(ctx, err) {
					r.Value = r.Value[:len(r.Value)/2]
					_ = b.Store.Put(context.WithoutCancel(ctx), r)
				}
				return err
			}
		}, []string{"a put that is interrupted"}},
		{"a put that is interrupted reads on", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				late := r
				late.Groups, late.Value = slices.Clone(r.Groups), slices.Clone(r.Value)
				err := b.Store.Put(ctx, r)
				if ended(ctx, err) { // by then the caller has changed it
					copy(late.Value, "changed")
					_ = b.Store.Put(context.WithoutCancel(ctx), late)
				}
				return err
			}
		}, []string{"a put that is interrupted"}},
		{"a delete that is interrupted is half made", func(b *broken) {
			ghosts := map[storage.Key]storage.Record{}
			var mu sync.Mutex
			b.delete = func(ctx context.Context, key storage.Key) error {
				ghost := b.current(context.WithoutCancel(ctx), key)
				err := b.Store.Delete(ctx, key)
				if ended(ctx, err) {
					mu.Lock()
					defer mu.Unlock()
					ghosts[key] = ghost
					_ = b.Store.Delete(context.WithoutCancel(ctx), key)
				}
				return err
			}
			relisted(b, func(_ context.Context, group string, all []storage.Record) []storage.Record {
				mu.Lock()
				defer mu.Unlock()
				for _, ghost := range ghosts {
					if slices.Contains(ghost.Groups, group) {
						all = append(all, ghost)
					}
				}
				return all
			})
		}, []string{"a delete that is interrupted"}},
		{"an add that is interrupted is sent again", func(b *broken) {
			b.add = func(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
				n, err := b.Store.Add(ctx, key, delta, life)
				if ended(ctx, err) {
					for range 2 {
						_, _ = b.Store.Add(context.WithoutCancel(ctx), key, delta, life)
					}
				}
				return n, err
			}
		}, []string{"an add that is interrupted"}},
		{"close does nothing", func(b *broken) {
			var closed atomic.Bool
			b.close = func() error { closed.Store(true); return nil }
		}, []string{"closed"}},
		{"close damages what is read", func(b *broken) {
			b.get = func(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
				got, err := b.Store.Get(ctx, keys...)
				if err != nil && ctx.Err() == nil {
					err = storage.ErrCorrupt
				}
				return got, err
			}
		}, []string{"closed during calls"}},
	}
}

func raceMutants() []mutant {
	return []mutant{
		{"put looks first and writes then", func(b *broken) {
			b.put = func(ctx context.Context, r storage.Record) error {
				for {
					cur := b.current(ctx, r.Key)
					if cur.Version == r.Version || cur.Version != r.Prev {
						return b.Store.Put(ctx, r)
					}
					pause()
					err := b.Store.Put(ctx, r)
					if !errors.Is(err, storage.ErrConflict) {
						return err
					}
					// Somebody was faster, and is overwritten.
					r.Prev = b.current(ctx, r.Key).Version
				}
			}
		}, []string{"racing puts have one winner", "racing updates lose nothing"}},
		{"a put that is sent twice at once conflicts", func(b *broken) {
			var under sync.Map
			b.put = func(ctx context.Context, r storage.Record) error {
				if _, twice := under.LoadOrStore(r.Version, true); twice {
					return storage.ErrConflict
				}
				defer under.Delete(r.Version)
				return b.Store.Put(ctx, r)
			}
		}, []string{"racing resends all succeed"}},
		{"add reads first and writes then", adds(func(b *broken, add adder) adder {
			return func(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
				cur, err := add(ctx, key, 0, 0)
				if err != nil || cur == 0 {
					return add(ctx, key, delta, life)
				}
				pause()
				now, err := add(ctx, key, 0, 0)
				if err != nil {
					return 0, err
				}
				return add(ctx, key, delta-(now-cur), life) // as if the others had not been
			}
		}), []string{"racing adds lose nothing"}},
		{"the end of a life is met outside of the add", adds(func(b *broken, add adder) adder {
			return func(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
				if cur, err := add(ctx, key, 0, 0); err == nil && cur == 0 && delta > 0 {
					pause()
					if err := b.Store.Delete(ctx, key); err != nil {
						return 0, err
					}
				}
				return add(ctx, key, delta, life)
			}
		}), []string{"racing adds meet the end of a life"}},
		{"get reads twice", func(b *broken) {
			b.get = func(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
				got, err := b.Store.Get(ctx, keys...)
				if err != nil {
					return nil, err
				}
				pause()
				later, err := b.Store.Get(ctx, keys...)
				for i := range later {
					if !later[i].IsZero() && !got[i].IsZero() {
						later[i].Value = got[i].Value
					}
				}
				return later, err
			}
		}, []string{"a record is read whole"}},
		{"get is behind", func(b *broken) {
			var seen sync.Map
			b.get = func(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
				got, err := b.Store.Get(ctx, keys...)
				for i := range got {
					if before, ok := seen.Swap(keys[i], got[i]); ok {
						got[i], _ = before.(storage.Record)
					}
				}
				return got, err
			}
		}, []string{"a history of one record has an order", "update makes, changes and keeps", "update counts once though replies are lost"}},
	}
}

func listRaceMutants() []mutant {
	return []mutant{
		{"a list is behind", func(b *broken) {
			type place struct {
				group string
				page  storage.Page
			}
			type answer struct {
				records []storage.Record
				next    string
			}
			var seen sync.Map
			b.list = func(ctx context.Context, group string, page storage.Page) ([]storage.Record, string, error) {
				records, next, err := b.Store.List(ctx, group, page)
				if err != nil {
					return nil, "", err
				}
				if before, ok := seen.Swap(place{group, page}, answer{slices.Clone(records), next}); ok {
					old, _ := before.(answer)
					return old.records, old.next, nil
				}
				return records, next, nil
			}
		}, []string{"a list misses nothing"}},
		{"a list collects what is about to be made", func(b *broken) {
			members := map[storage.Key]bool{} // those that a list has not collected
			known := map[storage.Key]bool{}
			var mu sync.Mutex
			b.put = func(ctx context.Context, r storage.Record) error {
				mu.Lock()
				known[r.Key], members[r.Key] = true, true
				mu.Unlock()
				pause()
				return b.Store.Put(ctx, r)
			}
			relisted(b, func(ctx context.Context, _ string, all []storage.Record) []storage.Record {
				mu.Lock()
				keys := make([]storage.Key, 0, len(known))
				for key := range known {
					keys = append(keys, key)
				}
				mu.Unlock()
				for _, key := range keys {
					if b.current(ctx, key).IsZero() {
						mu.Lock()
						delete(members, key)
						mu.Unlock()
					}
				}
				mu.Lock()
				defer mu.Unlock()
				return slices.DeleteFunc(all, func(r storage.Record) bool { return !members[r.Key] })
			})
		}, []string{"a list misses nothing that comes back"}},
		{"a list leaves out what was just replaced", func(b *broken) {
			relisted(b, func(ctx context.Context, _ string, all []storage.Record) []storage.Record {
				pause()
				return slices.DeleteFunc(all, func(r storage.Record) bool { return b.current(ctx, r.Key).Version != r.Version })
			})
		}, []string{"a list misses nothing that is replaced"}},
	}
}

func deleteRaceMutants() []mutant {
	return []mutant{
		{"delete spares what has changed", func(b *broken) {
			b.delete = func(ctx context.Context, key storage.Key) error {
				if key.Kind == storage.Counter {
					return b.Store.Delete(ctx, key)
				}
				version := b.current(ctx, key).Version
				pause()
				if b.current(ctx, key).Version != version {
					return nil
				}
				return b.Store.Delete(ctx, key)
			}
		}, []string{"racing deletes and replacements"}},
		{"a record that is made is in its groups later", func(b *broken) {
			var made sync.Map
			b.put = func(ctx context.Context, r storage.Record) error {
				err := b.Store.Put(ctx, r)
				if err == nil && r.Prev.IsZero() {
					made.Store(r.Key, true)
				}
				return err
			}
			relisted(b, func(_ context.Context, _ string, all []storage.Record) []storage.Record {
				return slices.DeleteFunc(all, func(r storage.Record) bool { _, fresh := made.LoadAndDelete(r.Key); return fresh })
			})
		}, []string{"racing deletes and creations"}},
		{"a counter is deleted by subtraction", func(b *broken) {
			b.delete = func(ctx context.Context, key storage.Key) error {
				if key.Kind != storage.Counter {
					return b.Store.Delete(ctx, key)
				}
				n, err := b.Store.Add(ctx, key, 0, 0)
				if err != nil {
					return err
				}
				pause()
				_, err = b.Store.Add(ctx, key, -n, 0)
				return err
			}
		}, []string{"racing deletes and adds"}},
	}
}

// pause gives the others time to do what a race is lost by.
func pause() { <-time.After(time.Millisecond) }

package storetest_test

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// An adder is Add of a broken store.
type adder func(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error)

// adds breaks Add by making another of it.
func adds(make func(b *broken, add adder) adder) func(b *broken) {
	return func(b *broken) {
		b.add = make(b, func(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
			return b.Store.Add(ctx, key, delta, life)
		})
	}
}

func counterMutants() []mutant {
	return []mutant{
		{"counters are floating-point numbers", adds(func(_ *broken, add adder) adder {
			return func(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
				n, err := add(ctx, key, delta, life)
				return int64(min(float64(n), 1<<62)), err
			}
		}), []string{"add counts"}},
		{"counters have 53 bits", adds(func(_ *broken, add adder) adder {
			return func(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
				n, err := add(ctx, key, delta, life)
				return min(n, 1<<53), err
			}
		}), []string{"add counts"}},
		{"a counter wraps around", adds(func(_ *broken, add adder) adder {
			return func(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
				cur, err := add(ctx, key, 0, 0)
				if err == nil && delta > 0 && cur > math.MaxInt64-delta {
					return add(ctx, key, math.MinInt64, life)
				}
				return add(ctx, key, delta, life)
			}
		}), []string{"a counter stops at the largest number"}},
		{"a counter that would be too large is an error", adds(func(_ *broken, add adder) adder {
			return func(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
				cur, err := add(ctx, key, 0, 0)
				if err == nil && delta > 0 && cur > math.MaxInt64-delta {
					return 0, storage.ErrInvalid
				}
				return add(ctx, key, delta, life)
			}
		}), []string{"a counter stops at the largest number"}},
		{"a counter begins at zero", adds(func(_ *broken, add adder) adder {
			return func(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
				if cur, err := add(ctx, key, 0, 0); err == nil && cur == 0 && delta <= 0 && life >= storage.MinLife {
					if _, err := add(ctx, key, 1, life); err != nil {
						return 0, err
					}
					return add(ctx, key, -1, life)
				}
				return add(ctx, key, delta, life)
			}
		}), []string{"add nothing to nothing"}},
		{"a counter needs a life even to be read", adds(func(_ *broken, add adder) adder {
			return func(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
				if life < storage.MinLife {
					return 0, storage.ErrInvalid
				}
				return add(ctx, key, delta, life)
			}
		}), []string{"add nothing to nothing"}},
		{"a counter goes below zero", adds(func(_ *broken, add adder) adder {
			return func(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
				cur, err := add(ctx, key, 0, 0)
				if err == nil && cur > 0 && delta < -cur {
					_, err = add(ctx, key, delta, life)
					return cur + delta, err
				}
				return add(ctx, key, delta, life)
			}
		}), []string{"a counter stops at zero"}},
		{"what is taken from zero is owed", adds(func(_ *broken, add adder) adder {
			var owed sync.Map
			return func(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
				if cur, err := add(ctx, key, 0, 0); err == nil && delta < 0 && cur < -delta {
					owed.Store(key, cur+delta)
				} else if debt, ok := owed.LoadAndDelete(key); ok && delta > 0 {
					d, _ := debt.(int64)
					delta = max(0, delta+d)
				}
				return add(ctx, key, delta, life)
			}
		}), []string{"a counter stops at zero"}},
	}
}

func counterLifeMutants() []mutant {
	return []mutant{
		{"each add extends the life", adds(func(b *broken, add adder) adder {
			return func(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
				cur, err := add(ctx, key, 0, 0)
				if err != nil || cur == 0 || delta <= 0 || cur > math.MaxInt64-delta || life < storage.MinLife {
					return add(ctx, key, delta, life)
				}
				if err := b.Store.Delete(ctx, key); err != nil {
					return 0, err
				}
				return add(ctx, key, cur+delta, life)
			}
		}), []string{"a counter's life is fixed"}},
		{"the life of a counter is in seconds", adds(func(_ *broken, add adder) adder {
			return func(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
				if life >= storage.MinLife {
					life = max(time.Second, life.Truncate(time.Second))
				}
				return add(ctx, key, delta, life)
			}
		}), []string{"a counter's life may be short or long"}},
		{"a counter at zero is gone", adds(func(b *broken, add adder) adder {
			return func(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
				n, err := add(ctx, key, delta, life)
				if err == nil && n == 0 {
					err = b.Store.Delete(ctx, key)
				}
				return n, err
			}
		}), []string{"a counter at zero keeps its life"}},
		{"a counter is never deleted", func(b *broken) {
			b.delete = func(ctx context.Context, key storage.Key) error {
				if key.Kind == storage.Counter {
					return nil
				}
				return b.Store.Delete(ctx, key)
			}
		}, []string{"a counter is deleted"}},
		{"counters and records are deleted together", func(b *broken) {
			b.delete = func(ctx context.Context, key storage.Key) error {
				if key.Kind == storage.Counter {
					if err := b.Store.Delete(ctx, storage.Key{Kind: storage.Grant, ID: key.ID}); err != nil {
						return err
					}
				}
				return b.Store.Delete(ctx, key)
			}
		}, []string{"counters are apart"}},
		{"anything can be added to", adds(func(_ *broken, add adder) adder {
			return func(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
				key.Kind = storage.Counter
				return add(ctx, key, delta, life)
			}
		}), []string{"add refuses what is no counter"}},
		{"a short life is made longer", adds(func(_ *broken, add adder) adder {
			return func(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
				return add(ctx, key, delta, max(life, storage.MinLife))
			}
		}), []string{"add refuses what is no counter"}},
		{"a counter reads as an absent record", func(b *broken) {
			b.get = func(ctx context.Context, keys ...storage.Key) ([]storage.Record, error) {
				for i, k := range keys {
					if k.Kind == storage.Counter {
						keys[i].Kind = storage.Epoch
					}
				}
				return b.Store.Get(ctx, keys...)
			}
		}, []string{"add refuses what is no counter"}},
	}
}

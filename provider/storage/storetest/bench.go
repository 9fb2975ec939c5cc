package storetest

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// Bench measures the calls that requests are made of, on an empty store that open
// returns: one caller after another, and eight on each processor at a time.
// The clock is the machine's.
func Bench(b *testing.B, open func(b *testing.B, now func() time.Time) storage.Store) {
	value := make([]byte, 800) // about a grant
	var n atomic.Int64
	fresh := func(kind storage.Kind) storage.Record {
		r := record(fmt.Sprintf("id-%016d", n.Add(1)), "", fmt.Sprint("group-", n.Load()%1000))
		r.Key.Kind, r.Value, r.Expires = kind, value, time.Now().Add(time.Hour)
		return r
	}
	for _, bench := range []struct {
		name  string
		setup func(b *testing.B, s storage.Store) func(b *testing.B) error
	}{
		{"Put/new", func(_ *testing.B, s storage.Store) func(b *testing.B) error {
			return func(b *testing.B) error { return s.Put(b.Context(), fresh(storage.Grant)) }
		}},
		{"Put/account", func(_ *testing.B, s storage.Store) func(b *testing.B) error {
			return func(b *testing.B) error { return s.Put(b.Context(), fresh(storage.User)) }
		}},
		{"Put/replace", func(b *testing.B, s storage.Store) func(b *testing.B) error {
			// Each call replaces a record of its own, so that none conflicts.
			var made [4096]storage.Record
			var turn atomic.Int64
			for i := range made {
				made[i] = fresh(storage.Grant)
				if err := s.Put(b.Context(), made[i]); err != nil {
					b.Fatal(err)
				}
			}
			return func(b *testing.B) error {
				r := &made[turn.Add(1)%int64(len(made))]
				r.Prev, r.Version = r.Version, storage.NewVersion()
				return s.Put(b.Context(), *r)
			}
		}},
		{"Get/1", benchGet(fresh, 1)},
		{"Get/3", benchGet(fresh, 3)},
		{"List/10", func(b *testing.B, s storage.Store) func(b *testing.B) error {
			for range 1000 {
				r := fresh(storage.Outbox)
				r.Groups, r.Sort = []string{"g"}, n.Load()
				if err := s.Put(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
			return func(b *testing.B) error {
				_, _, err := s.List(b.Context(), "g", storage.Page{Limit: 10})
				return err
			}
		}},
		{"Add", func(_ *testing.B, s storage.Store) func(b *testing.B) error {
			return func(b *testing.B) error {
				_, err := s.Add(b.Context(), counterKey(fmt.Sprint(n.Add(1)%1000)), 1, time.Hour)
				return err
			}
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			call := bench.setup(b, open(b, time.Now))
			for b.Loop() {
				if err := call(b); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bench.name+"/parallel", func(b *testing.B) {
			call := bench.setup(b, open(b, time.Now))
			b.SetParallelism(8)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := call(b); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// benchGet reads n of many records.
func benchGet(fresh func(storage.Kind) storage.Record, n int) func(b *testing.B, s storage.Store) func(b *testing.B) error {
	return func(b *testing.B, s storage.Store) func(b *testing.B) error {
		var keys [1024]storage.Key
		for i := range keys {
			r := fresh(storage.Grant)
			keys[i] = r.Key
			if err := s.Put(b.Context(), r); err != nil {
				b.Fatal(err)
			}
		}
		var turn atomic.Int64
		return func(b *testing.B) error {
			i := int(turn.Add(1)) % (len(keys) - n)
			_, err := s.Get(b.Context(), keys[i:i+n]...)
			return err
		}
	}
}

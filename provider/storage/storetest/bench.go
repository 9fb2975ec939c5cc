package storetest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// Bench measures the calls that requests are made of, on empty stores that open
// returns, with the machine's clock: "serial" is one caller, "parallel" eight on
// each processor at a time. The names are the same for every engine, so that
// benchstat can compare them; each also reports its allocations. It opens one store
// for each kind of call.
//
// A record has 800 bytes, about what a grant has, an expiry, and one group unless the
// name says otherwise. What a Put is worth when the power fails depends on how the
// engine is set up: a table of these numbers has to say it.
func Bench(b *testing.B, open func(b *testing.B, now func() time.Time) storage.Store) {
	for _, call := range benchmarks() {
		b.Run(call.name, func(b *testing.B) {
			m := &bench{s: open(b, time.Now), value: make([]byte, 800)}
			rand.Read(m.value) // crypto/rand.Read never fails
			prepare := call.setup(b, m)
			b.Run("serial", func(b *testing.B) {
				do := prepare(b)
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					if err := do(); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("parallel", func(b *testing.B) {
				do := prepare(b)
				b.ReportAllocs()
				b.SetParallelism(8)
				b.ResetTimer()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := do(); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		})
	}
}

// A benchmark is one kind of call. setup fills the store once; what it returns is
// asked before each measurement, whose size is b.N, for the call to be measured.
type benchmark struct {
	name  string
	setup func(b *testing.B, m *bench) (prepare func(b *testing.B) (do func() error))
}

func benchmarks() []benchmark {
	return []benchmark{
		{"Put/new", benchNew(storage.Grant, "group")},
		{"Put/new-without-groups", benchNew(storage.Grant, "")},
		{"Put/account", benchNew(storage.User, "group")},
		{"Put/replace", benchReplace},
		{"Get/1", benchGet(1)},
		{"Get/3", benchGet(3)},
		{"List/10", benchList},
		{"Add", benchAdd},
		{"Delete", benchDelete},
	}
}

// bench is a store that is being measured.
type bench struct {
	s     storage.Store
	value []byte       // of every record
	n     atomic.Int64 // names what is new
}

// fresh returns a new record.
func (m *bench) fresh(kind storage.Kind, group string) storage.Record {
	n := m.n.Add(1)
	r := record(fmt.Sprintf("id-%016d", n), "")
	r.Key.Kind, r.Value, r.Expires, r.Sort = kind, m.value, time.Now().Add(time.Hour), n
	if group != "" {
		r.Groups = []string{fmt.Sprint(group, "-", n%1000)}
	}
	return r
}

// fill puts n new records, several at a time, and returns them.
func (m *bench) fill(b *testing.B, n int, made func() storage.Record) []storage.Record {
	b.Helper()
	const callers = 16
	records := make([]storage.Record, n)
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := c; i < n && errs[c] == nil; i += callers {
				records[i] = made()
				errs[c] = m.s.Put(b.Context(), records[i])
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
	return records
}

type setup = func(b *testing.B, m *bench) func(b *testing.B) func() error

// always is for a call that needs nothing to be prepared.
func always(call func(b *testing.B) error) func(b *testing.B) func() error {
	return func(b *testing.B) func() error { return func() error { return call(b) } }
}

func benchNew(kind storage.Kind, group string) setup {
	return func(_ *testing.B, m *bench) func(b *testing.B) func() error {
		return always(func(b *testing.B) error { return m.s.Put(b.Context(), m.fresh(kind, group)) })
	}
}

// benchReplace has each call replace a record that nobody else has at the time.
func benchReplace(b *testing.B, m *bench) func(b *testing.B) func() error {
	records := m.fill(b, 1024, func() storage.Record { return m.fresh(storage.Grant, "group") })
	idle := make(chan storage.Record, len(records))
	for _, r := range records {
		idle <- r
	}
	return always(func(b *testing.B) error {
		r := <-idle
		r.Prev, r.Version = r.Version, storage.NewVersion()
		err := m.s.Put(b.Context(), r)
		idle <- r
		return err
	})
}

// benchGet reads n of many records.
func benchGet(n int) setup {
	return func(b *testing.B, m *bench) func(b *testing.B) func() error {
		var keys [1024]storage.Key
		for i, r := range m.fill(b, len(keys), func() storage.Record { return m.fresh(storage.Grant, "group") }) {
			keys[i] = r.Key
		}
		var turn atomic.Int64
		return always(func(b *testing.B) error {
			i := int(turn.Add(1)) % (len(keys) - n)
			_, err := m.s.Get(b.Context(), keys[i:i+n]...)
			return err
		})
	}
}

// benchList reads the first ten of a thousand.
func benchList(b *testing.B, m *bench) func(b *testing.B) func() error {
	m.fill(b, 1000, func() storage.Record {
		r := m.fresh(storage.Outbox, "")
		r.Groups = []string{"g"}
		return r
	})
	return always(func(b *testing.B) error {
		_, _, err := m.s.List(b.Context(), "g", storage.Page{Limit: 10})
		return err
	})
}

// benchAdd counts in a thousand counters, most of which exist.
func benchAdd(_ *testing.B, m *bench) func(b *testing.B) func() error {
	return always(func(b *testing.B) error {
		_, err := m.s.Add(b.Context(), counterKey(fmt.Sprint(m.n.Add(1)%1000)), 1, time.Hour)
		return err
	})
}

// benchDelete has a record for each call to remove.
func benchDelete(_ *testing.B, m *bench) func(b *testing.B) func() error {
	return func(b *testing.B) func() error {
		records := m.fill(b, b.N, func() storage.Record { return m.fresh(storage.Grant, "group") })
		var turn atomic.Int64
		return func() error { return m.s.Delete(b.Context(), records[turn.Add(1)-1].Key) }
	}
}

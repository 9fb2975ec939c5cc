package storetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// An Op is one call of a store.
type Op struct {
	Name  string      // Get, Put, Delete, List, Add or Ping
	Key   storage.Key // the first one of a Get; zero for List and Ping
	Group string      // of a List
	N     int         // which call of this Name it is, from 1
}

// Faulty returns s with calls that fail as the test wants. fail is asked once
// before every call but Close, one call at a time. When it returns nil, the call
// is made; when it returns an error, the call is not made and gets that error; and
// when the error is made by [After], the call is made and its answer then lost.
func Faulty(s storage.Store, fail func(op Op) error) storage.Store {
	return &faulty{store: s, fail: fail, n: map[string]int{}}
}

// After returns an error for the use of [Faulty]'s fail: the call takes effect,
// and its caller gets err instead of the answer.
func After(err error) error { return &after{err} }

type after struct{ err error }

func (a *after) Error() string { return "after the call: " + a.err.Error() }
func (a *after) Unwrap() error { return a.err }

type faulty struct {
	store storage.Store
	fail  func(op Op) error

	mu sync.Mutex
	n  map[string]int // calls by name; guarded by mu, which also guards fail
}

// do makes the call, or not.
func (f *faulty) do(op Op, call func() error) error {
	f.mu.Lock()
	f.n[op.Name]++
	op.N = f.n[op.Name]
	err := f.fail(op)
	f.mu.Unlock()
	var late *after
	switch {
	case err == nil:
		return call()
	case errors.As(err, &late):
		_ = call() // whose answer is what gets lost
		return late.err
	}
	return err
}

func (f *faulty) Get(ctx context.Context, keys ...storage.Key) (records []storage.Record, err error) {
	op := Op{Name: "Get"}
	if len(keys) > 0 {
		op.Key = keys[0]
	}
	err = f.do(op, func() error { records, err = f.store.Get(ctx, keys...); return err })
	if err != nil {
		return nil, err
	}
	return records, nil
}

func (f *faulty) Put(ctx context.Context, r storage.Record) error {
	return f.do(Op{Name: "Put", Key: r.Key}, func() error { return f.store.Put(ctx, r) })
}

func (f *faulty) Delete(ctx context.Context, key storage.Key) error {
	return f.do(Op{Name: "Delete", Key: key}, func() error { return f.store.Delete(ctx, key) })
}

func (f *faulty) List(ctx context.Context, group string, page storage.Page) (records []storage.Record, next string, err error) {
	err = f.do(Op{Name: "List", Group: group}, func() error { records, next, err = f.store.List(ctx, group, page); return err })
	if err != nil {
		return nil, "", err
	}
	return records, next, nil
}

func (f *faulty) Add(ctx context.Context, key storage.Key, delta int64, life time.Duration) (n int64, err error) {
	err = f.do(Op{Name: "Add", Key: key}, func() error { n, err = f.store.Add(ctx, key, delta, life); return err })
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (f *faulty) Ping(ctx context.Context) error {
	return f.do(Op{Name: "Ping"}, func() error { return f.store.Ping(ctx) })
}

func (f *faulty) Close() error { return f.store.Close() }

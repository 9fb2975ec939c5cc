package storetest

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// A patient store makes a call again that got no answer. An engine bounds what a call
// waits for, and a busy machine may need longer when 64 callers come at once; that is
// within the contract, which is about what the answers are. It has patience with one
// call in twenty: an engine that often gives no answer is not fit.
//
// The contract makes it possible: a Put that is sent again cannot conflict with
// itself while its record lives, and the other calls but Add change nothing by being
// made twice.
type patient struct {
	storage.Store
	now         func() time.Time
	calls, lost atomic.Int64
}

const patienceTries = 5

// until makes the call until it gets an answer.
func (p *patient) until(ctx context.Context, call func() error) error {
	p.calls.Add(1)
	for try := 1; ; try++ {
		err := call()
		if ctx.Err() != nil || !errors.Is(err, storage.ErrUnavailable) || try == patienceTries || p.lost.Add(1) > 10+p.calls.Load()/20 {
			return err
		}
		if err := wait(ctx, time.Duration(try)*20*time.Millisecond); err != nil {
			return err
		}
	}
}

func (p *patient) Get(ctx context.Context, keys ...storage.Key) (records []storage.Record, err error) {
	err = p.until(ctx, func() error { records, err = p.Store.Get(ctx, keys...); return err })
	return records, err
}

func (p *patient) Put(ctx context.Context, r storage.Record) error {
	if !r.Expires.IsZero() && !r.Expires.After(p.now()) {
		return p.Store.Put(ctx, r)
	}
	return p.until(ctx, func() error { return p.Store.Put(ctx, r) })
}

func (p *patient) Delete(ctx context.Context, key storage.Key) error {
	return p.until(ctx, func() error { return p.Store.Delete(ctx, key) })
}

func (p *patient) List(ctx context.Context, group string, page storage.Page) (records []storage.Record, next string, err error) {
	err = p.until(ctx, func() error { records, next, err = p.Store.List(ctx, group, page); return err })
	return records, next, err
}

func (p *patient) Ping(ctx context.Context) error {
	return p.until(ctx, func() error { return p.Store.Ping(ctx) })
}

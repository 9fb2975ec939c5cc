package outbox

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// writeTimeout bounds the small writes after a handler has returned. They also
// happen while the process is going down, when the context is done already.
const writeTimeout = 3 * time.Second

// leaseMargin is how long before its lease runs out a handler must be done, so
// that a slow return does not overlap with the next worker's start.
const leaseMargin = time.Second

// Run handles jobs until ctx is done, then waits for the handlers that are at
// work, at most Config.Drain, and returns nil when all its goroutines are gone.
// Jobs that wait stay in the store. An unreachable store does not end Run.
// Only one Run at a time is allowed.
func (o *Outbox) Run(ctx context.Context) error {
	if !o.running.CompareAndSwap(false, true) {
		return errors.New("outbox: running already")
	}
	defer o.running.Store(false)

	// Handlers outlive ctx by three quarters of the drain; the rest is theirs to
	// notice that they are cancelled.
	handlers, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()

	due := make(chan storage.Record)
	var wg sync.WaitGroup
	for range o.cfg.Workers {
		wg.Go(func() { o.worker(ctx, handlers, due) })
	}
	wg.Go(func() { o.scanner(ctx, due) })
	gone := make(chan struct{})
	go func() { wg.Wait(); close(gone) }()

	<-ctx.Done()
	timer := time.NewTimer(o.cfg.Drain * 3 / 4)
	defer timer.Stop()
	select {
	case <-gone:
		return nil
	case <-timer.C:
		cancel()
	}
	timer.Reset(o.cfg.Drain / 4)
	select {
	case <-gone:
		return nil
	case <-timer.C:
		return fmt.Errorf("outbox: a handler did not return within %s", o.cfg.Drain)
	}
}

// scanner offers every row that is due to the workers, again and again.
func (o *Outbox) scanner(ctx context.Context, due chan<- storage.Record) {
	failing := false
	for {
		err := o.scan(ctx, due)
		if ctx.Err() != nil {
			return
		}
		if failed := err != nil; failed != failing {
			failing = failed
			if failed {
				o.cfg.Logger.WarnContext(ctx, "outbox: the store does not answer, waiting jobs stay where they are", "err", err)
			} else {
				o.cfg.Logger.InfoContext(ctx, "outbox: the store answers again")
			}
		}
		// Replicas that were started together must not scan together for ever.
		timer := time.NewTimer(o.cfg.Poll/2 + rand.N(o.cfg.Poll))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// scan lists each group once, beginning anywhere so that none is always last.
func (o *Outbox) scan(ctx context.Context, due chan<- storage.Record) error {
	var failed error
	first := rand.IntN(groups)
	for i := range groups {
		if err := o.scanGroup(ctx, group((first+i)%groups), due); err != nil {
			failed = err
		}
	}
	return failed
}

func (o *Outbox) scanGroup(ctx context.Context, name string, due chan<- storage.Record) error {
	page := storage.Page{Until: o.cfg.Now().UnixMilli()}
	for {
		recs, next, err := o.cfg.Store.List(ctx, name, page)
		if err != nil {
			return fmt.Errorf("list due jobs: %w", err)
		}
		for _, rec := range recs {
			select {
			case due <- rec:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if next == "" {
			return nil
		}
		page.After = next
	}
}

// worker takes jobs from this process's makers and from the scanner.
func (o *Outbox) worker(ctx, handlers context.Context, due <-chan storage.Record) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case l := <-o.queue:
			// A ticket that waited long has too little of its lease left.
			if l.until.Sub(o.cfg.Now()) >= o.cfg.Born/2 {
				o.handle(handlers, l)
			} else if l, ok := o.take(handlers, l.rec); ok {
				o.handle(handlers, l)
			}
		case rec := <-due:
			if l, ok := o.take(handlers, rec); ok {
				o.handle(handlers, l)
			}
		}
	}
}

// take leases the row for this worker. It fails when somebody else has it, when
// this process does not know what it is, or when the store does not answer; each
// time the row stays as it is for whoever comes next.
func (o *Outbox) take(ctx context.Context, rec storage.Record) (lease, bool) {
	r, ok := parse(rec)
	now := o.cfg.Now()
	// During a rolling upgrade the store holds kinds that only the newer processes
	// know. They are not ours to drop until they have expired.
	if !ok || o.handlers[r.Kind] == nil && !r.expired(now) {
		return lease{}, false
	}
	l := lease{row: r, until: now.Add(o.cfg.Lease)}
	return l, o.put(ctx, &l, rec, l.until)
}

// put replaces the row prev by l's, due at the given time.
func (o *Outbox) put(ctx context.Context, l *lease, prev storage.Record, due time.Time) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	rec, err := l.row.record(prev.Key.ID, due)
	if err != nil {
		return false
	}
	rec.Groups = prev.Groups
	rec.Prev = prev.Version
	l.rec = rec
	return storage.Settle(ctx, o.cfg.Store, rec) == nil
}

// handle does one leased job and says in the store what became of it.
func (o *Outbox) handle(ctx context.Context, l lease) {
	now := o.cfg.Now()
	if l.row.expired(now) {
		o.drop(ctx, l, "expired")
		return
	}
	call, cancel := context.WithTimeout(ctx, min(o.cfg.Timeout, l.until.Sub(now)-leaseMargin))
	err := o.call(call, l)
	cancel()
	if err == nil {
		o.remove(ctx, l)
		return
	}
	if permanent := (*permanentError)(nil); errors.As(err, &permanent) {
		o.drop(ctx, l, "refused for good")
		return
	}
	next := o.cfg.Now().Add(pause(l.row.Attempts))
	l.row.Attempts++
	if l.row.expired(next) {
		o.drop(ctx, l, "failed until it expired")
		return
	}
	// If this Put is lost too, the lease runs out and the job is tried then.
	o.put(ctx, &l, l.rec, next)
}

// call runs the handler. A panic is a failure like another: it must not take the
// other jobs of this process along.
func (o *Outbox) call(ctx context.Context, l lease) (err error) {
	defer func() {
		if r := recover(); r != nil {
			// The value may quote what the handler held, so only its type is said.
			o.cfg.Logger.ErrorContext(ctx, "outbox: a handler panicked", "kind", l.row.Kind, "id", l.rec.Key.ID,
				"panic", fmt.Sprintf("%T", r), "stack", string(debug.Stack()))
			err = errors.New("handler panicked")
		}
	}()
	return o.handlers[l.row.Kind](ctx, l.row.Payload)
}

// drop removes a job that was never done.
func (o *Outbox) drop(ctx context.Context, l lease, why string) {
	o.cfg.Logger.WarnContext(ctx, "outbox: dropped a job: "+why, "kind", l.row.Kind, "id", l.rec.Key.ID)
	o.remove(ctx, l)
}

// remove deletes the row. When the store does not answer even the second time,
// the job is handled once more when its lease runs out.
func (o *Outbox) remove(ctx context.Context, l lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	for range 2 {
		if o.cfg.Store.Delete(ctx, l.rec.Key) == nil {
			return
		}
	}
}

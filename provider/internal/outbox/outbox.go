package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync/atomic"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// A Kind says what a job is about and so which Handler takes it.
type Kind string

// A Handler does one job. It may be called more than once for the same job, and
// must return when ctx is done: after that somebody else may be given the job.
// An error means that the job is tried again later, unless it is Permanent.
type Handler func(ctx context.Context, payload json.RawMessage) error

// A Job is something to be done after the answer.
type Job struct {
	// ID names the job. Adding a job whose ID is waiting already adds nothing.
	// It is not a secret and may appear in the log.
	ID string
	// Kind must have a handler.
	Kind Kind
	// Payload is encoded as JSON. It is stored, so it holds no secret.
	Payload any
	// Expires is when doing the job has no use any more. Required.
	Expires time.Time
}

// A Ticket is its holder's right to handle a job that it has just added, until
// the lease it was born with runs out. The zero Ticket stands for no job.
type Ticket struct{ lease lease }

// lease is a row in this process's hands.
type lease struct {
	rec   storage.Record // as stored; Version is ours
	row   row
	until time.Time
}

// Config is what an Outbox needs.
type Config struct {
	// Store keeps the jobs. Required.
	Store storage.Store
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Logger gets what was dropped and why nothing moves. Default none.
	Logger *slog.Logger
	// Workers is how many jobs are handled at a time. Default 4.
	Workers int
	// Born is how long a new job belongs to its maker. Default 30s.
	Born time.Duration
	// Lease is how long a job belongs to the worker that took it. Default 60s.
	Lease time.Duration
	// Timeout bounds one call of a handler, and is less than Lease. Default 30s.
	Timeout time.Duration
	// Poll is the mean pause between two scans. Default 2s.
	Poll time.Duration
	// Drain bounds how long Run waits for handlers when it is to end. Default 20s.
	Drain time.Duration
}

// queueLen bounds the tickets that wait for a worker of this process. What does
// not fit is found by a scanner when its lease runs out.
const queueLen = 1024

// An Outbox adds and handles jobs. It is safe for concurrent use.
type Outbox struct {
	cfg      Config
	handlers map[Kind]Handler
	queue    chan lease
	running  atomic.Bool
}

// New returns an Outbox whose jobs are handled by handlers. It starts nothing.
func New(cfg Config, handlers map[Kind]Handler) (*Outbox, error) {
	if cfg.Store == nil {
		return nil, errors.New("outbox: no store")
	}
	for kind, h := range handlers {
		if kind == "" || h == nil {
			return nil, fmt.Errorf("outbox: kind %q has no handler or no name", kind)
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 4
	}
	for _, d := range []struct {
		field    *time.Duration
		fallback time.Duration
	}{
		{&cfg.Born, 30 * time.Second},
		{&cfg.Lease, 60 * time.Second},
		{&cfg.Timeout, 30 * time.Second},
		{&cfg.Poll, 2 * time.Second},
		{&cfg.Drain, 20 * time.Second},
	} {
		if *d.field <= 0 {
			*d.field = d.fallback
		}
	}
	if cfg.Timeout >= cfg.Lease {
		return nil, fmt.Errorf("outbox: a handler may run %s, which is not less than the lease of %s", cfg.Timeout, cfg.Lease)
	}
	return &Outbox{
		cfg:      cfg,
		handlers: maps.Clone(handlers),
		queue:    make(chan lease, queueLen),
	}, nil
}

// Add stores a job, leased to the caller for Config.Born. When it returns nil the
// job will be handled, if not by this process then by another. The caller answers
// its request and then passes the ticket to Dispatch, or to Done when it has done
// the job itself. A job that is waiting already is left as it is, and the ticket
// is zero.
//
// An error of the store is returned as it is, wrapped: the job may or may not
// have been added.
func (o *Outbox) Add(ctx context.Context, j Job) (Ticket, error) {
	now := o.cfg.Now()
	if _, ok := o.handlers[j.Kind]; !ok {
		return Ticket{}, fmt.Errorf("outbox: add: no handler for kind %q", j.Kind)
	}
	if !j.Expires.After(now) {
		return Ticket{}, fmt.Errorf("outbox: add %s: already expired", j.Kind)
	}
	payload, err := json.Marshal(j.Payload)
	if err != nil {
		return Ticket{}, fmt.Errorf("outbox: add %s: encode: %w", j.Kind, err)
	}
	l := lease{
		row:   row{V: rowVersion, Kind: j.Kind, Payload: payload, Expires: j.Expires.UnixMilli()},
		until: now.Add(o.cfg.Born),
	}
	if l.rec, err = l.row.record(j.ID, l.until); err != nil {
		return Ticket{}, fmt.Errorf("outbox: add %s: encode: %w", j.Kind, err)
	}
	err = storage.Settle(ctx, o.cfg.Store, l.rec)
	if errors.Is(err, storage.ErrConflict) {
		return Ticket{}, nil
	}
	if err != nil {
		return Ticket{}, fmt.Errorf("outbox: add %s: %w", j.Kind, err)
	}
	return Ticket{l}, nil
}

// Dispatch gives the job to this process's workers. It never blocks: when too
// many are waiting, or Run is not running, the job is handled once its lease has
// run out.
func (o *Outbox) Dispatch(t Ticket) {
	if t.lease.rec.IsZero() {
		return
	}
	select {
	case o.queue <- t.lease:
	default:
	}
}

// Done removes a job that the ticket's holder has done itself.
func (o *Outbox) Done(ctx context.Context, t Ticket) error {
	if t.lease.rec.IsZero() {
		return nil
	}
	if err := o.cfg.Store.Delete(ctx, t.lease.rec.Key); err != nil {
		return fmt.Errorf("outbox: remove %s: %w", t.lease.row.Kind, err)
	}
	return nil
}

// Permanent marks an error of a Handler as one that trying again cannot change:
// the job is dropped at once. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

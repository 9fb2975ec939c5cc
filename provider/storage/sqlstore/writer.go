package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
)

// batchMost bounds a transaction, and with it how long the first of its calls
// waits for the others.
const batchMost = 128

// A writer is the one goroutine that writes, with its connection. Nothing in it
// is shared but calls.
type writer struct {
	now    func() time.Time
	logger *slog.Logger
	calls  chan *call // unbuffered: a call that was not taken has not happened

	db    *sql.DB
	conn  *sql.Conn
	stmts map[string]*sql.Stmt

	// full is whether commits wait for the disk at the moment.
	full bool
	// lost is set when the connection may be inside a transaction that could not
	// be rolled back.
	lost bool
}

// An operation is what one call does inside a transaction. When it returns
// ErrConflict or ErrInvalid, it has written nothing.
type operation func(tx *transaction) (int64, error)

// A transaction is what an operation works with.
type transaction struct {
	w   *writer
	now int64 // Unix milliseconds, the same for the whole transaction
}

type call struct {
	ctx     context.Context
	durable bool
	op      operation
	answer  chan answer // with room for the one answer: the caller may be gone
}

type answer struct {
	n   int64
	err error
}

func openWriter(ctx context.Context, path string, cfg Config) (*writer, error) {
	db, err := openPool(path, 1, walLimit, "synchronous(normal)")
	if err != nil {
		return nil, fault(ctx, err)
	}
	conn, err := openConn(ctx, db, cfg)
	if err != nil {
		return nil, errors.Join(fault(ctx, err), db.Close())
	}
	return &writer{
		now:    cfg.Now,
		logger: cfg.Logger,
		calls:  make(chan *call),
		db:     db,
		conn:   conn,
		stmts:  map[string]*sql.Stmt{},
	}, nil
}

func (w *writer) close() error {
	var errs []error
	for _, s := range w.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, w.conn.Close(), w.db.Close())...)
}

// run serves calls until closing is closed, and what is waiting then.
func (w *writer) run(closing <-chan struct{}) {
	// The timer runs only while there may be garbage that nobody has looked at, so
	// that an idle store is idle.
	sweep := time.NewTimer(sweepEvery)
	defer sweep.Stop()
	armed := true
	for {
		select {
		case c := <-w.calls:
			w.commit(w.collect(c))
			if !armed {
				sweep.Reset(sweepEvery)
				armed = true
			}
		case <-sweep.C:
			more := w.sweep()
			if armed = more; more {
				sweep.Reset(sweepPause)
			}
		case <-closing:
			select {
			case c := <-w.calls:
				w.commit(w.collect(c))
			default:
				return
			}
		}
	}
}

// collect returns first and whatever else is waiting.
func (w *writer) collect(first *call) []*call {
	batch := []*call{first}
	for len(batch) < batchMost {
		select {
		case c := <-w.calls:
			batch = append(batch, c)
		default:
			return batch
		}
	}
	return batch
}

// commit runs the calls in one transaction and answers them when it is committed.
func (w *writer) commit(batch []*call) {
	answers := make([]answer, len(batch))
	err := w.attempt(batch, answers, w.bare)
	if errors.Is(err, errBroken) && len(batch) > 1 {
		// One of them failed, which is rare, and nothing has happened. Savepoints
		// are a third of the work, so they are made only to find out which.
		err = w.attempt(batch, answers, w.guarded)
	}
	for i, c := range batch {
		if err != nil {
			answers[i] = answer{err: err}
		}
		c.answer <- answers[i]
	}
	if err != nil {
		w.logger.Error("write to store failed", "err", err, "calls", len(batch))
	}
}

// attempt runs the calls in one transaction, each by apply, and commits it. An
// error is the answer to all of them.
func (w *writer) attempt(batch []*call, answers []answer, apply func(*transaction, operation) (int64, error)) error {
	durable := slices.ContainsFunc(batch, func(c *call) bool { return c.durable })
	return w.transact(durable, func(tx *transaction) error {
		for i, c := range batch {
			if c.ctx.Err() != nil { // nobody waits for it any more
				answers[i] = answer{err: ended(c.ctx)}
				continue
			}
			n, err := apply(tx, c.op)
			if errors.Is(err, errBroken) {
				return err
			}
			answers[i] = answer{n, err}
		}
		return nil
	})
}

// errBroken says that the transaction cannot go on.
var errBroken = errors.New("transaction broken")

// bare runs op in the open. Its failure breaks the transaction.
func (w *writer) bare(tx *transaction, op operation) (int64, error) {
	n, err := op(tx)
	if err != nil && !refusal(err) {
		return 0, fmt.Errorf("%w: %w", errBroken, err)
	}
	return n, err
}

// guarded runs op behind a savepoint, so that its failure is its own, unless the
// database has ended the transaction with it.
func (w *writer) guarded(tx *transaction, op operation) (int64, error) {
	if err := tx.exec("SAVEPOINT call"); err != nil {
		return 0, fmt.Errorf("%w: %w", errBroken, err)
	}
	n, err := op(tx)
	if err != nil && !refusal(err) {
		if undo := tx.exec("ROLLBACK TO call"); undo != nil {
			return 0, fmt.Errorf("%w: %w", errBroken, err)
		}
		err = fault(context.Background(), err)
	}
	if done := tx.exec("RELEASE call"); done != nil {
		return 0, fmt.Errorf("%w: %w", errBroken, done)
	}
	return n, err
}

// refusal reports whether err is an answer and no failure.
func refusal(err error) bool {
	return errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrInvalid)
}

// transact runs do in a transaction. The error it returns is the fate of all that
// do has done.
func (w *writer) transact(durable bool, do func(tx *transaction) error) (err error) {
	// A caller's ctx must not end a transaction that others share. What bounds it
	// is the busy timeout, and that there is little to do.
	ctx := context.Background()
	if w.lost {
		if err := w.rollback(); err != nil {
			return fault(ctx, err)
		}
	}
	if err := w.sync(durable); err != nil {
		return fault(ctx, err)
	}
	tx := &transaction{w: w}
	// IMMEDIATE takes the lock before anything is read, so that what is read still
	// holds when it is written, whatever other processes do.
	if err := tx.exec("BEGIN IMMEDIATE"); err != nil {
		return fault(ctx, err)
	}
	// Only now: the wait for the lock may have been long.
	tx.now = w.now().UnixMilli()
	if err = do(tx); err == nil {
		err = tx.exec("COMMIT")
	}
	if err == nil {
		return nil
	}
	if undo := w.rollback(); undo != nil {
		w.logger.Error("store transaction could not be rolled back", "err", undo)
	}
	return fault(ctx, err)
}

// rollback ends a transaction, if there still is one: the database ends some of
// those that fail by itself.
func (w *writer) rollback() error {
	w.lost = true
	if _, err := w.conn.ExecContext(context.Background(), "ROLLBACK"); err != nil && !noTransaction(err) {
		return err
	}
	w.lost = false
	return nil
}

// sync sets whether the next commit waits for the disk. It cannot be set inside a
// transaction.
func (w *writer) sync(full bool) error {
	if w.full == full {
		return nil
	}
	pragma := "PRAGMA synchronous=NORMAL"
	if full {
		pragma = "PRAGMA synchronous=FULL"
	}
	if _, err := w.conn.ExecContext(context.Background(), pragma); err != nil {
		return err
	}
	w.full = full
	return nil
}

// stmt returns the prepared form of query.
func (w *writer) stmt(query string) (*sql.Stmt, error) {
	if s := w.stmts[query]; s != nil {
		return s, nil
	}
	s, err := w.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	w.stmts[query] = s
	return s, nil
}

// exec runs a statement. The transaction has no ctx: see transact.
func (tx *transaction) exec(query string, args ...any) error {
	s, err := tx.w.stmt(query)
	if err != nil {
		return err
	}
	_, err = s.Exec(args...)
	return err
}

// row reads at most one row into dest and reports whether there was one.
func (tx *transaction) row(query string, args []any, dest ...any) (bool, error) {
	s, err := tx.w.stmt(query)
	if err != nil {
		return false, err
	}
	err = s.QueryRow(args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

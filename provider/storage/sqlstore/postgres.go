package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lettergate/lettergate/provider/storage"
)

// PostgresConfig says which database the store is in.
type PostgresConfig struct {
	// URL names the server, the user and the database, required; see
	// [CheckPostgresURL].
	URL string

	// Now is the clock that decides what is expired. Default time.Now.
	Now func() time.Time

	// Logger is told what no caller can be: garbage that could not be collected.
	// Default none.
	Logger *slog.Logger
}

// Postgres is a storage.Store in a PostgreSQL database, which any number of
// processes may share: version 13 or newer, tested with 15.
//
// A call ends within about a second, whatever the server does. A write whose
// answer is lost gets ErrUnavailable and is never sent again; where the server
// waits for replicas (synchronous_standby_names), ErrNotDurable too.
type Postgres struct {
	now    func() time.Time
	logger *slog.Logger
	pool   *pgxpool.Pool
	gate   *gate // before pool
	turns  turns // before gate
	schema string
	text   statements

	// replicated is whether commits wait for another server, by what the server
	// said last.
	replicated atomic.Bool
	// wrote is whether this process has written since the last sweep.
	wrote atomic.Bool

	closing chan struct{} // closed by Close
	stopped chan struct{} // closed when the sweeper has ended
	once    sync.Once
}

var _ storage.Store = (*Postgres)(nil)

// statements are the statements of the calls, with the schema in them.
type statements struct {
	get, list, put, remove, add, take, read, clear, ping, sweep string
}

const (
	callPut    = `SELECT {schema}.put($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`
	callRemove = `SELECT {schema}.remove($1, $2, $3)`
	// The clock of a process that is ahead must not take what the others still need,
	// so the server's counts too.
	callSweep = `SELECT {schema}.sweep(least($1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint - $4), $2, $3)`

	// A counter that is over begins again. The sum stays at the end of its range.
	addToCounter = `INSERT INTO {schema}.counters AS c (id, value, expires) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET
			value = CASE
				WHEN c.expires <= $4 THEN excluded.value
				WHEN c.value > 9223372036854775807 - excluded.value THEN 9223372036854775807
				ELSE c.value + excluded.value END,
			expires = CASE WHEN c.expires <= $4 THEN excluded.expires ELSE c.expires END
		RETURNING value`
	takeFromCounter = `UPDATE {schema}.counters SET value = greatest(value + $2, 0) WHERE id = $1 AND expires > $3 RETURNING value`
	readCounter     = `SELECT value FROM {schema}.counters WHERE id = $1 AND expires > $2`
	clearCounter    = `DELETE FROM {schema}.counters WHERE id = $1`

	askServer = `SELECT (SELECT coalesce(max(version), 0) FROM {schema}.migrations),
		current_setting('transaction_read_only') = 'on', ` + isReplicated
)

func statementsIn(schema string) statements {
	return statements{
		get:    in(schema, selectMany),
		list:   in(schema, selectGroup),
		put:    in(schema, callPut),
		remove: in(schema, callRemove),
		add:    in(schema, addToCounter),
		take:   in(schema, takeFromCounter),
		read:   in(schema, readCounter),
		clear:  in(schema, clearCounter),
		ping:   in(schema, askServer),
		sweep:  in(schema, callSweep),
	}
}

// OpenPostgres connects to the database, makes the schema or brings it up to date,
// and starts a goroutine that collects garbage, which Close ends.
//
// It returns ErrUnfit, in words for the operator, when the URL is wrong, the server
// refuses the user, a right is missing, the schema is somebody else's or was made
// by a newer version; and ErrUnavailable when another try may succeed.
func OpenPostgres(ctx context.Context, cfg PostgresConfig) (*Postgres, error) {
	p, err := openPostgres(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL store: %w", err)
	}
	return p, nil
}

func openPostgres(ctx context.Context, cfg PostgresConfig) (*Postgres, error) {
	t, err := parsePostgresURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	p := &Postgres{
		now:     cfg.Now,
		logger:  cfg.Logger,
		schema:  t.schema,
		text:    statementsIn(t.schema),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
	}
	if p.now == nil {
		p.now = time.Now
	}
	if p.logger == nil {
		p.logger = slog.New(slog.DiscardHandler)
	}
	p.tune(t.pool)
	if p.pool, err = pgxpool.NewWithConfig(ctx, t.pool); err != nil {
		return nil, postgresFault(ctx, err)
	}
	if err := p.prepare(ctx); err != nil {
		p.pool.Close()
		return nil, postgresFault(ctx, err)
	}
	go func() {
		defer close(p.stopped)
		p.sweepUntil(p.closing)
	}()
	return p, nil
}

// prepare makes the schema and finds out whether the store can be used. It may wait
// for another process that migrates, but not for a server that has gone silent.
func (p *Postgres) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, prepareLimit)
	defer cancel()
	conn, err := p.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if err := migratePostgres(ctx, conn.Conn(), p.schema, p.now().UnixMilli()); err != nil {
		return err
	}
	if err := checkRights(ctx, conn.Conn(), p.schema); err != nil {
		return err
	}
	return p.ask(ctx, conn.Conn())
}

// ask has the server say whether the store can be used now.
func (p *Postgres) ask(ctx context.Context, conn *pgx.Conn) error {
	var version int
	var readOnly, replicated bool
	if err := conn.QueryRow(ctx, p.text.ping).Scan(&version, &readOnly, &replicated); err != nil {
		return err
	}
	p.replicated.Store(replicated)
	if readOnly {
		return errReadOnly
	}
	return knownSchema(version)
}

// Close lets the calls that are being served end, and closes the connections.
// Calls that come later get ErrUnavailable.
func (p *Postgres) Close() error {
	p.once.Do(func() {
		close(p.closing)
		p.gate.close()
		<-p.stopped
		p.pool.Close()
		p.gate.wait()
	})
	return nil
}

// Put implements [storage.Store].
func (p *Postgres) Put(ctx context.Context, r storage.Record) error {
	if err := r.Check(); err != nil {
		return err
	}
	var prev []byte // nil, which is NULL, for nothing
	if !r.Prev.IsZero() {
		prev = r.Prev[:]
	}
	// The call may outlive this function, so what the caller may change is copied.
	groups := appendGroups(make([]byte, 0), r.Groups)
	value := append(make([]byte, 0, len(r.Value)), r.Value...) // never nil: that would be NULL
	outcome, err := do(ctx, p, func(ctx context.Context, conn *pgx.Conn) (outcome int, err error) {
		err = conn.QueryRow(ctx, p.text.put, string(r.Key.Kind), []byte(r.Key.ID), prev, r.Version[:], r.Sort,
			millis(r.Expires), groups, value, p.now().UnixMilli(), r.Key.Kind.Account()).Scan(&outcome)
		return outcome, p.durable(conn.PgConn(), err)
	})
	if err != nil {
		return err
	}
	p.wrote.Store(true)
	switch outcome {
	case 1:
		return storage.ErrConflict
	case 2:
		return errGroups
	}
	return nil
}

// Delete implements [storage.Store].
func (p *Postgres) Delete(ctx context.Context, key storage.Key) error {
	if err := key.Check(); err != nil {
		return err
	}
	_, err := do(ctx, p, func(ctx context.Context, conn *pgx.Conn) (_ struct{}, err error) {
		if key.Kind == storage.Counter {
			_, err = conn.Exec(ctx, p.text.clear, []byte(key.ID))
		} else {
			_, err = conn.Exec(ctx, p.text.remove, string(key.Kind), []byte(key.ID), key.Kind.Account())
		}
		return struct{}{}, p.durable(conn.PgConn(), err)
	})
	return err
}

// Add implements [storage.Store]. Sums beyond the range of int64 stay at its end.
func (p *Postgres) Add(ctx context.Context, key storage.Key, delta int64, life time.Duration) (int64, error) {
	if err := checkAdd(key, delta, life); err != nil {
		return 0, err
	}
	id, until := []byte(key.ID), time.Now().Add(callLimit)
	done, err := p.turn(ctx, key.ID)
	if err != nil {
		return 0, err
	}
	var began atomic.Bool
	n, err := doUntil(ctx, p, until, func(ctx context.Context, conn *pgx.Conn) (n int64, err error) {
		began.Store(true)
		defer done() // here and not when the caller leaves: the row is locked until now
		now := p.now().UnixMilli()
		var row pgx.Row
		switch {
		case delta > 0:
			row = conn.QueryRow(ctx, p.text.add, id, delta, now+life.Milliseconds(), now)
		case delta < 0:
			row = conn.QueryRow(ctx, p.text.take, id, delta, now)
		default:
			row = conn.QueryRow(ctx, p.text.read, id, now)
		}
		if err = row.Scan(&n); errors.Is(err, pgx.ErrNoRows) { // there is no such counter
			return 0, nil
		}
		return n, err
	})
	if !began.Load() {
		done()
	}
	if err == nil && delta > 0 {
		p.wrote.Store(true)
	}
	return n, err
}

// turn waits until the caller may change the counter. He calls done, once or more
// often, when he has.
func (p *Postgres) turn(ctx context.Context, id string) (done func(), err error) {
	if err := p.usable(ctx); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, acquireLimit)
	defer cancel()
	done, err = p.turns.take(limited, id)
	switch {
	case err == nil:
		return sync.OnceFunc(done), nil
	case ctx.Err() != nil:
		return nil, ended(ctx)
	}
	return nil, fmt.Errorf("%w: too many calls change one counter at a time", storage.ErrUnavailable)
}

// Ping implements [storage.Store]. It reads only, and tells when the server takes
// no writes or the schema was changed by a newer version.
func (p *Postgres) Ping(ctx context.Context) error {
	_, err := do(ctx, p, func(ctx context.Context, conn *pgx.Conn) (struct{}, error) {
		return struct{}{}, p.ask(ctx, conn)
	})
	return err
}

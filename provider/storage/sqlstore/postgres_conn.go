package sqlstore

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lettergate/lettergate/provider/storage"
)

// How long things may take. A call answers within callLimit; the server gives up
// earlier, because a statement that fails leaves a connection that can be used
// again, and one that is abandoned does not.
const (
	callLimit    = 950 * time.Millisecond
	acquireLimit = 500 * time.Millisecond // of it, to get a connection
	pingLimit    = 200 * time.Millisecond // of that, to see whether an idle one is alive
	connectLimit = time.Second            // to make one, beside the calls
	prepareLimit = 30 * time.Second       // to make the schema or bring it up to date
	closeLimit   = time.Second            // to end one that does not answer

	idleLife = 5 * time.Minute // firewalls forget idle connections
	connLife = time.Hour       // at most, so that new servers get their share
)

// setUp is what every connection is told when it is made.
//
// The timeouts are those of the server; a commit is not subject to them. All
// statements walk along indexes by design, so the planner is kept from anything
// else: a plan that was made for an empty table would be used for a full one. In a
// schema that others may write to, a function of theirs could be taken for one of
// the server's, and would run with our rights.
const setUp = `
SET search_path = pg_catalog;
SET statement_timeout = '400ms';
SET lock_timeout = '350ms';
SET idle_in_transaction_session_timeout = '10s';
SET default_transaction_isolation = 'read committed';
SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off;
SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off;
SELECT pg_is_in_recovery(), ` + isReplicated

// isReplicated is whether a commit waits for other servers. The function put turns
// off into on where it matters.
const isReplicated = `current_setting('synchronous_standby_names') <> '' AND current_setting('synchronous_commit') <> 'local'`

var (
	errReadOnly = fmt.Errorf("%w: the server takes no writes", storage.ErrUnavailable)
	// What a standby knows is old, so it is not read either.
	errStandby = fmt.Errorf("%w: the server is a standby; name the primary in the URL, or all servers", storage.ErrUnavailable)
)

// tune prepares cfg for connections of p.
func (p *Postgres) tune(cfg *pgxpool.Config) {
	cfg.MaxConnIdleTime, cfg.MaxConnLifetime, cfg.MaxConnLifetimeJitter = idleLife, connLife, connLife/6
	cfg.PingTimeout = pingLimit

	conn := cfg.ConnConfig
	if conn.ConnectTimeout == 0 {
		conn.ConnectTimeout = connectLimit
	}
	limit := conn.ConnectTimeout
	dial, lookup := conn.DialFunc, conn.LookupFunc
	conn.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c = impatient{c}
		return c, c.SetDeadline(time.Now().Add(limit)) // lifted when it is set up
	}
	conn.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return lookup(ctx, host)
	}
	conn.OnNotice = func(c *pgconn.PgConn, n *pgconn.Notice) {
		if n.Routine == waitForReplicas {
			c.CustomData()[waitForReplicas] = true
		}
	}
	p.gate = &gate{connect: p.connect, most: int(cfg.MaxConns)}
	cfg.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		if err := p.setUp(ctx, c.PgConn()); err != nil {
			return err
		}
		p.gate.made()
		return nil
	}
	cfg.BeforeClose = func(*pgx.Conn) { p.gate.lost() } // only of one that was set up
}

// connect has the pool make a connection, unless one is free just now. What bounds
// it are the limits of each step.
func (p *Postgres) connect() error {
	conn, err := p.pool.Acquire(context.Background())
	if err == nil {
		conn.Release()
	}
	return err
}

// setUp makes a new connection one of ours.
func (p *Postgres) setUp(ctx context.Context, c *pgconn.PgConn) error {
	results, err := c.Exec(ctx, setUp).ReadAll()
	if err != nil {
		return err
	}
	said := results[len(results)-1].Rows[0] // "t" or "f"
	if string(said[0]) == "t" {
		return errStandby
	}
	p.replicated.Store(string(said[1]) == "t")
	return c.Conn().SetDeadline(time.Time{})
}

// An impatient connection never waits longer than closeLimit for a deadline that
// is set for it. pgx allows 15 seconds for the end of a connection that does not
// answer, and the pool counts it among the living ones for as long.
type impatient struct{ net.Conn }

func (c impatient) SetDeadline(t time.Time) error {
	if latest := time.Now().Add(closeLimit); t.After(latest) {
		t = latest
	}
	return c.Conn.SetDeadline(t)
}

// usable reports why a call cannot begin.
func (p *Postgres) usable(ctx context.Context) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	select {
	case <-p.closing:
		return errClosed
	default:
		return nil
	}
}

// do runs f on a connection and returns what it returns, or the error of ctx when
// that ends first.
//
// f gets a ctx of its own. If it got the caller's, pgx would have to close the
// connection whenever a caller leaves early, and strangers who open requests and
// drop them could keep us connecting.
func do[T any](ctx context.Context, p *Postgres, f func(context.Context, *pgx.Conn) (T, error)) (T, error) {
	return doUntil(ctx, p, time.Now().Add(callLimit), f)
}

// doUntil is do for a call that began earlier.
func doUntil[T any](ctx context.Context, p *Postgres, until time.Time, f func(context.Context, *pgx.Conn) (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var none T
	conn, err := p.acquire(ctx)
	if err != nil {
		return none, err
	}
	answers := make(chan answer, 1) // with room: the caller may be gone
	go func() {
		ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), until)
		defer cancel()
		delete(conn.Conn().PgConn().CustomData(), waitForReplicas) // said of an earlier call
		var a answer
		a.value, a.err = f(ctx, conn.Conn())
		if readOnly(a.err) {
			// This was the server to write to, and is so no more. Another may be.
			p.pool.Reset()
		}
		p.release(conn)
		a.err = postgresFault(ctx, a.err)
		answers <- a
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		return none, ended(ctx)
	}
}

// acquire returns a connection of the pool, for release.
func (p *Postgres) acquire(ctx context.Context) (*pgxpool.Conn, error) {
	if err := p.usable(ctx); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, acquireLimit)
	defer cancel()
	err := p.gate.enter(limited)
	if err == nil {
		var conn *pgxpool.Conn
		if conn, err = p.pool.Acquire(limited); err == nil {
			return conn, nil
		}
		p.gate.leave()
	}
	switch {
	case p.usable(ctx) != nil:
		return nil, p.usable(ctx)
	case limited.Err() != nil:
		return nil, fmt.Errorf("%w: no connection within %v: the server does not answer, or all %d connections (max_conns) are busy",
			storage.ErrUnavailable, acquireLimit, p.pool.Stat().MaxConns())
	}
	return nil, postgresFault(ctx, err)
}

func (p *Postgres) release(conn *pgxpool.Conn) {
	conn.Release()
	p.gate.leave()
}

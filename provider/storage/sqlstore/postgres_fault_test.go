//go:build linux || darwin

package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/servertest"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
)

// late is when a call must have answered, with some room for a busy machine.
const late = 1200 * time.Millisecond

// calls makes each call of the contract once, all at the same time, and returns
// their errors by name, and how long the longest took.
func calls(ctx context.Context, s storage.Store, id string) (map[string]error, time.Duration) {
	errs := map[string]error{}
	var took time.Duration
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, call := range map[string]func() error{
		"Get": func() error {
			_, err := s.Get(ctx, storage.Key{Kind: storage.Grant, ID: id}, storage.Key{Kind: storage.User, ID: id})
			return err
		},
		"Put":    func() error { return s.Put(ctx, record(id, "1", "g")) },
		"Delete": func() error { return s.Delete(ctx, storage.Key{Kind: storage.User, ID: id}) },
		"List":   func() error { _, _, err := s.List(ctx, "g", storage.Page{}); return err },
		"Add": func() error {
			_, err := s.Add(ctx, storage.Key{Kind: storage.Counter, ID: id}, 1, time.Hour)
			return err
		},
		"Ping": func() error { return s.Ping(ctx) },
	} {
		wg.Go(func() {
			begin := time.Now()
			err := call()
			mu.Lock()
			defer mu.Unlock()
			errs[name], took = err, max(took, time.Since(begin))
		})
	}
	wg.Wait()
	return errs, took
}

// works waits until every call succeeds.
func works(t *testing.T, s storage.Store) {
	t.Helper()
	n := 0
	eventually(t, "every call succeeds", func() bool {
		n++
		errs, _ := calls(t.Context(), s, fmt.Sprint("works-", t.Name(), time.Now().UnixNano(), n))
		for _, err := range errs {
			if err != nil {
				return false
			}
		}
		return true
	})
}

// fails checks that every call is answered in time, and not as if it were known
// what became of it.
func fails(t *testing.T, s storage.Store, what string) {
	t.Helper()
	errs, took := calls(t.Context(), s, fmt.Sprint("fails-", time.Now().UnixNano()))
	for name, err := range errs {
		if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrUnfit) {
			t.Errorf("%s while %s = %v, want ErrUnavailable", name, what, err)
		}
	}
	if took > late {
		t.Errorf("a call while %s took %v", what, took)
	}
}

// A server that is silent, gone or back again.
func TestPostgresServerFails(t *testing.T) {
	server := servertest.Postgres(t)
	proxy := servertest.NewProxy(t, server.Addr)
	at := server.New(t)
	// The second has so few connections that it notices when dead ones are counted.
	direct, proxied := openPostgres(t, at, nil), openPostgres(t, with(t, through(t, at, proxy.Addr), "max_conns=2"), nil)
	both := []*sqlstore.Postgres{direct, proxied}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range both {
		works(t, s)
	}

	check(server.Pause())
	for range 2 { // the first finds connections that look well, the second none
		fails(t, direct, "the server is stopped")
	}
	check(server.Resume())
	works(t, direct)

	for _, trouble := range []struct {
		name string
		do   func()
	}{{"packets are lost", proxy.Silent}, {"connections are refused", proxy.Refuse}, {"connections are reset", proxy.Reset}} {
		works(t, proxied)
		trouble.do()
		for range 3 {
			fails(t, proxied, trouble.name)
		}
		proxy.Pass()
		works(t, proxied)
	}

	check(server.Kill())
	for range 2 {
		fails(t, direct, "the server is gone")
	}
	check(server.Start())
	for _, s := range both {
		works(t, s)
	}
	check(server.Stop())
	fails(t, direct, "the server is stopped")
	check(server.Start())
	for _, s := range both {
		works(t, s)
	}
	consistent(t, at)
}

// A server that is full of connections, or ends ours.
func TestPostgresConnectionsEnd(t *testing.T) {
	at := shared.get(t).New(t)
	s := openPostgres(t, at, nil)
	works(t, s)
	const drop = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
	name := query(t, at, "SELECT current_database()")[0]
	administer(t, at, "ALTER DATABASE "+name+" CONNECTION LIMIT 0")
	administer(t, at, drop)
	fails(t, s, "no connection is allowed")
	administer(t, at, "ALTER DATABASE "+name+" CONNECTION LIMIT -1")
	works(t, s)
}

// held returns what holds the row of r, as another user of the database might,
// until release.
func held(t *testing.T, at string, r storage.Record) (release func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	tag, err := conn.Exec(t.Context(), "SELECT 1 FROM lettergate.records WHERE kind = $1 AND id = $2 FOR UPDATE", string(r.Key.Kind), []byte(r.Key.ID))
	if err != nil || tag.RowsAffected() != 1 {
		t.Fatalf("lock %d rows: %v", tag.RowsAffected(), err)
	}
	return sync.OnceFunc(func() {
		if err := conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// behind opens a store behind a proxy, which counts its connections.
func behind(t *testing.T, parameters ...string) (s *sqlstore.Postgres, proxy *servertest.Proxy, at string) {
	t.Helper()
	server := shared.get(t)
	at = server.New(t)
	proxy = servertest.NewProxy(t, server.Addr)
	return openPostgres(t, with(t, through(t, at, proxy.Addr), parameters...), nil), proxy, at
}

// Whoever waits for a lock, or for a connection behind those who do, is told in
// time, and no connection is lost by it.
func TestPostgresBusy(t *testing.T) {
	s, proxy, at := behind(t, "max_conns=4")
	r := record("a", "1", "g")
	if err := s.Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	release := held(t, at, r)
	defer release()
	next := record("a", "2", "g")
	next.Prev = r.Version
	for range 2 {
		var wg sync.WaitGroup
		for i := range 24 {
			wg.Go(func() {
				mine := next
				mine.Version = storage.NewVersion()
				begin := time.Now()
				err := s.Put(t.Context(), mine)
				if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrConflict) {
					t.Errorf("Put %d of a locked record = %v, want ErrUnavailable", i, err)
				}
				if took := time.Since(begin); took > late {
					t.Errorf("Put %d of a locked record took %v", i, took)
				}
			})
		}
		wg.Wait()
	}
	if n := proxy.Accepted(); n > 4 {
		t.Errorf("%d connections were made, want 4: those that waited were closed", n)
	}
	release()
	eventually(t, "Put of the record that was locked", func() bool { return s.Put(t.Context(), next) == nil })
}

// A caller who leaves is gone at once, and costs no connection.
func TestPostgresCallerLeaves(t *testing.T) {
	s, proxy, at := behind(t, "max_conns=4")
	r := record("a", "1", "g")
	if err := s.Put(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	release := held(t, at, r)
	defer release()
	leave := func(limit time.Duration, call func(ctx context.Context) error) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		begin := time.Now()
		err := call(ctx)
		took := time.Since(begin)
		if err != nil && (!errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded)) {
			t.Errorf("a call whose caller left = %v", err)
		}
		if took > limit+200*time.Millisecond {
			t.Errorf("a caller with a deadline of %v waited %v", limit, took)
		}
	}
	var wg sync.WaitGroup
	for range 12 { // some have a connection, the others wait for one
		wg.Go(func() {
			leave(30*time.Millisecond, func(ctx context.Context) error {
				next := record("a", "2", "g")
				next.Prev = r.Version
				err := s.Put(ctx, next)
				if err == nil {
					t.Error("Put of a locked record succeeded")
				}
				return err
			})
		})
	}
	wg.Wait()
	release()
	eventually(t, "the record can be read and written", func() bool { return s.Ping(t.Context()) == nil })
	// Then many who leave at any moment of calls that would succeed.
	for range 8 {
		wg.Go(func() {
			for i := range 50 {
				leave(rand.N(2*time.Millisecond), func(ctx context.Context) error {
					_, err := s.Get(ctx, r.Key)
					if i%2 == 0 {
						_, err = s.Add(ctx, storage.Key{Kind: storage.Counter, ID: "c"}, 1, time.Hour)
					}
					return err
				})
			}
		})
	}
	wg.Wait()
	works(t, s)
	if n := proxy.Accepted(); n > 4 {
		t.Errorf("%d connections were made for 400 callers who left, want 4", n)
	}
}

// FT-08: an answer that is lost leaves its caller with ErrUnavailable, and what he
// asked for is done once.
func TestPostgresLostReplies(t *testing.T) {
	s, proxy, at := behind(t)
	for round := range lostRounds {
		id := fmt.Sprintf("round-%d.", round)
		lose(t, proxy, id, "Put", func() error { return s.Put(t.Context(), record(id, "1", "g", "h")) })
		if got, err := s.Get(t.Context(), storage.Key{Kind: storage.Grant, ID: id}); err != nil || got[0].IsZero() {
			t.Fatalf("a Put whose answer was lost was not made: %v", err)
		}

		key := storage.Key{Kind: storage.Counter, ID: id}
		lose(t, proxy, id, "Add", func() error { _, err := s.Add(t.Context(), key, 1, time.Hour); return err })
		lose(t, proxy, id, "Add", func() error { _, err := s.Add(t.Context(), key, 5, time.Hour); return err })
		lose(t, proxy, id, "Add", func() error { _, err := s.Add(t.Context(), key, -2, time.Hour); return err })
		if n, err := s.Add(t.Context(), key, 0, 0); err != nil || n != 4 {
			t.Fatalf("after Adds of 1, 5 and -2 whose answers were lost the counter is %d, %v; want 4", n, err)
		}

		settled := record(id+"s", "1", "g")
		proxy.CutReply(settled.Key.ID, 1)
		if err := storage.Settle(t.Context(), s, settled); err != nil {
			t.Fatalf("Settle of a Put whose answer was lost: %v", err)
		}
		lose(t, proxy, id, "Delete", func() error { return s.Delete(t.Context(), storage.Key{Kind: storage.Grant, ID: id}) })
		if got, err := s.Get(t.Context(), storage.Key{Kind: storage.Grant, ID: id}); err != nil || !got[0].IsZero() {
			t.Fatalf("a Delete whose answer was lost was not made: %v", err)
		}
		// What did not arrive was not done.
		proxy.CutRequest(id, 1)
		if err := s.Put(t.Context(), record(id, "1")); !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrConflict) {
			t.Fatalf("a Put that got lost = %v, want ErrUnavailable", err)
		}
		if got, err := s.Get(t.Context(), storage.Key{Kind: storage.Grant, ID: id}); err != nil || !got[0].IsZero() {
			t.Fatalf("half a Put was made: %v", err)
		}
		raceWithLoss(t, s, proxy, id)
	}
	consistent(t, at)
}

// lose makes a call whose answer is lost.
func lose(t *testing.T, proxy *servertest.Proxy, id, name string, call func() error) {
	t.Helper()
	proxy.CutReply(id, 1)
	err := call()
	if proxy.Fired() != 1 {
		t.Fatalf("the answer to %s was not lost (%v)", name, err)
	}
	if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrConflict) || errors.Is(err, storage.ErrUnfit) {
		t.Fatalf("%s whose answer was lost = %v, want ErrUnavailable", name, err)
	}
}

// raceWithLoss has eight callers make one record, of whom one does not hear how it
// ended.
func raceWithLoss(t *testing.T, s storage.Store, proxy *servertest.Proxy, id string) {
	t.Helper()
	proxy.CutReply(id, 1)
	records, errs := make([]storage.Record, 8), make([]error, 8)
	var wg sync.WaitGroup
	for i := range records {
		records[i] = record(id, fmt.Sprint(i), "g")
		wg.Go(func() { errs[i] = s.Put(t.Context(), records[i]) })
	}
	wg.Wait()
	got, err := s.Get(t.Context(), records[0].Key)
	if err != nil || got[0].IsZero() {
		t.Fatalf("nobody won: %v", err)
	}
	for i, err := range errs {
		mine := got[0].Version == records[i].Version
		switch {
		case err == nil && !mine:
			t.Fatalf("racer %d was told that he won, and another is stored", i)
		case errors.Is(err, storage.ErrConflict) && mine:
			t.Fatalf("racer %d won and was told that he lost", i)
		case err != nil && !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrUnavailable):
			t.Fatalf("racer %d: %v", i, err)
		}
	}
}

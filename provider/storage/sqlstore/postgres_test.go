//go:build linux || darwin

package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/servertest"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
	"github.com/lettergate/lettergate/provider/storage/storetest"
)

// with returns the URL with more parameters.
func with(t testing.TB, base string, parameters ...string) string {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	for _, p := range parameters {
		name, value, _ := strings.Cut(p, "=")
		query.Set(name, value)
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// through returns the URL with another address, that of a proxy.
func through(t testing.TB, base, address string) string {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = address
	return u.String()
}

// openPostgres opens the store at the URL and closes it at the end of the test.
func openPostgres(t testing.TB, at string, now func() time.Time) *sqlstore.Postgres {
	t.Helper()
	s, err := sqlstore.OpenPostgres(t.Context(), sqlstore.PostgresConfig{URL: at, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// inSchemas returns a function that opens stores in one new database of the shared
// server, each in a schema of its own.
func inSchemas[TB testing.TB](t TB, parameters ...string) func(t TB, now func() time.Time) storage.Store {
	base := with(t, shared.get(t).New(t), parameters...)
	var made atomic.Int64
	return func(t TB, now func() time.Time) storage.Store {
		return openPostgres(t, with(t, base, fmt.Sprintf("schema=s%d", made.Add(1))), now)
	}
}

// query runs sql behind the store's back, with {schema} replaced, and returns the
// first column of its rows as text.
func query(t testing.TB, at, sql string, args ...any) []string {
	t.Helper()
	// Also called at the end of a test, when its context is done.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	parameters := u.Query()
	schema := parameters.Get("schema")
	if schema == "" {
		schema = "lettergate"
	}
	u.RawQuery = "sslmode=disable"
	conn, err := pgx.Connect(ctx, u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, strings.ReplaceAll(sql, "{schema}", schema), args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
		values, err := row.Values()
		if err != nil || len(values) == 0 {
			return "", err
		}
		return fmt.Sprint(values[0]), nil
	})
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return all
}

// consistent checks that each record is in its groups, and nothing else is.
func consistent(t testing.TB, at string) {
	t.Helper()
	const wanted = `SELECT g, r.sort, r.kind, r.id FROM {schema}.records r, {schema}.group_names(r.groups) g`
	const listed = `SELECT name, sort, kind, id FROM {schema}.members`
	for what, sql := range map[string]string{
		"missing in their groups":    wanted + " EXCEPT ALL " + listed,
		"listed, but no such record": listed + " EXCEPT ALL " + wanted,
	} {
		if n := query(t, at, "SELECT count(*) FROM ("+sql+") AS x"); n[0] != "0" {
			t.Errorf("%s rows of members are %s", n[0], what)
		}
	}
}

func TestPostgresContract(t *testing.T) {
	storetest.Run(t, inSchemas[*testing.T](t))
}

// With a server that syncs its disk, as one that is in use does.
func BenchmarkPostgres(b *testing.B) {
	server := servertest.Postgres(b, "fsync = on", "full_page_writes = on")
	for _, commit := range []string{"on", "off"} {
		b.Run("synchronous_commit="+commit, func(b *testing.B) {
			base := with(b, server.New(b), "synchronous_commit="+commit)
			var made atomic.Int64
			storetest.Bench(b, func(b *testing.B, now func() time.Time) storage.Store {
				return openPostgres(b, with(b, base, fmt.Sprintf("schema=s%d", made.Add(1))), now)
			})
		})
	}
}

// Without prepared statements, as behind a pooler that knows none.
func TestPostgresCacheDescribe(t *testing.T) {
	s := inSchemas[*testing.T](t, "default_query_exec_mode=cache_describe")(t, nil)
	for range 3 {
		if err := storage.Probe(t.Context(), s, time.Now()); err != nil {
			t.Error(err)
		}
	}
}

// A database that sorts as people do still lists byte by byte.
func TestPostgresOtherCollation(t *testing.T) {
	at := shared.get(t).New(t, "LOCALE_PROVIDER icu ICU_LOCALE 'cs-CZ'")
	if said := query(t, at, `SELECT concat('a' < 'B', 'c' < 'H', 'ch' > 'h')`); said[0] != "ttt" {
		t.Fatalf("the database does not sort as Czechs do: %s", said)
	}
	s := openPostgres(t, at, nil)
	ids := []string{"h", "ch", "B", "a", "á", "Z", "_", "10", "9", "ab", "a-c", "a\x00", "a b", "Ä", "ß", "\xff"}
	for _, id := range ids {
		if err := s.Put(t.Context(), record(id, "1", "g", id)); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(ids)
	for _, limit := range []int{100, 1, 3} {
		var found []string
		page := storage.Page{Limit: limit}
		for {
			records, next, err := s.List(t.Context(), "g", page)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range records {
				found = append(found, r.Key.ID)
			}
			if page.After = next; next == "" {
				break
			}
		}
		if !slices.Equal(found, ids) {
			t.Errorf("pages of %d: %q, want %q", limit, found, ids)
		}
	}
	// No kind of today would be sorted otherwise by people; one of tomorrow may.
	if got := query(t, at, `SELECT DISTINCT collation_name FROM information_schema.columns
		WHERE table_schema = '{schema}' AND data_type = 'text'`); !slices.Equal(got, []string{"C"}) {
		t.Errorf("the collations of text columns are %q, want C", got)
	}
}

// An administrator who likes another isolation level gets ours.
func TestPostgresIsolation(t *testing.T) {
	server := shared.get(t)
	for _, level := range []string{"serializable", "repeatable read"} {
		t.Run(level, func(t *testing.T) {
			at := server.New(t)
			name := query(t, at, "SELECT current_database()")[0]
			if _, err := server.Query(server.AdminURL, "ALTER DATABASE "+name+" SET default_transaction_isolation = '"+level+"'"); err != nil {
				t.Fatal(err)
			}
			if got := query(t, at, "SHOW transaction_isolation"); got[0] != level {
				t.Fatalf("the level is %q", got)
			}
			race(t, openPostgres(t, at, nil), openPostgres(t, at, nil))
			consistent(t, at)
		})
	}
}

// race has callers of several stores meet at the same records and counters.
func race(t *testing.T, stores ...*sqlstore.Postgres) {
	t.Helper()
	const callers = 16
	counter := storage.Key{Kind: storage.Counter, ID: "c"}
	for round := range raceRounds {
		var won, lost atomic.Int64
		var wg sync.WaitGroup
		for i := range callers {
			s := stores[i%len(stores)]
			wg.Go(func() {
				r := record(fmt.Sprint(round), fmt.Sprint(i), "g", "h")
				r.Sort = int64(i)
				switch err := s.Put(t.Context(), r); {
				case err == nil:
					won.Add(1)
				case errors.Is(err, storage.ErrConflict):
					lost.Add(1)
				default:
					t.Errorf("Put: %v", err)
				}
				if _, err := s.Add(t.Context(), counter, 1, time.Hour); err != nil {
					t.Errorf("Add: %v", err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || lost.Load() != callers-1 {
			t.Fatalf("round %d: %d won and %d lost", round, won.Load(), lost.Load())
		}
	}
	if n, err := stores[0].Add(t.Context(), counter, 0, time.Hour); err != nil || n != callers*raceRounds {
		t.Errorf("counted %d, %v; want %d", n, err, callers*raceRounds)
	}
}

// Counters stay at the ends of their range.
func TestPostgresCounterRange(t *testing.T) {
	s := inSchemas[*testing.T](t)(t, nil)
	const most = 1<<63 - 1
	for _, step := range []struct{ delta, want int64 }{
		{most - 1, most - 1}, {1, most}, {1, most}, {most, most}, {-1, most - 1}, {most, most}, {-most - 1, 0}, {-most - 1, 0}, {most, most}, {-most, 0},
	} {
		if n, err := s.Add(t.Context(), storage.Key{Kind: storage.Counter, ID: "c"}, step.delta, time.Hour); err != nil || n != step.want {
			t.Errorf("Add %d = %d, %v; want %d", step.delta, n, err, step.want)
		}
	}
}

// Close answers whoever is being served, and refuses the rest.
func TestPostgresClose(t *testing.T) {
	at := shared.get(t).New(t)
	s := openPostgres(t, at, nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var acknowledged []storage.Key
	begun := make(chan struct{})
	begin := sync.OnceFunc(func() { close(begun) })
	for w := range 32 {
		wg.Go(func() {
			for i := 0; ; i++ {
				r := record(fmt.Sprint(w, "-", i), "1", "g")
				if err := s.Put(context.Background(), r); err != nil {
					if !errors.Is(err, storage.ErrUnavailable) {
						t.Errorf("Put while closing: %v", err)
					}
					return
				}
				mu.Lock()
				acknowledged = append(acknowledged, r.Key)
				mu.Unlock()
				begin()
			}
		})
	}
	<-begun
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	wg.Wait()
	s = openPostgres(t, at, nil)
	for _, key := range acknowledged {
		if got, err := s.Get(t.Context(), key); err != nil || got[0].IsZero() {
			t.Fatalf("%v was acknowledged and is gone: %v", key, err)
		}
	}
	eventually(t, "the connections of a closed store end", func() bool {
		return query(t, at, "SELECT count(*) <= 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'lettergate'")[0] == "true"
	})
}

//go:build linux || darwin

package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage"
	"github.com/lettergate/lettergate/provider/storage/sqlstore"
)

// administer runs sql as the superuser in the database of the URL.
func administer(t testing.TB, at, sql string) string {
	t.Helper()
	server := shared.get(t)
	admin, err := url.Parse(server.AdminURL)
	if err != nil {
		t.Fatal(err)
	}
	database, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	admin.Path = database.Path
	out, err := server.Query(admin.String(), sql)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// asUser makes a user who may log in and nothing else, and returns the URL with it.
func asUser(t testing.TB, at, name string) string {
	t.Helper()
	const password = "the+password/of%another"
	administer(t, at, "DROP ROLE IF EXISTS "+name+"; CREATE ROLE "+name+" LOGIN PASSWORD '"+password+"'")
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(name, password)
	return u.String()
}

func tryOpen(t testing.TB, at string) error {
	t.Helper()
	s, err := sqlstore.OpenPostgres(t.Context(), sqlstore.PostgresConfig{URL: at})
	if err == nil {
		s.Close()
	}
	return err
}

func TestPostgresOpenRefuses(t *testing.T) {
	const password = "hunter2hunter2"
	made := func(t *testing.T, at string) string {
		if err := tryOpen(t, at); err != nil {
			t.Fatal(err)
		}
		return at
	}
	change := func(sql string) func(t *testing.T, at string) string {
		return func(t *testing.T, at string) string {
			made(t, at)
			query(t, at, sql)
			return at
		}
	}
	for name, c := range map[string]struct {
		prepare func(t *testing.T, at string) string
		says    string
	}{
		"a newer schema":             {change("INSERT INTO {schema}.migrations VALUES (1000, 0)"), "newer Lettergate"},
		"a lost list of migrations":  {change("DROP TABLE {schema}.migrations"), "lost its list of migrations"},
		"an empty list of migration": {change("DELETE FROM {schema}.migrations"), "list of migrations is empty"},
		"a lost table":               {change("DROP TABLE {schema}.members"), "members"},
		"a lost function":            {change("DROP FUNCTION {schema}.put"), "EXECUTE on function put"},
		"somebody else's schema": {func(t *testing.T, at string) string {
			query(t, at, "CREATE SCHEMA music")
			query(t, at, "CREATE TABLE music.songs (title text)")
			return with(t, at, "schema=music")
		}, "something else"},
		"somebody else's migrations": {func(t *testing.T, at string) string {
			query(t, at, "CREATE SCHEMA music")
			query(t, at, "CREATE TABLE music.migrations (name text)")
			return with(t, at, "schema=music")
		}, "version"},
		"a user who may not make a schema": {func(t *testing.T, at string) string {
			return asUser(t, at, "guest1")
		}, `no schema "lettergate", and it could not be made`},
		"a user who may not use the schema": {func(t *testing.T, at string) string {
			return asUser(t, made(t, at), "guest2")
		}, "permission denied for schema lettergate"},
		"a user who may read only": {func(t *testing.T, at string) string {
			guest := asUser(t, made(t, at), "guest3")
			administer(t, at, "GRANT USAGE ON SCHEMA lettergate TO guest3; GRANT SELECT ON ALL TABLES IN SCHEMA lettergate TO guest3")
			return guest
		}, "is not granted INSERT on table records, UPDATE on table records, DELETE on table records, INSERT on table members"},
		"a user without the functions": {func(t *testing.T, at string) string {
			guest := asUser(t, made(t, at), "guest4")
			administer(t, at, `GRANT USAGE ON SCHEMA lettergate TO guest4; GRANT ALL ON ALL TABLES IN SCHEMA lettergate TO guest4;
				REVOKE EXECUTE ON FUNCTION lettergate.put FROM PUBLIC`)
			return guest
		}, "is not granted EXECUTE on function put"},
		"a wrong password": {func(t *testing.T, at string) string {
			u, _ := url.Parse(at)
			u.User = url.UserPassword("lettergate", password)
			return u.String()
		}, "check user and password"},
		"no such database": {func(t *testing.T, at string) string {
			u, _ := url.Parse(at)
			u.Path = "nowhere"
			return u.String()
		}, "create it, or name another"},
		"a server without TLS": {func(t *testing.T, at string) string {
			return with(t, at, "sslmode=verify-full")
		}, "sslmode=disable"},
		"no URL": {func(*testing.T, string) string { return "" }, "postgres://"},
	} {
		t.Run(name, func(t *testing.T) {
			at := c.prepare(t, shared.get(t).New(t))
			err := tryOpen(t, at)
			if !errors.Is(err, storage.ErrUnfit) || errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("OpenPostgres = %v; want ErrUnfit saying %q", err, c.says)
				return
			}
			u, _ := url.Parse(at)
			secret, ok := u.User.Password()
			if ok && strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error shows the password, or has several lines: %q", err)
			}
		})
	}
}

func TestPostgresOpenLater(t *testing.T) {
	server := shared.get(t)
	for name, prepare := range map[string]func(t *testing.T, at string) string{
		"nobody listens": func(t *testing.T, at string) string { return through(t, at, "127.0.0.1:1") },
		"a read-only database": func(t *testing.T, at string) string {
			query(t, at, "ALTER DATABASE "+query(t, at, "SELECT current_database()")[0]+" SET default_transaction_read_only = on")
			return at
		},
		"a schema in a read-only database": func(t *testing.T, at string) string {
			if err := tryOpen(t, at); err != nil {
				t.Fatal(err)
			}
			query(t, at, "ALTER DATABASE "+query(t, at, "SELECT current_database()")[0]+" SET default_transaction_read_only = on")
			return at
		},
		"too many connections": func(t *testing.T, at string) string {
			administer(t, at, "ALTER DATABASE "+query(t, at, "SELECT current_database()")[0]+" CONNECTION LIMIT 0")
			return at
		},
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			err := tryOpen(t, prepare(t, server.New(t)))
			if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrUnfit) {
				t.Errorf("OpenPostgres = %v, want ErrUnavailable", err)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("OpenPostgres took %v", took)
			}
		})
	}
}

// In a database that others share, a function of theirs is never taken for one of the
// server's: it would run with the rights of the store.
func TestPostgresForeignFunctions(t *testing.T) {
	at := shared.get(t).New(t)
	query(t, at, "CREATE TABLE public.traces (name text)")
	for name, arguments := range map[string]string{
		"pg_advisory_xact_lock": "double precision", "pg_is_in_recovery": "", "length": "bytea", "set_config": "text, text, boolean",
		"get_byte": "bytea, integer", "has_table_privilege": "text, text", "current_setting": "text", "clock_timestamp": "",
	} {
		query(t, at, "CREATE FUNCTION public."+name+"("+arguments+") RETURNS boolean LANGUAGE sql AS $$ INSERT INTO public.traces VALUES ('"+name+"') RETURNING true $$")
	}
	query(t, at, "ALTER DATABASE "+query(t, at, "SELECT current_database()")[0]+" SET search_path = public, pg_catalog")
	s := openPostgres(t, at, nil)
	if err := storage.Probe(t.Context(), s, time.Now()); err != nil {
		t.Error(err)
	}
	if traces := query(t, at, "SELECT DISTINCT name FROM public.traces"); len(traces) > 0 {
		t.Errorf("functions of somebody else were called: %q", traces)
	}
}

// An administrator may make the schema, and leave the program the right to use it.
func TestPostgresOpenWithFewRights(t *testing.T) {
	at := shared.get(t).New(t)
	if err := tryOpen(t, at); err != nil {
		t.Fatal(err)
	}
	guest := asUser(t, at, "guest5")
	administer(t, at, `GRANT USAGE ON SCHEMA lettergate TO guest5; GRANT SELECT ON lettergate.migrations TO guest5;
		GRANT SELECT, INSERT, UPDATE, DELETE ON lettergate.records, lettergate.members, lettergate.counters TO guest5`)
	s := openPostgres(t, guest, nil)
	if err := storage.Probe(t.Context(), s, time.Now()); err != nil {
		t.Error(err)
	}
}

// An empty schema that exists is used.
func TestPostgresOpenEmptySchema(t *testing.T) {
	at := shared.get(t).New(t)
	guest := asUser(t, at, "guest6")
	administer(t, at, "CREATE SCHEMA lettergate AUTHORIZATION guest6")
	if err := storage.Probe(t.Context(), openPostgres(t, guest, nil), time.Now()); err != nil {
		t.Error(err)
	}
}

func TestPostgresOpenTogether(t *testing.T) {
	for range 3 {
		at := shared.get(t).New(t)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				s, err := sqlstore.OpenPostgres(t.Context(), sqlstore.PostgresConfig{URL: at})
				if err != nil {
					t.Errorf("OpenPostgres: %v", err)
					return
				}
				if err := errors.Join(s.Ping(t.Context()), s.Close()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := query(t, at, "SELECT count(*) FROM {schema}.migrations"); n[0] != "1" {
			t.Errorf("%s migrations were made, want 1", n[0])
		}
	}
}

func TestPostgresOpenWithDoneContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := sqlstore.OpenPostgres(ctx, sqlstore.PostgresConfig{URL: shared.get(t).New(t)})
	if !errors.Is(err, context.Canceled) || !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("OpenPostgres = %v", err)
	}
}

// Several schemas of one database are several stores.
func TestPostgresSchemasApart(t *testing.T) {
	base := shared.get(t).New(t)
	var stores []*sqlstore.Postgres
	for i := range 2 {
		stores = append(stores, openPostgres(t, with(t, base, fmt.Sprintf("schema=_s%d", i)), nil))
	}
	r := record("a", "1", "g")
	for _, s := range stores {
		if err := s.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := stores[0].Delete(t.Context(), r.Key); err != nil {
		t.Fatal(err)
	}
	if got, err := stores[1].Get(t.Context(), r.Key); err != nil || got[0].IsZero() {
		t.Errorf("a record of another schema was removed: %v", err)
	}
}

// What changes behind an open store is found by Ping and told by the calls.
func TestPostgresPing(t *testing.T) {
	at := shared.get(t).New(t)
	s := openPostgres(t, at, nil)
	name := query(t, at, "SELECT current_database()")[0]
	drop := "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

	query(t, at, "ALTER DATABASE "+name+" SET default_transaction_read_only = on")
	administer(t, at, drop)
	eventually(t, "Ping says that the server takes no writes", func() bool {
		err := s.Ping(t.Context())
		return errors.Is(err, storage.ErrUnavailable) && strings.Contains(err.Error(), "takes no writes")
	})
	if err := s.Put(t.Context(), record("a", "1")); !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrConflict) {
		t.Errorf("Put in a read-only database = %v, want ErrUnavailable", err)
	}
	administer(t, shared.get(t).AdminURL, "ALTER DATABASE "+name+" RESET default_transaction_read_only")
	eventually(t, "writes are taken again", func() bool {
		return s.Ping(t.Context()) == nil && s.Put(t.Context(), record("b", "1")) == nil
	})

	administer(t, at, "ALTER FUNCTION lettergate.put RENAME TO lost")
	if err := s.Put(t.Context(), record("c", "1")); !errors.Is(err, storage.ErrUnfit) {
		t.Errorf("Put without its function = %v, want ErrUnfit", err)
	}
	administer(t, at, "ALTER FUNCTION lettergate.lost RENAME TO put")
	if err := s.Put(t.Context(), record("c", "1")); err != nil {
		t.Errorf("Put with its function again = %v", err)
	}
	query(t, at, "INSERT INTO lettergate.migrations VALUES (1000, 0)")
	if err := s.Ping(t.Context()); !errors.Is(err, storage.ErrUnfit) {
		t.Errorf("Ping of a newer schema = %v, want ErrUnfit", err)
	}
}

// eventually waits for something to become true, at most five seconds.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(5 * time.Second)
	for !is() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not after 5s: %s", what)
		}
	}
}

package servertest_test

import (
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage/servertest"
)

// query runs sql and returns what it prints.
func query(t *testing.T, d *servertest.Database, database, sql string) string {
	t.Helper()
	out, err := d.Query(database, sql)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	d := servertest.Postgres(t, "max_connections = 33", "fsync = on")
	first, second := d.New(t), d.New(t)

	t.Run("databases are apart", func(t *testing.T) {
		query(t, d, first, "CREATE TABLE a (b int); INSERT INTO a VALUES (1), (2)")
		is(t, query(t, d, first, "SELECT b, b+1 FROM a ORDER BY b"), "1|2\n2|3")
		if out, err := d.Query(second, "SELECT * FROM a"); err == nil {
			t.Errorf("the table of another database: %q", out)
		}
	})
	t.Run("conf comes last", func(t *testing.T) {
		is(t, query(t, d, first, "SHOW max_connections"), "33")
		is(t, query(t, d, first, "SHOW fsync"), "on")
		is(t, query(t, d, first, "SHOW full_page_writes"), "off")
	})
	t.Run("the owner is no superuser", func(t *testing.T) {
		is(t, query(t, d, first, "SELECT usesuper FROM pg_user WHERE usename = current_user"), "f")
		is(t, query(t, d, d.AdminURL, "SELECT usesuper FROM pg_user WHERE usename = current_user"), "t")
	})
	t.Run("a password is asked for", func(t *testing.T) {
		wrong, err := url.Parse(first)
		try(t, err)
		wrong.User = url.UserPassword(wrong.User.Username(), "wrong")
		if _, err := d.Query(wrong.String(), "SELECT 1"); err == nil || strings.Contains(err.Error(), "wrong@") {
			t.Errorf("with another password: %v", err)
		}
	})
	t.Run("locales", func(t *testing.T) {
		const sorted = "SELECT string_agg(x, '' ORDER BY x) FROM (VALUES ('a'), ('B'), ('c')) v(x)"
		is(t, query(t, d, first, sorted), "Bac")
		is(t, query(t, d, d.New(t, "LOCALE_PROVIDER icu", "ICU_LOCALE 'en-US'"), sorted), "aBc")
	})
	t.Run("behind a proxy", func(t *testing.T) { testProxyBeforePostgres(t, d) })
	t.Run("errors are those of the server and hold no secret", func(t *testing.T) {
		_, err := d.Query(first, "SELECT nothing")
		u, _ := url.Parse(first)
		password, _ := u.User.Password()
		if err == nil || !strings.Contains(err.Error(), `column "nothing" does not exist`) || strings.Contains(err.Error(), password) {
			t.Errorf("a query that is wrong: %v", err)
		}
		if !strings.Contains(d.Log(), `column "nothing" does not exist`) || strings.Contains(d.Log(), password) {
			t.Error("the log does not name the error, or it holds the password")
		}
	})
}

func TestPostgresStopsAndStarts(t *testing.T) {
	t.Parallel()
	d := servertest.Postgres(t)
	database := d.New(t)
	query(t, d, database, "CREATE TABLE a (b int)")
	addr := d.Addr

	for _, end := range []func() error{d.Stop, d.Kill} {
		session := busy(t, d, database)
		try(t, end())
		select {
		case err := <-session:
			if err == nil {
				t.Error("a session has ended well")
			}
		case <-time.After(bound):
			t.Error("a session has outlived the server")
		}
		if !refused(addr) {
			t.Fatal("somebody listens on the port of a server that has ended")
		}
		try(t, d.Start())
		query(t, d, database, "INSERT INTO a VALUES (1)")
	}
	is(t, query(t, d, database, "SELECT count(*) FROM a"), "2")
	if d.Start() == nil {
		t.Error("a server that runs was started")
	}

	conn, young := dialPostgres(t, d), dialPostgres(t, d)
	send(t, conn, speaksTLS)
	expect(t, conn, "N") // from a process of its own
	try(t, d.Pause())
	send(t, conn, startup)
	expectNothing(t, conn)
	send(t, young, speaksTLS)
	expectNothing(t, young)
	try(t, d.Resume())
	expect(t, conn, "R")
	expect(t, young, "N")

	try(t, d.Pause(), d.Stop(), d.Stop())
	if d.Pause() == nil || d.Resume() == nil {
		t.Error("a server that does not run was paused")
	}
}

// busy starts a session that computes for long, and returns its end. A process
// of Postgres that waits would notice that its parent is dead, this one not.
func busy(t *testing.T, d *servertest.Database, database string) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		_, err := d.Query(database, "SET statement_timeout = '20s'; DO 'BEGIN LOOP END LOOP; END'")
		ended <- err
	}()
	eventually(t, "the session has begun", func() bool {
		return query(t, d, d.AdminURL, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%LOOP%' AND pid <> pg_backend_pid()") == "1"
	})
	return ended
}

// What a client of Postgres begins with: the question whether the server speaks
// TLS, which it answers with a letter, and who it is.
const (
	speaksTLS = "\x00\x00\x00\x08\x04\xd2\x16\x2f"
	startup   = "\x00\x00\x00\x17\x00\x03\x00\x00user\x00postgres\x00\x00"
)

func dialPostgres(t *testing.T, d *servertest.Database) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", d.Addr, bound)
	try(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestPostgresCloses(t *testing.T) {
	t.Parallel()
	dir := shared(t)
	d, err := servertest.StartPostgres(dir)
	try(t, err)
	_, err = d.Create()
	try(t, err)
	try(t, d.Kill(), d.Close(), d.Close())
	empty(t, dir)
	if d.Start() == nil {
		t.Error("a server that was closed was started")
	}
	_, err = servertest.StartPostgres(dir, "no_such_setting = on")
	if err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("with a setting that does not exist: %v", err)
	}
	empty(t, dir)
	if _, err := d.Query("nonsense", "SELECT 1"); err == nil {
		t.Error("a database that is no URL was queried")
	}
}

// shared is a folder that other users may pass through, as those of t.TempDir
// are not: Postgres runs as another user when the test runs as root.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "servertest-test-")
	try(t, err, os.Chmod(dir, 0o711))
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

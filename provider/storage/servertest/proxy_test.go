package servertest_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage/servertest"
)

// through is a Redis behind a proxy, and a connection that has been used.
func through(t *testing.T) (*servertest.Server, *servertest.Proxy, net.Conn) {
	t.Helper()
	s := servertest.Redis(t)
	p := servertest.NewProxy(t, s.Addr)
	conn := dial(t, p)
	ask(t, conn, "PING", "+PONG\r\n")
	return s, p, conn
}

func dial(t *testing.T, p *servertest.Proxy) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", p.Addr, bound)
	try(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// ask sends one command in a line and checks the answer.
func ask(t *testing.T, conn net.Conn, command, want string) {
	t.Helper()
	send(t, conn, command+"\r\n")
	expect(t, conn, want)
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// expectEnd checks that the connection has been closed without another byte.
func expectEnd(t *testing.T, conn net.Conn) error {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(bound))
	b := make([]byte, 100)
	n, err := conn.Read(b)
	if n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %q, %v; want the end", b[:n], err)
	}
	return err
}

func TestProxyPasses(t *testing.T) {
	t.Parallel()
	_, p, conn := through(t)
	const size = 1 << 20 // many reads
	value := strings.Repeat("x", size)
	send(t, conn, fmt.Sprintf("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n%s\r\n", size, value))
	expect(t, conn, "+OK\r\n")
	ask(t, conn, "GET k", fmt.Sprintf("$%d\r\n%s\r\n", size, value))
	is(t, p.Accepted(), 1)
	send(t, conn, "QUIT\r\n")
	expect(t, conn, "+OK\r\n")
	is(t, expectEnd(t, conn), io.EOF)
}

func TestProxyRefuses(t *testing.T) {
	t.Parallel()
	_, p, conn := through(t)
	p.Refuse()
	expectEnd(t, conn)
	expectEnd(t, dial(t, p))
	is(t, p.Accepted(), 2)
	p.Pass()
	ask(t, dial(t, p), "PING", "+PONG\r\n")
}

func TestProxyResets(t *testing.T) {
	t.Parallel()
	_, p, conn := through(t)
	p.Reset()
	for _, c := range []net.Conn{conn, dialAny(t, p)} {
		if c == nil {
			continue // reset before the client knew that it was made
		}
		if err := expectEnd(t, c); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v, want a reset", err)
		}
	}
	p.Pass()
	ask(t, dial(t, p), "PING", "+PONG\r\n")
}

// dialAny is dial, or nil when the connection failed.
func dialAny(t *testing.T, p *servertest.Proxy) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", p.Addr, bound)
	if err != nil {
		return nil
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestProxyIsSilent(t *testing.T) {
	t.Parallel()
	s, p, conn := through(t)
	idle := dial(t, p)
	ask(t, idle, "CLIENT SETNAME idle", "+OK\r\n")
	p.Silent()
	for _, c := range []net.Conn{conn, dial(t, p)} {
		send(t, c, "INCR number\r\n")
		expectNothing(t, c)
	}
	idle.Close() // the server does not hear of it
	if list := do(t, s, "CLIENT", "LIST").(string); !strings.Contains(list, "name=idle") {
		t.Errorf("the server has heard that a client is gone: %s", list)
	}
	p.Pass()
	eventually(t, "the server hears that a client is gone", func() bool {
		return !strings.Contains(do(t, s, "CLIENT", "LIST").(string), "name=idle")
	})
	send(t, conn, "INCR number\r\n") // the start of this conversation is lost
	expectNothing(t, conn)
	ask(t, dial(t, p), "INCR number", ":1\r\n")
}

func TestProxyIsSilentAboutTheServersEnd(t *testing.T) {
	t.Parallel()
	s, p, conn := through(t)
	p.Silent()
	try(t, s.Kill())
	expectNothing(t, conn)
	expectNothing(t, dial(t, p))
	p.Pass()
	expectEnd(t, conn)
}

func TestProxyIsSilentAboutAnswers(t *testing.T) {
	t.Parallel()
	s, p, conn := through(t)
	try(t, s.Pause())
	send(t, conn, "INCR number\r\n")
	expectNothing(t, conn)
	p.Silent()
	try(t, s.Resume())
	eventually(t, "the server has answered", func() bool { return do(t, s, "GET", "number") == "1" })
	expectNothing(t, conn)
	p.Pass()
	expectNothing(t, conn)
}

func TestProxyDelays(t *testing.T) {
	t.Parallel()
	_, p, conn := through(t)
	p.Delay(200 * time.Millisecond)
	begin := time.Now()
	ask(t, conn, "PING", "+PONG\r\n")
	if took := time.Since(begin); took < 200*time.Millisecond {
		t.Errorf("the answer came after %v", took)
	}
	p.Delay(time.Hour)
	send(t, conn, "PING\r\n")
	expectNothing(t, conn)
	p.Pass() // what waits is passed on
	expect(t, conn, "+PONG\r\n")
}

func TestProxyCutsReplies(t *testing.T) {
	t.Parallel()
	s, p, conn := through(t)
	p.CutReply("Incr NUMBER", 2)
	for i := 1; i <= 2; i++ {
		ask(t, conn, "GET other", "$-1\r\n") // another request passes
		send(t, conn, "incr number\r\n")
		is(t, expectEnd(t, conn), io.EOF)
		is(t, p.Fired(), i)
		is(t, do(t, s, "GET", "number"), fmt.Sprint(i)) // it was done, once
		conn = dial(t, p)
	}
	ask(t, conn, "INCR number", ":3\r\n") // that was all
	is(t, p.Fired(), 2)
	p.CutReply("incr", 1)
	is(t, p.Fired(), 0)
	ask(t, conn, "GET number", "$1\r\n3\r\n") // not the request that was before
	p.Pass()
	ask(t, conn, "INCR number", ":4\r\n")
}

func TestProxyCutsTheReplyToARequestInParts(t *testing.T) {
	t.Parallel()
	s, p, conn := through(t)
	for _, part := range []string{"IN", "CR num", "ber"} {
		p.CutReply("incr number", 1)
		send(t, conn, part)
		expectNothing(t, conn) // each part is read by itself
	}
	send(t, conn, "\r\n")
	is(t, expectEnd(t, conn), io.EOF)
	is(t, do(t, s, "GET", "number"), "1")
	is(t, p.Fired(), 1)
}

// The server takes its time: the connection ends when it has answered.
func TestProxyCutsNoSoonerThanTheServerAnswers(t *testing.T) {
	t.Parallel()
	s, p, conn := through(t)
	try(t, s.Pause())
	p.CutReply("incr", 2)
	for range 2 { // one connection is cut once
		send(t, conn, "INCR number\r\n")
		expectNothing(t, conn)
	}
	is(t, p.Fired(), 0)
	try(t, s.Resume())
	expectEnd(t, conn)
	is(t, do(t, s, "GET", "number"), "2")
	is(t, p.Fired(), 1)
	conn = dial(t, p)
	send(t, conn, "INCR number\r\n")
	expectEnd(t, conn)
	is(t, p.Fired(), 2)
}

func TestProxyCutsRequests(t *testing.T) {
	t.Parallel()
	s, p, conn := through(t)
	p.CutRequest("number", 1)
	send(t, conn, "INCR number\r\n")
	is(t, expectEnd(t, conn), io.EOF)
	is(t, p.Fired(), 1)
	is(t, do(t, s, "GET", "number"), nil)
	ask(t, dial(t, p), "INCR number", ":1\r\n")
}

// testProxyBeforePostgres cuts what it says. Postgres sends rows before it
// commits: the connection ends after that.
func testProxyBeforePostgres(t *testing.T, d *servertest.Database) {
	p := servertest.NewProxy(t, d.Addr)
	database := d.New(t)
	behind := strings.Replace(database, d.Addr, p.Addr, 1)
	query(t, d, behind, "CREATE TABLE a (b text)")
	p.CutReply("insert", 1)
	// The rows are more than the server's buffer holds, and the sleep is
	// between them and the commit.
	const sql = `CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END';
		CREATE CONSTRAINT TRIGGER late AFTER INSERT ON a DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()`
	query(t, d, database, sql)
	if out, err := d.Query(behind, "INSERT INTO a VALUES (repeat('x', 100000)) RETURNING b"); err == nil {
		t.Fatalf("the answer came: %d bytes", len(out))
	}
	is(t, p.Fired(), 1)
	is(t, query(t, d, database, "SELECT count(*) FROM a"), "1")

	p.CutRequest("insert", 1)
	if _, err := d.Query(behind, "INSERT INTO a VALUES ('y')"); err == nil {
		t.Fatal("half a request was answered")
	}
	is(t, query(t, d, database, "SELECT count(*) FROM a"), "1")
}

func TestProxyWithoutATarget(t *testing.T) {
	t.Parallel()
	s, p, conn := through(t)
	try(t, s.Kill())
	expectEnd(t, conn)
	expectEnd(t, dial(t, p))
	try(t, s.Start())
	ask(t, dial(t, p), "PING", "+PONG\r\n")
	try(t, p.Close(), p.Close())
	if !refused(p.Addr) {
		t.Error("a proxy that was closed takes connections")
	}
	p.Pass() // does nothing, and no harm
}

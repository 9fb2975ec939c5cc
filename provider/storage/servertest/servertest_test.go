// Package servertest_test starts each kind of server and does to it all that the
// package offers.
package servertest_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lettergate/lettergate/provider/storage/servertest"
)

// bound is how long a test waits for what should come at once.
const bound = 10 * time.Second

// try fails the test for any error.
func try(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// do sends one command and returns its answer.
func do(t *testing.T, s *servertest.Server, args ...string) any {
	t.Helper()
	answer, err := s.Command(args...)
	if err != nil {
		t.Fatalf("%s: %v", args[0], err)
	}
	return answer
}

// is checks one answer.
func is(t *testing.T, got, want any) {
	t.Helper()
	if got != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// eventually waits for something that nobody announces.
func eventually(t *testing.T, what string, true func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(bound); !true(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not after %v", what, bound)
		}
	}
}

// refused tells whether nobody listens at addr.
func refused(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, bound)
	if err == nil {
		conn.Close()
	}
	return err != nil
}

func TestRedisSpeaks(t *testing.T) {
	t.Parallel()
	s := servertest.Redis(t)
	_, port, err := net.SplitHostPort(s.Addr)
	try(t, err)
	if n, err := strconv.Atoi(port); err != nil || n >= 32768 {
		t.Errorf("port %s is one of those for outgoing connections", port)
	}
	is(t, do(t, s, "SET", "key", "a\r\nb"), "OK")
	is(t, do(t, s, "GET", "key"), "a\r\nb")
	is(t, do(t, s, "GET", "nothing"), nil)
	is(t, do(t, s, "INCR", "number"), int64(1))
	list, _ := do(t, s, "MGET", "key", "nothing", "number").([]any)
	is(t, fmt.Sprint(list), "[a\r\nb <nil> 1]")
	_, err = s.Command("INCR", "key")
	var refusal servertest.RedisError
	if !errors.As(err, &refusal) || !strings.HasPrefix(refusal.Error(), "ERR value is not an integer") {
		t.Fatalf("INCR of a text: %v", err)
	}
	if !strings.Contains(s.Log(), "Ready to accept connections") {
		t.Errorf("the log is %q", s.Log())
	}
}

func TestRedisConnectionKeepsItsState(t *testing.T) {
	t.Parallel()
	s := servertest.Redis(t)
	c, err := s.Dial()
	try(t, err)
	defer c.Close()
	for _, command := range []string{"MULTI", "INCR a", "LPUSH a x", "EXEC"} {
		answer, err := c.Do(strings.Fields(command)...)
		try(t, err)
		if command == "EXEC" {
			list, _ := answer.([]any)
			if len(list) != 2 || list[0] != int64(1) {
				t.Fatalf("EXEC answers %v", answer)
			}
			if _, ok := list[1].(servertest.RedisError); !ok {
				t.Fatalf("the second answer of EXEC is %v", list[1])
			}
		}
	}
}

func TestRedisConfiguration(t *testing.T) {
	t.Parallel()
	s := servertest.Redis(t, "requirepass s3cret", "maxmemory 3mb", "appendonly yes")
	maximum, _ := do(t, s, "CONFIG", "GET", "maxmemory").([]any)
	is(t, fmt.Sprint(maximum), "[maxmemory 3145728]")
	conn, err := net.Dial("tcp", s.Addr)
	try(t, err)
	defer conn.Close()
	fmt.Fprint(conn, "PING\r\n")
	line, err := bufio.NewReader(conn).ReadString('\n')
	try(t, err)
	if !strings.HasPrefix(line, "-NOAUTH") {
		t.Fatalf("without the password: %q", line)
	}
}

func TestRedisThatLetsNobodyIn(t *testing.T) {
	t.Parallel()
	s := servertest.Redis(t, "user default off", "user tester on >word ~* +@all")
	if _, err := s.Command("PING"); err == nil {
		t.Fatal("the default user may sign in")
	}
	c, err := s.Dial()
	try(t, err)
	defer c.Close()
	_, err = c.Do("AUTH", "tester", "word")
	try(t, err)
}

func TestRedisStopsAndStarts(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*servertest.Server) error{
		"Stop": (*servertest.Server).Stop, "Kill": (*servertest.Server).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			s := servertest.Redis(t, "appendonly yes", "appendfsync always")
			do(t, s, "SET", "key", "kept")
			addr := s.Addr
			try(t, end(s))
			if !refused(addr) {
				t.Fatal("somebody listens on the port of a server that has ended")
			}
			try(t, end(s)) // twice is once
			try(t, s.Start())
			is(t, s.Addr, addr)
			is(t, do(t, s, "GET", "key"), "kept")
			if err := s.Start(); err == nil {
				t.Fatal("a server that runs was started")
			}
			try(t, s.Empty())
			is(t, do(t, s, "GET", "key"), nil)
		})
	}
}

func TestRedisKeepsNothingByItself(t *testing.T) {
	t.Parallel()
	s := servertest.Redis(t)
	do(t, s, "SET", "key", "value")
	try(t, s.Stop(), s.Start())
	is(t, do(t, s, "DBSIZE"), int64(0))
}

func TestRedisPauses(t *testing.T) {
	t.Parallel()
	s := servertest.Redis(t)
	conn, err := net.Dial("tcp", s.Addr)
	try(t, err)
	defer conn.Close()
	try(t, s.Pause())
	fmt.Fprint(conn, "PING\r\n")
	expectNothing(t, conn)
	try(t, s.Resume())
	expect(t, conn, "+PONG\r\n")
	try(t, s.Pause(), s.Stop()) // one that is paused can be stopped
	if s.Pause() == nil || s.Resume() == nil {
		t.Error("a server that does not run was paused")
	}
}

// expectNothing checks that nothing comes for a while.
func expectNothing(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(150 * time.Millisecond))
	b := make([]byte, 100)
	if n, err := conn.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %q, %v; want nothing", b[:n], err)
	}
}

// expect checks what comes next.
func expect(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(bound))
	b := make([]byte, len(want))
	if n, err := io.ReadFull(conn, b); err != nil || string(b) != want {
		t.Fatalf("read %q, %v; want %q", b[:n], err, want)
	}
}

func TestRedisTLS(t *testing.T) {
	t.Parallel()
	s, caFile := servertest.RedisTLS(t, "requirepass s3cret")
	is(t, do(t, s, "PING"), "PONG")
	for host, want := range map[string]error{"127.0.0.1": nil, "localhost": nil} {
		is(t, handshake(t, s.Addr, host, caFile), want)
	}
	if err := handshake(t, s.Addr, "elsewhere.example", caFile); err == nil {
		t.Error("the certificate is for any name")
	}
	if err := handshake(t, s.Addr, "localhost", ""); err == nil {
		t.Error("the certificate is from an authority that everybody trusts")
	}
	if _, err := s.StartReplica(t.TempDir()); err == nil {
		t.Error("a replica of a TLS server was started")
	}
}

func TestRedisReplica(t *testing.T) {
	t.Parallel()
	primary := servertest.Redis(t, "requirepass s3cret", "repl-diskless-sync-delay 1") // it takes its time
	do(t, primary, "SET", "before", "1")
	replica := primary.Replica(t)
	// What it is, its primary's host and port, how far it is, …
	role, _ := do(t, replica, "ROLE").([]any)
	if len(role) < 4 || role[0] != "slave" || role[3] != "connected" {
		t.Errorf("the replica is %v", role)
	}
	is(t, do(t, replica, "GET", "before"), "1")
	c, err := primary.Dial()
	try(t, err)
	defer c.Close()
	copies := func(milliseconds string) any {
		_, err := c.Do("INCR", "number")
		try(t, err)
		n, err := c.Do("WAIT", "1", milliseconds)
		try(t, err)
		return n
	}
	is(t, copies("3000"), int64(1))
	try(t, replica.Pause())
	is(t, copies("100"), int64(0))
	try(t, replica.Resume())
	is(t, copies("3000"), int64(1))
	is(t, do(t, replica, "GET", "number"), "3")
}

func TestRedisCloses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := servertest.StartRedis(dir)
	try(t, err)
	try(t, s.Pause(), s.Close(), s.Close())
	if s.Start() == nil {
		t.Error("a server that was closed was started")
	}
	empty(t, dir)
}

// empty checks that nothing is left of a server.
func empty(t *testing.T, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	try(t, err)
	if len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestStartFailsWithWhatTheServerSaid(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := servertest.StartRedis(dir, "no-such-setting yes")
	if err == nil || !strings.Contains(err.Error(), "no-such-setting") {
		t.Errorf("redis: %v", err)
	}
	empty(t, dir)
}

func TestMissingProgramsAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := servertest.StartRedis("")
	if err == nil || err.Error() != "redis-server is not in PATH; install it, e.g. apt-get install redis-server" {
		t.Errorf("redis: %v", err)
	}
}

// A server's port may be taken while it is stopped, by another Redis even.
func TestStartNoticesThatItsPortIsTaken(t *testing.T) {
	t.Parallel()
	s, other := servertest.Redis(t), servertest.Redis(t)
	try(t, s.Stop())
	l, err := net.Listen("tcp", s.Addr)
	try(t, err)
	defer l.Close()
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", other.Addr)
			if err != nil {
				client.Close()
				continue
			}
			go io.Copy(server, client)
			go func() {
				io.Copy(client, server)
				client.Close()
				server.Close()
			}()
		}
	}()
	if err := s.Start(); err == nil || !strings.Contains(err.Error(), "port of the server was taken") {
		t.Fatalf("started: %v", err)
	}
	try(t, l.Close())
	try(t, s.Start())
	is(t, do(t, s, "PING"), "PONG")
}

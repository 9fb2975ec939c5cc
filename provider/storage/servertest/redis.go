package servertest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A Server is one redis-server. Its methods are for concurrent use.
type Server struct {
	// Addr is its address, 127.0.0.1 and a port. It stays the same when the
	// server is started again.
	Addr string

	dir      string // redis.conf, log and what outlives Empty
	program  string
	password string      // of requirepass
	tls      *tls.Config // nil without TLS

	mu      sync.Mutex // held while the server starts or ends
	process *process
	closed  bool
}

// Redis starts a redis-server that ends with the test. It saves nothing to disk;
// conf are lines of redis.conf that change this or another setting, such as
// "maxmemory 3mb" or "appendonly yes". Their requirepass is known to the methods
// of Server.
func Redis(t testing.TB, conf ...string) *Server {
	t.Helper()
	s, err := StartRedis("", conf...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { report(t, s.Close()) })
	return s
}

// report fails the test for what went wrong at its end.
func report(t testing.TB, err error) {
	if err != nil {
		t.Error(err)
	}
}

// StartRedis is Redis where there is no test to end the server: who calls it
// calls Close. The server's folder is made in dir, or in the system's for
// temporary files when dir is "".
func StartRedis(dir string, conf ...string) (*Server, error) {
	return startRedis(dir, func(s *Server, port int) ([]string, error) {
		return append([]string{"port " + strconv.Itoa(port)}, conf...), nil
	})
}

// startRedis starts a server with the configuration that lines returns for a
// port, which is another one each time that somebody else was faster.
func startRedis(dir string, lines func(s *Server, port int) ([]string, error)) (*Server, error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errors.New("redis-server is not in PATH; install it, e.g. apt-get install redis-server")
	}
	s := &Server{program: program}
	if s.dir, err = folder(dir, "redis"); err != nil {
		return nil, err
	}
	for range portTries {
		var port int
		var conf []string
		if port, err = freePort(); err != nil {
			break
		}
		s.Addr = address(port)
		if conf, err = lines(s, port); err != nil {
			break
		}
		if err = s.configure(conf); err != nil {
			break
		}
		if err = s.Start(); !errors.Is(err, errPortTaken) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// configure writes redis.conf. In that file the last line about a setting wins.
func (s *Server) configure(conf []string) error {
	lines := []string{
		"bind 127.0.0.1",
		"protected-mode no",
		"daemonize no",
		"dir " + strconv.Quote(s.data()),
		`save ""`,
		"appendonly no",
		"repl-diskless-sync-delay 0", // or a replica waits five seconds for others
	}
	for _, line := range conf {
		fields := strings.Fields(line)
		if len(fields) == 2 && strings.EqualFold(fields[0], "requirepass") {
			s.password = strings.Trim(fields[1], `"'`)
		}
	}
	text := strings.Join(append(lines, conf...), "\n") + "\n"
	if err := os.WriteFile(s.file("redis.conf"), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write redis.conf: %w", err)
	}
	return nil
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }
func (s *Server) data() string            { return s.file("data") }

// Start starts the server again on the same port, with what it has saved to
// disk, and returns when it answers. It fails when the server runs.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.start()
}

func (s *Server) start() error {
	switch {
	case s.closed:
		return errors.New("redis-server was closed and cannot be started again")
	case s.process.running():
		return errors.New("redis-server already runs")
	}
	if err := os.MkdirAll(s.data(), 0o700); err != nil {
		return fmt.Errorf("make a folder for the data: %w", err)
	}
	os.Remove(s.file("log")) // that of the run before
	p, err := run(exec.Command(s.program, s.file("redis.conf")), s.file("log"))
	if err != nil {
		return err
	}
	if err := p.await(s.file("log"), func() bool { return s.answers(p.cmd.Process.Pid) }); err != nil {
		return err
	}
	s.process = p
	return nil
}

// answers tells whether the server is ready, and is process pid and not another
// server that took its port. One that lets nobody in is taken as it is.
func (s *Server) answers(pid int) bool {
	c, err := s.Dial()
	if err != nil {
		return false
	}
	defer c.Close()
	var refused RedisError
	switch pong, err := c.Do("PING"); {
	case errors.As(err, &refused):
		return strings.HasPrefix(string(refused), "NO") // NOAUTH, NOPERM; not LOADING
	case err != nil || pong != "PONG":
		return false
	}
	switch info, err := c.Do("INFO", "server"); {
	case errors.As(err, &refused):
		return true
	case err != nil:
		return false
	default:
		text, _ := info.(string)
		return strings.Contains(text, "\nprocess_id:"+strconv.Itoa(pid)+"\r\n")
	}
}

// Stop ends the server as an administrator does (SIGTERM), after ten seconds
// with SIGKILL and an error. A server that does not run is left as it is.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process.end(endGently)
}

// Kill ends the server at once (SIGKILL). A server that does not run is left as
// it is.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.process.kill()
}

// Pause stops the server in its tracks (SIGSTOP): connections stay open and can
// be made, and nothing answers until Resume. It works on Unix systems only.
func (s *Server) Pause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.process.running() {
		return errors.New("pause redis-server: it does not run")
	}
	return s.process.each(stopSignal)
}

// Resume ends a Pause.
func (s *Server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.process.running() {
		return errors.New("resume redis-server: it does not run")
	}
	return s.process.each(contSignal)
}

// Empty kills the server and starts it again without what it has saved to disk.
// A node of a cluster keeps its place there.
func (s *Server) Empty() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.process.kill(); err != nil {
		return err
	}
	if err := os.RemoveAll(s.data()); err != nil {
		return fmt.Errorf("empty the server: %w", err)
	}
	return s.start()
}

// Close ends the server at once and removes its folder. Further calls do
// nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	err := s.process.kill()
	return errors.Join(err, os.RemoveAll(s.dir))
}

// Log is the end of what the server has said since it was started last.
func (s *Server) Log() string { return tail(s.file("log")) }

// Dial connects to the server, and signs in when conf has a requirepass.
func (s *Server) Dial() (*Conn, error) {
	dialer := &net.Dialer{Timeout: commandPatience}
	var conn net.Conn
	var err error
	if s.tls != nil {
		conn, err = tls.DialWithDialer(dialer, "tcp", s.Addr, s.tls)
	} else {
		conn, err = dialer.Dial("tcp", s.Addr)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to redis: %w", err)
	}
	c := &Conn{conn: conn, in: bufio.NewReader(conn)}
	if s.password == "" {
		return c, nil
	}
	if _, err := c.Do("AUTH", s.password); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Command sends one command on a connection of its own and returns the answer:
// see [Conn.Do].
func (s *Server) Command(args ...string) (any, error) {
	c, err := s.Dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Do(args...)
}

// info is one value of INFO, or of another command that answers name:value
// lines.
func (s *Server) info(name string, command ...string) (string, error) {
	answer, err := s.Command(command...)
	if err != nil {
		return "", err
	}
	text, _ := answer.(string)
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && key == name {
			return value, nil
		}
	}
	return "", fmt.Errorf("redis does not say its %s", name)
}

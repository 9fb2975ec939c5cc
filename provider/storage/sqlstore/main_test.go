//go:build linux || darwin

package sqlstore_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/lettergate/lettergate/provider/storage/servertest"
)

// Some tests need another process, and that is this program again.
const childEnv = "SQLSTORE_TEST_CHILD"

func TestMain(m *testing.M) {
	child, path, _ := strings.Cut(os.Getenv(childEnv), " ")
	var err error
	switch child {
	case "":
		code := m.Run()
		if err := shared.end(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	case "write":
		err = childWrites(path)
	case "fill":
		err = childFills(path)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func command(t *testing.T, child, path string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), childEnv+"="+child+" "+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// shared is the PostgreSQL server of all tests that do not stop theirs. The first
// starts it, and TestMain ends it.
var shared sharedServer

type sharedServer struct {
	mu     sync.Mutex
	server *servertest.Database
	err    error
}

func (s *sharedServer) get(t testing.TB) *servertest.Database {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil && s.err == nil {
		s.server, s.err = servertest.StartPostgres("")
	}
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.server
}

func (s *sharedServer) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return nil
	}
	return s.server.Close()
}

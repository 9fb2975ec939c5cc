package servertest_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/lettergate/lettergate/provider/storage/servertest"
)

// childVariable makes this binary start a server, say its process id and wait:
// the test of what becomes of a server when its test is killed.
const childVariable = "SERVERTEST_CHILD_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		child(dir)
		return
	}
	os.Exit(m.Run())
}

func child(dir string) {
	s, err := servertest.StartRedis(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Addr)
	io.Copy(io.Discard, os.Stdin) // until this process is killed
}

// A server outlives the thread whose goroutine asked for it, which ends here.
func TestServerOutlivesTheThreadThatStartedIt(t *testing.T) {
	t.Parallel()
	var s *servertest.Server
	var err error
	thread := make(chan int, 1)
	var start func()
	start = func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if syscall.Gettid() == os.Getpid() {
			go start() // the first thread never ends; this keeps it busy
			<-t.Context().Done()
			return
		}
		s, err = servertest.StartRedis("")
		thread <- syscall.Gettid()
	}
	go start()
	id := <-thread
	try(t, err)
	defer s.Close()
	eventually(t, "the thread has ended", func() bool {
		_, err := os.Stat("/proc/self/task/" + strconv.Itoa(id))
		return err != nil
	})
	is(t, do(t, s, "PING"), "PONG")
}

// A server dies with the process that started it, however that ends.
func TestServerDiesWithItsTest(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	try(t, err)
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), childVariable+"="+t.TempDir())
	stdin, err := cmd.StdinPipe()
	try(t, err)
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	try(t, err)
	try(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	addr := strings.TrimSpace(line)
	if err != nil || refused(addr) {
		cmd.Process.Kill()
		t.Fatalf("the child's server is not there: %q, %v", line, err)
	}
	try(t, cmd.Process.Signal(syscall.SIGKILL))
	cmd.Wait()
	eventually(t, "the server has ended", func() bool { return refused(addr) })
}

// The shared memory of a Postgres that was killed is given back.
func TestPostgresLeavesNoSharedMemory(t *testing.T) {
	t.Parallel()
	dir := shared(t)
	d, err := servertest.StartPostgres(dir)
	try(t, err)
	names, err := filepath.Glob(filepath.Join(dir, "*/data/postmaster.pid"))
	if err != nil || len(names) != 1 {
		t.Fatalf("the server's lock files: %q, %v", names, err)
	}
	lock, err := os.ReadFile(names[0])
	try(t, err)
	words := strings.Fields(string(lock))
	id := words[len(words)-2]
	held := func() bool {
		table, err := os.ReadFile("/proc/sysvipc/shm")
		try(t, err)
		for line := range strings.Lines(string(table)) {
			if fields := strings.Fields(line); len(fields) > 1 && fields[1] == id { // key id …
				return true
			}
		}
		return false
	}
	is(t, held(), true)
	try(t, d.Kill(), d.Close())
	is(t, held(), false)
}

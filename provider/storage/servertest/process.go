package servertest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	startPatience = 15 * time.Second // for a server to be ready
	endPatience   = 10 * time.Second // for a server to end when it is asked to
	pollInterval  = 5 * time.Millisecond
	logShown      = 4 << 10 // bytes of a server's output in an error
	portTries     = 5
)

// errPortTaken means that somebody else took the port that was free a moment
// before.
var errPortTaken = errors.New("the port of the server was taken by somebody else")

// A process is one run of a server.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// run starts cmd with its output appended to the file log.
func run(cmd *exec.Cmd, log string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the server's log: %w", err)
	}
	defer out.Close()
	// A file and not a pipe: a pipe would keep Wait from returning as long as
	// a child of the server holds its end.
	cmd.Stdout, cmd.Stderr = out, out
	belong(cmd)
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel takes the end of the thread that started the process for
		// the end of its parent (golang.org/issue/27505), so that thread is
		// kept for as long as the process runs.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(cmd.Path), err)
	}
	return p, nil
}

func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// end asks the process to end and kills it when it does not.
func (p *process) end(ask syscall.Signal) error {
	if !p.running() {
		return nil
	}
	if err := p.signal(ask); err != nil {
		return p.kill()
	}
	p.each(contSignal) // one that is paused hears nothing
	select {
	case <-p.done:
		return nil
	case <-time.After(endPatience):
	}
	if err := p.kill(); err != nil {
		return err
	}
	return fmt.Errorf("%s did not end within %v and was killed", filepath.Base(p.cmd.Path), endPatience)
}

// await calls ready until it returns true, and fails when the process ends
// before that or it takes too long.
func (p *process) await(log string, ready func() bool) error {
	name := filepath.Base(p.cmd.Path)
	deadline := time.After(startPatience)
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if ready() {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			text := tail(log)
			if strings.Contains(text, "Address already in use") {
				return errPortTaken
			}
			return fmt.Errorf("%s ended instead of starting (%v); it said:\n%s", name, p.cmd.ProcessState, text)
		case <-deadline:
			p.kill()
			return fmt.Errorf("%s was not ready after %v; it said:\n%s", name, startPatience, tail(log))
		}
	}
}

// until calls ready until it is true, at most patience.
func until(patience time.Duration, what string, ready func() bool) error {
	deadline := time.After(patience)
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-deadline:
			return fmt.Errorf("%s: not after %v", what, patience)
		}
	}
	return nil
}

// tail is the end of what a server has said.
func tail(log string) string {
	text, err := os.ReadFile(log)
	if err != nil {
		return err.Error()
	}
	if len(text) > logShown {
		text = text[len(text)-logShown:]
	}
	return string(text)
}

// freePort finds a port of 127.0.0.1 that nobody listens on. It is below those
// that the system gives to outgoing connections: one of these could take the
// port while the server is stopped, a client's attempt to reach it included.
func freePort() (int, error) {
	const from, to = 15000, 32000
	var err error
	for range 100 {
		port := from + rand.IntN(to-from)
		var l net.Listener
		if l, err = net.Listen("tcp", address(port)); err == nil {
			l.Close()
			return port, nil
		}
	}
	return 0, fmt.Errorf("find a free port on 127.0.0.1: %w", err)
}

func address(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// folder makes a server's folder in dir, or in the system's for temporary files
// when dir is "". Others may pass through it: the server may be another user.
func folder(dir, name string) (string, error) {
	made, err := os.MkdirTemp(dir, "servertest-"+name+"-")
	if err != nil {
		return "", fmt.Errorf("make a folder for the server: %w", err)
	}
	if made, err = filepath.Abs(made); err == nil {
		err = os.Chmod(made, 0o711)
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("make a folder for the server: %w", err), os.RemoveAll(made))
	}
	return made, nil
}

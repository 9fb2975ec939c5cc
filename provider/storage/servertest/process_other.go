//go:build !unix

package servertest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// There are no signals here to pause a server or to ask it to end.
const (
	stopSignal = syscall.Signal(-1)
	contSignal = syscall.Signal(-2)
	endGently  = syscall.SIGKILL
	endFast    = syscall.SIGKILL
	endNow     = syscall.SIGKILL
)

func belong(*exec.Cmd) {}

func (p *process) signal(sig syscall.Signal) error {
	if sig != syscall.SIGKILL {
		return errors.New("a server can be paused on Unix systems only")
	}
	return p.cmd.Process.Kill()
}

func (p *process) each(sig syscall.Signal) error { return p.signal(sig) }

func (p *process) kill() error {
	if !p.running() {
		return nil
	}
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill the server: %w", err)
	}
	<-p.done
	return nil
}

// An account is a user of the system that a server runs as: here always our own.
type account struct{}

func unprivileged() (*account, error) { return nil, nil }

func (a *account) as(cmd *exec.Cmd) *exec.Cmd { return cmd }

func (a *account) give(string) error { return nil }

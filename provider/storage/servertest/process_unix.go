//go:build unix

package servertest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const (
	stopSignal = syscall.SIGSTOP
	contSignal = syscall.SIGCONT
	// endGently lets Redis save what it is told to save; endFast has Postgres
	// end its clients' sessions and write a checkpoint; endNow has it only
	// free what it holds of the system.
	endGently = syscall.SIGTERM
	endFast   = syscall.SIGINT
	endNow    = syscall.SIGQUIT
)

// signal sends sig to the process and its group.
func (p *process) signal(sig syscall.Signal) error {
	err := syscall.Kill(-p.cmd.Process.Pid, sig)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// each sends sig to the process and to its children, and returns when it has had
// its effect. They are not all in its group: every process of Postgres makes one
// of its own.
func (p *process) each(sig syscall.Signal) error {
	if !p.running() {
		return os.ErrProcessDone
	}
	parent := p.cmd.Process.Pid
	if sig == contSignal {
		return errors.Join(p.signal(sig), signalAll(children(parent), sig))
	}
	// The parent first: stopped, it makes no more children. Dead, it would have
	// none that could be found.
	if err := p.signal(stopSignal); err != nil {
		return err
	}
	if err := awaitStates([]int{parent}, "TZX"); err != nil {
		return err
	}
	pids := children(parent)
	if err := signalAll(pids, sig); err != nil {
		return err
	}
	if sig == stopSignal {
		return awaitStates(pids, "TZX")
	}
	if err := p.signal(sig); err != nil {
		return err
	}
	return awaitStates(pids, "ZX")
}

func signalAll(pids []int, sig syscall.Signal) error {
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// awaitStates returns when each process is in one of states, as ps names them (T
// is stopped, Z and X are dead), or is gone. The system may take a moment.
func awaitStates(pids []int, states string) error {
	return until(endPatience, "the server's processes heed a signal", func() bool {
		return !slices.ContainsFunc(pids, func(pid int) bool {
			s := state(pid)
			return s != 0 && !strings.ContainsRune(states, s)
		})
	})
}

// kill ends the process and its children at once, as a power cut does.
func (p *process) kill() error {
	if !p.running() {
		return nil
	}
	if err := p.each(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill the server: %w", err)
	}
	<-p.done
	return nil
}

// An account is a user of the system that a server runs as, nil for our own.
type account struct{ uid, gid uint32 }

// unprivileged is who Postgres runs as: it refuses to run as root.
func unprivileged() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			continue
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			continue
		}
		return &account{uint32(uid), uint32(gid)}, nil
	}
	return nil, errors.New("postgres does not run as root, and this system has no user postgres or nobody to run it as")
}

// as makes cmd run as a.
func (a *account) as(cmd *exec.Cmd) *exec.Cmd {
	if a != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: a.uid, Gid: a.gid}}
	}
	return cmd
}

// give makes path belong to a.
func (a *account) give(path string) error {
	if a == nil {
		return nil
	}
	return os.Chown(path, int(a.uid), int(a.gid))
}

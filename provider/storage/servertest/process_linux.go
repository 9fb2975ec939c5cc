package servertest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// belong gives cmd a process group of its own, so that a Ctrl-C in the terminal
// is for the test, and makes it die with the thread that starts it.
func belong(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
}

// children are the processes whose parent is pid.
func children(pid int) []int {
	var pids []int
	names, _ := filepath.Glob("/proc/[0-9]*") // the pattern is well-formed
	for _, name := range names {
		child, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			continue
		}
		if fields := stat(child); len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			pids = append(pids, child)
		}
	}
	return pids
}

// state is the letter for what a process is doing, or 0 when there is none.
func state(pid int) rune {
	if fields := stat(pid); len(fields) > 0 {
		return rune(fields[0][0])
	}
	return 0
}

// stat is what the system says of a process, from its state and its parent on,
// or nothing when it has gone.
func stat(pid int) []string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	// Before that stands the name of the program, which may hold anything.
	return strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
}

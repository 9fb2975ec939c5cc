//go:build unix && !linux

package servertest

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"strconv"
	"syscall"
)

// belong gives cmd a process group of its own, so that a Ctrl-C in the terminal
// is for the test. These systems have no way to make it die with us.
func belong(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
}

// children are the processes whose parent is pid.
func children(pid int) []int {
	list, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		return nil
	}
	var pids []int
	for lines := bufio.NewScanner(bytes.NewReader(list)); lines.Scan(); {
		var child, parent int
		if _, err := fmt.Sscan(lines.Text(), &child, &parent); err == nil && parent == pid {
			pids = append(pids, child)
		}
	}
	return pids
}

// state is the letter for what a process is doing, or 0 when there is none.
func state(pid int) rune {
	text, err := exec.Command("ps", "-o", "state=", "-p", strconv.Itoa(pid)).Output()
	if text = bytes.TrimSpace(text); err != nil || len(text) == 0 {
		return 0
	}
	return rune(text[0])
}

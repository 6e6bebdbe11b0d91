package session

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// childAttributes puts GoNB in a process group of its own, and ends it when this process dies without a word, as when
// Jupyter kills it: GoNB then stops gopls and the cell itself.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// adoptOrphans makes this process the parent of descendants whose own parent ends: gopls, which GoNB starts in a process
// group of its own and forgets when it ends early, and what cells leave running.
func adoptOrphans() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("becoming the reaper of the kernel's processes: %w", err)
	}
	return nil
}

// endOrphans kills the adopted processes, and those that fall to us by that, until none is left.
func endOrphans() {
	for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); {
		orphans := children()
		for _, pid := range orphans {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if errors.Is(err, syscall.ECHILD) {
				return // none is left
			}
			if err != nil || pid == 0 {
				break
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// children returns the processes whose parent is this one.
func children() []int {
	self := []byte(strconv.Itoa(os.Getpid()))
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	var pids []int
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// proc(5): pid (name) state ppid …, where the name may hold anything.
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if len(fields) < 2 || !bytes.Equal(fields[1], self) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

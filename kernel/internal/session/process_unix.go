//go:build unix

package session

import (
	"io/fs"
	"os"
	"syscall"
)

// signalGroup signals the process and all that it started in its group. That none is left is no error.
func signalGroup(p *os.Process, sig syscall.Signal) { _ = syscall.Kill(-p.Pid, sig) }

func signalProcess(p *os.Process, sig syscall.Signal) { _ = p.Signal(sig) }

func ownedByUser(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Getuid()
}

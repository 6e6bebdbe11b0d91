//go:build unix && !linux

package session

import "syscall"

// childAttributes puts GoNB in a process group of its own. Only Linux can also end it when this process is killed.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// adoptOrphans does nothing: only Linux hands orphans to an ancestor other than init.
func adoptOrphans() error { return nil }

func endOrphans() {}

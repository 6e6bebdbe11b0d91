package session

import "syscall"

// childAttributes puts GoNB in a process group of its own, and ends it when this process dies without a word, as when
// Jupyter kills it: GoNB then stops gopls and the cell itself.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

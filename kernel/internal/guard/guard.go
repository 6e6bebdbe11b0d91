// Package guard leaves nothing behind: it finds and ends the processes that a kernel has started, however the kernel
// itself ends. A guard is a small process between the kernel and a program such as GoNB:
//
//	guard.Run(os.Args[2:])                           // in the guard's own main
//	pipe, err := guard.Under(command, cmd, dir)      // in the kernel, before cmd.Start
//
// On Linux only; elsewhere a program's process group is all that is reached.
package guard

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// Run is the body of the small process between the relay and GoNB that leaves nothing behind. Its arguments are a
// directory and the command that runs GoNB. Orphans below it become its children; when GoNB ends, or the relay, whose
// end of the pipe on descriptor 3 closes however it dies, all that is below it is killed and the directory is removed.
// It returns GoNB's exit status.
func Run(args []string) (status int) {
	if len(args) < 2 {
		fmt.Fprintln(os.Stderr, "advlab: guard is started by the kernel, with a directory and a command")
		return 2
	}
	dir := args[0]
	BecomeSubreaper()
	// SIGINT for the group is meant for GoNB and what is below. It must not be ignored either, which is inherited.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGHUP)

	const pipe = 3
	syscall.CloseOnExec(pipe)
	relayEnded := make(chan struct{})
	go func() {
		var b [1]byte
		for {
			n, err := syscall.Read(pipe, b[:])
			if err == syscall.EINTR {
				continue
			}
			if n <= 0 {
				close(relayEnded)
				return
			}
		}
	}()

	cmd := exec.Command(args[1], args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(os.Stderr, "advlab: starting GoNB: %v\n", err)
		_ = os.RemoveAll(dir)
		return 127
	}
	_ = os.WriteFile(PIDFile(dir), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
	gonbEnded := make(chan error, 1)
	go func() { gonbEnded <- cmd.Wait() }()
	select {
	case <-gonbEnded:
		status = exitStatus(cmd.ProcessState)
	case <-relayEnded:
	case <-end:
	}
	killAll(os.Getpid())
	reapAll()
	for range 100 { // what was killed may still be writing
		if os.RemoveAll(dir) == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return status
}

// Under changes a command that has not been started so that it runs under a guard, which ends when pipe is closed, and
// then removes dir. guard is the command that calls Run with the arguments that follow. The command's extra file is to
// be closed once it has been started.
func Under(guard []string, cmd *exec.Cmd, dir string) (pipe *os.File, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Args = append(append(slices.Clone(guard), dir, cmd.Path), cmd.Args[1:]...)
	cmd.Path = guard[0]
	cmd.ExtraFiles = []*os.File{r}
	return w, nil
}

// PIDFile is where a guard of dir writes the process that it guards.
func PIDFile(dir string) string { return filepath.Join(dir, "gonb.pid") }

func exitStatus(s *os.ProcessState) int {
	if s == nil {
		return 1
	}
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}

// killAll kills what is below pid, again and again: a process may start another one while it is being killed.
func killAll(pid int) {
	for range 500 {
		list := Descendants(pid, nil)
		if len(list) == 0 {
			return
		}
		for _, p := range list {
			_ = syscall.Kill(p.PID, syscall.SIGKILL)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// reapAll waits for the processes that were killed, so that they do not stay as zombies of whoever adopts them. A
// process is gone only when all of its threads are.
func reapAll() {
	for range 500 {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		switch {
		case err == syscall.ECHILD:
			return
		case pid == 0:
			time.Sleep(2 * time.Millisecond)
		}
	}
}

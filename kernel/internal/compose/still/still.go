//go:build linux

// Package still is a file of cells' programs that link cgo: it notices that nothing can move any more, and leaves the
// goroutines' traces in a file beside the program. Go itself ends a program in which all goroutines wait for each
// other, but not one with cgo, as all are that use advlib.
//
//	cp still.go DIR && sed -i 's/^package still/package main/' DIR/still.go # which package compose does
//
// Once a second a thread of its own looks whether the program has used the processor. If it has not for some seconds,
// it looks at all goroutines: nothing can move any more if each of them waits for a channel or a lock, none is in a
// system call or in C, waits for the network or sleeps, and no timer is pending. Timers are known by the thread that
// waits for the next one, in epoll with a time limit.
//
// Package compose copies it into programs, as package main. Its names end in __, so that they are in nobody's way.
package still

import (
	os__ "os"
	runtime__ "runtime"
	strconv__ "strconv"
	strings__ "strings"
	syscall__ "syscall"
	_ "unsafe" // for go:linkname
)

// iscgo__ tells whether the program links cgo.
//
//go:linkname iscgo__ runtime.iscgo
var iscgo__ bool

const (
	pause__    = 1_000_000_000 // nanoseconds between two looks
	idle__     = 3             // looks without use of the processor, before goroutines are looked at
	busy__     = 5_000         // microseconds of processor time between two looks that count as use
	patience__ = 60            // looks at threads, a twentieth of a pause apart
	traces__   = 1 << 20       // bytes of traces; a program with more goroutines is not judged
)

func init() {
	if iscgo__ {
		go watch__()
	}
}

func watch__() {
	self, err := os__.Executable()
	if err != nil {
		return
	}
	runtime__.LockOSThread()
	used, idle := cpu__(), 0
	for {
		rest__(pause__)
		now := cpu__()
		if idle++; now-used > busy__ {
			idle = 0
		}
		used = now
		if idle < idle__ {
			continue
		}
		traces := waiting__()
		if traces != "" {
			rest__(pause__) // looking has woken threads
		}
		if traces != "" && !timers__() && waiting__() == traces {
			if os__.WriteFile(self+".still.new", []byte(traces), 0o600) == nil {
				_ = os__.Rename(self+".still.new", self+".still")
			}
			return
		}
		idle = 0 // the next look is not due before
	}
}

// cpu__ is the processor time, in microseconds, that the program has used.
func cpu__() int64 {
	var u syscall__.Rusage
	if syscall__.Getrusage(syscall__.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return 1_000_000*int64(u.Utime.Sec+u.Stime.Sec) + int64(u.Utime.Usec+u.Stime.Usec)
}

// waiting__ are the traces of all goroutines but this one, if each waits for another.
func waiting__() string {
	buffer := make([]byte, traces__)
	n := runtime__.Stack(buffer, true)
	if n == len(buffer) {
		return ""
	}
	_, others, _ := strings__.Cut(string(buffer[:n]), "\n\n") // the first is this one
	for _, g := range strings__.Split(others, "\n\n") {
		_, state, _ := strings__.Cut(g, "[")
		still := strings__.HasPrefix(state, "IO wait") && strings__.Contains(g, "gonbui.pollReaderPipe(") // GoNB's answers
		for _, s := range []string{"chan receive", "chan send", "select", "sync.", "semacquire", "coroutine"} {
			still = still || strings__.HasPrefix(state, s)
		}
		if !still {
			return ""
		}
	}
	return others
}

// timers__ reports whether a timer may be pending. Each thread must be seen to wait, though not all in the same moment.
// One may be missing in the end: the runtime's monitor, which never waits for timers. It wakes whenever this thread
// does, and on a busy machine it is then ready to run, and so not waiting, at every look.
func timers__() bool {
	const tasks = "/proc/self/task/"
	self := strconv__.Itoa(syscall__.Gettid())
	waits := map[string]bool{self: true}
	for look := range patience__ {
		list, err := os__.ReadDir(tasks)
		if err != nil {
			return true
		}
		missing := 0
		for _, task := range list {
			if task.Name() == self {
				continue
			}
			text, err := os__.ReadFile(tasks + task.Name() + "/syscall")
			words := strings__.Fields(string(text)) // number and arguments, or "running"; see proc_pid_syscall(5)
			if err != nil || len(words) < 5 {
				if !waits[task.Name()] {
					missing++
				}
				continue
			}
			number, _ := strconv__.Atoi(words[0])
			if number == syscall__.SYS_EPOLL_PWAIT && !strings__.HasSuffix(words[4], "ffffffff") { // -1: no limit
				return true
			}
			waits[task.Name()] = true
		}
		if missing == 0 || missing == 1 && look == patience__-1 {
			return false
		}
		rest__(pause__ / 20)
	}
	return true
}

// rest__ waits, in nanoseconds. It is not time.Sleep, which would be a timer.
func rest__(length int64) {
	span := syscall__.NsecToTimespec(length)
	_ = syscall__.Nanosleep(&span, nil)
}

package relay

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// becomeSubreaper makes this process adopt the orphans below it, so that they can be found and ended.
func becomeSubreaper() {
	const prSetChildSubreaper = 36 // linux/prctl.h
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0)
}

// process is one line of the process table.
type process struct {
	pid, parent int
	name        string
	zombie      bool
}

// processes reads the process table.
func processes() []process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var list []process
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		// pid (name) state ppid …; the name may hold anything.
		open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
		if open < 0 || end < open {
			continue
		}
		p := process{pid: pid, name: string(text[open+1 : end])}
		var state string
		if _, err := fmt.Sscan(string(text[end+1:]), &state, &p.parent); err != nil {
			continue
		}
		p.zombie = strings.HasPrefix(state, "Z")
		list = append(list, p)
	}
	return list
}

// descendants lists the living processes below pid, parents first. Those below a process that prune names, and that
// process itself, are left out.
func descendants(pid int, prune func(process) bool) []process {
	children := map[int][]process{}
	for _, p := range processes() {
		children[p.parent] = append(children[p.parent], p)
	}
	var list []process
	var walk func(pid int)
	walk = func(pid int) {
		for _, p := range children[pid] {
			if prune != nil && prune(p) {
				continue
			}
			if !p.zombie {
				list = append(list, p)
			}
			walk(p.pid)
		}
	}
	walk(pid)
	return list
}

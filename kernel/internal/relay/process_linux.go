package relay

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
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
	start       int64 // in the kernel's ticks since boot
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
		fields := strings.Fields(string(text[end+1:])) // from the third on, proc(5)
		if len(fields) < 20 {
			continue
		}
		p.zombie = fields[0] == "Z"
		p.parent, _ = strconv.Atoi(fields[1])
		p.start, _ = strconv.ParseInt(fields[19], 10, 64)
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

// ticks is the time since boot in the unit of process.start, 1/100 s on Linux.
func ticks() int64 {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	seconds, _ := strconv.ParseFloat(first, 64)
	return int64(seconds * 100)
}

// cpuTime is the processor time that a process has used, in ticks, and whether that is known.
func cpuTime(pid int) (used int64, known bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // from the third on, proc(5)
	if len(fields) < 13 {
		return 0, false
	}
	for _, field := range fields[11:13] {
		n, _ := strconv.ParseInt(field, 10, 64)
		used += n
	}
	return used, true
}

// killOrphans kills what is below this process and was started with the variable, NAME=value, in its environment.
func killOrphans(variable string) {
	for range 100 {
		none := true
		for _, p := range descendants(os.Getpid(), nil) {
			environ, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid) + "/environ")
			if err != nil || !bytes.Contains(append([]byte{0}, environ...), []byte("\x00"+variable+"\x00")) {
				continue
			}
			none = false
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
			_, _ = syscall.Wait4(p.pid, nil, syscall.WNOHANG, nil)
		}
		if none {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

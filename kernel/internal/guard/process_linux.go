package guard

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// BecomeSubreaper makes this process adopt the orphans below it, so that they can be found and ended.
func BecomeSubreaper() {
	const prSetChildSubreaper = 36 // linux/prctl.h
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetChildSubreaper, 1, 0)
}

// Processes reads the process table.
func Processes() []Process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var list []Process
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
		p := Process{PID: pid, Name: string(text[open+1 : end])}
		fields := strings.Fields(string(text[end+1:])) // from the third on, proc(5)
		if len(fields) < 20 {
			continue
		}
		p.Zombie = fields[0] == "Z"
		p.Parent, _ = strconv.Atoi(fields[1])
		p.Start, _ = strconv.ParseInt(fields[19], 10, 64)
		list = append(list, p)
	}
	return list
}

// Descendants lists the living processes below pid, parents first. Those below a process that prune names, and that
// process itself, are left out.
func Descendants(pid int, prune func(Process) bool) []Process {
	children := map[int][]Process{}
	for _, p := range Processes() {
		children[p.Parent] = append(children[p.Parent], p)
	}
	var list []Process
	var walk func(pid int)
	walk = func(pid int) {
		for _, p := range children[pid] {
			if prune != nil && prune(p) {
				continue
			}
			if !p.Zombie {
				list = append(list, p)
			}
			walk(p.PID)
		}
	}
	walk(pid)
	return list
}

// Ticks is the time since boot in the unit of Process.Start, 1/100 s on Linux.
func Ticks() int64 {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	seconds, _ := strconv.ParseFloat(first, 64)
	return int64(seconds * 100)
}

// CPUTime is the processor time that a process has used, in ticks, and whether that is known.
func CPUTime(pid int) (used int64, known bool) {
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

// KillOrphans kills what is below this process and was started with the variable, NAME=value, in its environment.
func KillOrphans(variable string) {
	for range 100 {
		none := true
		for _, p := range Descendants(os.Getpid(), nil) {
			environ, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID) + "/environ")
			if err != nil || !bytes.Contains(append([]byte{0}, environ...), []byte("\x00"+variable+"\x00")) {
				continue
			}
			none = false
			_ = syscall.Kill(p.PID, syscall.SIGKILL)
			_, _ = syscall.Wait4(p.PID, nil, syscall.WNOHANG, nil)
		}
		if none {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

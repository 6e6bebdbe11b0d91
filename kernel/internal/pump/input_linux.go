package pump

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A program that reads its standard input waits in the system call read, with the pipe's descriptor: Linux says so in
// proc/PID/task/TID/syscall, to the parent. The pump looks there from time to time, more rarely as time goes on, and
// when a line was begun on stdout that is not ended: most likely it is a question. Only then does the kernel hear of
// it.
const (
	lookFirst = 40 * time.Millisecond  // from the program's start, and from what it last read
	lookMost  = 400 * time.Millisecond // between two looks
	lookLine  = 50 * time.Millisecond  // between two looks for the sake of a line that is not ended
	mostAsked = 4096                   // bytes of a line that is shown as the question
)

// noInput is what a program's output says in place of an answer.
const noInput = "[this cell reads input, and the front end cannot ask for any: it reads an end of file]\n"

// input is the program's standard input.
type input struct {
	from    int    // what GoNB sends; -1: no more
	to      int    // the program's pipe; -1: closed
	pipe    string // as /proc calls it
	program int    // process
	socket  string
	waiting []byte // for room in the pipe
	last    bool   // nothing comes behind waiting

	looked, next time.Time
	pause        time.Duration
	explicit     bool // the program has asked by a display, and GoNB brings the answer
	asked        int  // the connection on which an answer is to come; -1: none
	prompt       []byte
	answer       []byte
}

// openInput makes the program's standard input, whose end for the program is returned.
func (p *pumping) openInput() (*os.File, error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	_ = unix.SetNonblock(ends[1], true)
	program := os.NewFile(uintptr(ends[0]), "stdin")
	pipe, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", ends[0]))
	if err != nil {
		pipe = "" // nothing is known of readers, then
	}
	p.input = &input{from: 0, to: ends[1], pipe: pipe, asked: -1}
	if link := os.Getenv(Variable); link != "" && pipe != "" {
		p.input.socket = filepath.Join(filepath.Dir(link), InputName)
	}
	return program, nil
}

// watch begins to look whether the program reads.
func (in *input) watch(program int) {
	in.program = program
	in.active()
}

// active says that the program has just been given something.
func (in *input) active() {
	in.pause, in.next, in.looked = lookFirst, time.Now().Add(lookFirst), time.Time{}
}

// poll adds what is to be waited for, and says for how long at the most.
func (in *input) poll(from, asked, to *unix.PollFd, timeout int) int {
	if in.from >= 0 && len(in.waiting) == 0 && !in.last {
		*from = unix.PollFd{Fd: int32(in.from), Events: unix.POLLIN}
	}
	if in.asked >= 0 {
		*asked = unix.PollFd{Fd: int32(in.asked), Events: unix.POLLIN}
	}
	if in.to >= 0 && len(in.waiting) > 0 {
		*to = unix.PollFd{Fd: int32(in.to), Events: unix.POLLOUT}
	}
	if !in.looks() {
		return timeout
	}
	wait := max(1, int(time.Until(in.next)/time.Millisecond)+1)
	if timeout < 0 || wait < timeout {
		return wait
	}
	return timeout
}

// looks reports whether readers are looked for.
func (in *input) looks() bool {
	return in.socket != "" && in.to >= 0 && in.asked < 0 && !in.explicit && len(in.waiting) == 0 && !in.last
}

// takeInput passes on what GoNB and the relay have for the program.
func (p *pumping) takeInput(from, asked bool) {
	in := p.input
	if from {
		var buf [16 << 10]byte
		n, err := unix.Read(in.from, buf[:])
		switch {
		case n > 0:
			in.waiting, in.explicit = append(in.waiting, buf[:n]...), false
		case errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN):
		default:
			in.from, in.last = -1, true
		}
	}
	if asked {
		p.takeAnswer()
	}
	for len(in.waiting) > 0 && in.to >= 0 {
		n, err := unix.Write(in.to, in.waiting)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n > 0 {
			in.waiting = in.waiting[n:]
			in.active()
			continue
		}
		if !errors.Is(err, unix.EAGAIN) {
			in.waiting, in.last = nil, true // nobody can read it any more
		}
		break
	}
	if in.last && len(in.waiting) == 0 && in.to >= 0 {
		_ = unix.Close(in.to)
		in.to = -1
	}
}

// takeAnswer reads what the relay answers.
func (p *pumping) takeAnswer() {
	in := p.input
	var buf [4096]byte
	n, err := unix.Read(in.asked, buf[:])
	if n > 0 {
		in.answer = append(in.answer, buf[:n]...)
		return
	}
	if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
		return
	}
	_ = unix.Close(in.asked)
	answer, prompt := in.answer, in.prompt
	in.asked, in.answer, in.prompt = -1, nil, nil
	sign := byte(InputLater) // the relay had none
	if len(answer) > 0 {
		sign = answer[0]
	}
	if sign != InputText && len(prompt) > 0 {
		p.write(p.streams[0], prompt) // a front end has not shown it
	}
	switch sign {
	case InputText:
		in.waiting = append(append(in.waiting, answer[1:]...), '\n')
	case InputEnd:
		in.last = true
	case InputNone:
		if p.streams[0].begun {
			p.write(p.streams[0], []byte("\n"))
		}
		p.write(p.streams[0], []byte(noInput))
		in.last = true
	default:
		in.pause, in.next = lookMost, time.Now().Add(lookMost)
	}
}

// lookForReaders asks for input if the program waits for some. The beginning of a line on stdout, which may be the
// question, is not passed on before it is known.
func (p *pumping) lookForReaders() {
	in, out, now := p.input, p.streams[0], time.Now()
	begun := len(out.waiting) > 0 && now.Sub(out.since) >= lineWait
	out.holds = false
	if !in.looks() {
		return
	}
	if now.Before(in.next) && !(begun && now.Sub(in.looked) >= lookLine) {
		out.holds = begun && in.looked.Before(out.since)
		return
	}
	in.looked = now
	in.pause = min(lookMost, in.pause+in.pause/4)
	in.next = now.Add(in.pause)
	if !in.read() {
		return
	}
	if unread, err := unix.IoctlGetInt(in.to, unix.TIOCINQ); err != nil || unread > 0 {
		return // it has not come to read it yet
	}
	// What was printed before stands above the question; a line that is not ended is the question.
	p.pass(p.streams[1], true)
	out.holds = true
	p.pass(out, false)
	out.holds = false
	if len(out.waiting) <= mostAsked {
		in.prompt, out.waiting = out.waiting, nil
	}
	for deadline := now.Add(readWait); p.unread() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if err := in.ask(); err != nil {
		in.socket = "" // there is no relay
		p.write(out, in.prompt)
		in.prompt = nil
	}
}

// ask tells the relay.
func (in *input) ask() error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err = unix.Connect(fd, &unix.SockaddrUnix{Name: in.socket}); err == nil && len(in.prompt) > 0 {
		_, err = unix.Write(fd, in.prompt)
	}
	if err == nil {
		err = unix.Shutdown(fd, unix.SHUT_WR)
	}
	if err != nil {
		_ = unix.Close(fd)
		return err
	}
	_ = unix.SetNonblock(fd, true)
	in.asked = fd
	return nil
}

// read reports whether the program, or one that it has started, waits for what comes through the pipe.
func (in *input) read() bool {
	var seen int
	return in.readBy(in.program, &seen)
}

const mostProcesses = 64 // that are looked at

func (in *input) readBy(pid int, seen *int) bool {
	if *seen++; *seen > mostProcesses {
		return false
	}
	dir := "/proc/" + strconv.Itoa(pid)
	threads := names(dir + "/task")
	for _, thread := range threads {
		text := content(dir + "/task/" + thread + "/syscall")
		number, rest, _ := strings.Cut(text, " ")
		if n, err := strconv.Atoi(number); err != nil || n != unix.SYS_READ && n != unix.SYS_READV {
			continue
		}
		argument, _, _ := strings.Cut(rest, " ")
		fd, err := strconv.ParseInt(strings.TrimPrefix(argument, "0x"), 16, 32)
		if err != nil {
			continue
		}
		if link, err := os.Readlink(dir + "/fd/" + strconv.FormatInt(fd, 10)); err == nil && link == in.pipe {
			return true
		}
	}
	for _, thread := range threads {
		for _, child := range strings.Fields(content(dir + "/task/" + thread + "/children")) {
			if n, err := strconv.Atoi(child); err == nil && in.readBy(n, seen) {
				return true
			}
		}
	}
	return false
}

// names lists a folder; empty where it is gone.
func names(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	list, _ := f.Readdirnames(-1)
	return list
}

// content is the beginning of a file of /proc; empty where it is gone, or not for this process to see.
func content(file string) string {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	var buf [1024]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil || n < 0 {
		return ""
	}
	return string(buf[:n])
}

package pump

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"github.com/janpfeifer/gonb/gonbui/protocol"
	"golang.org/x/sys/unix"
)

const (
	packet     = 4096                   // bytes that a pipe passes on as one: PIPE_BUF of Linux
	lineWait   = 10 * time.Millisecond  // for the rest of a line
	runeWait   = time.Second            // for the rest of a character
	afterEnd   = time.Second            // for what is still printed by what the program leaves behind
	readWait   = 200 * time.Millisecond // until GoNB has read what was printed before a display
	mostFaults = 20                     // after that, displays are given up
	syncWait   = 10 * time.Second       // until GoNB has shown a display; it may be busy
)

// Supported says whether programs can be run by pumps.
const Supported = true

// Run runs a command as GoNB's child and returns the status with which to exit: the command's.
func Run(argv []string) (status int) {
	if len(argv) == 0 {
		fmt.Fprintln(os.Stderr, "advlab: the pump is started by the kernel, with a command")
		return 2
	}
	// The program ends with the pump, which ends with the thread that has started it.
	runtime.LockOSThread()

	p := &pumping{env: programEnv(os.Environ())}
	for i, name := range []string{"stdout", "stderr"} {
		var ends [2]int
		if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
			return pumpFault(err)
		}
		_ = unix.SetNonblock(ends[0], true)
		to := i + 1
		// A packet that is written is read as one, however many wait (pipe(2), O_DIRECT).
		if flags, err := unix.FcntlInt(uintptr(to), unix.F_GETFL, 0); err == nil {
			_, _ = unix.FcntlInt(uintptr(to), unix.F_SETFL, flags|unix.O_DIRECT)
		}
		p.streams[i] = &pumped{from: ends[0], to: to, program: os.NewFile(uintptr(ends[1]), name)}
	}
	stdin, err := p.openInput()
	if err != nil {
		return pumpFault(err)
	}
	if err := p.openDisplays(); err != nil {
		return pumpFault(err)
	}
	defer p.closeDisplays()

	// The kernel sends SIGINT to the program itself.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGQUIT)
	end := make(chan os.Signal, 4)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGHUP)

	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = p.env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, p.streams[0].program, p.streams[1].program
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return pumpFault(err)
	}
	for _, s := range p.streams {
		_ = s.program.Close()
	}
	_ = stdin.Close()
	p.input.watch(cmd.Process.Pid)
	go func() {
		for sig := range end {
			_ = cmd.Process.Signal(sig)
		}
	}()
	var ended [2]int
	if err := unix.Pipe2(ended[:], unix.O_CLOEXEC); err != nil {
		return pumpFault(err)
	}
	waited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(waited)
		_ = unix.Close(ended[1])
	}()
	p.run(ended[0])
	<-waited
	if w, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		p.closeDisplays()
		dieOf(w.Signal())
		return 128 + int(w.Signal())
	}
	return cmd.ProcessState.ExitCode()
}

func pumpFault(err error) int {
	fmt.Fprintf(os.Stderr, "advlab: running the cell: %v\n", err)
	return 127
}

// dieOf ends this process by a signal, so that GoNB sees what the kernel saw.
func dieOf(sig syscall.Signal) {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	var byDefault [4]uint64 // struct sigaction of zeros: SIG_DFL. Go's runtime would report a SIGSEGV.
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&byDefault)), 0, 8, 0, 0)
	_ = unix.Kill(os.Getpid(), sig)
	time.Sleep(time.Second)
}

// pumping is a running pump. All but the way back is done by one goroutine, so that there is one order.
type pumping struct {
	env     []string
	streams [2]*pumped
	input   *input

	// Displays: decoded by a goroutine, which writes a byte to wake for each. shown is nil where the command has none.
	files   []string // named pipes of our own
	shown   chan arrival
	wake    [2]int
	holder  *os.File // the pipe's other end: as long as it is open, the pipe has no end
	encoder *gob.Encoder
	toCell  *os.File
	acks    chan int
	asked   int
	unseen  bool // GoNB has got a display and has not yet said that it has shown it
}

// arrival is a display that the program has sent, or why it is none.
type arrival struct {
	display *protocol.DisplayData
	err     error
}

// pumped is one of the program's streams on its way to GoNB.
type pumped struct {
	from, to int
	program  *os.File // the program's end
	begun    bool     // what was passed on ends within a line
	holds    bool     // the beginning of a line waits for its end, however long that takes
	waiting  []byte
	since    time.Time // when the first byte of an unfinished rest came
	ended    bool
}

// run passes on what the program prints and displays until it has ended, which closes the descriptor ended, and GoNB
// has all of it.
func (p *pumping) run(ended int) {
	deadline := time.Time{}
	for {
		fds := []unix.PollFd{{Fd: -1}, {Fd: -1}, {Fd: -1}, {Fd: -1}, {Fd: -1}, {Fd: -1}, {Fd: -1}}
		timeout := -1
		for i, s := range p.streams {
			if !s.ended {
				fds[i] = unix.PollFd{Fd: int32(s.from), Events: unix.POLLIN}
			}
			if len(s.waiting) > 0 {
				timeout = int(lineWait / time.Millisecond)
			}
		}
		if p.shown != nil {
			fds[2] = unix.PollFd{Fd: int32(p.wake[0]), Events: unix.POLLIN}
		}
		if deadline.IsZero() {
			fds[3] = unix.PollFd{Fd: int32(ended), Events: unix.POLLIN}
			timeout = p.input.poll(&fds[4], &fds[5], &fds[6], timeout)
		} else {
			late := time.Since(deadline)
			if (p.streams[0].ended && p.streams[1].ended || late > 0) && (p.shown == nil || late > syncWait) {
				break
			}
			timeout = int(lineWait / time.Millisecond)
		}
		if _, err := unix.Poll(fds, timeout); err != nil && !errors.Is(err, unix.EINTR) {
			break
		}
		if fds[3].Revents != 0 {
			deadline = time.Now().Add(afterEnd)
			if p.holder != nil {
				_ = p.holder.Close()
			}
		}
		if fds[2].Revents != 0 {
			p.takeDisplay()
		}
		if deadline.IsZero() {
			if fds[4].Revents != 0 || fds[5].Revents != 0 || fds[6].Revents != 0 {
				p.takeInput(fds[4].Revents != 0, fds[5].Revents != 0)
			}
			p.lookForReaders()
		} else {
			p.streams[0].holds = false
		}
		for _, s := range p.streams {
			p.pass(s, false)
		}
	}
	for _, s := range p.streams {
		p.pass(s, true)
	}
	if !(p.streams[0].ended && p.streams[1].ended) {
		p.write(p.streams[0], []byte("[programs that the cell has left go on; what they print from now on is not shown]\n"))
	}
	p.sync()
}

// pass passes on what a stream holds; all: also what may be the beginning of a line or a character.
func (p *pumping) pass(s *pumped, all bool) {
	var buf [64 << 10]byte
	for round := 0; round < 16 && !s.ended; round++ { // the other stream and displays have their turn, too
		n, err := unix.Read(s.from, buf[:])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case n > 0:
			if len(s.waiting) == 0 {
				s.since = time.Now()
			}
			s.waiting = append(s.waiting, buf[:n]...)
		case errors.Is(err, unix.EAGAIN):
			round = 16
		default:
			s.ended = true
		}
		late := all || s.ended || time.Since(s.since) >= lineWait
		for len(s.waiting) > 0 {
			n := piece(s.waiting, packet)
			// By whole lines where that costs little time: GoNB looks for places in a stack trace, and the beginning of a
			// line on stdout may be a question.
			if n == len(s.waiting) && n < packet {
				n = bytes.LastIndexByte(s.waiting, '\n') + 1
			}
			if n == 0 {
				if !late || s.holds {
					break
				}
				if n = piece(s.waiting, packet); n == 0 {
					if !all && !s.ended && time.Since(s.since) < runeWait {
						break
					}
					n = len(s.waiting)
				}
			}
			p.write(s, s.waiting[:n])
			s.waiting = s.waiting[n:]
			s.since = time.Now()
		}
		if len(s.waiting) == 0 {
			s.waiting = nil
		}
	}
}

// write gives GoNB one piece. Where GoNB is gone, so will this process be.
func (p *pumping) write(s *pumped, text []byte) {
	p.sync()
	if len(text) > 0 {
		s.begun = text[len(text)-1] != '\n'
	}
	for len(text) > 0 {
		n, err := unix.Write(s.to, text)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return
		}
		text = text[n:]
	}
}

// openDisplays makes named pipes of our own for the command's displays, if GoNB has any for it.
func (p *pumping) openDisplays() error {
	if os.Getenv(protocol.GONB_PIPE_ENV) == "" || os.Getenv(protocol.GONB_PIPE_BACK_ENV) == "" {
		return nil
	}
	for _, registered := range []any{map[string]any{}, []any{}} { // as GoNB does
		gob.Register(registered)
	}
	for _, variable := range []string{protocol.GONB_PIPE_ENV, protocol.GONB_PIPE_BACK_ENV} {
		file := os.Getenv(variable) + CellSuffix
		if err := unix.Mkfifo(file, 0o600); err != nil {
			return fmt.Errorf("a pipe for displays: %w", err)
		}
		p.files = append(p.files, file)
		for i, entry := range p.env {
			if strings.HasPrefix(entry, variable+"=") {
				p.env[i] = variable + "=" + file
			}
		}
	}
	if err := unix.Pipe2(p.wake[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	// Without waiting for the other end, which the program opens or not. The way back is opened for reading as well, which
	// never waits.
	from, err := os.OpenFile(p.files[0], os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	if p.holder, err = os.OpenFile(p.files[0], os.O_WRONLY, 0); err != nil {
		return err
	}
	if p.toCell, err = os.OpenFile(p.files[1], os.O_RDWR|unix.O_NONBLOCK, 0); err != nil {
		return err
	}
	p.shown = make(chan arrival, 16)
	p.acks = make(chan int, 16)
	go func() {
		p.receive(from)
		close(p.shown)
		_ = unix.Close(p.wake[1])
	}()
	return nil
}

func (p *pumping) closeDisplays() {
	for _, file := range p.files {
		_ = os.Remove(file)
	}
}

// receive decodes what the program displays, until nobody can write any more.
func (p *pumping) receive(from io.Reader) {
	decoder := gob.NewDecoder(from)
	for faults := 0; faults < mostFaults; {
		d := &protocol.DisplayData{}
		err := decoder.Decode(d)
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			faults = 0
		} else if faults++; faults > 1 {
			continue // what is left of the one that was at fault; the next one may be sound
		}
		p.shown <- arrival{d, err}
		_, _ = unix.Write(p.wake[1], []byte{0})
	}
	_, _ = io.Copy(io.Discard, from) // the program must not wait
}

// takeDisplay passes on one display, behind what was printed before it.
func (p *pumping) takeDisplay() {
	var b [1]byte
	_, _ = unix.Read(p.wake[0], b[:])
	a, ok := <-p.shown
	switch {
	case !ok:
		p.shown = nil
		return
	case a.err != nil:
		p.complain(a.err)
		return
	}
	if p.encoder == nil {
		if err := p.openGoNB(); err != nil {
			p.complain(err)
			return
		}
	}
	for _, s := range p.streams {
		p.pass(s, true)
	}
	for deadline := time.Now().Add(readWait); p.unread() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond) // also for GoNB to publish what it has read
	}
	if err := p.encoder.Encode(a.display); err != nil {
		p.complain(err)
		return
	}
	if _, asks := a.display.Data[protocol.MIMEJupyterInput]; asks {
		p.input.explicit = true
	}
	_, value := a.display.Data[protocol.MIMECommValue]
	_, subscription := a.display.Data[protocol.MIMECommSubscribe]
	p.unseen = p.unseen || !value && !subscription
}

// unread reports whether something that was printed is still in the pipes to GoNB.
func (p *pumping) unread() bool {
	for _, s := range p.streams {
		if n, err := unix.IoctlGetInt(s.to, unix.TIOCINQ); err == nil && n > 0 {
			return true
		}
	}
	return false
}

func (p *pumping) complain(err error) {
	p.pass(p.streams[1], true)
	p.write(p.streams[1], fmt.Appendf(nil, "[a display was dropped: %v]\n", err))
}

// openGoNB opens GoNB's ends of the displays, and starts what brings its answers back.
func (p *pumping) openGoNB() error {
	to, err := os.OpenFile(os.Getenv(protocol.GONB_PIPE_ENV), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	from, err := os.Open(os.Getenv(protocol.GONB_PIPE_BACK_ENV))
	if err != nil {
		return err
	}
	p.encoder = gob.NewEncoder(to)
	back := make(chan *protocol.CommValue, 1000)
	go func() {
		defer close(back)
		decoder := gob.NewDecoder(from)
		for {
			v := &protocol.CommValue{}
			if err := decoder.Decode(v); err != nil {
				return
			}
			if id, ok := v.Value.(int); ok && v.Address == protocol.GonbuiSyncAckAddress && id < 0 {
				select {
				case p.acks <- id:
				default:
				}
				continue
			}
			select {
			case back <- v:
			default: // the program does not listen; GoNB drops what is too much, too
			}
		}
	}()
	go func() {
		encoder := gob.NewEncoder(p.toCell)
		for v := range back {
			_ = encoder.Encode(v)
		}
	}()
	return nil
}

// sync waits until GoNB has shown the displays that it got.
func (p *pumping) sync() {
	if !p.unseen {
		return
	}
	p.unseen = false
	p.asked--
	id := p.asked // a program counts its own from 0 up
	if err := p.encoder.Encode(&protocol.DisplayData{Data: map[protocol.MIMEType]any{
		protocol.MIMECommValue: &protocol.CommValue{Address: protocol.GonbuiSyncAddress, Value: id}}}); err != nil {
		return
	}
	limit := time.After(syncWait)
	for {
		select {
		case got := <-p.acks:
			if got == id {
				return
			}
		case <-limit:
			return
		}
	}
}

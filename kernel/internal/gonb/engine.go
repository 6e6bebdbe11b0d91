package gonb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"advlab/kernel/internal/guard"
	"advlab/kernel/internal/jupyter"
	"advlab/kernel/internal/pump"
	"advlab/kernel/internal/zmtp"
)

const (
	engineStartLimit = 30 * time.Second
	engineEndLimit   = 2 * time.Second
)

// Config says how GoNB is started.
type Config struct {
	// Start makes the command, not started, that runs GoNB for a connection file. temp is to be its TMPDIR, which is
	// removed with it. GoNB needs -raw_error, or compile errors have no text.
	Start func(connection, temp string) *exec.Cmd
	// Env is added to the command's environment.
	Env []string
	// Guard is the command that calls guard.Run with the arguments that follow; empty: GoNB is started without a guard,
	// and what it has started may outlive a kernel that is killed.
	Guard []string
	// Pump is the program kernel/pump, which runs what cells run; empty: GoNB does so itself, and may cut characters and
	// lose the displays of a program that ends at once.
	Pump string
	// Beat is the time between two questions whether GoNB is alive, and how long each may take; 0: a second.
	Beat time.Duration
}

// Engine is one running GoNB and the sockets towards it.
type Engine struct {
	config  Config
	cmd     *exec.Cmd
	dir     string   // removed with it
	temp    string   // GoNB's TMPDIR, in dir
	pipe    *os.File // its closing ends the guard; kept here, because a collected file closes itself
	session string
	codec   *jupyter.Codec
	started time.Time
	pump    *pumpPaths

	shell, control, stdin, iopub, heartbeat *zmtp.Socket

	published func(*Engine, *jupyter.Message) // called for what GoNB publishes
	asked     func(*jupyter.Message)          // called for its input requests
	reads     func(*Engine, *Read)            // called for programs that wait for input
	inputs    net.Listener                    // by which these are heard of
	first     sync.Once
	heard     chan struct{} // closed when something was published

	comms chan *jupyter.Message // on their way to GoNB

	ready chan struct{} // closed when GoNB answers
	ended chan struct{} // closed when the process has ended
	state string        // how it ended; set before ended is closed

	mu      sync.Mutex
	waiting map[string]chan *jupyter.Message // replies, by the request's id
	hung    string                           // why it was given up; empty: it was not
}

var errEnded = errors.New("GoNB has ended")

// Start starts a GoNB in dir, which is created. It returns before GoNB is ready. published, asked and reads are called
// for what it publishes, for its input requests, and for programs of its that wait for input.
func Start(c Config, dir, kernelID string, published func(*Engine, *jupyter.Message), asked func(*jupyter.Message),
	reads func(*Engine, *Read)) (*Engine, error) {
	temp := filepath.Join(dir, "t")
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return nil, err
	}
	if c.Beat == 0 {
		c.Beat = time.Second
	}
	e := &Engine{config: c, dir: dir, temp: temp, session: jupyter.NewID(), started: time.Now(), published: published, asked: asked,
		reads: reads,
		heard: make(chan struct{}), comms: make(chan *jupyter.Message, mostComms), ready: make(chan struct{}), ended: make(chan struct{}),
		waiting: map[string]chan *jupyter.Message{}}
	conn := jupyter.Connection{Transport: "ipc", IP: filepath.Join(dir, "s"), Shell: 1, IOPub: 2, Stdin: 3, Control: 4, Heartbeat: 5,
		Key: jupyter.NewID(), Scheme: jupyter.Scheme, KernelName: "gonb"}
	e.codec = jupyter.NewCodec(conn.Key)
	// GoNB takes the kernel's id, which its widgets need, from the file's name.
	file := filepath.Join(dir, "kernel-"+kernelID+".json")
	if err := conn.Write(file); err != nil {
		return nil, err
	}

	var err error
	if err = e.dial(conn); err != nil {
		return nil, err
	}
	e.cmd = c.Start(file, temp)
	if e.cmd.Err != nil {
		e.closeSockets()
		return nil, e.cmd.Err
	}
	e.cmd.Env = append(e.cmd.Environ(), c.Env...)
	if pump.Supported && c.Pump != "" {
		env, err := prepareShell(dir, c.Pump)
		if err == nil {
			err = e.listen()
		}
		if err != nil {
			e.closeSockets()
			return nil, err
		}
		e.cmd.Env = append(e.cmd.Env, env...)
	}
	if len(c.Guard) > 0 {
		if e.pipe, err = guard.Under(c.Guard, e.cmd, dir); err != nil {
			e.closeSockets()
			return nil, err
		}
		defer e.cmd.ExtraFiles[0].Close()
	}
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := e.cmd.Start(); err != nil {
		e.closeSockets()
		return nil, err
	}
	if len(c.Guard) == 0 {
		_ = os.WriteFile(guard.PIDFile(dir), []byte(strconv.Itoa(e.cmd.Process.Pid)), 0o600)
	}
	go e.wait()
	go e.passComms()
	go e.receive(e.shell, e.reply)
	go e.receive(e.stdin, func(m *jupyter.Message) { e.asked(m) })
	go e.receive(e.iopub, func(m *jupyter.Message) {
		e.first.Do(func() { close(e.heard) })
		e.published(e, m)
	})
	return e, nil
}

// dial makes the sockets towards GoNB, which connect when it is there.
func (e *Engine) dial(conn jupyter.Connection) (err error) {
	// GoNB answers control requests on its shell socket: one identity finds us on all.
	identity := []byte("relay")
	open := func(kind zmtp.Kind, port int, o zmtp.Options) (s *zmtp.Socket, err error) {
		return zmtp.Dial(kind, conn.Endpoint(port), o)
	}
	if e.shell, err = open(zmtp.Dealer, conn.Shell, zmtp.Options{Identity: identity}); err != nil {
		return err
	}
	e.control, _ = open(zmtp.Dealer, conn.Control, zmtp.Options{Identity: identity})
	e.stdin, _ = open(zmtp.Dealer, conn.Stdin, zmtp.Options{Identity: identity})
	e.iopub, _ = open(zmtp.Sub, conn.IOPub, zmtp.Options{})
	e.heartbeat, _ = open(zmtp.Dealer, conn.Heartbeat, zmtp.Options{})
	return nil
}

func (e *Engine) closeSockets() {
	for _, s := range []*zmtp.Socket{e.shell, e.control, e.stdin, e.iopub, e.heartbeat} {
		if s != nil {
			_ = s.Close()
		}
	}
	if e.inputs != nil {
		_ = e.inputs.Close()
	}
	_ = os.RemoveAll(e.dir)
}

func (e *Engine) wait() {
	_ = e.cmd.Wait()
	e.state = e.cmd.ProcessState.String()
	if n := e.cmd.ProcessState.ExitCode(); e.pipe != nil && n > 128 && n < 160 {
		e.state = "signal: " + syscall.Signal(n-128).String()
	}
	// The guard has ended what is below it, unless it was killed itself.
	_ = syscall.Kill(-e.cmd.Process.Pid, syscall.SIGKILL)
	guard.KillOrphans("TMPDIR=" + e.temp)
	close(e.ended)
	if e.pipe != nil {
		_ = e.pipe.Close()
	}
	e.closeSockets()
}

// Kill ends GoNB and all that is below it.
func (e *Engine) Kill() {
	if e.pipe != nil {
		_ = e.pipe.Close() // the guard's signal
	} else {
		_ = syscall.Kill(-e.cmd.Process.Pid, syscall.SIGKILL)
	}
	select {
	case <-e.ended:
	case <-time.After(engineEndLimit):
		_ = syscall.Kill(-e.cmd.Process.Pid, syscall.SIGKILL)
		<-e.ended
	}
}

// Connect waits until what GoNB publishes arrives here: GoNB answers requests before it knows of our subscription.
func (e *Engine) Connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, engineStartLimit)
	defer cancel()
	for {
		m, err := jupyter.New(e.session, "kernel_info_request", nil, struct{}{})
		if err != nil {
			return err
		}
		if err := e.shell.Send(e.codec.Encode(m)); err != nil {
			return err
		}
		select {
		case <-e.heard:
			close(e.ready)
			go e.watch()
			return nil
		case <-e.ended:
			return fmt.Errorf("%w: %s", errEnded, e.state)
		case <-ctx.Done():
			return fmt.Errorf("GoNB did not answer for %s", engineStartLimit)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (e *Engine) receive(s *zmtp.Socket, handle func(*jupyter.Message)) {
	for {
		parts, err := s.Recv()
		if err != nil {
			return
		}
		if m, err := e.codec.Decode(parts); err == nil {
			handle(m)
		}
	}
}

func (e *Engine) reply(m *jupyter.Message) {
	e.mu.Lock()
	c := e.waiting[m.Parent.ID]
	delete(e.waiting, m.Parent.ID)
	e.mu.Unlock()
	if c != nil {
		c <- m
	}
}

// Send sends a request and returns its id and the channel of its reply.
func (e *Engine) Send(kind string, content any) (id string, reply <-chan *jupyter.Message, err error) {
	m, err := jupyter.New(e.session, kind, nil, content)
	if err != nil {
		return "", nil, err
	}
	c := make(chan *jupyter.Message, 1)
	e.mu.Lock()
	e.waiting[m.Header.ID] = c
	e.mu.Unlock()
	return m.Header.ID, c, e.shell.Send(e.codec.Encode(m))
}

// Ended is closed when the process has ended.
func (e *Engine) Ended() <-chan struct{} { return e.ended }

// Answer passes what the user has typed to the cell that asked.
func (e *Engine) Answer(m *jupyter.Message) error { return e.forward(e.stdin, m) }

// mostComms is the number of comm messages that wait for GoNB at the most.
const mostComms = 1000

// Comm passes a front-end's comm message on, later. It returns false where too many wait: GoNB does not keep up.
func (e *Engine) Comm(m *jupyter.Message) bool {
	select {
	case e.comms <- m:
		return true
	default:
		return false
	}
}

// forward passes a message on, with the front-end's header.
func (e *Engine) forward(s *zmtp.Socket, m *jupyter.Message) error {
	passed := *m
	passed.Identities = nil
	return s.Send(e.codec.Encode(&passed))
}

func (e *Engine) passComms() {
	for {
		select {
		case m := <-e.comms:
			_ = e.forward(e.shell, m)
		case <-e.ended:
			return
		}
	}
}

// pid is GoNB's process; 0 when it is not known yet.
func (e *Engine) pid() int {
	text, err := os.ReadFile(guard.PIDFile(e.dir))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// Environ is the environment that GoNB was started with.
func (e *Engine) Environ() []string { return slices.Clone(e.cmd.Env) }

// Dir is the directory that cells run in, which %cd changes; empty where the system does not tell.
func (e *Engine) Dir() string {
	dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", e.pid()))
	if err != nil {
		return ""
	}
	return dir
}

// Module is the directory of GoNB's module, in which it writes and builds programs.
func (e *Engine) Module() (string, error) {
	files, err := filepath.Glob(filepath.Join(e.temp, "gonb_*", "go.mod"))
	if err != nil || len(files) != 1 {
		return "", fmt.Errorf("%d folders of GoNB's in %s, want 1", len(files), e.temp)
	}
	return filepath.Dir(files[0]), nil
}

// Workers lists what GoNB has started since a time in ticks, without gopls and what is below that: the compiler, the
// cell, their children. What an earlier cell has put in the background is older.
func (e *Engine) Workers(since int64) []guard.Process {
	gonb := e.pid()
	notGopls := func(p guard.Process) bool { return p.Name == "gopls" }
	list := guard.Descendants(e.cmd.Process.Pid, notGopls)
	kept := list[:0]
	for _, p := range list {
		if p.PID != gonb && p.Start >= since {
			kept = append(kept, p)
		}
	}
	return kept
}

// ProgramRuns reports whether a program that a pump has started still runs; without pumps, that is not known, and true.
func (e *Engine) ProgramRuns(since int64) bool {
	if e.pump == nil {
		return true
	}
	gonb := e.pid()
	return slices.ContainsFunc(e.Workers(since), func(p guard.Process) bool { return p.Parent != gonb })
}

// Interrupt signals SIGINT to GoNB and its workers, each process once: one that saves its work at the first must not
// meet a second. GoNB passes its first one on to the program it runs, but not to Go's tools.
func (e *Engine) Interrupt(since int64, signalled map[int]bool) {
	gonb := e.pid()
	first := gonb > 0 && !signalled[gonb]
	workers := e.Workers(since)
	if first {
		signalled[gonb] = true
		_ = syscall.Kill(gonb, syscall.SIGINT)
	}
	for _, p := range workers {
		if signalled[p.PID] {
			continue
		}
		signalled[p.PID] = true
		if first && p.Parent == gonb && p.Name != "go" && p.Name != "goimports" {
			continue
		}
		_ = syscall.Kill(p.PID, syscall.SIGINT)
	}
}

// KillWorkers ends what did not end by itself. It looks until nothing was there twice: one look misses a process whose
// parent ends meanwhile, as that of one that a cell leaves in the background does.
func (e *Engine) KillWorkers(since int64) {
	nothing := 0    // looks in a row
	for range 200 { // at most a second, should something start again and again
		list := e.Workers(since)
		for _, p := range list {
			_ = syscall.Kill(p.PID, syscall.SIGKILL)
		}
		if nothing++; len(list) > 0 {
			nothing = 0
		}
		if nothing == 2 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

package relay

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"advlab/kernel/internal/guard"
	"advlab/kernel/internal/jupyter"
	"advlab/kernel/internal/place"
	"advlab/kernel/internal/zmtp"
)

// kernel is a relay in a process of its own, in front of the real GoNB.
type kernel struct {
	t          *testing.T
	cmd        *exec.Cmd
	connection jupyter.Connection
	temp       string // its TMPDIR
	ended      chan struct{}
	log        *logBuffer
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// prepared finds what the set-up has made.
func prepared(t *testing.T) place.Place {
	t.Helper()
	p, err := place.Here()
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{filepath.Join(p.Tools(), "gonb"), filepath.Join(p.Tools(), "goimports"),
		filepath.Join(p.ModuleDir(), "go.mod")} {
		if _, err := os.Stat(file); err != nil {
			t.Skipf("%s is missing: `go run ./kernel test` prepares GoNB and runs this test", file)
		}
	}
	return p
}

// kernelCommand is the command line of the test's kernel.
func kernelCommand(t *testing.T, p place.Place, args ...string) (argv, env []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// As in package session: GoNB finds goimports, and no gopls of ours, which it would start and nobody ask.
	bin := t.TempDir()
	if err := os.Symlink(filepath.Join(p.Tools(), "goimports"), filepath.Join(bin, "goimports")); err != nil {
		t.Fatal(err)
	}
	argv = append([]string{self, "-gonb", filepath.Join(p.Tools(), "gonb"), "-gopls", filepath.Join(p.Tools(), "gopls"), "-pump", p.Pump(),
		"-go_work", p.ModuleDir()}, args...)
	const separator = string(os.PathListSeparator)
	env = []string{roleVariable + "=kernel", "PATH=" + bin + separator + strings.ReplaceAll(os.Getenv("PATH"), p.Tools()+separator, ""),
		"GOFLAGS=-ldflags=-s", "GOPROXY=off", "GOTOOLCHAIN=local", "GOWORK="}
	return argv, env
}

// shortTemp is a directory whose path leaves room for sockets' names, unlike t.TempDir's.
func shortTemp(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func startKernel(t *testing.T, args ...string) *kernel {
	t.Helper()
	p := prepared(t)
	k := &kernel{t: t, temp: shortTemp(t), ended: make(chan struct{}), log: &logBuffer{}}
	k.connection = jupyter.Connection{Transport: "tcp", IP: "127.0.0.1", Key: jupyter.NewID(), Scheme: jupyter.Scheme}
	for _, port := range []*int{&k.connection.Shell, &k.connection.IOPub, &k.connection.Stdin, &k.connection.Control,
		&k.connection.Heartbeat} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		*port = l.Addr().(*net.TCPAddr).Port
		defer l.Close()
	}
	file := filepath.Join(t.TempDir(), "kernel-test.json")
	if err := k.connection.Write(file); err != nil {
		t.Fatal(err)
	}
	argv, env := kernelCommand(t, p, append(args, "-f", file)...)
	k.cmd = exec.Command(argv[0], argv[1:]...)
	k.cmd.Env = append(append(os.Environ(), env...), "TMPDIR="+k.temp)
	k.cmd.Stderr = k.log
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return k
}

// start frees the ports, which were held against other tests, and starts the process.
func (k *kernel) start() *kernel {
	k.t.Helper()
	if err := k.cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	go func() {
		_ = k.cmd.Wait()
		close(k.ended)
	}()
	k.t.Cleanup(func() {
		_ = k.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-k.ended:
		case <-time.After(10 * time.Second):
			_ = k.cmd.Process.Kill()
			k.t.Errorf("the kernel did not end at SIGTERM")
			<-k.ended
		}
		if strings.Contains(k.log.String(), "DATA RACE") { // with -race
			k.t.Error("a data race in the kernel")
		}
		if k.t.Failed() {
			k.t.Logf("the kernel's log:\n%s", k.log)
		}
	})
	return k
}

// processes lists what belongs to the kernel: its environment names its TMPDIR or a directory in it.
func (k *kernel) processes() []string {
	var list []string
	for _, p := range guard.Processes() {
		if p.Zombie {
			continue
		}
		environ, err := os.ReadFile(filepath.Join("/proc", itoa(p.PID), "environ"))
		if err == nil && bytes.Contains(environ, []byte("TMPDIR="+k.temp)) {
			list = append(list, itoa(p.PID)+" "+p.Name)
		}
	}
	return list
}

func (k *kernel) pid(name string) int {
	for _, line := range k.processes() {
		pid, found, _ := strings.Cut(line, " ")
		if found == name {
			return number(pid)
		}
	}
	return 0
}

// frontEnd is a Jupyter client.
type frontEnd struct {
	t       *testing.T
	k       *kernel
	session string
	codec   *jupyter.Codec

	shell, control, stdin, iopub *zmtp.Socket

	mu       sync.Mutex
	messages []*jupyter.Message // from iopub
	replies  map[string]*jupyter.Message
	channel  map[string]string // on which a reply came
	more     chan struct{}
}

func (k *kernel) frontEnd() *frontEnd {
	k.t.Helper()
	f := &frontEnd{t: k.t, k: k, session: jupyter.NewID(), codec: jupyter.NewCodec(k.connection.Key), replies: map[string]*jupyter.Message{},
		channel: map[string]string{}, more: make(chan struct{}, 1)}
	open := func(kind zmtp.Kind, port int) *zmtp.Socket {
		s, err := zmtp.Dial(kind, k.connection.Endpoint(port), zmtp.Options{Identity: []byte(f.session)})
		if err != nil {
			k.t.Fatal(err)
		}
		k.t.Cleanup(func() { s.Close() })
		return s
	}
	f.shell, f.control, f.stdin = open(zmtp.Dealer, k.connection.Shell), open(zmtp.Dealer, k.connection.Control),
		open(zmtp.Dealer, k.connection.Stdin)
	f.iopub = open(zmtp.Sub, k.connection.IOPub)
	receive := func(s *zmtp.Socket, take func(*jupyter.Message)) {
		for {
			parts, err := s.Recv()
			if err != nil {
				return
			}
			m, err := f.codec.Decode(parts)
			if err != nil {
				f.t.Errorf("the kernel sent %q: %v", parts, err)
				continue
			}
			f.mu.Lock()
			take(m)
			f.mu.Unlock()
			select {
			case f.more <- struct{}{}:
			default:
			}
		}
	}
	go receive(f.iopub, func(m *jupyter.Message) { f.messages = append(f.messages, m) })
	go receive(f.shell, func(m *jupyter.Message) { f.replies[m.Parent.ID], f.channel[m.Parent.ID] = m, "shell" })
	go receive(f.control, func(m *jupyter.Message) { f.replies[m.Parent.ID], f.channel[m.Parent.ID] = m, "control" })
	go receive(f.stdin, func(m *jupyter.Message) { f.replies["stdin"] = m })
	// As jupyter_client: ask until both channels are heard.
	for {
		id := f.send(f.shell, "kernel_info_request", map[string]any{})
		if f.wait(300*time.Millisecond, func() bool { return f.replies[id] != nil && f.idle(id) }) {
			return f
		}
		select {
		case <-k.ended:
			k.t.Fatalf("the kernel has ended:\n%s", k.log)
		default:
		}
	}
}

func (f *frontEnd) send(s *zmtp.Socket, kind string, content any) string {
	f.t.Helper()
	return f.sendWith(s, kind, content, nil)
}

// sendWith sends a request with metadata.
func (f *frontEnd) sendWith(s *zmtp.Socket, kind string, content any, metadata map[string]any) string {
	f.t.Helper()
	m, err := jupyter.New(f.session, kind, nil, content)
	if err != nil {
		f.t.Fatal(err)
	}
	if metadata != nil {
		if m.Metadata, err = json.Marshal(metadata); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := s.Send(f.codec.Encode(m)); err != nil {
		f.t.Fatal(err)
	}
	return m.Header.ID
}

// wait waits for something about the messages so far; f.mu is held in ready.
func (f *frontEnd) wait(limit time.Duration, ready func() bool) bool {
	deadline := time.After(limit)
	for {
		f.mu.Lock()
		ok := ready()
		f.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-f.more:
		case <-time.After(5 * time.Millisecond): // another waiter may have taken the signal
		case <-deadline:
			return false
		}
	}
}

func (f *frontEnd) idle(id string) bool {
	for _, m := range f.messages {
		if m.Parent.ID == id && m.Header.Type == "status" && bytes.Contains(m.Content, []byte(`"idle"`)) {
			return true
		}
	}
	return false
}

// ran is what a front-end has seen of a cell.
type ran struct {
	Status    string
	Count     int            `json:"execution_count"`
	Class     string         `json:"ename"`
	Text      string         `json:"evalue"`
	Traceback []string       `json:"traceback"`
	Answers   map[string]any `json:"user_expressions"`
	metadata  json.RawMessage
	order     []string // of the messages on iopub
	stdout    string
	stderr    string
	contents  map[string]map[string]any // the last content by type
	displays  []any                     // data of display_data
}

// start sends a cell.
func (f *frontEnd) start(code string, options ...map[string]any) string {
	f.t.Helper()
	content := map[string]any{"code": code, "silent": false, "store_history": true, "user_expressions": map[string]string{},
		"allow_stdin": true, "stop_on_error": true}
	for _, option := range options {
		for name, value := range option {
			content[name] = value
		}
	}
	return f.send(f.shell, "execute_request", content)
}

const cellTime = 60 * time.Second

// finish waits for a cell's reply and idle.
func (f *frontEnd) finish(id string) ran {
	f.t.Helper()
	if !f.wait(cellTime, func() bool { return f.replies[id] != nil && f.idle(id) }) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.t.Fatalf("not finished within %s; reply %v, idle %v", cellTime, f.replies[id] != nil, f.idle(id))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r := ran{contents: map[string]map[string]any{}, metadata: f.replies[id].Metadata}
	if err := f.replies[id].Into(&r); err != nil {
		f.t.Fatal(err)
	}
	for _, m := range f.messages {
		if m.Parent.ID != id {
			continue
		}
		content := map[string]any{}
		if err := m.Into(&content); err != nil {
			f.t.Fatal(err)
		}
		kind := m.Header.Type
		if kind == "status" {
			kind = content["execution_state"].(string)
		}
		if kind == "stream" {
			if content["name"] == "stdout" {
				r.stdout += content["text"].(string)
			} else {
				r.stderr += content["text"].(string)
			}
		}
		if kind == "display_data" {
			r.displays = append(r.displays, content["data"])
		}
		r.order = append(r.order, kind)
		r.contents[kind] = content
	}
	return r
}

func (f *frontEnd) run(code string, options ...map[string]any) ran {
	f.t.Helper()
	return f.finish(f.start(code, options...))
}

// ask sends another request and returns the reply's content.
func (f *frontEnd) ask(s *zmtp.Socket, kind string, content any) map[string]any {
	f.t.Helper()
	id := f.send(s, kind, content)
	if !f.wait(cellTime, func() bool { return f.replies[id] != nil }) {
		f.t.Fatalf("no reply to %s", kind)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	reply := map[string]any{}
	if err := f.replies[id].Into(&reply); err != nil {
		f.t.Fatal(err)
	}
	want := "shell"
	if s == f.control {
		want = "control"
	}
	if f.channel[id] != want {
		f.t.Errorf("the reply to %s came on %s, want %s", kind, f.channel[id], want)
	}
	return reply
}

//go:build linux && cgo

package backend_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"golang.org/x/sys/unix"

	"advlab/advlib/backend"
)

// storm says what a child does while it is sent signals: it multiplies matrices until its input ends.
type storm struct {
	Bare     bool // open XLA by GoMLX's registry, not by package backend
	Profiles int  // CPU profiles to take meanwhile, one after the other
}

// weathered is what such a child reports.
type weathered struct {
	Products int   // all right
	Handled  int64 // SIGUSR1 that reached the handler
	Profiled int   // bytes of all profiles
	Threads  int   // that Go has made
}

// sizes are m, k, n of products of an m×k by a k×n matrix: large enough for oneDNN's kernels, on several threads each.
var sizes = [][3]int{{256, 256, 256}, {512, 384, 512}, {64, 1024, 320}}

// whole is an r×c matrix of small whole numbers, of which float32 holds each sum of products exactly.
func whole(r, c, seed int) []float32 {
	v := make([]float32, r*c)
	for i := range v {
		v[i] = float32((i*i+seed*i)%7 - 3)
	}
	return v
}

// product multiplies in plain Go.
func product(x, y []float32, m, k, n int) []float32 {
	z := make([]float32, m*n)
	for i := range m {
		for j := range k {
			for l, v := range y[j*n : (j+1)*n] {
				z[i*n+l] += x[i*k+j] * v
			}
		}
	}
	return z
}

func init() { weather = multiplyInStorm }

// multiplyInStorm is the child: four goroutines multiply, each of them compares each product.
func multiplyInStorm(text string) error {
	var do storm
	if err := json.Unmarshal([]byte(text), &do); err != nil {
		return err
	}
	var r weathered
	signals := make(chan os.Signal, 1000)
	signal.Notify(signals, syscall.SIGUSR1)
	var handled atomic.Int64
	go func() {
		for range signals {
			handled.Add(1)
		}
	}()
	var b compute.Backend
	var err error
	if do.Bare {
		b, err = compute.NewWithConfig("xla:cpu")
	} else {
		b, err = backend.OpenNamed(backend.XLACPU)
	}
	if err != nil {
		return err
	}
	e, err := NewExec(b, func(x, y *Node) *Node { return Dot(x, y).Product() })
	if err != nil {
		return err
	}
	multiply := multiplier(e)
	for i := range sizes { // compiled before the first signal
		if err := multiply(i); err != nil {
			return err
		}
	}

	stop := make(chan struct{})
	var group sync.WaitGroup
	var products atomic.Int64
	failed := make(chan error, 4)
	for g := range cap(failed) {
		group.Go(func() {
			for i := g; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := multiply(i % len(sizes)); err != nil {
					failed <- err
					return
				}
				products.Add(1)
			}
		})
	}
	fmt.Println("ready")
	for range do.Profiles {
		var profile bytes.Buffer
		if err := pprof.StartCPUProfile(&profile); err != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
		pprof.StopCPUProfile()
		r.Profiled += profile.Len()
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	close(stop)
	group.Wait()
	close(failed)
	for err := range failed {
		return err
	}
	r.Products, r.Handled, r.Threads = int(products.Load()), handled.Load(), pprof.Lookup("threadcreate").Count()
	return json.NewEncoder(os.Stdout).Encode(r)
}

// multiplier returns what multiplies matrices of the i-th sizes, and checks the product.
func multiplier(e *Exec) func(i int) error {
	var wants [][]float32
	for _, s := range sizes {
		wants = append(wants, product(whole(s[0], s[1], 1), whole(s[1], s[2], 2), s[0], s[1], s[2]))
	}
	return func(i int) error {
		m, k, n := sizes[i][0], sizes[i][1], sizes[i][2]
		a, b := tensors.FromFlatDataAndDimensions(whole(m, k, 1), m, k), tensors.FromFlatDataAndDimensions(whole(k, n, 2), k, n)
		out, err := e.Call(a, b)
		if err != nil {
			return err
		}
		got, err := tensors.CopyFlatData[float32](out[0])
		if err != nil {
			return err
		}
		for j, want := range wants[i] {
			if got[j] != want {
				return fmt.Errorf("element %d of the product of sizes %v is %g, want %g", j, sizes[i], got[j], want)
			}
		}
		return nil
	}
}

// TestSignals sends signals to all threads of a child that multiplies matrices on XLA, and has it take CPU profiles
// meanwhile. Where XLA's threads handle signals, its heap is damaged and it crashes. ADVLAB_FULL=1 sends 10⁵ signals
// and takes 20 profiles.
func TestSignals(t *testing.T) {
	count, profiles := 10_000, 3
	if os.Getenv("ADVLAB_FULL") != "" {
		count, profiles = 100_000, 20
	}
	for _, c := range []struct {
		name  string
		do    storm
		count int
	}{
		{"signals", storm{}, count},
		{"profiles", storm{Profiles: profiles}, 0},
		{"bare", storm{Bare: true, Profiles: 1}, count / 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			child := startStorm(t, c.do)
			sent := 0
			for sent < c.count && !child.ended() {
				sent += child.toAllThreads(syscall.SIGUSR1, syscall.SIGURG, syscall.SIGPROF, syscall.SIGWINCH)
				time.Sleep(time.Millisecond)
			}
			threads := child.threads(t)
			r, err := child.finish()
			if err != nil {
				t.Fatalf("after %d signals: %v", sent, err)
			}
			t.Logf("%d signals, %d handled; %d profiles of %d bytes; %d products", sent, r.Handled, c.do.Profiles, r.Profiled, r.Products)
			if c.count > 0 && r.Handled == 0 || c.do.Profiles > 0 && r.Profiled == 0 || r.Products == 0 {
				t.Error("no signal was handled, no profile was written, or nothing was computed")
			}
			checkMasks(t, threads, r.Threads, c.do.Bare)
		})
	}
}

// checkMasks compares the masks of a child's threads: XLA's block what Go handles, and not what their own faults
// raise; and no more threads than Go has made block nothing. One that XLA's compiler makes in a bare child may.
func checkMasks(t *testing.T, threads []thread, made int, bare bool) {
	t.Helper()
	bit := func(s syscall.Signal) uint64 { return 1 << (s - 1) }
	handled := bit(syscall.SIGUSR1) | bit(syscall.SIGURG) | bit(syscall.SIGPROF) | bit(syscall.SIGWINCH) | bit(syscall.SIGINT)
	faults := bit(syscall.SIGSEGV) | bit(syscall.SIGBUS) | bit(syscall.SIGFPE) | bit(syscall.SIGILL) | bit(syscall.SIGTRAP) |
		bit(syscall.SIGABRT) | bit(syscall.SIGSYS) | 3<<31 // and the two that glibc keeps for itself
	named, open := 0, 0
	for _, th := range threads {
		if th.blocked == 0 {
			open++
		}
		if strings.HasPrefix(th.name, "tf_XLA") {
			named++
			if th.blocked&handled != handled || th.blocked&faults != 0 {
				t.Errorf("XLA's thread %s blocks %016x", th.name, th.blocked)
			}
		}
	}
	if named == 0 || !bare && open > made {
		t.Errorf("%d of XLA's threads are named so; %d threads block nothing, and Go has made %d: %v", named, open, made, threads)
	}
}

// TestFaultOfXLA: a fault on a thread of XLA ends the process, as ever, and does not leave it hanging.
func TestFaultOfXLA(t *testing.T) {
	child := startStorm(t, storm{})
	for _, th := range child.threads(t) {
		if strings.HasPrefix(th.name, "tf_XLA") {
			if err := unix.Tgkill(child.cmd.Process.Pid, th.id, unix.SIGSEGV); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	select {
	case <-child.done:
	case <-time.After(time.Minute):
		t.Error("the child goes on after a fault")
	}
	if _, err := child.finish(); err == nil || !strings.Contains(err.Error(), "signal: segmentation fault") {
		t.Errorf("child: %v, want a segmentation fault", err)
	}
}

// stormed is a child in its storm.
type stormed struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stderr bytes.Buffer
	report []byte
	done   chan struct{} // closed at the end of its output
}

// startStorm starts a child and waits until it computes.
func startStorm(t *testing.T, do storm) *stormed {
	env := needPlugin(t)
	text, err := json.Marshal(do)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	c := &stormed{cmd: exec.CommandContext(ctx, self), done: make(chan struct{})}
	c.cmd.Env = replace(os.Environ(), append([]string{"XLA_FLAGS=", stormVariable + "=" + string(text), "GOCOVERDIR=" + t.TempDir()}, env...))
	c.cmd.Stderr = &c.stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	ready, err := lines.ReadString('\n')
	go func() {
		defer close(c.done)
		c.report, _ = io.ReadAll(lines) // an end too early is no JSON
	}()
	if err != nil || ready != "ready\n" {
		_, failed := c.finish()
		t.Fatalf("child: %q, %v", ready, failed)
	}
	return c
}

// ended reports whether the child has ended by itself.
func (c *stormed) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// finish lets the child end and returns its report.
func (c *stormed) finish() (r weathered, err error) {
	_ = c.stdin.Close()
	<-c.done
	if err := c.cmd.Wait(); err != nil || c.stderr.Len() > 0 {
		return r, fmt.Errorf("the child ended: %v\n%.2000s", err, &c.stderr)
	}
	return r, json.Unmarshal(c.report, &r)
}

// toAllThreads sends signals to each of the child's threads and returns how many.
func (c *stormed) toAllThreads(signals ...syscall.Signal) (sent int) {
	pid := c.cmd.Process.Pid
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			continue
		}
		for _, s := range signals {
			if unix.Tgkill(pid, tid, s) == nil {
				sent++
			}
		}
	}
	return sent
}

// thread is a thread as /proc describes it.
type thread struct {
	id      int
	name    string
	blocked uint64 // bit n−1 for signal n
}

func (c *stormed) threads(t *testing.T) (threads []thread) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", c.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		status, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		var th thread
		for line := range strings.Lines(string(status)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
			switch name {
			case "Name":
				th.name = value
			case "Pid":
				th.id, err = strconv.Atoi(value)
			case "SigBlk":
				th.blocked, err = strconv.ParseUint(value, 16, 64)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		threads = append(threads, th)
	}
	return threads
}

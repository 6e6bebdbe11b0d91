//go:build linux

package still

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io/fs"
	"iter"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// programs are what a test program does, by name; those that begin with "stuck" cannot move any more.
var programs = map[string]func(){
	"stuck channel": func() { <-make(chan int) },
	"stuck select":  func() { select {} },
	"stuck nil":     func() { var c chan int; c <- 1 },
	"stuck locks": func() {
		var a, b sync.Mutex
		var both sync.WaitGroup
		lock := func(first, second *sync.Mutex) {
			first.Lock()
			time.Sleep(50 * time.Millisecond)
			second.Lock()
			both.Done()
		}
		both.Add(2)
		go lock(&a, &b)
		go lock(&b, &a)
		both.Wait()
	},
	"stuck after work": func() {
		results := make(chan int)
		for i := range 4 {
			go func() { results <- i }()
		}
		for range 5 {
			<-results
		}
	},
	"stuck with a coroutine": func() {
		next, stop := iter.Pull(func(yield func(int) bool) { yield(1) })
		defer stop()
		next()
		<-make(chan int)
	},
	"sleep": func() { time.Sleep(time.Hour) },
	"after": func() { <-time.After(time.Hour) },
	"deadline": func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		<-ctx.Done()
	},
	"ticker": func() {
		go func() {
			for range time.Tick(time.Minute) {
			}
		}()
		select {}
	},
	"input": func() { _, _ = bufio.NewReader(os.Stdin).ReadString('\n') },
	"child": func() { _ = exec.Command("sleep", "60").Run() },
	"network": func() {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			_, _ = l.Accept()
		}
	},
	"signal": func() {
		c := make(chan os.Signal, 1)
		signal.Notify(c, os.Interrupt)
		<-c
	},
	"computing": func() {
		for x := 1.; ; x *= 1.0000001 {
			if x < 0 {
				return
			}
		}
	},
	"another computes": func() {
		done := make(chan int)
		go func() {
			for i := 0; i >= 0; i++ {
			}
			close(done)
		}()
		<-done
	},
}

func TestMain(m *testing.M) {
	if run, ok := programs[os.Getenv("STILL_TEST_PROGRAM")]; ok {
		run()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestWhatCannotMove(t *testing.T) {
	if !iscgo__ {
		t.Skip("this test binary is built without cgo: Go's own detector is on, and no file of a program is this one")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for name := range programs { // all at once: t.Parallel would run as many as there are processors
		all.Go(func() { watchOne(t, self, name) })
	}
	all.Wait()
}

// watchOne runs one of programs and looks whether it is found to be stuck.
func watchOne(t *testing.T, self, name string) {
	program := filepath.Join(t.TempDir(), "program")
	if err := os.Link(self, program); err != nil {
		text, err := os.ReadFile(self)
		if err != nil {
			t.Error(err)
			return
		}
		if err := os.WriteFile(program, text, 0o700); err != nil {
			t.Error(err)
			return
		}
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "STILL_TEST_PROGRAM="+name)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Error(err)
		return
	}
	defer in.Close()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stuck := strings.HasPrefix(name, "stuck")
	limit := 7 * time.Second
	if stuck {
		limit = 30 * time.Second // a machine with other work
	}
	var traces []byte
	for deadline := time.Now().Add(limit); time.Now().Before(deadline) && traces == nil; time.Sleep(100 * time.Millisecond) {
		if traces, err = os.ReadFile(program + ".still"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		select {
		case err := <-ended:
			t.Errorf("%s: it has ended: %v\n%s", name, err, &said)
			return
		default:
		}
	}
	_ = cmd.Process.Kill()
	<-ended
	if stuck != (traces != nil) || stuck && !bytes.Contains(traces, []byte("still_test.go:")) {
		t.Errorf("%s: the traces are %q", name, traces)
	}
}

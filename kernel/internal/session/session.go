package session

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"advlab/kernel/internal/place"
)

// grace is how long GoNB may take to end after a signal that ends it.
const grace = 10 * time.Second

// Run runs a kernel for Jupyter's connection file until it ends, and returns GoNB's exit status.
//
// GoNB gets a process group of its own. An interrupt that reaches this process, whether Jupyter signals the group
// or one process, is passed on once, to the whole of that group: the compiler and the cell stop as GoNB does.
func Run(p place.Place, connection string) (status int, err error) {
	if err := checkConnection(connection); err != nil {
		return 0, err
	}
	facts, err := ReadFacts(p)
	if err != nil {
		return 0, err
	}
	gonb := filepath.Join(p.Tools(), "gonb")
	if _, err := os.Stat(gonb); err != nil {
		return 0, fmt.Errorf("%w: %w: run `go run ./kernel setup` in the advlab checkout", ErrNotPrepared, err)
	}
	connection, err = filepath.Abs(connection)
	if err != nil {
		return 0, err
	}
	temp, release, err := tempDir()
	if err != nil {
		return 0, err
	}
	defer release()

	log := os.Getenv(Log)
	if log == "" {
		log = filepath.Join(temp, "gonb.log")
	}
	args := []string{"-kernel", connection, "-go_work=" + p.ModuleDir(), "-logtostderr=false", "-stderrthreshold=FATAL", "-log_file=" + log}
	if os.Getenv(RawErrors) != "" {
		args = append(args, "-raw_error")
	}
	cmd := exec.Command(gonb, args...)
	cmd.Env = append(Env(p, facts, os.Environ()), "TMPDIR="+temp)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = childAttributes()

	if err := adoptOrphans(); err != nil {
		return 0, err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)

	// The parent-death signal belongs to the thread that forks, so that thread must not end before the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("starting GoNB: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	var kill <-chan time.Time
	told := false
	for {
		select {
		case sig := <-signals:
			if sig == os.Interrupt {
				signalGroup(cmd.Process, syscall.SIGINT)
				continue
			}
			told = true
			signalProcess(cmd.Process, sig.(syscall.Signal))
			kill = time.After(grace)
		case <-kill:
			signalGroup(cmd.Process, syscall.SIGKILL)
		case err := <-ended:
			signalGroup(cmd.Process, syscall.SIGKILL) // a cell that outlived GoNB
			endOrphans()
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				return 0, err
			}
			if !told {
				fmt.Fprintf(os.Stderr, "advlab: GoNB ended: %v\n%s", exit, lastPart(log))
			}
			return max(exit.ExitCode(), 1), nil
		}
	}
}

// lastPart returns the end of a log.
func lastPart(file string) string {
	const most = 4000 // bytes
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return string(text[max(0, len(text)-most):])
}

// ErrConnection says that the connection file is none.
var ErrConnection = errors.New("connection file")

func checkConnection(file string) error {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w %q does not exist: Jupyter writes it and starts this command; to open a notebook, type `go run ./kernel lab`", ErrConnection, file)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w %q is not a regular file", ErrConnection, file)
	}
	return nil
}

// tempPrefix begins the name of every kernel's temporary directory.
const tempPrefix = "advlab-kernel-"

// tempDir makes a temporary directory that only the user can enter, and removes those that killed kernels left. A
// living kernel holds a lock in its directory: process ids would mislead where containers share /tmp.
func tempDir() (dir string, release func(), err error) {
	sweep(os.TempDir())
	dir, err = os.MkdirTemp("", tempPrefix) // mode 0700
	if err != nil {
		return "", nil, fmt.Errorf("a temporary directory for the kernel: %w", err)
	}
	lock := flock.New(filepath.Join(dir, ".lock"))
	if ok, err := lock.TryLock(); err != nil || !ok {
		_ = os.RemoveAll(dir)
		return "", nil, fmt.Errorf("locking %s: %w", lock.Path(), err)
	}
	return dir, func() {
		_ = removeAll(dir)
		_ = lock.Close()
	}, nil
}

// newborn is the age up to which a directory without lock may belong to a kernel that is just starting.
const newborn = time.Minute

func sweep(temp string) {
	entries, err := os.ReadDir(temp)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if !entry.IsDir() || !strings.HasPrefix(entry.Name(), tempPrefix) {
			continue
		}
		info, err := entry.Info()
		if err != nil || time.Since(info.ModTime()) < newborn || !ownedByUser(info) {
			continue
		}
		dir := filepath.Join(temp, entry.Name())
		lock := flock.New(filepath.Join(dir, ".lock"))
		if ok, err := lock.TryLock(); err == nil && ok {
			_ = removeAll(dir)
			_ = lock.Close()
		}
	}
}

// removeAll removes a directory that processes on their last breath may still write to.
func removeAll(dir string) (err error) {
	for range 20 {
		if err = os.RemoveAll(dir); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

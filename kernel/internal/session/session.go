package session

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"advlab/advlib/cachedir"
	"advlab/kernel/internal/assist"
	"advlab/kernel/internal/magic"
	"advlab/kernel/internal/place"
	"advlab/kernel/internal/relay"
)

// Options is what a kernel is told beside its place.
type Options struct {
	Version string // of advlab, where the checkout does not tell
	Program string // this program, which is its own guard
}

// Names of environment variables that a kernel reads.
const (
	Log       = "ADVLAB_KERNEL_LOG" // a file for GoNB's own log
	History   = "ADVLAB_HISTORY"    // the file of the cells that were executed; "off": remembered until the kernel ends
	CellLimit = "ADVLAB_CELL_LIMIT" // how long a cell may take, such as 10m
)

// Run runs a kernel for Jupyter's connection file until it ends: the relay, and GoNB behind it.
func Run(ctx context.Context, p place.Place, connection string, o Options) error {
	if err := checkConnection(connection); err != nil {
		return err
	}
	facts, err := ReadFacts(p)
	if err != nil {
		return err
	}
	if _, err := os.Stat(gonbProgram(p)); err != nil {
		return fmt.Errorf("%w: %w: run `go run ./kernel setup` in the advlab checkout", ErrNotPrepared, err)
	}
	if connection, err = filepath.Abs(connection); err != nil {
		return err
	}
	limit, err := cellLimit()
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	temp, release, err := tempDir()
	if err != nil {
		return err
	}
	defer release()

	// The user's own cache, which in an image is not the one that the set-up made.
	own, err := cachedir.Root()
	overflow := ""
	if err != nil {
		fmt.Fprintf(os.Stderr, "advlab: %v: neither history nor long outputs are kept\n", err)
	} else {
		overflow = filepath.Join(own, "output")
	}
	env := Env(p, facts, os.Environ())
	cells, err := withoutGopls(p, env, filepath.Join(temp, "bin"))
	if err != nil {
		return err
	}
	version := sourcesVersion(facts.Checkout, o.Version)
	err = relay.Run(ctx, relay.Config{
		Connection: connection,
		Dir:        temp,
		Signals:    signals,
		Guard:      []string{o.Program, GuardCommand},
		Pump:       p.Pump(),
		Start:      func(file, temp string) *exec.Cmd { return gonbCommand(p, cells, file, temp) },
		Checkout:   facts.Checkout,
		Version:    version,
		GoVersion:  facts.GoVersion,
		GoRoot:     facts.GoRoot,
		Modules:    []assist.Module{{Path: place.Module + "/advlib", Dir: filepath.Join(facts.Checkout, "advlib")}},
		Pinned:     func() []assist.Module { return pinned(p, facts, env) },
		Gopls:      filepath.Join(p.Tools(), "gopls"),
		History:    historyFile(own),
		Overflow:   overflow,
		FoldStderr: FoldsStderr(),
		CellLimit:  limit,
		Magics: magic.All(magic.Setup{
			Place: p, Program: o.Program, Version: version, Checkout: facts.Checkout, GoVersion: facts.GoVersion, CGO: facts.CGO,
			Plugin: facts.Plugin, Env: env,
		}),
		Log: os.Stderr,
	})
	if errors.Is(err, context.Canceled) {
		return nil // the way in which a kernel ends
	}
	return err
}

// withoutGopls returns the environment env with GoNB's other tools, put into the folder bin: GoNB starts a gopls if it
// finds one, and the relay has its own.
func withoutGopls(p place.Place, env []string, bin string) ([]string, error) {
	err := errors.Join(os.Mkdir(bin, 0o700), os.Symlink(filepath.Join(p.Tools(), "goimports"), filepath.Join(bin, "goimports")))
	if err != nil {
		return nil, fmt.Errorf("a folder of GoNB's tools: %w", err)
	}
	const separator = string(os.PathListSeparator)
	env = slices.Clone(env)
	for i, entry := range env {
		env[i] = strings.Replace(entry, "PATH="+p.Tools()+separator, "PATH="+bin+separator, 1)
	}
	return env, nil
}

// gonbCommand starts GoNB for a connection file, with the cells' environment and its own folder temp.
func gonbCommand(p place.Place, cells []string, file, temp string) *exec.Cmd {
	log := os.Getenv(Log)
	if log == "" {
		log = filepath.Join(temp, "gonb.log")
	}
	// Errors are text (-raw_error): the relay makes one message of them, which every front-end can show.
	cmd := exec.Command(gonbProgram(p), "-kernel", file, "-go_work="+p.ModuleDir(), "-raw_error", "-logtostderr=false",
		"-stderrthreshold=FATAL", "-log_file="+log)
	cmd.Env = append(slices.Clone(cells), "TMPDIR="+temp)
	cmd.Stderr = os.Stderr // not stdout, which belongs to whoever runs this by hand
	return cmd
}

func gonbProgram(p place.Place) string { return filepath.Join(p.Tools(), "gonb") }

// GuardCommand is the name of the command that runs relay.Guard.
const GuardCommand = "guard"

// historyFile is the history's file below the user's cache; empty: none.
func historyFile(cache string) string {
	switch file := os.Getenv(History); {
	case file == "off" || file == "" && cache == "":
		return ""
	case file == "":
		return filepath.Join(cache, "history.jsonl")
	default:
		return file
	}
}

func cellLimit() (time.Duration, error) {
	text := os.Getenv(CellLimit)
	if text == "" {
		return 0, nil
	}
	limit, err := time.ParseDuration(text)
	if err != nil || limit <= 0 {
		return 0, fmt.Errorf("%s=%q is no time limit: write it like 90s or 10m", CellLimit, text)
	}
	return limit, nil
}

// ErrConnection says that the connection file is none.
var ErrConnection = errors.New("connection file")

func checkConnection(file string) error {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w %q does not exist: Jupyter writes it and starts this command; to open a notebook, type `go run ./kernel lab`",
			ErrConnection, file)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%w %q is not a regular file", ErrConnection, file)
	}
	return nil
}

// tempPrefix begins the name of every kernel's temporary directory.
const tempPrefix = "advlab-kernel-"

// mostTemp is the length that the path of a temporary folder may have: below it lie sockets, whose paths have at most
// 107 bytes: /advlab-kernel-1234567890/9999/s-5.
const mostTemp = 107 - len("/"+tempPrefix+"1234567890/9999/s-5")

// tempFolders are where a kernel's own files may be, in the order of preference.
func tempFolders() []string {
	return []string{os.TempDir(), "/tmp", "/var/tmp", "/dev/shm"}
}

// tempDir makes a temporary directory that only the user can enter, and removes those that killed kernels left. A
// living kernel holds a lock in its directory: process ids would mislead where containers share /tmp. Where TMPDIR is
// too long for the sockets in it, or cannot be written to, another folder is taken, and said.
func tempDir() (dir string, release func(), err error) {
	var wrong error
	for _, folder := range tempFolders() {
		if len(folder) > mostTemp {
			err = fmt.Errorf("%s has %d bytes, and may have %d, since sockets lie below it", folder, len(folder), mostTemp)
		} else {
			sweep(folder)
			dir, err = os.MkdirTemp(folder, tempPrefix) // mode 0700
		}
		if err == nil {
			break
		}
		wrong = errors.Join(wrong, err)
	}
	if err != nil {
		return "", nil, fmt.Errorf("a temporary directory for the kernel: set TMPDIR to a folder that can be written to: %w", wrong)
	}
	if wrong != nil {
		fmt.Fprintf(os.Stderr, "advlab: this kernel's own files are in %s: %v\n", dir, wrong)
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

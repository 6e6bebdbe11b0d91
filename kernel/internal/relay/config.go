package relay

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"advlab/kernel/internal/assist"
	"advlab/kernel/internal/gonb"
	"advlab/kernel/internal/magic"
)

// Config says what to relay.
type Config struct {
	// Connection is the connection file that Jupyter has written.
	Connection string

	// Dir is a directory of this kernel alone (mode 0700) for sockets and temporary files. Its path must be short: a
	// Unix socket's name has at most 107 bytes.
	Dir string

	// Start makes the command, not started, that runs GoNB for a connection file of the relay's. temp is to be its TMPDIR:
	// it is removed with GoNB. GoNB needs -raw_error, or compile errors have no text.
	Start func(connection, temp string) *exec.Cmd

	// Guard is the command that calls guard.Run with the arguments that follow; empty: GoNB is started without a guard,
	// and what it has started may outlive a relay that is killed.
	Guard []string

	// Pump is the program kernel/pump, which runs what cells run; empty: GoNB does so itself, and may cut characters and
	// lose the displays of a program that ends at once.
	Pump string

	// Signals brings what Jupyter signals: os.Interrupt interrupts the running cell, anything else ends the kernel.
	Signals <-chan os.Signal

	// Checkout is the folder of advlab's sources, which cells compile; empty: they do not say where.
	Checkout string

	Version   string                 // of advlab, for kernel_info
	GoVersion string                 // that builds the cells, such as go1.26.5
	GoRoot    string                 // its GOROOT, for completions; empty: none from the standard library
	Modules   []assist.Module        // further packages for completions, which cells use by their name alone
	Pinned    func() []assist.Module // modules that cells may import; nil: none
	Gopls     string                 // the program, for completions and inspections; empty: they know less
	History   string                 // file of the history; empty: kept in memory only
	Overflow  string                 // folder for output beyond OutputLimit; empty: it is dropped
	CellLimit time.Duration          // how long a cell may take; 0: any time

	// Magics are the commands of cells that the kernel runs itself, besides those of this package.
	Magics magic.List

	// Beat is how often GoNB is asked whether it is alive, and how long it may take to answer; 0: a second.
	Beat time.Duration

	// BuildNotice is how long a cell may be built before the user is told; 0: 10 s.
	BuildNotice time.Duration

	// OutputLimit is the number of bytes of streams that a cell may show; 0: 4 MiB.
	OutputLimit int

	// FoldStderr shows what cells write to stderr on stdout: graders take points for what is on stderr.
	FoldStderr bool

	// Log gets one line for each thing an operator may want to know; nil: nobody.
	Log io.Writer
}

const defaultOutputLimit = 4 << 20

func (c Config) check() error {
	switch {
	case c.Connection == "":
		return errors.New("relay: no connection file")
	case c.Start == nil:
		return errors.New("relay: no command that starts GoNB")
	case !filepath.IsAbs(c.Dir):
		return fmt.Errorf("relay: directory %q is not an absolute path", c.Dir)
	case c.OutputLimit < 0:
		return fmt.Errorf("relay: output limit %d is negative", c.OutputLimit)
	case c.CellLimit < 0:
		return fmt.Errorf("relay: cell limit %s is negative", c.CellLimit)
	}
	info, err := os.Stat(c.Dir)
	if err != nil {
		return fmt.Errorf("relay: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("relay: directory %s has mode %o: others could reach GoNB's sockets; chmod 700", c.Dir, mode)
	}
	return nil
}

// gone says what to do where the checkout is not there any more; empty: it is.
func (c Config) gone() string {
	if c.Checkout == "" {
		return ""
	}
	if _, err := os.Stat(filepath.Join(c.Checkout, "go.mod")); !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return fmt.Sprintf("the advlab checkout that cells are compiled from, %s, is not there any more: where it is now, run "+
		"`go run ./kernel setup` (and `go run ./kernel install`, if you have installed the kernel), and start JupyterLab from there", c.Checkout)
}

func (c Config) version() string {
	if c.Version == "" {
		return "devel"
	}
	return c.Version
}

// gonb is what starts a GoNB.
func (c Config) gonb() gonb.Config {
	return gonb.Config{Start: c.Start, Env: []string{Variable + "=" + c.version()}, Guard: c.Guard, Pump: c.Pump, Beat: c.Beat}
}

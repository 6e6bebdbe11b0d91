// Package cli is the command line of the program advlab: one file per command.
//
//	os.Exit(cli.Main([]string{"run", "--check", "notebooks/01-quickstart.ipynb"}))
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"advlab/kernel/internal/place"
	"advlab/kernel/internal/progress"
	"advlab/kernel/internal/session"
	"advlab/kernel/internal/setup"
)

// Exit statuses.
const (
	ok          = 0
	failed      = 1 // a cell failed, a number is off, a test fails
	misused     = 2 // unknown command, flag or file
	unprepared  = 3 // something the commands need is missing
	interrupted = 130
)

const exitStatuses = `Exit status (go run itself makes 1 of each but 0, and prints it):
  0    done
  1    a cell failed, a checked number is off, or a test fails
  2    unknown command or flag, or a file that is not what it should be
  3    something that is needed is missing: ` + "`advlab doctor`" + ` says what, and what to type
  130  interrupted`

// statusError is an error with an exit status of its own.
type statusError struct {
	status int
	err    error // nil: everything was said already
}

func (e statusError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e statusError) Unwrap() error { return e.err }

func misuse(format string, args ...any) error {
	return statusError{misused, fmt.Errorf(format, args...)}
}

// app is what all commands share.
type app struct {
	out, err io.Writer
	offline  bool
}

// Main runs the command line and returns the exit status.
func Main(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{out: os.Stdout, err: os.Stderr}
	root := a.command()
	root.SetArgs(args)
	command, err := root.ExecuteContextC(ctx)
	return a.status(ctx, command, err)
}

func (a *app) status(ctx context.Context, command *cobra.Command, err error) int {
	if err == nil {
		return ok
	}
	if ctx.Err() != nil {
		fmt.Fprintln(a.err, "advlab: interrupted")
		return interrupted
	}
	var coded statusError
	status := failed
	switch {
	case errors.As(err, &coded):
		status = coded.status
		if coded.err == nil {
			return status
		}
	case errors.Is(err, session.ErrNotPrepared):
		status = unprepared
	case errors.Is(err, session.ErrConnection):
		status = misused
	}
	fmt.Fprintf(a.err, "advlab: %v\n", err)
	if status == misused {
		fmt.Fprintf(a.err, "`%s --help` shows how it is used\n", command.CommandPath())
	}
	return status
}

func (a *app) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "advlab",
		Short: "Go notebooks for adversarial machine learning",
		Long: `advlab runs Go notebooks on adversarial machine learning in Jupyter.

In the checkout, write "go run ./kernel" for "advlab". The first command takes some minutes: it prepares
a Python environment with JupyterLab, GoNB, XLA's plugin and a warm build cache in the user's cache
directory (ADVLAB_CACHE moves it). After that everything works without network.`,
		Example: `  go run ./kernel demo                           see a whole experiment run
  go run ./kernel lab                            work in JupyterLab
  go run ./kernel run notebooks/01-quickstart.ipynb --check
  go run ./kernel doctor                         what is missing, and what to type`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misuse("unknown command %q: there are setup, demo, lab, run, new, test, doctor, install, uninstall, kernel, version", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return statusError{misused, err} })
	root.PersistentFlags().BoolVar(&a.offline, "offline", false, "never touch the network, as ADVLAB_OFFLINE=1")
	root.PersistentPreRun = func(*cobra.Command, []string) {
		if a.offline {
			os.Setenv("ADVLAB_OFFLINE", "1") // for all that is started from here
		}
	}
	for _, command := range []*cobra.Command{
		a.demoCommand(), a.labCommand(), a.runCommand(), a.newCommand(), a.testCommand(), a.doctorCommand(), a.setupCommand(),
		a.installCommand(), a.uninstallCommand(), a.kernelCommand(), a.versionCommand(), guardCommand(),
	} {
		command.DisableFlagsInUseLine = true
		root.AddCommand(command)
	}
	// One list of exit statuses for all.
	root.SetUsageTemplate(root.UsageTemplate() + "\n" + exitStatuses + "\n\nEnvironment:\n" + environment + "\n")
	return root
}

const environment = `  ADVLAB_CACHE      absolute path of the cache, instead of advlab/ in the user's cache directory
  ADVLAB_OFFLINE=1  never touch the network
  ADVLAB_PYTHON     the Python to make the environment with, instead of python3
  ADVLAB_BACKEND    for cells: xla:cpu, xla:cuda, go or auto`

// noArgs refuses arguments in words a newcomer understands.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return misuse("%s takes no arguments, and got %q", cmd.CommandPath(), args)
	}
	return nil
}

// here finds the checkout that the working directory is in. Elsewhere, as in an image, the copy of this program that a
// set-up has made serves the checkout it was made from.
func (a *app) here() (place.Place, error) {
	p, err := place.Here()
	if err == nil {
		return p, nil
	}
	if self, exeErr := os.Executable(); exeErr == nil && errors.Is(err, place.ErrNoCheckout) {
		if p, ok := place.OfProgram(self); ok {
			if facts, factsErr := session.ReadFacts(p); factsErr == nil {
				p.Checkout = facts.Checkout
				return p, nil
			}
		}
	}
	return p, statusError{unprepared, err}
}

// prepare sets up quietly where there is nothing to do, and tells its progress where there is.
func (a *app) prepare(ctx context.Context, printer *progress.Printer) (place.Place, session.Facts, []setup.Result, error) {
	p, err := a.here()
	if err != nil {
		return p, session.Facts{}, nil, err
	}
	results, err := setup.Run(ctx, p, setup.Options{Offline: a.offline}, printer)
	if err != nil {
		return p, session.Facts{}, results, statusError{unprepared, err}
	}
	facts, err := session.ReadFacts(p)
	return p, facts, results, err
}

func (a *app) printJSON(value any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(value)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// Exit statuses.
const (
	done        = 0
	tooLow      = 1 // the robust or certified accuracy, or its lower bound, is below --min-robust or --min-certified
	misused     = 2 // unknown command or flag, or a file that is not what it should be
	failed      = 3 // nothing, or not all, could be computed
	undecided   = 4 // verify: neither proof nor counterexample
	interrupted = 130

	counterexample = 1 // verify: there is one
)

const exitStatuses = `Exit status:
  0    done; with --min-robust and --min-certified, every ε reaches them
  1    the robust accuracy is below --min-robust, or the certified one below --min-certified
  2    unknown command or flag, or a file that is missing, damaged or does not fit
  3    something that is needed is missing, an attack failed, or an example is both certified and broken;
       with --strict, the model's logits are not finite for an example
  130  interrupted (Ctrl-C, SIGTERM); what was found is printed, and nothing is judged`

// statusError is an error with an exit status of its own.
type statusError struct {
	status int
	err    error
}

func (e statusError) Error() string { return e.err.Error() }
func (e statusError) Unwrap() error { return e.err }

func misuse(format string, args ...any) error {
	return statusError{misused, fmt.Errorf(format, args...)}
}

// Main runs the program and returns the exit status.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	return runFrom(ctx, started, os.Args[1:], os.Stdout, os.Stderr)
}

// started is when the program was.
var started = time.Now()

// run executes a command line, its progress and errors going to progress, and returns the exit status.
func run(ctx context.Context, args []string, out, progress io.Writer) int {
	return runFrom(ctx, time.Now(), args, out, progress)
}

// runFrom is run for a program that began at start.
func runFrom(ctx context.Context, start time.Time, args []string, out, progress io.Writer) int {
	root := newRoot(start, out, progress)
	root.SetArgs(args)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return done
	}
	var exit exitStatus
	if errors.As(err, &exit) {
		return int(exit)
	}
	status := failed
	var coded statusError
	if errors.As(err, &coded) {
		status = coded.status
	}
	if errors.Is(err, context.Canceled) {
		status = interrupted
	}
	fmt.Fprintf(progress, "advlib: %s\n", strings.TrimPrefix(err.Error(), "advlib: ")) // the library's errors begin with its name
	if status == misused {
		fmt.Fprintf(progress, "`%s --help` shows how it is used\n", command.CommandPath())
	}
	return status
}

func newRoot(start time.Time, out, progress io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "advlib",
		Short: "Measure the robustness of classifiers, and verify networks",
		Long: `advlib measures how robust a classifier is against adversarial examples, makes it more robust, and proves
properties of networks.

In the checkout, write "go run ./advlib/cmd/advlib" for "advlib". What a notebook does in Go, with package
advlib, this program does for a model in a file.`,
		Example:       "  advlib evaluate --model m.onnx --data test.npz --eps 8/255",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misuse("unknown command %q: there are attack, detect, diagnose, evaluate, harden, report, serve, verify", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(out)
	root.SetErr(progress)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return statusError{misused, err} })
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(newAttack(), newDetect(), newDiagnose(), newEvaluate(), newHarden(), newReport(), newServe(), newVerify(start))
	return root
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"advlab/kernel/internal/progress"
	"advlab/kernel/internal/session"
)

func (a *app) labCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lab [PATH] [-- JUPYTERLAB'S OWN FLAGS]",
		Short: "Set up, open JupyterLab",
		Long: `lab prepares what is missing and starts JupyterLab, in which notebooks have the kernel "Go (advlab)". It opens
a notebook or a folder, the checkout's notebooks/ if none is named. Ctrl-C, twice, ends it.

What follows -- goes to JupyterLab as it is.`,
		Example: `  go run ./kernel lab
  go run ./kernel lab notebooks/01-quickstart.ipynb
  go run ./kernel lab ~/course -- --no-browser --port 8890`,
		Args: func(cmd *cobra.Command, args []string) error {
			own := args
			if at := cmd.ArgsLenAtDash(); at >= 0 {
				own = args[:at]
			}
			if len(own) > 1 {
				return misuse("lab opens one path, and got %q; flags for JupyterLab come after --", own)
			}
			if len(own) == 1 {
				if _, err := os.Stat(own[0]); err != nil {
					return misuse("%w", err)
				}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			path := ""
			if at := cmd.ArgsLenAtDash(); at != 0 && len(args) > 0 {
				path, args = args[0], args[1:]
			}
			return a.lab(cmd.Context(), path, args)
		},
	}
	return cmd
}

func (a *app) lab(ctx context.Context, path string, extra []string) error {
	printer := progress.New(a.err)
	p, _, _, err := a.prepare(ctx, printer)
	if err != nil {
		return err
	}
	if path == "" {
		path = filepath.Join(p.Checkout, "notebooks")
	}
	if path, err = filepath.Abs(path); err != nil {
		return err
	}
	printer.Line("lab", "starting JupyterLab on %s", path)
	cmd := exec.CommandContext(ctx, p.PythonExe(), append([]string{"-m", "jupyterlab", path}, extra...)...)
	cmd.Env = session.JupyterEnv(p, os.Environ())
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// Ctrl-C reaches JupyterLab by itself, which asks whether it is meant; a SIGTERM is passed on.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return fmt.Errorf("JupyterLab ended with status %d", exit.ExitCode())
	}
	return err
}

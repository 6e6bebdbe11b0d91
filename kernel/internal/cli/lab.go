package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"advlab/kernel/internal/place"
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
			if err := refuseRoot(os.Geteuid(), args); err != nil {
				return err // before minutes are spent on the set-up
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
	printer.Line("lab", "starting JupyterLab on %s: Ctrl-C, twice, ends it", place.Short(path))
	cmd := exec.CommandContext(ctx, p.PythonExe(), append([]string{"-m", "jupyterlab", path}, labFlags(extra)...)...)
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

// refuseRoot says what to do where JupyterLab itself would refuse to start.
func refuseRoot(uid int, extra []string) error {
	allowed := slices.ContainsFunc(extra, func(arg string) bool {
		return strings.HasPrefix(arg, "--allow-root") || strings.HasPrefix(arg, "--ServerApp.allow_root")
	})
	if uid != 0 || allowed {
		return nil
	}
	return misuse("JupyterLab does not run as root unless it is told to: become another user, or, where there is none, as in a container, " +
		"add `-- --allow-root`")
}

// labFlags are JupyterLab's flags. It tells forty lines before the one with its address, which comes at every level, so
// it is asked for warnings only, unless the user has chosen.
func labFlags(extra []string) []string {
	chosen := slices.ContainsFunc(extra, func(arg string) bool {
		return arg == "--debug" || strings.Contains(arg, "log-level") || strings.Contains(arg, "log_level")
	})
	if chosen {
		return extra
	}
	return append([]string{"--log-level=WARN"}, extra...)
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"advlab/kernel/internal/kernelspec"
	"advlab/kernel/internal/place"
	"advlab/kernel/internal/progress"
	"advlab/kernel/internal/session"
)

// target is where kernelspecs are installed.
type target struct {
	user, sysPrefix bool
	prefix          string
}

func (t *target) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&t.user, "user", false, "for the user (the default)")
	cmd.Flags().BoolVar(&t.sysPrefix, "sys-prefix", false, "in the Python environment that python3 on PATH belongs to")
	cmd.Flags().StringVar(&t.prefix, "prefix", "", "below `DIR`, such as /usr/local or /opt/conda")
}

// dir returns the folder of kernels.
func (t *target) dir(ctx context.Context, cmd *cobra.Command) (string, error) {
	named := 0
	for _, flag := range []string{"user", "sys-prefix", "prefix"} {
		if cmd.Flags().Changed(flag) {
			named++
		}
	}
	switch {
	case named > 1:
		return "", misuse("--user, --sys-prefix and --prefix name different places: give one of them")
	case cmd.Flags().Changed("prefix"):
		if t.prefix == "" {
			return "", misuse("--prefix needs a folder")
		}
		prefix, err := filepath.Abs(t.prefix)
		return kernelspec.PrefixDir(prefix), err
	case t.sysPrefix:
		out, err := exec.CommandContext(ctx, "python3", "-c", "import sys; print(sys.prefix)").Output()
		if err != nil {
			return "", statusError{unprepared, fmt.Errorf("asking python3 for its prefix: %w: use --prefix DIR", err)}
		}
		return kernelspec.PrefixDir(strings.TrimSpace(string(out))), nil
	}
	return kernelspec.UserDir()
}

func (a *app) installCommand() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:   "install [--user | --sys-prefix | --prefix DIR]",
		Short: "Make the kernel known to another Jupyter",
		Long: `install writes the kernelspecs advlab and advlab-ci where your own Jupyter or JupyterHub finds them; then "Go
(advlab)" is among its kernels. Beside them goes a small extension of JupyterLab: it shows how long each cell took, and
keeps in the notebook what the kernel tells of it. It sets up first if that was never done.

The kernels use what set-up has made in the cache, and this checkout: where one of the two is moved, install again. It
leaves a kernel of the same name alone that advlab did not write.`,
		Example: `  go run ./kernel install                    for you
  go run ./kernel install --sys-prefix       for the active virtual or conda environment
  sudo go run ./kernel install --prefix /usr/local`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := t.dir(cmd.Context(), cmd)
			if err != nil {
				return err
			}
			p, err := a.here()
			if err != nil {
				return err
			}
			if _, err := session.ReadFacts(p); errors.Is(err, session.ErrNotPrepared) {
				if _, _, _, err := a.prepare(cmd.Context(), progress.New(a.err)); err != nil {
					return err
				}
			} else if err != nil {
				return err
			}
			if _, err := os.Stat(p.Program()); err != nil {
				return fmt.Errorf("%w: %w", session.ErrNotPrepared, err)
			}
			files, err := kernelspec.Write(p, dir)
			if err != nil {
				return err
			}
			for _, file := range files {
				fmt.Fprintf(a.out, "installed %s\n", place.Short(file))
			}
			return nil
		},
	}
	t.flags(cmd)
	return cmd
}

func (a *app) uninstallCommand() *cobra.Command {
	var t target
	cmd := &cobra.Command{
		Use:   "uninstall [--user | --sys-prefix | --prefix DIR]",
		Short: "Take the kernel away again",
		Long: `uninstall removes what install has written to the same place. A kernel of the same name that advlab did not
write stays. What set-up has made stays too: it is all in the cache, which may be removed as a whole.`,
		Example: `  go run ./kernel uninstall
  go run ./kernel uninstall --prefix /usr/local`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := t.dir(cmd.Context(), cmd)
			if err != nil {
				return err
			}
			removed, err := kernelspec.Remove(dir)
			for _, folder := range removed {
				fmt.Fprintf(a.out, "removed %s\n", place.Short(folder))
			}
			if err == nil && len(removed) == 0 {
				fmt.Fprintf(a.out, "nothing to remove in %s\n", place.Short(dir))
			}
			return err
		},
	}
	t.flags(cmd)
	return cmd
}

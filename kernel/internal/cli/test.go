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

func (a *app) testCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test [-- GO TEST'S OWN FLAGS AND PACKAGES]",
		Short: "Set up, run the whole test suite",
		Long: `test prepares what is missing, then runs "go vet ./..." and "go test ./..." of the whole module, with the plugin,
the tools and the Python environment where the tests look for them. Tests that need the real kernel run too.

What follows -- goes to go test as it is; packages among it replace ./... .`,
		Example: `  go run ./kernel test
  go run ./kernel test -- -short
  go run ./kernel test -- -run TestNotebook -v ./kernel/...`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && cmd.ArgsLenAtDash() != 0 {
				return misuse("test takes no arguments before --, and got %q: flags and packages for go test come after --", args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.test(cmd.Context(), args) },
	}
	return cmd
}

func (a *app) test(ctx context.Context, args []string) error {
	printer := progress.New(a.err)
	p, facts, _, err := a.prepare(ctx, printer)
	if err != nil {
		return err
	}
	packages := slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return !isPackage(arg) })
	if len(packages) == 0 {
		packages = []string{"./..."}
		args = append(slices.Clone(args), packages...)
	}
	vet := append([]string{"vet"}, packages...)
	// A cold XLA compile on a shared core is slow; 10 minutes, go test's default, are not enough for all of a package.
	test := append([]string{"test", "-timeout=30m"}, args...)
	for _, command := range [][]string{vet, test} {
		printer.Line("test", "go %s", strings.Join(command, " "))
		if err := a.goCommand(ctx, p, facts, command); err != nil {
			return err
		}
	}
	printer.Line("test", "passed")
	return nil
}

func isPackage(arg string) bool {
	return arg == "." || strings.HasPrefix(arg, "./") || strings.HasPrefix(arg, place.Module+"/")
}

// TestEnv is the environment of the test suite: the tools and the plugin where the cells have them, and a mark by which
// tests know that what they need must be there.
func TestEnv(p place.Place, facts session.Facts, base []string) []string {
	env := slices.DeleteFunc(slices.Clone(base), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return name == "GOROOT" || name == "PATH"
	})
	env = append(env,
		"PATH="+p.Tools()+string(os.PathListSeparator)+filepath.Join(facts.GoRoot, "bin")+string(os.PathListSeparator)+os.Getenv("PATH"),
		"VIRTUAL_ENV="+p.Python(),
		"GOMLX_NO_AUTO_INSTALL=1",
		Prepared+"=1",
	)
	if os.Getenv("TF_CPP_MIN_LOG_LEVEL") == "" {
		env = append(env, "TF_CPP_MIN_LOG_LEVEL=3")
	}
	if os.Getenv("PJRT_PLUGIN_LIBRARY_PATH") == "" && facts.Plugin != "" {
		env = append(env, "PJRT_PLUGIN_LIBRARY_PATH="+facts.Plugin)
	}
	return env
}

// Prepared names the environment variable that `advlab test` sets: tests that need the prepared environment then fail
// instead of being skipped.
const Prepared = "ADVLAB_PREPARED"

func (a *app) goCommand(ctx context.Context, p place.Place, facts session.Facts, args []string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = p.Checkout
	cmd.Env = TestEnv(p, facts, os.Environ())
	cmd.Stdout, cmd.Stderr = a.out, a.err
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 15 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return fmt.Errorf("go %s failed", args[0])
	}
	return err
}

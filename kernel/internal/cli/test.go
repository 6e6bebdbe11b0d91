package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"advlab/kernel/internal/kernelspec"
	"advlab/kernel/internal/place"
	"advlab/kernel/internal/progress"
	"advlab/kernel/internal/session"
)

func (a *app) testCommand() *cobra.Command {
	quick := false
	cmd := &cobra.Command{
		Use:   "test [--quick] [-- GO TEST'S OWN FLAGS AND PACKAGES]",
		Short: "Set up, run the whole test suite",
		Long: `test prepares what is missing, then runs "go vet ./..." and "go test ./..." of the whole module, with the plugin,
the tools and the Python environment where the tests look for them. Tests that need the real kernel run too.
It says from time to time how far it is, and at the end which tests were skipped, and why.

--quick tells in less than three minutes whether the installation works: it compares the first notebook's numbers in a real
Jupyter kernel, and runs a few tests of each part.

What follows -- goes to go test as it is; packages among it replace ./... .`,
		Example: `  go run ./kernel test
  go run ./kernel test --quick
  go run ./kernel test -- -short
  go run ./kernel test -- -run TestNotebook -v ./kernel/...`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && cmd.ArgsLenAtDash() != 0 {
				return misuse("test takes no arguments before --, and got %q: flags and packages for go test come after --", args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if !quick {
				return a.test(cmd.Context(), args)
			}
			if len(args) > 0 {
				return misuse("test --quick chooses tests itself, and got %q: leave --quick out", args)
			}
			return a.quickTest(cmd.Context())
		},
	}
	cmd.Flags().BoolVar(&quick, "quick", false, "see in a few minutes whether the installation works")
	return cmd
}

// quickTests are tests of each part, chosen because they are fast and compare with what is known from elsewhere.
var quickTests = []struct{ pkg, name string }{
	{"./advlib/backend", "TestChoices"},          // a backend opens, or says why not
	{"./advlib", "TestProjectIsTheNearestPoint"}, // against the definition
	{"./advlib/attack", "TestLinearPGD"},         // against the closed form
	{"./advlib/certify", "TestLinearModelIsExact"},
	{"./advlib/onnx", "TestModelsOfPyTorch"}, // against PyTorch's outputs
	{"./advlib/lab", "TestKeepMakesOnce"},
	{"./kernel/internal/relay", "TestExecute"}, // cells, in a kernel
}

func (a *app) quickTest(ctx context.Context) error {
	p, err := place.Here()
	if err != nil {
		return err
	}
	if err := a.run(ctx, []string{filepath.Join(p.Checkout, "notebooks", "01-quickstart.ipynb")},
		runFlags{check: true, kernel: kernelspec.Name}); err != nil {
		return err
	}
	var names, packages []string
	for _, t := range quickTests {
		names, packages = append(names, t.name), append(packages, t.pkg)
	}
	return a.test(ctx, append([]string{"-vet=off", "-short", "-run", "^(" + strings.Join(names, "|") + ")$"}, packages...))
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
	if !slices.Contains(args, "-vet=off") {
		vet := append([]string{"vet"}, packages...)
		printer.Line("test", "go %s", strings.Join(vet, " "))
		if err := a.goCommand(ctx, p, facts, vet, a.out); err != nil {
			return err
		}
	}
	// A cold XLA compile on a shared core is slow, and package kernel runs all notebooks: 10 minutes, go test's default,
	// are not enough for all of a package.
	test := append([]string{"test", "-timeout=60m"}, args...)
	printer.Line("test", "go %s", strings.Join(test, " "))
	if err := a.follow(ctx, p, facts, test, packages, printer); err != nil {
		return err
	}
	printer.Line("test", "passed")
	return nil
}

// follow runs go test, and says from time to time how far it is. Who asks for another output than go test's short one
// gets that.
func (a *app) follow(ctx context.Context, p place.Place, facts session.Facts, test, packages []string, printer *progress.Printer) error {
	if slices.ContainsFunc(test, func(arg string) bool {
		return strings.HasPrefix(arg, "-v") && !strings.HasPrefix(arg, "-vet") || strings.HasPrefix(arg, "-json") ||
			strings.HasPrefix(arg, "-bench") ||
			strings.HasPrefix(arg, "-fuzz") || strings.HasPrefix(arg, "-list") || arg == "-c" || arg == "-exec"
	}) {
		return a.goCommand(ctx, p, facts, test, a.out)
	}
	var list strings.Builder
	if err := a.goCommand(ctx, p, facts, append([]string{"list"}, packages...), &list); err != nil {
		return err
	}
	step := printer.Begin("test", "building tests")
	run := newGoTest(a.out, len(strings.Fields(list.String())), func(text string) { step.Doing("%s", text) })
	events, to := io.Pipe()
	read := make(chan error, 1)
	go func() { read <- run.read(events) }()
	err := a.goCommand(ctx, p, facts, append([]string{"test", "-json"}, test[1:]...), to)
	_ = to.Close()
	readErr := <-read
	step.End("%d of %d packages done", run.done, run.of)
	if text := run.summary(); text != "" {
		printer.Line("test", "%s", text)
	}
	return errors.Join(err, readErr)
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

func (a *app) goCommand(ctx context.Context, p place.Place, facts session.Facts, args []string, out io.Writer) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = p.Checkout
	cmd.Env = TestEnv(p, facts, os.Environ())
	cmd.Stdout, cmd.Stderr = out, a.err
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 15 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return fmt.Errorf("go %s failed", args[0])
	}
	return err
}

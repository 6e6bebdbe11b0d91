package relay

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"advlab/kernel/internal/guard"
	"advlab/kernel/internal/magic"
)

// The test binary is also the kernel that tests start, and its guard, as the program advlab is both.
const roleVariable = "RELAY_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "":
		os.Exit(m.Run())
	case "kernel":
		if len(os.Args) > 1 && os.Args[1] == "guard" {
			os.Exit(guard.Run(os.Args[2:]))
		}
		if err := testKernel(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	fmt.Fprintf(os.Stderr, "%s=%q\n", roleVariable, os.Getenv(roleVariable))
	os.Exit(2)
}

// testKernel is what `advlab kernel -f FILE` will do.
func testKernel(args []string) error {
	flags := flag.NewFlagSet("kernel", flag.ContinueOnError)
	connection := flags.String("f", "", "")
	gonb := flags.String("gonb", "", "")
	gopls := flags.String("gopls", "", "")
	pump := flags.String("pump", "", "")
	goWork := flags.String("go_work", "", "")
	overflow := flags.String("overflow", "", "")
	history := flags.String("history", "", "")
	beat := flags.Duration("beat", 0, "")
	limit := flags.Duration("limit", 0, "")
	fold := flags.Bool("fold", false, "")
	notice := flags.Duration("notice", 0, "")
	checkout := flags.String("checkout", "", "")
	guard := flags.Bool("guard", true, "")
	output := flags.Int("output", 0, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "relay-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := Config{
		Connection: *connection, Dir: dir, Signals: signals, Version: "test", GoVersion: goVersion(), GoRoot: goRoot(), Gopls: *gopls,
		Pump: *pump, History: *history, Overflow: *overflow, CellLimit: *limit, OutputLimit: *output, Beat: *beat, Log: os.Stderr,
		BuildNotice: *notice, Checkout: *checkout, FoldStderr: *fold,
		Magics: magic.List{"hello": {Help: "says hello", Run: func(arguments []string) (map[string]any, error) {
			if len(arguments) != 1 {
				return nil, fmt.Errorf("takes one name, and got %q", arguments)
			}
			return map[string]any{"text/plain": "hello " + arguments[0]}, nil
		}}, "setting": {
			Help:    "sets a variable",
			Run:     func([]string) (map[string]any, error) { return nil, nil },
			Instead: func(arguments []string) string { return "%env " + arguments[0] },
		}},
		Start: func(file, temp string) *exec.Cmd {
			cmd := exec.Command(*gonb, "-kernel", file, "-raw_error", "-go_work="+*goWork)
			cmd.Env = append(os.Environ(), "TMPDIR="+temp)
			cmd.Stderr = os.Stderr
			return cmd
		},
	}
	if *guard {
		c.Guard = []string{self, "guard"}
	}
	err = Run(context.Background(), c)
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

func goOutput(args ...string) string {
	out, err := exec.Command("go", args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

func goVersion() string { return goOutput("env", "GOVERSION") }
func goRoot() string    { return goOutput("env", "GOROOT") }

// eventually fails the test where something does not come true.
func eventually(t testing.TB, what string, limit time.Duration, true_ func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !true_(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}

// cloneCommand makes a kernel's command, which can be started once, anew.
func cloneCommand(k *kernel) *exec.Cmd {
	cmd := exec.Command(k.cmd.Path, k.cmd.Args[1:]...)
	cmd.Env, cmd.Stderr, cmd.SysProcAttr = k.cmd.Env, k.cmd.Stderr, k.cmd.SysProcAttr
	return cmd
}

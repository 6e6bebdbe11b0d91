package backend_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"advlab/advlib/backend"
	"advlab/advlib/backend/plugin"
	"advlab/advlib/cachedir"
)

// A backend is opened once per process, and the cache is for other processes: so most tests run this test binary
// again, as a child that opens a backend, runs programs and reports in JSON.

// task is what a child is to do.
type task struct {
	Backend  string   // "" to leave the choice to ADVLAB_BACKEND
	Programs []string // names in programs, in order
}

// report is what a child did.
type report struct {
	Info     backend.Info
	Digests  map[string]string // of each program's outputs
	Stats    backend.Stats
	Error    string // of Open
	Installs int    // how often Open made go-xla install plugins
	Open     time.Duration
}

const taskVariable = "ADVLAB_BACKEND_TEST_TASK"

func TestMain(m *testing.M) {
	if text := os.Getenv(taskVariable); text != "" {
		if err := child(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if text := os.Getenv(stormVariable); text != "" {
		if err := weather(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	// Nothing that is tested here may read or fill the user's cache. The plugin has been looked for before.
	if found, err := plugin.Find(plugin.CPU); err == nil {
		cpuPlugin = found.Path
	} else {
		cpuPluginMissing = err
	}
	dir, err := os.MkdirTemp("", "advlab-backend-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := os.Setenv(cachedir.Variable, dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

var (
	cpuPlugin        string // path
	cpuPluginMissing error
)

// needPlugin skips a test that cannot do without XLA and returns the environment in which a child finds the plugin.
func needPlugin(t testing.TB) []string {
	t.Helper()
	if !xlaIsBuiltIn {
		t.Skip("built without XLA (it needs Linux and cgo)")
	}
	if cpuPluginMissing != nil {
		t.Skipf("needs XLA's plugin for the CPU, which `go run ./kernel test` sets up: %v", cpuPluginMissing)
	}
	dir := t.TempDir()
	if err := os.Symlink(cpuPlugin, dir+"/"+plugin.CPU.FileName()); err != nil {
		t.Fatal(err)
	}
	return []string{plugin.Variable + "=" + dir}
}

// Set where XLA is built in:
var (
	countInstalls func(n *int)            // makes go-xla count in n instead of installing plugins
	weather       func(text string) error // the child of TestSignals, which stormVariable has instead of a task
)

const stormVariable = "ADVLAB_BACKEND_TEST_STORM"

func child(text string) error {
	var do task
	if err := json.Unmarshal([]byte(text), &do); err != nil {
		return err
	}
	done, err := work(do)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(done)
}

func work(do task) (report, error) {
	r := report{Digests: map[string]string{}}
	if do.Backend != "" {
		if err := backend.Use(do.Backend); err != nil {
			return r, err
		}
	}
	if countInstalls != nil {
		countInstalls(&r.Installs)
	}
	begin := time.Now()
	b, err := backend.Open()
	r.Open = time.Since(begin)
	if err != nil {
		r.Error = err.Error()
		return r, nil
	}
	if r.Info, err = backend.Describe(); err != nil {
		return r, err
	}
	for _, name := range do.Programs {
		outputs, err := program(name)(b)
		if err != nil {
			return r, fmt.Errorf("%s: %w", name, err)
		}
		if r.Digests[name], err = digest(outputs); err != nil {
			return r, fmt.Errorf("%s: %w", name, err)
		}
	}
	r.Stats = backend.CacheStats()
	return r, nil
}

// childPrefix is a command that starts the child, nil for none.
var childPrefix []string

// start starts a child with the environment's variables replaced by env; wait returns its report. A child that prints
// anything to stderr fails the test: in a notebook it would stand in the cell.
func start(t testing.TB, do task, env ...string) (wait func() report) {
	t.Helper()
	text, err := json.Marshal(do)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	args := append(slices.Clone(childPrefix), self)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// GOCOVERDIR silences the runtime of a test binary built with -cover.
	cmd.Env = replace(os.Environ(), append([]string{backend.Variable + "=", "XLA_FLAGS=", taskVariable + "=" + string(text),
		"GOCOVERDIR=" + t.TempDir()}, env...))
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	return func() report {
		t.Helper()
		defer cancel()
		err := cmd.Wait()
		var r report
		if err == nil {
			err = json.Unmarshal(stdout.Bytes(), &r)
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			t.Fatalf("child: %v\nstdout: %s\nstderr: %s", err, &stdout, &stderr)
		}
		if stderr.Len() > 0 {
			t.Errorf("child wrote to stderr: %s", &stderr)
		}
		return r
	}
}

// run starts a child and waits for its report.
func run(t testing.TB, do task, env ...string) report {
	t.Helper()
	return start(t, do, env...)()
}

// replace returns env with the given variables, NAME=VALUE, in place of those of the same name; of two given the last
// counts.
func replace(env, with []string) []string {
	for _, w := range with {
		name, _, _ := strings.Cut(w, "=")
		env = slices.DeleteFunc(env, func(s string) bool { return strings.HasPrefix(s, name+"=") })
		env = append(env, w)
	}
	return env
}

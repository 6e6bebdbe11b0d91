package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"advlab/advlib"
	"advlab/advlib/cachedir"
	"advlab/advlib/dataset"
	"advlab/advlib/lab"
	"advlab/advlib/zoo"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"advlib": func() { os.Exit(Main()) }})
}

// models are the fixtures of package onnx: PyTorch 2.13.0 classifies 123 of the 128 digits right, and 55 after FGSM with
// ε = 0.1.
func models(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("../../onnx/testdata")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestScripts runs testdata/*.txtar. $MODELS is where the models are.
func TestScripts(t *testing.T) {
	dir := models(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("MODELS", dir)
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv(cachedir.Variable, filepath.Join(env.WorkDir, "cache"))
			for _, name := range []string{"ADVLAB_BACKEND", "PJRT_PLUGIN_LIBRARY_PATH", "GOMLX_NO_AUTO_INSTALL"} {
				if v, ok := os.LookupEnv(name); ok {
					env.Setenv(name, v)
				}
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"exits": exits},
	})
}

// exits runs a command and compares its exit status: exits 2 advlib nonsense.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND [ARG...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s: exit status %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// canceller cancels when it is told about the first attack.
type canceller struct {
	bytes.Buffer
	cancel func()
}

func (c *canceller) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("attack 1 of")) {
		c.cancel()
	}
	return c.Buffer.Write(p)
}

// TestInterrupted: what was found before is written.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	progress := &canceller{cancel: cancel}
	var out bytes.Buffer
	status := run(ctx, []string{
		"evaluate", "--model", filepath.Join(models(t), "pytorch-script.onnx"), "--data", filepath.Join(models(t), "pytorch.npz"), "--layout", "channels-last",
		"--eps", "0.1", "--attacks", "fgm,pgd", "--format", "json", "--min-robust", "0.9",
	}, &out, progress)
	if status != interrupted {
		t.Errorf("exit status %d, want %d", status, interrupted)
	}
	var r advlib.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	if len(r.Attacks) != 1 || r.Attacks[0].Name != "FGM Linf ≤ 0.1" || len(r.Warnings) == 0 || !strings.Contains(r.Warnings[len(r.Warnings)-1], "1 of 2 attacks") {
		t.Errorf("attacks %v, warnings %q", r.Attacks, r.Warnings)
	}
	if got := r.Clean().Count; got != 123 {
		t.Errorf("%d are right, PyTorch has 123", got)
	}
	if !strings.Contains(progress.String(), "after 1 of 2 attacks") {
		t.Errorf("said %q", progress.String())
	}
}

// TestStore evaluates a model of the zoo by its key, and refuses one whose function is not the zoo's.
func TestStore(t *testing.T) {
	t.Setenv(cachedir.Variable, t.TempDir())
	train, _ := dataset.Digits()
	train = train.First(200)
	m := zoo.MLP(12)
	m.Epochs = 2
	clf, err := m.Fit(t.Context(), train)
	if err != nil {
		t.Fatal(err)
	}
	other := m
	other.Name, other.Seed = "mine", 1
	if _, err := other.Fit(t.Context(), train); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(models(t), "pytorch.npz")
	examples, err := dataset.NPZ(data)
	if err != nil {
		t.Fatal(err)
	}
	want, err := clf.Logits(examples.X)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := lab.List()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, e := range entries {
		if e.Kind != lab.Models.Name {
			continue
		}
		seen++
		var out, progress bytes.Buffer
		status := run(t.Context(), []string{"evaluate", "--store", e.Key[:9], "--data", data, "--eps", "0.05", "--attacks", "fgm", "--format", "json"}, &out, &progress)
		if strings.HasPrefix(e.Name, "mine") {
			if status != misused || !strings.Contains(progress.String(), "cannot be rebuilt") || !strings.Contains(progress.String(), "mine") {
				t.Errorf("exit status %d: %s", status, progress.String())
			}
			continue
		}
		var r advlib.Report
		if err := json.Unmarshal(out.Bytes(), &r); err != nil || status != done {
			t.Fatalf("exit status %d: %v: %s", status, err, progress.String())
		}
		for i, z := range want {
			best := 0
			for k := range z {
				if z[k] > z[best] {
					best = k
				}
			}
			if int(r.Predicted[i]) != best {
				t.Errorf("example %d is predicted %d, by the classifier itself %d", i, r.Predicted[i], best)
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d models in the store", seen)
	}
	var out, progress bytes.Buffer
	if status := run(t.Context(), []string{"evaluate", "--store", "nowhere", "--data", data, "--eps", "0.05"}, &out, &progress); status != misused || !strings.Contains(progress.String(), "nowhere") {
		t.Errorf("exit status %d: %s", status, progress.String())
	}
}

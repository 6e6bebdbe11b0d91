package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"advlab/kernel/internal/cli"
	"advlab/kernel/internal/place"
	"advlab/kernel/internal/session"
)

func TestMain(m *testing.M) {
	if os.Getenv(cutOff) != "" {
		raiseLoopback()
	}
	testscript.Main(m, map[string]func(){"advlab": func() { os.Exit(cli.Main(os.Args[1:])) }})
}

// TestScripts runs testdata/*.txtar: what the command line answers, without the prepared environment.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("ADVLAB_CACHE", filepath.Join(env.WorkDir, "cache"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits,
			"facts": facts,
		},
	})
}

// exits runs a command and compares its exit status: exits 2 advlab nonsense.
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

// facts makes the checkout $WORK/checkout look like one that was set up, as far as install looks.
func facts(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: facts")
	}
	checkout, err := filepath.EvalSymlinks(ts.MkAbs("checkout"))
	ts.Check(err)
	p := place.Of(ts.Getenv("ADVLAB_CACHE"), checkout)
	ts.Check(session.WriteFacts(p, session.Facts{Checkout: checkout}))
	ts.Check(os.MkdirAll(filepath.Dir(p.Program()), 0o700))
	ts.Check(os.WriteFile(p.Program(), nil, 0o700))
	ts.Setenv("SPACE", p.Space())
}

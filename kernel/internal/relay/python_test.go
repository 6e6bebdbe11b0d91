package relay

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// jupyterCommand prepares a Jupyter that knows the test's kernel by the name relay, and returns a command's maker.
func jupyterCommand(t *testing.T) func(name string, args ...string) *exec.Cmd {
	t.Helper()
	p := prepared(t)
	if _, err := os.Stat(p.PythonExe()); err != nil {
		t.Skipf("%s is missing: `go run ./kernel test` prepares Jupyter and runs this test", p.PythonExe())
	}
	argv, env := kernelCommand(t, p, "-f", "{connection_file}")
	variables := map[string]string{}
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		variables[name] = value
	}
	spec, err := json.Marshal(map[string]any{"argv": argv, "display_name": "relay", "language": "go", "interrupt_mode": "message",
		"env": variables})
	if err != nil {
		t.Fatal(err)
	}
	home := shortTemp(t)
	folder := filepath.Join(home, "jupyter", "kernels", "relay")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "kernel.json"), spec, 0o600); err != nil {
		t.Fatal(err)
	}
	return func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(p.Python(), "bin", name), args...)
		cmd.Env = append(os.Environ(), "JUPYTER_PATH="+filepath.Join(home, "jupyter"), "JUPYTER_RUNTIME_DIR="+filepath.Join(home, "run"),
			"TMPDIR="+home, "ADVLAB_TEST_KERNEL=relay")
		return cmd
	}
}

func TestJupyterKernelTest(t *testing.T) {
	command := jupyterCommand(t)
	cmd := command("python", filepath.Join("testdata", "kernel_test.py"))
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("%v", err)
	}
	ran := regexp.MustCompile(`(?m)^(test_\w+) .*?\.\.\. (ok|skipped .*|FAIL|ERROR)$`).FindAllStringSubmatch(string(out), -1)
	passed := 0
	for _, m := range ran {
		t.Logf("%s: %s", m[1], m[2])
		switch {
		case m[2] == "ok":
			passed++
		case strings.HasPrefix(m[2], "skipped") && m[1] == "test_pager": // Go programs have nothing to page
		default:
			t.Errorf("%s: %s", m[1], m[2])
		}
	}
	if passed != 13 || len(ran) != 14 { // jupyter_kernel_test 0.7.0 has 13 tests, and ours of stdin is one
		t.Errorf("%d of %d tests passed, want 13 of 14", passed, len(ran))
	}
	if t.Failed() {
		t.Logf("%s\n%s", out, &log)
	}
}

// The same suite on GoNB as it comes, beside this kernel: what the relay is for. A test that is never answered takes a
// minute, so this is for ADVLAB_FULL=1.
func TestJupyterKernelTestBesideGoNB(t *testing.T) {
	if os.Getenv("ADVLAB_FULL") == "" {
		t.Skip("takes minutes: ADVLAB_FULL=1 runs it")
	}
	p := prepared(t)
	command := jupyterCommand(t)
	cmd := command("python", filepath.Join("testdata", "beside.py"), "relay", "gonb")
	folder := filepath.Join(t.TempDir(), "kernels", "gonb")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	// With the modules of the workspace, without which it has no gonbui, and with its gopls.
	spec, err := json.Marshal(map[string]any{"argv": []string{filepath.Join(p.Tools(), "gonb"), "-kernel", "{connection_file}",
		"-go_work=" + p.ModuleDir()}, "display_name": "gonb", "language": "go", "interrupt_mode": "message",
		"env": map[string]string{"GOPROXY": "off", "GOFLAGS": "-ldflags=-s",
			"PATH": p.Tools() + string(os.PathListSeparator) + os.Getenv("PATH")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "kernel.json"), spec, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, entry := range cmd.Env {
		if strings.HasPrefix(entry, "JUPYTER_PATH=") {
			cmd.Env[i] = entry + string(os.PathListSeparator) + filepath.Dir(filepath.Dir(folder))
		}
	}
	out, err := cmd.Output()
	t.Logf("\n%s", out)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range strings.Split(strings.TrimSpace(string(out)), "\n")[1:] {
		cells := strings.Split(row, "|")
		want := map[string]string{"test_pager": "n/a", "ok": "13"}[strings.TrimSpace(cells[0])]
		if want == "" {
			want = "ok"
		}
		if got := strings.TrimSpace(cells[1]); got != want {
			t.Errorf("%s: %s, want %s", cells[0], got, want)
		}
	}
}

// notebook writes a notebook of code cells and returns its file.
func notebook(t *testing.T, cells ...string) string {
	t.Helper()
	type cell struct {
		Type     string   `json:"cell_type"`
		Source   string   `json:"source"`
		Metadata struct{} `json:"metadata"`
		Outputs  []any    `json:"outputs"`
		Count    any      `json:"execution_count"`
		ID       string   `json:"id"`
	}
	var list []cell
	for i, source := range cells {
		list = append(list, cell{Type: "code", Source: source, Outputs: []any{}, ID: "cell-" + itoa(i)})
	}
	text, err := json.Marshal(map[string]any{"nbformat": 4, "nbformat_minor": 5, "cells": list,
		"metadata": map[string]any{"kernelspec": map[string]string{"name": "relay", "display_name": "relay", "language": "go"}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "n.ipynb")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestNbconvert(t *testing.T) {
	command := jupyterCommand(t)
	file := notebook(t, "func twice(x int) int {\n\treturn 2 * x\n}", "%%\nfmt.Println(twice(21))")
	// In one step, nbconvert would look for the language before the kernel has told it.
	if out, err := command("jupyter-nbconvert", "--execute", "--inplace", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := command("jupyter-nbconvert", "--to", "html", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	page, err := os.ReadFile(strings.TrimSuffix(file, "ipynb") + "html")
	if err != nil {
		t.Fatal(err)
	}
	// Pygments' class for a keyword that declares, which only its lexer of Go gives to func.
	for _, want := range []string{`<span class="kd">func</span>`, "42"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("no %s in the page", want)
		}
	}
	if out, err := command("jupyter-nbconvert", "--to", "script", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	script, err := os.ReadFile(strings.TrimSuffix(file, "ipynb") + "go")
	if err != nil || !strings.Contains(string(script), "func twice") {
		t.Errorf("the script is %q (%v)", script, err)
	}
}

// An error stops nbclient, and its text is what a person needs.
func TestNbclientShowsTheError(t *testing.T) {
	command := jupyterCommand(t)
	file := notebook(t, "%%\nfmt.Println(1)", "%%\nfmt.Println(undefinedName)", "%%\nfmt.Println(\"never\")")
	out, err := command("jupyter-execute", file).CombinedOutput()
	if err == nil {
		t.Errorf("no error")
	}
	for _, want := range []string{"CompileError: cell 2, line 2: undefined: undefinedName", ">   2 | fmt.Println(undefinedName)"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in what nbclient prints:\n%s", want, out)
		}
	}
	if strings.Contains(string(out), "\nnever\n") {
		t.Error("the cell behind the error was run")
	}
}

func TestConsole(t *testing.T) {
	command := jupyterCommand(t)
	if out, err := command("python", filepath.Join("testdata", "console.py")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestPapermillAndNbval(t *testing.T) {
	command := jupyterCommand(t)
	file := notebook(t, "var eps = 0.25", "%%\nfmt.Println(\"eps\", eps)")
	if out, err := command("papermill", file, file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), "eps 0.25") {
		t.Errorf("papermill's notebook has no output: %v", err)
	}
	if out, err := command("python", "-m", "pytest", "--nbval", "-q", "-p", "no:cacheprovider", file).CombinedOutput(); err != nil ||
		!strings.Contains(string(out), "2 passed") {
		t.Errorf("nbval: %v\n%s", err, out)
	}
}

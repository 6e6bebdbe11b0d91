package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"advlab/kernel/internal/kernelspec"
	"advlab/kernel/internal/notebook"
	"advlab/kernel/internal/session"
)

// quickstart is a real notebook; with few examples it takes seconds.
var quickstart = filepath.Join("..", "notebooks", "01-quickstart.ipynb")

// tool returns the maker of commands of the prepared Python environment. They see the kernels, and write to folder
// only.
func tool(t *testing.T, folder string) func(name string, args ...string) (output string, err error) {
	t.Helper()
	p := prepared(t)
	return func(name string, args ...string) (string, error) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), filepath.Join(p.Python(), "bin", name), args...)
		cmd.Env = append(session.JupyterEnv(p, os.Environ()), "ADVLAB_TEST_KERNEL="+kernelspec.NameCI, "PYTHONDONTWRITEBYTECODE=1",
			"JUPYTER_RUNTIME_DIR="+filepath.Join(folder, "run"), "IPYTHONDIR="+filepath.Join(folder, "ipython"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
}

func readNotebook(t *testing.T, file string) *notebook.Notebook {
	t.Helper()
	n, err := notebook.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestPapermill(t *testing.T) {
	folder := t.TempDir()
	run := tool(t, folder)
	executed := filepath.Join(folder, "executed.ipynb")
	out, err := run("papermill", "--kernel", kernelspec.NameCI, "-p", "examples", "40", "-p", "epsilon", "0.05", "-p", "seed", "7",
		quickstart, executed)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	n := readNotebook(t, executed)
	at := slices.IndexFunc(n.Cells, func(c notebook.Cell) bool { return c.HasTag("injected-parameters") })
	if at < 0 || n.Cells[at].Source != "// Parameters\nvar examples = 40\nvar epsilon = 0.05\nvar seed = 7\n" {
		t.Fatalf("the injected cell is %d: %+v", at, n.Cells[max(0, at)])
	}
	table := n.TextOf("table")
	for _, want := range []string{"seed 7", "0.05", "40"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	if strings.Contains(out, "unknown parameter") {
		t.Errorf("papermill does not find the parameters:\n%s", out)
	}

	if out, err := run("papermill", "--help-notebook", quickstart); err != nil ||
		!strings.Contains(out, "epsilon: Unknown type (default 0.1)") || !strings.Contains(out, "budget") {
		t.Errorf("papermill does not tell the parameters (%v):\n%s", err, out)
	}
	if out, err := run("papermill", "--kernel", kernelspec.NameCI, "-p", "examples", "many", quickstart, executed); err == nil ||
		!strings.Contains(out, "CompileError") {
		t.Errorf("a text where a number belongs (%v):\n%s", err, out)
	}
}

func TestNbval(t *testing.T) {
	folder := t.TempDir()
	run := tool(t, folder)
	file := filepath.Join(folder, "good.ipynb")
	saved, err := os.ReadFile(filepath.Join("testdata", "notebooks", "good.ipynb"))
	if err != nil {
		t.Fatal(err)
	}
	check := func(text string) (string, error) {
		t.Helper()
		text = strings.ReplaceAll(text, `"execution_count": null`, `"execution_count": 1`) // nbval looks at cells that were run
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return run("python", "-m", "pytest", "-p", "no:cacheprovider", "--nbval-lax", "--nbval-kernel-name", kernelspec.NameCI,
			"--rootdir", folder, file)
	}
	if out, err := check(string(saved)); err != nil || !strings.Contains(out, "5 passed") {
		t.Errorf("%v\n%s", err, out)
	}
	// The saved line of the radius, with another value: in tolerance, then out of it.
	line := regexp.MustCompile(`check radius 0\.1 \S+?\\n`)
	for value, same := range map[string]bool{"check radius 0.1001 0.001\\n": true, "check radius 0.102 0.001\\n": false} {
		changed := line.ReplaceAllLiteralString(string(saved), value)
		if changed == string(saved) {
			t.Fatal("the saved notebook has no such line")
		}
		if out, err := check(changed); (err == nil) != same || !same && !strings.Contains(out, "1 failed, 4 passed") {
			t.Errorf("%s: %v, want the same %v\n%s", value, err, same, out)
		}
	}
}

// The project's own notebook, beside its data, as somebody would check it.
func TestNbvalOnARealNotebook(t *testing.T) {
	folder := t.TempDir()
	run := tool(t, folder)
	copied := filepath.Join(folder, "notebooks")
	if err := os.CopyFS(copied, os.DirFS(filepath.Join("..", "notebooks"))); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(copied, "03-your-own-model.ipynb")
	code := 0
	for _, c := range readNotebook(t, file).Cells {
		if c.Type == "code" {
			code++
		}
	}
	out, err := run("python", "-m", "pytest", "-p", "no:cacheprovider", "--nbval-lax", "--nbval-kernel-name", kernelspec.NameCI,
		"--nbval-cell-timeout", "300", "--rootdir", copied, file)
	if err != nil || !strings.Contains(out, fmt.Sprintf("%d passed", code)) {
		t.Errorf("%d cells, %v\n%s", code, err, out)
	}
}

func TestNbconvertHighlightsGo(t *testing.T) {
	folder := t.TempDir()
	run := tool(t, folder)
	executed := filepath.Join(folder, "good.ipynb")
	if out, err := run("jupyter-nbconvert", "--execute", "--to", "notebook", "--ExecutePreprocessor.kernel_name="+kernelspec.NameCI,
		"--output", executed, filepath.Join("testdata", "notebooks", "good.ipynb")); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := run("jupyter-nbconvert", "--to", "html", executed); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	page, err := os.ReadFile(filepath.Join(folder, "good.html"))
	if err != nil {
		t.Fatal(err)
	}
	// Pygments' class for a keyword that declares, which only its lexer of Go gives to var.
	for _, want := range []string{`<span class="kd">var</span>`, "norm Linf of digits", "<b>bold</b>"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

func TestJupytextRoundTrip(t *testing.T) {
	folder := t.TempDir()
	run := tool(t, folder)
	script, back := filepath.Join(folder, "quickstart.go"), filepath.Join(folder, "back.ipynb")
	if out, err := run("jupytext", "--to", "go:percent", "--output", script, quickstart); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "//gonb:%%\n") || regexp.MustCompile(`(?m)^%%$`).Match(text) {
		t.Errorf("the script's commands are no comments:\n%.2000s", text)
	}
	if out, err := run("jupytext", "--to", "ipynb", "--output", back, script); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	before, after := readNotebook(t, quickstart), readNotebook(t, back)
	if len(before.Cells) != len(after.Cells) {
		t.Fatalf("%d cells, want %d", len(after.Cells), len(before.Cells))
	}
	for i := range before.Cells {
		a, b := before.Cells[i], after.Cells[i]
		if a.Source != b.Source || a.Type != b.Type || !slices.Equal(a.Tags, b.Tags) {
			t.Errorf("cell %d was\n%s %q\n%s\nand is\n%s %q\n%s", i+1, a.Type, a.Tags, a.Source, b.Type, b.Tags, b.Source)
		}
	}
	executed, _, err := executeFile(t, back, "examples=40")
	if err != nil {
		t.Fatal(err)
	}
	if table := executed.TextOf("table"); !strings.Contains(table, "seed 1") {
		t.Errorf("the table of what came back is\n%s", table)
	}
}

func TestJupyterConsole(t *testing.T) {
	if out, err := tool(t, t.TempDir())("python", filepath.Join("internal", "relay", "testdata", "console.py")); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// What nbclient prints is what people read in CI's log.
func TestNbclientShowsTheError(t *testing.T) {
	folder := t.TempDir()
	run := tool(t, folder)
	for name, want := range map[string]string{
		"compile-error.ipynb": "CompileError: cell 2, line ",
		"panic.ipynb": "Panic: cell 1, line 3: runtime error: integer divide by zero\n\n    1 | import \"fmt\"\n    2 | \n" +
			">   3 | func divide",
	} {
		out, err := run("jupyter-execute", "--kernel_name="+kernelspec.NameCI, "--output", filepath.Join(folder, name),
			filepath.Join("testdata", "notebooks", name))
		if err == nil || !strings.Contains(out, want) || strings.Contains(out, "\x1b") {
			t.Errorf("%s (%v): no %q in\n%s", name, err, want, out)
		}
		t.Log(out)
	}
}

// The commands that the kernel adds to GoNB's, in a notebook as people have it.
func TestCommandsOfCells(t *testing.T) {
	cells := []string{
		"%backend", "%backend go", "import \"advlab/advlib/backend\"\n%%\ninfo, err := backend.Describe()\nfmt.Println(info.Name, err)",
		"%doctor", "%pin gomlx", "%help", "%time\n%%\nfmt.Println(1)",
		"func Sum() error {\n\tif 1+1 != 2 {\n\t\treturn errors.New(\"sum\")\n\t}\n\treturn nil\n}\n%check Sum",
	}
	var list []map[string]any
	for _, source := range cells {
		list = append(list, map[string]any{"cell_type": "code", "source": source, "metadata": map[string]any{}, "outputs": []any{},
			"execution_count": nil})
	}
	text, err := json.Marshal(map[string]any{"cells": list, "metadata": map[string]any{}, "nbformat": 4, "nbformat_minor": 4})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "commands.ipynb")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	executed, _, err := executeFile(t, file)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"backend auto\n", "", "go <nil>\n", "ok       Go ", "github.com/gomlx/gomlx v", "%check NAME", "total ",
		"Sum: passed\n"} {
		got := ""
		for _, o := range executed.Cells[i].Outputs {
			got += o.Text + o.Data["text/plain"]
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s gives %q, want %q in it", cells[i], got, want)
		}
	}
}

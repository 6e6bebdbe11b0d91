package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"advlab/kernel/internal/cli"
	"advlab/kernel/internal/kernelspec"
	"advlab/kernel/internal/notebook"
	"advlab/kernel/internal/place"
	"advlab/kernel/internal/session"
)

// cutOff is set in the environment of a test process that runs without network.
const cutOff = "ADVLAB_TEST_CUT_OFF"

// prepared returns the environment that `advlab setup` has made. Without it the test is skipped, or fails where
// `advlab test` has promised it.
func prepared(t *testing.T) place.Place {
	t.Helper()
	p, err := place.Here()
	if err != nil {
		t.Fatal(err)
	}
	missing := func(why error) {
		t.Helper()
		if os.Getenv(cli.Prepared) != "" {
			t.Fatalf("the set-up is not complete: %v", why)
		}
		t.Skipf("needs the prepared environment (%v): run `go run ./kernel test`", why)
	}
	if _, err := session.ReadFacts(p); err != nil {
		missing(err)
	}
	for _, file := range []string{p.PythonExe(), p.Program(), filepath.Join(p.Tools(), "gonb"), filepath.Join(p.Kernels(), kernelspec.NameCI,
		"kernel.json")} {
		if _, err := os.Stat(file); err != nil {
			missing(err)
		}
	}
	return p
}

// execute runs a notebook of testdata through nbclient, GoNB and the kernelspec of CI.
func execute(t *testing.T, name string, settings ...string) (*notebook.Notebook, string, error) {
	t.Helper()
	return executeFile(t, filepath.Join("testdata", "notebooks", name), settings...)
}

// executeFile is execute for a notebook that lies elsewhere.
func executeFile(t *testing.T, path string, settings ...string) (*notebook.Notebook, string, error) {
	t.Helper()
	p := prepared(t)
	saved, err := notebook.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	n, err := saved.Set(settings)
	if err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(t.TempDir(), "page.html")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	executed, err := notebook.Execution{
		Python: p.PythonExe(),
		Env:    session.JupyterEnv(p, os.Environ()),
		Kernel: kernelspec.NameCI,
		HTML:   page,
	}.Run(ctx, n)
	return executed, page, err
}

func TestNotebook(t *testing.T) {
	executed, page, err := execute(t, "good.ipynb")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := executed.TextOf("table"), "radius 0.1\nrows   4\n"; got != want {
		t.Errorf("table %q, want %q", got, want)
	}
	if got := executed.Cells[2].PlainText(); got != "norm Linf of digits\n" {
		t.Errorf("the cell that imports advlib printed %q", got)
	}
	if outputs := executed.Cells[3].Outputs; len(outputs) != 1 || outputs[0].Data["text/html"] != "<b>bold</b>" {
		t.Errorf("the cell that displays has outputs %+v", outputs)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<b>bold</b>", "norm Linf of digits", `class="highlight`} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("the page lacks %q", want)
		}
	}
	saved, err := notebook.Read(filepath.Join("testdata", "notebooks", "good.ipynb"))
	if err != nil {
		t.Fatal(err)
	}
	comparisons, err := notebook.Compare(saved, executed)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range comparisons {
		if c.Wrong != "" {
			t.Error(c)
		}
	}
}

func TestNotebookParameters(t *testing.T) {
	executed, _, err := execute(t, "good.ipynb", "radius=1", "rows=7", "name=MNIST")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := executed.TextOf("table"), "radius 1\nrows   7\n"; got != want {
		t.Errorf("table %q, want %q", got, want)
	}
	// The numbers come from the run: with another radius the saved ones no longer hold.
	saved, err := notebook.Read(filepath.Join("testdata", "notebooks", "good.ipynb"))
	if err != nil {
		t.Fatal(err)
	}
	comparisons, err := notebook.Compare(saved, executed)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range comparisons {
		if c.Wrong == "" {
			t.Errorf("%v: holds, though the parameters are others", c)
		}
	}
}

func TestNotebookErrors(t *testing.T) {
	for _, test := range []struct {
		notebook string
		cell     int
		want     []string
	}{
		{"compile-error.ipynb", 1, []string{"cell 2 failed", "CompileError: cell 2, line", "x := undefinedName + 1", "undefined: undefinedName"}},
		{"panic.ipynb", 0, []string{"cell 1 failed", "Panic: cell 1, line 3: runtime error: integer divide by zero", ">   3 | func divide(a, b int) int { return a / b }", "cell 1, line 7"}},
	} {
		t.Run(test.notebook, func(t *testing.T) {
			executed, _, err := execute(t, test.notebook)
			var cell *notebook.CellError
			if !errors.As(err, &cell) {
				t.Fatalf("error %v, want a CellError", err)
			}
			if cell.Cell != test.cell {
				t.Errorf("cell %d failed, want %d", cell.Cell, test.cell)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q:\n%v", want, err)
				}
			}
			for _, c := range executed.Cells[test.cell+1:] {
				if len(c.Outputs) > 0 {
					t.Errorf("a cell after the failed one was executed: %+v", c)
				}
			}
		})
	}
}

// TestWithoutNetwork executes the project's own notebooks where only the loopback interface exists, and compares the
// numbers that they check with the saved ones.
func TestWithoutNetwork(t *testing.T) {
	if os.Getenv(cutOff) == "" {
		prepared(t)
		if out, err := startCutOff(t); errors.Is(err, errRefused) {
			t.Logf("this machine refuses a network namespace (%v): using a dead proxy instead", err)
			for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"} {
				t.Setenv(name, "http://127.0.0.1:9") // port 9, discard: nothing listens
			}
			t.Setenv("GOPROXY", "off")
		} else if err != nil {
			t.Fatalf("%v\n%s", err, out)
		} else {
			return
		}
	} else if interfaces, err := net.Interfaces(); err != nil || len(interfaces) != 1 || interfaces[0].Name != "lo" {
		t.Fatalf("the network is not cut: %v, %v", interfaces, err)
	}
	paths, err := filepath.Glob(filepath.Join("..", "notebooks", "*.ipynb"))
	if err != nil || len(paths) < 2 {
		t.Fatalf("notebooks %v, %v: want at least two", paths, err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			saved, err := notebook.Read(path)
			if err != nil {
				t.Fatal(err)
			}
			executed, _, err := executeFile(t, path)
			if err != nil {
				t.Fatal(err)
			}
			comparisons, err := notebook.Compare(saved, executed)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range comparisons {
				if c.Wrong != "" {
					t.Error(c)
				}
			}
		})
	}
}

// TestTheTableComesFromTheRun: with another seed, the first notebook's table has other numbers.
func TestTheTableComesFromTheRun(t *testing.T) {
	path := filepath.Join("..", "notebooks", "01-quickstart.ipynb")
	saved, err := notebook.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	executed, _, err := executeFile(t, path, "seed=2", "examples=100")
	if err != nil {
		t.Fatal(err)
	}
	first, _, err := executeFile(t, path, "examples=100")
	if err != nil {
		t.Fatal(err)
	}
	before, after := first.TextOf("table"), executed.TextOf("table")
	if !strings.Contains(saved.TextOf("table"), "seed 1") || !strings.Contains(after, "seed 2") {
		t.Errorf("the tables do not name their seeds:\n%s\n%s", saved.TextOf("table"), after)
	}
	// What had to be compiled, the last column, differs in any case.
	numbers := func(table string) string { return compiledColumn.ReplaceAllString(table, "") }
	if strings.ReplaceAll(numbers(after), "seed 2", "seed 1") == numbers(before) {
		t.Errorf("seeds 1 and 2 give the same table:\n%s", after)
	}
	if numbers(before) == before {
		t.Errorf("the table has no column of compilations:\n%s", before)
	}
}

// compiledColumn is the last column of a report, "compiled / loaded".
var compiledColumn = regexp.MustCompile(`(?m) +\d+ / \d+$`)

var errRefused = errors.New("refused")

// startCutOff runs TestWithoutNetwork in a process without network.
func startCutOff(t *testing.T) (output []byte, err error) {
	t.Helper()
	attributes := withoutNetwork()
	if attributes == nil {
		return nil, errRefused
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestWithoutNetwork$", "-test.v")
	cmd.Env = append(os.Environ(), cutOff+"=1")
	cmd.SysProcAttr = attributes
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(errRefused, err)
	}
	err = cmd.Wait()
	if err == nil && !bytes.Contains(out.Bytes(), []byte("--- PASS: TestWithoutNetwork")) {
		err = errors.New("the test did not run")
	}
	return out.Bytes(), err
}

// Without a loopback network, notebooks are not run, and the reason is said at once.
func TestRunWithoutLoopback(t *testing.T) {
	attributes := withoutNetwork()
	if attributes == nil {
		t.Skip("cuts a process off from the network on Linux only")
	}
	for _, args := range [][]string{{"run", filepath.Join("testdata", "notebooks", "good.ipynb")}, {"demo"}, {"lab", "--allow-root"}} {
		cmd := exec.CommandContext(t.Context(), advlab(t), args...)
		cmd.SysProcAttr = attributes
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Skipf("the system refuses a network namespace: %v", err)
		}
		began := time.Now()
		err := cmd.Wait()
		if err == nil || cmd.ProcessState.ExitCode() != 3 || strings.Count(out.String(), "\n") != 1 ||
			!strings.Contains(out.String(), "the loopback network, 127.0.0.1, does not work here") {
			t.Errorf("%s: %v after %s\n%s", args[0], err, time.Since(began), &out)
		}
	}
}

// advlab is this test's binary under the name by which it is the program (testscript.Main).
func advlab(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "advlab")
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	return link
}

// TestInterruptAndKill interrupts a cell while it compiles and while it runs, and kills the kernel: the kernel goes on
// after the one, and leaves no process behind after the other.
func TestInterruptAndKill(t *testing.T) {
	p := prepared(t)
	temp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), p.PythonExe(), filepath.Join("testdata", "interrupt.py"), kernelspec.NameCI)
	cmd.Env = append(session.JupyterEnv(p, os.Environ()), "TMPDIR="+temp)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		left := processesWith(t, "TMPDIR="+temp)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %q", left)
		}
	}
}

// processesWith returns the command lines of the processes whose environment has an entry that begins so.
func processesWith(t *testing.T, entry string) []string {
	t.Helper()
	environments, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	if len(environments) == 0 {
		t.Skip("no /proc on this system, so processes that are left behind cannot be seen")
	}
	var found []string
	for _, file := range environments {
		text, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(text, []byte(entry)) {
			continue // another user's, or it has ended
		}
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
	}
	return found
}

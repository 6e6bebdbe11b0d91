package relay

import (
	"strings"
	"testing"

	"advlab/kernel/internal/cell"
	"advlab/kernel/internal/compose"
)

// programOf composes a cell, as the third that runs.
func programOf(t *testing.T, n *compose.Notebook, number int, code string) *compose.Program {
	t.Helper()
	p, err := n.Compose(t.Context(), nil, compose.Origin{Number: number}, code, cell.Parse(code))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The texts are what GoNB v0.11.5 sends, and Go 1.26 writes, for these cells.
func TestClassify(t *testing.T) {
	const code = "%%\n  x := 1\nundefinedName()"
	f := classify(evidence{cell: cell.Parse(code), program: programOf(t, new(compose.Notebook), 3, code),
		value: "# gonb_1a2b\n./cell_00000.go:2:3: declared and not used: x\n./cell_00000.go:3:1: undefined: undefinedName\n"})
	want := `CompileError: cell 3, line 2: declared and not used: x (and 1 more)

cell 3, line 2: declared and not used: x
    1 | %%
>   2 |   x := 1
      |   ^
    3 | undefinedName()

cell 3, line 3: undefined: undefinedName
    1 | %%
    2 |   x := 1
>   3 | undefinedName()
      | ^

Hint: Go refuses variables that nothing reads: use it, or assign it to _.`
	if got := strings.Join(f.Traceback, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The runtime names files; the reader is told cells.
func TestPlacesOfAPanic(t *testing.T) {
	var n compose.Notebook
	n.Add(programOf(t, &n, 1, "func f(xs []int) int {\n\treturn xs[7]\n}"))
	e := evidence{program: programOf(t, &n, 2, "%%\nfmt.Println(f(nil))\nif true {\n}"),
		panicText: "panic: x\n\nmain.f(...)\n\t/t/gonb_1/cell_00000.go:2 +0x1d\nmain.main()\n\t/t/gonb_1/cell_00001.go:2 +0x2e\n" +
			"\t/t/gonb_1/main.go:1\n"}
	f := e.panic()
	got := strings.Join(f.Traceback, "\n")
	for _, want := range []string{"\tcell 1, line 2 +0x1d", "\tcell 2, line 2 +0x2e", "/t/gonb_1/main.go:1", ">   2 | \treturn xs[7]"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if f.Text != "cell 1, line 2: x" {
		t.Errorf("got %q", f.Text)
	}
}

func TestPanicStart(t *testing.T) {
	for _, test := range []struct {
		text      string
		lineStart bool
		want      int
	}{
		{"panic: x", true, 0},
		{"panic: x", false, -1},
		{"a\npanic: x", false, 2},
		{"a panic: x\n", true, -1},
		{"fatal error: all goroutines are asleep - deadlock!\n", true, 0},
		{"", true, -1},
	} {
		if got := panicStart(test.text, test.lineStart); got != test.want {
			t.Errorf("panicStart(%q, %v) = %d, want %d", test.text, test.lineStart, got, test.want)
		}
	}
}

// FuzzClassify: whatever GoNB and a program write, there is an error message with class and text.
func FuzzClassify(f *testing.F) {
	f.Add("./cell_00000.go:9:2: undefined: x\n-----\nnote", "Cell[1]: Line 2\n x\n ^\nundefined", "", "panic: y\n\t/a/cell_00000.go:3",
		"%%\nx")
	f.Add("exit status 1", "", "exit status 1", "", "%test\nfunc TestA")
	f.Add("cell_00000.go:99999999999999999999:1: x", "Cell Line 0", "", "fatal error: /x/cell_00000.go:99", "!ls")
	f.Add("", "", "signal: killed", "", "")
	f.Fuzz(func(t *testing.T, value, trace, exit, report, code string) {
		e := evidence{cell: cell.Parse(code), value: value, traceback: []string{trace, trace}, exit: exit, panicText: report, stderr: trace,
			stdout: value}
		if p, err := new(compose.Notebook).Compose(t.Context(), nil, compose.Origin{Number: 1}, code, cell.Parse(code)); err == nil {
			e.program = p
		}
		if got := classify(e); got.Class == "" || len(got.Traceback) == 0 {
			t.Fatalf("%+v", got)
		}
	})
}

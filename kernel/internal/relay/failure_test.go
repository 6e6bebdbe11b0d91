package relay

import (
	"strings"
	"testing"

	"advlab/kernel/internal/cell"
)

// The texts are what GoNB v0.11.5 sent for these cells.
func TestClassify(t *testing.T) {
	const code = "%%\n  x := 1\nundefinedName()"
	where := func(int) record { return record{count: 3, code: code} }
	f := classify(evidence{cell: cell.Parse(code), where: where,
		value: "# gonb_1a2b\n./main.go:9:2: declared and not used: x\n./main.go:10:1: undefined: undefinedName\n",
		traceback: []string{"# gonb_1a2b",
			"Cell[3]: Line 2\n\nfunc main() {\n\tflag.Parse()\n\tx := 1\n ^\nundefinedName()\n\n\ndeclared and not used: x",
			"Cell[3]: Line 3\nundefinedName()\n^\n\nundefined: undefinedName", ""}})
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

// GoNB marks places in a stack trace chunk by chunk; where a chunk ends within one, the program's text tells the cell.
func TestPlacesThatGoNBMissed(t *testing.T) {
	cells := map[int]record{
		1: {1, "func f(xs []int) int {\n\treturn xs[7]\n}"},
		2: {2, "%%\nfmt.Println(f(nil))\nif true {\n}\nif true {\n}"},
	}
	e := evidence{latest: 2, where: func(id int) record { return cells[id] },
		mainGo: "package main\n\nfunc f(xs []int) int {\n\treturn xs[7]\n}\n\nfunc main() {\n\tflag.Parse()\n\tfmt.Println(f(nil))\n" +
			"\tif true {\n\t}\n\tif true {\n\t}\n}\n",
		panicText: "panic: x\n\nmain.f(...)\n\t/t/gonb_1/main.go:4 +0x1d\nmain.main()\n" +
			"\t \x1b[7m[[ Cell [2] Line 2 ]]\x1b[0m /t/gonb_1/main.go:9 +0x2e\n\t/t/gonb_1/main.go:1\n"}
	got := strings.Join(e.panic().Traceback, "\n")
	for _, want := range []string{"cell 1, line 2 (main.go:4)", "cell 2, line 2 (main.go:9)", "/t/gonb_1/main.go:1",
		">   2 | \treturn xs[7]"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
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
	f.Add("./main.go:9:2: undefined: x\n-----\nnote", "Cell[1]: Line 2\n x\n ^\nundefined", "", "panic: y\n\t/a/main.go:3", "%%\nx")
	f.Add("exit status 1", "", "exit status 1", "", "%test\nfunc TestA")
	f.Add("main.go:99999999999999999999:1: x", "Cell Line 0", "", "fatal error: \x1b[7m[[ Cell [9] Line 9 ]]\x1b[0m /x/main.go:1", "!ls")
	f.Add("", "", "signal: killed", "", "")
	f.Fuzz(func(t *testing.T, value, trace, exit, report, code string) {
		e := evidence{cell: cell.Parse(code), value: value, traceback: []string{trace, trace}, exit: exit, panicText: report, stderr: trace,
			stdout: value, latest: 2, mainGo: trace, where: func(int) record { return record{1, code} }}
		if got := classify(e); got.Class == "" || len(got.Traceback) == 0 {
			t.Fatalf("%+v", got)
		}
	})
}

package relay

import (
	"strings"
	"testing"

	"advlab/kernel/internal/cell"
)

// Statements without %% run, and their errors have the cell's own lines and columns.
func TestCellsOfStatements(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	for _, test := range []struct{ name, code, stdout, text, trace string }{
		{"one", "fmt.Println(1)", "1\n", "", ""},
		{"declarations above stay", "func twice(x int) int { return 2 * x }\n\n// Say it.\nfmt.Println(twice(4))", "8\n", "", ""},
		{"and are there later", "for i := range 2 {\n\tfmt.Println(twice(i))\n}", "0\n2\n", "", ""},
		{"arguments", "%args a b\nfmt.Println(len(os.Args))", "3\n", "", ""},
		{"the first line is wrong", "\ny := nope(1)\nfmt.Println(y)", "", "cell 5, line 2: undefined: nope", ">   2 | y := nope(1)\n      |      ^"},
		{"a later one", "y := 1\nz := 2\nfmt.Println(  nope, y)", "", "cell 6, line 2: declared and not used: z (and 1 more)", ">   3 | fmt.Println(  nope, y)\n      |               ^"},
		{"panic in the first line", "panic(\"own words\")", "", "own words", "cell 7, line 1"},
		{"panic in the last line", "s := []int{}\nprint()\n_ = s[len(s)]", "", "index out of range", ">   3 | _ = s[len(s)]"},
	} {
		r := f.run(test.code)
		trace := strings.Join(r.Traceback, "\n")
		if r.stdout != test.stdout || !strings.Contains(r.Text, test.text) || !strings.Contains(trace, test.trace) ||
			(r.Status == "ok") != (test.text == "") {
			t.Errorf("%s: %s, stdout %q, %q\n%s", test.name, r.Status, r.stdout, r.Text, trace)
		}
		if strings.Contains(trace, cell.MainOpen) {
			t.Errorf("%s: what was added shows:\n%s", test.name, trace)
		}
	}
}

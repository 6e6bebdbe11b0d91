package relay

import (
	"strings"
	"testing"
)

// runIn runs a cell as JupyterLab does, which says which one it is.
func (f *frontEnd) runIn(id, code string) ran {
	return f.finish(f.sendWith(f.shell, "execute_request", map[string]any{"code": code}, map[string]any{"cellId": id}))
}

// A cell that is edited and run again forgets what it declared, and what failed elsewhere is nobody's concern.
func TestEditedCells(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	for i, step := range []struct{ id, code, stdout, text string }{
		{"a", "func rate() float64 { return 0.5 }\nfunc name() string { return \"a\" }", "", ""},
		{"b", "fmt.Println(rate(), name())", "0.5 a\n", ""},
		{"a", "func rate() float64 { return 0.25 }", "", ""},
		{"b", "fmt.Println(rate())", "0.25\n", ""},
		{"b", "fmt.Println(rate(), name())", "", "undefined: name"},
		{"c", "var data = func() []int { panic(\"no such file\") }()", "", "cell 6, line 1: no such file"},
		{"b", "fmt.Println(rate())", "0.25\n", ""},
		{"d", "fmt.Println(data)", "", "cell 6, line 1: no such file"},
		{"c", "var data = []int{3}", "", ""},
		{"d", "fmt.Println(data)", "[3]\n", ""},
		{"e", "func init_seed() { data = append(data, 4) }", "", ""},
		{"d", "fmt.Println(data)", "[3 4]\n", ""},
		{"c", "var data = \"text\"", "", ""}, // init_seed no longer compiles
		{"d", "fmt.Println(data)", "text\n", ""},
		{"e", "func init_seed() { panic(\"no seed\") }", "", "cell 15, line 1: no seed"},
		{"d", "fmt.Println(data)", "text\n", ""},
		{"e", "func init_seed() { data += \"!\" }", "", ""},
		{"d", "fmt.Println(data)", "text!\n", ""},
		{"f", "%rm data\nfmt.Println(1)", "1\n", ""},
		{"g", "%ls", "", ""},
		{"g", "%rm nothing", "", "nothing is declared as nothing"},
		{"g", "%reset\nfmt.Println(2)", "2\n", ""},
		{"d", "fmt.Println(rate())", "", "undefined: rate"},
		{"h", "func call(args ...string) { fmt.Println(\"called\") }\n%exec call", "called\n", ""},
		{"h", "func show() { fmt.Println(len(os.Args)) }\n%exec show a b", "3\n", ""},
	} {
		r := f.runIn(step.id, step.code)
		if r.stdout != step.stdout && !strings.HasSuffix(r.stdout, "\n"+step.stdout) || !strings.Contains(r.Text, step.text) ||
			(r.Status == "ok") != (step.text == "") {
			t.Errorf("step %d, %q: %s, stdout %q, %q; want %q, %q\n%s", i+1, step.code, r.Status, r.stdout, r.Text, step.stdout, step.text,
				strings.Join(r.Traceback, "\n"))
		}
	}
}

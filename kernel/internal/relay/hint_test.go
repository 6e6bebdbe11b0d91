package relay

import (
	"slices"
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	among := []string{"Print", "Printf", "Println", "Sprint", "Scan", "Errorf"}
	if got := nearest("Printn", among); !slices.Equal(got, []string{"Print", "Printf", "Println"}) {
		t.Errorf("got %q", got)
	}
	if got := nearest("Pirntln", among); got[0] != "Println" {
		t.Errorf("got %q", got)
	}
	if got := nearest("OnlyUp", []string{"UpOnly", "Down", "EitherWay"}); !slices.Equal(got, []string{"UpOnly"}) {
		t.Errorf("got %q", got)
	}
	if got := nearest("Zebra", among); len(got) > 0 {
		t.Errorf("got %q", got)
	}
}

// A hint is given where its cause is known, and nowhere else.
func TestHints(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	for _, test := range []struct{ name, code, text, hint string }{
		{"misspelt", "fmt.Printn(1)", "line 1: undefined: fmt.Printn", "package fmt has no Printn; did you mean Print, Printf, Println?"},
		{"nobody knows", "fmt.Println(nothingOfTheKind)", "undefined: nothingOfTheKind", ""},
		{"fails", "func half(x int) int { return \"x\" }", "cannot use", ""},
		{"declared in a cell that failed", "fmt.Println(half(2))", "undefined: half", "cell 3 declares half, and failed"},
		{"no Go, and declares", "func third(x int int { return x }", "line 1: ", ""},
		{"declared in a cell that is no Go", "fmt.Println(third(2))", "undefined: third", "cell 5 declares third, and failed"},
		{"mended", "func half(x int) int { return x / 2 }\nvar limit = 3\nfunc below(x int) bool { return x < limit }", "", ""},
		{"a local", "score := half(8)\nfmt.Println(score)", "", ""},
		{"asked for later", "fmt.Println(score)", "undefined: score", "score was a variable of cell 8's program"},
		{"changes a type", "var limit = \"three\"", "", ""},
		{"what no longer compiles", "fmt.Println(below(2))", "cell 7, line 3: ", "this cell uses below of cell 7, which does not compile any more"},
		{"others do not mind", "fmt.Println(half(6), limit)", "", ""},
		{"Python: def", "def f(x):\n    return x", "line 1: ", "a function is func f(x float64)"},
		{"Python: a tuple", "a, b := 1, 2\na, b", "line 2: ", "print values with fmt.Println"},
		{"Jupyter: ?", "?fmt.Println", "line 1: ", "Shift+Tab"},
		{"Python: None", "fmt.Println(None)", "undefined: None", "true, false and nil"},
		{"shell", "ls -l /tmp", "line 1: ", "!ls"},
		{"not used", "1 + 1\nfmt.Println()", "is not used", "show.Display(x)"},
	} {
		r := f.run(test.code)
		trace := strings.Join(r.Traceback, "\n")
		_, hint, _ := strings.Cut(trace, "\nHint: ")
		if !strings.Contains(r.Text, test.text) || (test.text == "") != (r.Status == "ok") || !strings.Contains(hint, test.hint) ||
			test.hint == "" && hint != "" {
			t.Errorf("%s: %q with hint %q, want %q with %q", test.name, r.Text, hint, test.text, test.hint)
		}
	}
}

package cell

import (
	"go/parser"
	"go/token"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestWithMain(t *testing.T) {
	for _, test := range []struct{ name, code, want string }{
		{"one", "fmt.Println(1)", MainOpen + "fmt.Println(1)\n}"},
		{"indented", "\n  x := 1\n_ = x", "\n  " + MainOpen + "x := 1\n_ = x\n}"},
		{"a comment at the end", "f() // see", MainOpen + "f() // see\n}"},
		{"declarations above", "import \"fmt\"\n\nfunc f() int { return 1 }\n// Say it.\nfmt.Println(f())\n", "import \"fmt\"\n\nfunc f() int { return 1 }\n// Say it.\n" + MainOpen + "fmt.Println(f())\n\n}"},
		{"var above", "var x = 1\nx++", "var x = 1\n" + MainOpen + "x++\n}"},
		{"on one line", "var x = 1; x++", "var x = 1; " + MainOpen + "x++\n}"},
		{"keywords", "for i := range 3 {\n\tprint(i)\n}\nif true {\n}", MainOpen + "for i := range 3 {\n\tprint(i)\n}\nif true {\n}\n}"},
		{"declarations among statements", "x := 1\nvar y = x\ntype T int\n_ = T(y)", MainOpen + "x := 1\nvar y = x\ntype T int\n_ = T(y)\n}"},
		{"commands", "%env A 1\n!ls\nx()\n!ls", "%env A 1\n!ls\n" + MainOpen + "x()\n!ls\n}"},
		{"a hidden command", "//gonb:%args -v\nx()", "//gonb:%args -v\n" + MainOpen + "x()\n}"},
		{"package line", "package main\nx()", "package main\n" + MainOpen + "x()\n}"},
		{"not ASCII", "var s = \"é\"; g(s)", "var s = \"é\"; " + MainOpen + "g(s)\n}"},

		{"it has %%", "%%\nx()", ""},
		{"it has %main", "func f() {}\n%main\nx()", ""},
		{"declarations", "func f() {}\nvar x = 1", ""},
		{"its own main", "func main() { x() }", ""},
		{"its own main, and statements", "func main() { }\nx()", ""},
		{"a function behind", "x := 1\nfunc f() {}", ""},
		{"an import behind", "x()\nimport \"fmt\"", ""},
		{"no Go", "fucn f() {}", ""},
		{"not finished", "if x {", ""},
		{"a brace too many", "x() }\nfunc f() {", ""},
		{"another error before", "func f( {\nx()", ""},
		{"a test", "%test\nx()", ""},
		{"%exec", "func f() {}\n%exec f\nx()", ""},
		{"%check", "f()\n%check f", ""},
		{"bash", "%%bash\nx", ""},
		{"a command that goes on", "x()\n!ls \\", ""},
		{"empty", "", ""},
		{"commands only", "!ls\n%env", ""},
	} {
		want := test.want
		if want == "" {
			want = test.code
		}
		if got := WithMain(test.code); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, got, want)
		}
	}
}

// checkWithMain: what GoNB can read as it is stays as it is; and what is changed keeps its lines, but for mainOpen in
// one of them and a brace behind, and is Go then.
func checkWithMain(t *testing.T, code string) (changed bool) {
	t.Helper()
	parses := func(code string) bool {
		source, _ := Parse(code).GoSource()
		_, err := parser.ParseFile(token.NewFileSet(), "", source, parser.SkipObjectResolution)
		return err == nil
	}
	got := WithMain(code)
	if got == code {
		return false
	}
	if parses(code) || Parse(code).MainLine >= 0 {
		t.Fatalf("a cell that works was changed:\n%s\nbecame\n%s", code, got)
	}
	if !parses(got) {
		t.Fatalf("\n%s\nbecame what is no Go:\n%s", code, got)
	}
	rest, ok := strings.CutSuffix(got, "\n}")
	if !ok || strings.Replace(rest, MainOpen, "", 1) != code {
		t.Fatalf("\n%s\nbecame\n%s", code, got)
	}
	if before, _, _ := strings.Cut(rest, MainOpen); strings.Count(rest, "\n") != strings.Count(code, "\n") ||
		!strings.HasPrefix(code, before) {
		t.Fatalf("lines of\n%s\nmoved in\n%s", code, got)
	}
	if again := WithMain(got); again != got {
		t.Fatalf("changed twice:\n%s", again)
	}
	return true
}

// Cells put together from pieces: those of declarations alone, or with %%, are never changed; those of declarations and
// then statements always are.
func TestCellsThatWorkAreNotChanged(t *testing.T) {
	declarations := []string{"import \"fmt\"", "var x, y = 1, 2", "const (\n\tA = iota\n\tB\n)", "func f(a int) int {\n\treturn a\n}",
		"type T[P any] struct {\n\tA P `json:\"a\"`\n}",
		"func (t *T[P]) M() {}", "// a comment", "", "/* more\n   of it */", "!ls", "%env A 1", "//gonb:%cd /tmp", "var s = `raw\ntext`",
		"func init_a() { x = 2 }", "package main"}
	statements := []string{"fmt.Println(x)", "z := f(1)", "for i := range 3 {\n\t_ = i\n}", "_ = func() int { return 1 }()", "// a comment",
		"", "!ls", "if x > 1 {\n\tx--\n} else {\n\tx++\n}", "x, y = y, x", "go f(1)", "defer f(2)", "var w = 3", "switch {\ncase x > 0:\n}",
		"L:\n\tfor {\n\t\tbreak L\n\t}", "{\n\tx := 2\n\t_ = x\n}"}
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(from []string, n int) (lines []string) {
		for range n {
			lines = append(lines, from[r.IntN(len(from))])
		}
		return lines
	}
	// Imports come first; otherwise a cell of declarations is none.
	above := func() string {
		var first, rest []string
		for _, d := range pick(declarations, r.IntN(6)) {
			if strings.HasPrefix(d, "import") {
				first = append(first, d)
			} else {
				rest = append(rest, d)
			}
		}
		return strings.Join(append(first, rest...), "\n")
	}
	for range 5000 {
		if code := above(); checkWithMain(t, code) {
			t.Fatalf("changed: %s", code)
		}
		if code := above() + "\n%%\n" + strings.Join(pick(statements, r.IntN(5)), "\n"); checkWithMain(t, code) {
			t.Fatalf("changed: %s", code)
		}
		first := statements[r.IntN(4)] // one that is no declaration
		if code := above() + "\n" + first + "\n" + strings.Join(pick(statements, r.IntN(5)), "\n"); !checkWithMain(t, code) {
			t.Fatalf("not changed:\n%s", code)
		}
	}
}

func FuzzWithMain(f *testing.F) {
	for _, seed := range []string{"x := 1", "var a = 1; a++\n", "%%\nx", "func main() {}\nx", "x }\nfunc f() {", "`\n!a`", "/*\n*/ x()",
		"x //", "é()", "!\\\nx"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, code string) { checkWithMain(t, code) })
}

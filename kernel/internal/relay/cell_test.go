package relay

import (
	"strings"
	"testing"
)

func TestIsComplete(t *testing.T) {
	for _, test := range []struct{ code, want, indent string }{
		{"", "complete", ""},
		{"func f() {}", "complete", ""},
		{"func f() {", "incomplete", "\t"},
		{"func )", "invalid", ""},
		{"%%\nfmt.Println(1)", "complete", ""},
		{"%%\nfor i := range 3 {", "incomplete", "\t"},
		{"%%\nfor i := range 3 {\n\tfmt.Println(", "incomplete", "\t\t"},
		{"%%\nfmt.Println(1", "incomplete", ""},
		{"%%\nfmt.Println(1))", "invalid", ""},
		{"%%", "incomplete", ""},
		{"var a int\n%%\n", "incomplete", ""},
		{"%main\nx := `raw", "incomplete", ""},
		{"/* a comment", "incomplete", ""},
		{"x := 1", "complete", ""}, // statements without %%: the error says what to do
		{"if x {", "incomplete", "\t"},
		{"!ls", "complete", ""},
		{"!ls \\", "incomplete", ""},
		{"%env A b", "complete", ""},
		{"//gonb:%%\nx := 1", "complete", ""},
		{"%%bash\nif true; then", "complete", ""}, // not ours to judge
		{"import (", "incomplete", "\t"},
		{"var x = \"open", "invalid", ""},
		{"type T struct {\n\tA int\n", "incomplete", ""},
		{"package main\nfunc f() {}", "complete", ""},
	} {
		status, indent := isComplete(test.code)
		if status != test.want || indent != test.indent {
			t.Errorf("isComplete(%q) = %s, indent %q; want %s, %q", test.code, status, indent, test.want, test.indent)
		}
	}
}

func TestSourceKeepsLines(t *testing.T) {
	c := parseCell("import \"fmt\"\n%args -x \\\n  more\n%%\nfmt.Println()\n!ls")
	source, end := c.goSource()
	lines := strings.Split(source, "\n")
	want := []string{`package p; import "fmt"`, "", "", "func main() {", "fmt.Println()", "", "}"}
	if strings.Join(lines, "|") != strings.Join(want, "|") {
		t.Errorf("got %q, want %q", lines, want)
	}
	if source[end:] != "\n}" {
		t.Errorf("behind the cell stands %q", source[end:])
	}
	if len(c.shell) != 1 || c.shell[0] != "!ls" {
		t.Errorf("shell commands %q", c.shell)
	}
}

// FuzzCell: no text of a cell makes the parts that look at it panic.
func FuzzCell(f *testing.F) {
	for _, seed := range []string{"%%\nx", "!\\", "% ", "%%bash\n", "func f() {", "//gonb:%%", "const (\nA = iota\nB\n)", "a.b(", "\xff\xfe"} {
		f.Add(seed, 3)
	}
	f.Fuzz(func(t *testing.T, code string, cursor int) {
		c := parseCell(code)
		if len(c.command) != len(c.lines) {
			t.Fatalf("%d lines, %d marks", len(c.lines), len(c.command))
		}
		if status, _ := isComplete(code); status != "complete" && status != "incomplete" && status != "invalid" {
			t.Fatalf("status %q", status)
		}
		var d declarations
		d.add(c)
		d.add(parseCell(d.cell()))
		n := len([]rune(code))
		r := &relay{}
		at := min(max(cursor, 0), n)
		if _, start, _ := r.index(code, at); start < 0 || start > at {
			t.Fatalf("matches begin at %d, with the cursor at %d", start, at)
		}
		r.document(code, at)
	})
}

func TestDeclarations(t *testing.T) {
	var d declarations
	for _, code := range []string{
		"%env A 1\n%cd sub\n!rm -r everything\nimport (\n\t\"fmt\"\n\tm \"math\"\n)\nvar x, y = 1, 2\nconst (\n\tA = iota\n\tB\n)\n// f is old.\nfunc f() {}",
		"%env A 2\n%goflags -race\ntype T[P any] struct{}\nfunc (t T[P]) M() {}\nfunc (t *T[P]) N() {}\n// f is new.\nfunc f() int { return 1 }\n%%\nfmt.Println(\"never again\")",
		"%goflags -s\n%goflags\nvar y = 3\n%cd further",
		"%%bash\necho no",
		"func broken( {",
	} {
		d.add(parseCell(code))
	}
	const want = `%cd sub
%env A 2
%goflags -s
%cd further
import "fmt"
import m "math"
const (
	A = iota
	B
)
type T[P any] struct{}
func (t T[P]) M() {}
func (t *T[P]) N() {}
// f is new.
func f() int { return 1 }
var y = 3
`
	if got := d.cell(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := strings.Join(d.names(), " "); got != "A B T f y" {
		t.Errorf("names %q", got)
	}
	d.add(parseCell("%rm f y"))
	if got := strings.Join(d.names(), " "); got != "A B T" {
		t.Errorf("names after %%rm: %q", got)
	}
	d.add(parseCell("%reset"))
	if got := d.cell(); got != "%cd sub\n%env A 2\n%goflags -s\n%cd further\n" {
		t.Errorf("after %%reset: %q", got)
	}
}

func TestIndex(t *testing.T) {
	root := goRoot()
	if root == "" {
		t.Fatal("no go command")
	}
	r := &relay{config: Config{GoRoot: root}}
	r.declared.add(parseCell("import str \"strings\"\nfunc twice(x int) int { return 2 * x }"))
	for _, test := range []struct {
		code   string
		cursor int // -1: the end
		want   string
		start  int
	}{
		{"func f() { strings.TrimSpac", -1, "TrimSpace", 19},
		{"str.TrimSpac", -1, "TrimSpace", 4},
		{"x := tw", -1, "twice", 5},
		{"%%\nfallth", -1, "fallthrough", 3},
		{"é.é, strings.TrimSpac // behind", 21, "TrimSpace", 13},
		{"%noa", -1, "%noautoget", 0},
		{"nowhere.X", -1, "", 8},
		{"", -1, "", 0},
	} {
		cursor := test.cursor
		if cursor < 0 {
			cursor = len([]rune(test.code))
		}
		matches, start, _ := r.index(test.code, cursor)
		if strings.Join(matches, " ") != test.want || start != test.start {
			t.Errorf("index(%q) = %q from %d, want %q from %d", test.code, matches, start, test.want, test.start)
		}
	}
	for code, want := range map[string]string{
		"fmt.Println":                     "func Println(a ...any)",
		"%%\nx := strings.Repeat(\"a\", ": "func Repeat(s string, count int) string",
		"twice":                           "func twice(x int) int",
		"fmt.Nothing":                     "",
		"1 + ":                            "",
	} {
		if got := r.document(code, len([]rune(code))); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("document(%q) = %q, want %q", code, got, want)
		}
	}
}

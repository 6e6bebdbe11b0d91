package cell

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
		status, indent := IsComplete(test.code)
		if status != test.want || indent != test.indent {
			t.Errorf("isComplete(%q) = %s, indent %q; want %s, %q", test.code, status, indent, test.want, test.indent)
		}
	}
}

func TestSourceKeepsLines(t *testing.T) {
	c := Parse("import \"fmt\"\n%args -x \\\n  more\n%%\nfmt.Println()\n!ls")
	source, end := c.GoSource()
	lines := strings.Split(source, "\n")
	want := []string{`package p; import "fmt"`, "", "", "func main() {", "fmt.Println()", "", "}"}
	if strings.Join(lines, "|") != strings.Join(want, "|") {
		t.Errorf("got %q, want %q", lines, want)
	}
	if source[end:] != "\n}" {
		t.Errorf("behind the cell stands %q", source[end:])
	}
	if len(c.Shell) != 1 || c.Shell[0] != "!ls" {
		t.Errorf("shell commands %q", c.Shell)
	}
}

// FuzzCell: no text of a cell makes the parts that look at it panic.
func FuzzCell(f *testing.F) {
	for _, seed := range []string{"%%\nx", "!\\", "% ", "%%bash\n", "func f() {", "//gonb:%%", "const (\nA = iota\nB\n)", "a.b(", "\xff\xfe"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, code string) {
		c := Parse(code)
		if len(c.Command) != len(c.Lines) {
			t.Fatalf("%d lines, %d marks", len(c.Lines), len(c.Command))
		}
		if status, _ := IsComplete(code); status != "complete" && status != "incomplete" && status != "invalid" {
			t.Fatalf("status %q", status)
		}
		var d Declarations
		d.Add(c)
		d.Add(Parse(d.Settings() + d.Source()))
	})
}

func TestDeclarations(t *testing.T) {
	var d Declarations
	for _, code := range []string{
		"%env A 1\n%cd sub\n!rm -r everything\nimport (\n\t\"fmt\"\n\tm \"math\"\n)\nvar x, y = 1, 2\nconst (\n\tA = iota\n\tB\n)\n" +
			"// f is old.\nfunc f() {}",
		"%env A 2\n%goflags -race\ntype T[P any] struct{}\nfunc (t T[P]) M() {}\nfunc (t *T[P]) N() {}\n// f is new.\n" +
			"func f() int { return 1 }\n%%\nfmt.Println(\"never again\")",
		"%goflags -s\n%goflags\nvar y = 3\n%cd further",
		"%%bash\necho no",
		"func broken( {",
	} {
		d.Add(Parse(code))
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
	if got := d.Settings() + d.Source(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := strings.Join(d.Names(), " "); got != "A B T f y" {
		t.Errorf("names %q", got)
	}
	d.Add(Parse("%rm f y"))
	if got := strings.Join(d.Names(), " "); got != "A B T" {
		t.Errorf("names after %%rm: %q", got)
	}
	d.Add(Parse("%reset"))
	if got := d.Settings() + d.Source(); got != "%cd sub\n%env A 2\n%goflags -s\n%cd further\n" {
		t.Errorf("after %%reset: %q", got)
	}
}

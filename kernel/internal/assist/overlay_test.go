package assist

import (
	"go/parser"
	"go/token"
	"strings"
	"testing"
	"unicode/utf16"

	"advlab/kernel/internal/cell"
)

// The cell is Go wherever it can be, on the same lines, and the cursor is where it was: | in the code.
func TestMakeOverlay(t *testing.T) {
	var earlier cell.Declarations
	earlier.Add(cell.Parse("import \"os\"\nvar r = strings.NewReader(\"\")\nfunc f() int { return 1 }"))
	paths := map[string]string{"strings": "strings", "fmt": "fmt"}
	for _, test := range []struct{ code, has, earlier string }{
		{"r.|", "r." + placeholder, "import \"strings\"; \nimport \"os\"\nvar r = strings.NewReader"},
		{"x := 1\nx.|", "x." + placeholder, ""},
		{"import \"os\"\n%%\nos.Ex|", "func main() {\nos.Ex", ""},
		{"func g() {\n\tfmt.Pr|\n}", "import \"fmt\"; func g() {", ""},
		{"var v = 1\nfmt.Println(v|)", cell.MainOpen + "fmt.Println(v)", ""},
		{"func f() string { return \"\" }\n%%\nf()|", "func f() string", "var r"},
		{"é := \"😀\"; é.|", "é." + placeholder, ""},
		{"!ls\nx := 1; x|", "x := 1; x", ""},
		{"%%\nr.Len|()", "r.Len()", ""},
	} {
		left, right, _ := strings.Cut(test.code, "|")
		o, ok := makeOverlay(left+right, len([]rune(left)), &earlier, paths)
		if !ok || !strings.Contains(o.cell, test.has) || !strings.Contains(o.earlier, test.earlier) {
			t.Errorf("%q: %v\n%s\n%s", test.code, ok, o.cell, o.earlier)
			continue
		}
		line := utf16.Encode([]rune(strings.Split(o.cell, "\n")[o.line]))
		before := string(utf16.Decode(line[:o.column]))
		if last := left[strings.LastIndexByte(left, '\n')+1:]; !strings.HasSuffix(before, last) {
			t.Errorf("%q: the cursor stands behind %q", test.code, before)
		}
		for _, text := range []string{o.cell, o.earlier} {
			if _, err := parser.ParseFile(token.NewFileSet(), "", text, 0); err != nil {
				t.Errorf("%q: %v\n%s", test.code, err, text)
			}
		}
		if strings.Contains(test.code, "func f()") && strings.Contains(o.earlier, "func f()") {
			t.Errorf("%q: f is declared twice", test.code)
		}
	}
	if _, ok := makeOverlay("!ls -", 4, &earlier, paths); ok {
		t.Error("a command line is no Go")
	}
}

// Whatever is in a cell, wherever the cursor is.
func FuzzMakeOverlay(f *testing.F) {
	for _, code := range []string{"", "x.", "%%\n", "func f() {", "`", "é.ü(\r\n", "!a\\\n%b", "import (\n\"os\"", "\x00\xff",
		"package x\nvar y ="} {
		f.Add(code, len(code))
	}
	paths := map[string]string{"strings": "strings"}
	f.Fuzz(func(t *testing.T, code string, cursor int) {
		n := len([]rune(code))
		cursor = min(max(0, cursor), n)
		var earlier cell.Declarations
		earlier.Add(cell.Parse("var r = strings.NewReader(\"\")"))
		o, ok := makeOverlay(code, cursor, &earlier, paths)
		if !ok {
			return
		}
		lines := strings.Split(o.cell, "\n")
		if o.line < 0 || o.line >= len(lines) || o.column < 0 || o.column > len(utf16.Encode([]rune(lines[o.line]))) {
			t.Fatalf("%q at %d: line %d, column %d of %q", code, cursor, o.line, o.column, o.cell)
		}
		nameAt(code, cursor)
	})
}

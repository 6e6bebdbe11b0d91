package assist

import (
	"go/build"
	"strings"
	"testing"

	"advlab/kernel/internal/cell"
)

func TestIndex(t *testing.T) {
	root := build.Default.GOROOT
	if root == "" {
		t.Fatal("no go command")
	}
	a, earlier := New(Config{GoRoot: root, Commands: []string{"%autoget", "%noautoget"}}), &cell.Declarations{}
	earlier.Add(cell.Parse("import str \"strings\"\nfunc twice(x int) int { return 2 * x }"))
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
		matches, start, _ := a.index(test.code, cursor, earlier)
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
		if got := a.document(code, len([]rune(code)), earlier); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("document(%q) = %q, want %q", code, got, want)
		}
	}
}

// FuzzIndex: no text of a cell makes the answers to the cursor panic.
func FuzzIndex(f *testing.F) {
	for _, seed := range []string{"%%\nx", "!\\", "% ", "%%bash\n", "func f() {", "//gonb:%%", "const (\nA = iota\nB\n)", "a.b(", "\xff\xfe"} {
		f.Add(seed, 3)
	}
	f.Fuzz(func(t *testing.T, code string, cursor int) {
		a, earlier := New(Config{Commands: []string{"%%", "%autoget"}}), &cell.Declarations{}
		at := min(max(cursor, 0), len([]rune(code)))
		if _, start, _ := a.index(code, at, earlier); start < 0 || start > at {
			t.Fatalf("matches begin at %d, with the cursor at %d", start, at)
		}
		a.document(code, at, earlier)
	})
}

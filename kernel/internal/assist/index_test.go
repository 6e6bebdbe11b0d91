package assist

import (
	"fmt"
	"go/build"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"advlab/kernel/internal/cell"
)

// newTestAssistant knows what a kernel's does, but for gopls.
func newTestAssistant(t testing.TB) *Assistant {
	t.Helper()
	if build.Default.GOROOT == "" {
		t.Fatal("no go command")
	}
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	a := New(Config{GoRoot: build.Default.GOROOT, Modules: []Module{{"advlab/advlib", filepath.Join(root, "advlib")}},
		Commands: []Command{{Name: "%autoget"}, {Name: "%backend", Help: "shows the backend", Words: []string{"auto", "xla:cpu", "xla:cuda"}},
			{Name: "%cd", Kind: Folders}, {Name: "%check", Kind: Functions}, {Name: "%env", Kind: Variables}, {Name: "%rm", Kind: Names},
			{Name: "%%writefile", Kind: Files}, {Name: "!", Help: "a shell's command"}},
		Log: t.Logf, Limit: time.Minute,
		Pinned: func() (list []Module) {
			cmd := exec.Command("go", "list", "-m", "-f", "{{.Path}} {{.Dir}}", "all")
			cmd.Dir = root
			out, err := cmd.Output()
			if err != nil {
				t.Error(err)
			}
			for line := range strings.Lines(string(out)) {
				if path, dir, ok := strings.Cut(strings.TrimSpace(line), " "); ok && path != "advlab" && dir != "" {
					list = append(list, Module{path, dir})
				}
			}
			return list
		}})
	t.Cleanup(a.Close)
	return a
}

// notebook are the declarations that the questions of tests come after.
func notebook() *cell.Declarations {
	var d cell.Declarations
	d.Add(cell.Parse("%env SECRET_OF_MINE=1\nimport str \"strings\"\nimport \"math/rand/v2\"\nimport . \"slices\"\n" +
		"// twice doubles.\nfunc twice(x int) int { return 2 * x }\ntype point struct { Left, Right float64 // of the middle\n}\n" +
		"func (p point) Norm() float64 { return 0 }\ntype wide struct { point; Name string }"))
	return &d
}

// The first question is answered as the hundredth: whole lists, or how they begin, with | for the cursor and [ for
// where the matches begin.
func TestCompleteAtOnce(t *testing.T) {
	a := newTestAssistant(t)
	dir := t.TempDir()
	for _, name := range []string{"data.npz", "dates/x", "ünder.txt"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ code, want string }{
		{`import "[advlab/adv|"`, "advlab/advlib advlab/advlib/attack …"},
		{"import (\n\t\"fmt\"\n\tx \"[encoding/js|\"\n)", "encoding/json …"},
		{`import "[github.com/gomlx/gomlx/core/gra|"`, "github.com/gomlx/gomlx/core/graph …"},
		{"import \"os\"; import \"[net/ht|", "net/http net/http/cgi …"},
		{"[%ba|", "%backend"},
		{"%backend [xla:|", "xla:cpu xla:cuda"},
		{"%rm [tw|", "twice"},
		{"%check [|", "twice"},
		{"%env [SECRET_OF|", "SECRET_OF_MINE"},
		{"%cd [da|", "dates/"},
		{"!cat [da|", "data.npz dates/"},
		{"%%writefile [ün|", "ünder.txt"},
		{"x := 1\n// an [adv|", ""},
		{"os.Open(\"[da|\")", "data.npz dates/"},
		{"advlib.Linf.[Ba|", "Ball"},
		{"b := advlib.Batch{}\nb.[Tar|", "Target"},
		{"b := advlib.Batch{}\nb.X.[Shap|", "Shape"},
		{"advlib.Batch{[An|}", "AnyClass …"},
		{"attack.PGD{Steps: 3, [Step|}", "StepSize …"},
		{"p := &point{[|}", "Left Right …"},
		{"p := point{Left: 1, [|", "Right …"},
		{"p := []point{{[Le|}}", "Left …"},
		{"w := wide{}; w.[|", "point Name Left Right Norm"},
		{"var w wide\nfor w.[|", "point Name Left Right Norm"},
		{"func f(w *wide) { if w.[N|", "Name Norm"},
		{"type T struct{ Alpha, Beta int }\nfunc (t T) Gamma() {}\n%%\nt := T{}\nt.[|", "Alpha Beta Gamma"},
		{"é := 1; s := \"😀\"; p := point{}; p.[Le|ft", "Left"},
		{"// é 😀\nx := strings.NewReader(\"é\"); x.[Re|", "Read ReadAt ReadByte ReadRune Reset"},
		{"str.[TrimSpac|", "TrimSpace"},
		{"rand.[IntN|", "IntN"},
		{"[SortStableFu|", "SortStableFunc …"},
		{"http.Client{[Tim|}", "Timeout …"},
		{"fmt.[Print|", "Print Printf Println"},
		{"func f() { strings.[TrimSpac|", "TrimSpace"},
		{"longName := 3\nfmt.Println([long|)", "longName"},
		{"%%\n[fallth|", "fallthrough"},
		{"x := [tw|", "twice"},
		{"nowhere.[X|", ""},
		{"", ""},
		{"  |", ""},
	} {
		open := strings.IndexByte(test.code, '[')
		if strings.Contains(test.code, "[]point") || strings.HasSuffix(test.code, "[|") {
			open = strings.LastIndexByte(test.code, '[')
		}
		code := test.code
		start := -1
		if open >= 0 {
			start = len([]rune(code[:open]))
			code = code[:open] + code[open+1:]
		}
		left, right, _ := strings.Cut(code, "|")
		c := a.Complete(Question{Code: left + right, Cursor: len([]rune(left)), Earlier: notebook(), Dir: dir})
		want := strings.Fields(test.want)
		more := slices.Contains(want, "…")
		want = slices.DeleteFunc(want, func(s string) bool { return s == "…" })
		got := c.Matches
		if more {
			got = got[:min(len(got), len(want))]
		}
		if !slices.Equal(got, want) && !(len(got) == 0 && len(want) == 0) || start >= 0 && c.Start != start {
			t.Errorf("%q: %q from %d, want %q from %d", test.code, c.Matches[:min(20, len(c.Matches))], c.Start, test.want, start)
		}
	}
}

// What Shift-Tab shows, in short and with the source.
func TestInspect(t *testing.T) {
	a := newTestAssistant(t)
	for _, test := range []struct{ code, want, more string }{
		{"fmt.Println|", "func Println(a ...any) (n int, err error)", "Fprintln(os.Stdout"},
		{"%%\nx := strings.Repeat(\"a\", |", "func Repeat(s string, count int) string", "Builder"},
		{"tw|ice", "twice doubles", "return 2 * x"},
		{"tw|ice", "func twice(x int) int", ""},
		{"fm|t.Println", "package fmt // import \"fmt\"", "func fmt.Println"},
		{"import \"advlab/adv|lib\"", "package advlib // import \"advlab/advlib\"", "type advlib.Batch struct"},
		{"p := point{}; p.Le|ft", "field Left float64", ""},
		{"p := point{Ri|ght: 1}", "of the middle", ""},
		{"b := advlib.Batch{}\nfmt.Println(|b)", "var b advlib.Batch", ""},
		{"b := advlib.Batch{}\nb.X.Sha|pe", "func (t *Tensor) Shape() shapes.Shape", "return"},
		{"attack.PG|D{}", "type PGD struct", "StepSize"},
		{"attack.PGD{St|eps: 3}", "field Steps int", ""},
		{"%back|end xla", "shows the backend", ""},
		{"!l|s", "a shell's command", ""},
		{"fmt.Nothing|", "", ""},
		{"1 + |", "", ""},
	} {
		left, right, _ := strings.Cut(test.code, "|")
		q := Question{Code: left + right, Cursor: len([]rune(left)), Earlier: notebook()}
		markdown, text := a.Inspect(q, false)
		if !strings.Contains(text, test.want) || (test.want == "") != (text == "") || (text == "") != (markdown == "") {
			t.Errorf("%q: %q\n%s\nwant %q", test.code, text, markdown, test.want)
		}
		if _, more := a.Inspect(q, true); !strings.Contains(more, test.more) || len(more) < len(text) {
			t.Errorf("%q, with its source: %q, want %q", test.code, more, test.more)
		}
	}
}

// FuzzComplete: no text of a cell makes the answers to the cursor panic.
func FuzzComplete(f *testing.F) {
	for _, seed := range []string{"%%\nx", "!\\", "% ", "%%bash\n", "func f() {", "//gonb:%%", "const (\nA = iota\nB\n)", "a.b(", "\xff\xfe",
		"x := point{", "point{}.", "import \"", "`", "'", "/*", "w.point.", "%env ", "!", "for x.", "type T[P any] struct{}; T["} {
		f.Add(seed, 3)
		f.Add(seed, len(seed))
	}
	a := New(Config{Commands: []Command{{Name: "%%"}, {Name: "%autoget"}, {Name: "%rm", Kind: Names}},
		Log: func(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }})
	f.Fuzz(func(t *testing.T, code string, cursor int) {
		at := min(max(cursor, 0), len([]rune(code)))
		q := Question{Code: code, Cursor: at, Earlier: notebook()}
		if c := a.Complete(q); c.Start < 0 || c.Start > at {
			t.Fatalf("matches begin at %d, with the cursor at %d", c.Start, at)
		}
		a.Inspect(q, true)
	})
}

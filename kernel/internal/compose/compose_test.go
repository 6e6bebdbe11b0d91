package compose

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"advlab/kernel/internal/cell"
)

// few knows the packages of the tests.
type few map[string][]string

var known = few{
	"fmt": {"Errorf", "Println", "Sprint", "Sprintf"}, "strings": {"ToUpper", "Repeat"}, "math/rand": {"Intn", "Read"}, "math/rand/v2": {"IntN", "N"}, "errors": {"New"},
	"os": {"Args", "Exit"}, "runtime": {"Goexit"}, "time": {"Sleep", "Millisecond"}, "sort": {"Ints"}, "testing": {"T"},
}

func (f few) Find(_ context.Context, selectors map[string][]string) (map[string]Import, error) {
	found := map[string]Import{}
	for x, names := range selectors {
		for path, exports := range f {
			if AssumedName(path) == x && !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(exports, n) }) {
				found[x] = Import{Path: path}
			}
		}
	}
	return found, nil
}

func (f few) Package(_ context.Context, path string) (string, []string, bool) {
	return AssumedName(path), f[path], f[path] != nil
}

func (f few) Function(_ context.Context, path, name string) *ast.FuncType {
	if path == "os" && name == "Exit" {
		return &ast.FuncType{}
	}
	return nil
}

// compose makes the program of a cell, with the number of its execution.
func compose(t *testing.T, n *Notebook, id, code string) *Program {
	t.Helper()
	p, err := n.Compose(t.Context(), known, Origin{ID: id, Number: n.order + 1}, code, cell.Parse(code))
	if err != nil {
		t.Fatalf("composing %q: %v", code, err)
	}
	return p
}

// run builds and runs a program, and returns what it prints, or the compiler's errors.
func run(t *testing.T, p *Program) (string, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range p.Files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module m\n\ngo 1.24\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", "program", ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	program, nonce := filepath.Join(dir, "program"), strings.Repeat("n", NonceSplit)+"result"
	if err := os.WriteFile(program+NonceSuffix, []byte(nonce), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if said, _ := os.ReadFile(program + EndSuffix); p.Ends() && err == nil && string(said) != nonce {
		return string(out), errors.New("the program has not come to its end")
	}
	return string(out), err
}

// step is a cell that is run, and what it is to print. "error: TEXT" is the first line of the compiler's error, after
// which the cell has declared nothing.
type step struct{ id, code, want string }

func TestPrograms(t *testing.T) {
	for _, test := range []struct {
		name  string
		steps []step
	}{
		{"a declaration that is broken is met by those who use it alone", []step{
			{"", "func good() int { return 1 }\nfunc size() int { return len(list) }\nvar list = []int{1, 2}", ""},
			{"", "var list = 3", ""}, // size no longer compiles
			{"", "fmt.Println(good())", "1\n"},
			{"", "fmt.Println(size())", "error: cell_00000.go:2:30: invalid argument: list (variable of type int) for built-in len"},
			{"", "fmt.Println(good() + list)", "4\n"},
		}},
		{"a variable is computed where it is used", []step{
			{"", "var slow = func() int { panic(\"too slow\") }()", "panic"},
			{"", "fmt.Println(2)", "2\n"},
		}},
		{"positions", []step{
			{"", "\n  x := 1\n  fmt.Println(x + y)", "error: cell_00000.go:3:19: undefined: y"},
			{"", "func f() int {\n\treturn z\n}\n%%\nfmt.Println(f())", "error: cell_00000.go:2:9: undefined: z"},
			{"", "var (\n\ta = 1\n\tb = c\n)", "error: cell_00000.go:3:6: undefined: c"},
			{"", "import (\n\t\"fmt\"\n\n\t\"nosuch\"\n)\nnosuch.F()", "error: cell_00000.go:4:2: package nosuch is not in std"},
		}},
		{"kinds change", []step{
			{"", "const n = 3", ""},
			{"", "var n = 4\nfunc get() int { return n }", ""},
			{"", "n++\nfmt.Println(n, get())", "5 5\n"},
			{"", "func n() int { return 6 }", ""},
			{"", "fmt.Println(n())", "6\n"},
			{"", "type n struct{}\nfunc (n) String() string { return \"seven\" }", ""},
			{"", "fmt.Println(n{})", "seven\n"},
		}},
		{"constants of one block, and names of one var", []step{
			{"", "const (\n\tA = iota\n\tB\n\tC\n)\nvar p, q = func() (int, int) { return 10, 20 }()", ""},
			{"", "var B, p = \"b\", 1.5", ""},
			{"", "fmt.Println(A, B, C, p, q)", "0 b 2 1.5 20\n"},
		}},
		{"methods come with their type", []step{
			{"", "type T struct{ n int }", ""},
			{"", "func (t T) String() string { return fmt.Sprint(\"T\", t.n) }", ""},
			{"", "func (t *T) Grow[int]() {}", "syntax: 1:25: expected"},
			{"", "t := T{n: 2}\nfmt.Println(t)", "T2\n"},
			{"", "type U struct{ T }\nfmt.Println(U{T{5}})", "T5\n"},
		}},
		{"a type that is declared again in a cell takes its old methods along", []step{
			{"", "type T struct{ n int }\nfunc (t T) String() string { return fmt.Sprint(t.n) }", ""},
			{"", "type T struct{ m int }", ""},
			{"", "fmt.Println(T{4})", "{4}\n"},
		}},
		{"an import holds in its cell and those behind", []step{
			{"", "import \"math/rand\"\nfunc old() int { return rand.Intn(1) }", ""},
			{"", "import \"math/rand/v2\"\nfunc new_() int { return rand.IntN(1) }", ""},
			{"", "fmt.Println(old(), new_(), rand.N(1))", "0 0 0\n"},
		}},
		{"imports that nobody wrote", []step{
			{"", "func f() int { return rand.Intn(1) }", ""},
			{"", "fmt.Println(rand.IntN(1), f(), strings.ToUpper(\"a\"))", "0 0 A\n"},
		}},
		{"dot imports while they are needed", []step{
			{"", "import . \"strings\"\nfunc up() string { return ToUpper(\"a\") }", ""},
			{"", "fmt.Println(up())", "A\n"},
			{"", "fmt.Println(1)", "1\n"},
			{"", "fmt.Println(Repeat(\"b\", 2))", "bb\n"},
		}},
		{"a function hides a package only where both are used", []step{
			{"", "func strings() int { return 1 }", ""},
			{"", "fmt.Println(strings.ToUpper(\"a\"))", "A\n"},
			{"", "fmt.Println(strings())", "1\n"},
			{"", "fmt.Println(strings(), strings.ToUpper(\"a\"))", "hidden"},
		}},
		{"names of flags", []step{
			{"", "var flag = true", ""},
			{"", "fmt.Println(flag)", "true\n"},
		}},
		{"init functions run first, and those that fail are left out", []step{
			{"", "var v = 1\nfunc init_a() { v = 2 }\nfunc init_b() { v *= 10 }", ""},
			{"", "fmt.Println(v)", "20\n"},
			{"", "var v = \"text\"", "error: cell_00000.go:2:21: cannot use 2 (untyped int constant) as string value in assignment"},
		}},
		{"a cell that is run again forgets what it declared", []step{
			{"a", "func f() int { return 1 }\nfunc g() int { return 2 }", ""},
			{"b", "func f() int { return 3 }", ""},
			{"a", "func g() int { return 4 }", ""},
			{"c", "fmt.Println(f(), g())", "3 4\n"},
			{"b", "func h() int { return 5 }", ""},
			{"c", "fmt.Println(f(), g())", "error: cell_00002.go:1:13: undefined: f"},
			{"a", "func f() int { return 6 }\nfunc g() int { return h() }", ""},
			{"c", "fmt.Println(f(), g())", "6 5\n"},
		}},
		{"what hid a name gives it free", []step{
			{"a", "func f() int { return 1 }", ""},
			{"b", "func f() int { return 2 }", ""},
			{"b", "", ""},
			{"c", "fmt.Println(f())", "1\n"},
		}},
		{"functions and types among statements", []step{
			{"", "%%\nx := 3\nfunc h(a int) int { return a * 2 }\nfmt.Println(h(x))", "6\n"},
			{"", "x := 4\nfunc h(a int) int { return a * 2 }\ntype T int\nfunc (t T) Twice() T { return 2 * t }\nfmt.Println(h(x), T(1).Twice())", "8 2\n"},
			{"", "func() { fmt.Println(\"literal\") }()", "literal\n"},
			{"", "fmt.Println(h(1))", "2\n"},
		}},
		{"literals with keys", []step{
			{"", "type S struct{ key int }\ntype M map[int]string\nconst key = 7\nvar broken int = \"\"", "error: cell_00000.go:4:18: cannot use \"\" (untyped string constant) as int value in variable declaration"},
			{"", "type S struct{ bad int }\ntype M map[int]string\nconst key = 7", ""},
			{"", "func bad() int { return nosuch }\n%%", "error: cell_00001.go:1:25: undefined: nosuch"},
			{"", "fmt.Println(S{bad: 1}, M{key: \"m\"}, []string{key: \"x\"}[key], map[int]S{key: {bad: 2}})", "{1} map[7:m] x map[7:{2}]\n"},
		}},
		{"generics and locals", []step{
			{"", "type Pair[A, B any] struct{ a A; b B }\nfunc (p Pair[A, B]) Swap() Pair[B, A] { return Pair[B, A]{p.b, p.a} }\nfunc Map[T any](xs []T, f func(T) T) (ys []T) {\n\tfor _, x := range xs {\n\t\tys = append(ys, f(x))\n\t}\n\treturn ys\n}", ""},
			{"", "fmt.Println(Map([]int{1}, func(x int) int { return x + 1 }), Pair[int, string]{1, \"a\"}.Swap())", "[2] {a 1}\n"},
		}},
		{"var _ is of its own cell", []step{
			{"", "type I interface{ M() }\ntype T struct{}\nfunc (T) M() {}\nvar _ I = T{}", ""},
			{"", "type T struct{}", ""},
			{"", "fmt.Println(T{})", "{}\n"},
		}},
		{"its own main", []step{
			{"", "func main() { fmt.Println(\"own\") }", "own\n"},
			{"", "fmt.Println(1)", "1\n"},
		}},
		{"initialisers run in the order of the notebook", []step{
			{"a", "func say(s string) int { fmt.Println(s); return 1 }", ""},
			{"b", "var one = say(\"one\")", "one\n"},
			{"c", "var two = say(\"two\")", "two\n"},
			{"b", "var one = say(\"one again\")", "one again\n"},
			{"d", "_ = two + one", "one again\ntwo\n"},
		}},
		{"syntax", []step{
			{"", "func f( {", "syntax: 1:7: this ( is not closed"},
			{"", "x := 1\nif x {\n\tx++\n", "syntax: 2:6: this { is not closed"},
			{"", "x := 1\n  y = = 2", "syntax: 2:7: expected operand, found '='"},
			{"", "func sign(x float64) float64 {\n\tif x > 0 { return 1\n\treturn 0\n}\nfunc step(x float64) float64 { return x }", "syntax: 1:30: this { is not closed; by the indentation, it is that of line 2 which lacks its }"},
			{"", "f() }\nfunc g() {", "syntax: 1:5: there is nothing open for this }"},
			{"", "import fmt\nf()", "syntax: 1:11: missing import path"},
			{"", "x++\n%%\nf()", "syntax: 1:1: statements stand below the line %%"},
			{"", "var (\n\ta = 1\n\tb = = 2\n)", "syntax: 3:6: expected operand, found '='"},
			{"", "%test\nx++", "syntax: 2:1: a cell of tests has declarations only"},
			{"", "fmt.Println(1)", "1\n"},
		}},
		{"an exit is no end", []step{
			{"", "defer func() { recover() }()\npanic(1)", ""},
			{"", "if len(os.Args) > 0 {\n\treturn\n}", ""},
			{"", "os.Exit(0)", "error: the program has not come to its end"},
			{"", "go func() { time.Sleep(50 * time.Millisecond); os.Exit(0) }()\nruntime.Goexit();", "error: the program has not come to its end"},
			{"", "type exits struct{}\nfunc (exits) Error() string { os.Exit(0); return \"\" }\n%%\npanic(exits{})",
				"error: the program has not come to its end"},
			{"", "func answer() int { os.Exit(0); return 0 }\n%%\nfmt.Println(answer())", "error: the program has not come to its end"},
		}},
		{"carriage returns", []step{{"", "%%\r\nfmt.Println(\"a\")\r\n", "a\n"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var n Notebook
			for i, s := range test.steps {
				code := strings.ReplaceAll(s.code, "\r\n", "\n")
				p, err := n.Compose(t.Context(), known, Origin{ID: s.id, Number: n.order + 1}, code, cell.Parse(code))
				var hides *HiddenError
				var syntax *SyntaxError
				if wanted, fails := strings.CutPrefix(s.want, "syntax: "); fails {
					if !errors.As(err, &syntax) || !strings.HasPrefix(fmt.Sprintf("%d:%d: %s", syntax.Line, syntax.Column, syntax.Text), wanted) {
						t.Errorf("step %d, %q: got %v at %+v, want %s", i, s.code, err, syntax, wanted)
					}
					continue
				}
				if errors.As(err, &hides) && s.want == "hidden" {
					continue
				}
				if err != nil {
					t.Fatalf("step %d: %v", i, err)
				}
				out, err := run(t, p)
				var exit *exec.ExitError
				switch wanted, fails := strings.CutPrefix(s.want, "error: "); {
				case s.want == "panic" && errors.As(err, &exit):
				case err != nil && fails:
					if first, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "# m\n"), "\n"); !strings.HasPrefix(strings.TrimPrefix(first, "./"),
						wanted) {
						t.Errorf("step %d: got\n%s\nwant\n%s\nin\n%s", i, first, wanted, all(p))
					}
					continue
				case err != nil || fails:
					t.Errorf("step %d, %q: got %q, %v, want %q\nin\n%s", i, s.code, out, err, s.want, all(p))
				case out != s.want:
					t.Errorf("step %d, %q: got %q, want %q\nin\n%s", i, s.code, out, s.want, all(p))
				}
				n.Add(p)
			}
		})
	}
}

// In the program of a locked cell, what locked cells mean by a name is not for others to say.
func TestLockedCells(t *testing.T) {
	const helper = "func want(x int) int { return x / 2 }"
	const check = "import (\n\t\"errors\"\n\t\"fmt\"\n)\nfunc right() error {\n\tif got := half(6); got != want(6) {\n\t\treturn " +
		"fmt.Errorf(\"half(6) is %d\", got)\n\t}\n\treturn nil\n}"
	const fails = "exit status 1"
	for _, test := range []struct{ name, answer, check, want, note string }{
		{"a right answer", "func half(x int) int { return x / 2 }", check, "right: passed\n", ""},
		{"a wrong answer", "func half(x int) int { return x }", check, fails, ""},
		{"a helper declared again", "func half(x int) int { return x }\nfunc want(x int) int { return x }", check, fails, "want is what cell 1"},
		{"a helper of the answer's own", "func half(x int) int { return double(x) / 4 }\nfunc double(x int) int { return 2 * x }", check,
			"right: passed\n", ""},
		{"the checker declared before", "func half(x int) int { return x }\nfunc right() error { return nil }", check, fails, "right is what"},
		{"os.Exit of the answer's own", "func half(x int) int { return x }\ntype o struct{}\nfunc (o) Exit(int) {}\nvar os o", check, fails, ""},
		{"a package of the answer's own", "func half(x int) int { return x }\ntype f struct{}\nfunc (f) Errorf(string, ...any) error " +
			"{ return nil }\nvar fmt f", strings.Replace(check, "\t\"fmt\"\n", "", 1), fails, ""},
		{"that the answer needs", "func half(x int) int { fmt.Errorf(\"\"); return x }\ntype f struct{}\nfunc (f) Errorf(string, ...any) error " +
			"{ return nil }\nvar fmt f", strings.Replace(check, "\t\"fmt\"\n", "", 1), "hidden", ""},
		{"another package of a name", "import fmt \"errors\"\nfunc half(x int) int { return x }",
			"func right() error {\n\tif half(6) != 3 {\n\t\treturn fmt.Errorf(\"no\")\n\t}\n\treturn nil\n}", fails, ""},
		{"predeclared names", "func half(x int) int { return x }\nfunc panic(any) {}\nconst true, nil = false, 0\ntype error = int",
			"func right() error { if half(6) != 3 { panic(\"no\") }; return nil }", "exit status 2", ""},
		{"predeclared names that the answer needs", "func half(x int) int { panic(x); return x }\nfunc panic(any) {}",
			"func right() error { if half(6) != 3 { panic(\"no\") }; return nil }", "hidden", ""},
		{"predeclared names that only the answer needs", "func half(x int) int { return max(x) / 2 }\nfunc max(x int) int { return x }", check,
			"right: passed\n", ""},
		{"an own main", "func half(x int) int { return x / 2 }", "func main() { os.Exit(0) }", "main", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var n Notebook
			var p *Program
			var err error
			for i, code := range []string{helper, test.answer, test.check} {
				c := cell.Parse(code)
				if i == 2 && !strings.Contains(code, "func main") {
					c = cell.Parse(strings.Replace(code, "\"errors\"", "_ \"errors\"", 1) + "\n%%\n" + n.CheckCall("right"))
				}
				if p, err = n.Compose(t.Context(), known, Origin{Number: i + 1, Locked: i != 1}, code, c); err != nil {
					break
				}
				n.Add(p)
			}
			var hides *HiddenError
			if errors.As(err, &hides) || err != nil && strings.HasPrefix(err.Error(), "func main in a locked cell") {
				if test.want != "hidden" && test.want != "main" {
					t.Error(err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if notes := strings.Join(p.Notes, "\n"); !strings.Contains(notes, test.note) || test.note == "" && notes != "" {
				t.Errorf("the notes are %q, want %q", notes, test.note)
			}
			out, err := run(t, p)
			if err != nil {
				out += err.Error()
			}
			if !strings.HasSuffix(out, test.want) {
				t.Errorf("got %q, want %q\nin\n%s", out, test.want, all(p))
			}
		})
	}
}

func all(p *Program) string {
	var b strings.Builder
	for name, text := range p.Files {
		b.WriteString("-- " + name + "\n" + text + "\n")
	}
	return b.String()
}

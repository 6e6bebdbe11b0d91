package relay

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// The last expression of a cell is its result.
func TestLastExpressionIsTheResult(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	for _, cell := range []string{
		"import \"errors\"\nfunc two() (int, error) { return 2, nil }\nfunc fails() (int, error) { return 2, errors.New(\"broken\") }\n" +
			"func pair() (int, float64) { return 1, 0.5 }\nfunc nothing() {}\ntype point struct{ X, Y int }\n" +
			"func (p point) Move() {}\nfunc (p point) Sum() int { return p.X + p.Y }\nvar three = 3\nfunc none() error { return nil }\n" +
			"func id[T any](x T) T { return x }",
		"type drawing struct{}\nfunc (drawing) SVG() string { return \"<svg/>\" }\nfunc (drawing) String() string { return \"a drawing\" }\n" +
			"func drawn() (drawing, int, error) { return drawing{}, 1, nil }",
	} {
		if r := f.run(cell); r.Status != "ok" || r.contents["execute_result"] != nil {
			t.Fatalf("%+v", r)
		}
	}
	for _, test := range []struct{ code, text, class string }{
		{"1 + 1", "2", ""},
		{"%%\n\"a\" + \"b\"", "ab", ""},
		{"x := 4\nx * x // the square", "16", ""},
		{"three", "3", ""},
		{"var four = 4\nfour + three", "7", ""},
		{"point{1, 2}", "{X:1 Y:2}", ""},
		{"point{1, 2}.Sum()", "3", ""},
		{"point{1, 2}.Move()", "", ""},
		{"two()", "2", ""},
		{"fails()", "", "Panic"},
		{"pair()", "(1, 0.5)", ""},
		{"nothing()", "", ""},
		{"id[string](\"s\")", "s", ""},
		{"func() int { return 6 }()", "6", ""},
		{"g := func() {}\ng()", "", ""},
		{"strings.ToUpper(\"x\")", "X", ""},
		{"err := errors.New(\"a value\")\nerr", "a value", ""},
		{"1 + 1;", "", ""},
		{"two();", "", ""},
		{"append([]int{1}, 2);", "", ""},
		{"fmt.Println(three)", "", ""},
		{"os.Stdout.WriteString(\"w\\n\")", "", ""},
		{"time.Sleep(1)", "", ""},
		{"x := 0\ngonbui.Sync()\n  gonbui.Sync(); _ = x", "", ""},
		{"gonbui.Sync()", "", ""},
		{"gonbui.Sync( /* again */ )", "", ""},
		{"fmt.Sprint(nothing())", "", "CompileError"},
		{"fmt.Sprint(1)", "1", ""},
		{"var w sync.WaitGroup\nw.Wait()", "", ""},
		{"c := make(chan int, 1)\nc <- 8\n<-c", "8", ""},
		{"[]string{\n\t\"a\",\n\t\"b\",\n}", "[a b]", ""},
		{"three\nfunc late() int { return three }", "3", ""},
		{"if three > 2 { fmt.Print() }", "", ""},
		{"return\nthree", "", ""},
		{"defer func() { panic(\"late\") }()\nthree", "", "Panic"},
		{"%exec two", "", ""},
		{"%test\nfunc TestX(t *testing.T) {}", "", ""},
	} {
		r := f.run(test.code)
		got := ""
		if result := r.contents["execute_result"]; result != nil {
			got, _ = result["data"].(map[string]any)["text/plain"].(string)
			if n, _ := result["execution_count"].(float64); int(n) != r.Count {
				t.Errorf("%q: Out[%v], and the reply says %d", test.code, n, r.Count)
			}
		}
		if r.Class != test.class || got != test.text {
			t.Errorf("%q: %q, %s %q; want %q, %s", test.code, got, r.Class, r.Text, test.text, test.class)
		}
	}
	r := f.run("drawn()")
	display, _ := r.contents["display_data"]["data"].(map[string]any)
	result, _ := r.contents["execute_result"]["data"].(map[string]any)
	picture := map[string]any{"image/svg+xml": "<svg/>", "text/plain": "a drawing"}
	if !reflect.DeepEqual(display, picture) || result["text/plain"] != "1" {
		t.Errorf("%v, %v", display, result)
	}
	r = f.run("image.NewGray(image.Rect(0, 0, 3, 2))")
	result, _ = r.contents["execute_result"]["data"].(map[string]any)
	if png, _ := result["image/png"].(string); !strings.HasPrefix(png, "iVBOR") || result["text/plain"] != "image of 3 × 2 pixels" {
		t.Errorf("%v", result)
	}
	if r := f.run("1 + 1", map[string]any{"silent": true}); r.contents["execute_result"] != nil {
		t.Errorf("%+v", r)
	}
}

// Errors in and around the last expression are where they are in the cell.
func TestErrorsOfTheLastExpression(t *testing.T) {
	f := startKernel(t).start().frontEnd()
	for _, test := range []struct{ code, text, hint string }{
		{"x := 1\n  x + undefinedName", "cell %d, line 2: undefined: undefinedName", ""},
		{"x := 1\n1 + 1\nx", "cell %d, line 2: 1 + 1 (untyped int constant 2) is not used", "last line"},
		{"a, b := 1, 2\na, b", "cell %d, line 2: expected 1 expression", "one value"},
		{"y := 1\nvar w sync.WaitGroup\nw.Wait()", "cell %d, line 1: declared and not used: y", "Go refuses"},
		{"int", "cell %d, line 1: int (type) is not an expression", ""},
	} {
		r := f.run(test.code)
		if want := fmt.Sprintf(test.text, r.Count); r.Class != "CompileError" || !strings.HasPrefix(r.Text, want) {
			t.Errorf("%q: %s %q, want %q", test.code, r.Class, r.Text, want)
		}
		if all := strings.Join(r.Traceback, "\n"); !strings.Contains(all, test.hint) {
			t.Errorf("%q: no %q in\n%s", test.code, test.hint, all)
		}
	}
	r := f.run("x := 1\n  x + undefinedName")
	if all := strings.Join(r.Traceback, "\n"); !strings.Contains(all, "\n      |       ^") {
		t.Errorf("the column of the error:\n%s", all)
	}
	r = f.run("var m []int\nm[2]")
	if want := fmt.Sprintf("cell %d, line 2: runtime error: index out of range [2] with length 0", r.Count); r.Text != want {
		t.Errorf("%q, want %q", r.Text, want)
	}
}

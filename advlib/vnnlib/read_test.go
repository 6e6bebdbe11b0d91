package vnnlib_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"math"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"advlab/advlib/vnnlib"
)

const declarations = "(declare-const X_0 Real)(declare-const X_1 Real)(declare-const Y_0 Real)(declare-const Y_1 Real)\n"

// written writes a property in one way, for comparison.
func written(p *vnnlib.Property) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%d inputs, %d outputs\n", p.Inputs, p.Outputs)
	for _, c := range p.Cases {
		for i := range c.Lower {
			fmt.Fprintf(&s, "%s <= X_%d <= %s\n", vnnlib.Decimal(c.Lower[i]), i, vnnlib.Decimal(c.Upper[i]))
		}
		for _, conjunction := range c.Unsafe {
			fmt.Fprintf(&s, "  unsafe:")
			for _, condition := range conjunction {
				fmt.Fprintf(&s, " [%v]", condition)
			}
			s.WriteByte('\n')
		}
	}
	return s.String()
}

func TestOpen(t *testing.T) {
	for _, tc := range []struct{ file, want string }{
		{"nested", `2 inputs, 3 outputs
-0.5 <= X_0 <= 0.25
1 <= X_1 <= 1
  unsafe: [Y_0 + 2·Y_1 - Y_2 <= -1.25] [-Y_0 < -0.1]
  unsafe: [Y_0 + 2·Y_1 - Y_2 <= -1.25] [Y_1 - Y_2 <= 0] [-Y_1 - Y_2 <= 0]
0.5 <= X_0 <= 0.75
-1 <= X_1 <= -0.5
  unsafe: [Y_0 + 2·Y_1 - Y_2 <= -1.25] [-Y_0 < -0.1]
  unsafe: [Y_0 + 2·Y_1 - Y_2 <= -1.25] [Y_1 - Y_2 <= 0] [-Y_1 - Y_2 <= 0]
`},
		{"robust", `1 inputs, 3 outputs
-0.1 <= X_0 <= 0.1
  unsafe: [-Y_0 + Y_2 <= 0]
  unsafe: [-Y_1 + Y_2 <= 0]
`},
	} {
		path := filepath.Join("testdata", tc.file+".vnnlib")
		p, err := vnnlib.Open(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := written(p); got != tc.want {
			t.Errorf("%s:\n%s\nwant\n%s", tc.file, got, tc.want)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := vnnlib.Read(&z)
		if err != nil {
			t.Errorf("%s, compressed: %v", tc.file, err)
		} else if written(again) != tc.want {
			t.Errorf("%s, compressed:\n%s", tc.file, written(again))
		}
	}
}

// TestCompetition reads the properties of the competition that lie beside the checkout.
func TestCompetition(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "shared", "data", "vnnlib", "*.vnnlib"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Skip("no ../shared/data/vnnlib beside the checkout")
	}
	// Inputs, outputs, boxes, and conditions of the first.
	want := map[string][4]int{"prop_1": {5, 5, 1, 1}, "prop_2": {5, 5, 1, 4}, "prop_3": {5, 5, 1, 4}, "prop_4": {5, 5, 1, 4},
		"test_nano": {1, 1, 1, 1}, "test_prop": {5, 5, 1, 4}, "test_small": {1, 1, 1, 1}, "test_tiny": {1, 1, 1, 1}}
	for _, file := range files {
		p, err := vnnlib.Open(file)
		if err != nil {
			t.Error(err)
			continue
		}
		name := strings.TrimSuffix(filepath.Base(file), ".vnnlib")
		got := [4]int{p.Inputs, p.Outputs, len(p.Cases), len(p.Cases[0].Unsafe[0])}
		if w, known := want[name]; !known || got != w {
			t.Errorf("%s: %v, want %v", name, got, w)
		}
	}
	p, err := vnnlib.Open(filepath.Join(filepath.Dir(files[0]), "prop_1.vnnlib"))
	if err != nil {
		t.Fatal(err)
	}
	// In the file: X_0 <= 0.679857769, Y_0 >= 3.991125645861615.
	exact, _ := new(big.Rat).SetString("0.679857769")
	if c := p.Cases[0]; c.Upper[0].Cmp(exact) != 0 || c.Unsafe[0][0].String() != "-Y_0 <= -3.991125645861615" {
		t.Errorf("%v, %v", c.Upper[0], c.Unsafe[0][0])
	}
}

func TestErrors(t *testing.T) {
	deep := strings.Repeat("(and ", 2000) + strings.Repeat(")", 2000)
	wide := "(and" + strings.Repeat(" (or (<= Y_0 1) (<= Y_1 1))", 20) + ")"
	for _, tc := range []struct {
		name, text   string
		line, column int
		wants        []string
	}{
		{"empty", "", 1, 1, []string{"without a declaration of X_0", "complete"}},
		{"no outputs", "(declare-const X_0 Real)\n", 2, 1, []string{"without a declaration of Y_0"}},
		{"gap", "(declare-const X_0 Real)(declare-const Y_1 Real)", 1, 49, []string{"Y_0 is not declared, but Y_1 is"}},
		{"cut off", declarations + "(assert (<= X_0 1)", 2, 1, []string{"not closed", "cut off"}},
		{"one too many", declarations + "(assert (<= X_0 1)))", 2, 20, []string{"closes nothing"}},
		{"binary", "\x08\x04onnx", 1, 1, []string{"0x08", "ASCII"}},
		{"quoted", declarations + " (set-info :source |x|)", 2, 20, []string{"quoted"}},
		{"atom", declarations + "assert", 2, 1, []string{"a command", "assert"}},
		{"command", declarations + "(push 1)", 2, 2, []string{"push is no command", "assert"}},
		{"version 2", "(vnnlib-version <2.0>)", 1, 1, []string{"VNN-LIB 2.0"}},
		{"sort", "(declare-const X_0 Int)", 1, 20, []string{"sort Int", "Real"}},
		{"twice", "(declare-const X_0 Real) (declare-const X_0 Real)", 1, 41, []string{"X_0 is declared twice"}},
		{"name", "(declare-const Z_0 Real)", 1, 16, []string{"Z_0 is no variable", "X_0"}},
		{"leading zero", "(declare-const X_01 Real)", 1, 16, []string{"no variable"}},
		{"far", "(declare-const X_99999999 Real)", 1, 16, []string{"variables"}},
		{"undeclared", declarations + "(assert (<= X_2 1))", 2, 13, []string{"X_2 is not declared", "(declare-const X_2 Real)"}},
		{"two conditions", declarations + "(assert (<= X_0 1) (<= X_1 1))", 2, 1, []string{"one condition", "and"}},
		{"three sides", declarations + "(assert (<= 0 X_0 1))", 2, 10, []string{"compares 3 expressions"}},
		{"not", declarations + "(assert (not (<= X_0 1)))", 2, 10, []string{"not is not read"}},
		{"operator", declarations + "(assert (!= X_0 1))", 2, 10, []string{"!= is no condition"}},
		{"number", declarations + "(assert (<= X_0 1,5))", 2, 17, []string{"1,5 is no number", "-0.5"}},
		{"exponent", declarations + "(assert (<= X_0 1e9999))", 2, 17, []string{"three digits"}},
		{"long", declarations + "(assert (<= X_0 " + strings.Repeat("1", 2000) + "))", 2, 17, []string{"2000 characters"}},
		{"huge", declarations + "(assert (<= Y_0 (* 1e999 1e999 1e999 1e999 1e999 1e999)))", 2, 17, []string{"bits"}},
		{"quadratic", declarations + "(assert (<= (* Y_0 Y_1) 1))", 2, 20, []string{"linear"}},
		{"divided", declarations + "(assert (<= (/ 1 Y_1) 1))", 2, 18, []string{"divides"}},
		{"by zero", declarations + "(assert (<= (/ Y_1 0) 1))", 2, 20, []string{"0 divides"}},
		{"function", declarations + "(assert (<= (abs Y_1) 1))", 2, 14, []string{"abs is no operation"}},
		{"no argument", declarations + "(assert (<= (+) 1))", 2, 14, []string{"0 arguments"}},
		{"empty list", declarations + "(assert ())", 2, 9, []string{"a condition such as"}},
		{"mixed", declarations + "(assert (<= X_0 Y_0))", 2, 9, []string{"inputs with outputs"}},
		{"relation", declarations + "(assert (<= X_0 X_1))", 2, 9, []string{"several inputs", "box"}},
		{"strict", declarations + "(assert (< X_0 1))", 2, 9, []string{"strictly", "<="}},
		{"unbounded", declarations + "(assert (<= X_0 1)) (assert (>= X_0 1)) (assert (<= X_1 0))", 2, 60,
			[]string{"X_1 has no lower bound", "(>= X_1"}},
		{"no condition", declarations + "(assert (and (<= X_0 1) (>= X_0 0) (<= X_1 1) (>= X_1 0)))", 2, 59,
			[]string{"no output is constrained", "(assert (<= Y_0 Y_1))"}},
		{"trivial condition", declarations + "(assert (and (<= X_0 1) (>= X_0 0) (<= X_1 1) (>= X_1 0) (or (<= 0 1) (<= Y_0 Y_0))))", 2, 86,
			[]string{"no output is constrained"}},
		{"deep", declarations + "(assert " + deep + ")", 2, 5004, []string{"1000 deep"}},
		{"wide", declarations + "(assert " + wide + ")", 2, 9, []string{"alternatives", "or inside of and"}},
		{"gzip", "\x1f\x8b\x08\x00", 0, 0, []string{"gzip", "download"}},
	} {
		_, err := vnnlib.Read(strings.NewReader(tc.text))
		if err == nil {
			t.Errorf("%s: no error", tc.name)
			continue
		}
		var placed *vnnlib.Error
		if errors.As(err, &placed) != (tc.line > 0) {
			t.Errorf("%s: has no place: %v", tc.name, err)
		} else if placed != nil && (placed.Line != tc.line || placed.Column != tc.column) {
			t.Errorf("%s: %v, want line %d, column %d", tc.name, err, tc.line, tc.column)
		}
		for _, want := range append(tc.wants, "vnnlib: ") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", tc.name, err, want)
			}
		}
	}
	if _, err := vnnlib.Open("testdata"); err == nil || !strings.Contains(err.Error(), "no file") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := vnnlib.Open("testdata/missing.vnnlib"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// TestContradiction: bounds that no input meets leave nothing unsafe, as do conditions without variables that are
// false.
func TestContradiction(t *testing.T) {
	const box, unsafe = "(assert (and (<= X_0 1) (>= X_0 0) (<= X_1 1) (>= X_1 0)))", "(assert (<= Y_0 Y_1))"
	for _, tc := range []struct {
		text  string
		cases int
	}{
		{box + unsafe, 1},
		{box + "(assert (<= X_0 -1))", 0},
		{box + "(assert (or (<= X_0 -1) (>= X_0 0.5)))" + unsafe, 1},
		{box + "(assert (<= 1 0))", 0},
		{box + "(assert (or))", 0},
		{box + "(assert (and))" + unsafe, 1},
		{box + "(assert (< Y_0 Y_0))", 0},
		{box + "(assert (= 1 1))" + unsafe, 1},
		{box + "(assert (or (<= Y_0 0) (<= X_0 0.5)))", 2}, // in one of them every output is unsafe, and the file says so
		{box + "(assert (= 1 2))", 0},
	} {
		p, err := vnnlib.Read(strings.NewReader(declarations + tc.text))
		if err != nil {
			t.Errorf("%s: %v", tc.text, err)
		} else if len(p.Cases) != tc.cases {
			t.Errorf("%s: %d cases, want %d", tc.text, len(p.Cases), tc.cases)
		}
	}
}

func TestHolds(t *testing.T) {
	third := big.NewRat(1, 3)
	c := vnnlib.Condition{Row: []*big.Rat{third, new(big.Rat)}, Bound: big.NewRat(1, 1)}
	inf, nan := math.Inf(1), math.NaN()
	for _, tc := range []struct {
		y    float64
		want bool
	}{{3, true}, {3.0000000000000004, false}, {2.9999999999999996, true}, {inf, false}, {-inf, false}, {nan, false}} {
		if got := c.Holds([]float64{tc.y, nan}); got != tc.want {
			t.Errorf("%v at %g: %v", c, tc.y, got)
		}
	}
	if c.Strict = true; c.Holds([]float64{3, 0}) {
		t.Errorf("%v at 3", c)
	}
	if s := c.String(); s != "1/3·Y_0 < 1" {
		t.Error(s)
	}
}

package vnnlib_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"advlab/advlib/vnnlib"
)

// formula is a random condition: its text, and its meaning at inputs x and outputs y, evaluated without the package.
type formula struct {
	text string
	at   func(x, y []int64) bool
}

func randomFormula(r *rand.Rand, depth int) formula {
	if depth > 0 && r.IntN(3) > 0 {
		var parts []formula
		var texts []string
		for range r.IntN(3) + 1 {
			f := randomFormula(r, depth-1)
			parts, texts = append(parts, f), append(texts, f.text)
		}
		if r.IntN(2) == 0 {
			return formula{"(and " + strings.Join(texts, " ") + ")", func(x, y []int64) bool {
				for _, f := range parts {
					if !f.at(x, y) {
						return false
					}
				}
				return true
			}}
		}
		return formula{"(or " + strings.Join(texts, " ") + ")", func(x, y []int64) bool {
			for _, f := range parts {
				if f.at(x, y) {
					return true
				}
			}
			return false
		}}
	}
	k, c, a, b := r.IntN(2), int64(r.IntN(7)-3), int64(r.IntN(5)-2), int64(r.IntN(5)-2)
	switch r.IntN(5) {
	case 0:
		return formula{fmt.Sprintf("(<= X_%d %d)", k, c), func(x, _ []int64) bool { return x[k] <= c }}
	case 1:
		return formula{fmt.Sprintf("(<= (- %d) (* -1 (- X_%d)))", c, k), func(x, _ []int64) bool { return -c <= x[k] }}
	case 2:
		return formula{fmt.Sprintf("(> (+ (* %d Y_0) (* Y_1 %d)) %d.0)", a, b, c), func(_, y []int64) bool { return a*y[0]+b*y[1] > c }}
	case 3:
		return formula{fmt.Sprintf("(= (- Y_0 (/ Y_1 2) %d) 5e-1)", c), func(_, y []int64) bool { return 2*y[0]-y[1]-2*c == 1 }}
	}
	return formula{fmt.Sprintf("(>= (* %d Y_0) (- (* %d Y_1) %d))", a, b, c), func(_, y []int64) bool { return a*y[0] >= b*y[1]-c }}
}

// TestMeaning compares properties with their conditions, evaluated term by term, at all small integers.
func TestMeaning(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	unsafe, safe := 0, 0
	for range 300 {
		f, g := randomFormula(r, 3), randomFormula(r, 2)
		text := declarations + "(assert (and (<= X_0 3) (>= X_0 -3) (<= X_1 3) (>= X_1 -3) (<= Y_0 4)))\n(assert " + f.text + ")\n(assert " +
			"" + g.text + ")"
		p, err := vnnlib.Read(strings.NewReader(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		for range 200 {
			var x, y []int64
			var xr []*big.Rat
			var yf []float64
			for range 2 {
				x, y = append(x, int64(r.IntN(9)-4)), append(y, int64(r.IntN(9)-4))
				xr, yf = append(xr, big.NewRat(x[len(x)-1], 1)), append(yf, float64(y[len(y)-1]))
			}
			want := f.at(x, y) && g.at(x, y) && max(x[0], x[1], -x[0], -x[1]) <= 3
			got := false
			for _, c := range p.Cases {
				got = got || c.Contains(xr) && c.IsUnsafe(yf)
			}
			if got != want {
				t.Fatalf("x %v, y %v: unsafe %v, want %v\n%s\n%s", x, y, got, want, text, written(p))
			}
			if want {
				unsafe++
			} else {
				safe++
			}
		}
	}
	if unsafe < 1000 || safe < 1000 {
		t.Errorf("%d unsafe and %d safe points compare nothing", unsafe, safe)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(declarations + "(assert (and (<= X_0 1) (>= X_0 -1) (= X_1 0.5)))(assert (or (<= Y_0 1e-3) (and (> (* 2 Y_1) (- Y_0)) (< 1 2))))")
	f.Add("; nothing\n(declare-fun X_0 () Real)(declare-const Y_0 Real)(assert (<= (/ X_0 3) +.5))(assert (>= X_0 (- 1)))(check-sat)")
	f.Add("(assert (or (and")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := vnnlib.Read(strings.NewReader(text))
		if (p == nil) == (err == nil) {
			t.Fatalf("%v, %v", p, err)
		}
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of several lines: %v", err)
			}
			return
		}
		for _, c := range p.Cases {
			if len(c.Lower) != p.Inputs || len(c.Upper) != p.Inputs || len(c.Unsafe) == 0 {
				t.Fatalf("%d inputs: %d, %d bounds, %d alternatives", p.Inputs, len(c.Lower), len(c.Upper), len(c.Unsafe))
			}
			for i := range c.Lower {
				if c.Lower[i].Cmp(c.Upper[i]) > 0 {
					t.Errorf("X_%d is between %v and %v", i, c.Lower[i], c.Upper[i])
				}
			}
			for _, conjunction := range c.Unsafe {
				for _, condition := range conjunction {
					if len(condition.Row) != p.Outputs {
						t.Fatalf("%d outputs, a row of %d", p.Outputs, len(condition.Row))
					}
				}
			}
		}
	})
}

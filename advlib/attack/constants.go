package attack

import (
	"math"

	"advlab/advlib/attack/craft"
)

// constants searches, for each row by itself, for the smallest constant c with which an attack succeeds: by tenfold
// steps until one has, then by bisection (the authors' code of Carlini & Wagner 2017, arXiv:1608.04644).
type constants struct{ c, lower, upper []float64 }

func newConstants(rows int, first float64) *constants {
	s := &constants{c: make([]float64, rows), lower: make([]float64, rows), upper: make([]float64, rows)}
	for i := range rows {
		s.c[i], s.upper[i] = first, cwUpper
	}
	return s
}

// next takes which rows have succeeded with c, and sets the next one.
func (s *constants) next(hit []bool) {
	for i := range s.c {
		if hit[i] {
			s.upper[i] = math.Min(s.upper[i], s.c[i])
		} else {
			s.lower[i] = math.Max(s.lower[i], s.c[i])
		}
		if s.upper[i] < cwUpper/10 {
			s.c[i] = (s.lower[i] + s.upper[i]) / 2
		} else if !hit[i] {
			s.c[i] = math.Min(10*s.c[i], cwUpper)
		}
	}
}

// repeat sets c to the smallest that has succeeded.
func (s *constants) repeat() { copy(s.c, s.upper) }

// succeeded tells which constants have: those whose search was adversarial in the last tenth of its steps. Age is how
// many steps before its end each search was adversarial the last time. An example close to its boundary is adversarial
// in passing with any constant; the papers ask for the smallest one whose solution is.
func succeeded(age []float32, steps int) []bool {
	hit := make([]bool, len(age))
	for i, v := range age {
		hit[i] = v < float32(max(1, steps/10))
	}
	return hit
}

// refuseConstants refuses a search whose first constant is above its last.
func refuseConstants(d *craft.Description, first, last float64) {
	d.Refuse(first > last, "InitialConst = %g is above LargestConst = %g: no c would be tried", first, last)
}

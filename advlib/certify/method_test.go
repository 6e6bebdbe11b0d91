package certify

import (
	"math"
	"testing"

	"advlab/advlib"
)

// Boxes and radii are rounded outward, to float32 numbers.
func TestOutward(t *testing.T) {
	r := Regions{
		Lower: [][]float64{{0.1, -0.1, 0.5, 0, 1e-300, -1e-300}}, Upper: [][]float64{{0.1, -0.1, 0.5, 0, 1e-300, -1e-300}},
		Norm: advlib.L2, Centre: [][]float64{{0.1, -0.1, 0.5, 0, 0, 0}}, Radius: []float64{0.1},
	}
	s := r.outward()
	for j, v := range r.Lower[0] {
		l, u := s.Lower[0][j], s.Upper[0][j]
		if float64(float32(l)) != l || float64(float32(u)) != u || l > v || u < v {
			t.Errorf("%g is rounded to [%g, %g]", v, l, u)
		}
		if exact := float64(float32(v)) == v; exact && (l != v || u != v) {
			t.Errorf("%g is a float32, and rounded to [%g, %g]", v, l, u)
		} else if !exact && math.Nextafter32(float32(l), 2) != float32(u) {
			t.Errorf("%g is rounded to [%g, %g], which are not neighbours", v, l, u)
		}
	}
	if ε := s.Radius[0]; ε <= 0.1 || ε > 0.1*(1+0x1p-22) {
		t.Errorf("the radius 0.1 is rounded to %g", ε)
	}
	if ε := (Regions{Norm: advlib.L1, Lower: r.Lower, Upper: r.Upper, Radius: []float64{0}}).outward().Radius[0]; ε != 0 {
		t.Errorf("the radius 0 is rounded to %g", ε)
	}
}

// The estimate of memory cuts batches of examples and of rows.
func TestBatches(t *testing.T) {
	defer LimitMemory(1 << 20)()
	for _, test := range []struct{ numbers, examples, batch, rows, rowBatch int }{
		{1, 1, 8, 1, 128},
		{1, 9, 32, 129, 1024},
		{1, 1000, 512, 100000, 1 << 13},
		{1000, 1000, 8, 1000, 16},
		{1 << 20, 1000, 1, 1000, 1},
	} {
		n := &Network{numbers: test.numbers}
		if b, r := n.batch(test.examples, IBP), n.rowBatch(test.rows, nil); b != test.batch || r != test.rowBatch {
			t.Errorf("%d numbers for an example: %d examples in batches of %d, want %d; %d rows of %d, want %d", test.numbers, test.examples, b, test.batch, test.rows, r, test.rowBatch)
		}
	}
}

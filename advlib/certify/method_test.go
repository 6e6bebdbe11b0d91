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

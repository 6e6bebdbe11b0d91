package certify

import (
	"fmt"
	"math"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Regions are where the inputs of n examples may lie: a box each, or the intersection of a box with a ball.
type Regions struct {
	// Lower and Upper are the boxes: n rows of as many numbers as an input has, in float64.
	Lower, Upper [][]float64
	// Norm is L1 or L2 if the region is what such a ball around Centre, of the given radius, has in common with the box;
	// nil for boxes.
	Norm   advlib.ConvexNorm
	Centre [][]float64
	Radius []float64
}

// Boxes returns boxes with the given ends.
func Boxes(lower, upper [][]float64) Regions { return Regions{Lower: lower, Upper: upper} }

// Around returns the balls of one radius around a classifier's examples, cut by its box and what its domain lets single
// coordinates do. With withoutBox, L1 and L2 balls are not cut.
//
// In a domain, whose scales measure a perturbation, no coordinate goes farther in any norm than its own reach times the
// radius. Steps and categories are not looked at: what is proven for all values between holds for those that are
// admissible. A domain with derived features is refused.
func Around(c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball, withoutBox bool) (Regions, error) {
	if err := ball.Check(); err != nil {
		return Regions{}, err
	}
	norm, ok := ball.Norm.(advlib.ConvexNorm)
	if !ok {
		return Regions{}, errNoBounds(ball)
	}
	for i, f := range c.Domain() {
		if f.Formula != "" {
			return Regions{}, fmt.Errorf("feature %d, %q, of the domain of %s is derived, as its formula %q says, and bounds take coordinates "+
				"to be free of each other: leave it out of the model's inputs, and let the model compute it", i, f.Name, c.Name(), f.Formula)
		}
	}
	var r Regions
	if norm != advlib.Linf {
		r.Norm = norm
	} else {
		withoutBox = false
	}
	flat := tensors.MustCopyFlatData[float32](e.X)
	size := len(flat) / e.Len()
	reach, radius := c.Reach(norm), c.Enclosing(ball).Radius
	for i := range e.Len() {
		row := flat[i*size : (i+1)*size]
		centre, lower, upper := make([]float64, size), make([]float64, size), make([]float64, size)
		lo, hi := c.Limits().EndsOf(row)
		for j, v := range row {
			x, far := float64(v), radius
			if reach != nil && !withoutBox {
				far = reach[j] * ball.Radius * (1 + 1e-12)
			}
			centre[j], lower[j], upper[j] = x, x-far, x+far
			if !withoutBox {
				lower[j], upper[j] = max(lower[j], lo[j]), min(upper[j], hi[j])
			}
		}
		r.Lower, r.Upper = append(r.Lower, lower), append(r.Upper, upper)
		if r.Norm != nil {
			r.Centre, r.Radius = append(r.Centre, centre), append(r.Radius, radius)
		}
	}
	return r, nil
}

func errNoBounds(ball advlib.Ball) error {
	return fmt.Errorf("there are no bounds over %v balls: use L1, L2 or Linf", ball.Norm)
}

// Len returns n.
func (r Regions) Len() int { return len(r.Lower) }

// Select returns the given regions, in that order.
func (r Regions) Select(which []int) Regions {
	s := Regions{Norm: r.Norm}
	for _, i := range which {
		s.Lower, s.Upper = append(s.Lower, r.Lower[i]), append(s.Upper, r.Upper[i])
		if r.Norm != nil {
			s.Centre, s.Radius = append(s.Centre, r.Centre[i]), append(s.Radius, r.Radius[i])
		}
	}
	return s
}

// check refuses what is not a region of inputs with the given number of coordinates.
func (r Regions) check(size int) error {
	if len(r.Lower) == 0 || len(r.Lower) != len(r.Upper) {
		return fmt.Errorf("there are %d lower and %d upper ends of boxes: give as many of both, at least one", len(r.Lower), len(r.Upper))
	}
	if r.Norm != nil && (len(r.Centre) != len(r.Lower) || len(r.Radius) != len(r.Lower)) {
		return fmt.Errorf("there are %d boxes, %d centres and %d radii: give as many of each", len(r.Lower), len(r.Centre), len(r.Radius))
	}
	if r.Norm == advlib.Linf {
		return fmt.Errorf("an Linf ball is a box: leave Norm nil")
	}
	for i := range r.Lower {
		rows := map[string][]float64{"Lower": r.Lower[i], "Upper": r.Upper[i]}
		if r.Norm != nil {
			rows["Centre"] = r.Centre[i]
			if ε := r.Radius[i]; !(ε >= 0) || math.IsInf(ε, 1) {
				return fmt.Errorf("the radius of region %d is %g: it must be a finite number ≥ 0", i, ε)
			}
		}
		for name, row := range rows {
			if len(row) != size {
				return fmt.Errorf("%s[%d] has %d numbers, an input has %d", name, i, len(row), size)
			}
			for j, v := range row {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					return fmt.Errorf("%s[%d] is %g at position %d: it must be finite", name, i, v, j)
				}
			}
		}
		for j, l := range r.Lower[i] {
			if h := r.Upper[i][j]; l > h {
				return fmt.Errorf("region %d is empty: at position %d it is [%g, %g]", i, j, l, h)
			}
		}
	}
	return nil
}

// outward rounds the ends of boxes to float32, away from each other, so that every input that a float32 model may be
// given for a point of the region, rounded to the nearest, lies inside; and radii up.
func (r Regions) outward() Regions {
	s := Regions{Norm: r.Norm, Centre: r.Centre}
	for i := range r.Lower {
		lower, upper := make([]float64, len(r.Lower[i])), make([]float64, len(r.Lower[i]))
		for j, v := range r.Lower[i] {
			lower[j], upper[j] = endDown(v), -endDown(-r.Upper[i][j])
		}
		s.Lower, s.Upper = append(s.Lower, lower), append(s.Upper, upper)
		if r.Norm != nil {
			// A distance of exactly the radius, computed in float64, may be larger by its rounding.
			ε := -roundDown(-r.Radius[i] * (1 + 0x1p-40))
			s.Radius = append(s.Radius, ε)
		}
	}
	return s
}

// endDown rounds the ends of boxes. Tests of the tests plant mistakes with it.
var endDown = roundDown

// roundDown returns the largest float32 that is not above v, which may have lost a unit in the last place of float64.
func roundDown(v float64) float64 {
	f := float32(v)
	if float64(f) > v {
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return float64(f)
}

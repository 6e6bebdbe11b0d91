package certify

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
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
// In a domain, whose scales measure a perturbation, no coordinate goes farther in any norm than its own reach times the radius. Steps and
// categories are not looked at: what is proven for all values between holds for those that are admissible.
func Around(c *advlib.Classifier, e *advlib.Examples, ball advlib.Ball, withoutBox bool) (Regions, error) {
	if err := ball.Check(); err != nil {
		return Regions{}, err
	}
	norm, ok := ball.Norm.(advlib.ConvexNorm)
	if !ok {
		return Regions{}, errNoBounds(ball)
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

// outward rounds the ends of boxes to float32, away from each other, so that every input that a float32 model may be given
// for a point of the region, rounded to the nearest, lies inside; and radii up.
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

// endDown rounds the ends of boxes, and mutateRegion, if it is not nil, changes regions. Tests of the tests plant mistakes with them.
var (
	endDown      = roundDown
	mutateRegion func(region) region
)

// roundDown returns the largest float32 that is not above v, which may have lost a unit in the last place of float64.
func roundDown(v float64) float64 {
	f := float32(v)
	if float64(f) > v {
		f = math.Nextafter32(f, float32(math.Inf(-1)))
	}
	return float64(f)
}

// region is what the attacker may choose from, in a graph. Each tensor has the shape of x.
type region struct {
	// lower and upper are the smallest box around the region.
	lower, upper *Node
	// norm is a scalar, [normCode] of the ball's norm, so that one graph serves all: around centre, with a radius for each row,
	// [n].
	norm, centre, radius *Node
}

// normCode is 0 for a box, 1 for L1 and 2 for L2.
func normCode(norm advlib.ConvexNorm) int32 {
	switch norm {
	case nil:
		return 0
	case advlib.L1:
		return 1
	case advlib.L2:
		return 2
	}
	panic(fmt.Errorf("certify: there are no bounds over %v balls", norm)) // Regions.check has refused it
}

// map_ returns the region with f applied to its tensors.
func (r region) map_(f func(v *Node) *Node) region {
	return region{lower: f(r.lower), upper: f(r.upper), centre: f(r.centre), radius: f(r.radius), norm: r.norm}
}

// row returns v [n] in the shape of x [n, d...].
func (r region) row(v *Node) *Node {
	for v.Rank() < r.lower.Rank() {
		v = InsertAxes(v, -1)
	}
	return BroadcastToDims(v, r.lower.Shape().Dimensions...)
}

// interval returns the interval of x. With ball, the region is an L1 or L2 ball in the box.
func (r region) interval(ball bool) interval {
	v := interval{lower: r.lower, upper: r.upper}
	if ball {
		square := r.row(Square(r.radius))
		fall, rise := r.room()
		v.spread = &spread{centre: r.centre, up: Where(rise, square, ZerosLike(square)), down: Where(fall, square, ZerosLike(square))}
	}
	return v
}

// room tells for each coordinate whether it can fall and rise at all.
func (r region) room() (fall, rise *Node) {
	return LessThan(r.lower, r.centre), GreaterThan(r.upper, r.centre)
}

// minimum returns for each row a lower bound of min ⟨Λ, x'⟩ over x' in the region, [n]. It is the minimum for boxes, and for
// L1 and L2 balls whose box is no constraint, or one that holds some coordinates still and leaves the others be.
//
// With box, it is known to be a box. The rounding of the bound itself is subtracted, unless in real arithmetic.
func (r region) minimum(Λ *Node, box bool, a arithmetic) *Node {
	rows := r.lower.Shape().Dimensions[0]
	sumRows := func(v *Node) *Node { return ReduceSum(Reshape(v, rows, -1), 1) }
	up, down := positive(Λ), negative(Λ)
	least := sumRows(Add(Mul(up, r.lower), Mul(down, r.upper)))
	if !box {
		least = r.minimumInBall(Λ, least)
	}
	if !a.real {
		size := float64(Λ.Shape().Size()/rows + 8)
		far := Max(Abs(r.lower), Max(Abs(r.upper), Abs(r.centre)))
		least = Sub(least, MulScalar(sumRows(Mul(Abs(Λ), far)), size*0x1p-51))
	}
	return least
}

// minimumInBall is minimum for balls, and what it is in the box for rows whose region is one.
func (r region) minimumInBall(Λ, inBox *Node) *Node {
	rows := r.lower.Shape().Dimensions[0]
	sumRows := func(v *Node) *Node { return ReduceSum(Reshape(v, rows, -1), 1) }
	up, down := positive(Λ), negative(Λ)
	// How far ⟨Λ, x'⟩ falls inside the box around a ball: a coordinate moves against the sign of Λ.
	reach := sumRows(Sub(Mul(up, Sub(r.centre, r.lower)), Mul(down, Sub(r.upper, r.centre))))
	fall, rise := r.room()
	zero := ZerosLike(Λ)
	free := Add(Where(fall, up, zero), Where(rise, down, zero))
	is := func(norm advlib.ConvexNorm) *Node {
		return BroadcastToDims(Equal(r.norm, Scalar(r.norm.Graph(), r.norm.DType(), int(normCode(norm)))), rows)
	}
	dual := Where(is(advlib.L1), advlib.L1.Dual().Of(free), advlib.L2.Dual().Of(free))
	inBall := Sub(sumRows(Mul(Λ, r.centre)), Min(reach, Mul(r.radius, dual)))
	return Where(is(nil), inBox, inBall)
}

// lowest returns where minimum finds ⟨Λ, x'⟩ least, in the shape of x.
func (r region) lowest(Λ *Node) *Node {
	rows := r.lower.Shape().Dimensions[0]
	zero := ZerosLike(Λ)
	corner := Where(LessThan(Λ, zero), r.upper, r.lower)
	fall, rise := r.room()
	free := Add(Where(fall, positive(Λ), zero), Where(rise, negative(Λ), zero))
	each := func(v *Node) *Node { return r.row(ReduceSum(Reshape(v, rows, -1), 1)) }
	is := func(norm advlib.ConvexNorm) *Node {
		return BroadcastToDims(Equal(r.norm, Scalar(r.norm.Graph(), r.norm.DType(), int(normCode(norm)))), Λ.Shape().Dimensions...)
	}
	over := func(v *Node) *Node { // the direction of v, 0 for 0
		return Where(GreaterThan(v, zero), Inverse(Where(GreaterThan(v, zero), v, OnesLike(v))), zero)
	}
	// The steps δ with ‖δ‖ ≤ 1 along which ⟨free, δ⟩ is the dual norm: free/‖free‖₂, and for L1 the largest coordinate alone.
	l2 := Mul(free, over(Sqrt(each(Square(free)))))
	largest := Where(Equal(Abs(free), r.row(ReduceMax(Reshape(Abs(free), rows, -1), 1))), Sign(free), zero)
	l1 := Mul(largest, over(each(Abs(largest))))
	radius := r.row(r.radius)
	inBall := Sub(r.centre, Mul(radius, Where(is(advlib.L1), l1, l2)))
	cut := GreaterThan(each(Mul(Λ, corner)), each(Mul(Λ, inBall)))
	return Where(LogicalOr(is(nil), cut), corner, inBall)
}

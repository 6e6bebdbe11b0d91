package propagate

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"advlab/advlib"
)

// Region is what the attacker may choose from, in a graph. Each tensor has the shape of x.
type Region struct {
	// Lower and upper are the smallest box around the region.
	Lower, Upper *Node
	// Norm is a scalar, [NormCode] of the ball's norm, so that one graph serves all: around centre, with a radius for each
	// row, [n].
	Norm, Centre, Radius *Node
}

// NormCode is 0 for a box, 1 for L1 and 2 for L2.
func NormCode(norm advlib.ConvexNorm) int32 {
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

// Map returns the region with f applied to its tensors.
func (r Region) Map(f func(v *Node) *Node) Region {
	return Region{Lower: f(r.Lower), Upper: f(r.Upper), Centre: f(r.Centre), Radius: f(r.Radius), Norm: r.Norm}
}

// row returns v [n] in the shape of x [n, d...].
func (r Region) row(v *Node) *Node {
	for v.Rank() < r.Lower.Rank() {
		v = InsertAxes(v, -1)
	}
	return BroadcastToDims(v, r.Lower.Shape().Dimensions...)
}

// interval returns the interval of x. With ball, the region is an L1 or L2 ball in the box.
func (r Region) interval(ball bool) Interval {
	v := Interval{Lower: r.Lower, Upper: r.Upper}
	if ball {
		square := r.row(Square(r.Radius))
		fall, rise := r.room()
		v.Spread = &spread{Centre: r.Centre, Up: Where(rise, square, ZerosLike(square)), down: Where(fall, square, ZerosLike(square))}
	}
	return v
}

// room tells for each coordinate whether it can fall and rise at all.
func (r Region) room() (fall, rise *Node) {
	return LessThan(r.Lower, r.Centre), GreaterThan(r.Upper, r.Centre)
}

// minimum returns for each row a lower bound of min ⟨Λ, x'⟩ over x' in the region, [n]. It is the minimum for boxes,
// and for L1 and L2 balls whose box is no constraint, or one that holds some coordinates still and leaves the others
// be.
//
// With box, it is known to be a box. The rounding of the bound itself is subtracted, unless in real arithmetic.
func (r Region) minimum(Λ *Node, box bool, a Arithmetic) *Node {
	rows := r.Lower.Shape().Dimensions[0]
	sumRows := func(v *Node) *Node { return ReduceSum(Reshape(v, rows, -1), 1) }
	up, down := Positive(Λ), negative(Λ)
	least := sumRows(Add(Mul(up, r.Lower), Mul(down, r.Upper)))
	if !box {
		least = r.minimumInBall(Λ, least)
	}
	if !a.Real {
		size := float64(Λ.Shape().Size()/rows + 8)
		far := Max(Abs(r.Lower), Max(Abs(r.Upper), Abs(r.Centre)))
		least = Sub(least, MulScalar(sumRows(Mul(Abs(Λ), far)), size*0x1p-51))
	}
	return least
}

// minimumInBall is minimum for balls, and what it is in the box for rows whose region is one.
func (r Region) minimumInBall(Λ, inBox *Node) *Node {
	rows := r.Lower.Shape().Dimensions[0]
	sumRows := func(v *Node) *Node { return ReduceSum(Reshape(v, rows, -1), 1) }
	up, down := Positive(Λ), negative(Λ)
	// How far ⟨Λ, x'⟩ falls inside the box around a ball: a coordinate moves against the sign of Λ.
	reach := sumRows(Sub(Mul(up, Sub(r.Centre, r.Lower)), Mul(down, Sub(r.Upper, r.Centre))))
	fall, rise := r.room()
	zero := ZerosLike(Λ)
	free := Add(Where(fall, up, zero), Where(rise, down, zero))
	is := func(norm advlib.ConvexNorm) *Node {
		return BroadcastToDims(Equal(r.Norm, Scalar(r.Norm.Graph(), r.Norm.DType(), int(NormCode(norm)))), rows)
	}
	dual := Where(is(advlib.L1), advlib.L1.Dual().Of(free), advlib.L2.Dual().Of(free))
	inBall := Sub(sumRows(Mul(Λ, r.Centre)), Min(reach, Mul(r.Radius, dual)))
	return Where(is(nil), inBox, inBall)
}

// Lowest returns where minimum finds ⟨Λ, x'⟩ least, in the shape of x.
func (r Region) Lowest(Λ *Node) *Node {
	rows := r.Lower.Shape().Dimensions[0]
	zero := ZerosLike(Λ)
	corner := Where(LessThan(Λ, zero), r.Upper, r.Lower)
	fall, rise := r.room()
	free := Add(Where(fall, Positive(Λ), zero), Where(rise, negative(Λ), zero))
	each := func(v *Node) *Node { return r.row(ReduceSum(Reshape(v, rows, -1), 1)) }
	is := func(norm advlib.ConvexNorm) *Node {
		return BroadcastToDims(Equal(r.Norm, Scalar(r.Norm.Graph(), r.Norm.DType(), int(NormCode(norm)))), Λ.Shape().Dimensions...)
	}
	over := func(v *Node) *Node { // the direction of v, 0 for 0
		return Where(GreaterThan(v, zero), Inverse(Where(GreaterThan(v, zero), v, OnesLike(v))), zero)
	}
	// The steps δ with ‖δ‖ ≤ 1 along which ⟨free, δ⟩ is the dual norm: free/‖free‖₂, and for L1 the largest coordinate
	// alone.
	l2 := Mul(free, over(Sqrt(each(Square(free)))))
	largest := Where(Equal(Abs(free), r.row(ReduceMax(Reshape(Abs(free), rows, -1), 1))), Sign(free), zero)
	l1 := Mul(largest, over(each(Abs(largest))))
	radius := r.row(r.Radius)
	inBall := Sub(r.Centre, Mul(radius, Where(is(advlib.L1), l1, l2)))
	cut := GreaterThan(each(Mul(Λ, corner)), each(Mul(Λ, inBall)))
	return Where(LogicalOr(is(nil), cut), corner, inBall)
}

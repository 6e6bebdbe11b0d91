package certify

import (
	. "github.com/gomlx/gomlx/core/graph"

	"advlab/advlib"
)

// region is what the attacker may choose from: a ball around each row of x, inside a box.
type region struct {
	norm advlib.Norm
	// x are the centres [n, d...], radius is a scalar.
	x, radius *Node
	// lower and upper are the smallest box around the region, in the shape of x.
	lower, upper *Node
}

// newRegion returns the ball of the given norm around x, cut by the box unless withoutBox.
func newRegion(norm advlib.Norm, x, radius *Node, box advlib.Box, withoutBox bool) region {
	r := region{norm: norm, x: x, radius: radius, lower: Sub(x, radius), upper: Add(x, radius)}
	if !withoutBox {
		r.lower, r.upper = MaxScalar(r.lower, box.Lo), MinScalar(r.upper, box.Hi)
	}
	return r
}

// repeat returns the region around each row of x repeated times, as [repeat] does.
func (r region) repeat(times int) region {
	r.x, r.lower, r.upper = repeat(r.x, times), repeat(r.lower, times), repeat(r.upper, times)
	return r
}

// interval returns the interval of x.
func (r region) interval() interval {
	v := interval{lower: r.lower, upper: r.upper}
	if r.norm != advlib.Norm(advlib.Linf) {
		square := BroadcastToDims(Square(r.radius), r.x.Shape().Dimensions...)
		fall, rise := r.room()
		v.spread = &spread{centre: r.x, up: Where(rise, square, ZerosLike(square)), down: Where(fall, square, ZerosLike(square))}
	}
	return v
}

// room tells for each coordinate whether it can fall and rise at all.
func (r region) room() (fall, rise *Node) { return LessThan(r.lower, r.x), GreaterThan(r.upper, r.x) }

// minimum returns for each row a lower bound of min ⟨Λ, x'⟩ over x' in the region, [n]. It is the minimum for Linf balls,
// and for L1 and L2 balls whose box is no constraint, or one that holds some coordinates still and leaves the others be.
func (r region) minimum(Λ *Node) *Node {
	rows := r.x.Shape().Dimensions[0]
	sumRows := func(v *Node) *Node { return ReduceSum(Reshape(v, rows, -1), 1) }
	// How far ⟨Λ, x'⟩ falls inside the box around the region: a coordinate moves against the sign of Λ.
	reach := sumRows(Sub(Mul(positive(Λ), Sub(r.x, r.lower)), Mul(negative(Λ), Sub(r.upper, r.x))))
	if dual := dualNorm(r.norm); dual != nil {
		fall, rise := r.room()
		zero := ZerosLike(Λ)
		free := Add(Where(fall, positive(Λ), zero), Where(rise, negative(Λ), zero))
		reach = Min(reach, Mul(r.radius, dual.Of(free)))
	}
	return Sub(sumRows(Mul(Λ, r.x)), reach)
}

// dualNorm returns the dual of L1 and L2, and nil for Linf, whose ball is a box.
func dualNorm(norm advlib.Norm) advlib.Norm {
	if convex, ok := norm.(advlib.ConvexNorm); ok && norm != advlib.Norm(advlib.Linf) {
		return convex.Dual()
	}
	return nil
}

package propagate

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
)

// bilinear is Mul and DotGeneral of two tensors that both depend on x, as in attention.
type bilinear struct{ product }

func (bilinear) Affine() bool { return false }

func (bilinear) Check(_ *Walk, u *Unit) error {
	if u.Node.Type() != NodeTypeDotGeneral {
		return nil
	}
	for _, side := range []string{"lhsBatchAxes", "rhsBatchAxes"} {
		if axes := Integers(u.Node, side); len(axes) == 0 || axes[0] != 0 {
			return fmt.Errorf("it multiplies examples with each other: the batch must be the first batch axis of both operands")
		}
	}
	return nil
}

// Forward is c₁c₂ ± (|c₁|r₂ + r₁|c₂| + r₁r₂) with centres c and radii r (Rump 1999, Fast and parallel interval
// arithmetic).
func (bilinear) Forward(_ *Pass, u *Unit, in []Interval) Interval {
	apply := func(a, b *Node) *Node { return With(u.Node, map[int]*Node{0: a, 1: b}) }
	if u.Node.Type() == NodeTypeMul {
		ll, lu, ul, uu := apply(in[0].Lower, in[1].Lower), apply(in[0].Lower, in[1].Upper), apply(in[0].Upper, in[1].Lower), apply(in[0].Upper,
			in[1].Upper)
		return Interval{Lower: Min(Min(ll, lu), Min(ul, uu)), Upper: Max(Max(ll, lu), Max(ul, uu))}
	}
	c1, r1 := in[0].Centred()
	c2, r2 := in[1].Centred()
	μ := apply(c1, c2)
	radius := Add(apply(Abs(c1), r2), apply(r1, Add(Abs(c2), r2)))
	return Interval{Lower: Sub(μ, radius), Upper: Add(μ, radius)}
}

// Relax returns the intervals themselves.
func (bilinear) Relax(_ *Pass, _ *Unit, in []Interval) (lines []*Node, open *Node) {
	return []*Node{in[0].Lower, in[1].Lower, in[1].Upper}, nil
}

// Backward uses two of McCormick's four planes (McCormick 1976): for a ≥ a_L and b_L ≤ b ≤ b_U
//
//	b_L·a + a_L·b − a_L·b_L ≤ a·b ≤ b_U·a + a_L·b − a_L·b_U
func (bilinear) Backward(_ *Walk, u *Unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	aL, bL, bU := lines[0], lines[1], lines[2]
	up, down := Positive(Λ), negative(Λ)
	below, above := With(u.Node, map[int]*Node{0: aL, 1: bL}), With(u.Node, map[int]*Node{0: aL, 1: bU})
	first, second := transpose(below, up), transpose(above, down)
	return map[int]*Node{0: Add(first[0], second[0]), 1: Add(first[1], second[1])}, Neg(Add(Mul(up, below), Mul(down, above)))
}

func (bilinear) Follow(u *Unit, Λ *Node, h, lines []*Node) *Node {
	apply := func(a, b *Node) *Node { return With(u.Node, map[int]*Node{0: a, 1: b}) }
	aL := lines[0]
	plane := func(b *Node) *Node { return Add(apply(Sub(h[0], aL), b), apply(aL, h[1])) }
	return above0(Λ, plane(lines[1]), plane(lines[2]))
}

package certify

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
)

// bilinear is Mul and DotGeneral of two tensors that both depend on x, as in attention.
type bilinear struct{ product }

func (bilinear) affine() bool { return false }

func (bilinear) check(_ *walk, u *unit) error {
	if u.n.Type() != NodeTypeDotGeneral {
		return nil
	}
	for _, side := range []string{"lhsBatchAxes", "rhsBatchAxes"} {
		if axes := integers(u.n, side); len(axes) == 0 || axes[0] != 0 {
			return fmt.Errorf("it multiplies examples with each other: the batch must be the first batch axis of both operands")
		}
	}
	return nil
}

// forward is c₁c₂ ± (|c₁|r₂ + r₁|c₂| + r₁r₂) with centres c and radii r (Rump 1999, Fast and parallel interval arithmetic).
func (bilinear) forward(_ *pass, u *unit, in []interval) interval {
	apply := func(a, b *Node) *Node { return with(u.n, map[int]*Node{0: a, 1: b}) }
	if u.n.Type() == NodeTypeMul {
		ll, lu, ul, uu := apply(in[0].lower, in[1].lower), apply(in[0].lower, in[1].upper), apply(in[0].upper, in[1].lower), apply(in[0].upper, in[1].upper)
		return interval{lower: Min(Min(ll, lu), Min(ul, uu)), upper: Max(Max(ll, lu), Max(ul, uu))}
	}
	c1, r1 := in[0].centred()
	c2, r2 := in[1].centred()
	μ := apply(c1, c2)
	radius := Add(apply(Abs(c1), r2), apply(r1, Add(Abs(c2), r2)))
	return interval{lower: Sub(μ, radius), upper: Add(μ, radius)}
}

// relax returns the intervals themselves.
func (bilinear) relax(_ *pass, _ *unit, in []interval) (lines []*Node, open *Node) {
	return []*Node{in[0].lower, in[1].lower, in[1].upper}, nil
}

// backward uses two of McCormick's four planes (McCormick 1976): for a ≥ a_L and b_L ≤ b ≤ b_U
//
//	b_L·a + a_L·b − a_L·b_L ≤ a·b ≤ b_U·a + a_L·b − a_L·b_U
func (bilinear) backward(_ *walk, u *unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	aL, bL, bU := lines[0], lines[1], lines[2]
	up, down := positive(Λ), negative(Λ)
	below, above := with(u.n, map[int]*Node{0: aL, 1: bL}), with(u.n, map[int]*Node{0: aL, 1: bU})
	first, second := transpose(below, up), transpose(above, down)
	return map[int]*Node{0: Add(first[0], second[0]), 1: Add(first[1], second[1])}, Neg(Add(Mul(up, below), Mul(down, above)))
}

func (bilinear) follow(u *unit, Λ *Node, h, lines []*Node) *Node {
	apply := func(a, b *Node) *Node { return with(u.n, map[int]*Node{0: a, 1: b}) }
	aL := lines[0]
	plane := func(b *Node) *Node { return Add(apply(Sub(h[0], aL), b), apply(aL, h[1])) }
	return above0(Λ, plane(lines[1]), plane(lines[2]))
}

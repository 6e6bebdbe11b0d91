package certify

import (
	"fmt"
	"slices"

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

// quotient is Div of a tensor by another that depends on x too, and has one sign: a·(1/b) with McCormick's planes for the
// product and lines for 1/b.
type quotient struct{}

func (quotient) affine() bool { return false }

func (quotient) check(_ *walk, u *unit) error { return nil }

func (quotient) forward(_ *pass, _ *unit, in []interval) interval {
	r := inverse(in[1])
	least, most := times(in[0].lower, in[0].upper, r.lower, r.upper)
	return interval{lower: least, upper: most}
}

// inverse is the interval of 1/b, infinite where b may be 0.
func inverse(b interval) interval {
	zero := ZerosLike(b.lower)
	signed := LogicalOr(GreaterThan(b.lower, zero), LessThan(b.upper, zero))
	inf := func(sign int) *Node {
		return BroadcastToDims(Infinity(zero.Graph(), zero.DType(), sign), zero.Shape().Dimensions...)
	}
	safe := func(v *Node) *Node { return Where(signed, v, OnesLike(v)) }
	return interval{lower: Where(signed, Inverse(safe(b.upper)), inf(-1)), upper: Where(signed, Inverse(safe(b.lower)), inf(1))}
}

func (quotient) rounding(p *pass, u *unit, in []interval, out interval) *Node {
	return Add(product{}.rounding(p, u, in, out), MulScalar(out.magnitude(), ownUnit))
}

func (quotient) relax(_ *pass, _ *unit, in []interval) (lines []*Node, open *Node) {
	r := inverse(in[1])
	aL := in[0].lower
	return append([]*Node{aL, r.lower, r.upper}, inverseLines(in[1])...), nil
}

// inverseLines returns a_L, c_L, a_U, c_U with a_L·b + c_L ≤ 1/b ≤ a_U·b + c_U: for b > 0 the tangent at √(lu) below and
// the chord above, for b < 0 the other way around.
func inverseLines(b interval) []*Node {
	zero := ZerosLike(b.lower)
	pos := GreaterThan(b.lower, zero)
	l, u := Where(pos, b.lower, Neg(b.upper)), Where(pos, b.upper, Neg(b.lower))
	// Nothing is known where l ≤ 0: the square root makes it NaN.
	d := Sqrt(Mul(l, u))
	tangent, at := Neg(Inverse(Square(d))), MulScalar(Inverse(d), 2)
	chord, over := Neg(Inverse(Mul(l, u))), Add(Inverse(l), Inverse(u))
	nan := func(v *Node) *Node { return Where(GreaterThan(l, zero), v, Sqrt(Neg(OnesLike(v)))) }
	return []*Node{
		nan(Where(pos, tangent, chord)), nan(Where(pos, at, Neg(over))),
		nan(Where(pos, chord, tangent)), nan(Where(pos, over, Neg(at))),
	}
}

func (quotient) backward(_ *walk, u *unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	aL, rL, rU, inv := lines[0], lines[1], lines[2], lines[3:]
	up, down := positive(Λ), negative(Λ)
	Λa := Add(Mul(up, rL), Mul(down, rU))
	Λr := Mul(Λ, aL)
	b := Neg(Mul(aL, Λa))
	parts, constant := linesBackward(1, Λr, inv)
	return map[int]*Node{0: sumTo(Λa, u.inputs[0]), 1: sumTo(parts[1], u.inputs[1])}, Add(b, constant)
}

func (quotient) follow(_ *unit, Λ *Node, h, lines []*Node) *Node {
	aL, r := lines[0], above0(Λ, lines[1], lines[2])
	inverse := linesFollow(Mul(Λ, aL), h[1], lines[3:])
	return Add(Mul(Sub(h[0], aL), r), Mul(aL, inverse))
}

// sumTo adds up the axes along which a tensor of the shape of like was broadcast to that of v.
func sumTo(v, like *Node) *Node {
	var axes []int
	for axis, d := range like.Shape().Dimensions {
		if d == 1 && v.Shape().Dimensions[axis] > 1 {
			axes = append(axes, axis)
		}
	}
	if len(axes) > 0 {
		v = ReduceAndKeep(v, ReduceSum, axes...)
	}
	return v
}

// larger2 is Max and Min of two tensors that both depend on x: max(a, b) = b + σ(a − b) and min(a, b) = a − σ(a − b).
type larger2 struct{ pointwise }

func (larger2) affine() bool { return false }

func (larger2) check(_ *walk, u *unit) error {
	for _, in := range u.inputs {
		if !in.Shape().Equal(u.n.Shape()) {
			return fmt.Errorf("it broadcasts what depends on x from %v to %v: broadcast it before", in.Shape().Dimensions, u.n.Shape().Dimensions)
		}
	}
	return nil
}

func (larger2) forward(_ *pass, u *unit, in []interval) interval { return ends(u, in) }

func (larger2) rounding(_ *pass, _ *unit, in []interval, _ interval) *Node {
	return AddScalar(MulScalar(Add(in[0].magnitude(), in[1].magnitude()), ownUnit), 2*tiny)
}

func (larger2) relax(p *pass, _ *unit, in []interval) (lines []*Node, open *Node) {
	return reluLines(Sub(in[0].lower, in[1].upper), Sub(in[0].upper, in[1].lower), p.line)[:3], nil
}

func (larger2) backward(_ *walk, u *unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	if u.n.Type() == NodeTypeMin {
		s, b := reluBackward(Neg(Λ), lines)
		return map[int]*Node{0: Add(Λ, s), 1: Neg(s)}, b
	}
	s, b := reluBackward(Λ, lines)
	return map[int]*Node{0: s, 1: Sub(Λ, s)}, b
}

func (r larger2) follow(u *unit, Λ *Node, h, lines []*Node) *Node {
	Λσ, t := r.bend(u, Λ, h)
	if u.n.Type() == NodeTypeMin {
		return Sub(h[0], reluFollow(Λσ, t, lines))
	}
	return Add(h[1], reluFollow(Λσ, t, lines))
}

func (larger2) bend(u *unit, Λ *Node, h []*Node) (Λσ, t *Node) {
	if u.n.Type() == NodeTypeMin {
		Λ = Neg(Λ)
	}
	return Λ, Sub(h[0], h[1])
}

// ruleOf returns the rule for a node by itself, and the inputs that matter to it.
func (w *walk) ruleOf(n *Node) (rule, []*Node) {
	in := n.Inputs()
	perturbed := w.perturbedInputs(n)
	switch n.Type() {
	case NodeTypeMul, NodeTypeDotGeneral:
		if len(perturbed) == 2 {
			return bilinear{}, in
		}
	case NodeTypeDiv:
		if slices.Contains(perturbed, 1) {
			return quotient{}, in
		}
	case NodeTypeMax, NodeTypeMin:
		if len(perturbed) == 2 {
			return larger2{}, in
		}
	case NodeTypeReduceWindow:
		if windowKind(n) != sumWindow {
			return maxPool{}, in
		}
	case NodeTypeWhere:
		switch sameRank := in[0].Rank() == n.Rank() && in[1].Rank() == n.Rank() && in[2].Rank() == n.Rank(); {
		case !w.perturbed(in[0]):
		case sameRank && w.decidable(in[0]):
			return choice{}, in
		default:
			return hull{}, in[1:]
		}
	}
	return rules[n.Type()], in
}

package propagate

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// quotient is Div of a tensor by another that depends on x too, and has one sign: a·(1/b) with McCormick's planes for
// the product and lines for 1/b.
type quotient struct{}

func (quotient) Affine() bool { return false }

func (quotient) Check(_ *Walk, u *Unit) error { return nil }

func (quotient) Forward(_ *Pass, _ *Unit, in []Interval) Interval {
	r := inverse(in[1])
	least, most := times(in[0].Lower, in[0].Upper, r.Lower, r.Upper)
	return Interval{Lower: least, Upper: most}
}

// inverse is the interval of 1/b, infinite where b may be 0.
func inverse(b Interval) Interval {
	zero := ZerosLike(b.Lower)
	signed := LogicalOr(GreaterThan(b.Lower, zero), LessThan(b.Upper, zero))
	inf := func(sign int) *Node {
		return BroadcastToDims(Infinity(zero.Graph(), zero.DType(), sign), zero.Shape().Dimensions...)
	}
	safe := func(v *Node) *Node { return Where(signed, v, OnesLike(v)) }
	return Interval{Lower: Where(signed, Inverse(safe(b.Upper)), inf(-1)), Upper: Where(signed, Inverse(safe(b.Lower)), inf(1))}
}

func (quotient) Rounding(p *Pass, u *Unit, in []Interval, out Interval) *Node {
	return Add(product{}.Rounding(p, u, in, out), MulScalar(out.magnitude(), ownUnit))
}

func (quotient) Relax(_ *Pass, _ *Unit, in []Interval) (lines []*Node, open *Node) {
	r := inverse(in[1])
	aL := in[0].Lower
	return append([]*Node{aL, r.Lower, r.Upper}, inverseLines(in[1])...), nil
}

// inverseLines returns a_L, c_L, a_U, c_U with a_L·b + c_L ≤ 1/b ≤ a_U·b + c_U: for b > 0 the tangent at √(lu) below
// and the chord above, for b < 0 the other way around.
func inverseLines(b Interval) []*Node {
	zero := ZerosLike(b.Lower)
	pos := GreaterThan(b.Lower, zero)
	l, u := Where(pos, b.Lower, Neg(b.Upper)), Where(pos, b.Upper, Neg(b.Lower))
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

func (quotient) Backward(_ *Walk, u *Unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	aL, rL, rU, inv := lines[0], lines[1], lines[2], lines[3:]
	up, down := Positive(Λ), negative(Λ)
	Λa := Add(Mul(up, rL), Mul(down, rU))
	Λr := Mul(Λ, aL)
	b := Neg(Mul(aL, Λa))
	parts, constant := linesBackward(1, Λr, inv)
	return map[int]*Node{0: sumTo(Λa, u.Inputs[0]), 1: sumTo(parts[1], u.Inputs[1])}, Add(b, constant)
}

func (quotient) Follow(_ *Unit, Λ *Node, h, lines []*Node) *Node {
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

package propagate

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// selection is Where with a condition that does not depend on x: a mask.
type selection struct{ linear }

func (selection) Forward(_ *Pass, u *Unit, in []Interval) Interval { return Ends(u, in) }

func (selection) Rounding(p *Pass, u *Unit, in []Interval, _ Interval) *Node {
	p.moved(u, in, 1, 2)
	if in[1].err == nil && in[2].err == nil {
		return nil
	}
	part := func(v Interval) *Node {
		if v.err == nil {
			return ZerosLike(u.Node)
		}
		return BroadcastToDims(v.err, u.Node.Shape().Dimensions...)
	}
	return Where(BroadcastToDims(in[0].Lower, u.Node.Shape().Dimensions...), part(in[1]), part(in[2]))
}

func (selection) Backward(_ *Walk, u *Unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	return adjoint(u, Λ), offset(u, Λ)
}

// hull is Where with a condition that depends on x and cannot be decided: either value is possible.
type hull struct{}

func (hull) Affine() bool { return false }

func (hull) Check(*Walk, *Unit) error { return nil }

func (hull) Forward(_ *Pass, u *Unit, in []Interval) Interval {
	dims := u.Node.Shape().Dimensions
	wide := func(v *Node) *Node { return BroadcastToDims(v, dims...) }
	return Interval{Lower: Min(wide(in[0].Lower), wide(in[1].Lower)), Upper: Max(wide(in[0].Upper), wide(in[1].Upper))}
}

func (hull) Rounding(_ *Pass, u *Unit, in []Interval, _ Interval) *Node {
	E := Zeros(u.Node.Graph(), u.Node.Shape())
	for _, v := range in {
		if v.err != nil {
			E = Max(E, BroadcastToDims(v.err, u.Node.Shape().Dimensions...))
		}
	}
	return AddScalar(E, 2*Tiny)
}

func (r hull) Relax(p *Pass, u *Unit, in []Interval) (lines []*Node, open *Node) {
	v := r.Forward(p, u, in)
	return []*Node{v.Lower, v.Upper}, nil
}

func (hull) Backward(_ *Walk, _ *Unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	return nil, Add(Mul(Positive(Λ), lines[0]), Mul(negative(Λ), lines[1]))
}

func (hull) Follow(_ *Unit, Λ *Node, _, lines []*Node) *Node { return above0(Λ, lines[0], lines[1]) }

// chosen takes one of two where the condition is known, and what holds both elsewhere: there the function may jump, so
// that nothing is known of its slope.
func chosen(c, x, y Jet) Jet {
	inf := func(sign int) *Node {
		return BroadcastToDims(Infinity(x.mid.Graph(), x.mid.DType(), sign), x.mid.Shape().Dimensions...)
	}
	pick := func(a, b, neither *Node) *Node { return Where(c.yes, a, Where(c.no, b, neither)) }
	xl, xm := x.slope()
	yl, ym := y.slope()
	j := Jet{
		mid:   pick(x.mid, y.mid, MulScalar(Add(Min(x.lower, y.lower), Max(x.upper, y.upper)), 0.5)),
		lower: pick(x.lower, y.lower, Min(x.lower, y.lower)), upper: pick(x.upper, y.upper, Max(x.upper, y.upper)),
		least: pick(xl, yl, inf(-1)), most: pick(xm, ym, inf(1)),
	}
	if x.Err != nil || y.Err != nil {
		j.Err = largerError(x, y)
	}
	return j
}

func whereJet(s *Pieces, n *Node, in []Jet) Jet {
	c, x, y := in[0], in[1], in[2]
	j := chosen(c, x, y)
	switch {
	case s.p.Arithmetic.Real:
	case same(n, 1, 2):
		j = j.is(x)
	case c.sure:
		if x.sum != nil || y.sum != nil {
			a, b := x.summed(), y.summed()
			m := Where(c.yes, a.magnitude, b.magnitude)
			j.sum = &summed{m, max(a.roundings, b.roundings), a.counted && b.counted && a.roundings == b.roundings}
		}
		if x.size != nil || y.size != nil {
			j.size = Max(x.largest(), y.largest())
		}
		j.exponent = plus(x.exponent, y.exponent)
	}
	return j
}

// choice is Where with a condition that depends on x: where it is sure, its interval tells which value is chosen;
// elsewhere either is possible.
type choice struct{ hull }

// pick returns of two values, by the condition of u, the one that is surely chosen, and neither elsewhere.
func (choice) pick(u *Unit, in []Interval, x, y, neither *Node) *Node {
	dims := u.Node.Shape().Dimensions
	c := decided(in[0], dims)
	return Where(c.yes, BroadcastToDims(x, dims...), Where(c.no, BroadcastToDims(y, dims...), neither))
}

func (r choice) Forward(p *Pass, u *Unit, in []Interval) Interval {
	v := r.hull.Forward(p, u, in[1:])
	return Interval{Lower: r.pick(u, in, in[1].Lower, in[2].Lower, v.Lower), Upper: r.pick(u, in, in[1].Upper, in[2].Upper, v.Upper)}
}

func (r choice) Rounding(p *Pass, u *Unit, in []Interval, out Interval) *Node {
	return r.hull.Rounding(p, u, in[1:], out)
}

// Relax returns 1 where either value is surely chosen, else 0, and the constant lines of what is left.
func (r choice) Relax(p *Pass, u *Unit, in []Interval) (lines []*Node, open *Node) {
	v := r.Forward(p, u, in)
	zero := ZerosLike(v.Lower)
	one := OnesLike(zero)
	rest := func(end *Node) *Node { // a value that depends on x has no constant part
		x, y := end, end
		if u.depends(1) {
			x = zero
		}
		if u.depends(2) {
			y = zero
		}
		return r.pick(u, in, x, y, end)
	}
	return []*Node{r.pick(u, in, one, zero, zero), r.pick(u, in, zero, one, zero), rest(v.Lower), rest(v.Upper)}, nil
}

func (choice) Backward(_ *Walk, u *Unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	parts := map[int]*Node{}
	for k := 1; k <= 2; k++ {
		if u.depends(k) {
			parts[k] = sumTo(Mul(Λ, lines[k-1]), u.Inputs[k])
		}
	}
	return parts, Add(Mul(Positive(Λ), lines[2]), Mul(negative(Λ), lines[3]))
}

func (choice) Follow(u *Unit, Λ *Node, h, lines []*Node) *Node {
	v := above0(Λ, lines[2], lines[3])
	for k := 1; k <= 2; k++ {
		if u.depends(k) {
			v = Add(v, Mul(lines[k-1], h[k]))
		}
	}
	return v
}

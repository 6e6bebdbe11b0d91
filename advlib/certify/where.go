package certify

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// selection is Where with a condition that does not depend on x: a mask.
type selection struct{ linear }

func (selection) forward(_ *pass, u *unit, in []interval) interval { return ends(u, in) }

func (selection) rounding(p *pass, u *unit, in []interval, _ interval) *Node {
	p.moved(u, in, 1, 2)
	if in[1].err == nil && in[2].err == nil {
		return nil
	}
	part := func(v interval) *Node {
		if v.err == nil {
			return ZerosLike(u.n)
		}
		return BroadcastToDims(v.err, u.n.Shape().Dimensions...)
	}
	return Where(BroadcastToDims(in[0].lower, u.n.Shape().Dimensions...), part(in[1]), part(in[2]))
}

func (selection) backward(_ *walk, u *unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	return adjoint(u, Λ), offset(u, Λ)
}

// hull is Where with a condition that depends on x and cannot be decided: either value is possible.
type hull struct{}

func (hull) affine() bool { return false }

func (hull) check(*walk, *unit) error { return nil }

func (hull) forward(_ *pass, u *unit, in []interval) interval {
	dims := u.n.Shape().Dimensions
	wide := func(v *Node) *Node { return BroadcastToDims(v, dims...) }
	return interval{lower: Min(wide(in[0].lower), wide(in[1].lower)), upper: Max(wide(in[0].upper), wide(in[1].upper))}
}

func (hull) rounding(_ *pass, u *unit, in []interval, _ interval) *Node {
	E := Zeros(u.n.Graph(), u.n.Shape())
	for _, v := range in {
		if v.err != nil {
			E = Max(E, BroadcastToDims(v.err, u.n.Shape().Dimensions...))
		}
	}
	return AddScalar(E, 2*tiny)
}

func (r hull) relax(p *pass, u *unit, in []interval) (lines []*Node, open *Node) {
	v := r.forward(p, u, in)
	return []*Node{v.lower, v.upper}, nil
}

func (hull) backward(_ *walk, _ *unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	return nil, Add(Mul(positive(Λ), lines[0]), Mul(negative(Λ), lines[1]))
}

func (hull) follow(_ *unit, Λ *Node, _, lines []*Node) *Node { return above0(Λ, lines[0], lines[1]) }

// chosen takes one of two where the condition is known, and what holds both elsewhere: there the function may jump, so that nothing is known of
// its slope.
func chosen(c, x, y jet) jet {
	inf := func(sign int) *Node {
		return BroadcastToDims(Infinity(x.mid.Graph(), x.mid.DType(), sign), x.mid.Shape().Dimensions...)
	}
	pick := func(a, b, neither *Node) *Node { return Where(c.yes, a, Where(c.no, b, neither)) }
	xl, xm := x.slope()
	yl, ym := y.slope()
	j := jet{
		mid:   pick(x.mid, y.mid, MulScalar(Add(Min(x.lower, y.lower), Max(x.upper, y.upper)), 0.5)),
		lower: pick(x.lower, y.lower, Min(x.lower, y.lower)), upper: pick(x.upper, y.upper, Max(x.upper, y.upper)),
		least: pick(xl, yl, inf(-1)), most: pick(xm, ym, inf(1)),
	}
	if x.err != nil || y.err != nil {
		j.err = largerError(x, y)
	}
	return j
}

func whereJet(s *pieces, n *Node, in []jet) jet {
	c, x, y := in[0], in[1], in[2]
	j := chosen(c, x, y)
	switch {
	case s.p.a.real:
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

// choice is Where with a condition that depends on x: where it is sure, its interval tells which value is chosen; elsewhere either is possible.
type choice struct{ hull }

// pick returns of two values, by the condition of u, the one that is surely chosen, and neither elsewhere.
func (choice) pick(u *unit, in []interval, x, y, neither *Node) *Node {
	dims := u.n.Shape().Dimensions
	c := decided(in[0], dims)
	return Where(c.yes, BroadcastToDims(x, dims...), Where(c.no, BroadcastToDims(y, dims...), neither))
}

func (r choice) forward(p *pass, u *unit, in []interval) interval {
	v := r.hull.forward(p, u, in[1:])
	return interval{lower: r.pick(u, in, in[1].lower, in[2].lower, v.lower), upper: r.pick(u, in, in[1].upper, in[2].upper, v.upper)}
}

func (r choice) rounding(p *pass, u *unit, in []interval, out interval) *Node {
	return r.hull.rounding(p, u, in[1:], out)
}

// relax returns 1 where either value is surely chosen, else 0, and the constant lines of what is left.
func (r choice) relax(p *pass, u *unit, in []interval) (lines []*Node, open *Node) {
	v := r.forward(p, u, in)
	zero := ZerosLike(v.lower)
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
	return []*Node{r.pick(u, in, one, zero, zero), r.pick(u, in, zero, one, zero), rest(v.lower), rest(v.upper)}, nil
}

func (choice) backward(_ *walk, u *unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	parts := map[int]*Node{}
	for k := 1; k <= 2; k++ {
		if u.depends(k) {
			parts[k] = sumTo(Mul(Λ, lines[k-1]), u.inputs[k])
		}
	}
	return parts, Add(Mul(positive(Λ), lines[2]), Mul(negative(Λ), lines[3]))
}

func (choice) follow(u *unit, Λ *Node, h, lines []*Node) *Node {
	v := above0(Λ, lines[2], lines[3])
	for k := 1; k <= 2; k++ {
		if u.depends(k) {
			v = Add(v, Mul(lines[k-1], h[k]))
		}
	}
	return v
}

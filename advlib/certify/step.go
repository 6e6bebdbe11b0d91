package certify

import (
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// Functions that jump. What goes into one is computed, and may lie on the other side of a jump than in real arithmetic: so a function has the
// value of one side only where the interval, with the error, lies on it; elsewhere it may have any between those of both, and nothing is known of
// its slope. Intervals of conditions have the ends 0 for false and 1 for true.

// flushed returns the interval between two ends with 0, if one of its numbers is denormal: comparisons, for one, may count those as 0.
func flushed(low, high *Node) (*Node, *Node) {
	zero := ZerosLike(low)
	near := func(v *Node) *Node { return LessThan(Abs(v), MulScalar(OnesLike(v), 2*tiny)) }
	return Where(near(low), Min(low, zero), low), Where(near(high), Max(high, zero), high)
}

// computed returns what the deployed value of a jet may be.
func (j jet) computed(p *pass) (low, high *Node) {
	low, high = j.lower, j.upper
	if j.err != nil && !j.root { // pieces hold what the root's error is
		low, high = Sub(low, j.err), Add(high, j.err)
	}
	if !p.a.real {
		low, high = flushed(low, high)
	}
	return low, high
}

// stepJet is the rule of a function that is constant between its jumps, and never falls.
func stepJet(f func(*Node) *Node) jetRule {
	return func(s *pieces, _ *Node, in []jet) jet {
		x := in[0]
		low, high := x.computed(s.p)
		low, high = f(low), f(high)
		known := LogicalAnd(IsFinite(low), IsFinite(high))
		inf := func(sign int) *Node {
			return BroadcastToDims(Infinity(low.Graph(), low.DType(), sign), low.Shape().Dimensions...)
		}
		zero := ZerosLike(low)
		if x.least == nil && !x.root { // a constant is its value, and how far that may be off
			mid := f(x.mid)
			return jet{mid: mid, lower: mid, upper: mid, err: Where(known, Max(Sub(high, mid), Sub(mid, low)), inf(1))}
		}
		flat := LogicalAnd(known, Equal(low, high))
		j := jet{mid: MulScalar(Add(low, high), 0.5), lower: low, upper: high, least: Where(flat, zero, inf(-1)), most: Where(flat, zero, inf(1))}
		if e := x.err; e != nil { // what overflows is not a number, whatever its sign may be
			j.err = Where(LogicalAnd(known, IsFinite(Add(e, x.magnitude()))), zero, inf(1))
		}
		return j
	}
}

// compareJet compares with what does not depend on t. At 0, where pieces end, the open piece decides: the function's value at 0
// itself is that of the piece on the other side.
func compareJet(s *pieces, n *Node, in []jet) jet {
	x, k := in[0], in[1]
	op := n.Type()
	if x.least == nil && !x.root { // the constant is on the left
		x, k = k, x
		op = mirrored(op)
	}
	low, high := k.computed(s.p)
	xl, xu := x.computed(s.p)
	if x.root {
		xl, xu = x.lower, x.upper
	}
	c := compared(op, xl, xu, low, high)
	if x.root && op != NodeTypeEqual && op != NodeTypeNotEqual {
		zero := ZerosLike(xl)
		edge := LogicalAnd(LessThan(xl, xu), LogicalAnd(Equal(low, zero), Equal(high, zero)))
		above, below := LogicalAnd(edge, GreaterOrEqual(xl, high)), LogicalAnd(edge, LessOrEqual(xu, low))
		if op == NodeTypeLessThan || op == NodeTypeLessOrEqual {
			above, below = below, above
		}
		c.yes, c.no = LogicalOr(c.yes, above), LogicalOr(c.no, below)
	}
	return c
}

// mirrored returns the comparison with its sides exchanged.
func mirrored(op NodeType) NodeType {
	switch op {
	case NodeTypeGreaterThan:
		return NodeTypeLessThan
	case NodeTypeGreaterOrEqual:
		return NodeTypeLessOrEqual
	case NodeTypeLessThan:
		return NodeTypeGreaterThan
	case NodeTypeLessOrEqual:
		return NodeTypeGreaterOrEqual
	}
	return op
}

// compared tells where a number in [al, au] surely compares to one in [bl, bu] as op says, and where it surely does not. An end that is not a
// number leaves both open.
func compared(op NodeType, al, au, bl, bu *Node) jet {
	switch op {
	case NodeTypeGreaterThan:
		return jet{yes: GreaterThan(al, bu), no: LessOrEqual(au, bl)}
	case NodeTypeGreaterOrEqual:
		return jet{yes: GreaterOrEqual(al, bu), no: LessThan(au, bl)}
	case NodeTypeLessThan, NodeTypeLessOrEqual:
		return compared(mirrored(op), bl, bu, al, au)
	case NodeTypeNotEqual:
		return not(compared(NodeTypeEqual, al, au, bl, bu))
	}
	// Equal numbers: both of them are one, the same.
	return jet{
		yes: LogicalAnd(LogicalAnd(Equal(al, au), Equal(bl, bu)), Equal(al, bl)),
		no:  LogicalOr(GreaterThan(al, bu), LessThan(au, bl)),
	}
}

func not(c jet) jet { return jet{yes: c.no, no: c.yes, sure: c.sure} }

func and(a, b jet) jet {
	return jet{yes: LogicalAnd(a.yes, b.yes), no: LogicalOr(a.no, b.no), sure: a.sure && b.sure}
}

func or(a, b jet) jet { return not(and(not(a), not(b))) }

// convertJet makes numbers of conditions.
func convertJet(s *pieces, _ *Node, in []jet) jet {
	if in[0].mid != nil {
		return in[0]
	}
	one := s.one(s.a)
	zero := jet{mid: ZerosLike(s.a), lower: ZerosLike(s.a), upper: ZerosLike(s.a)}
	return chosen(in[0], one, zero)
}

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

// condition is a comparison, or one of comparisons by And, Or, Xor and Not. Of one tensor it is a part of a function of that instead.
type condition struct{}

func (condition) affine() bool { return false }

func (condition) check(*walk, *unit) error { return nil }

// decided returns the condition whose interval is v, broadcast.
func decided(v interval, dims []int) jet {
	if v.constant {
		c := BroadcastToDims(v.lower, dims...)
		return jet{yes: c, no: LogicalNot(c)}
	}
	half := MulScalar(OnesLike(v.lower), 0.5) // rounding has moved the ends
	return jet{yes: BroadcastToDims(GreaterThan(v.lower, half), dims...), no: BroadcastToDims(LessThan(v.upper, half), dims...)}
}

func (condition) forward(p *pass, u *unit, in []interval) interval {
	n, dims := u.n, u.n.Shape().Dimensions
	number := func(k int) (low, high *Node) {
		v := in[k]
		low, high = ConvertDType(v.lower, dtypes.Float64), ConvertDType(v.upper, dtypes.Float64)
		if v.err != nil {
			low, high = Sub(low, v.err), Add(high, v.err)
		}
		if !p.a.real {
			low, high = flushed(low, high)
		}
		return BroadcastToDims(low, dims...), BroadcastToDims(high, dims...)
	}
	given := func(k int) jet { return decided(in[k], dims) }
	var c jet
	switch t := n.Type(); t {
	case NodeTypeLogicalNot:
		c = not(given(0))
	case NodeTypeLogicalAnd:
		c = and(given(0), given(1))
	case NodeTypeLogicalOr:
		c = or(given(0), given(1))
	case NodeTypeLogicalXor:
		a, b := given(0), given(1)
		c = or(and(a, not(b)), and(not(a), b))
	case NodeTypeIsFinite, NodeTypeIsNaN: // an interval with finite ends holds finite numbers only
		ok := LogicalAnd(IsFinite(in[0].lower), IsFinite(in[0].upper))
		c = jet{yes: ok, no: ZerosLike(ok)}
		if t == NodeTypeIsNaN {
			c = not(c)
		}
	default:
		al, au := number(0)
		bl, bu := number(1)
		c = compared(t, al, au, bl, bu)
	}
	zero := zeros(n)
	one := OnesLike(zero)
	return interval{lower: Where(c.yes, one, zero), upper: Where(c.no, zero, one)}
}

// rounding: a condition is true or false as computed, and its interval holds both where it may be either.
func (condition) rounding(*pass, *unit, []interval, interval) *Node { return nil }

// relax: there are no lines but the interval.
func (r condition) relax(p *pass, u *unit, in []interval) (lines []*Node, open *Node) {
	v := r.forward(p, u, in)
	return []*Node{v.lower, v.upper}, nil
}

func (condition) backward(_ *walk, _ *unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	return nil, Add(Mul(positive(Λ), lines[0]), Mul(negative(Λ), lines[1]))
}

func (condition) follow(_ *unit, Λ *Node, _, lines []*Node) *Node {
	return above0(Λ, lines[0], lines[1])
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

// decidable tells whether a condition that depends on x can be decided by intervals: whether it is made of comparisons, and these of what has a
// rule.
func (w *walk) decidable(n *Node) bool {
	if known, ok := w.decides[n.Id()]; ok {
		return known
	}
	ok := true
	if w.perturbed(n) && n != w.x {
		r, in := w.ruleOf(n)
		if u := w.ends[n.Id()]; u != nil {
			r, in = u.rule, u.inputs
		}
		ok = r != nil && (n.DType() == dtypes.Float64 || n.DType() == dtypes.Bool)
		for _, h := range in {
			ok = ok && w.decidable(h)
		}
	}
	w.decides[n.Id()] = ok
	return ok
}

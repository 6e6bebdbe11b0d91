package certify

import (
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

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

package propagate

import (
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// compareJet compares with what does not depend on t. At 0, where pieces end, the open piece decides: the function's
// value at 0 itself is that of the piece on the other side.
func compareJet(s *Pieces, n *Node, in []Jet) Jet {
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

// compared tells where a number in [al, au] surely compares to one in [bl, bu] as op says, and where it surely does
// not. An end that is not a number leaves both open.
func compared(op NodeType, al, au, bl, bu *Node) Jet {
	switch op {
	case NodeTypeGreaterThan:
		return Jet{yes: GreaterThan(al, bu), no: LessOrEqual(au, bl)}
	case NodeTypeGreaterOrEqual:
		return Jet{yes: GreaterOrEqual(al, bu), no: LessThan(au, bl)}
	case NodeTypeLessThan, NodeTypeLessOrEqual:
		return compared(mirrored(op), bl, bu, al, au)
	case NodeTypeNotEqual:
		return not(compared(NodeTypeEqual, al, au, bl, bu))
	}
	// Equal numbers: both of them are one, the same.
	return Jet{
		yes: LogicalAnd(LogicalAnd(Equal(al, au), Equal(bl, bu)), Equal(al, bl)),
		no:  LogicalOr(GreaterThan(al, bu), LessThan(au, bl)),
	}
}

func not(c Jet) Jet { return Jet{yes: c.no, no: c.yes, sure: c.sure} }

func and(a, b Jet) Jet {
	return Jet{yes: LogicalAnd(a.yes, b.yes), no: LogicalOr(a.no, b.no), sure: a.sure && b.sure}
}

func or(a, b Jet) Jet { return not(and(not(a), not(b))) }

// convertJet makes numbers of conditions.
func convertJet(s *Pieces, _ *Node, in []Jet) Jet {
	if in[0].mid != nil {
		return in[0]
	}
	one := s.one(s.a)
	zero := Jet{mid: ZerosLike(s.a), lower: ZerosLike(s.a), upper: ZerosLike(s.a)}
	return chosen(in[0], one, zero)
}

// condition is a comparison, or one of comparisons by And, Or, Xor and Not. Of one tensor it is a part of a function of
// that instead.
type condition struct{}

func (condition) Affine() bool { return false }

func (condition) Check(*Walk, *Unit) error { return nil }

// decided returns the condition whose interval is v, broadcast.
func decided(v Interval, dims []int) Jet {
	if v.constant {
		c := BroadcastToDims(v.Lower, dims...)
		return Jet{yes: c, no: LogicalNot(c)}
	}
	half := MulScalar(OnesLike(v.Lower), 0.5) // rounding has moved the ends
	return Jet{yes: BroadcastToDims(GreaterThan(v.Lower, half), dims...), no: BroadcastToDims(LessThan(v.Upper, half), dims...)}
}

func (condition) Forward(p *Pass, u *Unit, in []Interval) Interval {
	n, dims := u.Node, u.Node.Shape().Dimensions
	number := func(k int) (low, high *Node) {
		v := in[k]
		low, high = ConvertDType(v.Lower, dtypes.Float64), ConvertDType(v.Upper, dtypes.Float64)
		if v.err != nil {
			low, high = Sub(low, v.err), Add(high, v.err)
		}
		if !p.Arithmetic.Real {
			low, high = flushed(low, high)
		}
		return BroadcastToDims(low, dims...), BroadcastToDims(high, dims...)
	}
	given := func(k int) Jet { return decided(in[k], dims) }
	var c Jet
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
		ok := LogicalAnd(IsFinite(in[0].Lower), IsFinite(in[0].Upper))
		c = Jet{yes: ok, no: ZerosLike(ok)}
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
	return Interval{Lower: Where(c.yes, one, zero), Upper: Where(c.no, zero, one)}
}

// Rounding: a condition is true or false as computed, and its interval holds both where it may be either.
func (condition) Rounding(*Pass, *Unit, []Interval, Interval) *Node { return nil }

// Relax: there are no lines but the interval.
func (r condition) Relax(p *Pass, u *Unit, in []Interval) (lines []*Node, open *Node) {
	v := r.Forward(p, u, in)
	return []*Node{v.Lower, v.Upper}, nil
}

func (condition) Backward(_ *Walk, _ *Unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	return nil, Add(Mul(Positive(Λ), lines[0]), Mul(negative(Λ), lines[1]))
}

func (condition) Follow(_ *Unit, Λ *Node, _, lines []*Node) *Node {
	return above0(Λ, lines[0], lines[1])
}

// decidable tells whether a condition that depends on x can be decided by intervals: whether it is made of comparisons,
// and these of what has a rule.
func (w *Walk) decidable(n *Node) bool {
	if known, ok := w.decides[n.Id()]; ok {
		return known
	}
	ok := true
	if w.perturbed(n) && n != w.x {
		r, in := w.ruleOf(n)
		if u := w.ends[n.Id()]; u != nil {
			r, in = u.Rule, u.Inputs
		}
		ok = r != nil && (n.DType() == dtypes.Float64 || n.DType() == dtypes.Bool)
		for _, h := range in {
			ok = ok && w.decidable(h)
		}
	}
	w.decides[n.Id()] = ok
	return ok
}

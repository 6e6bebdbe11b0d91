package propagate

import (
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// Jet is what is known of a function of one number t on each piece [a, b] of an interval: its value in the middle, and
// bounds of its values and of its slopes. A piece with a < b stands for the open interval.
type Jet struct {
	mid, lower, upper *Node
	// least and most bound the slope between any two points; nil for a constant.
	least, most *Node
	// Err is how far the deployed function may be from this one; nil for 0.
	Err *Node
	// size is above what products may come to in other orders, see [productRun]; nil for what is no product.
	size *Node
	// sum describes a sum; nil for what is none. logarithm is that of the logarithm of an exponential.
	sum, logarithm *summed
	// exponent is the sum of absolute exponents of which it is a product of exponentials; nil where there is none.
	exponent *Node
	// yes and no tell of a condition where it surely holds, and surely does not; the rest is unset.
	yes, no *Node
	// sure tells that a condition does not depend on t.
	sure bool
	// root marks t itself.
	root bool
}

// Pieces is where jets are evaluated.
type Pieces struct {
	p *Pass
	// a and b are the ends, [m·n, d...], where pieces are the slowest index.
	a, b, half *Node
	count      int // m
}

// constant returns the jet of a node that does not depend on t, given in the shape of the unit or one that broadcasts
// to it.
func (s *Pieces) constant(v Interval, dims []int) Jet {
	c := s.repeat(v.Lower, dims)
	if c.DType().IsInt() {
		c = ConvertDType(c, dtypes.Float64)
	}
	if c.DType().IsFloat() {
		j := Jet{mid: c, lower: c, upper: c}
		if v.err != nil {
			j.Err = s.repeat(v.err, dims)
		}
		return j
	}
	return Jet{yes: c, no: LogicalNot(c), sure: true}
}

// repeat returns v, broadcast to dims, for every piece.
func (s *Pieces) repeat(v *Node, dims []int) *Node {
	v = BroadcastToDims(v, dims...)
	size := v.Shape().Size()
	return Reshape(BroadcastToDims(Reshape(v, 1, size), s.count, size), s.a.Shape().Dimensions...)
}

// sharpened uses the mean value theorem: on a piece with middle c and half width h, f(t) is in f(c) + [least,
// most]·[−h, h].
func (s *Pieces) sharpened(j Jet) Jet {
	if j.least == nil {
		return j
	}
	reach := Mul(s.half, Max(Abs(j.least), Abs(j.most)))
	low, high := Sub(j.mid, reach), Add(j.mid, reach)
	// An infinite slope says nothing.
	j.lower = Where(GreaterThan(low, j.lower), low, j.lower)
	j.upper = Where(LessThan(high, j.upper), high, j.upper)
	return j
}

// JetRule computes the jet of an elementwise operation from those of its inputs.
type JetRule func(s *Pieces, n *Node, in []Jet) Jet

// Elementwise are the operations on elements that a function of one number may consist of.
var Elementwise map[NodeType]JetRule

func init() {
	Elementwise = map[NodeType]JetRule{
		NodeTypeAdd: addJet, NodeTypeSub: func(s *Pieces, n *Node, in []Jet) Jet { return addJet(s, n, []Jet{in[0], negated(in[1])}) },
		NodeTypeNeg: func(_ *Pieces, _ *Node, in []Jet) Jet { return negated(in[0]) },
		NodeTypeMul: mulJet, NodeTypeDiv: divJet, NodeTypePow: powJet, NodeTypeAbs: absJet, NodeTypeMax: maxJet,
		NodeTypeMin: func(s *Pieces, n *Node, in []Jet) Jet {
			return negated(maxJet(s, n, []Jet{negated(in[0]), negated(in[1])}))
		},
		NodeTypeClamp: clampJet, NodeTypeWhere: whereJet,
		NodeTypeIdentity:     func(_ *Pieces, _ *Node, in []Jet) Jet { return in[0] },
		NodeTypeConvertDType: convertJet,
		NodeTypeGreaterThan:  compareJet, NodeTypeGreaterOrEqual: compareJet, NodeTypeLessThan: compareJet, NodeTypeLessOrEqual: compareJet,
		NodeTypeEqual: compareJet, NodeTypeNotEqual: compareJet,
		NodeTypeLogicalNot: func(_ *Pieces, _ *Node, in []Jet) Jet { return not(in[0]) },
		NodeTypeLogicalAnd: func(_ *Pieces, _ *Node, in []Jet) Jet { return and(in[0], in[1]) },
		NodeTypeLogicalOr:  func(_ *Pieces, _ *Node, in []Jet) Jet { return or(in[0], in[1]) },
		NodeTypeLogicalXor: func(_ *Pieces, _ *Node, in []Jet) Jet {
			return or(and(in[0], not(in[1])), and(not(in[0]), in[1]))
		},
		NodeTypeFloor: StepJet(Floor), NodeTypeCeil: StepJet(Ceil), NodeTypeRound: StepJet(Round), NodeTypeSign: StepJet(Sign),
		NodeTypeSin: sinJet, NodeTypeCos: cosJet,
		NodeTypeExp: expJet, NodeTypeExpm1: expm1Jet, NodeTypeLog: logJet, NodeTypeLog1p: log1pJet,
		NodeTypeSqrt: sqrtJet,
		NodeTypeRsqrt: func(s *Pieces, n *Node, in []Jet) Jet {
			return divJet(s, n, []Jet{s.one(in[0].mid), Elementwise[NodeTypeSqrt](s, n, in)})
		},
		NodeTypeLogistic: sigmoidJet, NodeTypeTanh: tanhJet, NodeTypeAtan2: arctanJet, NodeTypeErf: erfJet,
	}
}

// same tells whether an operation chooses between two inputs that are one.
func same(n *Node, j, k int) bool { return n.Inputs()[j] == n.Inputs()[k] }

// is notes that a jet is another one as far as sums and products go.
func (j Jet) is(x Jet) Jet {
	j.size, j.sum, j.exponent, j.logarithm = x.size, x.sum, x.exponent, x.logarithm
	return j
}

func (s *Pieces) one(like *Node) Jet {
	one := OnesLike(like)
	return Jet{mid: one, lower: one, upper: one}
}

// slope returns bounds of the slope, which is 0 for a constant.
func (j Jet) slope() (least, most *Node) {
	if j.least == nil {
		return ZerosLike(j.mid), ZerosLike(j.mid)
	}
	return j.least, j.most
}

func (j Jet) magnitude() *Node { return plus(Max(Abs(j.lower), Abs(j.upper)), j.Err) }

// rounded adds the rounding of one float32 operation, and what flushing may do to magnitudes times.
func (s *Pieces) rounded(j Jet, roundings, flushed int) Jet {
	if s.p.Arithmetic.Real {
		return j
	}
	m := j.magnitude()
	j.Err = finite(plus(relative(m, roundings, flushed), j.Err), m)
	return j
}

// constantJet returns the error of an elementwise function of constants.
func constantJet(p *Pass, n *Node, in []Interval) *Node {
	dims := n.Shape().Dimensions
	zero := Zeros(n.Graph(), n.Shape())
	s := &Pieces{p: p, a: zero, b: zero, half: zero, count: 1}
	jets := make([]Jet, len(in))
	for k, v := range in {
		jets[k] = s.constant(v, dims)
	}
	return Elementwise[n.Type()](s, n, jets).Err
}

// isOne tells whether a constant is 1 everywhere.
func isOne(n *Node) bool {
	t := origin(n).ConstantValue()
	return t != nil && t.Size() == 1 && tensorScalar(t) == 1
}

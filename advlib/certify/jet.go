package certify

import (
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// jet is what is known of a function of one number t on each piece [a, b] of an interval: its value in the middle, and
// bounds of its values and of its slopes. A piece with a < b stands for the open interval.
type jet struct {
	mid, lower, upper *Node
	// least and most bound the slope between any two points; nil for a constant.
	least, most *Node
	// err is how far the deployed function may be from this one; nil for 0.
	err *Node
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

// pieces is where jets are evaluated.
type pieces struct {
	p *pass
	// a and b are the ends, [m·n, d...], where pieces are the slowest index.
	a, b, half *Node
	count      int // m
}

// constant returns the jet of a node that does not depend on t, given in the shape of the unit or one that broadcasts to it.
func (s *pieces) constant(v interval, dims []int) jet {
	c := s.repeat(v.lower, dims)
	if c.DType().IsInt() {
		c = ConvertDType(c, dtypes.Float64)
	}
	if c.DType().IsFloat() {
		j := jet{mid: c, lower: c, upper: c}
		if v.err != nil {
			j.err = s.repeat(v.err, dims)
		}
		return j
	}
	return jet{yes: c, no: LogicalNot(c), sure: true}
}

// repeat returns v, broadcast to dims, for every piece.
func (s *pieces) repeat(v *Node, dims []int) *Node {
	v = BroadcastToDims(v, dims...)
	size := v.Shape().Size()
	return Reshape(BroadcastToDims(Reshape(v, 1, size), s.count, size), s.a.Shape().Dimensions...)
}

// sharpened uses the mean value theorem: on a piece with middle c and half width h, f(t) is in f(c) + [least, most]·[−h, h].
func (s *pieces) sharpened(j jet) jet {
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

// jetRule computes the jet of an elementwise operation from those of its inputs.
type jetRule func(s *pieces, n *Node, in []jet) jet

// elementwise are the operations on elements that a function of one number may consist of.
var elementwise map[NodeType]jetRule

func init() {
	elementwise = map[NodeType]jetRule{
		NodeTypeAdd: addJet, NodeTypeSub: func(s *pieces, n *Node, in []jet) jet { return addJet(s, n, []jet{in[0], negated(in[1])}) },
		NodeTypeNeg: func(_ *pieces, _ *Node, in []jet) jet { return negated(in[0]) },
		NodeTypeMul: mulJet, NodeTypeDiv: divJet, NodeTypePow: powJet, NodeTypeAbs: absJet, NodeTypeMax: maxJet,
		NodeTypeMin: func(s *pieces, n *Node, in []jet) jet {
			return negated(maxJet(s, n, []jet{negated(in[0]), negated(in[1])}))
		},
		NodeTypeClamp: clampJet, NodeTypeWhere: whereJet,
		NodeTypeIdentity:     func(_ *pieces, _ *Node, in []jet) jet { return in[0] },
		NodeTypeConvertDType: convertJet,
		NodeTypeGreaterThan:  compareJet, NodeTypeGreaterOrEqual: compareJet, NodeTypeLessThan: compareJet, NodeTypeLessOrEqual: compareJet,
		NodeTypeEqual: compareJet, NodeTypeNotEqual: compareJet,
		NodeTypeLogicalNot: func(_ *pieces, _ *Node, in []jet) jet { return not(in[0]) },
		NodeTypeLogicalAnd: func(_ *pieces, _ *Node, in []jet) jet { return and(in[0], in[1]) },
		NodeTypeLogicalOr:  func(_ *pieces, _ *Node, in []jet) jet { return or(in[0], in[1]) },
		NodeTypeLogicalXor: func(_ *pieces, _ *Node, in []jet) jet {
			return or(and(in[0], not(in[1])), and(not(in[0]), in[1]))
		},
		NodeTypeFloor: stepJet(Floor), NodeTypeCeil: stepJet(Ceil), NodeTypeRound: stepJet(Round), NodeTypeSign: stepJet(Sign),
		NodeTypeSin: sinJet, NodeTypeCos: cosJet,
		NodeTypeExp: expJet, NodeTypeExpm1: expm1Jet, NodeTypeLog: logJet, NodeTypeLog1p: log1pJet,
		NodeTypeSqrt: sqrtJet,
		NodeTypeRsqrt: func(s *pieces, n *Node, in []jet) jet {
			return divJet(s, n, []jet{s.one(in[0].mid), elementwise[NodeTypeSqrt](s, n, in)})
		},
		NodeTypeLogistic: sigmoidJet, NodeTypeTanh: tanhJet, NodeTypeAtan2: arctanJet, NodeTypeErf: erfJet,
	}
}

// same tells whether an operation chooses between two inputs that are one.
func same(n *Node, j, k int) bool { return n.Inputs()[j] == n.Inputs()[k] }

// is notes that a jet is another one as far as sums and products go.
func (j jet) is(x jet) jet {
	j.size, j.sum, j.exponent, j.logarithm = x.size, x.sum, x.exponent, x.logarithm
	return j
}

func (s *pieces) one(like *Node) jet {
	one := OnesLike(like)
	return jet{mid: one, lower: one, upper: one}
}

// slope returns bounds of the slope, which is 0 for a constant.
func (j jet) slope() (least, most *Node) {
	if j.least == nil {
		return ZerosLike(j.mid), ZerosLike(j.mid)
	}
	return j.least, j.most
}

func (j jet) magnitude() *Node { return plus(Max(Abs(j.lower), Abs(j.upper)), j.err) }

// rounded adds the rounding of one float32 operation, and what flushing may do to magnitudes times.
func (s *pieces) rounded(j jet, roundings, flushed int) jet {
	if s.p.a.real {
		return j
	}
	m := j.magnitude()
	j.err = finite(plus(relative(m, roundings, flushed), j.err), m)
	return j
}

// constantJet returns the error of an elementwise function of constants.
func constantJet(p *pass, n *Node, in []interval) *Node {
	dims := n.Shape().Dimensions
	zero := Zeros(n.Graph(), n.Shape())
	s := &pieces{p: p, a: zero, b: zero, half: zero, count: 1}
	jets := make([]jet, len(in))
	for k, v := range in {
		jets[k] = s.constant(v, dims)
	}
	return elementwise[n.Type()](s, n, jets).err
}

// isOne tells whether a constant is 1 everywhere.
func isOne(n *Node) bool {
	t := origin(n).ConstantValue()
	return t != nil && t.Size() == 1 && tensorScalar(t) == 1
}

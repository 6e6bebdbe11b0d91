package certify

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
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
		NodeTypeSin: wave(Sin, math.Pi/2, func(l, u *Node) (least, most *Node) { return waveRange(Cos, 0, l, u) }),
		NodeTypeCos: wave(Cos, 0, func(l, u *Node) (least, most *Node) {
			least, most = waveRange(Sin, math.Pi/2, l, u)
			return Neg(most), Neg(least)
		}),
		NodeTypeExp: expJet,
		NodeTypeExpm1: monotone(Expm1, func(l, u jetEnds) (least, most *Node) { return OnePlus(l.f), OnePlus(u.f) }, func(j jet, e *Node) *Node {
			return MulScalar(Mul(Exp(j.upper), Sub(Exp(e), OnesLike(e))), 1.001)
		}),
		NodeTypeLog:   logJet,
		NodeTypeLog1p: monotone(Log1p, func(l, u jetEnds) (least, most *Node) { return reciprocal(OnePlus(u.t)), reciprocal(OnePlus(l.t)) }, logError(1)),
		NodeTypeSqrt: monotone(Sqrt, func(l, u jetEnds) (least, most *Node) {
			return MulScalar(reciprocal(u.f), 0.5), MulScalar(reciprocal(l.f), 0.5)
		}, func(_ jet, e *Node) *Node { return Sqrt(e) }),
		NodeTypeRsqrt: func(s *pieces, n *Node, in []jet) jet {
			return divJet(s, n, []jet{s.one(in[0].mid), elementwise[NodeTypeSqrt](s, n, in)})
		},
		NodeTypeLogistic: monotone(Logistic, bell(func(v jetEnds) *Node { return Mul(v.f, OneMinus(v.f)) }, 0.25), scaledError(0.25)),
		NodeTypeTanh:     monotone(Tanh, bell(func(v jetEnds) *Node { return OneMinus(Square(v.f)) }, 1), scaledError(1)),
		NodeTypeAtan2:    monotone(arctan, bell(func(v jetEnds) *Node { return Inverse(OnePlus(Square(v.t))) }, 1), scaledError(1)),
		NodeTypeErf: monotone(Erf, bell(func(v jetEnds) *Node {
			return MulScalar(Exp(Neg(Square(v.t))), 2/math.SqrtPi)
		}, 2/math.SqrtPi), scaledError(2/math.SqrtPi)),
	}
}

// expJet also notes what is lost if products of exponentials become exponentials of sums, or the logarithm takes it back.
func expJet(s *pieces, n *Node, in []jet) jet {
	j := monotone(Exp, func(l, u jetEnds) (least, most *Node) { return l.f, u.f }, func(j jet, e *Node) *Node {
		return MulScalar(Mul(Exp(j.upper), Sub(Exp(e), OnesLike(e))), 1.001)
	})(s, n, in)
	if !s.p.a.real {
		j.exponent, j.logarithm = in[0].magnitude(), in[0].sum
	}
	return j
}

func logJet(s *pieces, n *Node, in []jet) jet {
	j := monotone(Log, func(l, u jetEnds) (least, most *Node) { return reciprocal(u.t), reciprocal(l.t) }, logError(0))(s, n, in)
	j.sum = in[0].logarithm
	return j
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

func negated(j jet) jet {
	n := jet{mid: Neg(j.mid), lower: Neg(j.upper), upper: Neg(j.lower), err: j.err, size: j.size, sum: j.sum, exponent: j.exponent}
	if j.least != nil {
		n.least, n.most = Neg(j.most), Neg(j.least)
	}
	return n
}

func addJet(s *pieces, _ *Node, in []jet) jet {
	x, y := in[0], in[1]
	j := jet{mid: Add(x.mid, y.mid), lower: Add(x.lower, y.lower), upper: Add(x.upper, y.upper), err: plus(x.err, y.err)}
	j.least, j.most = plus(x.least, y.least), plus(x.most, y.most)
	if !s.p.a.real {
		a, b := x.summed(), y.summed()
		j.sum = &summed{magnitude: Add(a.magnitude, b.magnitude), roundings: a.roundings + b.roundings + 1}
		if R := j.sum.roundings; R > 1 {
			j.err = plus(j.err, Add(a.share(R), b.share(R)))
			j.sum.counted = true
		}
		if x.size != nil && y.size != nil {
			j = reordered(j, Add(x.size, y.size), x, y)
		}
	}
	return s.rounded(s.sharpened(j), 1, 4)
}

// summed returns the jet as a sum.
func (j jet) summed() summed {
	if j.sum != nil {
		return *j.sum
	}
	return summed{magnitude: j.magnitude()}
}

// times is the interval product of [a, b] and [c, d]; NaN from 0·∞ is left to who uses it.
func times(a, b, c, d *Node) (least, most *Node) {
	ac, ad, bc, bd := Mul(a, c), Mul(a, d), Mul(b, c), Mul(b, d)
	return Min(Min(ac, ad), Min(bc, bd)), Max(Max(ac, ad), Max(bc, bd))
}

func mulJet(s *pieces, n *Node, in []jet) jet {
	x, y := in[0], in[1]
	j := jet{mid: Mul(x.mid, y.mid)}
	j.lower, j.upper = times(x.lower, x.upper, y.lower, y.upper)
	if x.least != nil || y.least != nil {
		xl, xm := x.slope()
		yl, ym := y.slope()
		al, am := times(xl, xm, y.lower, y.upper)
		bl, bm := times(x.lower, x.upper, yl, ym)
		j.least, j.most = Add(al, bl), Add(am, bm)
	}
	if n.Type() == NodeTypeMul && n.Inputs()[0] == n.Inputs()[1] { // a square
		j.lower = Max(j.lower, ZerosLike(j.lower))
	}
	j = s.sharpened(j)
	if s.p.a.real {
		return j
	}
	a, b := x.magnitude(), y.magnitude()
	for _, v := range []struct {
		j, other jet
		k        *Node
	}{{x, y, b}, {y, x, a}} {
		if v.j.sum == nil {
			continue
		}
		S := Mul(v.j.sum.magnitude, v.k)
		if v.j.sum.counted { // a factor may move to each summand
			j.err = plus(j.err, MulScalar(S, gamma(1)))
		}
		if v.other.least == nil { // a constant
			j.sum = &summed{S, v.j.sum.roundings + 1, v.j.sum.counted}
		}
	}
	j = multiplied(j, Mul(a, b), x, y)
	j = reordered(j, Mul(x.largest(), y.largest()), x, y)
	if x.err != nil {
		j.err = plus(j.err, Mul(x.err, b))
	}
	if y.err != nil {
		j.err = plus(j.err, Mul(a, y.err))
	}
	j.err = plus(j.err, MulScalar(Add(a, b), 2*tiny))
	return s.rounded(j, 1, 2)
}

// largest is size, or at least 1 and the magnitude of what is no product.
func (j jet) largest() *Node {
	if j.size != nil {
		return j.size
	}
	return MaxScalar(j.magnitude(), 1)
}

// multiplied notes the exponents of j, the product or quotient of x and y, and adds what it may lose if they are added up instead. m is its
// magnitude.
func multiplied(j jet, m *Node, x, y jet) jet {
	j.exponent = plus(x.exponent, y.exponent)
	if x.exponent != nil && y.exponent != nil {
		j.err = plus(j.err, Mul(m, MulScalar(j.exponent, exponentError)))
	}
	return j
}

// reordered notes the size of j, the product or quotient of x and y, and adds what other orders may flush if one of them is a product itself.
func reordered(j jet, size *Node, x, y jet) jet {
	j.size = size
	if x.size != nil || y.size != nil {
		j.err = plus(j.err, finite(MulScalar(size, 64*tiny), size))
	}
	return j
}

// reciprocal is 1/v for v > 0 and +∞ for v ≤ 0, as a bound of a slope.
func reciprocal(v *Node) *Node {
	inf := BroadcastToDims(Infinity(v.Graph(), v.DType(), 1), v.Shape().Dimensions...)
	return Where(GreaterThan(v, ZerosLike(v)), Inverse(v), inf)
}

// divJet is x/y where y has one sign; elsewhere nothing is known.
func divJet(s *pieces, n *Node, in []jet) jet {
	x, y := in[0], in[1]
	zero := ZerosLike(y.lower)
	low, high := y.lower, y.upper
	if y.err != nil {
		low, high = Sub(low, y.err), Add(high, y.err)
	}
	if !s.p.a.real { // a divisor that is a denormal number may count as 0
		low, high = AddScalar(low, -2*tiny), AddScalar(high, 2*tiny)
	}
	signed := LogicalOr(GreaterThan(low, zero), LessThan(high, zero))
	safe := func(v *Node) *Node { return Where(signed, v, OnesLike(v)) }
	inf := func(sign int) *Node {
		return BroadcastToDims(Infinity(zero.Graph(), zero.DType(), sign), zero.Shape().Dimensions...)
	}
	r := jet{mid: Inverse(safe(y.mid)), lower: Where(signed, Inverse(safe(y.upper)), inf(-1)), upper: Where(signed, Inverse(safe(y.lower)), inf(1))}
	if y.least != nil { // (1/y)' = −y'/y²
		a, b := Square(Inverse(safe(y.lower))), Square(Inverse(safe(y.upper)))
		l, m := times(Neg(y.most), Neg(y.least), Min(a, b), Max(a, b))
		r.least, r.most = Where(signed, l, inf(-1)), Where(signed, m, inf(1))
	}
	j := mulJet(&pieces{p: &pass{a: arithmetic{real: true}}, a: s.a, b: s.b, half: s.half, count: s.count}, n, []jet{x, r})
	if s.p.a.real {
		return j
	}
	// The quotient may be computed with the reciprocal, each flushed.
	least := Min(Abs(safe(low)), Abs(safe(high)))
	a := x.magnitude()
	quotient := Div(a, least)
	if x.err != nil {
		j.err = plus(j.err, Div(x.err, least))
	}
	if y.err != nil {
		j.err = plus(j.err, Mul(quotient, Div(y.err, least)))
	}
	j = multiplied(j, quotient, x, y)
	if x.sum != nil {
		S := Div(x.sum.magnitude, least)
		if x.sum.counted {
			j.err = plus(j.err, MulScalar(S, gamma(3)))
		}
		if y.least == nil {
			j.sum = &summed{S, x.sum.roundings + 3, x.sum.counted}
		}
	}
	j = reordered(j, Mul(Mul(x.largest(), y.largest()), MaxScalar(Inverse(least), 1)), x, y)
	j.err = plus(j.err, MulScalar(Add(OnePlus(a), Inverse(least)), 2*tiny))
	j.err = Where(signed, j.err, inf(1))
	return s.rounded(j, 3, 4)
}

// powJet is a power with a whole exponent from 2 to 4: a chain of products.
func powJet(s *pieces, n *Node, in []jet) jet {
	k, _ := wholeExponent(n)
	j := in[0]
	for range k - 1 {
		j = mulJet(s, n, []jet{j, in[0]})
	}
	if k%2 == 0 {
		j.lower = Max(j.lower, ZerosLike(j.lower))
	}
	return s.fromLibrary(NodeTypePow, j)
}

// largestExponent is the largest power whose error is measured.
const largestExponent = 4

// wholeExponent returns the exponent of a power, if it is a constant whole number from 2 to largestExponent.
func wholeExponent(n *Node) (k int, ok bool) {
	e := n.Inputs()[1]
	for e.Type() == NodeTypeBroadcastInDim || e.Type() == NodeTypeReshape {
		e = e.Inputs()[0]
	}
	t := e.ConstantValue()
	if t == nil || t.Size() != 1 {
		return 0, false
	}
	v := tensorScalar(t)
	return int(v), v == math.Trunc(v) && v >= 2 && v <= largestExponent
}

func absJet(s *pieces, _ *Node, in []jet) jet {
	x := in[0]
	zero := ZerosLike(x.lower)
	j := jet{mid: Abs(x.mid), lower: Max(zero, Max(x.lower, Neg(x.upper))), upper: Max(Abs(x.lower), Abs(x.upper)), err: x.err}
	if x.least != nil {
		up, down := GreaterOrEqual(x.lower, zero), LessOrEqual(x.upper, zero)
		both := Max(Abs(x.least), Abs(x.most))
		j.least = Where(up, x.least, Where(down, Neg(x.most), Neg(both)))
		j.most = Where(up, x.most, Where(down, Neg(x.least), both))
	}
	return s.sharpened(j)
}

func maxJet(s *pieces, n *Node, in []jet) jet {
	x, y := in[0], in[1]
	j := jet{mid: Max(x.mid, y.mid), lower: Max(x.lower, y.lower), upper: Max(x.upper, y.upper)}
	if x.least != nil || y.least != nil {
		xl, xm := x.slope()
		yl, ym := y.slope()
		first, second := GreaterOrEqual(x.lower, y.upper), LessOrEqual(x.upper, y.lower)
		j.least = Where(first, xl, Where(second, yl, Min(xl, yl)))
		j.most = Where(first, xm, Where(second, ym, Max(xm, ym)))
	}
	if !s.p.a.real {
		j.err = AddScalar(largerError(x, y), 2*tiny)
	}
	if len(n.Inputs()) == 2 && same(n, 0, 1) {
		j = j.is(x)
	}
	return s.sharpened(j)
}

func largerError(x, y jet) *Node {
	switch {
	case x.err == nil && y.err == nil:
		return ZerosLike(x.mid)
	case x.err == nil:
		return y.err
	case y.err == nil:
		return x.err
	}
	return Max(x.err, y.err)
}

// clampJet is min(max(x, low), high).
func clampJet(s *pieces, n *Node, in []jet) jet {
	return elementwise[NodeTypeMin](s, n, []jet{maxJet(s, n, []jet{in[1], in[0]}), in[2]})
}

// jetEnds is an end of a piece's values, with the function's value there.
type jetEnds struct{ t, f *Node }

// bell bounds the slope of a function whose derivative is even and falls with |t|, with the given maximum.
func bell(derivative func(jetEnds) *Node, top float64) func(l, u jetEnds) (least, most *Node) {
	return func(l, u jetEnds) (least, most *Node) {
		a, b := derivative(l), derivative(u)
		zero := ZerosLike(l.t)
		across := LogicalAnd(LessOrEqual(l.t, zero), GreaterOrEqual(u.t, zero))
		return Min(a, b), Where(across, MulScalar(OnesLike(a), top), Max(a, b))
	}
}

func scaledError(by float64) func(jet, *Node) *Node {
	return func(_ jet, e *Node) *Node { return MulScalar(e, by*own) }
}

// logError is e/(t + shift − e), infinite if that is not above 0.
func logError(shift float64) func(jet, *Node) *Node {
	return func(j jet, e *Node) *Node { return Mul(e, reciprocal(Sub(AddScalar(j.lower, shift), e))) }
}

// monotone is the rule of a function that increases. slopes bounds its derivative between two ends, propagate what an error
// of its argument, whose jet is given, causes.
func monotone(f func(*Node) *Node, slopes func(l, u jetEnds) (least, most *Node), propagate func(arg jet, e *Node) *Node) jetRule {
	return func(s *pieces, n *Node, in []jet) jet {
		x := in[0]
		j := jet{mid: f(x.mid), lower: f(x.lower), upper: f(x.upper)}
		// The function itself is computed in float64 here.
		j.lower, j.upper = Sub(j.lower, MulScalar(Abs(j.lower), ownUnit)), Add(j.upper, MulScalar(Abs(j.upper), ownUnit))
		if x.least != nil {
			l, m := slopes(jetEnds{x.lower, f(x.lower)}, jetEnds{x.upper, f(x.upper)})
			l, m = Sub(l, MulScalar(Abs(l), ownUnit)), Add(m, MulScalar(Abs(m), ownUnit))
			j.least, j.most = times(x.least, x.most, l, m)
		}
		j = s.sharpened(j)
		if s.p.a.real {
			return j
		}
		// The argument may be flushed.
		j.err = propagate(x, plus(x.err, MulScalar(OnesLike(x.mid), 2*tiny)))
		return s.fromLibrary(n.Type(), j)
	}
}

// fromLibrary adds the error of the backend's function.
func (s *pieces) fromLibrary(op NodeType, j jet) jet {
	if s.p.a.real {
		return j
	}
	e := s.p.a.library[op]
	m := Max(Abs(j.lower), Abs(j.upper))
	E := AddScalar(Min(MulScalar(m, e.relative), MulScalar(MaxScalar(m, 1), e.absolute)), 8*tiny)
	j.err = finite(plus(E, j.err), plus(m, j.err))
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

func tensorScalar(t *tensors.Tensor) float64 {
	switch t.DType() {
	case dtypes.Float64:
		return tensors.MustCopyFlatData[float64](t)[0]
	case dtypes.Float32:
		return float64(tensors.MustCopyFlatData[float32](t)[0])
	case dtypes.Int64:
		return float64(tensors.MustCopyFlatData[int64](t)[0])
	case dtypes.Int32:
		return float64(tensors.MustCopyFlatData[int32](t)[0])
	}
	return math.NaN()
}

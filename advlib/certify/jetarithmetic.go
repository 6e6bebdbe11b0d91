package certify

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

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

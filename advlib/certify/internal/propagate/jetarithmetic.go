package propagate

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

func negated(j Jet) Jet {
	n := Jet{mid: Neg(j.mid), lower: Neg(j.upper), upper: Neg(j.lower), Err: j.Err, size: j.size, sum: j.sum, exponent: j.exponent}
	if j.least != nil {
		n.least, n.most = Neg(j.most), Neg(j.least)
	}
	return n
}

func addJet(s *Pieces, _ *Node, in []Jet) Jet {
	x, y := in[0], in[1]
	j := Jet{mid: Add(x.mid, y.mid), lower: Add(x.lower, y.lower), upper: Add(x.upper, y.upper), Err: plus(x.Err, y.Err)}
	j.least, j.most = plus(x.least, y.least), plus(x.most, y.most)
	if !s.p.Arithmetic.Real {
		a, b := x.summed(), y.summed()
		j.sum = &summed{magnitude: Add(a.magnitude, b.magnitude), roundings: a.roundings + b.roundings + 1}
		if R := j.sum.roundings; R > 1 {
			j.Err = plus(j.Err, Add(a.share(R), b.share(R)))
			j.sum.counted = true
		}
		if x.size != nil && y.size != nil {
			j = reordered(j, Add(x.size, y.size), x, y)
		}
	}
	return s.rounded(s.sharpened(j), 1, 4)
}

// summed returns the jet as a sum.
func (j Jet) summed() summed {
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

func mulJet(s *Pieces, n *Node, in []Jet) Jet {
	x, y := in[0], in[1]
	j := Jet{mid: Mul(x.mid, y.mid)}
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
	if s.p.Arithmetic.Real {
		return j
	}
	a, b := x.magnitude(), y.magnitude()
	for _, v := range []struct {
		j, other Jet
		k        *Node
	}{{x, y, b}, {y, x, a}} {
		if v.j.sum == nil {
			continue
		}
		S := Mul(v.j.sum.magnitude, v.k)
		if v.j.sum.counted { // a factor may move to each summand
			j.Err = plus(j.Err, MulScalar(S, Gamma(1)))
		}
		if v.other.least == nil { // a constant
			j.sum = &summed{S, v.j.sum.roundings + 1, v.j.sum.counted}
		}
	}
	j = multiplied(j, Mul(a, b), x, y)
	j = reordered(j, Mul(x.largest(), y.largest()), x, y)
	if x.Err != nil {
		j.Err = plus(j.Err, Mul(x.Err, b))
	}
	if y.Err != nil {
		j.Err = plus(j.Err, Mul(a, y.Err))
	}
	j.Err = plus(j.Err, MulScalar(Add(a, b), 2*Tiny))
	return s.rounded(j, 1, 2)
}

// largest is size, or at least 1 and the magnitude of what is no product.
func (j Jet) largest() *Node {
	if j.size != nil {
		return j.size
	}
	return MaxScalar(j.magnitude(), 1)
}

// multiplied notes the exponents of j, the product or quotient of x and y, and adds what it may lose if they are added
// up instead. m is its magnitude.
func multiplied(j Jet, m *Node, x, y Jet) Jet {
	j.exponent = plus(x.exponent, y.exponent)
	if x.exponent != nil && y.exponent != nil {
		j.Err = plus(j.Err, Mul(m, MulScalar(j.exponent, exponentError)))
	}
	return j
}

// reordered notes the size of j, the product or quotient of x and y, and adds what other orders may flush if one of
// them is a product itself.
func reordered(j Jet, size *Node, x, y Jet) Jet {
	j.size = size
	if x.size != nil || y.size != nil {
		j.Err = plus(j.Err, finite(MulScalar(size, 64*Tiny), size))
	}
	return j
}

// reciprocal is 1/v for v > 0 and +∞ for v ≤ 0, as a bound of a slope.
func reciprocal(v *Node) *Node {
	inf := BroadcastToDims(Infinity(v.Graph(), v.DType(), 1), v.Shape().Dimensions...)
	return Where(GreaterThan(v, ZerosLike(v)), Inverse(v), inf)
}

// divJet is x/y where y has one sign; elsewhere nothing is known.
func divJet(s *Pieces, n *Node, in []Jet) Jet {
	x, y := in[0], in[1]
	zero := ZerosLike(y.lower)
	low, high := y.lower, y.upper
	if y.Err != nil {
		low, high = Sub(low, y.Err), Add(high, y.Err)
	}
	if !s.p.Arithmetic.Real { // a divisor that is a denormal number may count as 0
		low, high = AddScalar(low, -2*Tiny), AddScalar(high, 2*Tiny)
	}
	signed := LogicalOr(GreaterThan(low, zero), LessThan(high, zero))
	safe := func(v *Node) *Node { return Where(signed, v, OnesLike(v)) }
	inf := func(sign int) *Node {
		return BroadcastToDims(Infinity(zero.Graph(), zero.DType(), sign), zero.Shape().Dimensions...)
	}
	r := Jet{mid: Inverse(safe(y.mid)), lower: Where(signed, Inverse(safe(y.upper)), inf(-1)),
		upper: Where(signed, Inverse(safe(y.lower)), inf(1))}
	if y.least != nil { // (1/y)' = −y'/y²
		a, b := Square(Inverse(safe(y.lower))), Square(Inverse(safe(y.upper)))
		l, m := times(Neg(y.most), Neg(y.least), Min(a, b), Max(a, b))
		r.least, r.most = Where(signed, l, inf(-1)), Where(signed, m, inf(1))
	}
	j := mulJet(&Pieces{p: &Pass{Arithmetic: Arithmetic{Real: true}}, a: s.a, b: s.b, half: s.half, count: s.count}, n, []Jet{x, r})
	if s.p.Arithmetic.Real {
		return j
	}
	// The quotient may be computed with the reciprocal, each flushed.
	least := Min(Abs(safe(low)), Abs(safe(high)))
	a := x.magnitude()
	quotient := Div(a, least)
	if x.Err != nil {
		j.Err = plus(j.Err, Div(x.Err, least))
	}
	if y.Err != nil {
		j.Err = plus(j.Err, Mul(quotient, Div(y.Err, least)))
	}
	j = multiplied(j, quotient, x, y)
	if x.sum != nil {
		S := Div(x.sum.magnitude, least)
		if x.sum.counted {
			j.Err = plus(j.Err, MulScalar(S, Gamma(3)))
		}
		if y.least == nil {
			j.sum = &summed{S, x.sum.roundings + 3, x.sum.counted}
		}
	}
	j = reordered(j, Mul(Mul(x.largest(), y.largest()), MaxScalar(Inverse(least), 1)), x, y)
	j.Err = plus(j.Err, MulScalar(Add(OnePlus(a), Inverse(least)), 2*Tiny))
	j.Err = Where(signed, j.Err, inf(1))
	return s.rounded(j, 3, 4)
}

// powJet is a power with a whole exponent from 2 to 4: a chain of products.
func powJet(s *Pieces, n *Node, in []Jet) Jet {
	k, _ := wholeExponent(n)
	j := in[0]
	for range k - 1 {
		j = mulJet(s, n, []Jet{j, in[0]})
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

func absJet(s *Pieces, _ *Node, in []Jet) Jet {
	x := in[0]
	zero := ZerosLike(x.lower)
	j := Jet{mid: Abs(x.mid), lower: Max(zero, Max(x.lower, Neg(x.upper))), upper: Max(Abs(x.lower), Abs(x.upper)), Err: x.Err}
	if x.least != nil {
		up, down := GreaterOrEqual(x.lower, zero), LessOrEqual(x.upper, zero)
		both := Max(Abs(x.least), Abs(x.most))
		j.least = Where(up, x.least, Where(down, Neg(x.most), Neg(both)))
		j.most = Where(up, x.most, Where(down, Neg(x.least), both))
	}
	return s.sharpened(j)
}

func maxJet(s *Pieces, n *Node, in []Jet) Jet {
	x, y := in[0], in[1]
	j := Jet{mid: Max(x.mid, y.mid), lower: Max(x.lower, y.lower), upper: Max(x.upper, y.upper)}
	if x.least != nil || y.least != nil {
		xl, xm := x.slope()
		yl, ym := y.slope()
		first, second := GreaterOrEqual(x.lower, y.upper), LessOrEqual(x.upper, y.lower)
		j.least = Where(first, xl, Where(second, yl, Min(xl, yl)))
		j.most = Where(first, xm, Where(second, ym, Max(xm, ym)))
	}
	if !s.p.Arithmetic.Real {
		j.Err = AddScalar(largerError(x, y), 2*Tiny)
	}
	if len(n.Inputs()) == 2 && same(n, 0, 1) {
		j = j.is(x)
	}
	return s.sharpened(j)
}

func largerError(x, y Jet) *Node {
	switch {
	case x.Err == nil && y.Err == nil:
		return ZerosLike(x.mid)
	case x.Err == nil:
		return y.Err
	case y.Err == nil:
		return x.Err
	}
	return Max(x.Err, y.Err)
}

// clampJet is min(max(x, low), high).
func clampJet(s *Pieces, n *Node, in []Jet) Jet {
	return Elementwise[NodeTypeMin](s, n, []Jet{maxJet(s, n, []Jet{in[1], in[0]}), in[2]})
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

package certify

import (
	"math"

	. "github.com/gomlx/gomlx/core/graph"
)

// The functions in the form of an S: sigmoid, tanh, the arc tangent and the error function. They increase, and their slope is largest at 0: so much
// is used of them here. What becomes of it, two lines around any function of one number, is in [univariate]; what is composed of them, such as
// GELU, x·(1 + erf(x/√2))/2, and Swish or SiLU, x·sigmoid(x), in [walk.composites].
var (
	// sigmoidJet is 1/(1 + exp(−t)), which GoMLX calls Logistic.
	sigmoidJet = monotone(Logistic, bell(func(v jetEnds) *Node { return Mul(v.f, OneMinus(v.f)) }, 0.25), scaledError(0.25))
	tanhJet    = monotone(Tanh, bell(func(v jetEnds) *Node { return OneMinus(Square(v.f)) }, 1), scaledError(1))
	// arctanJet is Atan2(t, 1).
	arctanJet = monotone(arctan, bell(func(v jetEnds) *Node { return Inverse(OnePlus(Square(v.t))) }, 1), scaledError(1))
	erfJet    = monotone(Erf, bell(func(v jetEnds) *Node {
		return MulScalar(Exp(Neg(Square(v.t))), 2/math.SqrtPi)
	}, 2/math.SqrtPi), scaledError(2/math.SqrtPi))
)

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

// arctan is the arc tangent, which GoMLX has as Atan2(x, 1) only.
func arctan(x *Node) *Node { return Atan2(x, OnesLike(x)) }

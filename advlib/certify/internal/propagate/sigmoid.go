package propagate

import (
	"math"

	. "github.com/gomlx/gomlx/core/graph"
)

// The functions in the form of an S: sigmoid, tanh, the arc tangent and the error function. They increase, and their
// slope is largest at 0: so much is used of them here. What becomes of it, two lines around any function of one number,
// is in [univariate]; what is composed of them, such as GELU, x·(1 + erf(x/√2))/2, and Swish or SiLU, x·sigmoid(x), in
// [Walk.composites].
var (
	// sigmoidJet is 1/(1 + exp(−t)), which GoMLX calls Logistic.
	sigmoidJet = Monotone(Logistic, bell(func(v JetEnds) *Node { return Mul(v.f, OneMinus(v.f)) }, 0.25), ScaledError(0.25))
	tanhJet    = Monotone(Tanh, bell(func(v JetEnds) *Node { return OneMinus(Square(v.f)) }, 1), ScaledError(1))
	// arctanJet is Atan2(t, 1).
	arctanJet = Monotone(Arctan, bell(func(v JetEnds) *Node { return Inverse(OnePlus(Square(v.T))) }, 1), ScaledError(1))
	erfJet    = Monotone(Erf, bell(func(v JetEnds) *Node {
		return MulScalar(Exp(Neg(Square(v.T))), 2/math.SqrtPi)
	}, 2/math.SqrtPi), ScaledError(2/math.SqrtPi))
)

// JetEnds is an end of a piece's values, with the function's value there.
type JetEnds struct{ T, f *Node }

// bell bounds the slope of a function whose derivative is even and falls with |t|, with the given maximum.
func bell(derivative func(JetEnds) *Node, top float64) func(l, u JetEnds) (least, most *Node) {
	return func(l, u JetEnds) (least, most *Node) {
		a, b := derivative(l), derivative(u)
		zero := ZerosLike(l.T)
		across := LogicalAnd(LessOrEqual(l.T, zero), GreaterOrEqual(u.T, zero))
		return Min(a, b), Where(across, MulScalar(OnesLike(a), top), Max(a, b))
	}
}

func ScaledError(by float64) func(Jet, *Node) *Node {
	return func(_ Jet, e *Node) *Node { return MulScalar(e, by*Own) }
}

// Monotone is the rule of a function that increases. slopes bounds its derivative between two ends, propagate what an
// error of its argument, whose jet is given, causes.
func Monotone(f func(*Node) *Node, slopes func(l, u JetEnds) (least, most *Node), propagate func(arg Jet, e *Node) *Node) JetRule {
	return func(s *Pieces, n *Node, in []Jet) Jet {
		x := in[0]
		j := Jet{mid: f(x.mid), lower: f(x.lower), upper: f(x.upper)}
		// The function itself is computed in float64 here.
		j.lower, j.upper = Sub(j.lower, MulScalar(Abs(j.lower), ownUnit)), Add(j.upper, MulScalar(Abs(j.upper), ownUnit))
		if x.least != nil {
			l, m := slopes(JetEnds{x.lower, f(x.lower)}, JetEnds{x.upper, f(x.upper)})
			l, m = Sub(l, MulScalar(Abs(l), ownUnit)), Add(m, MulScalar(Abs(m), ownUnit))
			j.least, j.most = times(x.least, x.most, l, m)
		}
		j = s.sharpened(j)
		if s.p.Arithmetic.Real {
			return j
		}
		// The argument may be flushed.
		j.Err = propagate(x, plus(x.Err, MulScalar(OnesLike(x.mid), 2*Tiny)))
		return s.fromLibrary(n.Type(), j)
	}
}

// fromLibrary adds the error of the backend's function.
func (s *Pieces) fromLibrary(op NodeType, j Jet) Jet {
	if s.p.Arithmetic.Real {
		return j
	}
	e := s.p.Arithmetic.Library[op]
	m := Max(Abs(j.lower), Abs(j.upper))
	E := AddScalar(Min(MulScalar(m, e.relative), MulScalar(MaxScalar(m, 1), e.absolute)), 8*Tiny)
	j.Err = finite(plus(E, j.Err), plus(m, j.Err))
	return j
}

// Arctan is the arc tangent, which GoMLX has as Atan2(x, 1) only.
func Arctan(x *Node) *Node { return Atan2(x, OnesLike(x)) }

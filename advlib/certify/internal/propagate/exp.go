package propagate

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// Exponentials, logarithms and roots; softplus, ELU, Mish and the hyperbolic functions are composed of them.
var (
	expm1Jet = Monotone(Expm1, func(l, u JetEnds) (least, most *Node) { return OnePlus(l.f), OnePlus(u.f) }, expError)
	log1pJet = Monotone(Log1p, func(l, u JetEnds) (least, most *Node) {
		return reciprocal(OnePlus(u.T)), reciprocal(OnePlus(l.T))
	}, logError(1))
	sqrtJet = Monotone(Sqrt, func(l, u JetEnds) (least, most *Node) {
		return MulScalar(reciprocal(u.f), 0.5), MulScalar(reciprocal(l.f), 0.5)
	}, func(_ Jet, e *Node) *Node { return Sqrt(e) })
)

// expError is exp(t)·(exp(e) − 1), rounded up.
func expError(j Jet, e *Node) *Node {
	return MulScalar(Mul(Exp(j.upper), Sub(Exp(e), OnesLike(e))), 1.001)
}

// expJet also notes what is lost if products of exponentials become exponentials of sums, or the logarithm takes it
// back.
func expJet(s *Pieces, n *Node, in []Jet) Jet {
	j := Monotone(Exp, func(l, u JetEnds) (least, most *Node) { return l.f, u.f }, expError)(s, n, in)
	if !s.p.Arithmetic.Real {
		j.exponent, j.logarithm = in[0].magnitude(), in[0].sum
	}
	return j
}

func logJet(s *Pieces, n *Node, in []Jet) Jet {
	j := Monotone(Log, func(l, u JetEnds) (least, most *Node) { return reciprocal(u.T), reciprocal(l.T) }, logError(0))(s, n, in)
	j.sum = in[0].logarithm
	return j
}

// logError is e/(t + shift − e), infinite if that is not above 0.
func logError(shift float64) func(Jet, *Node) *Node {
	return func(j Jet, e *Node) *Node { return Mul(e, reciprocal(Sub(AddScalar(j.lower, shift), e))) }
}

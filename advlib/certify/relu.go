package certify

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
)

// threshold is max(z, k) and min(z, k) with a constant k. A ReLU is max(z, 0); clipping is one after the other.
type threshold struct{}

func (threshold) affine() bool { return false }

func (threshold) check(w *walk, n *Node) error {
	if err := onlyInput(w, n, 0, 1); err != nil {
		return err
	}
	if z := n.Inputs()[w.perturbedInputs(n)[0]]; !z.Shape().Equal(n.Shape()) {
		return fmt.Errorf("it broadcasts what depends on x from %v to %v: broadcast it before", z.Shape().Dimensions, n.Shape().Dimensions)
	}
	return nil
}

func (threshold) forward(w *walk, n *Node, in []interval) interval { return ends(w, n, in) }

// backward reduces both to σ(t) = max(t, 0): max(z, k) = k + σ(z − k) and min(z, k) = k − σ(k − z).
func (threshold) backward(w *walk, n, Λ *Node, in []interval) (map[int]*Node, *Node) {
	p := w.perturbedInputs(n)[0]
	k := BroadcastToDims(n.Inputs()[1-p], n.Shape().Dimensions...)
	z := in[p]
	if n.Type() == NodeTypeMin {
		// ⟨Λ, k − σ(t)⟩ ≥ ⟨Λ, k⟩ + ⟨s, t⟩ + b with t = k − z, and s, b from −Λ.
		s, b := relaxReLU(Neg(Λ), Sub(k, z.upper), Sub(k, z.lower))
		return map[int]*Node{p: Neg(s)}, Add(b, Mul(Add(Λ, s), k))
	}
	s, b := relaxReLU(Λ, Sub(z.lower, k), Sub(z.upper, k))
	return map[int]*Node{p: s}, Add(b, Mul(Sub(Λ, s), k))
}

// relaxReLU returns slopes s and intercepts b with ⟨Λ, σ(t)⟩ ≥ ⟨s, t⟩ + ⟨1, b⟩ for all l ≤ t ≤ u, where σ(t) = max(t, 0)
// (Zhang et al. 2018, table 2):
//
//	l ≥ 0:      σ(t) = t
//	u ≤ 0:      σ(t) = 0
//	l < 0 < u:  a_L·t ≤ σ(t) ≤ a_U·t + b_U,  a_U = u/(u−l), b_U = −l·a_U, a_L = 1 if u > −l, else 0
func relaxReLU(Λ, l, u *Node) (s, b *Node) {
	zero, one := ZerosLike(l), OnesLike(l)
	unstable := LogicalAnd(LessThan(l, zero), GreaterThan(u, zero))
	stable := Where(GreaterOrEqual(l, zero), one, zero)
	// Halves, because u − l may overflow; and b_U not from a_U, which XLA flushes to 0 when it is denormal. An infinite l or
	// u makes b_U NaN, and so nothing is certified.
	l2, u2 := MulScalar(l, 0.5), MulScalar(u, 0.5)
	width := Where(unstable, Sub(u2, l2), one)
	aU := Where(unstable, Div(u2, width), stable)
	bU := Where(unstable, Mul(u, Div(Neg(l2), width)), zero)
	aL := Where(unstable, Where(GreaterThan(u, Neg(l)), one, zero), stable)
	s = Add(Mul(positive(Λ), aL), Mul(negative(Λ), aU))
	b = Mul(negative(Λ), bU)
	return s, b
}

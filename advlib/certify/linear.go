package certify

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// sum is Add, Sub and Neg, of perturbed tensors and constants in any combination.
type sum struct{}

func (sum) affine() bool             { return true }
func (sum) check(*walk, *Node) error { return nil }
func (sum) sign(n *Node, k int) (s int) {
	if n.Type() == NodeTypeNeg || n.Type() == NodeTypeSub && k == 1 {
		return -1
	}
	return 1
}

func (r sum) forward(w *walk, n *Node, in []interval) interval {
	lower, upper := map[int]*Node{}, map[int]*Node{}
	perturbed := w.perturbedInputs(n)
	for _, k := range perturbed {
		lower[k], upper[k] = in[k].lower, in[k].upper
		if r.sign(n, k) < 0 {
			lower[k], upper[k] = upper[k], lower[k]
		}
	}
	v := interval{lower: with(n, lower), upper: with(n, upper)}
	k := perturbed[0]
	if s := in[k].spread; s != nil && len(perturbed) == 1 && n.Inputs()[k].Shape().Equal(n.Shape()) {
		v.spread = &spread{centre: with(n, map[int]*Node{k: s.centre}), up: s.up, down: s.down}
		if r.sign(n, k) < 0 {
			v.spread.up, v.spread.down = s.down, s.up
		}
	}
	return v
}

func (sum) backward(w *walk, n, Λ *Node, _ []interval) (map[int]*Node, *Node) {
	return adjoint(w, n, Λ), offset(w, n, Λ)
}

// product is an operation that is linear in its one perturbed input h, the other being a constant W: Mul, Div by a
// constant, DotGeneral and ConvGeneral.
type product struct {
	// sums is true if the operation adds up products of several coordinates.
	sums bool
}

func (product) affine() bool { return true }

func (product) check(w *walk, n *Node) error {
	if n.Type() == NodeTypeDiv || n.Type() == NodeTypeConvGeneral {
		return onlyInput(w, n, 0)
	}
	return onlyInput(w, n, 0, 1)
}

// forward is μ' = Wμ, r' = |W|r (Gowal et al. 2018, equation 6).
func (p product) forward(w *walk, n *Node, in []interval) interval {
	k := w.perturbedInputs(n)[0]
	W := n.Inputs()[1-k]
	apply := func(h, W *Node) *Node { return with(n, map[int]*Node{k: h, 1 - k: W}) }
	c, r := in[k].centred()
	μ, radius := apply(c, W), apply(r, Abs(W))
	v := interval{lower: Sub(μ, radius), upper: Add(μ, radius)}
	s := in[k].spread
	if s == nil {
		return v
	}
	if !p.sums {
		if !n.Inputs()[k].Shape().Equal(n.Shape()) {
			return v
		}
		// Wh = Wc + (Ws)⊙δ, which falls where W < 0 and s⊙δ rises.
		square := func(u *Node) *Node { return apply(apply(u, W), W) }
		flips := LessThan(W, ZerosLike(W))
		if !flips.Shape().EqualDimensions(n.Shape()) {
			flips = BroadcastToDims(flips, n.Shape().Dimensions...)
		}
		v.spread = &spread{centre: apply(s.centre, W), up: square(Where(flips, s.down, s.up)), down: square(Where(flips, s.up, s.down))}
		return v
	}
	// max ⟨W_j, s⊙δ⟩ over ‖δ‖₂ ≤ ε is ε‖W_j⊙s‖₂ (Cauchy-Schwarz). Coordinates that cannot move in the direction of the
	// sign of W_j contribute nothing to the maximum.
	rises, falls := Square(positive(W)), Square(negative(W))
	up := Sqrt(Add(apply(s.up, rises), apply(s.down, falls)))
	down := Sqrt(Add(apply(s.down, rises), apply(s.up, falls)))
	μ = apply(s.centre, W)
	return v.widened().intersect(interval{lower: Sub(μ, down), upper: Add(μ, up)}.widened())
}

func (product) backward(w *walk, n, Λ *Node, _ []interval) (map[int]*Node, *Node) {
	return adjoint(w, n, Λ), nil
}

// reduction is ReduceSum; with a Mul or Div by a constant behind it, the mean.
type reduction struct{}

func (reduction) affine() bool             { return true }
func (reduction) check(*walk, *Node) error { return nil }

func (reduction) forward(w *walk, n *Node, in []interval) interval {
	v := ends(w, n, in)
	if s := in[0].spread; s != nil { // as for a product with a W of ones
		apply := func(h *Node) *Node { return with(n, map[int]*Node{0: h}) }
		μ := apply(s.centre)
		v = v.widened().intersect(interval{lower: Sub(μ, Sqrt(apply(s.down))), upper: Add(μ, Sqrt(apply(s.up)))}.widened())
	}
	return v
}

func (reduction) backward(w *walk, n, Λ *Node, _ []interval) (map[int]*Node, *Node) {
	return adjoint(w, n, Λ), nil
}

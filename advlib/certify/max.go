package certify

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
)

// larger2 is Max and Min of two tensors that both depend on x: max(a, b) = b + σ(a − b) and min(a, b) = a − σ(a − b).
type larger2 struct{ pointwise }

func (larger2) affine() bool { return false }

func (larger2) check(_ *walk, u *unit) error {
	for _, in := range u.inputs {
		if !in.Shape().Equal(u.n.Shape()) {
			return fmt.Errorf("it broadcasts what depends on x from %v to %v: broadcast it before", in.Shape().Dimensions, u.n.Shape().Dimensions)
		}
	}
	return nil
}

func (larger2) forward(_ *pass, u *unit, in []interval) interval { return ends(u, in) }

func (larger2) rounding(_ *pass, _ *unit, in []interval, _ interval) *Node {
	return AddScalar(MulScalar(Add(in[0].magnitude(), in[1].magnitude()), ownUnit), 2*tiny)
}

func (larger2) relax(p *pass, _ *unit, in []interval) (lines []*Node, open *Node) {
	return reluLines(Sub(in[0].lower, in[1].upper), Sub(in[0].upper, in[1].lower), p.line)[:3], nil
}

func (larger2) backward(_ *walk, u *unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	if u.n.Type() == NodeTypeMin {
		s, b := reluBackward(Neg(Λ), lines)
		return map[int]*Node{0: Add(Λ, s), 1: Neg(s)}, b
	}
	s, b := reluBackward(Λ, lines)
	return map[int]*Node{0: s, 1: Sub(Λ, s)}, b
}

func (r larger2) follow(u *unit, Λ *Node, h, lines []*Node) *Node {
	Λσ, t := r.bend(u, Λ, h)
	if u.n.Type() == NodeTypeMin {
		return Sub(h[0], reluFollow(Λσ, t, lines))
	}
	return Add(h[1], reluFollow(Λσ, t, lines))
}

func (larger2) bend(u *unit, Λ *Node, h []*Node) (Λσ, t *Node) {
	if u.n.Type() == NodeTypeMin {
		Λ = Neg(Λ)
	}
	return Λ, Sub(h[0], h[1])
}

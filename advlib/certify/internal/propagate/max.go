package propagate

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
)

// larger2 is Max and Min of two tensors that both depend on x: max(a, b) = b + σ(a − b) and min(a, b) = a − σ(a − b).
type larger2 struct{ pointwise }

func (larger2) Affine() bool { return false }

func (larger2) Check(_ *Walk, u *Unit) error {
	for _, in := range u.Inputs {
		if !in.Shape().Equal(u.Node.Shape()) {
			return fmt.Errorf("it broadcasts what depends on x from %v to %v: broadcast it before", in.Shape().Dimensions, u.Node.Shape().Dimensions)
		}
	}
	return nil
}

func (larger2) Forward(_ *Pass, u *Unit, in []Interval) Interval { return Ends(u, in) }

func (larger2) Rounding(_ *Pass, _ *Unit, in []Interval, _ Interval) *Node {
	return AddScalar(MulScalar(Add(in[0].magnitude(), in[1].magnitude()), ownUnit), 2*Tiny)
}

func (larger2) Relax(p *Pass, _ *Unit, in []Interval) (lines []*Node, open *Node) {
	return reluLines(Sub(in[0].Lower, in[1].Upper), Sub(in[0].Upper, in[1].Lower), p.Line)[:3], nil
}

func (larger2) Backward(_ *Walk, u *Unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	if u.Node.Type() == NodeTypeMin {
		s, b := reluBackward(Neg(Λ), lines)
		return map[int]*Node{0: Add(Λ, s), 1: Neg(s)}, b
	}
	s, b := reluBackward(Λ, lines)
	return map[int]*Node{0: s, 1: Sub(Λ, s)}, b
}

func (r larger2) Follow(u *Unit, Λ *Node, h, lines []*Node) *Node {
	Λσ, t := r.Bend(u, Λ, h)
	if u.Node.Type() == NodeTypeMin {
		return Sub(h[0], reluFollow(Λσ, t, lines))
	}
	return Add(h[1], reluFollow(Λσ, t, lines))
}

func (larger2) Bend(u *Unit, Λ *Node, h []*Node) (Λσ, t *Node) {
	if u.Node.Type() == NodeTypeMin {
		Λ = Neg(Λ)
	}
	return Λ, Sub(h[0], h[1])
}

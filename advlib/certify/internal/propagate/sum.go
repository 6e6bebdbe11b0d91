package propagate

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// sum is Add, Sub and Neg, of perturbed tensors and constants in any combination.
type sum struct {
	linear
	pointwise
}

func (sum) sign(n *Node, k int) (s int) {
	if n.Type() == NodeTypeNeg || n.Type() == NodeTypeSub && k == 1 {
		return -1
	}
	return 1
}

func (r sum) Forward(_ *Pass, u *Unit, in []Interval) Interval {
	n := u.Node
	lower, upper := map[int]*Node{}, map[int]*Node{}
	for _, k := range u.perturbed {
		lower[k], upper[k] = in[k].Lower, in[k].Upper
		if r.sign(n, k) < 0 {
			lower[k], upper[k] = upper[k], lower[k]
		}
	}
	v := Interval{Lower: With(n, lower), Upper: With(n, upper)}
	k := u.perturbed[0]
	if s := in[k].Spread; s != nil && len(u.perturbed) == 1 && u.Inputs[k].Shape().Equal(n.Shape()) {
		v.Spread = &spread{Centre: With(n, map[int]*Node{k: s.Centre}), Up: s.Up, down: s.down, slack: s.slack}
		if r.sign(n, k) < 0 {
			v.Spread.Up, v.Spread.down = s.down, s.Up
		}
	}
	return v
}

// Rounding is u·|a ± b|, and what flushing takes from both operands and the result; more if a or b is a sum itself.
func (sum) Rounding(p *Pass, u *Unit, in []Interval, out Interval) (E *Node) {
	if u.Node.Type() == NodeTypeNeg {
		if s, ok := p.sums[u.Inputs[0].Id()]; ok {
			p.sums[u.Node.Id()] = s
		}
	} else {
		E = p.sumRounding(u, in, out)
	}
	for _, v := range in {
		if v.err != nil {
			E = plus(E, BroadcastToDims(v.err, u.Node.Shape().Dimensions...))
		}
	}
	return E
}

func (sum) Backward(_ *Walk, u *Unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	return adjoint(u, Λ), offset(u, Λ)
}

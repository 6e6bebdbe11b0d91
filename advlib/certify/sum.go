package certify

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

func (r sum) forward(_ *pass, u *unit, in []interval) interval {
	n := u.n
	lower, upper := map[int]*Node{}, map[int]*Node{}
	for _, k := range u.perturbed {
		lower[k], upper[k] = in[k].lower, in[k].upper
		if r.sign(n, k) < 0 {
			lower[k], upper[k] = upper[k], lower[k]
		}
	}
	v := interval{lower: with(n, lower), upper: with(n, upper)}
	k := u.perturbed[0]
	if s := in[k].spread; s != nil && len(u.perturbed) == 1 && u.inputs[k].Shape().Equal(n.Shape()) {
		v.spread = &spread{centre: with(n, map[int]*Node{k: s.centre}), up: s.up, down: s.down, slack: s.slack}
		if r.sign(n, k) < 0 {
			v.spread.up, v.spread.down = s.down, s.up
		}
	}
	return v
}

// rounding is u·|a ± b|, and what flushing takes from both operands and the result; more if a or b is a sum itself.
func (sum) rounding(p *pass, u *unit, in []interval, out interval) (E *Node) {
	if u.n.Type() == NodeTypeNeg {
		if s, ok := p.sums[u.inputs[0].Id()]; ok {
			p.sums[u.n.Id()] = s
		}
	} else {
		E = p.sumRounding(u, in, out)
	}
	for _, v := range in {
		if v.err != nil {
			E = plus(E, BroadcastToDims(v.err, u.n.Shape().Dimensions...))
		}
	}
	return E
}

func (sum) backward(_ *walk, u *unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	return adjoint(u, Λ), offset(u, Λ)
}

package propagate

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
)

// Pass computes intervals and lines forward, in one graph, for a batch of examples.
type Pass struct {
	Walk       *Walk
	Arithmetic Arithmetic
	// Line says which line is below a ReLU: a scalar such as [AdaptiveLine].
	Line *Node
	// Known are bounds of nodes from elsewhere, which the pass takes in place of its own, or both where intersect, a
	// scalar, is 1. An infinite end is not known.
	Known     map[NodeId]Interval
	Intersect *Node

	All    map[NodeId]Interval
	errors map[NodeId]*Node // of constants, nil for 0
	// sums and runs are what nodes are the results of, for errors of other orders of operations.
	// logarithms are what logarithms of exponentials are the sums of.
	sums, logarithms map[NodeId]summed
	runs             map[NodeId]productRun
	// exponents are those of exponentials of which nodes are products.
	exponents map[NodeId]func() *Node
	// uses is how many inputs of units a node is.
	uses map[NodeId]int
	// evaluated are functions of one tensor.
	evaluated map[*Unit]evaluated
	// rounding is E of each unit's result, in the order of w.Units; nil for 0.
	rounding []*Node
}

// Run propagates the region's interval forward to the results of all units.
func (p *Pass) Run(r Region, ball bool) {
	p.Begin(r.interval(ball))
	for _, u := range p.Walk.Units {
		p.step(u)
	}
}

// Begin starts with the interval of x.
func (p *Pass) Begin(x Interval) {
	p.All = map[NodeId]Interval{p.Walk.x.Id(): x}
	p.errors, p.sums, p.runs, p.exponents = map[NodeId]*Node{}, map[NodeId]summed{}, map[NodeId]productRun{}, map[NodeId]func() *Node{}
	p.evaluated = map[*Unit]evaluated{}
	p.uses, p.logarithms = map[NodeId]int{}, map[NodeId]summed{}
	for _, u := range p.Walk.Units {
		for _, k := range u.perturbed {
			p.uses[u.Inputs[k].Id()]++
		}
	}
}

// step finds the interval and the rounding of a unit, given those of its inputs.
func (p *Pass) step(u *Unit) {
	in := p.inputs(u)
	v := u.Rule.Forward(p, u, in).widened()
	var E *Node
	if !p.Arithmetic.Real {
		E = plus(u.Rule.Rounding(p, u, in, v), p.productRounding(u, in))
		if E = plus(E, p.ownRounding(u, in, v)); E != nil {
			E = finite(BroadcastToDims(E, u.Node.Shape().Dimensions...), v.magnitude())
			v = v.by(E).widened()
		}
	}
	p.rounding = append(p.rounding, E)
	if k, ok := p.Known[u.Node.Id()]; ok {
		one := Scalar(p.Intersect.Graph(), p.Intersect.DType(), 1)
		both := BroadcastToDims(Equal(p.Intersect, one), v.Lower.Shape().Dimensions...)
		v.Lower = Where(IsFinite(k.Lower), Where(both, Max(v.Lower, k.Lower), k.Lower), v.Lower)
		v.Upper = Where(IsFinite(k.Upper), Where(both, Min(v.Upper, k.Upper), k.Upper), v.Upper)
	}
	p.All[u.Node.Id()] = v
}

// inputs returns the intervals of the inputs of u.
func (p *Pass) inputs(u *Unit) []Interval {
	in := make([]Interval, len(u.Inputs))
	for k, h := range u.Inputs {
		if v, ok := p.All[h.Id()]; ok {
			in[k] = v
		} else if p.Walk.perturbed(h) {
			panic(fmt.Errorf("the interval of %s, input %d of %s, is not there yet: this is a mistake in the order of units", h.Type(), k,
				u.Node.Type()))
		} else {
			in[k] = p.constant(h)
		}
	}
	return in
}

// constant returns the interval of a node that does not depend on x.
func (p *Pass) constant(n *Node) Interval {
	return Interval{Lower: n, Upper: n, constant: true, err: p.ConstantError(n)}
}

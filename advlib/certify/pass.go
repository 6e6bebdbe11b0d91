package certify

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
)

// pass computes intervals and lines forward, in one graph, for a batch of examples.
type pass struct {
	w *walk
	a arithmetic
	// line says which line is below a ReLU: a scalar such as [adaptiveLine].
	line *Node
	// known are bounds of nodes from elsewhere, which the pass takes in place of its own, or both where intersect, a scalar, is 1.
	// An infinite end is not known.
	known     map[NodeId]interval
	intersect *Node

	all    map[NodeId]interval
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
	evaluated map[*unit]evaluated
	// rounding is E of each unit's result, in the order of w.units; nil for 0.
	rounding []*Node
}

// run propagates the region's interval forward to the results of all units.
func (p *pass) run(r region, ball bool) {
	p.begin(r.interval(ball))
	for _, u := range p.w.units {
		p.step(u)
	}
}

// begin starts with the interval of x.
func (p *pass) begin(x interval) {
	p.all = map[NodeId]interval{p.w.x.Id(): x}
	p.errors, p.sums, p.runs, p.exponents = map[NodeId]*Node{}, map[NodeId]summed{}, map[NodeId]productRun{}, map[NodeId]func() *Node{}
	p.evaluated = map[*unit]evaluated{}
	p.uses, p.logarithms = map[NodeId]int{}, map[NodeId]summed{}
	for _, u := range p.w.units {
		for _, k := range u.perturbed {
			p.uses[u.inputs[k].Id()]++
		}
	}
}

// step finds the interval and the rounding of a unit, given those of its inputs.
func (p *pass) step(u *unit) {
	in := p.inputs(u)
	v := u.rule.forward(p, u, in).widened()
	var E *Node
	if !p.a.real {
		E = plus(u.rule.rounding(p, u, in, v), p.productRounding(u, in))
		if E = plus(E, p.ownRounding(u, in, v)); E != nil {
			E = finite(BroadcastToDims(E, u.n.Shape().Dimensions...), v.magnitude())
			v = v.by(E).widened()
		}
	}
	p.rounding = append(p.rounding, E)
	if k, ok := p.known[u.n.Id()]; ok {
		one := Scalar(p.intersect.Graph(), p.intersect.DType(), 1)
		both := BroadcastToDims(Equal(p.intersect, one), v.lower.Shape().Dimensions...)
		v.lower = Where(IsFinite(k.lower), Where(both, Max(v.lower, k.lower), k.lower), v.lower)
		v.upper = Where(IsFinite(k.upper), Where(both, Min(v.upper, k.upper), k.upper), v.upper)
	}
	p.all[u.n.Id()] = v
}

// inputs returns the intervals of the inputs of u.
func (p *pass) inputs(u *unit) []interval {
	in := make([]interval, len(u.inputs))
	for k, h := range u.inputs {
		if v, ok := p.all[h.Id()]; ok {
			in[k] = v
		} else if p.w.perturbed(h) {
			panic(fmt.Errorf("the interval of %s, input %d of %s, is not there yet: this is a mistake in the order of units", h.Type(), k, u.n.Type()))
		} else {
			in[k] = p.constant(h)
		}
	}
	return in
}

// constant returns the interval of a node that does not depend on x.
func (p *pass) constant(n *Node) interval {
	return interval{lower: n, upper: n, constant: true, err: p.constantError(n)}
}

package certify

import (
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
)

// unit is what one rule bounds: a node, or a group of nodes that are bounded better together.
type unit struct {
	// n is the result.
	n *Node
	// inputs are the nodes it is computed from: those of n, or of the whole group. perturbed are the positions of those
	// that depend on x.
	inputs    []*Node
	perturbed []int
	rule      rule
	// inner are the nodes of a group, each after its inputs, n the last; nil for a single node.
	inner []*Node
}

// nodes returns the nodes that the unit stands for.
func (u *unit) nodes() []*Node {
	if u.inner == nil {
		return []*Node{u.n}
	}
	return u.inner
}

// the returns the only input that depends on x.
func (u *unit) the() *Node { return u.inputs[u.perturbed[0]] }

// depends tells whether input k depends on x.
func (u *unit) depends(k int) bool { return slices.Contains(u.perturbed, k) }

// tightened returns the positions of the inputs whose intervals may be tightened by passes of their own: not those of conditions, of which no
// line says more than the interval does.
func (u *unit) tightened() (positions []int) {
	for _, k := range u.perturbed {
		if u.inputs[k].DType().IsFloat() {
			positions = append(positions, k)
		}
	}
	return positions
}

// mutate, if it is not nil, changes units. Tests of the tests plant mistakes with it.
var mutate func(*unit)

// group finds the units: going back from the outputs, each node that is needed is the result of a group, if it ends one,
// or a unit by itself.
func (w *walk) group() {
	w.ends = w.composites()
	for id, u := range w.softmaxes() {
		w.ends[id] = u
	}
	needed := map[NodeId]bool{w.out.Id(): true}
	for i := len(w.nodes) - 1; i > 0; i-- {
		n := w.nodes[i]
		if !needed[n.Id()] {
			continue
		}
		u := &unit{n: n}
		u.rule, u.inputs = w.ruleOf(n)
		if end, ok := w.ends[n.Id()]; ok {
			u = end
		}
		for k, in := range u.inputs {
			if w.perturbed(in) {
				u.perturbed = append(u.perturbed, k)
				needed[in.Id()] = true
			}
		}
		if mutate != nil {
			mutate(u)
		}
		w.units = append(w.units, u)
		w.unitOf[n.Id()] = u
	}
	slices.Reverse(w.units)
}

package propagate

import (
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
)

// Unit is what one rule bounds: a node, or a group of nodes that are bounded better together.
type Unit struct {
	// Node is the result.
	Node *Node
	// Inputs are the nodes it is computed from: those of n, or of the whole group. perturbed are the positions of those
	// that depend on x.
	Inputs    []*Node
	perturbed []int
	Rule      Rule
	// inner are the nodes of a group, each after its inputs, n the last; nil for a single node.
	inner []*Node
}

// Nodes returns the nodes that the unit stands for.
func (u *Unit) Nodes() []*Node {
	if u.inner == nil {
		return []*Node{u.Node}
	}
	return u.inner
}

// Only returns the only input that depends on x.
func (u *Unit) Only() *Node { return u.Inputs[u.perturbed[0]] }

// depends tells whether input k depends on x.
func (u *Unit) depends(k int) bool { return slices.Contains(u.perturbed, k) }

// Tightened returns the positions of the inputs whose intervals may be tightened by passes of their own: not those of
// conditions, of which no line says more than the interval does.
func (u *Unit) Tightened() (positions []int) {
	for _, k := range u.perturbed {
		if u.Inputs[k].DType().IsFloat() {
			positions = append(positions, k)
		}
	}
	return positions
}

// MutateUnit changes units, if it is not nil. Tests of the tests plant mistakes with it.
var MutateUnit func(*Unit)

// group finds the units: going back from the outputs, each node that is needed is the result of a group, if it ends
// one, or a unit by itself.
func (w *Walk) group() {
	w.ends = w.composites()
	for id, u := range w.softmaxes() {
		w.ends[id] = u
	}
	needed := map[NodeId]bool{w.Out.Id(): true}
	for i := len(w.Nodes) - 1; i > 0; i-- {
		n := w.Nodes[i]
		if !needed[n.Id()] {
			continue
		}
		u := &Unit{Node: n}
		u.Rule, u.Inputs = w.ruleOf(n)
		if end, ok := w.ends[n.Id()]; ok {
			u = end
		}
		for k, in := range u.Inputs {
			if w.perturbed(in) {
				u.perturbed = append(u.perturbed, k)
				needed[in.Id()] = true
			}
		}
		if MutateUnit != nil {
			MutateUnit(u)
		}
		w.Units = append(w.Units, u)
		w.unitOf[n.Id()] = u
	}
	slices.Reverse(w.Units)
}

package certify

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// intervals propagates the region's interval forward to every perturbed node of w, in the order of w.nodes.
func intervals(w *walk, r region) []interval {
	all := make([]interval, len(w.nodes))
	all[0] = r.interval()
	for i, n := range w.nodes[1:] {
		all[i+1] = rules[n.Type()].forward(w, n, inputsOf(w, n, all)).widened()
	}
	return all
}

// inputsOf picks the intervals of the inputs of n; those of constants are empty.
func inputsOf(w *walk, n *Node, all []interval) []interval {
	in := make([]interval, len(n.Inputs()))
	for k, h := range n.Inputs() {
		if i, ok := w.index[h.Id()]; ok {
			in[k] = all[i]
		}
	}
	return in
}

// minimumOver returns for each of n rows min ⟨Λ, h⟩ over an interval of h, [n].
func minimumOver(Λ *Node, h interval, n int) *Node {
	return ReduceSum(Reshape(Add(Mul(positive(Λ), h.lower), Mul(negative(Λ), h.upper)), n, -1), 1)
}

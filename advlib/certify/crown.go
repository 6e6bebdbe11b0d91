package certify

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// lowerBound returns lower bounds of ⟨C, f(x')⟩ over the region r, for rows C [n·S, K] of a specification, S for each
// example in a row, as [n·S].
//
// It goes backward from the logits to x with one linear function of each node (Xu et al. 2020, arXiv:2002.12920,
// algorithm 1). With linear false it goes through affine operations only, and takes the minimum over the interval of
// what is before: that is IBP with the last layer merged with the specification (Gowal et al. 2018, section 3).
func (p *pair) lowerBound(r region, C *Node, linear bool) *Node {
	all := intervals(p.once, r)
	w := p.repeated
	rows := w.x.Shape().Dimensions[0]
	bounds := func(i int) interval { return p.repeatInterval(all[i]) }

	total := Zeros(C.Graph(), Reshape(ReduceSum(C, 1), rows).Shape())
	add := func(b *Node) { total = Add(total, ConvertDType(b, total.DType())) }
	Λ := make([]*Node, len(w.nodes))
	Λ[len(Λ)-1] = C
	for i := len(w.nodes) - 1; i > 0; i-- {
		if Λ[i] == nil { // nothing that is before the logits uses it
			continue
		}
		n := w.nodes[i]
		rule := rules[n.Type()]
		if !linear && !rule.affine() {
			add(minimumOver(Λ[i], bounds(i), rows))
			continue
		}
		in := make([]interval, len(n.Inputs()))
		if !rule.affine() {
			for _, k := range w.perturbedInputs(n) {
				in[k] = bounds(w.index[n.Inputs()[k].Id()])
			}
		}
		Λs, b := rule.backward(w, n, Λ[i], in)
		if b != nil {
			add(ReduceSum(Reshape(b, rows, -1), 1))
		}
		for k, part := range Λs {
			// An input that occurs twice has two parts.
			j := w.index[n.Inputs()[k].Id()]
			if Λ[j] == nil {
				Λ[j] = part
			} else {
				Λ[j] = Add(Λ[j], part)
			}
		}
	}
	if Λ[0] != nil {
		add(r.repeat(p.times).minimum(Λ[0]))
	}
	return total
}

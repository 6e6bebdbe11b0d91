package certify

import (
	"slices"

	"advlab/advlib/certify/internal/propagate"
)

// describe notes what is needed of a walk without its graph. All its operations can be bounded.
func (n *Network) describe(w *propagate.Walk) {
	n.numbers, n.units, n.operations, n.winding = 0, nil, nil, false
	for _, v := range w.Nodes {
		n.numbers += v.Shape().Size() / propagate.Probe
		n.operations = append(n.operations, v.Type().String())
	}
	for _, u := range w.Units {
		_, isBent := u.Rule.(propagate.Bent)
		n.units = append(n.units, unitShape{affine: u.Rule.Affine(), bent: isBent})
		n.winding = n.winding || w.Winds(u)
	}
	n.functions = w.LibraryFunctions()
	n.boundaries = boundariesOf(w)
	n.describeRows(w)
}

// boundariesOf finds the boundaries, in order.
func boundariesOf(w *propagate.Walk) (all []boundary) {
	isBoundary := map[int]bool{}
	for _, u := range w.Units {
		if u.Rule.Affine() {
			continue
		}
		for _, k := range u.Tightened() {
			isBoundary[w.Index[u.Inputs[k].Id()]] = true
		}
	}
	sums := w.SumsBefore()
	for i, v := range w.Nodes {
		if i > 0 && isBoundary[i] {
			dims := slices.Clone(v.Shape().Dimensions)
			if len(dims) > 0 {
				dims[0] /= propagate.Probe
			}
			all = append(all, boundary{node: i, dims: dims, exact: sums[v.Id()] <= 1})
		}
	}
	return all
}

// describeRows notes on which way, and in which form, rows go back from the outputs and from boundaries.
func (n *Network) describeRows(w *propagate.Walk) {
	place := map[*propagate.Unit]int{}
	for i, u := range w.Units {
		place[u] = i
	}
	set := func(units []*propagate.Unit) []bool {
		s := make([]bool, len(w.Units))
		for _, u := range units {
			s[place[u]] = true
		}
		return s
	}
	none := func(*propagate.Unit) bool { return false }
	n.reach, n.places = map[int][]bool{outputs: set(w.Ancestors(w.Out, none))}, map[int]*propagate.Places{}
	n.tabled, n.patches = map[int]bool{}, map[int]map[int]propagate.Patch{}
	for _, b := range n.boundaries {
		if r := w.Receptive(w.Nodes[b.node]); r != nil {
			if 2*r.Numbers <= r.Whole { // fewer elements do not save time
				n.places[b.node] = &r.Places
			}
			n.patches[b.node] = map[int]propagate.Patch{}
			for i, u := range w.Units {
				if p, ok := r.Of[u.Node.Id()]; ok {
					n.patches[b.node][i] = p
				}
			}
		}
		n.tabled[b.node] = n.places[b.node] == nil && w.Tabled(w.Nodes[b.node])
		n.reach[b.node] = set(w.Ancestors(w.Nodes[b.node], none))
	}
	n.reachIBP = set(w.Ancestors(w.Out, func(u *propagate.Unit) bool { return !u.Rule.Affine() }))
}

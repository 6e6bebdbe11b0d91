package certify

import (
	"slices"
)

// describe notes what is needed of a walk without its graph. All its operations can be bounded.
func (n *Network) describe(w *walk) {
	n.numbers, n.units, n.operations, n.winding = 0, nil, nil, false
	for _, v := range w.nodes {
		n.numbers += v.Shape().Size() / probe
		n.operations = append(n.operations, v.Type().String())
	}
	for _, u := range w.units {
		_, isBent := u.rule.(bent)
		n.units = append(n.units, unitShape{affine: u.rule.affine(), bent: isBent})
		n.winding = n.winding || w.winds(u)
	}
	n.functions = w.libraryFunctions()
	n.boundaries = boundariesOf(w)
	n.describeRows(w)
}

// boundariesOf finds the boundaries, in order.
func boundariesOf(w *walk) (all []boundary) {
	isBoundary := map[int]bool{}
	for _, u := range w.units {
		if u.rule.affine() {
			continue
		}
		for _, k := range u.tightened() {
			isBoundary[w.index[u.inputs[k].Id()]] = true
		}
	}
	sums := w.sumsBefore()
	for i, v := range w.nodes {
		if i > 0 && isBoundary[i] {
			dims := slices.Clone(v.Shape().Dimensions)
			if len(dims) > 0 {
				dims[0] /= probe
			}
			all = append(all, boundary{node: i, dims: dims, exact: sums[v.Id()] <= 1})
		}
	}
	return all
}

// describeRows notes on which way, and in which form, rows go back from the outputs and from boundaries.
func (n *Network) describeRows(w *walk) {
	place := map[*unit]int{}
	for i, u := range w.units {
		place[u] = i
	}
	set := func(units []*unit) []bool {
		s := make([]bool, len(w.units))
		for _, u := range units {
			s[place[u]] = true
		}
		return s
	}
	none := func(*unit) bool { return false }
	n.reach, n.places = map[int][]bool{outputs: set(w.ancestors(w.out, none))}, map[int]*places{}
	n.tabled, n.patches = map[int]bool{}, map[int]map[int]patch{}
	for _, b := range n.boundaries {
		if r := w.receptive(w.nodes[b.node]); r != nil {
			if 2*r.numbers <= r.whole { // fewer elements do not save time
				n.places[b.node] = &r.places
			}
			n.patches[b.node] = map[int]patch{}
			for i, u := range w.units {
				if p, ok := r.of[u.n.Id()]; ok {
					n.patches[b.node][i] = p
				}
			}
		}
		n.tabled[b.node] = n.places[b.node] == nil && w.tabled(w.nodes[b.node])
		n.reach[b.node] = set(w.ancestors(w.nodes[b.node], none))
	}
	n.reachIBP = set(w.ancestors(w.out, func(u *unit) bool { return !u.rule.affine() }))
}

package certify

import (
	"fmt"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// mutateRegion, if it is not nil, changes regions. Tests of the tests plant mistakes with it.
var mutateRegion func(region) region

// regionOf takes the region's nodes off the front of a graph's inputs.
func regionOf(in []*Node) (r region, rest []*Node) {
	r = region{lower: in[0], upper: in[1], centre: in[2], radius: in[3], norm: in[4]}
	if mutateRegion != nil {
		r = mutateRegion(r)
	}
	return r, in[5:]
}

// forward computes intervals and lines of all units, with what is known of boundaries. What is not in known yet is put there, as unknown.
func (r *run) forward(known map[int]*span) error {
	n, m := r.n, r.m
	a, err := n.arithmetic(m.rounding)
	if err != nil {
		return err
	}
	ball := r.regions.Norm != nil
	p := n.program(forwardKey{m.kind == ibp, m.rounding, ball}, func(prog *program, in []*Node) []*Node {
		pass := n.pass(a, m.kind == ibp, ball, in)
		l, out := pass.results(m.kind == ibp)
		prog.layout.Store(l)
		return out
	})
	in := r.forwardTensors(known)
	out, err := n.call(p, slices.Concat(r.region, in))
	advlib.Free(in...)
	if err != nil {
		return fmt.Errorf("bounding %d regions: %w", r.regions.Len(), err)
	}
	advlib.Free(r.found...)
	l := p.layout.Load()
	r.layout, r.found, r.open = l, out[:l.count], map[int][]float64{}
	for _, o := range l.open {
		r.open[o.node] = tensors.MustCopyFlatData[float64](out[o.number])
	}
	advlib.Free(out[l.count:]...)
	return nil
}

// forwardTensors are the inputs of the pass behind the regions: which line is below ReLUs, whether to intersect, and the boundaries.
func (r *run) forwardTensors(known map[int]*span) []*tensors.Tensor {
	intersect := int32(0)
	if r.m.intersect {
		intersect = 1
	}
	in := []*tensors.Tensor{tensors.FromScalar(int32(r.m.line)), tensors.FromScalar(intersect)}
	if r.m.kind == ibp {
		return in
	}
	for _, b := range r.n.boundaries {
		k := known[b.node]
		if k == nil {
			k = unknown(b, r.size)
			known[b.node] = k
		}
		dims := leading(b.dims, r.size)
		in = append(in, tensors.FromFlatDataAndDimensions(k.lower, dims...), tensors.FromFlatDataAndDimensions(k.upper, dims...))
	}
	return in
}

// pass builds the pass forward on a graph's inputs.
func (n *Network) pass(a arithmetic, ibp, ball bool, in []*Node) *pass {
	region, in := regionOf(in)
	w := n.model.Walk(region.lower)
	p := &pass{w: w, a: a, line: in[0], known: map[NodeId]interval{}, intersect: in[1]}
	in = in[2:]
	if !ibp {
		for _, b := range n.boundaries {
			p.known[w.nodes[b.node].Id()] = interval{lower: in[0], upper: in[1]}
			in = in[2:]
		}
	}
	p.run(region, ball)
	return p
}

// leading returns dims with as many examples.
func leading(dims []int, size int) []int {
	dims = slices.Clone(dims)
	dims[0] *= size
	return dims
}

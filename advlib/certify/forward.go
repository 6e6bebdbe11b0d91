package certify

import (
	"fmt"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/certify/internal/propagate"
)

// mutateRegion, if it is not nil, changes regions. Tests of the tests plant mistakes with it.
var mutateRegion func(propagate.Region) propagate.Region

// regionOf takes the region's nodes off the front of a graph's inputs.
func regionOf(in []*Node) (r propagate.Region, rest []*Node) {
	r = propagate.Region{Lower: in[0], Upper: in[1], Centre: in[2], Radius: in[3], Norm: in[4]}
	if mutateRegion != nil {
		r = mutateRegion(r)
	}
	return r, in[5:]
}

// forward computes intervals and lines of all units, with what is known of boundaries. What is not in known yet is put
// there, as unknown.
func (r *run) forward(known map[int]*span) error {
	n, m := r.n, r.m
	a, err := n.arithmetic(m.rounding)
	if err != nil {
		return err
	}
	ball := r.regions.Norm != nil
	p := n.program(forwardKey{m.kind == ibp, m.rounding, ball}, func(prog *program, in []*Node) []*Node {
		pass := n.pass(a, m.kind == ibp, ball, in)
		l, out := pass.Results(m.kind == ibp)
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
	r.layout, r.found, r.open = l, out[:l.Count], map[int][]float64{}
	for _, o := range l.Open {
		r.open[o.Node] = tensors.MustCopyFlatData[float64](out[o.Number])
	}
	advlib.Free(out[l.Count:]...)
	return nil
}

// forwardTensors are the inputs of the pass behind the regions: which line is below ReLUs, whether to intersect, and
// the boundaries.
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
func (n *Network) pass(a propagate.Arithmetic, ibp, ball bool, in []*Node) *propagate.Pass {
	region, in := regionOf(in)
	w := n.model.Walk(region.Lower)
	p := &propagate.Pass{Walk: w, Arithmetic: a, Line: in[0], Known: map[NodeId]propagate.Interval{}, Intersect: in[1]}
	in = in[2:]
	if !ibp {
		for _, b := range n.boundaries {
			p.Known[w.Nodes[b.node].Id()] = propagate.Interval{Lower: in[0], Upper: in[1]}
			in = in[2:]
		}
	}
	p.Run(region, ball)
	return p
}

// leading returns dims with as many examples.
func leading(dims []int, size int) []int {
	dims = slices.Clone(dims)
	dims[0] *= size
	return dims
}

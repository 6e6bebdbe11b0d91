package certify

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// layout says what the results of a pass forward are, by their numbers.
type layout struct {
	units []unitResults // by places in walk.units
	open  []openResult  // the last results, which the host wants
	count int           // how many come before those
}

// unitResults are the numbers of what was found of a unit. A unit may have no error, and has lines or, for IBP, the ends of its interval, unless
// it is affine.
type unitResults struct {
	error, ends, lines []int
}

// all returns the numbers in the order in which graphs take the results as inputs.
func (u unitResults) all() []int { return slices.Concat(u.error, u.ends, u.lines) }

// openResult is where a boundary is worth tightening: 1 for such coordinates, else 0.
type openResult struct{ node, number int }

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
	w := n.walk(region.lower)
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

// results lists what rows need of a pass on their way back, and where boundaries are open.
func (p *pass) results(ibp bool) (l *layout, out []*Node) {
	l = &layout{}
	add := func(n *Node) []int {
		out = append(out, ConvertDType(n, dtypes.Float64))
		return []int{len(out) - 1}
	}
	open := map[int]*Node{}
	for i, u := range p.w.units {
		var found unitResults
		if E := p.rounding[i]; E != nil {
			found.error = add(E)
		}
		switch {
		case u.rule.affine():
		case ibp:
			v := p.all[u.n.Id()]
			found.ends = append(add(v.lower), add(v.upper)...)
		default:
			lines, some := u.rule.relax(p, u, p.inputs(u))
			for _, line := range lines {
				found.lines = append(found.lines, add(line)...)
			}
			p.opened(u, some, open)
		}
		l.units = append(l.units, found)
	}
	if len(out) == 0 { // GoMLX refuses a graph without results
		v := p.all[p.w.x.Id()]
		add(Add(v.lower, v.upper))
	}
	l.count = len(out)
	for j := range p.w.nodes {
		if open[j] != nil && j > 0 {
			l.open = append(l.open, openResult{j, add(open[j])[0]})
		}
	}
	return l, out
}

// opened notes of the inputs of u, by their places in walk.nodes, where tighter intervals would give tighter lines: where some says so, or
// wherever they are no points.
func (p *pass) opened(u *unit, some *Node, open map[int]*Node) {
	for _, k := range u.tightened() {
		j := p.w.index[u.inputs[k].Id()]
		worth := some
		if worth == nil {
			v := p.all[u.inputs[k].Id()]
			worth = Where(LessThan(v.lower, v.upper), OnesLike(v.lower), ZerosLike(v.lower))
		}
		if open[j] != nil {
			worth = Max(worth, open[j])
		}
		open[j] = worth
	}
}

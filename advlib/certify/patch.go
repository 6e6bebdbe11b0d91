package certify

import (
	"slices"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// CROWN bounds each neuron of an intermediate layer by rows of their own. Behind convolutions the row of a neuron depends on
// the few elements around it that it sees, its receptive field, and Λ of everything else is 0. So such rows carry the part
// of Λ that may be otherwise, a patch: of one size for all rows, and in each where its neuron is. (auto_LiRPA has such
// a mode for convolutions; Xu et al. 2021, arXiv:2011.13824.) Lines, roundings and the region are cut to the patch; elements
// of it that lie outside of the image are padding, and their Λ is set to 0.

// extent is the part of an axis that patches have. That of a row whose neuron is at place p starts at stride·p + first.
type extent struct{ stride, first, size int }

// whole is all of an axis of n, counted without the first.
func whole(n *Node, i int) extent { return extent{0, 0, n.Shape().Dimensions[i+1]} }

// patch has an extent for each axis but the first.
type patch []extent

// numbers returns how many elements a patch has.
func (p patch) numbers() int {
	size := 1
	for _, e := range p {
		size *= e.size
	}
	return size
}

// dims is the shape of patches.
func (p patch) dims(rows int) []int {
	dims := []int{rows}
	for _, e := range p {
		dims = append(dims, e.size)
	}
	return dims
}

// union returns the smallest patch that holds both, nil if they do not move together.
func (p patch) union(q patch) patch {
	if q == nil {
		return p
	}
	both := make(patch, len(p))
	for i, e := range p {
		if e.stride != q[i].stride {
			return nil
		}
		first := min(e.first, q[i].first)
		both[i] = extent{e.stride, first, max(e.first+e.size, q[i].first+q[i].size) - first}
	}
	return both
}

// place puts values of a patch into a larger one, among zeros.
func (p patch) place(v *Node, q patch) *Node {
	pads, same := make([]PadAxis, len(p)+1), true
	for i, e := range p {
		start := e.first - q[i].first
		pads[i+1] = PadAxis{Start: start, End: q[i].size - start - e.size}
		same = same && q[i].size == e.size
	}
	if same {
		return v
	}
	return Pad(v, ScalarZero(v.Graph(), v.DType()), pads...)
}

// within takes a patch out of a larger one.
func (p patch) within(v *Node, q patch) *Node {
	ranges := []SliceAxisSpec{AxisRange()}
	for i, e := range p {
		first := e.first - q[i].first
		ranges = append(ranges, AxisRange(first, first+e.size))
	}
	return Slice(v, ranges...)
}

// local is a rule for operations that may be taken back on patches.
type local interface {
	rule
	// reach returns what part of its perturbed input k a patch of u depends on; nil if that is no patch.
	reach(u *unit, k int, p patch) patch
	// windows returns the axes on which coordinates of u depend on a part of an input; none for a rule element by element.
	windows(u *unit) []int
	// backwardPatch is backward with Λ and lines on the patch of u that c cuts, and results on what it reaches. Elements of these
	// outside of the input may have any value, of a rule without windows 0.
	backwardPatch(c *cut, u *unit, Λ *Node, lines []*Node) (map[int]*Node, *Node)
	// followPatch is follow on the patch of u that c cuts, with inputs on what it reaches, 0 outside of them.
	followPatch(c *cut, u *unit, Λ *Node, h, lines []*Node) *Node
}

// places are where the neurons of a node stand: on those of its axes that move.
type places struct {
	dims   []int // of the node, without the first
	moving []bool
	// numbers is how many elements the patches of a row have, of all nodes; whole is how many whole nodes would have.
	numbers, whole int
}

// split takes a coordinate apart: into its place and its number among those of that place.
func (p places) split(at int) (place, number int) {
	placeStep, step := 1, 1
	for i := len(p.dims) - 1; i >= 0; i-- {
		k := at % p.dims[i]
		at /= p.dims[i]
		if p.moving[i] {
			place, placeStep = place+k*placeStep, placeStep*p.dims[i]
		} else {
			number, step = number+k*step, step*p.dims[i]
		}
	}
	return place, number
}

// receptive are the patches on the way back from a node.
type receptive struct {
	places
	of map[NodeId]patch
	// end is where they end: x, or x with its coordinates in other places.
	end *Node
}

// rearranged returns the last node on the way of all units, from the last, that is x with its coordinates in other places: images are
// often made of flat inputs, or of some with their channels on another axis.
func (w *walk) rearranged(units []*unit) *Node {
	end := w.x
	for i := len(units) - 1; i >= 0; i-- {
		u := units[i]
		if !slices.Contains(u.inputs, end) || u.n.Shape().Size() != end.Shape().Size() || u.n.Shape().Dimensions[0] != end.Shape().Dimensions[0] {
			return end
		}
		switch u.n.Type() {
		case NodeTypeReshape, NodeTypeTranspose, NodeTypeReverse, NodeTypeIdentity:
		default:
			return end
		}
		for _, other := range units[:i] {
			if slices.Contains(other.inputs, end) {
				return end
			}
		}
		end = u.n
	}
	return end
}

// rearrange puts the coordinates of v, which is in the shape of x, where they are in end.
func (w *walk) rearrange(end, v *Node) *Node {
	if end == w.x {
		return v
	}
	return with(end, map[int]*Node{0: w.rearrange(end.Inputs()[0], v)})
}

// receptive returns the patches on the way back from a node; nil if there are none.
func (w *walk) receptive(start *Node) *receptive {
	units := w.ancestors(start, func(*unit) bool { return false }) // from the last
	examples := w.x.Shape().Dimensions[0]
	end := w.rearranged(units)
	if start.Rank() != end.Rank() || start.Shape().Dimensions[0] != examples {
		return nil
	}
	for i, u := range units {
		if u.n == end {
			units = units[:i]
			break
		}
	}
	r := &receptive{places{dims: start.Shape().Dimensions[1:], moving: make([]bool, start.Rank()-1)}, map[NodeId]patch{}, end}
	moves := false
	for _, u := range units {
		l, ok := u.rule.(local)
		if !ok || u.n.Rank() != start.Rank() || u.n.Shape().Dimensions[0] != examples {
			return nil
		}
		if !moves {
			for _, axis := range l.windows(u) {
				r.moving[axis-1], moves = true, true
			}
		}
	}
	if !moves {
		return nil
	}
	p := make(patch, start.Rank()-1)
	for i := range r.dims {
		p[i] = whole(start, i)
		if r.moving[i] {
			p[i] = extent{1, 0, 1}
		}
	}
	r.of[start.Id()] = p
	for _, u := range units {
		for _, k := range u.perturbed {
			p, id := u.rule.(local).reach(u, k, r.of[u.n.Id()]), u.inputs[k].Id()
			if p != nil {
				p = p.union(r.of[id])
			}
			if p == nil {
				return nil
			}
			r.of[id] = p
		}
	}
	for _, u := range units {
		r.numbers += r.of[u.n.Id()].numbers()
		r.whole += u.n.Shape().Size() / examples
	}
	r.numbers += r.of[end.Id()].numbers()
	r.whole += end.Shape().Size() / examples
	return r
}

// groups are the rows of a backward pass: each group has as many, of one example and, with patches, one place.
type groups struct {
	examples *Node // [groups]
	rows     int   // of all groups
	all      int   // how many examples there are to choose from
}

func (g groups) count() int { return g.examples.Shape().Dimensions[0] }

// each repeats v [groups, m] for the rows of each group, [rows, m].
func (g groups) each(v *Node) *Node {
	m := v.Shape().Dimensions[1]
	return Reshape(BroadcastToDims(InsertAxes(v, 1), g.count(), g.rows/g.count(), m), g.rows, m)
}

// of returns the examples of the rows of v, whose flat order has the examples as its slowest index.
func (g groups) of(v *Node) *Node {
	dims := slices.Clone(v.Shape().Dimensions)
	dims[0] = dims[0] / g.all * g.rows
	return Reshape(g.each(Gather(Reshape(v, g.all, -1), InsertAxes(g.examples, -1), true)), dims...)
}

// cut takes the patches of rows out of whole tensors.
type cut struct {
	*receptive
	groups groups
	index  []*Node // for each axis but the first, [groups]: the group's place on it, 0 if the axis does not move
}

func (r *receptive) cut(g groups, place *Node) *cut {
	c := &cut{receptive: r, groups: g, index: make([]*Node, len(r.dims))}
	for i := len(r.dims) - 1; i >= 0; i-- {
		c.index[i] = ZerosLike(place)
		if r.moving[i] {
			d := Scalar(place.Graph(), place.DType(), r.dims[i])
			c.index[i] = Mod(place, d)
			place = Div(place, d)
		}
	}
	return c
}

// from returns the first element of the patch on an axis, [groups].
func (c *cut) from(i int, e extent) *Node {
	return AddScalar(MulScalar(c.index[i], float64(e.stride)), float64(e.first))
}

// outside returns how far some patch extends over the ends of an axis of n.
func (c *cut) outside(n *Node, i int, e extent) (before, after int) {
	last := 0
	if c.moving[i] {
		last = e.stride * (c.dims[i] - 1)
	}
	return max(0, -e.first), max(0, last+e.first+e.size-n.Shape().Dimensions[i+1])
}

// take returns the patches of v, which stands for the node n and has its shape, with zeros outside: [rows, patch...].
func (c *cut) take(n, v *Node) *Node { return c.takeWith(n, v, ScalarZero(v.Graph(), v.DType())) }

// takeWith is take with another number outside.
func (c *cut) takeWith(n, v, outside *Node) *Node {
	p := c.of[n.Id()]
	axes, sizes, starts := []int{0}, []int{1}, []*Node{c.groups.examples}
	pads := make([]PadAxis, v.Rank())
	for i, e := range p {
		if e == whole(n, i) {
			continue
		}
		before, after := c.outside(n, i, e)
		pads[i+1] = PadAxis{Start: before, End: after}
		axes, sizes = append(axes, i+1), append(sizes, e.size)
		starts = append(starts, AddScalar(c.from(i, e), float64(before)))
	}
	v = GatherSlices(Pad(v, outside, pads...), axes, Stack(starts, -1), sizes, false)
	return Reshape(c.groups.each(Reshape(v, c.groups.count(), -1)), p.dims(c.groups.rows)...)
}

// inside sets Λ to zero where the patch of n is outside of it.
func (c *cut) inside(n, Λ *Node) *Node {
	p := c.of[n.Id()]
	var in *Node // [groups, patch...]
	for i, e := range p {
		if before, after := c.outside(n, i, e); before+after == 0 {
			continue
		}
		at := Add(InsertAxes(c.from(i, e), -1), Iota(Λ.Graph(), shapes.Make(c.index[i].DType(), 1, e.size), 1))
		ok := LogicalAnd(GreaterOrEqual(at, ZerosLike(at)), LessThan(at, BroadcastLike(Scalar(at.Graph(), at.DType(), n.Shape().Dimensions[i+1]), at)))
		for j := range p {
			if j != i {
				ok = InsertAxes(ok, j+1)
			}
		}
		ok = BroadcastToDims(ok, p.dims(c.groups.count())...)
		if in == nil {
			in = ok
		} else {
			in = LogicalAnd(in, ok)
		}
	}
	if in == nil {
		return Λ
	}
	in = Reshape(c.groups.each(Reshape(in, c.groups.count(), -1)), Λ.Shape().Dimensions...)
	return Where(in, Λ, ZerosLike(Λ))
}

// pointwise is embedded by rules for operations element by element on tensors of one shape.
type pointwise struct{}

func (pointwise) windows(*unit) []int { return nil }

func (pointwise) reach(u *unit, _ int, p patch) patch {
	for _, k := range u.perturbed {
		if !u.inputs[k].Shape().Equal(u.n.Shape()) {
			return nil
		}
	}
	for _, in := range u.inputs {
		if r := in.Rank(); r != 0 && r != u.n.Rank() {
			return nil
		}
	}
	return p
}

// backwardPatch applies the rule to the operation on patches.
func (pointwise) backwardPatch(c *cut, u *unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	h := slices.Clone(u.inputs)
	for _, k := range u.perturbed {
		h[k] = ZerosLike(Λ) // for its shape
	}
	small, _ := c.small(u, h)
	return u.rule.backward(nil, small, Λ, lines)
}

func (pointwise) followPatch(c *cut, u *unit, Λ *Node, h, lines []*Node) *Node {
	small, in := c.small(u, h)
	return u.rule.follow(small, Λ, in, lines)
}

// small returns a unit element by element on patches of its inputs, with those of constants.
func (c *cut) small(u *unit, h []*Node) (*unit, []*Node) {
	small, in := *u, slices.Clone(h)
	for k := range in {
		if !slices.Contains(u.perturbed, k) {
			in[k] = c.constant(u.n, u.inputs[k])
		}
	}
	small.inputs = in
	if u.inner == nil {
		small.n = u.n.CloneWithInputs(in...)
	}
	return &small, in
}

// constant returns the patches of n of a constant that broadcasts to n, as it is if all patches of it are equal. Outside it is 1, by which
// may be divided.
func (c *cut) constant(n, v *Node) *Node {
	for v.Type() == NodeTypeBroadcastInDim && v.Inputs()[0].Shape().Size() == 1 {
		v = Reshape(v.Inputs()[0])
	}
	same := v.Rank() == 0 || v.Shape().Dimensions[0] == 1
	for i, e := range c.of[n.Id()] {
		same = same && (v.Rank() == 0 || v.Shape().Dimensions[i+1] == 1 || e == whole(n, i))
	}
	if same {
		return v
	}
	return c.takeWith(n, BroadcastToDims(v, n.Shape().Dimensions...), ScalarOne(v.Graph(), v.DType()))
}

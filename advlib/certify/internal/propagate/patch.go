package propagate

import (
	"slices"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// CROWN bounds each neuron of an intermediate layer by rows of their own. Behind convolutions the row of a neuron
// depends on the few elements around it that it sees, its receptive field, and Λ of everything else is 0. So such rows
// carry the part of Λ that may be otherwise, a patch: of one size for all rows, and in each where its neuron is.
// (auto_LiRPA has such a mode for convolutions; Xu et al. 2021, arXiv:2011.13824.) Lines, roundings and the region are
// cut to the patch; elements of it that lie outside of the image are padding, and their Λ is set to 0.

// extent is the part of an axis that patches have. That of a row whose neuron is at place p starts at stride·p + first.
type extent struct{ Stride, First, size int }

// whole is all of an axis of n, counted without the first.
func whole(n *Node, i int) extent { return extent{0, 0, n.Shape().Dimensions[i+1]} }

// Patch has an extent for each axis but the first.
type Patch []extent

// Numbers returns how many elements a patch has.
func (p Patch) Numbers() int {
	size := 1
	for _, e := range p {
		size *= e.size
	}
	return size
}

// Dims is the shape of patches.
func (p Patch) Dims(rows int) []int {
	dims := []int{rows}
	for _, e := range p {
		dims = append(dims, e.size)
	}
	return dims
}

// union returns the smallest patch that holds both, nil if they do not move together.
func (p Patch) union(q Patch) Patch {
	if q == nil {
		return p
	}
	both := make(Patch, len(p))
	for i, e := range p {
		if e.Stride != q[i].Stride {
			return nil
		}
		first := min(e.First, q[i].First)
		both[i] = extent{e.Stride, first, max(e.First+e.size, q[i].First+q[i].size) - first}
	}
	return both
}

// place puts values of a patch into a larger one, among zeros.
func (p Patch) place(v *Node, q Patch) *Node {
	pads, same := make([]PadAxis, len(p)+1), true
	for i, e := range p {
		start := e.First - q[i].First
		pads[i+1] = PadAxis{Start: start, End: q[i].size - start - e.size}
		same = same && q[i].size == e.size
	}
	if same {
		return v
	}
	return Pad(v, ScalarZero(v.Graph(), v.DType()), pads...)
}

// within takes a patch out of a larger one.
func (p Patch) within(v *Node, q Patch) *Node {
	ranges := []SliceAxisSpec{AxisRange()}
	for i, e := range p {
		first := e.First - q[i].First
		ranges = append(ranges, AxisRange(first, first+e.size))
	}
	return Slice(v, ranges...)
}

// Local is a rule for operations that may be taken back on patches.
type Local interface {
	Rule
	// Reach returns what part of its perturbed input k a patch of u depends on; nil if that is no patch.
	Reach(u *Unit, k int, p Patch) Patch
	// Windows returns the axes on which coordinates of u depend on a part of an input; none for a rule element by element.
	Windows(u *Unit) []int
	// BackwardPatch is backward with Λ and lines on the patch of u that c cuts, and results on what it reaches. Elements
	// of these outside of the input may have any value, of a rule without windows 0.
	BackwardPatch(c *Cut, u *Unit, Λ *Node, lines []*Node) (map[int]*Node, *Node)
	// FollowPatch is follow on the patch of u that c cuts, with inputs on what it reaches, 0 outside of them.
	FollowPatch(c *Cut, u *Unit, Λ *Node, h, lines []*Node) *Node
}

// Places are where the neurons of a node stand: on those of its axes that move.
type Places struct {
	Dims   []int // of the node, without the first
	moving []bool
	// Numbers is how many elements the patches of a row have, of all nodes; whole is how many whole nodes would have.
	Numbers, Whole int
}

// Split takes a coordinate apart: into its place and its number among those of that place.
func (p Places) Split(at int) (place, number int) {
	placeStep, step := 1, 1
	for i := len(p.Dims) - 1; i >= 0; i-- {
		k := at % p.Dims[i]
		at /= p.Dims[i]
		if p.moving[i] {
			place, placeStep = place+k*placeStep, placeStep*p.Dims[i]
		} else {
			number, step = number+k*step, step*p.Dims[i]
		}
	}
	return place, number
}

// receptive are the patches on the way back from a node.
type receptive struct {
	Places
	Of map[NodeId]Patch
	// End is where they end: x, or x with its coordinates in other places.
	End *Node
}

// rearranged returns the last node on the way of all units, from the last, that is x with its coordinates in other
// places: images are often made of flat inputs, or of some with their channels on another axis.
func (w *Walk) rearranged(units []*Unit) *Node {
	end := w.x
	for i := len(units) - 1; i >= 0; i-- {
		u := units[i]
		if !slices.Contains(u.Inputs, end) || u.Node.Shape().Size() != end.Shape().Size() ||
			u.Node.Shape().Dimensions[0] != end.Shape().Dimensions[0] {
			return end
		}
		switch u.Node.Type() {
		case NodeTypeReshape, NodeTypeTranspose, NodeTypeReverse, NodeTypeIdentity:
		default:
			return end
		}
		for _, other := range units[:i] {
			if slices.Contains(other.Inputs, end) {
				return end
			}
		}
		end = u.Node
	}
	return end
}

// Rearrange puts the coordinates of v, which is in the shape of x, where they are in end.
func (w *Walk) Rearrange(end, v *Node) *Node {
	if end == w.x {
		return v
	}
	return With(end, map[int]*Node{0: w.Rearrange(end.Inputs()[0], v)})
}

// Receptive returns the patches on the way back from a node; nil if there are none.
func (w *Walk) Receptive(start *Node) *receptive {
	units := w.Ancestors(start, func(*Unit) bool { return false }) // from the last
	examples := w.x.Shape().Dimensions[0]
	end := w.rearranged(units)
	if start.Rank() != end.Rank() || start.Shape().Dimensions[0] != examples {
		return nil
	}
	for i, u := range units {
		if u.Node == end {
			units = units[:i]
			break
		}
	}
	r := &receptive{Places{Dims: start.Shape().Dimensions[1:], moving: make([]bool, start.Rank()-1)}, map[NodeId]Patch{}, end}
	moves := false
	for _, u := range units {
		l, ok := u.Rule.(Local)
		if !ok || u.Node.Rank() != start.Rank() || u.Node.Shape().Dimensions[0] != examples {
			return nil
		}
		if !moves {
			for _, axis := range l.Windows(u) {
				r.moving[axis-1], moves = true, true
			}
		}
	}
	if !moves {
		return nil
	}
	p := make(Patch, start.Rank()-1)
	for i := range r.Dims {
		p[i] = whole(start, i)
		if r.moving[i] {
			p[i] = extent{1, 0, 1}
		}
	}
	r.Of[start.Id()] = p
	for _, u := range units {
		for _, k := range u.perturbed {
			p, id := u.Rule.(Local).Reach(u, k, r.Of[u.Node.Id()]), u.Inputs[k].Id()
			if p != nil {
				p = p.union(r.Of[id])
			}
			if p == nil {
				return nil
			}
			r.Of[id] = p
		}
	}
	for _, u := range units {
		r.Numbers += r.Of[u.Node.Id()].Numbers()
		r.Whole += u.Node.Shape().Size() / examples
	}
	r.Numbers += r.Of[end.Id()].Numbers()
	r.Whole += end.Shape().Size() / examples
	return r
}

// Groups are the rows of a backward pass: each group has as many, of one example and, with patches, one place.
type Groups struct {
	Examples *Node // [Groups]
	Rows     int   // of all groups
	All      int   // how many examples there are to choose from
}

func (g Groups) count() int { return g.Examples.Shape().Dimensions[0] }

// each repeats v [groups, m] for the rows of each group, [rows, m].
func (g Groups) each(v *Node) *Node {
	m := v.Shape().Dimensions[1]
	return Reshape(BroadcastToDims(InsertAxes(v, 1), g.count(), g.Rows/g.count(), m), g.Rows, m)
}

// Of returns the examples of the rows of v, whose flat order has the examples as its slowest index.
func (g Groups) Of(v *Node) *Node {
	dims := slices.Clone(v.Shape().Dimensions)
	dims[0] = dims[0] / g.All * g.Rows
	return Reshape(g.each(Gather(Reshape(v, g.All, -1), InsertAxes(g.Examples, -1), true)), dims...)
}

// Cut takes the patches of rows out of whole tensors.
type Cut struct {
	*receptive
	groups Groups
	Index  []*Node // for each axis but the first, [Groups]: the group's place on it, 0 if the axis does not move
}

func (r *receptive) Cut(g Groups, place *Node) *Cut {
	c := &Cut{receptive: r, groups: g, Index: make([]*Node, len(r.Dims))}
	for i := len(r.Dims) - 1; i >= 0; i-- {
		c.Index[i] = ZerosLike(place)
		if r.moving[i] {
			d := Scalar(place.Graph(), place.DType(), r.Dims[i])
			c.Index[i] = Mod(place, d)
			place = Div(place, d)
		}
	}
	return c
}

// from returns the first element of the patch on an axis, [Groups].
func (c *Cut) from(i int, e extent) *Node {
	return AddScalar(MulScalar(c.Index[i], float64(e.Stride)), float64(e.First))
}

// outside returns how far some patch extends over the ends of an axis of n.
func (c *Cut) outside(n *Node, i int, e extent) (before, after int) {
	last := 0
	if c.moving[i] {
		last = e.Stride * (c.Dims[i] - 1)
	}
	return max(0, -e.First), max(0, last+e.First+e.size-n.Shape().Dimensions[i+1])
}

// Take returns the patches of v, which stands for the node n and has its shape, with zeros outside: [rows, patch...].
func (c *Cut) Take(n, v *Node) *Node { return c.takeWith(n, v, ScalarZero(v.Graph(), v.DType())) }

// takeWith is take with another number outside.
func (c *Cut) takeWith(n, v, outside *Node) *Node {
	p := c.Of[n.Id()]
	axes, sizes, starts := []int{0}, []int{1}, []*Node{c.groups.Examples}
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
	return Reshape(c.groups.each(Reshape(v, c.groups.count(), -1)), p.Dims(c.groups.Rows)...)
}

// Inside sets Λ to zero where the patch of n is outside of it.
func (c *Cut) Inside(n, Λ *Node) *Node {
	p := c.Of[n.Id()]
	var in *Node // [groups, patch...]
	for i, e := range p {
		if before, after := c.outside(n, i, e); before+after == 0 {
			continue
		}
		at := Add(InsertAxes(c.from(i, e), -1), Iota(Λ.Graph(), shapes.Make(c.Index[i].DType(), 1, e.size), 1))
		ok := LogicalAnd(GreaterOrEqual(at, ZerosLike(at)), LessThan(at,
			BroadcastLike(Scalar(at.Graph(), at.DType(), n.Shape().Dimensions[i+1]), at)))
		for j := range p {
			if j != i {
				ok = InsertAxes(ok, j+1)
			}
		}
		ok = BroadcastToDims(ok, p.Dims(c.groups.count())...)
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

func (pointwise) Windows(*Unit) []int { return nil }

func (pointwise) Reach(u *Unit, _ int, p Patch) Patch {
	for _, k := range u.perturbed {
		if !u.Inputs[k].Shape().Equal(u.Node.Shape()) {
			return nil
		}
	}
	for _, in := range u.Inputs {
		if r := in.Rank(); r != 0 && r != u.Node.Rank() {
			return nil
		}
	}
	return p
}

// BackwardPatch applies the rule to the operation on patches.
func (pointwise) BackwardPatch(c *Cut, u *Unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	h := slices.Clone(u.Inputs)
	for _, k := range u.perturbed {
		h[k] = ZerosLike(Λ) // for its shape
	}
	small, _ := c.small(u, h)
	return u.Rule.Backward(nil, small, Λ, lines)
}

func (pointwise) FollowPatch(c *Cut, u *Unit, Λ *Node, h, lines []*Node) *Node {
	small, in := c.small(u, h)
	return u.Rule.Follow(small, Λ, in, lines)
}

// small returns a unit element by element on patches of its inputs, with those of constants.
func (c *Cut) small(u *Unit, h []*Node) (*Unit, []*Node) {
	small, in := *u, slices.Clone(h)
	for k := range in {
		if !slices.Contains(u.perturbed, k) {
			in[k] = c.constant(u.Node, u.Inputs[k])
		}
	}
	small.Inputs = in
	if u.inner == nil {
		small.Node = u.Node.CloneWithInputs(in...)
	}
	return &small, in
}

// constant returns the patches of n of a constant that broadcasts to n, as it is if all patches of it are equal.
// Outside it is 1, by which may be divided.
func (c *Cut) constant(n, v *Node) *Node {
	for v.Type() == NodeTypeBroadcastInDim && v.Inputs()[0].Shape().Size() == 1 {
		v = Reshape(v.Inputs()[0])
	}
	same := v.Rank() == 0 || v.Shape().Dimensions[0] == 1
	for i, e := range c.Of[n.Id()] {
		same = same && (v.Rank() == 0 || v.Shape().Dimensions[i+1] == 1 || e == whole(n, i))
	}
	if same {
		return v
	}
	return c.takeWith(n, BroadcastToDims(v, n.Shape().Dimensions...), ScalarOne(v.Graph(), v.DType()))
}

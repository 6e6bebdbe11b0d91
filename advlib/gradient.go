package advlib

import (
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// # Gradients that are not finite
//
// The slope of √x at 0, of x^(1/3), of asin at 1 and of a norm at its centre is infinite, or not a number: data that
// are half zeros are full of such points. A pixel whose slope is taken as 0 there never moves, and the attack
// overstates the robust accuracy. So:
//
//   - What needs a direction, by [Model.Direction] or [LimitOf], gets the limit of the steepest ascent: in Linf the
//     signs of all coordinates, in the other norms the signs of the infinite ones and 0 elsewhere.
//   - What needs a magnitude, by [Model.Gradient], gets the gradient at the nearest point of the box where it is
//     finite.
//   - So does what is not a number: ∞·0 and ∞ − ∞ of the chain rule often hide an infinite slope, as of √x behind a
//     unit that is off for the moment. Only what is no number there either is 0.
//   - Where an attack only raises something, an infinite slope out of the box is 0: nothing is to be had by following
//     it, and in a norm it would silence all others. [Model.Ascent] and [Model.Direction] leave it out.
//
// A step of an attack is run on the model's plain gradient, and counts there what is not finite. Only where it found
// something is it run again, as a second program which looks at the nearest points too. So models whose gradients are
// finite compute what they would without this, but for what XLA rounds otherwise because the count is one more result.

// Gradient returns ∂(Σ y)/∂x for y of shape [n] or a scalar, computed from the logits of x: one backward pass for each
// row. Because rows do not mix, row i is the gradient of y[i] with respect to x[i]. It is 0 in coordinates that are
// fixed.
//
// It is finite: where the slope is not, it is that of the nearest point of the box where it is. It is for attacks that
// weigh the slopes of single coordinates against something else, as Adam does.
func (m *Model) Gradient(y, x *Node) *Node {
	_, near := m.gradients(y, x, false)
	return near
}

// Ascent is [Model.Gradient] for an attack that raises y, and needs to know how steep that is: a hyperplane, or the
// length of a step. Slopes that are not finite, and that lead out of the box, are 0 in it.
func (m *Model) Ascent(y, x *Node) *Node {
	g, near := m.gradients(y, x, true)
	return m.inside(g, near, x)
}

// Direction is [Model.Ascent] for an attack that only needs to know where to go, by [ConvexNorm.Ascend]: in rows with
// infinite slopes it stands for the limit of the steepest ascent in the norm, as [LimitOf] does. It is finite.
func (m *Model) Direction(norm ConvexNorm, y, x *Node) *Node {
	g, near := m.gradients(y, x, true)
	switch {
	case m.once:
		return LimitOf(norm, g)
	case m.nearby == nil:
		return near
	}
	return limit(norm, Where(m.leaves(g, x), ZerosLike(g), g), m.inside(g, near, x))
}

// LimitOf returns a finite gradient whose steepest ascent in the norm is the limit of that of g [n, d...] where entries
// of g are infinite: in Linf all signs count, in the other norms those of the infinite entries, and the others are 0.
// What is not a number is 0. It is for gradients that are taken without a [Model], which has a better answer for what
// is not a number.
func LimitOf(norm ConvexNorm, g *Node) *Node {
	return limit(norm, g, Where(IsFinite(g), g, ZerosLike(g)))
}

// limit is LimitOf with what to take for entries that are not infinite, or in Linf for the magnitude of those that are.
func limit(norm ConvexNorm, g, otherwise *Node) *Node {
	infinite := Equal(Abs(g), Infinity(g.Graph(), g.DType(), 1))
	if norm == Linf {
		size := Abs(otherwise)
		size = Where(Equal(size, ZerosLike(size)), OnesLike(size), size)
		return Where(infinite, Mul(Sign(g), size), otherwise)
	}
	signs := Where(infinite, Sign(g), ZerosLike(g))
	return Where(perRow(GreaterThan(Linf.Of(signs), ScalarZero(g.Graph(), g.DType())), g), signs, otherwise)
}

// gradients returns the gradient as it is, and as [Model.Gradient] gives it, and counts.
func (m *Model) gradients(y, x *Node, raising bool) (g, near *Node) {
	g = m.slope(y, x)
	m.entries += x.Shape().Size() / x.Shape().Dimensions[0]
	bad := LogicalNot(IsFinite(g))
	m.bad = sumOf(m.bad, ReduceSum(ConvertDType(flatten(bad), dtypes.Int32), 1))
	zero := ZerosLike(g)
	if m.nearby == nil {
		return g, Where(IsFinite(g), g, zero)
	}
	there := m.nearby.slope(m, y, x, bad, raising)
	open := LogicalAnd(bad, LogicalNot(IsFinite(there)))
	m.nearby.open = sumOf(m.nearby.open, ReduceSum(ConvertDType(flatten(open), dtypes.Int32), 1))
	// What is infinite even there is as large as the largest that is not.
	finite := Where(IsFinite(there), there, zero)
	largest := Linf.Of(finite)
	largest = perRow(Where(Equal(largest, ZerosLike(largest)), OnesLike(largest), largest), g)
	there = Where(Equal(Abs(there), Infinity(g.Graph(), g.DType(), 1)), Mul(Sign(there), largest), finite)
	return g, Where(bad, there, g)
}

// inside returns near, the gradient beside the points, without what leads out of the box where g, the one at them, is
// not finite.
func (m *Model) inside(g, near, x *Node) *Node {
	if m.nearby == nil {
		return near
	}
	return Where(LogicalAnd(LogicalNot(IsFinite(g)), m.leaves(near, x)), ZerosLike(g), near)
}

// Ahead is [Model.Ascent] for attacks that weigh the slopes of coordinates against each other. g is what Ascent
// returned for y at x. In rows with slopes that are not finite, Ahead returns the gradient ahead of x: each coordinate
// has gone where g points, by a share, a scalar or [n], of the largest change of a coordinate from x0 to x, both in
// widths of their ranges. In all other rows, and where the share or the change is 0, it returns g.
//
// Near an infinite slope, the slope of one point says little: √x falls by 0.2 from 0.04 to 0, where its slope at 0.04
// promises 0.1. With shares that vary from step to step, the mean of the gradients is that of the way.
func (m *Model) Ahead(y, x, x0, g, share *Node) *Node {
	if m.nearby == nil {
		return g
	}
	l := m.classifier.Limits()
	zero, width := ZerosLike(g), l.Constant(x, Box.Width)
	fixed := Equal(width, ZerosLike(width))
	h := Mul(share, Linf.Of(Where(BroadcastToShape(fixed, x.Shape()), zero, Div(Sub(x, x0), Where(fixed, OnesLike(width), width)))))
	goes := perRow(LogicalAnd(GreaterThan(h, ZerosLike(h)), GreaterThan(m.bad, ZerosLike(m.bad))), x)
	there := Add(x, Mul(Mul(perRow(MaxScalar(h, nearest), x), width), Sign(g)))
	there = Max(l.Constant(x, func(r Box) float64 { return r.Lo }), Min(l.Constant(x, func(r Box) float64 { return r.Hi }), there))
	there = Where(goes, there, x)
	m.forward += m.classifier.cost
	ahead := m.slope(moved{x.Id(): there}.of(y), there)
	// At the end of a range the slope may be infinite: that is as large as the largest that is not.
	finite := Where(IsFinite(ahead), ahead, zero)
	infinite := Equal(Abs(ahead), Infinity(g.Graph(), g.DType(), 1))
	ahead = Where(infinite, Mul(Sign(ahead), perRow(Linf.Of(finite), x)), finite)
	return Where(LogicalAnd(goes, NotEqual(g, zero)), ahead, g)
}

// slope returns ∂(Σ y)/∂x as the chain rule gives it, but 0 in coordinates that are fixed.
func (m *Model) slope(y, x *Node) *Node {
	if m.none != nil {
		panic(m.none)
	}
	m.backward += m.classifier.cost
	g := Gradient(ReduceAllSum(y), x)[0]
	if l := m.classifier.Limits(); l.holds() && !m.freely {
		return l.held(g, ZerosLike(g), g)
	}
	return g
}

// leaves tells where x is at an end of its range and g points out of it.
func (m *Model) leaves(g, x *Node) *Node {
	l := m.classifier.Limits()
	zero := ZerosLike(g)
	rises := LogicalAnd(GreaterThan(g, zero), GreaterOrEqual(x, l.Constant(x, func(r Box) float64 { return r.Hi })))
	falls := LogicalAnd(LessThan(g, zero), LessOrEqual(x, l.Constant(x, func(r Box) float64 { return r.Lo })))
	return LogicalOr(rises, falls)
}

// sumOf adds counts of rows; a nil sum is none. Counts of other rows than those of the first are added to each of them.
func sumOf(sum, more *Node) *Node {
	if sum == nil {
		return more
	}
	if !more.Shape().Equal(sum.Shape()) {
		more = BroadcastToShape(ReduceAllSum(more), sum.Shape())
	}
	return Add(sum, more)
}

// How far the points are, in widths of the range, at which a slope is looked for that is not finite: the nearest first,
// then farther ones for rows in which it is not finite there either. The farthest is more than a step of a byte, for
// models that round their inputs.
//
// What is to be raised is looked at from a 16th of such a step on: nearer still the slope of √x is that of a length
// which no step has, and drowns all others (from 2⁻²⁰ DeepFool's distances were 1.59 times the exact ones, from 2⁻¹²
// they are 1.01 times). Adam, which measures each slope by its own size, is better off with the nearest point (C&W in
// Linf: 1.050 and 1.059 times).
const (
	nearest  = 0x1p-20
	farther  = 0x1p7  // times
	farthest = 0x1p-6 // at most
	ascent   = 0x1p8  // times, where something is to be raised
	tries    = 3
)

// nearby is how a graph looks at slopes beside its points: at x′, which differs from x by h widths of the range, into
// the box, in the coordinates in which the slope is not finite.
type nearby struct {
	h      *Node            // [n]
	open   *Node            // how many entries are not finite there either, int32 [n]
	logits map[NodeId]*Node // by their x
	moved  map[from]moved
}

// from is where a graph looks beside: at x, from as far as for what is to be raised, or not.
type from struct {
	x       NodeId
	raising bool
}

func newNearby(h *Node) *nearby {
	return &nearby{h: h, logits: map[NodeId]*Node{}, moved: map[from]moved{}}
}

// notFinite is what a graph returns behind its results, if it takes gradients: how many entries are not finite in each
// row, beside the points too where it looks there.
func (m *Model) notFinite() *Node {
	if m.nearby != nil {
		return m.nearby.open
	}
	return m.bad
}

// moved holds the nodes of the graph computed from x′ in place of x, as far as they were asked for: themselves if they
// do not depend on it.
type moved map[NodeId]*Node

// slope returns ∂(Σ y)/∂x at x′.
func (b *nearby) slope(m *Model, y, x, bad *Node, raising bool) *Node {
	at := from{x.Id(), raising}
	there := b.moved[at]
	if there == nil {
		// Not all paths need to count in y: what is not finite in any sum of logits shows in one with unequal weights.
		if z := b.logits[x.Id()]; z != nil {
			weights := OnePlus(Iota(z.Graph(), z.Shape(), 1))
			bad = LogicalOr(bad, LogicalNot(IsFinite(m.slope(Mul(z, weights), x))))
		}
		l := m.classifier.Limits()
		h := b.h
		if raising {
			h = MinScalar(MulScalar(h, ascent), farthest)
		}
		step := Mul(perRow(h, x), l.Constant(x, Box.Width))
		step = Where(GreaterThan(Add(x, step), l.Constant(x, func(r Box) float64 { return r.Hi })), Neg(step), step)
		there = moved{x.Id(): Where(bad, Add(x, step), x)}
		b.moved[at] = there
		m.forward += m.classifier.cost
	}
	return m.slope(there.of(y), there[x.Id()])
}

// of returns n computed from x′. A node's inputs are older than itself, so this ends.
func (v moved) of(n *Node) *Node {
	if there := v[n.Id()]; there != nil {
		return there
	}
	there, inputs := n, make([]*Node, len(n.Inputs()))
	for i, in := range n.Inputs() {
		if inputs[i] = v.of(in); inputs[i] != in {
			there = nil
		}
	}
	if there == nil {
		there = again(n, inputs)
	}
	v[n.Id()] = there
	return there
}

// again returns the operation of n on other inputs. The gradient of a maximum, which GoMLX multiplies by 0 where it
// does not pass, is selected instead: then ∞·0 does not hide behind a unit that is off all that other units say.
func again(n *Node, inputs []*Node) *Node {
	if n.CustomGradient() != nil || n.StopGradient() || n.Type() != NodeTypeMax && n.Type() != NodeTypeMin {
		return n.CloneWithInputs(inputs...)
	}
	a, b := BroadcastToShape(inputs[0], n.Shape()), BroadcastToShape(inputs[1], n.Shape())
	if n.Type() == NodeTypeMax {
		return Where(GreaterOrEqual(a, b), a, b)
	}
	return Where(LessThan(a, b), a, b)
}

// offsets returns how far n rows look at first, for each.
func offsets(n int) []float32 {
	h := make([]float32, n)
	for i := range h {
		h[i] = nearest
	}
	return h
}

// takeCounts takes off the last result of a step that takes gradients: how many of their entries are not finite in each
// row. It also sums those of the first rows, which are no padding.
func takeCounts(out []*tensors.Tensor, rows int) (results []*tensors.Tensor, each []int32, sum int) {
	last := len(out) - 1
	each = tensors.MustCopyFlatData[int32](out[last])
	Free(out[last])
	for _, n := range each[:min(rows, len(each))] {
		sum += int(n)
	}
	return out[:last:last], each, sum
}

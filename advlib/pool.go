package advlib

import (
	"reflect"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// The rule for the gradient of max- and min-pooling is replaced, for the whole process: GoMLX's selects and scatters,
// one element after the other on XLA's CPU backend, which takes more time than all the rest of a small convolutional
// network.
func init() {
	rule := VJPRegistration[NodeTypeReduceWindow]
	VJPRegistration[NodeTypeReduceWindow] = func(node *Node, v []*Node, outputShape shapes.Shape) []*Node {
		p := poolOf(node)
		if (p.reduction != compute.ReduceOpMax && p.reduction != compute.ReduceOpMin) || p.positions() > mostPositions ||
			p.dilated || !node.DType().IsFloat() {
			return rule(node, v, outputShape)
		}
		return []*Node{p.gradient(node.Inputs()[0], node, v[0])}
	}
}

// mostPositions is up to how many positions of a window are looked at one by one.
const mostPositions = 25

// poolParameters are what GoMLX v0.28.8 keeps in unexported fields of a node.
type poolParameters struct {
	reduction       compute.ReduceOpType
	window, strides []int
	before          []int // padding at the start of each axis; nil where there is none
	dilated         bool
}

func poolOf(node *Node) poolParameters {
	params := reflect.ValueOf(node).Elem().FieldByName("inputs").Elem().Elem()
	p := poolParameters{
		reduction: compute.ReduceOpType(params.FieldByName("reductionType").Int()),
		window:    intsOf(params.FieldByName("windowDimensions")), strides: intsOf(params.FieldByName("strides")),
		dilated: params.FieldByName("inputDilations").Len() > 0 || params.FieldByName("windowDilations").Len() > 0,
	}
	for i, paddings := 0, params.FieldByName("paddings"); i < paddings.Len(); i++ {
		p.before = append(p.before, int(paddings.Index(i).Index(0).Int()))
	}
	return p
}

func (p poolParameters) positions() int {
	n := 1
	for _, w := range p.window {
		n *= w
	}
	return n
}

// gradient gives each v to the one element of its window that is the largest (or smallest) y, of equal ones to the
// first, as GoMLX's rule and PyTorch do.
func (p poolParameters) gradient(x, y, v *Node) *Node {
	rank := x.Rank()
	zero, pads2 := ScalarZero(x.Graph(), x.DType()), make([]compute.PadAxis, rank)
	lowest := Infinity(x.Graph(), x.DType(), -1)
	if p.reduction == compute.ReduceOpMin {
		lowest = Infinity(x.Graph(), x.DType(), 1)
	}
	// What the windows see: x with padding, or without the end that no window reaches.
	seen, pads, cut := make([]int, rank), make([]compute.PadAxis, rank), make([]SliceAxisSpec, rank)
	apart := true // windows do not overlap, and leave nothing out between them
	for a, d := range x.Shape().Dimensions {
		before := at(p.before, a, 0)
		stride := at(p.strides, a, p.window[a])
		apart = apart && stride == p.window[a]
		seen[a] = (y.Shape().Dimensions[a]-1)*stride + p.window[a]
		reached := min(d, seen[a]-before)
		cut[a], pads[a] = AxisRange(0, reached), compute.PadAxis{Start: before, End: seen[a] - before - reached}
	}
	seenX := Pad(Slice(x, cut...), lowest, pads...)

	// Which position of each window holds the first of the largest; -1 where there is none because y is NaN.
	constant := func(k int) *Node {
		return BroadcastToDims(Const(x.Graph(), int32(k)), y.Shape().Dimensions...)
	}
	first := constant(-1)
	for k, position := range slices.Backward(p.all()) {
		ranges := make([]SliceAxisSpec, rank)
		for a, i := range position {
			stride := at(p.strides, a, p.window[a])
			ranges[a] = AxisRange(i, i+(y.Shape().Dimensions[a]-1)*stride+1).Stride(stride)
		}
		first = Where(Equal(Slice(seenX, ranges...), y), constant(k), first)
	}
	var g *Node
	if apart {
		g = p.fill(first, v)
	} else {
		g = ZerosLike(seenX)
		for k, position := range p.all() {
			for a, i := range position {
				stride := at(p.strides, a, p.window[a])
				pads2[a] = compute.PadAxis{Start: i, Interior: stride - 1, End: seen[a] - i - 1 - (y.Shape().Dimensions[a]-1)*stride}
			}
			g = Add(g, Pad(Where(Equal(first, constant(k)), v, ZerosLike(v)), zero, pads2...))
		}
	}
	// Back to the shape of x: without the padding, and with zeros where no window reached.
	for a, d := range x.Shape().Dimensions {
		before := pads[a].Start
		reached := seen[a] - before - pads[a].End
		cut[a], pads[a] = AxisRange(before, before+reached), compute.PadAxis{End: d - reached}
	}
	return Pad(Slice(g, cut...), zero, pads...)
}

// all returns the positions of a window, in the order in which the first of equal elements is looked for.
func (p poolParameters) all() [][]int {
	var all [][]int
	for position := range cartesian(p.window) {
		all = append(all, slices.Clone(position))
	}
	return all
}

// fill spreads v over windows that do not overlap: each to the position that first names.
func (p poolParameters) fill(first, v *Node) *Node {
	var one, all, result []int // [o, 1, …] and [o, w, …] and [o·w, …]
	for a, d := range v.Shape().Dimensions {
		one, all, result = append(one, d, 1), append(all, d, p.window[a]), append(result, d*p.window[a])
	}
	spread := func(x *Node) *Node { return BroadcastToDims(Reshape(x, one...), all...) }
	position := Zeros(v.Graph(), shapes.Make(first.DType(), all...))
	for a, w := range p.window {
		position = Add(MulScalar(position, w), Iota(v.Graph(), position.Shape(), 2*a+1))
	}
	v = spread(v)
	return Reshape(Where(Equal(spread(first), position), v, ZerosLike(v)), result...)
}

package vmap

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"advlab/advlib/internal/inspect"
)

// rule builds an operation of one row for all rows.
type rule func(m *mapping, n *Node) *Node

var rules = map[NodeType]rule{
	NodeTypeReduceSum: reduce(ReduceSum), NodeTypeReduceMax: reduce(ReduceMax), NodeTypeReduceMin: reduce(ReduceMin),
	NodeTypeReduceProduct: reduce(ReduceMultiply), NodeTypeReduceLogicalAnd: reduce(ReduceLogicalAnd),
	NodeTypeReduceLogicalOr: reduce(ReduceLogicalOr),
	NodeTypeReshape: func(m *mapping, n *Node) *Node {
		return Reshape(m.only(n), append([]int{m.n}, n.Shape().Dimensions...)...)
	},
	NodeTypeTranspose: func(m *mapping, n *Node) *Node {
		return TransposeAllAxes(m.only(n), append([]int{0}, behind(inspect.Integers(n, "permutation"))...)...)
	},
	NodeTypeBroadcastInDim: broadcast,
	NodeTypeConcatenate: func(m *mapping, n *Node) *Node {
		var all []*Node
		for _, in := range n.Inputs() {
			all = append(all, m.repeated(in))
		}
		return Concatenate(all, int(inspect.Parameter(n, "axis").Int())+1)
	},
	NodeTypeSlice: slice,
	NodeTypePad:   pad,
	NodeTypeReverse: func(m *mapping, n *Node) *Node {
		return Reverse(m.only(n), behind(inspect.Integers(n, "axes"))...)
	},
	NodeTypeArgMinMax:    argMinMax,
	NodeTypeCumSum:       cumSum,
	NodeTypeWhere:        choose,
	NodeTypeClamp:        choose,
	NodeTypeDotGeneral:   dot,
	NodeTypeConvGeneral:  convolve,
	NodeTypeReduceWindow: window,
	NodeTypeGather:       gather,
}

// elementwise are the operations on elements with one or two inputs.
var elementwise = map[NodeType]bool{
	NodeTypeAbs: true, NodeTypeBitwiseNot: true, NodeTypeCeil: true, NodeTypeConvertDType: true, NodeTypeCos: true,
	NodeTypeErf: true, NodeTypeExp: true, NodeTypeExpm1: true, NodeTypeFloor: true, NodeTypeIdentity: true,
	NodeTypeIsFinite: true, NodeTypeIsNaN: true, NodeTypeLog: true, NodeTypeLog1p: true, NodeTypeLogicalNot: true,
	NodeTypeLogistic: true, NodeTypeNeg: true, NodeTypeRound: true, NodeTypeRsqrt: true, NodeTypeSign: true, NodeTypeSin: true,
	NodeTypeSqrt: true, NodeTypeTanh: true, NodeTypeAdd: true, NodeTypeBitwiseAnd: true, NodeTypeBitwiseOr: true,
	NodeTypeBitwiseXor: true, NodeTypeDiv: true, NodeTypeEqual: true, NodeTypeEqualTotalOrder: true,
	NodeTypeGreaterOrEqual: true, NodeTypeGreaterOrEqualTotalOrder: true, NodeTypeGreaterThan: true,
	NodeTypeGreaterThanTotalOrder: true, NodeTypeLessOrEqual: true, NodeTypeLessOrEqualTotalOrder: true,
	NodeTypeLessThan: true, NodeTypeLessThanTotalOrder: true, NodeTypeLogicalAnd: true, NodeTypeLogicalOr: true,
	NodeTypeLogicalXor: true, NodeTypeMax: true, NodeTypeMin: true, NodeTypeMul: true, NodeTypeNotEqual: true,
	NodeTypeNotEqualTotalOrder: true, NodeTypePow: true, NodeTypeRem: true, NodeTypeShiftLeft: true,
	NodeTypeShiftRightArithmetic: true, NodeTypeShiftRightLogical: true, NodeTypeSub: true,
}

func init() {
	for t := range elementwise {
		rules[t] = elements
	}
}

// elements maps operations on elements, with one or two inputs.
func elements(m *mapping, n *Node) *Node {
	var in []*Node
	for _, x := range n.Inputs() {
		in = append(in, m.aligned(x, n.Rank()))
	}
	return n.CloneWithInputs(in...)
}

// choose maps operations on elements with three inputs. Each input has the shape of the result, or is a single number
// for all rows.
func choose(m *mapping, n *Node) *Node {
	dims := append([]int{m.n}, n.Shape().Dimensions...)
	var in []*Node
	for _, x := range n.Inputs() {
		x = m.aligned(x, n.Rank())
		if !x.IsScalar() && !slices.Equal(x.Shape().Dimensions, dims) {
			x = BroadcastToDims(x, dims...)
		}
		in = append(in, x)
	}
	return n.CloneWithInputs(in...)
}

func reduce(f func(x *Node, axes ...int) *Node) rule {
	return func(m *mapping, n *Node) *Node {
		x, axes := m.only(n), inspect.Integers(n, "axes")
		if len(axes) == 0 { // all of the row's
			for a := range x.Rank() - 1 {
				axes = append(axes, a)
			}
		}
		if len(axes) == 0 { // a single number
			return x
		}
		return f(x, behind(axes)...)
	}
}

func broadcast(m *mapping, n *Node) *Node {
	dims := append([]int{m.n}, n.Shape().Dimensions...)
	specs := make([]DimensionSpec, len(dims))
	for i, d := range dims {
		specs[i] = StaticDim(d)
	}
	return DynamicBroadcastInDim(m.only(n), append([]int{0}, behind(inspect.Integers(n, "broadcastAxes"))...), specs...)
}

func slice(m *mapping, n *Node) *Node {
	starts, limits, strides := inspect.Integers(n, "starts"), inspect.Integers(n, "limits"), inspect.Integers(n, "strides")
	axes := []SliceAxisSpec{AxisRange()}
	for i := range starts {
		axes = append(axes, AxisRange(starts[i], limits[i]).Stride(strides[i]))
	}
	return Slice(m.only(n), axes...)
}

func pad(m *mapping, n *Node) *Node {
	config := inspect.Parameter(n, "axesConfig")
	axes := []compute.PadAxis{{}}
	for i := range config.Len() {
		a := config.Index(i)
		axes = append(axes, compute.PadAxis{Start: int(a.FieldByName("Start").Int()), End: int(a.FieldByName("End").Int()),
			Interior: int(a.FieldByName("Interior").Int())})
	}
	return Pad(m.only(n), n.Inputs()[1], axes...)
}

func argMinMax(m *mapping, n *Node) *Node {
	axis := int(inspect.Parameter(n, "axis").Int()) + 1
	if inspect.Parameter(n, "isMin").Bool() {
		return ArgMin(m.only(n), axis, n.DType())
	}
	return ArgMax(m.only(n), axis, n.DType())
}

func cumSum(m *mapping, n *Node) *Node {
	options := &compute.CumSumOptions{
		Exclusive: inspect.Parameter(n, "options.Exclusive").Bool(),
		Reverse:   inspect.Parameter(n, "options.Reverse").Bool(),
	}
	return CumSum(m.only(n), int(inspect.Parameter(n, "axis").Int())+1, options)
}

// dot maps a product. Where both sides depend on the row, the rows are one more batch axis of the product; where only
// one side does, they are an axis that is left over. In both cases the result has the rows in front.
func dot(m *mapping, n *Node) *Node {
	for _, name := range []string{"config.AccumulatorDType", "config.OutputDType"} {
		if v := inspect.Parameter(n, name); !v.IsZero() && dtypes.DType(v.Int()) != n.DType() {
			panic(fmt.Errorf("GoMLX's operation %s with types of its own cannot be mapped over the examples", n.Type()))
		}
	}
	type side struct {
		x                 *Node
		contracted, batch []int
		free              int // how many axes are neither
		mapped            bool
	}
	read := func(x *Node, name string) side {
		s := side{x, inspect.Integers(n, name+"ContractingAxes"), inspect.Integers(n, name+"BatchAxes"), 0, m.mapped(x) != nil}
		s.free = x.Rank() - len(s.contracted) - len(s.batch)
		return s
	}
	l, r := read(n.Inputs()[0], "lhs"), read(n.Inputs()[1], "rhs")
	if l.mapped && r.mapped || len(l.batch) > 0 { // a batch axis must be on both sides: a side that is the same for each row is repeated
		return DotGeneral(m.repeated(l.x), behind(l.contracted), append([]int{0}, behind(l.batch)...),
			m.repeated(r.x), behind(r.contracted), append([]int{0}, behind(r.batch)...))
	}
	if l.mapped {
		return DotGeneral(m.mapped(l.x), behind(l.contracted), nil, r.x, r.contracted, nil)
	}
	y := DotGeneral(m.mapped(r.x), behind(r.contracted), nil, l.x, l.contracted, nil) // [n, free of r, free of l]
	if l.free == 0 || r.free == 0 {
		return y
	}
	perm := []int{0}
	for i := range l.free {
		perm = append(perm, 1+r.free+i)
	}
	for i := range r.free {
		perm = append(perm, 1+i)
	}
	return TransposeAllAxes(y, perm...)
}

// convolve maps a convolution: all images of all rows are convolved together.
func convolve(m *mapping, n *Node) *Node {
	if inspect.Parameter(n, "batchGroupCount").Int() > 1 {
		panic(fmt.Errorf("GoMLX's operation %s with groups of images cannot be mapped over the examples", n.Type()))
	}
	return m.merged(n, int(inspect.Parameter(n, "axes.InputBatch").Int()), int(inspect.Parameter(n, "axes.OutputBatch").Int()))
}

// merged maps an operation that treats the parts along one axis each by itself, as a convolution treats images. That
// axis is in at the input and out at the result. The rows and that axis are made into one, and taken apart again
// afterwards.
func (m *mapping) merged(n *Node, in, out int) *Node {
	x := m.only(n)
	x = moved(x, 0, in) // to just before that axis
	dims := x.Shape().Dimensions
	images := dims[in+1]
	x = Reshape(x, slices.Concat(dims[:in], []int{m.n * images}, dims[in+2:])...)
	y := n.CloneWithInputs(append([]*Node{x}, n.Inputs()[1:]...)...)
	dims = y.Shape().Dimensions
	y = Reshape(y, slices.Concat(dims[:out], []int{m.n, images}, dims[out+1:])...)
	return moved(y, out, 0)
}

// moved returns x with an axis at another place.
func moved(x *Node, from, to int) *Node {
	if from == to {
		return x
	}
	var perm []int
	for a := range x.Rank() {
		if a != from {
			perm = append(perm, a)
		}
	}
	return TransposeAllAxes(x, slices.Insert(perm, to, from)...)
}

// window maps an operation with a sliding window. Where the window spans one image only, rows and images are merged, as
// for a convolution; else the window gets one more axis, that of the rows, of size 1.
func window(m *mapping, n *Node) *Node {
	sizes, strides := inspect.Integers(n, "windowDimensions"), inspect.Integers(n, "strides")
	dilations, holes := inspect.Integers(n, "inputDilations"), inspect.Integers(n, "windowDilations")
	config := inspect.Parameter(n, "paddings")
	var pads [][2]int
	for i := range config.Len() {
		pads = append(pads, [2]int{int(config.Index(i).Index(0).Int()), int(config.Index(i).Index(1).Int())})
	}
	one := func(s []int) bool { return len(s) == 0 || s[0] == 1 }
	if len(sizes) > 0 && one(sizes) && one(strides) && one(dilations) && (len(pads) == 0 || pads[0] == [2]int{}) {
		return m.merged(n, 0, 0)
	}
	with := func(s []int, first int) []int {
		if len(s) == 0 {
			return nil
		}
		return append([]int{first}, s...)
	}
	if len(pads) > 0 {
		pads = append([][2]int{{}}, pads...)
	}
	return BackendReduceWindow(m.only(n), ReduceOpType(inspect.Parameter(n, "reductionType").Int()), with(sizes, 1),
		with(strides, 1), with(dilations, 1), with(holes, 1), pads)
}

// gather maps a gather whose operand, or whose indices, or both depend on the row.
func gather(m *mapping, n *Node) *Node {
	operand, indices := n.Inputs()[0], n.Inputs()[1]
	vector := int(inspect.Parameter(n, "indexVectorAxis").Int())
	offsets, collapsed := behind(inspect.Integers(n, "offsetOutputAxes")), behind(inspect.Integers(n, "collapsedSliceAxes"))
	starts, sizes := inspect.Integers(n, "startIndexMap"), inspect.Integers(n, "sliceSizes")
	all, at := m.mapped(operand), m.mapped(indices)
	switch {
	case all == nil:
		return BackendGather(operand, at, vector+1, offsets, inspect.Integers(n, "collapsedSliceAxes"), starts, sizes, false)
	case at == nil:
		sorted := inspect.Parameter(n, "indicesAreSorted").Bool()
		if c := len(collapsed); c > 0 && slices.Equal(collapsed, upTo(1, c)) && slices.Equal(starts, upTo(0, c)) &&
			slices.Equal(offsets, upTo(n.Rank()-len(offsets)+1, len(offsets))) {
			// Whole parts are picked by the leading axes. Of this form GoMLX has a gradient, so it is kept: the rows
			// become an axis behind those.
			lead := n.Rank() - len(offsets)
			y := BackendGather(moved(all, 0, c), indices, vector, upTo(lead, len(offsets)+1), upTo(0, c), starts,
				slices.Insert(sizes, c, m.n), sorted)
			return moved(y, lead, 0)
		}
		return BackendGather(all, indices, vector, append([]int{0}, offsets...), collapsed, behind(starts), append([]int{m.n}, sizes...), sorted)
	}
	// Both depend on the row, which becomes one more index.
	if vector == indices.Rank() {
		at = InsertAxes(at, -1)
	}
	dims := slices.Clone(at.Shape().Dimensions)
	dims[vector+1] = 1
	at = Concatenate([]*Node{Iota(at.Graph(), shapes.Make(at.DType(), dims...), 0), at}, vector+1)
	return BackendGather(all, at, vector+1, offsets, append([]int{0}, collapsed...), append([]int{0}, behind(starts)...),
		append([]int{1}, sizes...), false)
}

// upTo returns n numbers from the first one on.
func upTo(first, n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = first + i
	}
	return s
}

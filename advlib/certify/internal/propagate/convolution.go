package propagate

import (
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
)

// XLA computes convolutions of float64 on the CPU with plain loops, ten times slower than its matrix products. So they
// are written as products here: of the elements that stand under each position of the kernel, side by side, with the
// kernel as a matrix. The transpose is a product too, whose parts are moved back to where they came from; it exists for
// every padding, where GoMLX's does not.

// Unfolded tells whether n is a convolution that is written so.
func Unfolded(n *Node) bool {
	if n.Type() != NodeTypeConvGeneral {
		return false
	}
	ones := true
	for _, d := range Integers(n, "inputDilations") {
		ones = ones && d == 1
	}
	is := func(name string) bool { return parameter(n, "axes."+name).Int() == 0 }
	return ones && parameter(n, "batchGroupCount").Int() <= 1 && is("InputBatch") && is("OutputBatch")
}

// filter is a convolution's geometry, its spatial axes counted from 0.
type filter struct {
	size, stride, dilation []int
	padding                [][2]int // of the spatial axes
	groups                 int
	// input, output and kernel are the axes of these tensors in the order of channels last: batch, spatial axes, channels;
	// of the kernel: spatial axes, channels in, channels out.
	input, Output, kernel []int
}

func FilterOf(n *Node) filter {
	axis := func(name string) int { return int(parameter(n, "axes."+name).Int()) }
	order := func(first int, spatial string, last ...int) []int {
		return append(append([]int{first}, Integers(n, "axes."+spatial)...), last...)
	}
	f := filter{
		groups: max(1, int(parameter(n, "channelGroupCount").Int())),
		input:  order(0, "InputSpatial", axis("InputChannels")),
		Output: order(0, "OutputSpatial", axis("OutputChannels")),
		kernel: append(Integers(n, "axes.KernelSpatial"), axis("KernelInputChannels"), axis("KernelOutputChannels")),
	}
	at := func(name string, i int) int {
		if all := Integers(n, name); len(all) > 0 {
			return all[i]
		}
		return 1
	}
	for i, a := range Integers(n, "axes.KernelSpatial") {
		f.size = append(f.size, n.Inputs()[1].Shape().Dimensions[a])
		f.stride, f.dilation = append(f.stride, at("strides", i)), append(f.dilation, at("kernelDilations", i))
		f.padding = append(f.padding, padding(n, i))
	}
	return f
}

// Reach returns how many elements of a padded axis next to each other, positions of the kernel that follow each other
// cover.
func (f filter) Reach(axis, positions int) int {
	return (positions-1)*f.stride[axis] + (f.size[axis]-1)*f.dilation[axis] + 1
}

// patch returns what a patch of the result n is computed from.
func (f filter) patch(n *Node, p Patch) Patch {
	if !slices.Equal(f.input, f.Output) {
		return nil
	}
	from := make(Patch, len(p))
	for i, axis := range f.input[1 : len(f.input)-1] {
		e := p[axis-1]
		from[axis-1] = extent{e.Stride * f.stride[i], e.First*f.stride[i] - f.padding[i][0], f.Reach(i, e.size)}
	}
	channels := f.input[len(f.input)-1]
	if p[channels-1] != whole(n, channels-1) {
		return nil
	}
	from[channels-1] = whole(n.Inputs()[0], channels-1)
	return from
}

// channelsLast returns v with its axes in the given order, that of channels last; channelsBack is its inverse.
func channelsLast(v *Node, axes []int) *Node {
	for i, a := range axes {
		if i != a {
			return TransposeAllAxes(v, axes...)
		}
	}
	return v
}

func channelsBack(v *Node, axes []int) *Node {
	back := make([]int, len(axes))
	for i, a := range axes {
		back[a] = i
	}
	return channelsLast(v, back)
}

// grid lists the places of a grid of the given size, the last axis fastest.
func grid(size []int) [][]int {
	places := [][]int{{}}
	for _, d := range size {
		var longer [][]int
		for _, p := range places {
			for i := range d {
				longer = append(longer, append(append([]int{}, p...), i))
			}
		}
		places = longer
	}
	return places
}

// SizeOf returns how many elements a tensor of these dimensions has.
func SizeOf(dims []int) int {
	size := 1
	for _, d := range dims {
		size *= d
	}
	return size
}

// lastAxis returns a range of the last axis.
func lastAxis(v *Node, from, to int) *Node {
	if from == 0 && to == v.Shape().Dimensions[v.Rank()-1] {
		return v
	}
	ranges := make([]SliceAxisSpec, v.Rank())
	for i := range ranges {
		ranges[i] = AxisRange()
	}
	ranges[v.Rank()-1] = AxisRange(from, to)
	return Slice(v, ranges...)
}

// convolve is the convolution n of other inputs.
func convolve(n, h, kernel *Node) *Node {
	f := FilterOf(n)
	h, kernel = channelsLast(h, f.input), channelsLast(kernel, f.kernel)
	pads := []PadAxis{{}}
	for _, p := range f.padding {
		pads = append(pads, PadAxis{Start: p[0], End: p[1]})
	}
	padded := Pad(h, ScalarZero(h.Graph(), h.DType()), append(pads, PadAxis{})...)
	return f.convolve(padded, kernel, n.Shape().Dimensions)
}

// convolve is the convolution of what is padded and in order, as is the kernel, with a result of the given dimensions.
// It takes either what stands under each position of the kernel, for all outputs, or what each output sees: whichever
// is fewer slices. For a kernel that covers its whole input that is one.
func (f filter) convolve(padded, kernel *Node, dims []int) *Node {
	channels, outs := padded.Shape().Dimensions[padded.Rank()-1]/f.groups, kernel.Shape().Dimensions[kernel.Rank()-1]/f.groups
	var out []int // spatial axes of the result
	for _, axis := range f.Output[1 : len(f.Output)-1] {
		out = append(out, dims[axis])
	}
	elements := f.elementsByPosition
	if SizeOf(out) < SizeOf(f.size) {
		elements = f.elementsByOutput
	}
	var results []*Node
	for g := range f.groups {
		v := elements(lastAxis(padded, g*channels, (g+1)*channels), out)
		matrix := Reshape(lastAxis(kernel, g*outs, (g+1)*outs), -1, outs)
		results = append(results, DotGeneral(v, []int{v.Rank() - 1}, nil, matrix, []int{0}, nil))
	}
	all := results[0]
	if f.groups > 1 {
		all = Concatenate(results, -1)
	}
	return channelsBack(all, f.Output)
}

// elementsByPosition returns the elements that each output sees, [n, out..., positions of the kernel · channels], a
// slice for each position.
func (f filter) elementsByPosition(v *Node, out []int) *Node {
	var columns []*Node
	for _, place := range grid(f.size) {
		ranges := []SliceAxisSpec{AxisRange()}
		for i, k := range place {
			from := k * f.dilation[i]
			ranges = append(ranges, AxisRange(from, from+(out[i]-1)*f.stride[i]+1).Stride(f.stride[i]))
		}
		columns = append(columns, Slice(v, append(ranges, AxisRange())...))
	}
	return Concatenate(columns, -1)
}

// elementsByOutput returns the same, by a slice for each output.
func (f filter) elementsByOutput(v *Node, out []int) *Node {
	n, channels := v.Shape().Dimensions[0], v.Shape().Dimensions[v.Rank()-1]
	var rows []*Node
	for _, place := range grid(out) {
		ranges := []SliceAxisSpec{AxisRange()}
		for i, o := range place {
			from := o * f.stride[i]
			ranges = append(ranges, AxisRange(from, from+f.Reach(i, 1)).Stride(f.dilation[i]))
		}
		rows = append(rows, Reshape(Slice(v, append(ranges, AxisRange())...), n, 1, SizeOf(f.size)*channels))
	}
	all := rows[0]
	if len(rows) > 1 {
		all = Concatenate(rows, 1)
	}
	return Reshape(all, append(append([]int{n}, out...), SizeOf(f.size)*channels)...)
}

// convolveBack is the transpose of n with respect to its first input, padded: Λ is one for some of its outputs that
// follow each other on the spatial axes, and the result for those elements that they cover.
//
// A kernel of size k on an axis with stride s is taken as A = ⌈k/s⌉ blocks of s. What an output gives to each block is
// a matrix product, and blocks are moved by whole strides, so that A shifted tensors are added instead of k, none of
// them with holes.
//
// Where that would be more tensors than there are outputs, as for a kernel that covers its whole input, what each
// output gives to all positions is moved to where it stands instead.
func convolveBack(n, Λ *Node) *Node {
	f := FilterOf(n)
	Λ = channelsLast(Λ, f.Output)
	kernel := channelsLast(n.Inputs()[1], f.kernel)
	rank, spatial := n.Rank(), n.Rank()-2
	outs := kernel.Shape().Dimensions[rank-1] / f.groups
	rows := Λ.Shape().Dimensions[:spatial+1]
	blocks := f.blocks()
	elements := f.backByBlock
	if SizeOf(rows[1:]) < SizeOf(blocks) {
		elements = f.backByOutput
	}
	var results []*Node
	for g := range f.groups {
		results = append(results, elements(lastAxis(Λ, g*outs, (g+1)*outs), lastAxis(kernel, g*outs, (g+1)*outs)))
	}
	all := results[0]
	if f.groups > 1 {
		all = Concatenate(results, -1)
	}
	ranges := []SliceAxisSpec{AxisRange()}
	for i := range spatial {
		ranges = append(ranges, AxisRange(0, f.Reach(i, rows[i+1])))
	}
	return channelsBack(Slice(all, append(ranges, AxisRange())...), f.input)
}

// blocks returns how many blocks of a stride the kernel has on each spatial axis.
func (f filter) blocks() (blocks []int) {
	for i := range f.size {
		blocks = append(blocks, (f.Reach(i, 1)+f.stride[i]-1)/f.stride[i])
	}
	return blocks
}

// backByBlock returns what Λ, of the outputs of one group, gives to the padded input, with a tensor for each block of
// the kernel.
func (f filter) backByBlock(Λ, kernel *Node) *Node {
	spatial, blocks := len(f.size), f.blocks()
	ins, outs := kernel.Shape().Dimensions[spatial], kernel.Shape().Dimensions[spatial+1]
	var holes []PadAxis
	var split, order []int // of the kernel: [A, s, A', s', ..., in, out]
	for i, A := range blocks {
		holes = append(holes, PadAxis{Interior: f.dilation[i] - 1, End: A*f.stride[i] - f.Reach(i, 1)})
		split = append(split, A, f.stride[i])
	}
	for _, first := range []int{0, 1} { // all blocks, then the places in them
		for i := range spatial {
			order = append(order, 2*i+first)
		}
	}
	order = append([]int{2*spatial + 1}, append(order, 2*spatial)...)
	kernel = Pad(kernel, ScalarZero(kernel.Graph(), kernel.DType()), append(holes, PadAxis{}, PadAxis{})...)
	matrix := Reshape(TransposeAllAxes(Reshape(kernel, append(split, ins, outs)...), order...), outs, -1)
	columns := DotGeneral(Λ, []int{spatial + 1}, nil, matrix, []int{0}, nil)
	per := SizeOf(f.stride) * ins
	var sum *Node
	for b, block := range grid(blocks) {
		pads := []PadAxis{{}}
		for i, a := range block {
			pads = append(pads, PadAxis{Start: a, End: blocks[i] - 1 - a})
		}
		moved := lastAxis(columns, b*per, (b+1)*per)
		if SizeOf(blocks) > 1 {
			moved = Pad(moved, ScalarZero(Λ.Graph(), Λ.DType()), append(pads, PadAxis{})...)
		}
		sum = plus(sum, moved)
	}
	return interleaved(sum, f.stride)
}

// backByOutput returns the same, with a tensor for each output, and nothing behind the last element that one covers.
func (f filter) backByOutput(Λ, kernel *Node) *Node {
	spatial := len(f.size)
	ins, outs := kernel.Shape().Dimensions[spatial], kernel.Shape().Dimensions[spatial+1]
	order := []int{spatial + 1}
	for axis := range spatial + 1 {
		order = append(order, axis)
	}
	matrix := Reshape(TransposeAllAxes(kernel, order...), outs, -1)
	columns := DotGeneral(Λ, []int{spatial + 1}, nil, matrix, []int{0}, nil)
	dims := Λ.Shape().Dimensions[:spatial+1]
	var sum *Node
	for _, place := range grid(dims[1:]) {
		ranges, pads, moves := []SliceAxisSpec{AxisRange()}, []PadAxis{{}}, false
		for i, o := range place {
			ranges = append(ranges, AxisRange(o, o+1))
			start := o * f.stride[i]
			pad := PadAxis{Start: start, Interior: f.dilation[i] - 1, End: f.Reach(i, dims[i+1]) - start - f.Reach(i, 1)}
			pads, moves = append(pads, pad), moves || pad != PadAxis{}
		}
		moved := Reshape(Slice(columns, append(ranges, AxisRange())...), append(append([]int{dims[0]}, f.size...), ins)...)
		if moves {
			moved = Pad(moved, ScalarZero(Λ.Graph(), Λ.DType()), append(pads, PadAxis{})...)
		}
		sum = plus(sum, moved)
	}
	return sum
}

// interleaved takes [n, d, d', ..., s·s'·...·c] to [n, d·s, d'·s', ..., c].
func interleaved(v *Node, strides []int) *Node {
	if SizeOf(strides) == 1 {
		return v
	}
	dims := v.Shape().Dimensions
	spatial := len(strides)
	channels := dims[spatial+1] / SizeOf(strides)
	apart := append(append(slices.Clone(dims[:spatial+1]), strides...), channels)
	order, joined := []int{0}, []int{dims[0]}
	for i, s := range strides {
		order = append(order, 1+i, 1+spatial+i)
		joined = append(joined, dims[1+i]*s)
	}
	order = append(order, 1+2*spatial)
	return Reshape(TransposeAllAxes(Reshape(v, apart...), order...), append(joined, channels)...)
}

// unpadded takes padded elements, from the first one on, to those of a tensor with the given dimensions: padding is cut
// off, and what is missing at the end is 0.
func unpadded(v *Node, dims []int, padding [][2]int) *Node {
	ranges, pads := make([]SliceAxisSpec, v.Rank()), make([]PadAxis, v.Rank())
	for axis, p := range padding {
		have := v.Shape().Dimensions[axis]
		if axis == 0 {
			ranges[0] = AxisRange()
			continue
		}
		end := min(have, p[0]+dims[axis])
		ranges[axis], pads[axis] = AxisRange(p[0], end), PadAxis{End: p[0] + dims[axis] - end}
	}
	return Pad(Slice(v, ranges...), ScalarZero(v.Graph(), v.DType()), pads...)
}

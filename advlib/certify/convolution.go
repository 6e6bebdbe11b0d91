package certify

import (
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
)

// XLA computes convolutions of float64 on the CPU with plain loops, ten times slower than its matrix products. So they
// are written as products here, if axes are in GoMLX's order for channels last: of the elements that stand under each
// position of the kernel, side by side, with the kernel as a matrix. The transpose is a product too, whose parts are
// moved back to where they came from; it exists for every padding, where GoMLX's does not.

// unfolded tells whether n is a convolution that is written so.
func unfolded(n *Node) bool {
	if n.Type() != NodeTypeConvGeneral {
		return false
	}
	rank := n.Rank()
	middle := make([]int, rank-2)
	front := make([]int, rank-2)
	for i := range middle {
		middle[i], front[i] = i+1, i
	}
	is := func(name string, want int) bool { return int(parameter(n, "axes."+name).Int()) == want }
	ones := true
	for _, d := range integers(n, "inputDilations") {
		ones = ones && d == 1
	}
	return ones && parameter(n, "batchGroupCount").Int() <= 1 &&
		is("InputBatch", 0) && is("InputChannels", rank-1) && is("OutputBatch", 0) && is("OutputChannels", rank-1) &&
		is("KernelInputChannels", rank-2) && is("KernelOutputChannels", rank-1) &&
		slices.Equal(integers(n, "axes.InputSpatial"), middle) && slices.Equal(integers(n, "axes.OutputSpatial"), middle) &&
		slices.Equal(integers(n, "axes.KernelSpatial"), front)
}

// position is a place in a convolution's kernel.
type position struct {
	n      *Node
	offset []int // of the element under it, from the window's first one
}

func positions(n *Node) (all []position) {
	offsets := [][]int{{}}
	dilations := integers(n, "kernelDilations")
	for axis, d := range n.Inputs()[1].Shape().Dimensions[:n.Rank()-2] {
		dilation := 1
		if len(dilations) > 0 {
			dilation = dilations[axis]
		}
		var longer [][]int
		for _, o := range offsets {
			for i := range d {
				longer = append(longer, append(append([]int{}, o...), i*dilation))
			}
		}
		offsets = longer
	}
	for _, o := range offsets {
		all = append(all, position{n, o})
	}
	return all
}

// axis returns stride, padding and lengths of a spatial axis, counted from 0.
func (p position) axis(i int) (stride, before, after, in, out int) {
	stride = 1
	if s := integers(p.n, "strides"); len(s) > 0 {
		stride = s[i]
	}
	pad := padding(p.n, i)
	return stride, pad[0], pad[1], p.n.Inputs()[0].Shape().Dimensions[i+1], p.n.Shape().Dimensions[i+1]
}

// of returns the elements of padded inputs that stand under the position, [n, out..., channels].
func (p position) of(padded *Node) *Node {
	ranges := []SliceAxisSpec{AxisRange()}
	for i, o := range p.offset {
		stride, _, _, _, out := p.axis(i)
		ranges = append(ranges, AxisRange(o, o+(out-1)*stride+1).Stride(stride))
	}
	return Slice(padded, append(ranges, AxisRange())...)
}

// back is the transpose of of.
func (p position) back(v *Node) *Node {
	pads := []PadAxis{{}}
	for i, o := range p.offset {
		stride, before, after, in, out := p.axis(i)
		pads = append(pads, PadAxis{Start: o, End: before + in + after - (o + (out-1)*stride + 1), Interior: stride - 1})
	}
	return Pad(v, ScalarZero(v.Graph(), v.DType()), append(pads, PadAxis{})...)
}

// groupsOf returns the number of groups of channels.
func groupsOf(n *Node) int { return max(1, int(parameter(n, "channelGroupCount").Int())) }

func lastAxis(v *Node, from, to int) *Node {
	ranges := make([]SliceAxisSpec, v.Rank())
	for i := range ranges {
		ranges[i] = AxisRange()
	}
	ranges[v.Rank()-1] = AxisRange(from, to)
	return Slice(v, ranges...)
}

// convolve is the convolution n of other inputs.
func convolve(n, h, kernel *Node) *Node {
	pads := []PadAxis{{}}
	places := positions(n)
	for i := range n.Rank() - 2 {
		_, before, after, _, _ := places[0].axis(i)
		pads = append(pads, PadAxis{Start: before, End: after})
	}
	padded := Pad(h, ScalarZero(h.Graph(), h.DType()), append(pads, PadAxis{})...)
	groups := groupsOf(n)
	channels, outs := h.Shape().Dimensions[h.Rank()-1]/groups, kernel.Shape().Dimensions[kernel.Rank()-1]/groups
	var results []*Node
	for g := range groups {
		part := lastAxis(padded, g*channels, (g+1)*channels)
		var columns []*Node
		for _, p := range places {
			columns = append(columns, p.of(part))
		}
		matrix := Reshape(lastAxis(kernel, g*outs, (g+1)*outs), len(places)*channels, outs)
		results = append(results, DotGeneral(Concatenate(columns, -1), []int{h.Rank() - 1}, nil, matrix, []int{0}, nil))
	}
	if groups == 1 {
		return results[0]
	}
	return Concatenate(results, -1)
}

// convolveBack is the transpose of n with respect to its first input.
func convolveBack(n, Λ *Node) *Node {
	kernel := n.Inputs()[1]
	places := positions(n)
	groups := groupsOf(n)
	channels, outs := n.Inputs()[0].Shape().Dimensions[n.Rank()-1]/groups, kernel.Shape().Dimensions[kernel.Rank()-1]/groups
	var results []*Node
	for g := range groups {
		matrix := Reshape(lastAxis(kernel, g*outs, (g+1)*outs), len(places)*channels, outs)
		columns := DotGeneral(lastAxis(Λ, g*outs, (g+1)*outs), []int{n.Rank() - 1}, nil, matrix, []int{1}, nil)
		var sum *Node
		for i, p := range places {
			sum = plus(sum, p.back(lastAxis(columns, i*channels, (i+1)*channels)))
		}
		results = append(results, sum)
	}
	sum := results[0]
	if groups > 1 {
		sum = Concatenate(results, -1)
	}
	ranges := []SliceAxisSpec{AxisRange()}
	for i := range n.Rank() - 2 {
		_, before, _, in, _ := places[0].axis(i)
		ranges = append(ranges, AxisRange(before, before+in))
	}
	return Slice(sum, append(ranges, AxisRange())...)
}

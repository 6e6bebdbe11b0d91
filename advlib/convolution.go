package advlib

import (
	"fmt"
	"iter"
	"reflect"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// The rule for the gradient of a convolution is replaced, for the whole process, for two reasons. GoMLX v0.28.8
// computes a wrong gradient with respect to the input when the kernel's size is even: it pads the reversed convolution
// by 2·⌊(k−1)/2⌋ at the start, which is k−1 for odd k only, so that the gradient comes out shifted by one pixel
// (convVJPWrtX in ops_convolve.go); an attack on such a model would follow that, and training too. And it is slow on
// CPUs in the two places that every attack goes through: the first layer, with its few input channels, and layers with
// strides.
func init() {
	rule := VJPRegistration[NodeTypeConvGeneral]
	VJPRegistration[NodeTypeConvGeneral] = func(node *Node, v []*Node, outputShape shapes.Shape) []*Node {
		return convolutionVJP(rule, node, v, outputShape)
	}
}

// convolutionVJP takes the gradient with respect to the kernel from GoMLX's rule, and that with respect to the input,
// unless the convolution is grouped, from [convolutionParameters.inputGradient].
func convolutionVJP(rule VJP, node *Node, v []*Node, outputShape shapes.Shape) []*Node {
	x, kernel := node.Inputs()[0], node.Inputs()[1]
	p := convolutionOf(node)
	g := oddVJP(rule, node, p, v, outputShape)
	if p.grouped {
		return g
	}
	return []*Node{p.inputGradient(x, kernel, v[0]), g[1]}
}

// oddVJP applies GoMLX's rule to the same convolution with odd kernels: a kernel of even size gets a zero at its end,
// and so does the input, as many as the kernel is dilated. That changes no output, and the gradients of what was there
// before are the ones sought.
func oddVJP(rule VJP, node *Node, p convolutionParameters, v []*Node, outputShape shapes.Shape) []*Node {
	x, kernel := node.Inputs()[0], node.Inputs()[1]
	padX, padKernel := make([]compute.PadAxis, x.Rank()), make([]compute.PadAxis, kernel.Rank())
	odd := true
	for i, axis := range p.axes.KernelSpatial {
		if (kernel.Shape().Dimensions[axis]-1)*p.dilation(i)%2 == 1 {
			padKernel[axis].End, padX[p.axes.InputSpatial[i]].End = 1, p.dilation(i)
			odd = false
		}
	}
	if odd {
		return rule(node, v, outputShape)
	}
	zero := ScalarZero(x.Graph(), x.DType())
	same := node.CloneWithInputs(Pad(x, zero, padX...), Pad(kernel, zero, padKernel...))
	if !same.Shape().Equal(node.Shape()) {
		panic(fmt.Errorf("advlib: the convolution of %v with %v gives %v, with an odd kernel %v: this is a mistake in its gradient",
			x.Shape(), kernel.Shape(), node.Shape(), same.Shape()))
	}
	g := rule(same, v, outputShape)
	return []*Node{cutTo(g[0], x.Shape()), cutTo(g[1], kernel.Shape())}
}

// convolutionParameters are what GoMLX v0.28.8 keeps in unexported fields of a node.
type convolutionParameters struct {
	axes               compute.ConvolveAxesConfig
	strides, dilations []int // nil where all are 1
	before             []int // padding at the start of each spatial axis; nil where there is none
	grouped            bool
}

func convolutionOf(node *Node) convolutionParameters {
	params := reflect.ValueOf(node).Elem().FieldByName("inputs").Elem().Elem()
	a := params.FieldByName("axes")
	one := func(name string) int { return int(a.FieldByName(name).Int()) }
	p := convolutionParameters{
		strides: intsOf(params.FieldByName("strides")), dilations: intsOf(params.FieldByName("kernelDilations")),
		grouped: params.FieldByName("channelGroupCount").Int() > 1 || params.FieldByName("batchGroupCount").Int() > 1,
		axes: compute.ConvolveAxesConfig{
			InputBatch: one("InputBatch"), InputChannels: one("InputChannels"), InputSpatial: intsOf(a.FieldByName("InputSpatial")),
			KernelInputChannels: one("KernelInputChannels"), KernelOutputChannels: one("KernelOutputChannels"),
			KernelSpatial: intsOf(a.FieldByName("KernelSpatial")),
			OutputBatch:   one("OutputBatch"), OutputChannels: one("OutputChannels"), OutputSpatial: intsOf(a.FieldByName("OutputSpatial")),
		},
	}
	for i, paddings := 0, params.FieldByName("paddings"); i < paddings.Len(); i++ {
		p.before = append(p.before, int(paddings.Index(i).Index(0).Int()))
	}
	return p
}

// intsOf reads a slice of an unexported field.
func intsOf(v reflect.Value) []int {
	s := make([]int, v.Len())
	for i := range s {
		s[i] = int(v.Index(i).Int())
	}
	return s
}

func (p convolutionParameters) stride(i int) int   { return at(p.strides, i, 1) }
func (p convolutionParameters) dilation(i int) int { return at(p.dilations, i, 1) }
func (p convolutionParameters) padding(i int) int  { return at(p.before, i, 0) }

func at(s []int, i, otherwise int) int {
	if len(s) == 0 {
		return otherwise
	}
	return s[i]
}

// fewChannels is up to how many channels of the result the products with all kernel positions, shifted and added, are
// faster than a convolution: XLA's convolution on CPUs is a product of matrices whose columns are these channels.
const fewChannels = 4

// inputGradient returns the gradient of ⟨v, x∗k⟩ with respect to x. With padding P, stride s and dilation d, output o
// has met input R − P by the kernel's position i where R = o·s + i·d, so that the gradient at R − P is Σ v[o]·k[i] over
// all such o and i.
func (p convolutionParameters) inputGradient(x, k, v *Node) *Node {
	spatial := len(p.axes.InputSpatial)
	// Channels last: v [n, o…, K], k [i…, K, C].
	v = TransposeAllAxes(v, append(append([]int{p.axes.OutputBatch}, p.axes.OutputSpatial...), p.axes.OutputChannels)...)
	k = TransposeAllAxes(k, append(append([]int{}, p.axes.KernelSpatial...), p.axes.KernelOutputChannels, p.axes.KernelInputChannels)...)
	phases, size := 1, make([]int, spatial)
	for i, axis := range p.axes.InputSpatial {
		phases *= p.stride(i)
		size[i] = x.Shape().Dimensions[axis]
	}
	var g *Node
	if phases*k.Shape().Dimensions[spatial+1] <= fewChannels || phases > 1 && len(p.dilations) > 0 {
		g = p.shiftedSum(v, k, size)
	} else {
		g = p.transposedConvolution(v, k, size)
	}
	back := make([]int, spatial+2)
	back[p.axes.InputBatch], back[p.axes.InputChannels] = 0, spatial+1
	for i, axis := range p.axes.InputSpatial {
		back[axis] = i + 1
	}
	return TransposeAllAxes(g, back...)
}

// shiftedSum multiplies v by the kernel at each of its positions, all in one product, and adds the results at their
// places. v is [n, o…, K], k [i…, K, C], the result [n, size…, C].
func (p convolutionParameters) shiftedSum(v, k *Node, size []int) *Node {
	spatial := len(size)
	products := DotGeneral(v, []int{spatial + 1}, nil, k, []int{spatial}, nil) // [n, o…, i…, C]
	zero := ScalarZero(v.Graph(), v.DType())
	out, kernel := products.Shape().Dimensions[1:spatial+1], products.Shape().Dimensions[spatial+1:2*spatial+1]
	sum := Zeros(v.Graph(), shapes.Make(v.DType(), append(append([]int{v.Shape().Dimensions[0]}, size...),
		k.Shape().Dimensions[spatial+1])...))
	for position := range cartesian(kernel) {
		ranges, pads := make([]SliceAxisSpec, products.Rank()), make([]compute.PadAxis, spatial+2)
		for a := range ranges {
			ranges[a] = AxisRange()
		}
		dims, outside := []int{products.Shape().Dimensions[0]}, false
		for a, i := range position {
			s, first := p.stride(a), i*p.dilation(a)-p.padding(a)               // of the inputs that outputs have met by this position
			lo, hi := max(0, (s-1-first)/s), min(out[a], (size[a]-1-first)/s+1) // the others have met padding
			if size[a]-1-first < 0 || lo >= hi {
				outside = true
				break
			}
			ranges[a+1], ranges[spatial+1+a] = AxisRange(lo, hi), AxisElem(i)
			pads[a+1] = compute.PadAxis{Start: first + lo*s, Interior: s - 1, End: size[a] - 1 - first - (hi-1)*s}
			dims = append(dims, hi-lo)
		}
		if outside {
			continue
		}
		dims = append(dims, k.Shape().Dimensions[spatial+1])
		sum = Add(sum, Pad(Reshape(Slice(products, ranges...), dims...), zero, pads...))
	}
	return sum
}

// transposedConvolution convolves v with the reversed kernel. A stride s would do so with s − 1 zeros between the
// elements of v; instead, the kernel is cut into its s phases: R = q·s + r has met the positions i = a·s + r only, by
// output o = q − a. The phases are channels of one convolution without a stride, and its result is put together from
// them. v is [n, o…, K], k [i…, K, C], the result [n, size…, C].
func (p convolutionParameters) transposedConvolution(v, k *Node, size []int) *Node {
	spatial := len(size)
	K, C := k.Shape().Dimensions[spatial], k.Shape().Dimensions[spatial+1]
	zero := ScalarZero(v.Graph(), v.DType())
	padKernel, cut, pads := make([]compute.PadAxis, k.Rank()), make([]SliceAxisSpec, v.Rank()), make([][2]int, spatial)
	var split, split2 []int // k as [a, r, …, K, C]; the result as [n, q, …, r, …, C]
	var order, order2 []int // to [a…, K, r…, C]; to [n, q, r, …, C]
	cut[0], cut[spatial+1] = AxisRange(), AxisRange()
	result, crop := []int{v.Shape().Dimensions[0]}, make([]SliceAxisSpec, spatial+2)
	crop[0], crop[spatial+1] = AxisRange(), AxisRange()
	phases, smallKernel := C, []int{}
	split2, order2 = []int{v.Shape().Dimensions[0]}, []int{0}
	var reversed []int
	for a := range size {
		s := p.stride(a)
		taps := (k.Shape().Dimensions[a] + s - 1) / s
		padKernel[a].End = taps*s - k.Shape().Dimensions[a]
		rows := (size[a] + p.padding(a) + s - 1) / s // q counts from 0 to R/s of the last input
		out := min(v.Shape().Dimensions[a+1], rows)  // what begins behind the last input has met padding only
		cut[a+1] = AxisRange(0, out)
		pads[a] = [2]int{(taps - 1) * p.dilation(a), rows - out}
		split, order, reversed = append(split, taps, s), append(order, 2*a), append(reversed, a)
		smallKernel, phases = append(smallKernel, taps), phases*s
		split2, order2 = append(split2, rows), append(order2, 1+a, 1+spatial+a)
		result = append(result, rows*s)
		crop[a+1] = AxisRange(p.padding(a), p.padding(a)+size[a])
	}
	order = append(order, 2*spatial)
	for a := range size {
		order = append(order, 2*a+1)
		split2 = append(split2, p.stride(a))
	}
	order = append(order, 2*spatial+1)
	k = Reshape(Pad(k, zero, padKernel...), append(split, K, C)...)
	k = Reverse(Reshape(TransposeAllAxes(k, order...), append(smallKernel, K, phases)...), reversed...)
	conv := Convolve(Slice(v, cut...), k).PaddingPerDim(pads)
	if len(p.dilations) > 0 {
		conv = conv.DilationPerAxis(p.dilations...)
	}
	y := Reshape(conv.Done(), append(split2, C)...)
	return Slice(Reshape(TransposeAllAxes(y, append(order2, 2*spatial+1)...), append(result, C)...), crop...)
}

// cartesian yields all positions of an array of the given dimensions, the last axis fastest.
func cartesian(dims []int) iter.Seq[[]int] {
	return func(yield func([]int) bool) {
		position := make([]int, len(dims))
		for {
			if !yield(position) {
				return
			}
			a := len(dims) - 1
			for ; a >= 0; a-- {
				if position[a]++; position[a] < dims[a] {
					break
				}
				position[a] = 0
			}
			if a < 0 {
				return
			}
		}
	}
}

// cutTo returns the leading part of x that has the given shape.
func cutTo(x *Node, shape shapes.Shape) *Node {
	ranges := make([]SliceAxisSpec, x.Rank())
	for i, d := range shape.Dimensions {
		ranges[i] = AxisRange(0, d)
	}
	return Slice(x, ranges...)
}

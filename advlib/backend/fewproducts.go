//go:build linux && cgo

package backend

import (
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
)

// XLA computes a convolution on CPUs as a product of matrices, by Eigen's code. For a layer whose outputs are sums of
// few products, as the first of a network on images, most of that time goes into gathering the matrix. Here such a
// convolution is written as the sum of the products, one term for each position of the kernel and each channel of the
// input. XLA makes one loop of it, together with the bias and the activation behind it, and compiles that for the
// processor at hand: 10 to 2 µs an image for the first layer of zoo.CNN, 27 to 20 for the network.
//
// This is done below the graph, where operations are handed to XLA, so that gradients are still those of a convolution.

// mostProducts is up to how many products an output may be the sum of: 5×5 positions of one channel, or 3×3 of three.
const mostProducts = 27

// summing is XLA on CPUs with convolutions of few products taken apart. What XLA makes says that it is XLA's, and GoMLX
// looks whose a tensor is, so buffers are wrapped, too.
type summing struct{ compute.Backend }

// Builder implements [compute.Backend].
func (b *summing) Builder(name string) compute.Builder {
	return summingBuilder{b.Backend.Builder(name), b}
}

// BufferFromFlatData implements [compute.DataInterface].
func (b *summing) BufferFromFlatData(device compute.DeviceNum, flat any, shape shapes.Shape) (compute.Buffer, error) {
	buffer, err := b.Backend.BufferFromFlatData(device, flat, shape)
	return b.own(buffer, err)
}

// NewSharedBuffer implements [compute.DataInterface].
func (b *summing) NewSharedBuffer(device compute.DeviceNum, shape shapes.Shape) (compute.Buffer, any, error) {
	buffer, flat, err := b.Backend.NewSharedBuffer(device, shape)
	buffer, err = b.own(buffer, err)
	return buffer, flat, err
}

func (b *summing) own(buffer compute.Buffer, err error) (compute.Buffer, error) {
	if err != nil {
		return nil, err
	}
	return summingBuffer{buffer, b}, nil
}

type summingBuffer struct {
	compute.Buffer
	of *summing
}

// Backend implements [compute.Buffer].
func (b summingBuffer) Backend() compute.Backend { return b.of }

// CopyToDevice implements [compute.Buffer].
func (b summingBuffer) CopyToDevice(device compute.DeviceNum) (compute.Buffer, error) {
	return b.of.own(b.Buffer.CopyToDevice(device))
}

type summingExecutable struct {
	compute.Executable
	of *summing
}

// Execute implements [compute.Executable].
func (e summingExecutable) Execute(inputs []compute.Buffer, donate []bool, device compute.DeviceNum) ([]compute.Buffer, error) {
	inputs = slices.Clone(inputs)
	for i, in := range inputs {
		if own, ok := in.(summingBuffer); ok {
			inputs[i] = own.Buffer
		}
	}
	outputs, err := e.Executable.Execute(inputs, donate, device)
	for i := range outputs {
		outputs[i] = summingBuffer{outputs[i], e.of}
	}
	return outputs, err
}

type summingBuilder struct {
	compute.Builder
	of *summing
}

// Compile implements [compute.Builder].
func (b summingBuilder) Compile() (compute.Executable, error) {
	e, err := b.Builder.Compile()
	if err != nil {
		return nil, err
	}
	return summingExecutable{e, b.of}, nil
}

// Main implements [compute.Builder].
func (b summingBuilder) Main() compute.Function { return summingFunction{b.Builder.Main()} }

// NewFunction implements [compute.Builder].
func (b summingBuilder) NewFunction(name string) (compute.Function, error) {
	return summed(b.Builder.NewFunction(name))
}

// summingFunction gives other functions to XLA without its own wrapping: XLA knows those that it has made only.
type summingFunction struct{ compute.Function }

func summed(f compute.Function, err error) (compute.Function, error) {
	if err != nil {
		return nil, err
	}
	return summingFunction{f}, nil
}

func unwrapped(f compute.Function) compute.Function {
	if s, ok := f.(summingFunction); ok {
		return s.Function
	}
	return f
}

// Closure implements [compute.Function].
func (f summingFunction) Closure() (compute.Function, error) { return summed(f.Function.Closure()) }

// Call implements [compute.Function].
func (f summingFunction) Call(g compute.Function, inputs ...compute.Value) ([]compute.Value, error) {
	return f.Function.Call(unwrapped(g), inputs...)
}

// Sort implements [compute.Function].
func (f summingFunction) Sort(less compute.Function, axis int, stable bool, inputs ...compute.Value) ([]compute.Value, error) {
	return f.Function.Sort(unwrapped(less), axis, stable, inputs...)
}

// While implements [compute.Function].
func (f summingFunction) While(cond, body compute.Function, state ...compute.Value) ([]compute.Value, error) {
	return f.Function.While(unwrapped(cond), unwrapped(body), state...)
}

// If implements [compute.Function].
func (f summingFunction) If(cond compute.Value, yes, no compute.Function) ([]compute.Value, error) {
	return f.Function.If(cond, unwrapped(yes), unwrapped(no))
}

// ConvGeneral implements [compute.StandardOps].
func (f summingFunction) ConvGeneral(
	x, kernel compute.Value, axes compute.ConvolveAxesConfig, strides []int, paddings [][2]int, inputDilations, kernelDilations []int,
	channelGroups, batchGroups int,
) (compute.Value, error) {
	in, err := f.Shape(x)
	if err != nil {
		return nil, err
	}
	k, err := f.Shape(kernel)
	if err != nil {
		return nil, err
	}
	c := smallConvolution{axes: axes, strides: strides, dilations: kernelDilations, paddings: paddings, in: in, kernel: k}
	if channelGroups > 1 || batchGroups > 1 || slices.ContainsFunc(inputDilations, func(d int) bool { return d != 1 }) || !c.fits() {
		return f.Function.ConvGeneral(x, kernel, axes, strides, paddings, inputDilations, kernelDilations, channelGroups, batchGroups)
	}
	b := &steps{of: f.Function}
	y := c.sum(b, x, kernel)
	return y, b.err
}

// smallConvolution is a convolution, neither grouped nor with dilated inputs.
type smallConvolution struct {
	axes               compute.ConvolveAxesConfig
	strides, dilations []int    // of each spatial axis; nil where all are 1
	paddings           [][2]int // nil where there are none
	in, kernel         shapes.Shape
}

func (c smallConvolution) stride(a int) int     { return entry(c.strides, a, 1) }
func (c smallConvolution) dilation(a int) int   { return entry(c.dilations, a, 1) }
func (c smallConvolution) padding(a int) [2]int { return entry(c.paddings, a, [2]int{}) }

func entry[T any](s []T, i int, otherwise T) T {
	if len(s) == 0 {
		return otherwise
	}
	return s[i]
}

// taps returns the size of the kernel on a spatial axis.
func (c smallConvolution) taps(a int) int { return c.kernel.Dimensions[c.axes.KernelSpatial[a]] }

// out returns the size of the result on a spatial axis.
func (c smallConvolution) out(a int) int {
	p := c.padding(a)
	size := c.in.Dimensions[c.axes.InputSpatial[a]] + p[0] + p[1]
	return (size-(c.taps(a)-1)*c.dilation(a)-1)/c.stride(a) + 1
}

// fits tells whether the convolution is one that is faster as a sum. XLA is left all that is unusual, such as axes of
// the result in another order than the input's, and to refuse what makes no sense.
func (c smallConvolution) fits() bool {
	if !slices.Equal(c.axes.InputSpatial, c.axes.OutputSpatial) || c.axes.InputBatch != c.axes.OutputBatch ||
		c.axes.InputChannels != c.axes.OutputChannels || c.in.DType != c.kernel.DType ||
		c.in.DType != dtypes.Float32 && c.in.DType != dtypes.Float64 {
		return false
	}
	channels := c.in.Dimensions[c.axes.InputChannels]
	products := channels
	for a := range c.axes.KernelSpatial {
		products *= c.taps(a)
		if p := c.padding(a); p[0] < 0 || p[1] < 0 || c.out(a) < 1 {
			return false
		}
	}
	return products <= mostProducts && channels == c.kernel.Dimensions[c.axes.KernelInputChannels]
}

// sum adds, for each position of the kernel and each channel of the input, a strided slice of the input times a row of
// the kernel.
func (c smallConvolution) sum(b *steps, x, kernel compute.Value) compute.Value {
	rank := c.in.Rank()
	result, pads, strides := c.in.Clone(), make([]compute.PadAxis, rank), slices.Repeat([]int{1}, rank)
	result.Dimensions[c.axes.OutputChannels] = c.kernel.Dimensions[c.axes.KernelOutputChannels]
	starts, limits := make([]int, rank), slices.Clone(c.in.Dimensions)
	from, to := make([]int, c.kernel.Rank()), slices.Clone(c.kernel.Dimensions)
	for a, axis := range c.axes.InputSpatial {
		p := c.padding(a)
		pads[axis] = compute.PadAxis{Start: p[0], End: p[1]}
		result.Dimensions[axis], strides[axis] = c.out(a), c.stride(a)
	}
	all := make([]int, rank)
	for i := range all {
		all[i] = i
	}
	x = b.pad(x, c.in.DType, pads)
	var sum compute.Value
	for _, at := range c.positions() {
		for a, axis := range c.axes.InputSpatial {
			starts[axis] = at[a] * c.dilation(a)
			limits[axis] = starts[axis] + (c.out(a)-1)*c.stride(a) + 1
			from[c.axes.KernelSpatial[a]], to[c.axes.KernelSpatial[a]] = at[a], at[a]+1
		}
		q := at[len(at)-1]
		starts[c.axes.InputChannels], limits[c.axes.InputChannels] = q, q+1
		from[c.axes.KernelInputChannels], to[c.axes.KernelInputChannels] = q, q+1
		row := b.reshape(b.slice(kernel, from, to, nil), result.Dimensions[c.axes.OutputChannels])
		term := b.mul(b.broadcast(b.slice(x, starts, limits, strides), result, all),
			b.broadcast(row, result, []int{c.axes.OutputChannels}))
		if sum == nil {
			sum = term
		} else {
			sum = b.add(sum, term)
		}
	}
	return sum
}

// positions returns all positions of the kernel, each with a channel of the input behind it.
func (c smallConvolution) positions() [][]int {
	all := [][]int{nil}
	for a := range len(c.axes.KernelSpatial) + 1 {
		n := c.in.Dimensions[c.axes.InputChannels]
		if a < len(c.axes.KernelSpatial) {
			n = c.taps(a)
		}
		var longer [][]int
		for _, at := range all {
			for i := range n {
				longer = append(longer, append(slices.Clone(at), i))
			}
		}
		all = longer
	}
	return all
}

// steps builds operations, until one fails.
type steps struct {
	of  compute.Function
	err error
}

func (b *steps) do(make func() (compute.Value, error)) (v compute.Value) {
	if b.err == nil {
		v, b.err = make()
	}
	return v
}

func (b *steps) pad(x compute.Value, t dtypes.DType, pads []compute.PadAxis) compute.Value {
	return b.do(func() (compute.Value, error) {
		zero, err := b.of.Constant([]float32{0})
		if t == dtypes.Float64 {
			zero, err = b.of.Constant([]float64{0})
		}
		if err != nil {
			return nil, err
		}
		return b.of.Pad(x, zero, pads...)
	})
}

func (b *steps) slice(x compute.Value, from, to, strides []int) compute.Value {
	return b.do(func() (compute.Value, error) { return b.of.Slice(x, from, to, strides) })
}

func (b *steps) reshape(x compute.Value, dims ...int) compute.Value {
	return b.do(func() (compute.Value, error) { return b.of.Reshape(x, dims...) })
}

func (b *steps) broadcast(x compute.Value, to shapes.Shape, axes []int) compute.Value {
	return b.do(func() (compute.Value, error) { return b.of.BroadcastInDim(x, to, axes) })
}

func (b *steps) mul(x, y compute.Value) compute.Value {
	return b.do(func() (compute.Value, error) { return b.of.Mul(x, y) })
}

func (b *steps) add(x, y compute.Value) compute.Value {
	return b.do(func() (compute.Value, error) { return b.of.Add(x, y) })
}

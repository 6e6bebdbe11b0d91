//go:build linux && cgo

package backend_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/core/tensors/images"

	"advlab/advlib/backend"
)

// layer is a convolution of an input and a kernel with channels last.
type layer struct {
	in, kernel       []int
	stride, dilation int // 0 for 1
	padding          [][2]int
	groups           int  // of channels; 0 for 1
	first            bool // computed with channels first
}

func (l layer) build(x, k *Node) *Node {
	spatial := len(l.in) - 2
	axes, kernelAxes := []int{0, spatial + 1}, []int{spatial + 1, spatial}
	for a := range spatial {
		axes, kernelAxes = append(axes, a+1), append(kernelAxes, a)
	}
	conv := Convolve(x, k)
	if l.first {
		conv = Convolve(TransposeAllAxes(x, axes...), TransposeAllAxes(k, kernelAxes...)).ChannelsAxis(images.ChannelsFirst)
	}
	conv = conv.Strides(max(1, l.stride)).ChannelGroupCount(max(1, l.groups))
	if l.dilation > 0 {
		conv = conv.Dilations(l.dilation)
	}
	if l.padding != nil {
		conv = conv.PaddingPerDim(l.padding)
	}
	return conv.Done()
}

// TestConvolutionsOfFewProducts compares them with those of GoMLX's pure Go backend, and counts those that XLA is left.
func TestConvolutionsOfFewProducts(t *testing.T) {
	inThisProcess(t)
	xla, err := backend.OpenNamed(backend.XLACPU)
	if err != nil {
		t.Fatal(err)
	}
	pure, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	left := 0
	xla = backend.CountConvolutions(xla, &left)
	one, two := [][2]int{{1, 1}, {1, 1}}, [][2]int{{2, 2}, {2, 2}}
	for _, c := range []struct {
		layer
		left int // convolutions that XLA computes
	}{
		{layer: layer{in: []int{3, 28, 28, 1}, kernel: []int{4, 4, 1, 16}, stride: 2, padding: one}},
		{layer: layer{in: []int{2, 14, 14, 1}, kernel: []int{5, 5, 1, 32}, padding: two}},
		{layer: layer{in: []int{2, 9, 11, 3}, kernel: []int{3, 3, 3, 5}, padding: [][2]int{{0, 2}, {1, 0}}}},
		{layer: layer{in: []int{2, 9, 11, 3}, kernel: []int{3, 3, 3, 5}, stride: 2, first: true}},
		{layer: layer{in: []int{2, 9, 12, 2}, kernel: []int{2, 3, 2, 4}, stride: 3, padding: [][2]int{{1, 1}, {0, 3}}, first: true}},
		{layer: layer{in: []int{2, 13, 12, 1}, kernel: []int{3, 4, 1, 3}, dilation: 2, padding: [][2]int{{2, 1}, {0, 0}}}},
		{layer: layer{in: []int{4, 20, 2}, kernel: []int{5, 2, 3}, stride: 2, padding: [][2]int{{1, 2}}}},
		{layer: layer{in: []int{2, 5, 4, 6, 1}, kernel: []int{2, 2, 3, 1, 2}, padding: [][2]int{{0, 1}, {1, 0}, {1, 1}}}},
		{layer: layer{in: []int{2, 7, 7, 27}, kernel: []int{1, 1, 27, 4}}},
		{layer: layer{in: []int{2, 7, 7, 28}, kernel: []int{1, 1, 28, 4}}, left: 1},
		{layer: layer{in: []int{2, 9, 9, 4}, kernel: []int{3, 3, 2, 6}, groups: 2}, left: 1},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			build := func(in []*Node) *Node { return c.build(in[0], in[1]) }
			left = 0
			got := MustExecOnce(xla, build, numbers(c.in...), numbers(c.kernel...))
			if left != c.left {
				t.Errorf("XLA is left %d convolutions, want %d", left, c.left)
			}
			want := MustExecOnce(pure, build, numbers(c.in...), numbers(c.kernel...))
			if !got.Shape().Equal(want.Shape()) {
				t.Fatalf("the result is of shape %v, want %v", got.Shape(), want.Shape())
			}
			y, z := tensors.MustCopyFlatData[float32](got), tensors.MustCopyFlatData[float32](want)
			for i := range y {
				// Sums of up to 28 terms of up to 1: each of so many additions rounds by 2^-24 of at most 28.
				if d := math.Abs(float64(y[i]) - float64(z[i])); !(d <= 28*28*0x1p-24) {
					t.Fatalf("entry %d is %g, want %g", i, y[i], z[i])
				}
			}
		})
	}
}

// TestConvolutionInALoop has one in the body of a loop, where functions are handed to XLA.
func TestConvolutionInALoop(t *testing.T) {
	inThisProcess(t)
	var results [2]*tensors.Tensor
	for i, name := range []string{backend.XLACPU, backend.Go} {
		b, err := backend.OpenNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		results[i] = MustExecOnce(b, func(in []*Node) *Node {
			x, k := in[0], in[1]
			if name == backend.Go { // which has no loops
				return layer{padding: [][2]int{{1, 1}, {1, 1}}}.again(x, k, 3)
			}
			g := x.Graph()
			state := func(g *Graph) (i, at, kernel *Node) {
				return Parameter(g, "i", shapes.Make(dtypes.Int32)), Parameter(g, "x", x.Shape()), Parameter(g, "k", k.Shape())
			}
			cond := NewClosure(g, func(g *Graph) []*Node {
				i, _, _ := state(g)
				return []*Node{LessThan(i, Const(g, int32(3)))}
			})
			body := NewClosure(g, func(g *Graph) []*Node {
				i, at, kernel := state(g)
				return []*Node{AddScalar(i, 1), layer{padding: [][2]int{{1, 1}, {1, 1}}}.again(at, kernel, 1), kernel}
			})
			return While(cond, body, Const(g, int32(0)), x, k)[1]
		}, numbers(2, 6, 6, 1), numbers(3, 3, 1, 1))
	}
	y, z := tensors.MustCopyFlatData[float32](results[0]), tensors.MustCopyFlatData[float32](results[1])
	for i := range y {
		if d := math.Abs(float64(y[i]) - float64(z[i])); !(d <= 1e-4) {
			t.Fatalf("entry %d is %g, want %g", i, y[i], z[i])
		}
	}
}

// again convolves so many times with the same kernel.
func (l layer) again(x, k *Node, times int) *Node {
	l.in, l.kernel = x.Shape().Dimensions, k.Shape().Dimensions
	for range times {
		x = l.build(x, k)
	}
	return x
}

// numbers returns a tensor of numbers between −1 and 1.
func numbers(dims ...int) *tensors.Tensor {
	n := 1
	for _, d := range dims {
		n *= d
	}
	flat, r := make([]float32, n), rand.New(rand.NewPCG(uint64(n), 15))
	for i := range flat {
		flat[i] = 2*r.Float32() - 1
	}
	return tensors.FromFlatDataAndDimensions(flat, dims...)
}

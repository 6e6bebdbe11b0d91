package propagate

import (
	"advlab/advlib/backend"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// TestUnfolded: convolutions as products, by positions of the kernel or by outputs, are GoMLX's own, and their
// transposes are transposes.
func TestUnfolded(t *testing.T) {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	few := 0
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 0x636f6e76))
		groups := 1 + r.IntN(2)
		ins, outs := groups*(1+r.IntN(2)), groups*(1+r.IntN(3))
		var size, stride, dilation, image []int
		var padding [][2]int
		for range 2 {
			k, s, d := 1+r.IntN(5), 1+r.IntN(3), 1
			p := [2]int{r.IntN(2), r.IntN(2)}
			if r.IntN(3) == 0 {
				s, d = 1, 1+r.IntN(2) // GoMLX has one of both
			}
			long := (k-1)*d + 1
			size, stride, dilation, padding = append(size, k), append(stride, s), append(dilation, d), append(padding, p)
			image = append(image, max(1, long-p[0]-p[1])+r.IntN(4)*r.IntN(3))
		}
		if stride[0]*stride[1] > 1 {
			dilation = []int{1, 1}
		}
		for i := range image {
			image[i] = max(image[i], (size[i]-1)*dilation[i]+1-padding[i][0]-padding[i][1])
		}
		xs, ks := shapes.Make(dtypes.Float64, 2, image[0], image[1], ins), shapes.Make(dtypes.Float64, size[0], size[1], ins/groups, outs)
		at := func(s shapes.Shape) *tensors.Tensor {
			flat := make([]float64, s.Size())
			for i := range flat {
				flat[i] = float64(r.IntN(17) - 8) // sums are exact
			}
			return tensors.FromFlatDataAndDimensions(flat, s.Dimensions...)
		}
		exec := MustNewExec(b, func(x, kernel *Node) []*Node {
			conv := Convolve(x, kernel).PaddingPerDim(padding).ChannelGroupCount(groups)
			if dilation[0]*dilation[1] > 1 {
				conv = conv.DilationPerAxis(dilation...)
			} else {
				conv = conv.StridePerAxis(stride...)
			}
			n := conv.Done()
			f := FilterOf(n)
			out := n.Shape().Dimensions[1:3]
			if SizeOf(out) < SizeOf(f.size) && SizeOf(out) < SizeOf(f.blocks()) {
				few++
			}
			mine := convolve(n, x, kernel)
			Λ := Sub(mine, ScalarOne(x.Graph(), x.DType()))
			cut := make([][2]int, 4)
			copy(cut[1:], f.padding)
			back := unpadded(convolveBack(n, Λ), x.Shape().Dimensions, cut)
			return []*Node{n, mine, ReduceAllSum(Mul(Λ, n)), ReduceAllSum(Mul(back, x))}
		})
		out, err := exec.Call(at(xs), at(ks))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		want, got := tensors.MustCopyFlatData[float64](out[0]), tensors.MustCopyFlatData[float64](out[1])
		for i := range want {
			if want[i] != got[i] {
				t.Fatalf("seed %d: kernel %v, strides %v, dilations %v, padding %v, image %v, groups %d: output %d is %g, want %g",
					seed, size, stride, dilation, padding, image, groups, i, got[i], want[i])
			}
		}
		if a, b := tensors.ToScalar[float64](out[2]), tensors.ToScalar[float64](out[3]); a != b || math.IsNaN(a) {
			t.Errorf("seed %d: kernel %v, strides %v, dilations %v, padding %v, image %v, groups %d: ⟨Λ, Wx⟩ is %g, ⟨WᵀΛ, x⟩ %g",
				seed, size, stride, dilation, padding, image, groups, a, b)
		}
	}
	if few < 15 || few > 45 {
		t.Errorf("%d of 60 go by outputs: the test is of one kind", few)
	}
}

// TestKernelAsLargeAsItsInput: a convolution whose kernel covers all of a 32×32 image is one product, there and back,
// and not a slice for each of its 1024 positions.
func TestKernelAsLargeAsItsInput(t *testing.T) {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	g := NewGraph(b, "large kernel")
	defer g.Finalize()
	x := Parameter(g, "x", shapes.Make(dtypes.Float64, 2, 32, 32, 3))
	n := Convolve(x, Parameter(g, "kernel", shapes.Make(dtypes.Float64, 32, 32, 3, 5))).NoPadding().Done()
	before := n.Id()
	v := convolve(n, x, n.Inputs()[1])
	convolveBack(n, v)
	nodes := 0
	for _, h := range g.Nodes() {
		if h.Id() > before {
			nodes++
		}
	}
	if nodes > 30 {
		t.Errorf("it is unfolded into %d nodes", nodes)
	}
}

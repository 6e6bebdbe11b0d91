package advlib_test

import (
	"math"
	"math/rand/v2"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/layers/activation"

	"advlab/advlib/backend"
)

// TestGradientsOfLayers compares GoMLX's gradients with central differences in float64, for the operations that
// classifiers are made of: an attack is as right as they are. (It is how the mistake in convolutions came out.)
func TestGradientsOfLayers(t *testing.T) {
	const n, h, w, c = 2, 6, 7, 2
	cases := []struct {
		name string
		f    func(x *Node) *Node
	}{
		{"max pool 2", func(x *Node) *Node { return MaxPool(x).Window(2).Done() }},
		{"max pool 3 stride 2 same", func(x *Node) *Node { return MaxPool(x).Window(3).Strides(2).PadSame().Done() }},
		{"max pool 4×3, some left out", func(x *Node) *Node { return MaxPool(x).WindowPerAxis(4, 3).Done() }},
		{"max pool 2 padded", func(x *Node) *Node {
			return MaxPool(x).Window(2).Strides(2).PaddingPerDim([][2]int{{1, 1}, {1, 0}}).Done()
		}},
		{"max pool 2 stride 3", func(x *Node) *Node { return MaxPool(x).Window(2).Strides(3).Done() }},
		{"max pool 6", func(x *Node) *Node { return MaxPool(x).Window(6).Done() }},
		{"min pool 2", func(x *Node) *Node { return MinPool(x).Window(2).Done() }},
		{"max pool 2 stride 1", func(x *Node) *Node { return MaxPool(x).Window(2).Strides(1).Done() }},
		{"mean pool 2", func(x *Node) *Node { return MeanPool(x).Window(2).Done() }},
		{"mean pool 3 stride 2 same", func(x *Node) *Node { return MeanPool(x).Window(3).Strides(2).PadSame().Done() }},
		{"mean pool 2 stride 1", func(x *Node) *Node { return MeanPool(x).Window(2).Strides(1).Done() }},
		{"global mean", func(x *Node) *Node { return ReduceMean(x, 1, 2) }},
		{"global max", func(x *Node) *Node { return ReduceMax(x, 1, 2) }},
		{"relu", activation.Relu},
		{"leaky relu", activation.LeakyRelu},
		{"selu", activation.Selu},
		{"gelu", activation.Gelu},
		{"swish", activation.Swish},
		{"sigmoid", Sigmoid},
		{"tanh", Tanh},
		{"softmax", func(x *Node) *Node { return Softmax(x, -1) }},
		{"log softmax", func(x *Node) *Node { return LogSoftmax(x, -1) }},
		{"clip", func(x *Node) *Node { return ClipScalar(x, -0.5, 0.5) }},
		{"slice and concatenate", func(x *Node) *Node {
			return Concatenate([]*Node{Slice(x, AxisRange(), AxisRange(1, 5).Stride(2)), Slice(x, AxisRange(), AxisRange(3, 5))}, 1)
		}},
		{"transpose", func(x *Node) *Node { return TransposeAllDims(x, 0, 3, 1, 2) }},
		{"normalise", func(x *Node) *Node { return Div(Sub(x, ReduceAndKeep(x, ReduceMean, 3)), AddScalar(Abs(x), 1)) }},
		{"square root", func(x *Node) *Node { return Sqrt(AddScalar(Square(x), 0.1)) }},
		{"reverse", func(x *Node) *Node { return Mul(Reverse(x, 1), x) }},
		{"upsample", func(x *Node) *Node { return Interpolate(x, n, 2*h, 2*w, c).Nearest().Done() }},
	}
	b, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	info, err := backend.Describe()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			if info.Name == backend.Go && (tc.name == "upsample" || tc.name == "mean pool 3 stride 2 same") {
				t.Skip("compute v0.1.6: the Go backend panics on the one and is wrong on the other; no model here uses them")
			}
			r := rand.New(rand.NewPCG(1, 2))
			x := make([]float64, n*h*w*c)
			for i := range x {
				x[i] = r.NormFloat64()
			}
			// y is a random linear function of the layer's output, so that every part of it counts.
			y := func(in *Node) *Node {
				out := tc.f(in)
				weights := Sin(MulScalar(IotaFull(in.Graph(), out.Shape()), 1.7))
				return ReduceAllSum(Mul(out, weights))
			}
			value, err := NewExec(b, y)
			if err != nil {
				t.Fatal(err)
			}
			gradient, err := ExecOnce(b, func(in *Node) *Node { return Gradient(y(in), in)[0] }, tensors.FromFlatDataAndDimensions(x, n, h, w, c))
			if err != nil {
				t.Fatal(err)
			}
			got := tensors.MustCopyFlatData[float64](gradient)
			at := func(i int, step float64) float64 {
				moved := append([]float64(nil), x...)
				moved[i] += step
				return tensors.ToScalar[float64](value.MustCall(tensors.FromFlatDataAndDimensions(moved, n, h, w, c))[0])
			}
			const step = 1e-6
			for i := range x {
				want := (at(i, step) - at(i, -step)) / (2 * step)
				if math.Abs(got[i]-want) > 1e-6*max(1, math.Abs(want)) {
					t.Fatalf("component %d of the gradient is %g, central differences give %g", i, got[i], want)
				}
			}
		})
	}
}

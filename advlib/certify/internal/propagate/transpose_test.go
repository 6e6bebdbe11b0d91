package propagate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/backend"
)

// transposed is an affine operation to be transposed.
type transposed struct {
	name  string
	input []int
	apply func(x *Node, r *rand.Rand) *Node
	// refused: GoMLX has no transpose, so that Explain lists the operation as unsupported.
	refused bool
}

// The backward step of an affine operation n needs its transpose: ⟨Λ, n(h) − n(0)⟩ = ⟨nᵀΛ, h⟩ for all Λ and h. GoMLX's
// are used, and some were wrong (that of convolutions with even kernels, which package advlib replaces).
func TestTransposes(t *testing.T) {
	random := func(r *rand.Rand, dims ...int) *tensors.Tensor {
		size := 1
		for _, d := range dims {
			size *= d
		}
		flat := make([]float32, size)
		for i := range flat {
			flat[i] = float32(r.NormFloat64())
		}
		return tensors.FromFlatDataAndDimensions(flat, dims...)
	}
	tests := []transposed{
		{"add", []int{3, 4}, func(x *Node, r *rand.Rand) *Node { return Add(x, Const(x.Graph(), random(r, 1, 4))) }, false},
		{"add to itself", []int{3, 4}, func(x *Node, _ *rand.Rand) *Node { return Add(x, x) }, false},
		{"add broadcast", []int{3, 1, 4}, func(x *Node, r *rand.Rand) *Node { return Add(x, Const(x.Graph(), random(r, 1, 5, 4))) }, false},
		{"subtract from", []int{3, 4}, func(x *Node, r *rand.Rand) *Node { return Sub(Const(x.Graph(), random(r, 1, 4)), x) }, false},
		{"negate", []int{3, 4}, func(x *Node, _ *rand.Rand) *Node { return Neg(x) }, false},
		{"multiply", []int{3, 4}, func(x *Node, r *rand.Rand) *Node { return Mul(Const(x.Graph(), random(r, 3, 4)), x) }, false},
		{"multiply broadcast", []int{3, 1, 4}, func(x *Node, r *rand.Rand) *Node { return Mul(x, Const(x.Graph(), random(r, 1, 5, 4))) }, false},
		{"divide", []int{3, 4}, func(x *Node, r *rand.Rand) *Node { return Div(x, Const(x.Graph(), random(r, 1, 4))) }, false},
		{"dot", []int{3, 4}, func(x *Node, r *rand.Rand) *Node { return Dot(x, Const(x.Graph(), random(r, 4, 5))).Product() }, false},
		{"dot left", []int{3, 4}, func(x *Node, r *rand.Rand) *Node {
			return DotGeneral(Const(x.Graph(), random(r, 3, 5, 4)), []int{2}, []int{0}, x, []int{1}, []int{0})
		}, false},
		{"dot batched", []int{3, 4, 2}, func(x *Node, r *rand.Rand) *Node {
			return DotGeneral(x, []int{1}, []int{0}, Const(x.Graph(), random(r, 3, 4, 5)), []int{1}, []int{0})
		}, false},
		{"reshape", []int{3, 4}, func(x *Node, _ *rand.Rand) *Node { return Reshape(x, 3, 2, 2) }, false},
		{"transpose", []int{3, 4, 5}, func(x *Node, _ *rand.Rand) *Node { return TransposeAllAxes(x, 0, 2, 1) }, false},
		{"broadcast", []int{3, 1, 4}, func(x *Node, _ *rand.Rand) *Node { return BroadcastToDims(x, 3, 5, 4) }, false},
		{"broadcast new axis", []int{3, 4}, func(x *Node, _ *rand.Rand) *Node { return ExpandAndBroadcast(x, []int{3, 5, 4}, []int{1}) }, false},
		{"slice", []int{3, 9}, func(x *Node, _ *rand.Rand) *Node { return Slice(x, AxisRange(), AxisRange(1, 8).Stride(3)) }, false},
		{"slice to the end", []int{3, 9}, func(x *Node, _ *rand.Rand) *Node { return Slice(x, AxisRange(), AxisRange(2).Stride(2)) }, false},
		{"reverse", []int{3, 4, 5}, func(x *Node, _ *rand.Rand) *Node { return Reverse(x, 1) }, false},
		{"identity", []int{3, 4}, func(x *Node, _ *rand.Rand) *Node { return StopGradient(x) }, false},
		{"to float64", []int{3, 4}, func(x *Node, _ *rand.Rand) *Node { return ConvertDType(x, dtypes.Float64) }, false},
		{"concatenate", []int{3, 4}, func(x *Node, r *rand.Rand) *Node {
			return Concatenate([]*Node{x, Const(x.Graph(), random(r, 3, 2)), x}, 1)
		}, false},
		{"pad", []int{3, 4}, func(x *Node, _ *rand.Rand) *Node {
			return Pad(x, Scalar(x.Graph(), x.DType(), 2), PadAxis{}, PadAxis{Start: 2, End: 1, Interior: 2})
		}, false},
		{"sum", []int{3, 4, 5}, func(x *Node, _ *rand.Rand) *Node { return ReduceSum(x, 1) }, false},
	}
	tests = append(tests, transposedConvolutions(random)...)
	for _, name := range []string{backend.Auto, backend.Go} {
		b, err := backend.OpenNamed(name)
		if err != nil {
			t.Fatal(err)
		}
		// All in one graph, because every compilation takes its time.
		var names []string
		sums, err := ExecOnceN(b, func(g *Graph) (out []*Node) {
			for i, test := range tests {
				r := rand.New(rand.NewPCG(uint64(i), 3))
				x := Const(g, random(r, test.input...))
				n := test.apply(x, r)
				w := &Walk{x: x, Nodes: []*Node{x, n}, Index: map[NodeId]int{x.Id(): 0, n.Id(): 1}}
				u := &Unit{Node: n, Inputs: n.Inputs(), perturbed: w.PerturbedInputs(n), Rule: Rules[n.Type()]}
				rule := u.Rule
				if rule == nil || !rule.Affine() || rule.Check(w, u) != nil {
					t.Errorf("%s is a %s: there is no affine rule for it", test.name, n.Type())
					continue
				}
				dims := n.Shape().Dimensions
				Λ := ConvertDType(Const(g, random(r, dims...)), n.DType())
				var Λs map[int]*Node
				var bias *Node
				err := Catch(func() { Λs, bias = rule.Backward(w, u, Λ, nil) })
				if test.refused != (err != nil) {
					t.Errorf("%s: error %v, should there be one: %v", test.name, err, test.refused)
				}
				if err != nil {
					continue
				}
				left, right := ReduceAllSum(Mul(Λ, n)), ScalarZero(g, x.DType())
				for _, part := range Λs {
					right = Add(right, ReduceAllSum(Mul(part, x)))
				}
				right = ConvertDType(right, n.DType())
				if bias != nil {
					right = Add(right, ReduceAllSum(bias))
				}
				names = append(names, test.name)
				size := ReduceAllSum(Abs(Mul(Λ, n)))
				for _, v := range []*Node{left, right, size} {
					out = append(out, ConvertDType(v, dtypes.Float64))
				}
			}
			return out
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range names {
			left, right, size := tensors.ToScalar[float64](sums[3*i]), tensors.ToScalar[float64](sums[3*i+1]), tensors.ToScalar[float64](sums[3*i+2])
			if !(math.Abs(left-right) <= 2e-6*size) {
				t.Errorf("%s: %s: ⟨Λ, n(h)⟩ = %g, by its transpose %g", b.Name(), name, left, right)
			}
		}
	}
}

// transposedConvolutions are convolutions of all kinds.
func transposedConvolutions(random func(r *rand.Rand, dims ...int) *tensors.Tensor) (tests []transposed) {
	for _, size := range []int{1, 2, 3, 4} {
		for _, stride := range []int{1, 2, 3} {
			for _, dilation := range []int{1, 2} {
				if stride > 1 && dilation > 1 {
					continue // GoMLX builds none
				}
				for _, groups := range []int{1, 2} {
					for _, padding := range [][2]int{{0, 0}, {1, 1}, {2, 0}} {
						name := fmt.Sprintf("convolution size %d stride %d dilation %d groups %d padding %v", size, stride, dilation, groups, padding)
						tests = append(tests, transposed{name, []int{2, 8, 9, 4}, func(x *Node, r *rand.Rand) *Node {
							conv := Convolve(x, Const(x.Graph(), random(r, size, size, 4/groups, 6)))
							return conv.Strides(stride).DilationPerAxis(dilation,
								dilation).ChannelGroupCount(groups).PaddingPerDim([][2]int{padding, padding}).Done()
						}, false})
					}
				}
			}
		}
	}
	return tests
}

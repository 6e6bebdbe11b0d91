package certify_test

import (
	"fmt"
	"math"
	"math/big"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib/certify"
)

func repeated(v float32, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = v
	}
	return x
}

// otherOrders are models whose operations XLA computes in other orders than they are written in, or Go's backend in one
// of them, with an input where that shows: each was outside of bounds that count the errors of one operation after the
// other.
var otherOrders = []struct {
	name string
	x    []float32
	says bool // bounds are finite
	f    func(x *Node) *Node
}{
	// A product of a matrix and one vector starts from the bias: a hundred roundings at 1e8, not one.
	{"dot + bias", repeated(3, 100), true, func(x *Node) *Node {
		return Add(Dot(x, values(x, []int{100, 3}, repeated(1, 300)...)).Product(), values(x, []int{1, 3}, 1e8, -1e8, 1))
	}},
	{"bias + dot", repeated(3, 100), true, func(x *Node) *Node {
		return Add(BroadcastToDims(values(x, []int{1, 3}, 1e8, 1e8, 1), x.Shape().Dimensions[0], 3),
			Dot(x, values(x, []int{100, 3}, repeated(1, 300)...)).Product())
	}},
	{"bias, reshaped", repeated(3, 100), true, func(x *Node) *Node {
		h := Reshape(Dot(x, values(x, []int{100, 4}, repeated(1, 400)...)).Product(), -1, 2, 2)
		return flat(Add(h, values(x, []int{1, 1, 2}, 1e8, -1e8)))
	}},
	{"dot + bias, then ReLU and tanh", repeated(3, 100), true, func(x *Node) *Node {
		h := Add(Dot(x, values(x, []int{100, 3}, repeated(1, 300)...)).Product(), values(x, []int{1, 3}, 1e8, -1e8, 1))
		return Concatenate([]*Node{Max(h, ZerosLike(h)), Tanh(MulScalar(h, 1e-8))}, 1)
	}},
	{"two dots", repeated(3, 100), true, func(x *Node) *Node {
		big := Dot(x, values(x, []int{100, 1}, repeated(3e5, 100)...)).Product()
		return Add(Dot(x, values(x, []int{100, 1}, repeated(1, 100)...)).Product(), big)
	}},
	{"convolution + bias", repeated(3, 100), true, func(x *Node) *Node {
		return AddScalar(flat(Convolve(Reshape(x, -1, 100, 1), values(x, []int{50, 1, 1}, repeated(1, 50)...)).NoPadding().Done()), 1e8)
	}},
	{"sum + number", repeated(3, 100), true, func(x *Node) *Node { return AddScalar(ReduceAndKeep(x, ReduceSum, 1), 1e8) }},
	// (x + a) + b is x + (a + b).
	{"x + a + b", []float32{-1e8}, true, func(x *Node) *Node { return AddScalar(AddScalar(x, 1e8), 0.3) }},
	{"x - a - b", []float32{1e8}, true, func(x *Node) *Node { return AddScalar(AddScalar(x, -1e8), -0.3) }},
	{"b + (a - x)", []float32{1e8}, true, func(x *Node) *Node { return AddScalar(Sub(MulScalar(OnesLike(x), 1e8), x), 0.3) }},
	{"rows", []float32{-1e8, 3}, true, func(x *Node) *Node {
		return Add(Add(x, values(x, []int{1, 2}, 1e8, 1)), values(x, []int{1, 2}, 0.3, 1))
	}},
	{"x + a + b + a + b", []float32{-2e8}, true, func(x *Node) *Node {
		return AddScalar(AddScalar(AddScalar(AddScalar(x, 1e8), 0.3), 1e8), 0.3)
	}},
	{"-(x + a) + b", []float32{-1e8}, true, func(x *Node) *Node { return AddScalar(Neg(AddScalar(x, 1e8)), 0.3) }},
	{"in a function", []float32{-1e8}, true, func(x *Node) *Node {
		h := AddScalar(AddScalar(x, 1e8), 0.3)
		return Mul(h, Tanh(h))
	}},
	// (x·a)·b is x·(a·b), which under- or overflows.
	{"x·a·b, underflow", []float32{1e35}, true, func(x *Node) *Node { return MulScalar(MulScalar(x, 1e-30), 1e-30) }},
	{"x·a·b, overflow", []float32{1e-30}, false, func(x *Node) *Node { return MulScalar(MulScalar(x, 1e30), 1e30) }},
	{"x/a/b", []float32{1e38}, false, func(x *Node) *Node { return DivScalar(DivScalar(x, 1e30), 1e30) }},
	{"x/a/b, overflow", []float32{1e-37}, false, func(x *Node) *Node { return DivScalar(DivScalar(x, 1e-30), 1e-30) }},
	{"a/x/x", []float32{1e25}, false, func(x *Node) *Node { return Div(Div(MulScalar(OnesLike(x), 1e30), x), x) }},
	{"a/x/y", []float32{1e25, 1e25}, false, func(x *Node) *Node { return Div(Div(MulScalar(OnesLike(x), 1e30), x), Reverse(x, 1)) }},
	{"a·x·b·y", []float32{1e20, 1e-30}, false, func(x *Node) *Node { return Mul(MulScalar(x, 1e20), MulScalar(Reverse(x, 1), 1e-20)) }},
	{"a·x·y", []float32{1e-30, 1e20}, false, func(x *Node) *Node { return Mul(MulScalar(x, 1e30), Reverse(x, 1)) }},
	{"a·x, reshaped, ·b", []float32{1e35, 1}, true, func(x *Node) *Node {
		return flat(MulScalar(Reshape(MulScalar(x, 1e-30), -1, 1, 2),
			1e-30))
	}},
	{"x·[a]·x", []float32{5.7e-21}, true, func(x *Node) *Node { return Mul(Dot(x, values(x, []int{1, 1}, 1e25)).Product(), x) }},
	{"convolution·a", []float32{1e35, 1}, true, func(x *Node) *Node {
		return flat(MulScalar(Convolve(Reshape(x, -1, 2, 1), values(x, []int{1, 1, 1}, 1e-30)).NoPadding().Done(), 1e-30))
	}},
	{"dot·a", []float32{1e35, 1}, true, func(x *Node) *Node {
		return MulScalar(Dot(x, values(x, []int{2, 1}, 1e-30, 1)).Product(), 1e-30)
	}},
	{"x·a + y·a", []float32{3e38, 3e38}, false, func(x *Node) *Node { return Add(MulScalar(x, 1./1024), MulScalar(Reverse(x, 1), 1./1024)) }},
	// exp(a)·exp(b) is exp(a + b).
	{"exp·exp", []float32{80.1, 1.2345e-4}, true, func(x *Node) *Node { return Mul(Exp(x), Exp(Reverse(x, 1))) }},
	{"exp/exp", []float32{80.1, 1.2345e-4}, true, func(x *Node) *Node { return Div(Exp(Reverse(x, 1)), Exp(x)) }},
	{"exp·exp of one", []float32{60.12345}, true, func(x *Node) *Node { return Mul(Exp(x), Exp(MulScalar(x, 1e-6))) }},
	{"exp²", []float32{40.12345}, true, func(x *Node) *Node { return PowScalar(Exp(x), 2) }},
	// What changes nothing is left out, and what stands on either side of it is one sum.
	{"x + a, part of a concatenation, + b", []float32{-1e8}, true, func(x *Node) *Node {
		h := Concatenate([]*Node{AddScalar(x, 1e8), MulScalar(x, 2)}, 1)
		return AddScalar(Slice(h, AxisRange(), AxisRange(0, 1)), 0.3)
	}},
	{"(x + a)·1 + b", []float32{-1e8}, true, func(x *Node) *Node {
		return AddScalar(Mul(AddScalar(x, 1e8), values(x, []int{1, 1}, 1)), 0.3)
	}},
	{"(x + a)/1 + b", []float32{-1e8}, true, func(x *Node) *Node {
		return AddScalar(Div(AddScalar(x, 1e8), values(x, []int{1, 1}, 1)), 0.3)
	}},
	{"(x + a)·[1] + b", []float32{-1e8}, true, func(x *Node) *Node {
		return AddScalar(Dot(AddScalar(x, 1e8), values(x, []int{1, 1}, 1)).Product(), 0.3)
	}},
	{"(x + a)·[1] + b, not a chain", []float32{-1e8}, true, func(x *Node) *Node { // float32 holds both numbers
		return AddScalar(Dot(AddScalar(x, 1e8), values(x, []int{1, 1}, 1)).Product(), 0.25)
	}},
	{"convolution of 1", repeated(-1e8, 4), true, func(x *Node) *Node {
		return AddScalar(flat(Convolve(Reshape(AddScalar(x, 1e8), -1, 4, 1), values(x, []int{1, 1, 1}, 1)).NoPadding().Done()), 0.3)
	}},
	{"mean of one", repeated(-1e8, 4), true, func(x *Node) *Node {
		return AddScalar(flat(MeanPool(Reshape(AddScalar(x, 1e8), -1, 4, 1)).Window(1).Done()), 0.3)
	}},
	{"maximum of one", repeated(-1e8, 2), true, func(x *Node) *Node {
		return AddScalar(ReduceMax(Reshape(AddScalar(x, 1e8), -1, 2, 1), 2), 0.3)
	}},
	{"maximum pooling of one", repeated(-1e8, 2), true, func(x *Node) *Node {
		return AddScalar(flat(MaxPool(Reshape(AddScalar(x, 1e8), -1, 2, 1)).Window(1).Done()), 0.3)
	}},
	{"maximum of two that are one", []float32{-1e8}, true, func(x *Node) *Node {
		h := AddScalar(x, 1e8)
		return AddScalar(Max(h, h), 0.3)
	}},
	{"choice between two that are one", []float32{-1e8}, true, func(x *Node) *Node {
		h := AddScalar(x, 1e8)
		return AddScalar(Where(GreaterThan(x, ZerosLike(x)), h, h), 0.3)
	}},
	{"choice that is sure", []float32{-1e8}, true, func(x *Node) *Node {
		return AddScalar(Where(GreaterThan(OnesLike(x), ZerosLike(x)), AddScalar(x, 1e8), x), 0.3)
	}},
	{"logarithm of an exponential", []float32{-1e8}, true, func(x *Node) *Node { return AddScalar(Log(Exp(AddScalar(x, 1e8))), 0.3) }},
	{"a function of such", []float32{-1e8}, true, func(x *Node) *Node {
		h := MulScalar(AddScalar(x, 1e8), 1)
		return Mul(Tanh(AddScalar(h, 0.3)), AddScalar(h, 0.3))
	}},
	{"tanh of such", []float32{-1e8}, true, func(x *Node) *Node {
		return Tanh(AddScalar(Mul(AddScalar(x, 1e8), values(x, []int{1, 1}, 1)), 0.3))
	}},
	{"function + x + a + b", []float32{-1e8}, true, func(x *Node) *Node {
		return AddScalar(Add(AddScalar(Tanh(x), -1e8), AddScalar(x, 2e8)), 0.3)
	}},
	// So are powers of a product, and products on either side.
	{"(x·a)², overflow", []float32{1e35}, false, func(x *Node) *Node { return Square(MulScalar(x, 1e-30)) }},
	{"(x·a)², underflow", []float32{1e-25}, false, func(x *Node) *Node { return Square(MulScalar(x, 1e25)) }},
	{"(x·a) to the second", []float32{1e35}, false, func(x *Node) *Node { return PowScalar(MulScalar(x, 1e-30), 2) }},
	{"(x·a) to the third", []float32{1e-25}, false, func(x *Node) *Node { return PowScalar(MulScalar(x, 1e25), 3) }},
	{"(x/a)²", []float32{1e25}, false, func(x *Node) *Node { return Square(DivScalar(x, 1e25)) }},
	{"x·a, part of a concatenation, ·b", []float32{1e35}, true, func(x *Node) *Node {
		return MulScalar(Slice(Concatenate([]*Node{MulScalar(x, 1e-30), x}, 1), AxisRange(), AxisRange(0, 1)), 1e-30)
	}},
	{"x·a·tanh(x)·b", []float32{1e35}, true, func(x *Node) *Node { return MulScalar(Mul(MulScalar(x, 1e-30), Tanh(x)), 1e-30) }},
	// And exponentials, whatever else is a factor.
	{"2·exp·exp", []float32{40.1, 1.2345e-4}, true, func(x *Node) *Node { return Mul(MulScalar(Exp(x), 2), Exp(Reverse(x, 1))) }},
	{"exp·y·exp", []float32{40.1, 1.2345e-4}, true, func(x *Node) *Node { return Mul(Mul(Exp(x), Reverse(x, 1)), Exp(Reverse(x, 1))) }},
	{"exp(a)·exp", []float32{1.2345e-4}, true, func(x *Node) *Node { return Mul(Exp(x), Exp(MulScalar(OnesLike(x), 40.1))) }},
	{"exp, part of a concatenation, ·exp", []float32{40.1, 1.2345e-4}, true, func(x *Node) *Node {
		return Mul(Slice(Concatenate([]*Node{Exp(x), x}, 1), AxisRange(), AxisRange(0, 2)), Exp(Reverse(x, 1)))
	}},
	{"sum of one exp, ·exp", []float32{40.1, 1e-5}, true, func(x *Node) *Node {
		return Mul(ReduceSum(Reshape(Exp(x), -1, 2, 1), 2), Exp(Reverse(x, 1)))
	}},
	{"exp·[1]·exp", []float32{40.1}, true, func(x *Node) *Node {
		return Mul(Dot(Exp(x), values(x, []int{1, 1}, 1)).Product(), Exp(MulScalar(x, 1e-7)))
	}},
	{"logarithm of an exponential, reshaped", []float32{-1e8, -1e8}, true, func(x *Node) *Node {
		return AddScalar(flat(Log(Reshape(Exp(AddScalar(x, 1e8)), -1, 2, 1))), 0.3)
	}},
	// What is above the largest number by no more than a rounding.
	{"largest", []float32{1.7014117e38, 1.7014117e38}, false, func(x *Node) *Node { return Dot(x, values(x, []int{2, 1}, 1, 1)).Product() }},
	// A denormal number counts as 0.
	{"a/x", []float32{1e-39, 3e-39}, false, func(x *Node) *Node { return Div(MulScalar(OnesLike(x), 1e-38), x) }},
	{"x/a", []float32{1e-38, 3e-38}, false, func(x *Node) *Node { return DivScalar(x, 1e-39) }},
	{"logarithm", []float32{1e-40, 0.5}, false, Log},
	{"logarithm of more", []float32{0.25, 1e-30}, true, Log},
	{"square root", []float32{1e-40, 0.5}, false, Sqrt},
	{"1/√x", []float32{1e-30, 0.5}, true, func(x *Node) *Node { return Inverse(Sqrt(x)) }},
}

// The outputs of models that a backend computes in another order than written stay within bounds, with one example at a
// time and with several.
func TestOtherOrders(t *testing.T) {
	for name, b := range backends(t) {
		for i, m := range otherOrders {
			t.Run(fmt.Sprintf("%s/%s", name, m.name), func(t *testing.T) {
				f := func(_ *model.Scope, x *Node) *Node { return m.f(x) }
				net, err := certify.New(certify.Source{Name: m.name, Graph: f, Input: []int{len(m.x)}, Backend: b})
				if err != nil {
					t.Fatal(err)
				}
				methods := []certify.Method{certify.IBP, certify.CROWNIBP}
				if i%3 > 0 {
					methods = append(methods, certify.CROWN) // a chain's, if it is one
				}
				if i%3 > 0 && !full { // XLA computes the model all the same; the Go backend compiles its bounds faster
					if err := net.BoundOnGo(); err != nil {
						t.Fatal(err)
					}
				}
				forward := model.MustNewExec(b, model.NewStore(), f)
				at := make([]float64, len(m.x))
				for i, v := range m.x {
					at[i] = float64(v)
				}
				for _, method := range methods {
					a, err := net.Bound(ctx, certify.Query{Regions: certify.Boxes([][]float64{at}, [][]float64{at}),
						Rows: [][][]float64{certify.EachOutput(net.Outputs())}}, method)
					if err != nil {
						t.Fatal(err)
					}
					for _, n := range []int{1, 2, 32} {
						var x []float32
						for range n {
							x = append(x, m.x...)
						}
						y := tensors.MustCopyFlatData[float32](forward.MustCall(tensors.FromFlatDataAndDimensions(x, n, len(m.x)))[0])
						for k := range net.Outputs() {
							l, v, u := a.Lower[0][k], float64(y[k]), -a.Lower[0][net.Outputs()+k]
							open := math.IsInf(l, -1) && math.IsInf(u, 1)
							if !open && !(l <= v && v <= u) || m.says && (math.IsInf(l, 0) || math.IsInf(u, 0)) {
								t.Errorf("%v, %d examples: output %d is %g, its bounds are [%g, %g]", method, n, k, v, l, u)
							}
						}
					}
				}
			})
		}
	}
}

// Rows over outputs that are copies of inputs, or next to it: the model rounds nothing, and the row's own sum, in
// float64, does. Without what is subtracted for that, 0.1·x + 0.2·x − 0.3·x is at least 5.55e-17·x, and is 2.78e-17·x.
func TestRowsOfCopies(t *testing.T) {
	models := []struct {
		name string
		f    func(x *Node) *Node
	}{
		{"copies", func(x *Node) *Node { return Concatenate([]*Node{x, x, x}, 1) }},
		{"broadcast", func(x *Node) *Node { return BroadcastToDims(x, x.Shape().Dimensions[0], 3) }},
		{"sums that cancel", func(x *Node) *Node { return BroadcastToDims(AddScalar(x, -1e8), x.Shape().Dimensions[0], 3) }},
		{"ReLUs", func(x *Node) *Node { h := Max(x, ZerosLike(x)); return Concatenate([]*Node{h, h, h}, 1) }},
		{"gathered", func(x *Node) *Node {
			at := Const(x.Graph(), [][]int32{{0}, {0}, {0}})
			return Reshape(BackendGather(x, at, 1, []int{0}, []int{1}, []int{1}, []int{x.Shape().Dimensions[0], 1}, false), -1, 3)
		}},
	}
	rows := [][]float64{{0.1, 0.2, -0.3}, {-0.1, -0.2, 0.3}, {0.7, -0.6, -0.1}, {-0.7, 0.6, 0.1}, {1e16, 1, -1e16}, {1e16, -1, -1e16}}
	for name, b := range backends(t) {
		for _, m := range models {
			net, err := certify.New(certify.Source{Name: m.name, Graph: func(_ *model.Scope, x *Node) *Node { return m.f(x) }, Input: []int{1},
				Backend: b})
			if err != nil {
				t.Fatal(err)
			}
			for _, method := range []certify.Method{certify.IBP, certify.CROWNIBP, certify.CROWN} {
				for _, x := range []float64{1e8, float64(float32(1e8 / 3.)), 16777217. / 16} {
					x := float64(float32(x))
					a, err := net.Bound(ctx, certify.Query{Regions: certify.Boxes([][]float64{{x}}, [][]float64{{x}}), Rows: [][][]float64{rows}}, method)
					if err != nil {
						t.Fatal(err)
					}
					y := float32(x)
					if m.name == "sums that cancel" {
						y -= 1e8
					}
					for s, row := range rows {
						want := exactly(row, []float32{y, y, y})
						low := a.Lower[0][s]
						if want.Cmp(big.NewFloat(low)) < 0 {
							t.Errorf("%s/%s, %v, x = %g: row %g is at least %.17g, and is %.17g", name, m.name, method, x, row, low, want)
						}
						// What is subtracted is a few units in the last place of the terms.
						size := math.Max(math.Abs(row[0]), math.Abs(row[2])) * math.Max(x, 1e8)
						if v, _ := want.Float64(); !(v-low <= 1e-12*size) && m.name != "sums that cancel" && m.name != "ReLUs" {
							t.Errorf("%s/%s, %v, x = %g: row %g is at least %.17g, far below %.17g", name, m.name, method, x, row, low, v)
						}
					}
				}
			}
		}
	}
}

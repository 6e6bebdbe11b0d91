package certify_test

import (
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/ml/nn"

	"advlab/advlib"
)

// weights are drawn from N(0, scale²); the same seed gives the same weights.
func weights(x *Node, seed uint64, scale float64, dims ...int) *Node {
	r := rand.New(rand.NewPCG(seed, 1))
	size := 1
	for _, d := range dims {
		size *= d
	}
	flat := make([]float32, size)
	for i := range flat {
		flat[i] = float32(scale * r.NormFloat64())
	}
	return values(x, dims, flat...)
}

// values are constants of the type of x.
func values(x *Node, dims []int, flat ...float32) *Node {
	return ConvertDType(Const(x.Graph(), tensors.FromFlatDataAndDimensions(flat, dims...)), x.DType())
}

func flat(x *Node) *Node { return Reshape(x, x.Shape().Dimensions[0], -1) }

// dense is xW + b on the last axis of x [n, d].
func dense(x *Node, seed uint64, out int) *Node {
	d := x.Shape().Dimensions[1]
	return Add(Dot(x, weights(x, seed, 1.5/float64(d), d, out)).Product(), weights(x, seed+1000, 0.3, 1, out))
}

// testModel is a small model; together they use every rule.
type testModel struct {
	name   string
	input  []int
	box    advlib.Box
	logits func(x *Node) *Node
}

var testModels = []testModel{
	{"mlp", []int{5}, advlib.UnitBox, func(x *Node) *Node {
		h := activation.Relu(dense(x, 1, 16))
		h = activation.Relu(dense(h, 2, 16))
		return dense(activation.Relu(dense(h, 3, 16)), 4, 4)
	}},
	{"fused-mlp", []int{5}, advlib.UnitBox, func(x *Node) *Node {
		W, b := weights(x, 1, 0.5, 5, 12), weights(x, 2, 0.3, 12)
		h := nn.Dense(x, W, b, compute.DenseLayoutInputOutputs, activation.TypeRelu)
		return nn.Dense(h, weights(x, 3, 0.5, 12, 3), nil, compute.DenseLayoutInputOutputs)
	}},
	{"strided-cnn", []int{6, 6, 2}, advlib.UnitBox, func(x *Node) *Node {
		h := activation.Relu(Convolve(x, weights(x, 1, 0.3, 3, 3, 2, 4)).Strides(2).PadSame().Done())
		h = activation.Relu(Convolve(h, weights(x, 2, 0.3, 2, 2, 4, 4)).PaddingPerDim([][2]int{{1, 0}, {2, 1}}).Done())
		h = activation.Relu(Convolve(h, weights(x, 3, 0.3, 2, 2, 4, 4)).Dilations(2).PadSame().Done())
		h = activation.Relu(Convolve(h, weights(x, 4, 0.3, 3, 3, 2, 4)).ChannelGroupCount(2).PadSame().Done())
		return dense(flat(h), 5, 3)
	}},
	{"residual", []int{4, 4, 2}, advlib.UnitBox, func(x *Node) *Node {
		h := Convolve(x, weights(x, 1, 0.3, 3, 3, 2, 4)).PadSame().Done()
		h = activation.Relu(Add(h, weights(x, 5, 0.3, 1, 1, 1, 4)))
		h = Add(h, activation.Relu(Convolve(h, weights(x, 2, 0.3, 3, 3, 4, 4)).PadSame().Done()))
		h = Sub(h, MulScalar(activation.Relu(Convolve(h, weights(x, 3, 0.3, 1, 1, 4, 4)).PadSame().Done()), 2))
		h = Add(h, h)
		return dense(ReduceMean(h, 1, 2), 4, 3)
	}},
	{"preprocessing", []int{4, 3, 2}, advlib.Box{Lo: 0, Hi: 255}, func(x *Node) *Node {
		h := DivScalar(x, 255)
		h = Div(Sub(h, values(x, []int{1, 1, 1, 2}, 0.4, 0.6)), values(x, []int{1, 1, 1, 2}, 0.5, -0.25))
		h = AddScalar(MulScalar(h, 2), -1)
		h = ClipScalar(h, -2, 1.5)
		h = Transpose(h, 1, 3)
		h = Reverse(h, 1, 2)
		h = Pad(h, Scalar(x.Graph(), h.DType(), 0.7), PadAxis{}, PadAxis{Start: 1}, PadAxis{Start: 1, End: 1, Interior: 1}, PadAxis{})
		h = Slice(h, AxisRange(), AxisRange(), AxisRange(1).Stride(2), AxisRange(0, 3))
		h = flat(Sub(OnesLike(h), Neg(h)))
		h = Concatenate([]*Node{h, BroadcastToDims(Scalar(x.Graph(), h.DType(), 0.3), h.Shape().Dimensions[0], 2), h}, 1)
		h = Min(dense(h, 1, 12), values(x, []int{1, 1}, 0.8))
		return dense(activation.Relu(Identity(h)), 2, 3)
	}},
	{"shapes-first", []int{4, 3}, advlib.Box{Lo: -1, Hi: 1}, func(x *Node) *Node {
		// Every operation that keeps x up to place, offset and scale, before the first sum.
		h := Transpose(x, 1, 2)
		h = Pad(h, Scalar(x.Graph(), h.DType(), -0.2), PadAxis{}, PadAxis{Start: 1, End: 1}, PadAxis{})
		h = Concatenate([]*Node{h, BroadcastToDims(Scalar(x.Graph(), h.DType(), 0.3), h.Shape().Dimensions[0], 1, 4)}, 1)
		h = Reverse(h, 2)
		h = Neg(Sub(values(x, []int{1, 6, 1}, 1, -1, 0.5, 0.2, 0, 3), Mul(h, values(x, []int{1, 1, 4}, 1, -2, 0.5, -1))))
		h = Slice(h, AxisRange(), AxisRange(0, 5))
		h = Div(BroadcastToDims(InsertAxes(h, 1), h.Shape().Dimensions[0], 1, 5, 4), values(x, []int{1, 1, 1, 1}, -0.5))
		wide, sums := flat(h), flat(ReduceSum(h, 2))
		h = Concatenate([]*Node{dense(wide, 1, 8), sums}, 1)
		return dense(activation.Relu(h), 3, 3)
	}},
	{"merged-axes", []int{3, 4}, advlib.UnitBox, func(x *Node) *Node {
		n := x.Shape().Dimensions[0]
		h := activation.Relu(dense(Reshape(x, n*3, 4), 1, 6))
		return dense(activation.Relu(dense(Reshape(h, n, 18), 2, 8)), 3, 2)
	}},
}

func (m testModel) classifier(t testing.TB, b compute.Backend) *advlib.Classifier {
	t.Helper()
	c, err := advlib.NewClassifier(advlib.Spec{Name: m.name, Input: m.input, Box: m.box, Backend: b,
		Logits: func(_ *model.Scope, x *Node) *Node { return m.logits(x) }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// examples are n random inputs, a third of whose coordinates lie at an end of the box; labels are what c predicts.
func (m testModel) examples(t testing.TB, c *advlib.Classifier, n int) *advlib.Examples {
	t.Helper()
	r := rand.New(rand.NewPCG(7, uint64(n)))
	size := 1
	for _, d := range m.input {
		size *= d
	}
	x := make([]float32, n*size)
	for i := range x {
		u := r.Float64()
		switch r.IntN(6) {
		case 0:
			u = 0
		case 1:
			u = 1
		}
		x[i] = float32(m.box.Lo + u*m.box.Width())
	}
	z, err := c.Logits(tensors.FromFlatDataAndDimensions(x, append([]int{n}, m.input...)...))
	if err != nil {
		t.Fatal(err)
	}
	y := make([]int32, n)
	for i, row := range z {
		for k, v := range row {
			if v > row[y[i]] {
				y[i] = int32(k)
			}
		}
	}
	e, err := advlib.NewExamples(m.name, x, m.input, y)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

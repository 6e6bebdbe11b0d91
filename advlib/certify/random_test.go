package certify_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/ml/nn"

	"advlab/advlib"
	"advlab/advlib/certify"
	"advlab/advlib/onnx"
)

// A random model is a list of steps, each of which goes on with what the last one has made, and may look back. A step
// fits every shape, so that a model is still one when steps are left out: that is how failures are made small.
type randomStep struct {
	name string
	f    func(earlier []*Node) *Node
}

type randomModel struct {
	seed  uint64
	input []int
	steps []randomStep
	last  randomStep
	// about is where all coordinates of its boxes are near, if it is not 0: there a first sum cancels.
	about float64
	// network, if it is not nil, is the model in place of steps: of a file in ONNX.
	network *onnx.Network
}

// store holds the model's variables; steps have constants.
func (m randomModel) store() *model.Store {
	if m.network != nil {
		return m.network.Store()
	}
	return model.NewStore()
}

func (m randomModel) graph(scope *model.Scope, x *Node) *Node {
	if m.network != nil {
		return m.network.Graph(scope.Store().RootScope(), x)
	}
	h := []*Node{x}
	for _, s := range m.steps {
		h = append(h, s.f(h))
	}
	return m.last.f(h)
}

func (m randomModel) String() string {
	names := []string{fmt.Sprintf("x%v", m.input)}
	for _, s := range append(slices.Clone(m.steps), m.last) {
		names = append(names, s.name)
	}
	return fmt.Sprintf("model %d: %s", m.seed, strings.Join(names, " → "))
}

// constant draws a constant: most are about 1, some as models have them, some extreme, and some that cancel each other.
func constant(r *rand.Rand) float32 {
	sign := float32(1 - 2*r.IntN(2))
	switch r.IntN(12) {
	case 0, 1:
		return sign * []float32{1, 1, 2, 1. / 255, 0.3, 0.25e8, 0.5e8, 0.75e8, 1e8, 1e8, 1e8}[r.IntN(11)]
	case 3:
		return sign * float32(math.Pow(10, 16*r.Float64()-8))
	case 2:
		return sign * []float32{1e30, 1e-30, 1e15, 1e-15, 1e-38, 1e-40, 1e20, 1e-20, 1}[r.IntN(9)]
	}
	return sign * float32(0.1+2*r.Float64())
}

// addends draws what is added on one side of something and on the other, so that the second sum may be small after
// large ones.
func addends(r *rand.Rand) (first, second float64) {
	a := []float64{1e8, 0.5e8, 0.25e8, 2e8}[r.IntN(4)] * float64(1-2*r.IntN(2))
	return a, []float64{0.3, -0.7, -a, -a / 2}[r.IntN(4)]
}

// mild draws a constant that is about 1.
func mild(r *rand.Rand) float32 { return float32((0.2 + 1.5*r.Float64()) * float64(1-2*r.IntN(2))) }

// numbersLike returns a constant of the given shape: of independent draws, or one draw's multiples.
func numbersLike(x *Node, r *rand.Rand, dims ...int) *Node {
	flat := make([]float32, sizeOfDims(dims))
	scale := constant(r)
	for i := range flat {
		switch r.IntN(10) {
		case 0:
			flat[i] = constant(r)
		case 1:
			flat[i] = 0
		default:
			flat[i] = scale * mild(r)
		}
	}
	return values(x, dims, flat...)
}

func sizeOfDims(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// onLast returns dims of a constant that stands for each number of the last axis.
func onLast(h *Node) []int {
	dims := slices.Repeat([]int{1}, h.Rank())
	dims[h.Rank()-1] = h.Shape().Dimensions[h.Rank()-1]
	return dims
}

func tokens(h *Node) *Node { // [n, a, b, ...] to [n, a·b·…, c]
	d := h.Shape().Dimensions
	if h.Rank() == 2 {
		return Reshape(h, d[0], d[1], 1)
	}
	return Reshape(h, d[0], -1, d[h.Rank()-1])
}

// before returns an earlier node of the shape of the last, or the last itself.
func before(earlier []*Node, k int) *Node {
	h := earlier[len(earlier)-1]
	var fit []*Node
	for _, e := range earlier[:len(earlier)-1] {
		if e.Shape().Equal(h.Shape()) {
			fit = append(fit, e)
		}
	}
	if len(fit) == 0 {
		return h
	}
	return fit[k%len(fit)]
}

// randomSteps are the kinds of steps; each draws what it needs when the model is made, from a generator of its own.
var randomSteps = []struct {
	name   string
	weight int
	f      func(h *Node, earlier []*Node, r *rand.Rand) *Node
}{
	{"dense", 6, func(h *Node, _ []*Node, r *rand.Rand) *Node {
		d := h.Shape().Dimensions[h.Rank()-1]
		return DotGeneral(h, []int{h.Rank() - 1}, nil, numbersLike(h, r, d, 1+r.IntN(4)), []int{0}, nil)
	}},
	{"mild dense", 6, func(h *Node, _ []*Node, r *rand.Rand) *Node {
		d := h.Shape().Dimensions[h.Rank()-1]
		k := 1 + r.IntN(4)
		flat := make([]float32, d*k)
		for i := range flat {
			flat[i] = mild(r)
		}
		return DotGeneral(h, []int{h.Rank() - 1}, nil, values(h, []int{d, k}, flat...), []int{0}, nil)
	}},
	{"conv", 5, func(h *Node, _ []*Node, r *rand.Rand) *Node {
		h = tokens(h)
		d := h.Shape().Dimensions
		if d[1] >= 4 && d[1]%2 == 0 && r.IntN(2) == 0 {
			h = Reshape(h, d[0], d[1]/2, 2, d[2])
		}
		rank := h.Rank() - 2
		groups := 1
		if d[2]%2 == 0 && r.IntN(3) == 0 {
			groups = 2
		}
		var kernel, strides, dilations []int
		var pads [][2]int
		for i := range rank {
			kernel, strides, dilations = append(kernel, 1+r.IntN(3)), append(strides, 1+r.IntN(3)), append(dilations, 1+r.IntN(2))
			reach := (kernel[i]-1)*dilations[i] + 1
			pads = append(pads, [2]int{r.IntN(reach + 1), max(0, reach-h.Shape().Dimensions[1+i]) + r.IntN(2)})
		}
		c := Convolve(h, numbersLike(h, r, append(kernel, d[2]/groups, groups*(1+r.IntN(2)))...)).StridePerAxis(strides...).PaddingPerDim(pads)
		if slices.Max(strides) == 1 {
			c = c.DilationPerAxis(dilations...)
		}
		return c.ChannelGroupCount(groups).Done()
	}},
	{"+ constant", 8, func(h *Node, _ []*Node, r *rand.Rand) *Node {
		if r.IntN(2) == 0 {
			return AddScalar(h, float64(constant(r)))
		}
		return Add(h, numbersLike(h, r, onLast(h)...))
	}},
	{"constant −", 2, func(h *Node, _ []*Node, r *rand.Rand) *Node { return Sub(numbersLike(h, r, onLast(h)...), h) }},
	{"· constant", 6, func(h *Node, _ []*Node, r *rand.Rand) *Node {
		if r.IntN(2) == 0 {
			return Mul(h, values(h, slices.Repeat([]int{1}, h.Rank()), constant(r)))
		}
		return Mul(h, numbersLike(h, r, onLast(h)...))
	}},
	{"/ constant", 4, func(h *Node, _ []*Node, r *rand.Rand) *Node {
		return Div(h, values(h, slices.Repeat([]int{1}, h.Rank()), constant(r)))
	}},
	{"norm", 3, func(h *Node, _ []*Node, r *rand.Rand) *Node {
		var flat [3][]float32
		dims := onLast(h)
		for i := range flat {
			for range sizeOfDims(dims) {
				v := constant(r)
				if i == 1 {
					v = float32(math.Abs(float64(mild(r))))
				}
				flat[i] = append(flat[i], v)
			}
		}
		v := func(i int) *Node { return values(h, dims, flat[i]...) }
		return Add(Mul(Sub(h, v(0)), Rsqrt(AddScalar(v(1), 1e-5))), v(2))
	}},
	{"relu", 8, func(h *Node, _ []*Node, _ *rand.Rand) *Node { return Max(h, ZerosLike(h)) }},
	{"clip", 2, func(h *Node, _ []*Node, r *rand.Rand) *Node {
		return Min(Max(h, values(h, slices.Repeat([]int{1}, h.Rank()), -1)), numbersLike(h, r, onLast(h)...))
	}},
	{"function", 8, func(h *Node, _ []*Node, r *rand.Rand) *Node {
		at := func(v *Node) *Node { return MulScalar(v, float64(mild(r))) }
		switch r.IntN(20) {
		case 0:
			return Abs(h)
		case 1:
			return Tanh(at(h))
		case 2:
			return Sigmoid(h)
		case 3:
			return Exp(at(h))
		case 4:
			return Expm1(Min(h, OnesLike(h)))
		case 5:
			return Log(AddScalar(Abs(h), math.Abs(float64(mild(r)))))
		case 6:
			return Log1P(Abs(h))
		case 7:
			return Sqrt(AddScalar(Abs(h), 0.1))
		case 8:
			return Erf(h)
		case 9:
			return Square(at(h))
		case 10:
			return PowScalar(h, float64(2+r.IntN(3)))
		case 11:
			return softplus(h)
		case 12:
			return Mul(h, Sigmoid(at(h)))
		case 13:
			return Inverse(AddScalar(Square(h), math.Abs(float64(mild(r)))))
		case 14:
			return Rsqrt(AddScalar(Abs(h), math.Abs(float64(constant(r)))))
		case 15:
			return Mul(h, MulScalar(AddScalar(Erf(DivScalar(h, math.Sqrt2)), 1), 0.5))
		case 16:
			return Div(h, OnePlus(Abs(h)))
		case 17:
			return elu(h)
		case 18:
			return Mul(Exp(at(Tanh(h))), Exp(at(h)))
		}
		return Max(h, MulScalar(h, 0.1))
	}},
	{"pool", 3, func(h *Node, _ []*Node, r *rand.Rand) *Node {
		h = tokens(h)
		size, stride := 1+r.IntN(min(3, h.Shape().Dimensions[1])), 1+r.IntN(2)
		if r.IntN(2) == 0 {
			return MaxPool(h).Window(size).Strides(stride).NoPadding().Done()
		}
		return MeanPool(h).Window(size).Strides(stride).NoPadding().Done()
	}},
	{"reduce", 4, func(h *Node, _ []*Node, r *rand.Rand) *Node {
		axis := 1 + r.IntN(h.Rank()-1)
		switch r.IntN(4) {
		case 0:
			return ReduceAndKeep(h, ReduceMax, axis)
		case 1:
			return ReduceAndKeep(h, ReduceMin, axis)
		case 2:
			return ReduceAndKeep(h, ReduceMean, axis)
		}
		return ReduceAndKeep(h, ReduceSum, axis)
	}},
	{"concatenate", 3, func(h *Node, earlier []*Node, r *rand.Rand) *Node {
		axis := 1 + r.IntN(h.Rank()-1)
		if r.IntN(3) == 0 {
			return Concatenate([]*Node{h, BroadcastToDims(numbersLike(h, r, slices.Repeat([]int{1}, h.Rank())...), h.Shape().Dimensions...)}, axis)
		}
		return Concatenate([]*Node{h, before(earlier, r.IntN(5)), h}, axis)
	}},
	{"slice", 4, func(h *Node, _ []*Node, r *rand.Rand) *Node {
		axis := 1 + r.IntN(h.Rank()-1)
		d := h.Shape().Dimensions[axis]
		ranges := make([]SliceAxisSpec, h.Rank())
		for i := range ranges {
			ranges[i] = AxisRange()
		}
		from := r.IntN(d)
		ranges[axis] = AxisRange(from, from+1+r.IntN(d-from)).Stride(1 + r.IntN(2))
		return Slice(h, ranges...)
	}},
	{"pad", 2, func(h *Node, _ []*Node, r *rand.Rand) *Node {
		pads := make([]PadAxis, h.Rank())
		pads[1+r.IntN(h.Rank()-1)] = PadAxis{Start: r.IntN(2), End: r.IntN(2), Interior: r.IntN(2)}
		return Pad(h, Scalar(h.Graph(), h.DType(), float64(constant(r))), pads...)
	}},
	{"reverse", 2, func(h *Node, _ []*Node, r *rand.Rand) *Node { return Reverse(h, 1+r.IntN(h.Rank()-1)) }},
	{"gather", 2, func(h *Node, _ []*Node, r *rand.Rand) *Node {
		h = flat(h)
		n, d := h.Shape().Dimensions[0], h.Shape().Dimensions[1]
		at := make([][]int32, 1+r.IntN(3))
		for i := range at {
			at[i] = []int32{int32(r.IntN(d))}
		}
		return Reshape(BackendGather(h, Const(h.Graph(), at), 1, []int{0}, []int{1}, []int{1}, []int{n, 1}, false), n, len(at))
	}},
	{"transpose", 2, func(h *Node, _ []*Node, _ *rand.Rand) *Node { h = tokens(h); return Transpose(h, 1, 2) }},
	{"flatten", 2, func(h *Node, _ []*Node, _ *rand.Rand) *Node { return flat(h) }},
	{"+ earlier", 5, func(h *Node, earlier []*Node, r *rand.Rand) *Node { return Add(h, before(earlier, r.IntN(5))) }},
	{"− earlier", 4, func(h *Node, earlier []*Node, r *rand.Rand) *Node { return Sub(before(earlier, r.IntN(5)), h) }},
	{"· earlier", 4, func(h *Node, earlier []*Node, r *rand.Rand) *Node { return Mul(h, before(earlier, r.IntN(5))) }},
	{"· reversed", 2, func(h *Node, _ []*Node, _ *rand.Rand) *Node { return Mul(h, Reverse(h, h.Rank()-1)) }},
	{"/ earlier", 3, func(h *Node, earlier []*Node, r *rand.Rand) *Node {
		return Div(h, AddScalar(Abs(before(earlier, r.IntN(5))), math.Abs(float64(constant(r)))))
	}},
	{"max earlier", 3, func(h *Node, earlier []*Node, r *rand.Rand) *Node {
		if r.IntN(2) == 0 {
			return Min(h, before(earlier, r.IntN(5)))
		}
		return Max(h, before(earlier, r.IntN(5)))
	}},
	{"softmax", 2, func(h *Node, _ []*Node, _ *rand.Rand) *Node { return Softmax(h, -1) }},
	{"mask", 2, func(h *Node, earlier []*Node, r *rand.Rand) *Node {
		w := numbersLike(h, r, onLast(h)...)
		return Where(BroadcastToDims(GreaterThan(w, ZerosLike(w)), h.Shape().Dimensions...), h, before(earlier, r.IntN(5)))
	}},
	{"choice", 2, func(h *Node, earlier []*Node, r *rand.Rand) *Node {
		return Where(GreaterThan(Reverse(h, h.Rank()-1), ZerosLike(h)), h, before(earlier, r.IntN(5)))
	}},
	{"wave", 3, func(h *Node, _ []*Node, r *rand.Rand) *Node {
		at := func() *Node { return MulScalar(h, float64(constant(r))) }
		switch r.IntN(6) {
		case 0:
			return Sin(h)
		case 1:
			return Cos(at())
		case 2:
			return Atan2(h, OnesLike(h))
		case 3:
			return Add(Sin(at()), Cos(h))
		case 4:
			return Mul(h, Sin(h))
		}
		return Sin(at())
	}},
	{"step", 4, func(h *Node, _ []*Node, r *rand.Rand) *Node {
		steps := []func(*Node) *Node{Floor, Ceil, Round, Sign}
		step := steps[r.IntN(len(steps))]
		switch r.IntN(4) {
		case 0:
			return Sub(h, step(h))
		case 1:
			return Mul(h, step(MulScalar(h, float64(mild(r)))))
		case 2:
			return step(MulScalar(h, float64(constant(r))))
		}
		return step(h)
	}},
	{"condition", 5, func(h *Node, earlier []*Node, r *rand.Rand) *Node {
		e, k := before(earlier, r.IntN(5)), values(h, slices.Repeat([]int{1}, h.Rank()), constant(r))
		compare := []func(a, b *Node) *Node{GreaterThan, GreaterOrEqual, LessThan, LessOrEqual, Equal, NotEqual}
		one := func() *Node {
			a := []*Node{h, e, Reverse(h, h.Rank()-1)}[r.IntN(3)]
			b := []*Node{k, ZerosLike(h), e, BroadcastToDims(ReduceAndKeep(h, ReduceMean, h.Rank()-1), h.Shape().Dimensions...)}[r.IntN(4)]
			return compare[r.IntN(len(compare))](BroadcastToDims(a, h.Shape().Dimensions...), BroadcastToDims(b, h.Shape().Dimensions...))
		}
		c := one()
		switch r.IntN(6) {
		case 0:
			c = LogicalNot(c)
		case 1:
			c = LogicalAnd(c, one())
		case 2:
			c = LogicalOr(LogicalNot(c), one())
		case 3:
			c = LogicalXor(c, one())
		}
		switch r.IntN(3) {
		case 0:
			return Where(c, h, e)
		case 1:
			return ConvertDType(c, h.DType())
		}
		return Mul(h, ConvertDType(c, h.DType()))
	}},
	{"cumulative", 3, func(h *Node, _ []*Node, r *rand.Rand) *Node {
		return CumSum(h, 1+r.IntN(h.Rank()-1), &CumSumOptions{Exclusive: r.IntN(2) == 0, Reverse: r.IntN(2) == 0})
	}},
	{"tile", 2, func(h *Node, _ []*Node, r *rand.Rand) *Node {
		d := h.Shape().Dimensions
		wide := BroadcastToDims(InsertAxes(h, 1), append([]int{d[0], 2}, d[1:]...)...)
		return Reshape(wide, append([]int{d[0], 2 * d[1]}, d[2:]...)...)
	}},
	{"without a rule", 1, func(h *Node, _ []*Node, r *rand.Rand) *Node {
		switch r.IntN(4) {
		case 0:
			return Mod(h, OnesLike(h))
		case 1:
			return Sort(h, 1, true)
		case 2:
			return Add(h, ConvertDType(ConvertDType(h, dtypes.Int32), h.DType()))
		}
		return Add(h, ReduceAndKeep(h, ReduceMultiply, h.Rank()-1))
	}},
	{"attention", 1, func(h *Node, _ []*Node, _ *rand.Rand) *Node {
		h = tokens(h)
		scores := DotGeneral(h, []int{2}, []int{0}, h, []int{2}, []int{0})
		return DotGeneral(Softmax(scores, -1), []int{2}, []int{0}, h, []int{1}, []int{0})
	}},
	{"rewritten", 6, func(h *Node, earlier []*Node, r *rand.Rand) *Node { // what XLA has another form for
		c := func() *Node { return values(h, slices.Repeat([]int{1}, h.Rank()), constant(r)) }
		e := before(earlier, r.IntN(5))
		safe := func(v *Node) *Node { return AddScalar(Abs(v), math.Abs(float64(constant(r)))) }
		switch r.IntN(20) {
		case 0:
			return Div(c(), Div(safe(h), safe(e)))
		case 1:
			return Mul(Div(h, safe(e)), safe(e))
		case 2:
			return Div(Div(h, safe(e)), c())
		case 3:
			return PowScalar(PowScalar(h, float64(2+r.IntN(2))), 2)
		case 4:
			v := Sqrt(safe(h))
			return Mul(v, v)
		case 5:
			return Mul(Sqrt(safe(h)), Sqrt(safe(e)))
		case 6:
			return Div(h, Sqrt(safe(e)))
		case 7:
			return Log(PowScalar(safe(h), 2))
		case 8:
			k := c()
			return Add(Mul(h, k), Mul(e, k))
		case 9:
			return Add(Mul(h, c()), Mul(h, c()))
		case 10:
			k := c()
			return Sub(Add(h, k), k)
		case 11:
			d := h.Shape().Dimensions[h.Rank()-1]
			return DotGeneral(h, []int{h.Rank() - 1}, nil, values(h, []int{d, 2}, repeated(constant(r), 2*d)...), []int{0}, nil)
		case 12:
			return Mul(Mul(h, c()), Mul(e, c()))
		case 13:
			return Div(Mul(h, c()), Mul(safe(e), c()))
		case 14:
			v := MulScalar(Tanh(h), 20)
			return Div(Exp(v), Mul(Exp(MulScalar(Tanh(e), 20)), c()))
		case 15:
			return PowScalar(Exp(MulScalar(Tanh(h), 10)), 2)
		case 16:
			return Exp(Log(safe(h)))
		case 17:
			return Add(Mul(Sub(h, e), c()), e)
		case 18:
			return ReduceAndKeep(Mul(h, c()), ReduceSum, h.Rank()-1)
		}
		return Inverse(Inverse(safe(h)))
	}},
	{"layer", 5, func(h *Node, _ []*Node, r *rand.Rand) *Node { // of which the Go backend fuses some
		last := h.Rank() - 1
		d := h.Shape().Dimensions[last]
		per := func() *Node { return numbersLike(h, r, d) }
		switch r.IntN(7) {
		case 0:
			return activation.Gelu(h)
		case 1:
			return activation.GeluApproximate(h)
		case 2:
			return nn.LayerNorm(h, []int{last}, 1e-3, per(), per(), nil)
		case 3:
			return nn.LayerNorm(h, []int{last}, 1e-5, nil, nil, nil)
		case 4:
			return LogSoftmax(h, last)
		}
		k := 1 + r.IntN(3)
		types := []activation.Type{activation.TypeNone, activation.TypeRelu, activation.TypeSigmoid, activation.TypeLeakyRelu,
			activation.TypeSelu,
			activation.TypeSwish, activation.TypeHardSwish, activation.TypeTanh, activation.TypeGelu, activation.TypeGeluApprox}
		h = flat(h)
		return nn.Dense(h, numbersLike(h, r, h.Shape().Dimensions[1], k), numbersLike(h, r, k), compute.DenseLayoutInputOutputs,
			types[r.IntN(len(types))])
	}},
	{"nothing", 8, func(h *Node, _ []*Node, r *rand.Rand) (out *Node) { // between two sums, or not
		first, second := 0., 0.
		if r.IntN(2) == 0 {
			first, second = addends(r)
		}
		if first != 0 {
			h = AddScalar(h, first)
			defer func() { out = AddScalar(out, second) }()
		}
		switch r.IntN(8) {
		case 5:
			return Log(Exp(h))
		case 6:
			return DotGeneral(InsertAxes(h, -1), []int{h.Rank()}, nil, values(h, []int{1}, 1), []int{0}, nil)
		case 0:
			return Mul(h, values(h, slices.Repeat([]int{1}, h.Rank()), 1))
		case 1:
			return AddScalar(h, 0)
		case 2:
			return Neg(Neg(h))
		case 3:
			return Max(h, h)
		case 4:
			return Reshape(ReduceMax(InsertAxes(h, -1), -1), h.Shape().Dimensions...)
		}
		d := h.Shape().Dimensions[1]
		both := Concatenate([]*Node{h, Neg(h)}, 1)
		ranges := []SliceAxisSpec{AxisRange(), AxisRange(0, d)}
		for range h.Rank() - 2 {
			ranges = append(ranges, AxisRange())
		}
		return Slice(both, ranges...)
	}},
}

// newRandomModel makes the model of a seed.
func newRandomModel(seed uint64) randomModel {
	r := rand.New(rand.NewPCG(seed, 0x6d6f64656c))
	m := randomModel{seed: seed, input: [][]int{{1}, {2}, {3}, {4, 2}, {4, 2, 2}, {5, 1}}[r.IntN(6)]}
	total := 0
	for _, s := range randomSteps {
		total += s.weight
	}
	step := func(k int, key uint64) randomStep {
		s := randomSteps[k]
		return randomStep{fmt.Sprintf("%s#%x", s.name, key&0xfff), func(earlier []*Node) *Node {
			return s.f(earlier[len(earlier)-1], earlier, rand.New(rand.NewPCG(key, 0x73746570)))
		}}
	}
	random := func(most int) {
		for range most {
			at, k := r.IntN(total), 0
			for at >= randomSteps[k].weight {
				at -= randomSteps[k].weight
				k++
			}
			m.steps = append(m.steps, step(k, r.Uint64()))
		}
	}
	if seed%4 != 1 {
		random(2 + r.IntN(9))
	} else { // sums with little between them, the first of which cancels; and what may be left out before
		exact := []string{"nothing", "slice", "pad", "reverse", "gather", "transpose", "flatten", "concatenate", "mask", "pool", "reduce"}
		between := func(most int) {
			for range r.IntN(most + 1) {
				name := exact[r.IntN(len(exact))]
				for k, s := range randomSteps {
					if s.name == name {
						m.steps = append(m.steps, step(k, r.Uint64()))
					}
				}
			}
		}
		plus := func(v float64) {
			vector := r.IntN(2) == 0
			m.steps = append(m.steps, randomStep{fmt.Sprintf("+ %g", v), func(earlier []*Node) *Node {
				h := earlier[len(earlier)-1]
				if !vector {
					return AddScalar(h, v)
				}
				dims := onLast(h)
				return Add(h, values(h, dims, repeated(float32(v), sizeOfDims(dims))...))
			}})
		}
		a, b := addends(r)
		m.about = -a
		between(1)
		plus(a)
		between(3)
		plus(b)
		random(r.IntN(4))
	}
	key := r.Uint64()
	outputs := 1 + r.IntN(3)
	if r.IntN(2) == 0 {
		m.last = randomStep{fmt.Sprintf("output %d", outputs), func(earlier []*Node) *Node {
			h := flat(earlier[len(earlier)-1])
			return Slice(h, AxisRange(), AxisRange(0, min(outputs, h.Shape().Dimensions[1])))
		}}
	} else {
		m.last = randomStep{fmt.Sprintf("dense output#%x", key&0xfff), func(earlier []*Node) *Node {
			h := flat(earlier[len(earlier)-1])
			return Dot(h, numbersLike(h, rand.New(rand.NewPCG(key, 1)), h.Shape().Dimensions[1], outputs)).Product()
		}}
	}
	return m
}

// randomBox is a box with points of it, float32 numbers all.
type randomBox struct {
	lower, upper []float64
	points       [][]float32
}

// newRandomBox draws a box: of about 1, huge, tiny or denormal numbers, as thin as a point or wide, and points:
// corners, the centre, neighbours of these, and others.
func newRandomBox(r *rand.Rand, size, points int, about float64, scales []float64) randomBox {
	b := randomBox{lower: make([]float64, size), upper: make([]float64, size)}
	scale := []float64{1, 1, 1, 1e3, 1e8, 1e8, 1e8, 1e20, 1e35, 1e-5, 1e-20, 1e-37, 1e-40}[r.IntN(13)]
	if scales != nil {
		scale = scales[r.IntN(len(scales))]
	}
	width := []float64{0, 1e-7, 1e-4, 0.03, 0.5, 2}[r.IntN(6)]
	if about != 0 {
		scale, width = about, []float64{0, 1e-9, 1e-8}[r.IntN(3)]
	}
	ends := [2][]float32{make([]float32, size), make([]float32, size)}
	for j := range size {
		c := scale * (2*r.Float64() - 1)
		if r.IntN(6) == 0 || scale == 1e8 && r.IntN(4) > 0 { // which constants may cancel
			c = scale * math.Round(4*(2*r.Float64()-1)) / 4
		}
		if about != 0 {
			c = about
		}
		w := width * math.Abs(scale) * r.Float64()
		lo, hi := float32(c-w), float32(c+w)
		if width == 1e-7 {
			lo, hi = float32(c), math.Nextafter32(float32(c), float32(math.Inf(1)))
		}
		ends[0][j], ends[1][j] = lo, hi
		b.lower[j], b.upper[j] = float64(lo), float64(hi)
	}
	clamp := func(j int, v float32) float32 { return min(max(v, ends[0][j]), ends[1][j]) }
	for p := range points {
		x := make([]float32, size)
		for j := range x {
			lo, hi := ends[0][j], ends[1][j]
			switch p % 4 {
			case 0:
				x[j] = ends[r.IntN(2)][j]
			case 1:
				x[j] = clamp(j, float32(float64(lo)+(float64(hi)-float64(lo))*r.Float64()))
			case 2:
				x[j] = clamp(j, float32(float64(lo)/2+float64(hi)/2))
				for range r.IntN(3) {
					x[j] = clamp(j, math.Nextafter32(x[j], []float32{lo, hi}[r.IntN(2)]))
				}
			default:
				x[j] = clamp(j, math.Nextafter32(ends[r.IntN(2)][j], []float32{lo, hi}[r.IntN(2)]))
			}
		}
		b.points = append(b.points, x)
	}
	return b
}

// inBall puts a ball into the box, and moves the points into it.
func (b *randomBox) inBall(norm advlib.ConvexNorm, r *rand.Rand) (centre []float64, radius float64) {
	k := r.IntN(len(b.points))
	for j, v := range b.points[k] {
		centre = append(centre, float64(v))
		radius = max(radius, b.upper[j]-b.lower[j])
	}
	radius *= 0.2 + r.Float64()
	for p, x := range b.points {
		far := func() bool {
			sum := new(big.Float).SetPrec(400)
			for j, v := range x {
				d := new(big.Float).SetPrec(400).Sub(big.NewFloat(float64(v)), big.NewFloat(centre[j]))
				if norm == advlib.L2 {
					d.Mul(d, d)
				}
				sum.Add(sum, d.Abs(d))
			}
			limit := new(big.Float).SetPrec(400).SetFloat64(radius)
			if norm == advlib.L2 {
				limit.Mul(limit, limit)
			}
			return sum.Cmp(limit) > 0
		}
		δ := make([]float32, len(x))
		for j, v := range x {
			δ[j] = float32(float64(v) - centre[j])
		}
		t := 1.
		if length := norm.Distance(δ, make([]float32, len(x))); length > radius {
			t = radius / length // to the sphere, and then inside
		}
		for less := 0.; far(); less = max(4*less, 1e-7) {
			t = max(0, t*(1-less))
			for j := range x {
				x[j] = min(max(float32(centre[j]+t*float64(δ[j])), float32(b.lower[j])), float32(b.upper[j]))
			}
			if less > 1e3 {
				t = 0
			}
		}
		b.points[p] = x
	}
	return centre, radius
}

// exactly returns ⟨row, y⟩, as close as its sign and order matter.
func exactly(row []float64, y []float32) *big.Float {
	sum := new(big.Float).SetPrec(600)
	for k, c := range row {
		t := new(big.Float).SetPrec(600).SetFloat64(c)
		sum.Add(sum, t.Mul(t, new(big.Float).SetFloat64(float64(y[k]))))
	}
	return sum
}

// fuzzed is what became of a model.
type fuzzed struct {
	refused          string // why it cannot be bounded
	checked, finite  int    // values compared with bounds, and those whose bounds are finite
	wrong            string
	points, programs int
}

// randomTrial says how a model is tried.
type randomTrial struct {
	deployed compute.Backend
	onGo     bool // bounds are computed on the Go backend, which compiles fast
	methods  []certify.Method
	batches  []int
	gradient bool // outputs are computed in a program with their gradient too
	boxes    int
	points   int
	norm     advlib.ConvexNorm // of balls in the boxes, nil for boxes
	scales   []float64         // of boxes, nil for all
}

// evaluated is a way to compute outputs.
type evaluated struct {
	name string
	y    func(x []float32, n int) ([]float32, error)
}

// ways are those in which outputs are computed.
func (c randomTrial) ways(t *testing.T, m randomModel) []evaluated {
	t.Helper()
	forward, err := model.NewExec(c.deployed, m.store(), m.graph)
	if err != nil {
		t.Fatal(err)
	}
	ways := []evaluated{{"alone", func(x []float32, n int) ([]float32, error) {
		out, err := forward.Exec(tensors.FromFlatDataAndDimensions(x, append([]int{n}, m.input...)...))
		if err != nil {
			return nil, err
		}
		return tensors.MustCopyFlatData[float32](out[0]), nil
	}}}
	if c.gradient {
		both, err := model.NewExec(c.deployed, m.store(), func(s *model.Scope, in []*Node) []*Node {
			y := m.graph(s, in[0])
			return []*Node{y, Gradient(ReduceAllSum(Mul(y, y)), in[0])[0]}
		})
		if err != nil {
			t.Fatal(err)
		}
		ways = append(ways, evaluated{"with its gradient", func(x []float32, n int) ([]float32, error) {
			out, err := both.Exec(tensors.FromFlatDataAndDimensions(x, append([]int{n}, m.input...)...))
			if err != nil {
				return nil, err
			}
			return tensors.MustCopyFlatData[float32](out[0]), nil
		}})
	}
	return ways
}

// below returns the numbers of the first row and answer whose bound in box i the outputs z are below, or whose outputs
// are not finite; −1 if there is none.
func (c randomTrial) below(z []float32, rows [][]float64, answers []*certify.Answer, i int, f *fuzzed) (row, answer int) {
	for a, answer := range answers {
		for s, row := range rows {
			low := answer.Lower[i][s]
			f.checked++
			if math.IsInf(low, -1) {
				continue
			}
			f.finite++
			wrong := false
			for k, v := range z {
				v := float64(v)
				wrong = wrong || row[k] != 0 && (math.IsNaN(v) || math.IsInf(v, 0))
			}
			if wrong || exactly(row, z).Cmp(big.NewFloat(low)) < 0 {
				return s, a
			}
		}
	}
	return -1, 0
}

func (c randomTrial) try(t *testing.T, m randomModel) (f fuzzed) {
	t.Helper()
	net, err := certify.New(certify.Source{Name: m.String(), Graph: m.graph, Store: m.store(), Input: m.input, Backend: c.deployed})
	if err != nil {
		return fuzzed{refused: err.Error()}
	}
	if c.onGo {
		if err := net.BoundOnGo(); err != nil {
			return fuzzed{refused: err.Error()}
		}
	}
	size := net.Size()
	r := rand.New(rand.NewPCG(m.seed, 0x626f78))
	ways := c.ways(t, m)
	K := net.Outputs()
	rows := certify.EachOutput(K)
	for range 3 {
		row := make([]float64, K)
		for k := range row {
			row[k] = []float64{0.1, 0.2, -0.3, 1, -1, 1e-9, 7, r.NormFloat64()}[r.IntN(8)]
		}
		rows = append(rows, row)
	}
	var boxes []randomBox
	var lower, upper [][]float64
	for range c.boxes {
		b := newRandomBox(r, size, c.points, m.about, c.scales)
		boxes, lower, upper = append(boxes, b), append(lower, b.lower), append(upper, b.upper)
	}
	regions := certify.Boxes(lower, upper)
	if c.norm != nil {
		regions.Norm = c.norm
		for i := range boxes {
			centre, radius := boxes[i].inBall(c.norm, r)
			regions.Centre, regions.Radius = append(regions.Centre, centre), append(regions.Radius, radius)
		}
	}
	answers := make([]*certify.Answer, len(c.methods))
	for i, method := range c.methods {
		if answers[i], err = net.Bound(ctx, certify.Query{Regions: regions, Rows: [][][]float64{rows}}, method); err != nil {
			f.wrong = fmt.Sprintf("%v: %v", method, err)
			return f
		}
		for _, b := range answers[i].Lower {
			for s, v := range b {
				if math.IsNaN(v) || math.IsInf(v, 1) {
					f.wrong = fmt.Sprintf("%v: the bound of row %v is %g", method, rows[s], v)
					return f
				}
			}
		}
	}
	for i, b := range boxes {
		for _, way := range ways {
			for _, n := range c.batches {
				f.programs++
				for first := 0; first < len(b.points); first += n {
					var x []float32
					part := b.points[first:min(first+n, len(b.points))]
					for k := range n {
						x = append(x, part[k%len(part)]...)
					}
					y, err := way.y(x, n)
					if err != nil {
						if way.name == "alone" {
							t.Fatalf("%v: %v", m, err)
						}
						break // no gradient
					}
					f.points += len(part)
					for p := range part {
						z := y[p*K : (p+1)*K]
						if s, a := c.below(z, rows, answers, i, &f); s >= 0 {
							f.wrong = fmt.Sprintf("box [%g, %g], x = %g, %d rows, %s: outputs %g, row %g is at least %.12g by %v",
								b.lower, b.upper, part[p], n, way.name, z, rows[s], answers[a].Lower[i][s], c.methods[a])
							return f
						}
					}
					if n == 1 && first >= 8 {
						break
					}
				}
			}
		}
	}
	return f
}

// refusedProperly tells whether a model is refused because of its operations, and not for a mistake in a rule.
func refusedProperly(why string) bool {
	for _, wrong := range []string{"nil", "runtime error", "panicked", "please report", "index out of range"} {
		if strings.Contains(why, wrong) {
			return false
		}
	}
	return strings.Contains(why, "cannot be bounded") || strings.Contains(why, "do not depend on the input") ||
		strings.Contains(why, "rows would mix") ||
		strings.Contains(why, "no rule for it")
}

// smaller leaves out steps as long as bounds stay wrong.
func (c randomTrial) smaller(t *testing.T, m randomModel, f fuzzed) (randomModel, fuzzed) {
	for i := 0; i < len(m.steps); {
		less := m
		less.steps = slices.Delete(slices.Clone(m.steps), i, i+1)
		var g fuzzed
		func() {
			defer func() { _ = recover() }() // the last steps may not fit what is left
			g = c.try(t, less)
		}()
		if g.wrong != "" {
			m, f = less, g
			continue
		}
		i++
	}
	return m, f
}

// TestRandomModels bounds models of random operations with constants of any scale, over boxes of any scale, and
// compares the bounds with what each backend computes in float32: at corners, at their neighbours, and inside, in
// batches of several sizes, and in a program with the gradient. ADVLAB_FULL=1 makes it some thousand models, and
// ADVLAB_SEED another first one.
func TestRandomModels(t *testing.T) {
	first := uint64(1)
	if s := os.Getenv("ADVLAB_SEED"); s != "" {
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first = v
	}
	all := []certify.Method{certify.IBP, certify.CROWNIBP, certify.CROWN, certify.CROWN.WithIBP(),
		certify.CROWNIBP.WithLine(certify.SameSlope), certify.CROWN.WithIBP().WithLine(certify.Zero)}
	for name, b := range backends(t) {
		trial := randomTrial{deployed: b, methods: all, batches: []int{1, 8}, boxes: 4, points: 32}
		models := 60
		if name == "xla" {
			trial.onGo, trial.gradient, trial.batches, models = true, true, []int{1, 32}, 20
		}
		if full {
			models *= 20
		}
		t.Run(name, func(t *testing.T) {
			var total fuzzed
			refused, tried := 0, 0
			for seed := first; seed < first+uint64(models); seed++ {
				m := newRandomModel(seed)
				trial := trial
				trial.norm = []advlib.ConvexNorm{nil, nil, nil, advlib.L2, advlib.L1}[seed%5]
				if seed%8 == 0 {
					trial.methods = append(slices.Clone(all), certify.AlphaCROWN)
				}
				f := trial.try(t, m)
				if f.refused != "" {
					refused++
					if !refusedProperly(f.refused) {
						t.Errorf("%v: %s", m, f.refused)
					}
					continue
				}
				tried++
				if f.wrong != "" {
					m, f = trial.smaller(t, m, f)
					t.Errorf("%v\n%s", m, f.wrong)
				}
				total.checked, total.finite, total.points = total.checked+f.checked, total.finite+f.finite, total.points+f.points
			}
			t.Logf("%s: seeds %d to %d: %d models at %d points, %d refused, %d values, of which %d have finite bounds", name, first,
				first+uint64(models)-1, tried, total.points, refused, total.checked, total.finite)
			if 3*refused > models || 4*total.finite < total.checked {
				t.Errorf("too little is compared")
			}
		})
	}
}

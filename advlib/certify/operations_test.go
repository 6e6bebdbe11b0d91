package certify_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/layers/norm"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/certify"
)

// softplus is ln(1 + eˣ), as one writes it so that it does not overflow.
func softplus(x *Node) *Node { return Add(Max(x, ZerosLike(x)), Log1P(Exp(Neg(Abs(x))))) }

// elu is x for x > 0, eˣ − 1 otherwise.
func elu(x *Node) *Node { return Where(GreaterThan(x, ZerosLike(x)), x, Expm1(Min(x, ZerosLike(x)))) }

// above is 1 where a > b, else 0.
func above(a, b *Node) *Node { return ConvertDType(GreaterThan(a, b), a.DType()) }

// comparisons counts which hold, of two tensors and of each.
func comparisons(x *Node) *Node {
	y := Reverse(x, 1)
	conditions := []*Node{
		GreaterThan(x, y), GreaterOrEqual(x, MulScalar(y, 0.5)), LessThan(x, y), LessOrEqual(x, AddScalar(y, 1)), Equal(x, y), NotEqual(x, y),
		LogicalAnd(GreaterThan(x, y), IsFinite(y)), LogicalOr(LessThan(y, OnesLike(y)), IsNaN(x)), LogicalXor(GreaterThan(x, ZerosLike(x)),
			GreaterThan(y, ZerosLike(y))),
		LogicalNot(LessThan(x, y)),
	}
	sum := MulScalar(x, 0.1)
	for _, c := range conditions {
		sum = Add(sum, ConvertDType(c, x.DType()))
	}
	return sum
}

// between is a model dense, f, dense, f, dense on 5 inputs.
func between(name string, f func(x *Node) *Node) testModel {
	return testModel{name, []int{5}, advlib.Box{Lo: -1, Hi: 1}, func(x *Node) *Node {
		h := f(MulScalar(dense(x, 1, 6), 3))
		return dense(f(MulScalar(dense(h, 2, 6), 2)), 3, 3)
	}}
}

// pooled is a model on images with pooling operations between its layers.
func pooled(name string, pool func(x *Node) *Node) testModel {
	return testModel{name, []int{6, 6, 1}, advlib.UnitBox, func(x *Node) *Node {
		h := activation.Relu(Add(Convolve(x, weights(x, 1, 0.5, 3, 3, 1, 3)).PadSame().Done(), weights(x, 5, 0.2, 1, 1, 1, 3)))
		return dense(activation.Relu(MulScalar(dense(flat(pool(h)), 3, 8), 3)), 4, 3)
	}}
}

// attention is one block of it: tokens of 4 numbers, one head, a residual path, and a mean over tokens.
func attention(x *Node) *Node {
	n := x.Shape().Dimensions[0]
	project := func(seed uint64) *Node {
		return DotGeneral(x, []int{2}, nil, weights(x, seed, 0.6, 4, 4), []int{0}, nil)
	}
	q, k, v := project(1), project(2), project(3)
	scores := MulScalar(DotGeneral(q, []int{2}, []int{0}, k, []int{2}, []int{0}), 0.5) // [n, tokens, tokens]
	mixed := DotGeneral(Softmax(scores, -1), []int{2}, []int{0}, v, []int{1}, []int{0})
	h := Add(x, mixed)
	return dense(activation.Relu(dense(Reshape(ReduceMean(h, 1), n, 4), 5, 8)), 6, 3)
}

// residualNorm is a residual CNN with batch normalisation written out, its scale computed from a variance.
func residualNorm(x *Node) *Node {
	normed := func(h *Node, seed uint64) *Node {
		c := h.Shape().Dimensions[3]
		variance := Square(AddScalar(weights(x, seed, 0.2, 1, 1, 1, c), 1))
		return Add(Mul(Mul(Sub(h, weights(x, seed+1, 0.1, 1, 1, 1, c)), Rsqrt(AddScalar(variance, 1e-5))),
			AddScalar(weights(x, seed+2, 0.1, 1, 1, 1, c), 1)), weights(x, seed+3, 0.1, 1, 1, 1, c))
	}
	conv := func(h *Node, seed uint64, out int) *Node {
		return Convolve(h, weights(x, seed, 0.3, 3, 3, h.Shape().Dimensions[3], out)).PadSame().Done()
	}
	h := activation.Relu(normed(conv(x, 1, 3), 11))
	h = activation.Relu(Add(h, normed(conv(activation.Relu(normed(conv(h, 2, 3), 21)), 3, 3), 31)))
	return dense(ReduceMean(h, 1, 2), 4, 3)
}

// operationModels use, one family each, what testModels do not.
var operationModels = []testModel{
	between("tanh", Tanh),
	between("sigmoid", Sigmoid),
	between("exp", func(x *Node) *Node { return Exp(MulScalar(x, 0.5)) }),
	between("abs", Abs),
	between("leaky ReLU", activation.LeakyRelu),
	between("leaky ReLU as maximum", func(x *Node) *Node { return Max(x, MulScalar(x, 0.1)) }),
	between("PReLU with many slopes", func(x *Node) *Node {
		return Where(GreaterOrEqual(x, ZerosLike(x)), x, Mul(x, weights(x, 9, 0.3, 1, x.Shape().Dimensions[1])))
	}),
	between("ELU", elu),
	between("SELU", activation.Selu),
	between("GELU", func(x *Node) *Node { return Mul(x, MulScalar(AddScalar(Erf(DivScalar(x, math.Sqrt2)), 1), 0.5)) }),
	between("GELU by tanh", activation.GeluApproximate),
	between("Swish", activation.Swish),
	between("hard Swish", activation.HardSwish),
	between("softplus", softplus),
	between("Mish", func(x *Node) *Node { return Mul(x, Tanh(softplus(x))) }),
	between("clip", func(x *Node) *Node {
		return Clip(x, Scalar(x.Graph(), x.DType(), -0.5), Scalar(x.Graph(), x.DType(), 0.7))
	}),
	between("softsign", func(x *Node) *Node { return Div(x, OnePlus(Abs(x))) }),
	between("step", func(x *Node) *Node { return Where(GreaterThan(x, ZerosLike(x)), OnesLike(x), ZerosLike(x)) }),
	between("root of square", func(x *Node) *Node { return Sqrt(AddScalar(Mul(x, x), 0.1)) }),
	between("logarithm", func(x *Node) *Node { return Log(AddScalar(Abs(x), 0.5)) }),
	between("mask", func(x *Node) *Node {
		mask := GreaterThan(weights(x, 9, 1, 1, x.Shape().Dimensions[1]), ZerosLike(weights(x, 9, 1, 1, x.Shape().Dimensions[1])))
		return Where(BroadcastToDims(mask, x.Shape().Dimensions...), activation.Relu(x), Neg(x))
	}),
	between("choice by another", func(x *Node) *Node { return Where(GreaterThan(Reverse(x, 1), ZerosLike(x)), x, MulScalar(x, 0.5)) }),
	between("choice by a remainder", func(x *Node) *Node {
		return Where(GreaterThan(Mod(Reverse(x, 1), OnesLike(x)), MulScalar(OnesLike(x), 0.5)), x, MulScalar(x, 0.5))
	}),
	between("sine and cosine", func(x *Node) *Node { return Add(Sin(x), Cos(MulScalar(x, 3))) }),
	between("arc tangent", func(x *Node) *Node { return Atan2(x, OnesLike(x)) }),
	between("steps of one", func(x *Node) *Node {
		return Add(Add(Floor(x), Ceil(MulScalar(x, -1.3))), Add(Round(MulScalar(x, 2)), Sign(x)))
	}),
	between("mask by itself", func(x *Node) *Node { return Mul(x, above(x, MulScalar(OnesLike(x), 0.3))) }),
	between("mask by another", func(x *Node) *Node { return Mul(x, above(Reverse(x, 1), MulScalar(OnesLike(x), 0.3))) }),
	between("above the mean", func(x *Node) *Node {
		m := BroadcastToDims(ReduceAndKeep(x, ReduceMean, 1), x.Shape().Dimensions...)
		return Where(LogicalAnd(GreaterThan(x, m), LogicalNot(LessOrEqual(Reverse(x, 1), m))), x, MulScalar(m, 0.5))
	}),
	between("all comparisons", comparisons),
	between("cumulative sums", func(x *Node) *Node {
		return Sub(CumSum(activation.Relu(x), 1), CumSum(x, 1, &CumSumOptions{Exclusive: true, Reverse: true}))
	}),
	between("product of two", func(x *Node) *Node { return MulScalar(Mul(x, Tanh(Reverse(x, 1))), 0.3) }),
	between("quotient of two", func(x *Node) *Node { return Div(x, AddScalar(Abs(Reverse(x, 1)), 1)) }),
	between("quotient by what is negative", func(x *Node) *Node {
		return Div(x,
			Sub(ScalarOne(x.Graph(), x.DType()), Exp(Abs(AddScalar(x, 9)))))
	}),
	between("maximum and minimum of two", func(x *Node) *Node { return Add(Max(x, Reverse(x, 1)), Min(x, Neg(Reverse(x, 1)))) }),
	between("largest and least", func(x *Node) *Node {
		n := x.Shape().Dimensions[0]
		return Concatenate([]*Node{x, Reshape(ReduceMax(x, 1), n, 1), Reshape(ReduceMin(x, 1), n, 1)}, 1)
	}),
	between("gather", func(x *Node) *Node {
		n := x.Shape().Dimensions[0]
		at := Const(x.Graph(), [][]int32{{3}, {0}, {3}, {5}})
		picked := BackendGather(x, at, 1, []int{0}, []int{1}, []int{1}, []int{n, 1}, false)
		return activation.Relu(Reshape(picked, n, 4))
	}),
	between("softmax", func(x *Node) *Node { return Softmax(x, -1) }),
	between("RMS norm", func(x *Node) *Node {
		return Div(x, Sqrt(AddScalar(ReduceAndKeep(Mul(x, x), ReduceMean, 1), 0.5)))
	}),
	pooled("max pool", func(x *Node) *Node { return MaxPool(x).Window(2).Done() }),
	pooled("max pool, padded", func(x *Node) *Node { return MaxPool(x).Window(3).Strides(2).PadSame().Done() }),
	pooled("max pool, overlapping", func(x *Node) *Node { return MaxPool(x).Window(3).Strides(1).NoPadding().Done() }),
	pooled("two max pools in a row", func(x *Node) *Node { return MaxPool(MaxPool(x).Window(2).Strides(1).Done()).Window(2).Done() }),
	pooled("mean pool", func(x *Node) *Node { return MeanPool(x).Window(2).Done() }),
	pooled("mean pool, padded and overlapping", func(x *Node) *Node { return MeanPool(x).Window(3).Strides(2).PadSame().Done() }),
	{"attention", []int{3, 4}, advlib.Box{Lo: -1, Hi: 1}, attention},
	{"residual CNN with batch norm", []int{5, 5, 1}, advlib.UnitBox, residualNorm},
}

// Every operation's bounds hold for the float32 outputs at sampled points, for IBP, CROWN-IBP and CROWN, in balls of a
// few sizes and of radius 0, on the Go backend and some on XLA; CROWN's are not much wider than IBP's, and where the
// issue says so, narrower.
func TestOperations(t *testing.T) {
	narrow := map[string]bool{"max pool": true, "max pool, padded": true, "max pool, overlapping": true, "two max pools in a row": true,
		"attention": true, "residual CNN with batch norm": true}
	// all with ADVLAB_FULL=1: XLA compiles each for long
	onXLA := map[string]bool{"softplus": true, "GELU": true, "GELU by tanh": true, "residual CNN with batch norm": true}
	for backendName, b := range backends(t) {
		for _, m := range operationModels {
			if backendName == "xla" && !full && !onXLA[m.name] {
				continue
			}
			t.Run(backendName+"/"+m.name, func(t *testing.T) {
				c := m.classifier(t, b)
				e := m.examples(t, c, 4)
				r := rand.New(rand.NewPCG(1, 2))
				best := certify.CROWN.WithIBP()
				for _, ball := range []advlib.Ball{advlib.Linf.Ball(0), advlib.Linf.Ball(0.03), advlib.L2.Ball(0.3)} {
					z := sample(t, c, e, ball, 200, r)
					for _, method := range []certify.Method{certify.IBP, certify.CROWNIBP, best} {
						checkWithin(t, c, e, ball, method, z)
					}
				}
				if !narrow[m.name] {
					return
				}
				ball := advlib.Linf.Ball(0.03)
				width := map[certify.Method]float64{}
				for _, method := range []certify.Method{certify.IBP, best} {
					lower, upper, err := certify.Bounds(ctx, c, e, ball, method)
					if err != nil {
						t.Fatal(err)
					}
					for i := range lower {
						for k := range lower[i] {
							width[method] += (upper[i][k] - lower[i][k]) / float64(len(lower)*len(lower[i]))
						}
					}
				}
				share := width[best] / width[certify.IBP]
				t.Logf("%v: mean width %.4g by %v, %.4g by IBP: %.3f", ball, width[best], best, width[certify.IBP], share)
				if !(share <= 0.8) {
					t.Errorf("%v's mean width is %.3f of IBP's, want at most 0.8", best, share)
				}
			})
		}
	}
}

// The backend's own batch normalisation at inference, where there is one, with scales of either sign. And mistakes in
// its rule are noticed.
func TestBackendBatchNorm(t *testing.T) {
	for name, b := range backends(t) {
		if !b.Capabilities().Operations[compute.OpTypeBatchNormForInference] {
			t.Logf("the backend %s has no BatchNormForInference", name)
			continue
		}
		store := model.NewStore()
		logits := func(scope *model.Scope, x *Node) *Node {
			h := norm.BatchNorm(scope, dense(x, 1, 4), -1).UseBackendInference(true).Done()
			return dense(activation.Relu(h), 2, 3)
		}
		model.MustNewExec(b, store, logits).MustCall([][]float32{{1, 2, 3, 4}})
		r := rand.New(rand.NewPCG(3, 4))
		for v := range store.IterVariables() {
			flat := make([]float32, v.Shape().Size())
			for i := range flat {
				flat[i] = 0.2 + r.Float32()
				if v.Name() == "scale" && i%2 == 1 {
					flat[i] = -flat[i]
				}
			}
			if v.DType().IsFloat() {
				if err := v.SetValue(tensors.FromFlatDataAndDimensions(flat, v.Shape().Dimensions...)); err != nil {
					t.Fatal(err)
				}
			}
		}
		m := testModel{name: "batch norm", input: []int{4}, box: advlib.UnitBox}
		spec := advlib.Spec{Name: "batch norm", Input: []int{4}, Box: advlib.UnitBox, Store: store, Backend: b, Logits: logits}
		violations := func(spec advlib.Spec) (count int) {
			c, err := advlib.NewClassifier(spec)
			if err != nil {
				t.Fatal(err)
			}
			e := m.examples(t, c, 4)
			for _, ball := range []advlib.Ball{advlib.Linf.Ball(0), advlib.Linf.Ball(0.05), advlib.L2.Ball(0.2)} {
				z := sample(t, c, e, ball, 300, r)
				for _, method := range []certify.Method{certify.IBP, certify.CROWN} {
					lower, upper, err := certify.Bounds(ctx, c, e, ball, method)
					if err != nil {
						t.Fatal(err)
					}
					for _, point := range z {
						for i, row := range point {
							for k, v := range row {
								if !(lower[i][k] <= float64(v) && float64(v) <= upper[i][k]) {
									count++
								}
							}
						}
					}
				}
			}
			return count
		}
		if n := violations(spec); n > 0 {
			t.Errorf("%s: %d outputs are outside of their bounds", name, n)
		}
		// Alone, so that no other operation's error hides a missing one.
		alone := spec
		alone.Logits = func(scope *model.Scope, x *Node) *Node {
			return norm.BatchNorm(scope, x, -1).UseBackendInference(true).Done()
		}
		for _, mutant := range certify.BatchNormMutants {
			on := spec
			if mutant.Model == "alone" {
				on = alone
			}
			restore := mutant.Plant()
			n := violations(on)
			restore()
			t.Logf("%s: %s: %d outputs outside", name, mutant.Name, n)
			if n == 0 {
				t.Errorf("%s: nothing shows that %s", name, mutant.Name)
			}
		}
	}
}

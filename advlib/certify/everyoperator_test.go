package certify_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/certify"
	"advlab/advlib/smooth"
)

// applied is an operation of GoMLX on one or two tensors [n, d] of numbers; its result is made numbers again, [n, ...].
type applied struct {
	one func(a *Node) *Node
	two func(a, b *Node) *Node
	// bounded tells that one, or both, have bounds wherever they stand; other operations are refused by name.
	boundsOne, boundsTwo bool
}

func asNumber(like, c *Node) *Node { return ConvertDType(c, like.DType()) }

func asInt(v *Node) *Node { return ConvertDType(v, dtypes.Int32) }

// everyOperator has all operations of GoMLX v0.28.8 that a model can be made of.
var everyOperator = func() map[NodeType]applied {
	compare := func(f func(a, b *Node) *Node) applied {
		return applied{func(a *Node) *Node { return asNumber(a, f(a, MulScalar(OnesLike(a), 0.2))) },
			func(a, b *Node) *Node { return asNumber(a, f(a, b)) }, true, true}
	}
	total := func(f func(a, b *Node) *Node) applied {
		c := compare(f)
		c.boundsOne, c.boundsTwo = false, false
		return c
	}
	logical := func(f func(a, b *Node) *Node) applied {
		above := func(v *Node, k float64) *Node { return GreaterThan(v, MulScalar(OnesLike(v), k)) }
		return applied{func(a *Node) *Node { return asNumber(a, f(above(a, 0.1), LogicalNot(above(a, 0.5)))) },
			func(a, b *Node) *Node { return asNumber(a, f(above(a, 0.1), above(b, -0.2))) }, true, true}
	}
	one := func(f func(a *Node) *Node) applied { return applied{one: f, boundsOne: true} }
	whole := func(f func(a, b *Node) *Node) applied {
		return applied{one: func(a *Node) *Node { return asNumber(a, f(asInt(a), OnesLike(asInt(a)))) },
			two: func(a, b *Node) *Node { return asNumber(a, f(asInt(a), asInt(b))) }}
	}
	refused := func(f func(a *Node) *Node) applied { return applied{one: f} }
	bits := func(f func(v *Node, axes ...int) *Node) applied {
		return refused(func(a *Node) *Node { return asNumber(a, ReduceAndKeep(asInt(a), f, 1)) })
	}
	holds := func(f func(v *Node, axes ...int) *Node) applied {
		return refused(func(a *Node) *Node { return asNumber(a, ReduceAndKeep(GreaterThan(a, ZerosLike(a)), f, 1)) })
	}
	complexOf := func(a *Node) *Node { return Complex(ConvertDType(a, dtypes.Float32), ConvertDType(a, dtypes.Float32)) }
	at := func(a *Node) []*Node { return []*Node{Const(a.Graph(), int32(0)), Const(a.Graph(), int32(1))} }
	half := func(a *Node) *Node { return MulScalar(OnesLike(a), 0.5) }
	positive := func(a *Node) *Node { return AddScalar(Abs(a), 0.5) }
	batchNorm := func(a *Node) (scale *Node) {
		return Ones(a.Graph(), shapes.Make(a.DType(), a.Shape().Dimensions[1]))
	}
	return map[NodeType]applied{
		NodeTypeAbs: one(Abs), NodeTypeCeil: one(Ceil), NodeTypeCos: one(Cos), NodeTypeErf: one(Erf), NodeTypeExp: one(Exp),
		NodeTypeExpm1: one(Expm1),
		NodeTypeFloor: one(Floor), NodeTypeIdentity: one(Identity), NodeTypeLogistic: one(Logistic), NodeTypeNeg: one(Neg),
		NodeTypeRound: one(Round),
		NodeTypeSign:  one(Sign), NodeTypeSin: one(Sin), NodeTypeTanh: one(Tanh),
		NodeTypeLog:   one(func(a *Node) *Node { return Log(positive(a)) }),
		NodeTypeLog1p: one(func(a *Node) *Node { return Log1P(positive(a)) }),
		NodeTypeSqrt:  one(func(a *Node) *Node { return Sqrt(positive(a)) }),
		NodeTypeRsqrt: one(func(a *Node) *Node { return Rsqrt(positive(a)) }),
		NodeTypeAtan2: {one: func(a *Node) *Node { return Atan2(a, OnesLike(a)) }, two: Atan2, boundsOne: true},
		NodeTypePow: {one: func(a *Node) *Node { return PowScalar(a, 3) }, two: func(a, b *Node) *Node { return Pow(positive(a), b) },
			boundsOne: true},
		NodeTypeRem: {one: func(a *Node) *Node { return Mod(a, half(a)) }, two: func(a, b *Node) *Node { return Mod(a, positive(b)) }},
		NodeTypeClamp: {one: func(a *Node) *Node { return ClipScalar(a, -0.3, 0.4) },
			two: func(a, b *Node) *Node { return Clip(a, Neg(half(a)), positive(b)) }, boundsOne: true},
		NodeTypeAdd: {func(a *Node) *Node { return Add(a, half(a)) }, Add, true, true},
		NodeTypeSub: {func(a *Node) *Node { return Sub(half(a), a) }, Sub, true, true},
		NodeTypeMul: {func(a *Node) *Node { return Mul(half(a), a) }, Mul, true, true},
		NodeTypeDiv: {func(a *Node) *Node { return Div(half(a), positive(a)) }, func(a, b *Node) *Node { return Div(a, positive(b)) }, true,
			true},
		NodeTypeMax:   {func(a *Node) *Node { return Max(a, half(a)) }, Max, true, true},
		NodeTypeMin:   {func(a *Node) *Node { return Min(half(a), a) }, Min, true, true},
		NodeTypeEqual: compare(Equal), NodeTypeNotEqual: compare(NotEqual), NodeTypeGreaterThan: compare(GreaterThan),
		NodeTypeGreaterOrEqual: compare(GreaterOrEqual),
		NodeTypeLessThan:       compare(LessThan), NodeTypeLessOrEqual: compare(LessOrEqual),
		NodeTypeEqualTotalOrder: total(EqualTotalOrder), NodeTypeNotEqualTotalOrder: total(NotEqualTotalOrder),
		NodeTypeGreaterThanTotalOrder:    total(GreaterThanTotalOrder),
		NodeTypeGreaterOrEqualTotalOrder: total(GreaterOrEqualTotalOrder),
		NodeTypeLessThanTotalOrder:       total(LessThanTotalOrder), NodeTypeLessOrEqualTotalOrder: total(LessOrEqualTotalOrder),
		NodeTypeLogicalAnd: logical(LogicalAnd), NodeTypeLogicalOr: logical(LogicalOr), NodeTypeLogicalXor: logical(LogicalXor),
		NodeTypeLogicalNot: one(func(a *Node) *Node { return asNumber(a, LogicalNot(GreaterThan(a, half(a)))) }),
		NodeTypeIsFinite:   one(func(a *Node) *Node { return asNumber(a, IsFinite(a)) }),
		NodeTypeIsNaN:      one(func(a *Node) *Node { return asNumber(a, IsNaN(a)) }),
		NodeTypeWhere: {func(a *Node) *Node { return Where(LessThan(a, half(a)), a, half(a)) },
			func(a, b *Node) *Node { return Where(GreaterThan(a, half(a)), b, Sub(a, b)) }, true, true},
		NodeTypeConvertDType: one(func(a *Node) *Node { return asNumber(a, asInt(GreaterThan(a, half(a)))) }), // of conditions: see below
		NodeTypeBroadcastInDim: one(func(a *Node) *Node {
			return BroadcastToDims(InsertAxes(a, 1), a.Shape().Dimensions[0], 3, a.Shape().Dimensions[1])
		}),
		NodeTypeConcatenate: {func(a *Node) *Node { return Concatenate([]*Node{a, half(a)}, 1) },
			func(a, b *Node) *Node { return Concatenate([]*Node{a, b}, 1) }, true, true},
		NodeTypePad: one(func(a *Node) *Node {
			return Pad(a, Scalar(a.Graph(), a.DType(), 0.3), PadAxis{}, PadAxis{Start: 1, End: 2, Interior: 1})
		}),
		NodeTypeReshape: one(func(a *Node) *Node { return Reshape(a, a.Shape().Dimensions[0], 2, -1) }),
		NodeTypeReverse: one(func(a *Node) *Node { return Reverse(a, 1) }),
		NodeTypeSlice:   one(func(a *Node) *Node { return Slice(a, AxisRange(), AxisRange(1).Stride(2)) }),
		NodeTypeTranspose: one(func(a *Node) *Node {
			return Transpose(Reshape(a, a.Shape().Dimensions[0], 2, -1), 1, 2)
		}),
		NodeTypeCumSum: one(func(a *Node) *Node { return CumSum(a, 1, &CumSumOptions{Exclusive: true}) }),
		NodeTypeReduceSum: one(func(a *Node) *Node {
			return ReduceAndKeep(a, ReduceSum,
				1)
		}), NodeTypeReduceMax: one(func(a *Node) *Node { return ReduceAndKeep(a, ReduceMax, 1) }),
		NodeTypeReduceMin: one(func(a *Node) *Node {
			return ReduceAndKeep(a, ReduceMin,
				1)
		}), NodeTypeReduceProduct: refused(func(a *Node) *Node { return ReduceAndKeep(a, ReduceMultiply, 1) }),
		NodeTypeReduceWindow: one(func(a *Node) *Node { return SumPool(a).FullShape().WindowPerAxis(1, 2).Strides(1).NoPadding().Done() }),
		NodeTypeDotGeneral: {func(a *Node) *Node { return dense(a, 7, 3) },
			func(a, b *Node) *Node {
				return DotGeneral(InsertAxes(a, 2), []int{2}, []int{0}, InsertAxes(b, 1), []int{1}, []int{0})
			}, true, true},
		NodeTypeConvGeneral: {one: func(a *Node) *Node { return Convolve(InsertAxes(a, -1), weights(a, 8, 1, 2, 1, 2)).NoPadding().Done() },
			two: func(a, b *Node) *Node { // kernels that depend on x
				kernel := Reshape(Slice(ReduceAndKeep(b, ReduceSum, 0), AxisRange(), AxisRange(0, 2)), 2, 1, 1)
				return Convolve(InsertAxes(a, -1), kernel).NoPadding().Done()
			}, boundsOne: true},
		NodeTypeGather: {one: func(a *Node) *Node {
			n := a.Shape().Dimensions[0]
			return Reshape(BackendGather(a, Const(a.Graph(), [][]int32{{1}, {0}, {1}}), 1, []int{0}, []int{1}, []int{1}, []int{n, 1}, false), n, 3)
		}, two: func(a, b *Node) *Node { // where it reads depends on x
			return Reshape(Gather(weights(a, 3, 1, 9, 2), Reshape(asInt(Add(a, b)), -1, 1)), a.Shape().Dimensions[0], -1)
		}, boundsOne: true},
		NodeTypeArgMinMax: refused(func(a *Node) *Node { return InsertAxes(asNumber(a, ArgMax(a, 1)), 1) }),
		NodeTypeBatchNormForInference: one(func(a *Node) *Node {
			k := batchNorm(a)
			return InternalBatchNormForInference(a, k, k, k, k, 1e-3, 1)
		}),
		NodeTypeBatchNormForTraining: refused(func(a *Node) *Node {
			y, _, _ := InternalBatchNormForTraining(a, batchNorm(a), batchNorm(a), 1e-3, 1)
			return y
		}),
		NodeTypeBatchNormGradient: refused(func(a *Node) *Node {
			k := batchNorm(a)
			y, _, _ := InternalBatchNormGradient(a, k, k, k, a, 1e-3, 1)
			return y
		}),
		NodeTypeBitCount: whole(func(a, _ *Node) *Node { return BitCount(a) }), NodeTypeClz: whole(func(a, _ *Node) *Node { return Clz(a) }),
		NodeTypeBitwiseAnd: whole(BitwiseAnd), NodeTypeBitwiseOr: whole(BitwiseOr), NodeTypeBitwiseXor: whole(BitwiseXor),
		NodeTypeBitwiseNot: whole(func(a, _ *Node) *Node { return BitwiseNot(a) }),
		NodeTypeShiftLeft:  whole(BitwiseShiftLeft), NodeTypeShiftRightArithmetic: whole(BitwiseShiftRightArithmetic),
		NodeTypeShiftRightLogical: whole(BitwiseShiftRightLogical),
		NodeTypeBitcast: refused(func(a *Node) *Node {
			return asNumber(a, Bitcast(ConvertDType(a, dtypes.Float32), dtypes.Int32))
		}),
		NodeTypeComplex: refused(func(a *Node) *Node {
			return asNumber(a,
				Real(complexOf(a)))
		}), NodeTypeReal: refused(func(a *Node) *Node { return asNumber(a, Real(complexOf(a))) }),
		NodeTypeImag: refused(func(a *Node) *Node {
			return asNumber(a,
				Imag(complexOf(a)))
		}), NodeTypeConj: refused(func(a *Node) *Node { return asNumber(a, Imag(Conj(complexOf(a)))) }),
		NodeTypeFFT: refused(func(a *Node) *Node { return asNumber(a, Real(FFT(complexOf(a)))) }),
		NodeTypeDynamicSlice: refused(func(a *Node) *Node {
			return DynamicSlice(a, at(a), []int{a.Shape().Dimensions[0], 1})
		}),
		NodeTypeDynamicUpdateSlice: refused(func(a *Node) *Node {
			return DynamicUpdateSlice(a, Slice(half(a), AxisRange(), AxisRange(0, 1)), at(a))
		}),
		NodeTypeReduceBitwiseAnd: bits(ReduceBitwiseAnd), NodeTypeReduceBitwiseOr: bits(ReduceBitwiseOr),
		NodeTypeReduceBitwiseXor: bits(ReduceBitwiseXor),
		NodeTypeReduceLogicalAnd: holds(ReduceLogicalAnd), NodeTypeReduceLogicalOr: holds(ReduceLogicalOr),
		NodeTypeReduceLogicalXor: holds(ReduceLogicalXor),
		NodeTypeScatterSum: refused(func(a *Node) *Node {
			return ScatterSum(a, Const(a.Graph(), [][]int32{{0}}), Slice(a, AxisRange(0, 1)), false, false)
		}),
		NodeTypeScatterMax: refused(func(a *Node) *Node {
			return ScatterMax(a, Const(a.Graph(), [][]int32{{0}}), Slice(a, AxisRange(0, 1)), false, false)
		}),
		NodeTypeScatterMin: refused(func(a *Node) *Node {
			return ScatterMin(a, Const(a.Graph(), [][]int32{{0}}), Slice(a, AxisRange(0, 1)), false, false)
		}),
		NodeTypeRNGBitGenerator: refused(func(a *Node) *Node {
			_, u := RandomUniform(Const(a.Graph(), []uint64{1, 2, 3}), a.Shape())
			return Add(a, u)
		}),
		NodeTypeSort:                refused(func(a *Node) *Node { return Sort(a, 1, true) }),
		NodeTypeOptimizationBarrier: refused(OptimizationBarrier),
		NodeTypeSchedulingBarrier:   refused(func(a *Node) *Node { return SchedulingBarrier(a, a) }),
	}
}()

// notInModels are the types that no function of GoMLX makes of what depends on x, or that backends do not have.
var notInModels = map[NodeType]string{
	NodeTypeInvalid: "no operation", NodeTypeSplitNode: "one of several results: see BatchNormForTraining", NodeTypeParameter: "an " +
		"input", NodeTypeConstant: "a constant", NodeTypeIota: "a constant",
	NodeTypeAllReduce:             "between devices",
	NodeTypeDynamicBroadcastInDim: "shapes that depend on data", NodeTypeDynamicDimensionSize: "shapes that depend on " +
		"data", NodeTypeDynamicIota: "shapes that depend on data",
	NodeTypeDynamicPad: "shapes that depend on data", NodeTypeDynamicReshape: "shapes that depend on data", NodeTypeDynamicShape: "shapes " +
		"that depend on data",
	NodeTypeFusedAttentionQKVProjection: "fusion is turned off", NodeTypeFusedDense: "fusion is turned off", NodeTypeFusedGelu: "fusion is " +
		"turned off", NodeTypeFusedLayerNorm: "fusion is turned off",
	NodeTypeFusedQuantizedDense: "fusion is turned off", NodeTypeFusedScaledDotProductAttention: "fusion is turned " +
		"off", NodeTypeFusedScaledDotProductAttentionVJP: "fusion is turned off",
	NodeTypeFusedSoftmax: "fusion is turned off", NodeTypeQuantizedEmbeddingLookup: "weights are not quantised",
	NodeTypeSelectAndScatterMax: "part of gradients", NodeTypeSelectAndScatterMin: "part of gradients",
}

// positions are where an operation stands in a model.
var positions = []struct {
	name string
	two  bool // takes the operation of two tensors
	f    func(x *Node, op applied) *Node
}{
	{"first", false, func(x *Node, op applied) *Node { return op.one(x) }},
	{"behind a ReLU", false, func(x *Node, op applied) *Node { return op.one(activation.Relu(dense(x, 1, 4))) }},
	{"feeding a ReLU", false, func(x *Node, op applied) *Node { return activation.Relu(flat(op.one(dense(x, 1, 4)))) }},
	{"feeding a product", false, func(x *Node, op applied) *Node {
		h := flat(op.one(dense(x, 1, 4)))
		return Mul(h, dense(x, 2, h.Shape().Dimensions[1]))
	}},
	{"feeding a softmax", false, func(x *Node, op applied) *Node { return Softmax(flat(op.one(dense(x, 1, 4))), -1) }},
	{"feeding a convolution", false, func(x *Node, op applied) *Node {
		return activation.Relu(Convolve(InsertAxes(flat(op.one(dense(x, 1, 4))), -1), weights(x, 4, 1, 1, 1, 2)).NoPadding().Done())
	}},
	{"as a mask", false, func(x *Node, op applied) *Node {
		h := flat(op.one(dense(x, 1, 4)))
		v := dense(x, 2, h.Shape().Dimensions[1])
		return Add(Where(GreaterThan(h, ZerosLike(h)), v, Neg(v)), Mul(v, asNumber(v, LessThan(h, MulScalar(OnesLike(h), 0.5)))))
	}},
	{"as an index", false, func(x *Node, op applied) *Node {
		h := flat(op.one(dense(x, 1, 4)))
		return Reshape(Gather(weights(x, 3, 1, 9, 2), Reshape(asInt(h), -1, 1)), x.Shape().Dimensions[0], -1)
	}},
	{"of two", true, func(x *Node, op applied) *Node { return op.two(dense(x, 1, 4), activation.Relu(dense(x, 2, 4))) }},
	{"of two, feeding a product", true, func(x *Node, op applied) *Node {
		h := flat(op.two(dense(x, 1, 4), dense(x, 2, 4)))
		return Mul(h, h)
	}},
	{"of constants", false, func(x *Node, op applied) *Node {
		h := activation.Relu(dense(x, 1, 4))
		k := BroadcastToDims(weights(x, 5, 1, 1, 4), h.Shape().Dimensions...)
		return Mul(Concatenate([]*Node{h, h}, 1), Slice(Pad(flat(op.one(k)), Scalar(x.Graph(), x.DType(), 1), PadAxis{}, PadAxis{End: 8}),
			AxisRange(), AxisRange(0, 8)))
	}},
}

// Every operation of GoMLX, wherever it stands in a model, is bounded soundly or refused by its name, or by that of
// another that the model cannot do without; nothing panics. On XLA the models are looked at only, and with
// ADVLAB_FULL=1 bounded too.
func TestEveryOperator(t *testing.T) {
	for _, kind := range append(NodeTypeValues(), NodeTypeSort) {
		if _, ok := everyOperator[kind]; !ok && notInModels[kind] == "" {
			t.Errorf("%v is neither tried nor said not to occur in models", kind)
		}
	}
	for backendName, b := range backends(t) {
		var tried operatorsTried
		for i, kind := range slices.Sorted(maps.Keys(everyOperator)) {
			op := everyOperator[kind]
			for j, position := range positions {
				if position.two && op.two == nil || !full && (backendName == "xla" && (i+j)%6 > 0 || (i+j)%2 > 0 && op.boundsOne) {
					continue
				}
				m := testModel{fmt.Sprintf("%s, %s", operatorName(kind), position.name), []int{4}, advlib.Box{Lo: -1, Hi: 1}, func(x *Node) *Node {
					return dense(flat(position.f(x, op)), 9, 3)
				}}
				want := boundsOf[op.boundsOne]
				switch {
				case position.name == "as an index":
					want = refusedByName
				case position.name == "of constants":
					want = either
				case position.two:
					want = boundsOf[op.boundsTwo]
				}
				tried.try(t, b, kind, m, want)
			}
		}
		t.Logf("%s: %d models bounded, %d refused; it cannot build %v", backendName, tried.bounded, tried.refused, tried.unbuildable)
		if backendName != "xla" && (tried.bounded < 200 || tried.refused < 200) {
			t.Errorf("%s: too little is tried", backendName)
		}
	}
}

type outcome string

const (
	isBounded     outcome = "bounded"
	refusedByName outcome = "refused"
	either        outcome = "either"
)

var boundsOf = map[bool]outcome{true: isBounded, false: refusedByName}

type operatorsTried struct {
	bounded, refused int
	unbuildable      []string
	turn             int
}

// try bounds a model, or looks at how it is refused.
func (o *operatorsTried) try(t *testing.T, b compute.Backend, kind NodeType, m testModel, want outcome) {
	t.Helper()
	methods := []advlib.Prover{certify.IBP, certify.CROWNIBP, certify.CROWN, certify.AlphaCROWN,
		certify.Complete{Timeout: 200 * time.Millisecond}}
	c, err := advlib.NewClassifier(advlib.Spec{Name: m.name, Input: m.input, Box: m.box, Backend: b,
		Logits: func(_ *model.Scope, x *Node) *Node { return m.logits(x) }})
	if err != nil { // the backend lacks it, rows mix, or it is random
		name := operatorName(kind)
		if !slices.Contains(o.unbuildable, name) {
			o.unbuildable = append(o.unbuildable, name)
		}
		if want == isBounded && kind != NodeTypeBatchNormForInference || strings.Contains(err.Error(), "nil pointer") {
			t.Errorf("%s: %s: it cannot be built: %v", b.Name(), m.name, err)
		}
		return
	}
	ops, explained := certify.Explain(c)
	refused := explained != nil || slices.ContainsFunc(ops, func(o certify.Operation) bool { return !o.Supported() })
	if got := boundsOf[!refused]; want != either && got != want {
		t.Errorf("%s: %s is %s, want %s: %v %v", b.Name(), m.name, got, want, ops, explained)
	}
	if refused {
		o.refused++
		method := methods[o.turn%len(methods)].(interface {
			Check(*advlib.Classifier, advlib.Ball) error
		})
		checkRefusal(t, m.name, kind, method.Check(c, advlib.Linf.Ball(0.1)))
		o.turn++
		return
	}
	o.bounded++
	if b.Name() == "xla" && !full {
		return
	}
	which := methods
	if !full {
		which = methods[o.turn%len(methods) : o.turn%len(methods)+1]
		o.turn++
	}
	e := m.examples(t, c, 3)
	r := rand.New(rand.NewPCG(8, uint64(kind)))
	ball := advlib.Linf.Ball(0.1)
	z := sample(t, c, e, ball, 80, r)
	for _, method := range which {
		if method, ok := method.(certify.Method); ok {
			checkWithin(t, c, e, ball, method, z)
			continue
		}
		proof, err := method.Prove(ctx, c, e, ball)
		if err != nil {
			t.Errorf("%s: %v: %v", m.name, method, err)
			continue
		}
		for i, yes := range proof.Certified {
			for _, point := range z {
				for k, v := range point[i] {
					if yes && k != int(e.Y[i]) && !(point[i][e.Y[i]] > v) {
						t.Fatalf("%s: %v: example %d is verified, and %v has the logits %g", m.name, method, i, ball, point[i])
					}
				}
			}
		}
	}
}

// operatorName is that of an operation in errors.
func operatorName(kind NodeType) string {
	if kind == NodeTypeSort { // GoMLX leaves it without a name
		return "Sort"
	}
	return kind.String()
}

// checkRefusal wants an error that names an operation, says that it cannot be bounded, and is none of Go's.
func checkRefusal(t *testing.T, name string, kind NodeType, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: Explain has a problem, and a certifier none", name)
		return
	}
	if !refusedProperly(err.Error()) {
		t.Errorf("%s: %v", name, err)
		return
	}
	named := []string{operatorName(kind), "ConvertDType", "Gather", "SplitNode", "a constant is computed by"}
	if !slices.ContainsFunc(named, func(op string) bool { return strings.Contains(err.Error(), op) }) {
		t.Errorf("%s: the error names none of %v: %v", name, named, err)
	}
	if !strings.Contains(err.Error(), "everyoperator_test.go:") {
		t.Errorf("%s: the error does not say where: %v", name, err)
	}
}

// What bounds refuse can be certified under noise, which needs outputs only.
func TestRefusedOperatorsAreSmoothed(t *testing.T) {
	b := backends(t)["Go Backend"]
	for _, kind := range []NodeType{NodeTypeArgMinMax, NodeTypeRem, NodeTypeReduceProduct, NodeTypeSort, NodeTypeBitwiseXor, NodeTypeFloor} {
		m := testModel{operatorName(kind), []int{4}, advlib.Box{Lo: -1, Hi: 1}, func(x *Node) *Node {
			return dense(Concatenate([]*Node{x, flat(everyOperator[kind].one(activation.Relu(dense(x, 1, 4))))}, 1), 9, 3)
		}}
		c := m.classifier(t, b)
		report, err := smooth.Gaussian{Base: c, Sigma: 0.1, N: 200}.Certify(ctx, m.examples(t, c, 3))
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		t.Logf("%s: certified at 0: %v", m.name, report.CertifiedAccuracy(0))
	}
}

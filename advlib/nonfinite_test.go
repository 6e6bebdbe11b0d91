package advlib_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/backend"
)

// everyBackend runs a test on the best backend and on the pure Go one.
func everyBackend(t *testing.T, test func(t *testing.T, b compute.Backend)) {
	t.Helper()
	main, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	pure, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	t.Run(main.Name(), func(t *testing.T) { test(t, main) })
	if main != pure {
		t.Run(pure.Name(), func(t *testing.T) { test(t, pure) })
	}
}

// two returns a classifier of inputs of d numbers with the logits [0, f(x)].
func two(t *testing.T, b compute.Backend, d int, f func(x *Node) *Node) *advlib.Classifier {
	t.Helper()
	c, err := advlib.NewClassifier(advlib.Spec{Name: "two", Input: []int{d}, Box: advlib.UnitBox, Backend: b,
		Logits: func(_ *model.Scope, x *Node) *Node {
			z := Reshape(f(x), x.Shape().Dimensions[0], 1)
			return Concatenate([]*Node{ZerosLike(z), z}, 1)
		}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// weighted is Σ wⱼ·φ(x)ⱼ.
func weighted(φ func(x *Node) *Node, w ...float32) func(x *Node) *Node {
	return func(x *Node) *Node {
		return ReduceSum(Mul(φ(x), BroadcastToShape(Reshape(Const(x.Graph(), w), 1, len(w)), x.Shape())), 1)
	}
}

const int32Type = dtypes.Int32

type slopeKey struct{ name string }

// gradientsAt returns what a Model gives attacks at a point for the second logit: Gradient, Ascent, and Direction in
// Linf and L2.
func gradientsAt(t *testing.T, c *advlib.Classifier, name string, x []float32) (gradient, ascent, linf, l2 []float32) {
	t.Helper()
	step := advlib.Count(c).Compile(slopeKey{name}, func(m *advlib.Model, in []*Node) []*Node {
		x := in[0]
		y := Reshape(Slice(m.Logits(x), AxisRange(), AxisElem(1)), -1)
		return []*Node{m.Gradient(y, x), m.Ascent(y, x), m.Direction(advlib.Linf, y, x), m.Direction(advlib.L2, y, x)}
	})
	out, err := step.Run(1, tensors.FromFlatDataAndDimensions(x, 1, len(x)))
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != 4 {
		t.Fatalf("%d results, want 4", len(out))
	}
	read := func(i int) []float32 { return tensors.MustCopyFlatData[float32](out[i]) }
	return read(0), read(1), read(2), read(3)
}

// signs writes numbers by their signs.
func signs(v []float32) string {
	var s strings.Builder
	for _, v := range v {
		switch {
		case math.IsNaN(float64(v)) || math.IsInf(float64(v), 0):
			s.WriteByte('!')
		case v > 0:
			s.WriteByte('+')
		case v < 0:
			s.WriteByte('-')
		default:
			s.WriteByte('0')
		}
	}
	return s.String()
}

// Slopes that are infinite, or hidden by a number that is none: what attacks are given where they need a magnitude,
// where they raise something, and where they need a direction. Each was 0 before.
func TestSlopesThatAreNotFinite(t *testing.T) {
	square := func(x *Node) *Node { return Mul(x, x) }
	cube := func(x *Node) *Node {
		x = AddScalar(x, -0.5)
		return Mul(Sign(x), PowScalar(Abs(x), 1./3))
	}
	length := func(x *Node) *Node { return Sqrt(ReduceSum(square(AddScalar(x, -0.5)), 1)) }
	cases := []struct {
		name                      string
		f                         func(x *Node) *Node
		x                         []float32
		gradient, ascent, inf, l2 string
	}{
		{"√x at 0, one way out of the box", weighted(Sqrt, 2, -2, 1, -1), []float32{0, 0, 0.5, 0.5}, "+-+-", "+0+-", "+0+-", "+000"},
		{"all out of the box", weighted(Sqrt, -2, -2, 1), []float32{0, 0, 0.5}, "--+", "00+", "00+", "00+"},
		{"the upper end", weighted(func(x *Node) *Node { return Sqrt(OneMinus(x)) }, 2, -2, 1), []float32{1, 1, 0.5}, "-+-", "-0-", "-0-", "-00"},
		// The sign of 0 times ∞ is no number: what is steep is known from beside the point, as large slopes.
		{"inside of the box", weighted(cube, 2, -2, 1, -1), []float32{0.5, 0.5, 0.25, 0.75}, "+-+-", "+-+-", "+-+-", "+-+-"},
		{"log behind a small number", weighted(func(x *Node) *Node { return Mul(Sqrt(x), Log(AddScalar(x, 1e-30))) }, -1, 1),
			[]float32{0, 0.5}, "++", "++", "++", "+0"},
		{"∞·0 behind a maximum", weighted(func(x *Node) *Node { return Sqrt(MaxScalar(AddScalar(x, -0.5), 0)) }, 1, 1, -1),
			[]float32{0.1, 0.75, 0.75}, "0+-", "0+-", "0+-", "0+-"},
		{"0·∞ in front", weighted(func(x *Node) *Node { return square(Sqrt(x)) }, 1, -1), []float32{0, 0.5}, "+-", "+-", "+-", "+-"},
		{"a length at its centre", length, []float32{0.5, 0.5}, "++", "++", "++", "++"},
	}
	everyBackend(t, func(t *testing.T, b compute.Backend) {
		for i, tc := range cases {
			if b.Name() == "xla" && i%3 != 0 {
				continue // to compile fewer programs; the rules are the same graphs
			}
			g, a, linf, l2 := gradientsAt(t, two(t, b, len(tc.x), tc.f), tc.name, tc.x)
			for _, got := range []struct{ what, got, want string }{
				{"Gradient", signs(g), tc.gradient}, {"Ascent", signs(a), tc.ascent}, {"Direction in Linf", signs(linf), tc.inf}, {"Direction in L2", signs(l2), tc.l2},
			} {
				if got.got != got.want {
					t.Errorf("%s: %s %s, want %s (%v)", tc.name, got.what, got.got, got.want, g)
				}
			}
		}
		// In L2 and L1 the limit has the signs of the infinite slopes, whatever their factors.
		c := two(t, b, 3, weighted(Sqrt, 7, 1, 1))
		if _, _, _, l2 := gradientsAt(t, c, "factors", []float32{0, 0, 0.5}); l2[0] != l2[1] || l2[2] != 0 {
			t.Errorf("the direction in L2 is %v, want equal parts for the infinite slopes", l2)
		}
	})
}

// A row is none of another's business: a finite one is the same bits whether there are infinite ones beside it.
func TestFiniteRowsBesideInfiniteOnes(t *testing.T) {
	everyBackend(t, func(t *testing.T, b compute.Backend) {
		c := two(t, b, 3, weighted(Sqrt, 2, -1, 1))
		e := func(x ...float32) *advlib.Examples {
			return &advlib.Examples{Name: "rows", X: tensors.FromFlatDataAndDimensions(x, len(x)/3, 3), Y: make([]int32, len(x)/3)}
		}
		pgd := attack.PGD{Ball: advlib.L2.Ball(0.2), Steps: 5, KeepGoing: true}
		alone := advlib.MustRun(context.Background(), c, e(0.25, 1, 0.125), pgd)
		beside := advlib.MustRun(context.Background(), c, e(0.25, 1, 0.125, 0, 1, 0), pgd)
		if alone.Stats.NonFinite.Count != 0 || beside.Stats.NonFinite.Count == 0 {
			t.Fatalf("not finite: alone %v, beside %v", alone.Stats.NonFinite, beside.Stats.NonFinite)
		}
		one, other := tensors.MustCopyFlatData[float32](alone.Adversarial), tensors.MustCopyFlatData[float32](beside.Adversarial)
		for j, v := range one {
			if v != other[j] {
				t.Errorf("coordinate %d: %g alone, %g beside an infinite row", j, v, other[j])
			}
		}
	})
}

// The share of what is not finite is counted, said, and in the report; a report of a model with finite slopes says
// nothing of it.
func TestNonFiniteIsReported(t *testing.T) {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	e := &advlib.Examples{Name: "halves", X: tensors.FromFlatDataAndDimensions([]float32{0, 0.5, 0, 0.25}, 2, 2), Y: []int32{0, 0}}
	ball := advlib.Linf.Ball(0.01)
	for _, tc := range []struct {
		f     func(x *Node) *Node
		count int
	}{
		{func(x *Node) *Node { return AddScalar(ReduceSum(Sqrt(x), 1), -1) }, 2},
		{func(x *Node) *Node { return AddScalar(ReduceSum(x, 1), -1) }, 0},
	} {
		c := two(t, b, 2, tc.f)
		res := advlib.MustRun(context.Background(), c, e, attack.FGM{Ball: ball})
		if got := res.Stats.NonFinite; got != (advlib.Rate{Count: tc.count, Of: 4}) {
			t.Errorf("%d of %d entries not finite, want %d of 4", got.Count, got.Of, tc.count)
		}
		r := advlib.MustEvaluate(context.Background(), c, e, []advlib.Attack{attack.FGM{Ball: ball}})
		text, html := r.String(), r.HTML()
		for _, where := range []string{res.String(), text, html, strings.Join(r.Warnings, " ")} {
			if strings.Contains(where, "infinite or not a number") != (tc.count > 0) {
				t.Errorf("%d entries not finite: %s", tc.count, where)
			}
		}
		if r.Sanity.NonFinite != (advlib.Rate{Count: tc.count, Of: 4}) || r.Attacks[0].NonFinite.Count != tc.count {
			t.Errorf("in the report %v and %v", r.Sanity.NonFinite, r.Attacks[0].NonFinite)
		}
		if tc.count > 0 && !strings.Contains(r.SanityLine(), "50.0 % of the gradients' entries") {
			t.Error(r.SanityLine())
		}
	}
}

// What an attack returns where logits are infinite, or no numbers, is no adversarial example, and does not end the
// evaluation.
func TestAdversarialExamplesWithoutFiniteLogits(t *testing.T) {
	everyBackend(t, func(t *testing.T, b compute.Backend) {
		// Far below 0 but where x is exactly 0, where every attack goes: there it is +∞, or with a factor of 0 no number.
		logit := func(factor float64) func(x *Node) *Node {
			return func(x *Node) *Node {
				z := AddScalar(Neg(Slice(Log(x), AxisRange(), AxisElem(0))), -100)
				if factor != 0 {
					z = Add(z, MulScalar(Slice(Log(x), AxisRange(), AxisElem(0)), factor))
				}
				return z
			}
		}
		e := &advlib.Examples{Name: "near 0", X: tensors.FromFlatDataAndDimensions([]float32{0.01, 0.5}, 1, 2), Y: []int32{0}}
		ball := advlib.Linf.Ball(0.1)
		for _, a := range []advlib.Attack{attack.FGM{Ball: ball}, attack.PGD{Ball: ball, Steps: 5},
			attack.PGD{Ball: ball, Steps: 5, Loss: advlib.Margin}, attack.APGD{Ball: ball, Steps: 10},
			attack.FMN{Norm: advlib.Linf, Steps: 20}, attack.Square{Ball: ball, Queries: 50}} {
			for _, factor := range []float64{0, 0.5} { // −log x, and ∞ − ∞
				res, err := advlib.Run(context.Background(), two(t, b, 2, logit(factor)), e, a)
				if err != nil {
					t.Errorf("%v: %v", a, err)
				} else if res.Success[0] {
					t.Errorf("%v, factor %g: success, %v", a, factor, res.Final[0])
				}
			}
		}
	})
}

// Operators without a gradient: attacks that need one refuse before anything is computed, and say what to do; others
// run, and the report's check says that there is none. Where the gradient has other ways it is theirs, with a warning
// for what rounds.
func TestOperatorsWithoutAGradient(t *testing.T) {
	scaled := func(op func(*Node) *Node) func(*Node) *Node {
		return weighted(func(x *Node) *Node { return op(MulScalar(x, 3)) }, 1, -1)
	}
	whole := func(x *Node) *Node { return ConvertDType(ConvertDType(x, int32Type), x.DType()) }
	e := &advlib.Examples{Name: "steps", X: tensors.FromFlatDataAndDimensions([]float32{0.3, 0.4, 0.1, 0.7}, 2, 2), Y: []int32{0, 0}}
	ball := advlib.Linf.Ball(0.1)
	everyBackend(t, func(t *testing.T, b compute.Backend) {
		for _, tc := range []struct {
			name string
			op   func(*Node) *Node
		}{{"Floor", Floor}, {"Ceil", Ceil}, {"Round", Round}, {"Sign",
			func(x *Node) *Node { return Sign(AddScalar(x, -1)) }}, {"ConvertDType", whole}} {
			if b.Name() == "xla" && tc.name != "Floor" {
				continue
			}
			c := two(t, b, 2, scaled(tc.op))
			var none *advlib.NoGradientError
			for _, a := range []advlib.Attack{attack.FGM{Ball: ball}, attack.PGD{Ball: ball}, attack.FMN{Norm: advlib.Linf},
				attack.AutoAttack{Ball: ball}, attack.AllTargets{Attack: attack.APGD{Ball: ball}},
				attack.EOT{Attack: attack.CarliniWagner{}}, attack.DeepFool{Norm: advlib.L2}, attack.DDN{}, attack.JSMA{}} {
				_, err := advlib.Run(context.Background(), c, e, a)
				if !errors.As(err, &none) || !strings.Contains(err.Error(), tc.name) || !strings.Contains(err.Error(), "attack.Square") {
					t.Errorf("%s, %v: error %v, want NoGradientError", tc.name, a, err)
				}
				if _, err := advlib.Evaluate(context.Background(), c, e, []advlib.Attack{a}); !errors.As(err, &none) {
					t.Errorf("%s, %v: Evaluate's error is %v, want NoGradientError", tc.name, a, err)
				}
			}
			r, err := advlib.Evaluate(context.Background(), c, e, []advlib.Attack{attack.Square{Ball: ball, Queries: 50}})
			if err != nil {
				t.Errorf("%s: Square: %v", tc.name, err)
				continue
			}
			if got := r.SanityLine(); !strings.Contains(got, "NO GRADIENT, as "+tc.name) || !r.Sanity.Masked() {
				t.Errorf("%s: %s", tc.name, got)
			}
			straight := two(t, b, 2, scaled(attack.StraightThrough(tc.op, func(x *Node) *Node { return x })))
			if _, err := advlib.Run(context.Background(), c, e, attack.BPDA{Attack: attack.FGM{Ball: ball}, Through: straight}); err != nil {
				t.Errorf("%s: BPDA: %v", tc.name, err)
			}
		}
		open := two(t, b, 2, scaled(func(x *Node) *Node { return Sub(x, Floor(x)) }))
		e := &advlib.Examples{Name: "above 0", X: e.X, Y: []int32{1, 1}}
		res, err := advlib.Run(context.Background(), open, e, attack.FGM{Ball: ball})
		if err != nil || !strings.Contains(res.String(), "Floor lets no gradient pass") {
			t.Errorf("x − ⌊x⌋: %v, %v", res, err)
		}
		asked := two(t, b, 2, scaled(func(x *Node) *Node { return StopGradient(Round(x)) }))
		if err := asked.Differentiable(); err != nil {
			t.Errorf("StopGradient is the model's own wish: %v", err)
		}
	})
}

// 8/255 is the whole number 0 in Go: an attack with that radius runs, but says what it means, unless 0 is a point of a
// curve.
func TestRadiusZeroIsNoticed(t *testing.T) {
	c, e := linear(t), corners(t)
	const hint = "write 8./255"
	//lint:ignore SA4025 the mistake that the warning is about
	zero, some := attack.FGSM(8/255), attack.FGSM(8./255)
	if got := advlib.MustRun(context.Background(), c, e, zero).String(); !strings.Contains(got, "warning: ") || !strings.Contains(got, hint) {
		t.Error(got)
	}
	if got := advlib.MustEvaluate(context.Background(), c, e, []advlib.Attack{zero}).String(); strings.Count(got, hint) != 1 {
		t.Error(got)
	}
	for _, curve := range []*advlib.Report{
		advlib.MustEvaluate(context.Background(), c, e, []advlib.Attack{zero, some}),
		advlib.Settings{Balls: []advlib.Ball{advlib.Linf.Ball(0)}}.MustEvaluate(context.Background(), c, e, []advlib.Attack{some}),
	} {
		if got := curve.String(); strings.Contains(got, hint) {
			t.Error(got)
		}
	}
	if got := (advlib.Settings{Balls: []advlib.Ball{advlib.L2.Ball(0)}}.MustEvaluate(context.Background(), c, e,
		[]advlib.Attack{some})).String(); !strings.Contains(got, hint) {
		t.Error(got)
	}
}

// A radius is written as it was given.
func TestBallsIn255ths(t *testing.T) {
	for _, tc := range []struct {
		radius float64
		want   string
	}{
		{8. / 255, "Linf ≤ 8/255"}, {1. / 255, "Linf ≤ 1/255"}, {128. / 255, "Linf ≤ 128/255"}, {0.1, "Linf ≤ 0.1"}, {0.2, "Linf ≤ 0.2"}, {1, "Linf ≤ 1"}, {8, "Linf ≤ 8"},
		{1. / 3, "Linf ≤ 0.333333"}, {0.0313725, "Linf ≤ 0.0313725"}, {0.5 / 255, "Linf ≤ 0.00196078"}, {0, "Linf ≤ 0"}, {math.Inf(1), "Linf ≤ +Inf"}, {255, "Linf ≤ 255"},
	} {
		if got := advlib.Linf.Ball(tc.radius).String(); got != tc.want {
			t.Errorf("%v: %q, want %q", tc.radius, got, tc.want)
		}
	}
}

package certify_test

import (
	"math"
	"testing"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"

	"advlab/advlib"
	"advlab/advlib/certify"
)

// The first example of auto_LiRPA, examples/simple/toy.py: y = ReLU(x₁ − x₂) − ReLU(2x₁ − x₂) for x₁ in [−1, 2] and x₂
// in [−2, 1]. It prints [−6, 4] for IBP and [−3, 3] for CROWN; intermediate bounds of the two are the same, so that is
// also CROWN-IBP's. By hand: ReLU(x₁ − x₂) ∈ [0, 4] and ReLU(2x₁ − x₂) ∈ [0, 6] for IBP; for CROWN's lower bound y ≥
// (x₁ − x₂) − (2/3·(2x₁ − x₂) + 2) = −x₁/3 − x₂/3 − 2 ≥ −3.
func TestToy(t *testing.T) {
	for backendName, b := range backends(t) {
		toy := testModel{"toy", []int{2}, advlib.Box{Lo: -4, Hi: 4}, func(x *Node) *Node {
			h := activation.Relu(Dot(x, values(x, []int{2, 2}, 1, 2, -1, -1)).Product())
			return Dot(h, values(x, []int{2, 2}, 1, 0, -1, 0)).Product() // the second logit is always 0
		}}
		c := toy.classifier(t, b)
		e, err := advlib.NewExamples("toy", []float32{0.5, -0.5}, []int{2}, []int32{0})
		if err != nil {
			t.Fatal(err)
		}
		for method, want := range map[certify.Method][2]float64{certify.IBP: {-6, 4}, certify.CROWNIBP: {-3, 3}, certify.CROWN: {-3, 3}} {
			method := method.In(certify.RealArithmetic)
			lower, upper, err := certify.Bounds(ctx, c, e, advlib.Linf.Ball(1.5), method)
			if err != nil {
				t.Fatal(err)
			}
			margins, err := certify.Margins(ctx, c, e, advlib.Linf.Ball(1.5), method)
			if err != nil {
				t.Fatal(err)
			}
			if got := [2]float64{lower[0][0], upper[0][0]}; math.Abs(got[0]-want[0]) > 1e-5 || math.Abs(got[1]-want[1]) > 1e-5 ||
				math.Abs(margins[0][0]-want[0]) > 1e-5 {
				t.Errorf("%s: %v: bounds %v and margin %v, want %v", backendName, method, got, margins[0], want)
			}
			if lower[0][1] != 0 || upper[0][1] != 0 {
				t.Errorf("%s: %v: bounds [%g, %g] of a logit that is always 0", backendName, method, lower[0][1], upper[0][1])
			}
		}
	}
}

// For a linear model f(x) = Wᵀx + b the smallest margin over a ball is w·x + c − ε‖w‖_*, w = W_y − W_j, c = b_y − b_j,
// with the dual norm (Hölder's inequality is tight). Away from the ends of the box both methods find it, whether the
// model is written in one layer or in two.
func TestLinearModelIsExact(t *testing.T) {
	W := [3][2]float64{{1, -2}, {0.5, 0.25}, {-0.75, 3}}
	bias := [2]float64{0.5, -0.25}
	x := [3]float64{0.45, 0.5, 0.6}
	dual := map[advlib.ConvexNorm]func(w [3]float64) float64{
		advlib.Linf: func(w [3]float64) float64 { return math.Abs(w[0]) + math.Abs(w[1]) + math.Abs(w[2]) },
		advlib.L2:   func(w [3]float64) float64 { return math.Sqrt(w[0]*w[0] + w[1]*w[1] + w[2]*w[2]) },
		advlib.L1:   func(w [3]float64) float64 { return max(math.Abs(w[0]), math.Abs(w[1]), math.Abs(w[2])) },
	}
	for _, layers := range []int{1, 2} {
		linear := testModel{"linear", []int{3}, advlib.UnitBox, func(x *Node) *Node {
			h := Dot(x, values(x, []int{3, 2}, 1, -2, 0.5, 0.25, -0.75, 3)).Product()
			if layers == 2 { // the identity, as a rotation and back
				h = Dot(Dot(h, values(x, []int{2, 2}, 0.6, -0.8, 0.8, 0.6)).Product(), values(x, []int{2, 2}, 0.6, 0.8, -0.8, 0.6)).Product()
			}
			return Add(h, values(x, []int{1, 2}, 0.5, -0.25))
		}}
		for backendName, b := range backends(t) {
			c := linear.classifier(t, b)
			for y := range 2 {
				e, err := advlib.NewExamples("point", []float32{float32(x[0]), float32(x[1]), float32(x[2])}, []int{3}, []int32{int32(y)})
				if err != nil {
					t.Fatal(err)
				}
				j := 1 - y
				var w [3]float64
				want0 := bias[y] - bias[j]
				for i := range w {
					w[i] = W[i][y] - W[i][j]
					want0 += w[i] * x[i]
				}
				for norm, of := range dual {
					for _, ε := range []float64{0, 0.01, 0.3} {
						want := want0 - ε*of(w)
						for _, method := range methods {
							// Rounding to float32 costs at most a few millionths here, and never raises the bound.
							for _, m := range []certify.Method{method.In(certify.RealArithmetic), method} {
								got, err := certify.Margins(ctx, c, e, norm.Ball(ε), m)
								if err != nil {
									t.Fatal(err)
								}
								if d := got[0][0] - want; math.Abs(d) > 5e-6 || m != method && math.Abs(d) > 3e-7 || m == method && d > 3e-7 {
									t.Errorf("%s: %d layers, %v, %v ≤ %g: margin %.8g, want %.8g", backendName, layers, m, norm, ε, got[0][0], want)
								}
							}
						}
					}
				}
			}
		}
	}
}

// At the ends of the box the attacker has less room: with x = (0, 1, 0.5) and w = (3, −2, 1) only the last coordinate
// can lower w·x, so that the margin falls by ε·1 in every norm.
func TestBoxLeavesLessRoom(t *testing.T) {
	m := testModel{"corner", []int{3}, advlib.UnitBox, func(x *Node) *Node {
		return Dot(x, values(x, []int{3, 2}, 3, 0, -2, 0, 1, 0)).Product()
	}}
	c := m.classifier(t, nil)
	e, err := advlib.NewExamples("corner", []float32{0, 1, 0.5}, []int{3}, []int32{0})
	if err != nil {
		t.Fatal(err)
	}
	for _, norm := range norms {
		for _, method := range methods[:2] {
			got, err := certify.Margins(ctx, c, e, norm.Ball(0.25), method)
			if err != nil {
				t.Fatal(err)
			}
			if want := 3*0. - 2*1 + 0.5 - 0.25; math.Abs(got[0][0]-want) > 1e-6 {
				t.Errorf("%v, %v: margin %g, want %g", method, norm, got[0][0], want)
			}
		}
	}
}

// The order of hidden units means nothing.
func TestPermutedHiddenUnits(t *testing.T) {
	build := func(order []int) testModel {
		return testModel{"permuted", []int{5}, advlib.UnitBox, func(x *Node) *Node {
			g := x.Graph()
			perm := ConstAsDType(g, x.DType(), func() [][]float32 {
				p := make([][]float32, len(order))
				for i, j := range order {
					p[i] = make([]float32, len(order))
					p[i][j] = 1
				}
				return p
			}())
			W, b, V := weights(x, 1, 0.5, 5, 8), weights(x, 2, 0.5, 1, 8), weights(x, 3, 0.5, 8, 3)
			h := activation.Relu(Add(Dot(x, Dot(W, perm).Product()).Product(), Dot(b, perm).Product()))
			return Dot(h, Dot(Transpose(perm, 0, 1), V).Product()).Product()
		}}
	}
	one, other := build([]int{0, 1, 2, 3, 4, 5, 6, 7}), build([]int{3, 7, 0, 2, 6, 1, 5, 4})
	c, d := one.classifier(t, nil), other.classifier(t, nil)
	e := one.examples(t, c, 8)
	for _, norm := range norms {
		for _, method := range methods {
			a, err := certify.Margins(ctx, c, e, norm.Ball(0.1), method)
			if err != nil {
				t.Fatal(err)
			}
			b, err := certify.Margins(ctx, d, e, norm.Ball(0.1), method)
			if err != nil {
				t.Fatal(err)
			}
			for i := range a {
				for k := range a[i] {
					if !(math.Abs(a[i][k]-b[i][k]) <= 1e-9) {
						t.Errorf("%v, %v: margin %d of example %d changes from %g to %g", method, norm, k, i, a[i][k], b[i][k])
					}
				}
			}
		}
	}
}

// The interval of a hidden unit a·x + 10, in a ReLU that is always on, is in closed form: a·x + 10 ± ε‖a'‖₂ for L2 and
// for L1 balls (doc.go says why), a' being a without the coordinates that the box holds still, in x = (0, 1, 0.5) the
// first in one direction and the second in the other. Whatever scales, negates, shifts and moves x before gives another
// a.
func TestFirstLayerInterval(t *testing.T) {
	sumOf := func(x *Node, a ...float32) *Node { return Dot(x, values(x, []int{len(a), 1}, a...)).Product() }
	tests := []struct {
		name string
		a    [3]float64 // the unit's weights
		b    float64    // and its constant, beside 10
		unit func(x *Node) *Node
	}{
		{"dot", [3]float64{3, -2, 1}, 0, func(x *Node) *Node { return sumOf(x, 3, -2, 1) }},
		{"dot, other signs", [3]float64{-3, 2, -1}, 0, func(x *Node) *Node { return sumOf(x, -3, 2, -1) }},
		{"negated", [3]float64{-3, 2, -1}, 0, func(x *Node) *Node { return sumOf(Neg(x), 3, -2, 1) }},
		{"shifted", [3]float64{3, -2, 1}, 2, func(x *Node) *Node { return sumOf(AddScalar(x, 1), 3, -2, 1) }},
		{"subtracted", [3]float64{-3, 2, -1}, 2, func(x *Node) *Node { return sumOf(Sub(OnesLike(x), x), 3, -2, 1) }},
		{"scaled", [3]float64{6, 1, -1}, 0, func(x *Node) *Node { return sumOf(Mul(values(x, []int{1, 3}, 2, -0.5, -1), x), 3, -2, 1) }},
		{"divided", [3]float64{6, 1, -1}, 0, func(x *Node) *Node { return sumOf(Div(x, values(x, []int{1, 3}, 0.5, -2, -1)), 3, -2, 1) }},
		{"scaled twice", [3]float64{6, -4, 2}, 0, func(x *Node) *Node { return sumOf(MulScalar(MulScalar(x, -4), -0.5), 3, -2, 1) }},
		{"reversed", [3]float64{1, -2, 3}, 0, func(x *Node) *Node { return sumOf(Reverse(x, 1), 3, -2, 1) }},
		{"padded", [3]float64{3, -2, 1}, 7, func(x *Node) *Node {
			return sumOf(Pad(x, Scalar(x.Graph(), x.DType(), 0.5), PadAxis{}, PadAxis{Start: 1, End: 1}), 10, 3, -2, 1, 4)
		}},
		{"with constants", [3]float64{3, -2, 1}, -1, func(x *Node) *Node {
			return sumOf(Concatenate([]*Node{x, Neg(OnesLike(x))}, 1), 3, -2, 1, 2, -3, 2)
		}},
		{"sliced", [3]float64{0, -2, 1}, 0, func(x *Node) *Node { return sumOf(Slice(x, AxisRange(), AxisRange(1)), -2, 1) }},
		{"summed", [3]float64{1, 1, 1}, 0, func(x *Node) *Node { return ReduceAndKeep(x, ReduceSum, 1) }},
		{"scaled and summed", [3]float64{2, -1, -1}, 0, func(x *Node) *Node {
			return ReduceAndKeep(Mul(x, values(x, []int{1, 3}, 2, -1, -1)), ReduceSum, 1)
		}},
		{"convolved", [3]float64{3, -2, 1}, 0, func(x *Node) *Node {
			h := Reshape(x, x.Shape().Dimensions[0], 3, 1)
			return flat(Convolve(h, values(x, []int{3, 1, 1}, 3, -2, 1)).NoPadding().Done())
		}},
	}
	x := []float32{0, 1, 0.5}
	const ε = 0.125
	goBackend := backends(t)["Go Backend"]
	for _, test := range tests {
		m := testModel{test.name, []int{3}, advlib.UnitBox, func(x *Node) *Node {
			h := activation.Relu(AddScalar(test.unit(x), 10))
			return Concatenate([]*Node{h, ZerosLike(h)}, 1)
		}}
		c := m.classifier(t, goBackend)
		e, err := advlib.NewExamples("corner", x, []int{3}, []int32{0})
		if err != nil {
			t.Fatal(err)
		}
		value, falls, rises, all := 10+test.b, 0., 0., 0.
		for i, a := range test.a {
			value += a * float64(x[i])
			all += a * a
			down, up := x[i] > 0, x[i] < 1
			if a > 0 && down || a < 0 && up {
				falls += a * a
			}
			if a > 0 && up || a < 0 && down {
				rises += a * a
			}
		}
		for _, norm := range []advlib.Norm{advlib.L2, advlib.L1} {
			for method, want := range map[certify.Method][2]float64{
				certify.IBP:              {value - ε*math.Sqrt(falls), value + ε*math.Sqrt(rises)},
				certify.IBP.WithoutBox(): {value - ε*math.Sqrt(all), value + ε*math.Sqrt(all)},
			} {
				lower, upper, err := certify.Bounds(ctx, c, e, norm.Ball(ε), method)
				if err != nil {
					t.Fatal(err)
				}
				if got := [2]float64{lower[0][0], upper[0][0]}; math.Abs(got[0]-want[0]) > 1e-5 || math.Abs(got[1]-want[1]) > 1e-5 {
					t.Errorf("%s: %v, %v: [%.6g, %.6g], want [%.6g, %.6g]", test.name, method, norm, got[0], got[1], want[0], want[1])
				}
			}
		}
	}
}

// Where coordinates of x occur twice, those of the perturbation add up: 2(x₀ + x₁ + x₂) moves by 2√3·ε in an L2 ball,
// not by √6·ε as six independent coordinates would.
func TestRepeatedCoordinates(t *testing.T) {
	twice := func(x *Node) *Node { return ExpandAxes(x, 1) }
	tests := map[string]func(x *Node) *Node{
		"added":                   func(x *Node) *Node { return Add(x, x) },
		"added to its reverse":    func(x *Node) *Node { return Add(x, Reverse(x, 1)) },
		"subtracted":              func(x *Node) *Node { return Sub(x, Neg(x)) },
		"concatenated":            func(x *Node) *Node { return Concatenate([]*Node{x, x}, 1) },
		"broadcast":               func(x *Node) *Node { return BroadcastToDims(twice(x), x.Shape().Dimensions[0], 2, 3) },
		"broadcast by a sum":      func(x *Node) *Node { return Add(twice(x), values(x, []int{1, 2, 1}, 0, 0)) },
		"broadcast by a product":  func(x *Node) *Node { return Mul(twice(x), values(x, []int{1, 2, 1}, 1, 1)) },
		"broadcast by a quotient": func(x *Node) *Node { return Div(twice(x), values(x, []int{1, 2, 1}, 1, 1)) },
	}
	const ε = 0.125
	for name, repeat := range tests {
		m := testModel{name, []int{3}, advlib.UnitBox, func(x *Node) *Node {
			h := flat(repeat(x))
			h = activation.Relu(AddScalar(Dot(h, Ones(x.Graph(), shapes.Make(x.DType(), h.Shape().Dimensions[1], 1))).Product(), 10))
			return Concatenate([]*Node{h, ZerosLike(h)}, 1)
		}}
		c := m.classifier(t, backends(t)["Go Backend"])
		e, err := advlib.NewExamples("middle", []float32{0.5, 0.5, 0.5}, []int{3}, []int32{0})
		if err != nil {
			t.Fatal(err)
		}
		for _, method := range methods {
			lower, upper, err := certify.Bounds(ctx, c, e, advlib.L2.Ball(ε), method)
			if err != nil {
				t.Fatal(err)
			}
			if reach := 2 * math.Sqrt(3) * ε; lower[0][0] > 13-reach+1e-5 || upper[0][0] < 13+reach-1e-5 {
				t.Errorf("%s: %v: [%g, %g] does not hold [%g, %g]", name, method, lower[0][0], upper[0][0], 13-reach, 13+reach)
			}
		}
	}
}

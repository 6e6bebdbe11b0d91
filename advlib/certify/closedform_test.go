package certify_test

import (
	"math"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"

	"advlab/advlib"
	"advlab/advlib/certify"
)

// The first example of auto_LiRPA, examples/simple/toy.py: y = ReLU(x₁ − x₂) − ReLU(2x₁ − x₂) for x₁ in [−1, 2] and x₂ in
// [−2, 1]. It prints [−6, 4] for IBP and [−3, 3] for CROWN; intermediate bounds of the two are the same, so that is also
// CROWN-IBP's. By hand: ReLU(x₁ − x₂) ∈ [0, 4] and ReLU(2x₁ − x₂) ∈ [0, 6] for IBP; for CROWN's lower bound
// y ≥ (x₁ − x₂) − (2/3·(2x₁ − x₂) + 2) = −x₁/3 − x₂/3 − 2 ≥ −3.
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
		for method, want := range map[certify.Method][2]float64{certify.IBP: {-6, 4}, certify.CROWNIBP: {-3, 3}} {
			lower, upper, err := certify.Bounds(ctx, c, e, advlib.BallOf(advlib.Linf, 1.5), method)
			if err != nil {
				t.Fatal(err)
			}
			margins, err := certify.Margins(ctx, c, e, advlib.BallOf(advlib.Linf, 1.5), method)
			if err != nil {
				t.Fatal(err)
			}
			if got := [2]float64{lower[0][0], upper[0][0]}; math.Abs(got[0]-want[0]) > 1e-5 || math.Abs(got[1]-want[1]) > 1e-5 || math.Abs(margins[0][0]-want[0]) > 1e-5 {
				t.Errorf("%s: %v: bounds %v and margin %v, want %v", backendName, method, got, margins[0], want)
			}
			if lower[0][1] != 0 || upper[0][1] != 0 {
				t.Errorf("%s: %v: bounds [%g, %g] of a logit that is always 0", backendName, method, lower[0][1], upper[0][1])
			}
		}
	}
}

// For a linear model f(x) = Wᵀx + b the smallest margin over a ball is w·x + c − ε‖w‖_*, w = W_y − W_j, c = b_y − b_j, with
// the dual norm (Hölder's inequality is tight). Away from the ends of the box both methods find it, whether the model
// is written in one layer or in two.
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
							got, err := certify.Margins(ctx, c, e, advlib.BallOf(norm, ε), method)
							if err != nil {
								t.Fatal(err)
							}
							if math.Abs(got[0][0]-want) > 2e-6 {
								t.Errorf("%s: %d layers, %v, %v ≤ %g: margin %.8g, want %.8g", backendName, layers, method, norm, ε, got[0][0], want)
							}
						}
					}
				}
			}
		}
	}
}

// At the ends of the box the attacker has less room: with x = (0, 1, 0.5) and w = (3, −2, 1) only the last coordinate can
// lower w·x, so that the margin falls by ε·1 in every norm.
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
			got, err := certify.Margins(ctx, c, e, advlib.BallOf(norm, 0.25), method)
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
			perm := Const(g, func() [][]float32 {
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
			a, err := certify.Margins(ctx, c, e, advlib.BallOf(norm, 0.1), method)
			if err != nil {
				t.Fatal(err)
			}
			b, err := certify.Margins(ctx, d, e, advlib.BallOf(norm, 0.1), method)
			if err != nil {
				t.Fatal(err)
			}
			for i := range a {
				for k := range a[i] {
					if math.Abs(a[i][k]-b[i][k]) > 1e-5 {
						t.Errorf("%v, %v: margin %d of example %d changes from %g to %g", method, norm, k, i, a[i][k], b[i][k])
					}
				}
			}
		}
	}
}

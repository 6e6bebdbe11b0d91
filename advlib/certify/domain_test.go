package certify_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/layers/activation"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/certify"
)

// what is a domain of every kind of feature, in 8 coordinates.
var domain = advlib.Domain{
	{Name: "a", Lo: -1, Hi: 1, Scale: 0.5},
	{Name: "fixed", Lo: 0, Hi: 100, Change: advlib.Fixed},
	{Name: "c", Lo: 0, Hi: 8, Step: 1, Scale: 2},
	{Name: "d", OneHot: 3, Scale: 3},
	{Name: "rises", Lo: 0, Hi: 1, Change: advlib.RiseOnly},
	{Name: "falls", Lo: 0, Hi: 1, Scale: 0.25, Change: advlib.FallOnly},
}

// smallNet is a random network of d inputs, 6 ReLUs and 3 classes.
func smallNet(r *rand.Rand, d int) advlib.LogitsFn {
	w, v := make([][]float32, d), make([][]float32, 6)
	for j := range w {
		for range 6 {
			w[j] = append(w[j], float32(r.NormFloat64()))
		}
	}
	for j := range v {
		v[j] = []float32{float32(r.NormFloat64()), float32(r.NormFloat64()), float32(r.NormFloat64())}
	}
	return func(_ *model.Scope, x *Node) *Node {
		return Dot(activation.Relu(Dot(x, ConstAsDType(x.Graph(), x.DType(), w)).Product()), ConstAsDType(x.Graph(), x.DType(), v)).Product()
	}
}

// No admissible input inside a ball, as the domain measures it, violates a bound; and fixed features make bounds
// tighter, in Linf as tight as the linear model allows.
func TestBoundsHoldInDomain(t *testing.T) {
	const d = 8
	r := rand.New(rand.NewPCG(1, 2))
	logits := smallNet(r, d)
	c := advlib.MustClassifier(advlib.Spec{Name: "net", Input: []int{d}, Domain: domain, Logits: logits})
	free := advlib.Domain{domain[0], {Lo: 0, Hi: 100}, domain[2], domain[3], {Lo: 0, Hi: 1}, {Lo: 0, Hi: 1, Scale: 0.25}}
	loose := advlib.MustClassifier(advlib.Spec{Name: "net, nothing fixed", Input: []int{d}, Domain: free, Logits: logits})

	// draw returns an admissible input whose features differ from x as far as they may, each within reach of the radius.
	draw := func(x []float32, radius float64) []float32 {
		y := append([]float32(nil), x...)
		move := func(j int, lo, hi, reach float64) {
			from := float64(x[j])
			lo, hi = max(lo, from-reach), min(hi, from+reach)
			y[j] = float32([]float64{lo, hi, lo + r.Float64()*(hi-lo)}[r.IntN(3)])
		}
		move(0, -1, 1, radius*0.5)
		move(2, 0, 8, math.Floor(radius*2))
		y[2] = float32(math.Round(float64(y[2])))
		if radius >= 1./3 && r.IntN(2) == 0 {
			y[3], y[4], y[5] = 0, 0, 0
			y[3+r.IntN(3)] = 1
		}
		move(6, float64(x[6]), 1, radius)
		move(7, 0, float64(x[7]), radius*0.25)
		return y
	}
	var flat []float32
	const n = 8
	for range n {
		x := []float32{float32(2*r.Float64() - 1), 50, float32(r.IntN(9)), 0, 0, 0, float32(r.Float64()), float32(r.Float64())}
		x[3+r.IntN(3)] = 1
		flat = append(flat, x...)
	}
	e, err := advlib.NewExamples("drawn", flat, []int{d}, make([]int32, n))
	if err != nil {
		t.Fatal(err)
	}
	for _, norm := range []advlib.ConvexNorm{advlib.Linf, advlib.L2, advlib.L1} {
		for _, radius := range []float64{0.2, 0.5, 1.1} {
			ball := norm.Ball(radius)
			for _, method := range []certify.Method{certify.IBP, certify.CROWNIBP} {
				lower, upper, err := certify.Bounds(ctx, c, e, ball, method)
				if err != nil {
					t.Fatal(err)
				}
				wide, _, err := certify.Bounds(ctx, loose, e, ball, method)
				if err != nil {
					t.Fatal(err)
				}
				tried := 0
				for i := range n {
					x := flat[i*d : (i+1)*d]
					if lower[i][0] < wide[i][0]-1e-4*math.Abs(wide[i][0]) {
						t.Errorf("%v, %v: lower bound %g, %g where more may change", ball, method, lower[i][0], wide[i][0])
					}
					var many []float32
					for len(many) < 200*d {
						if y := draw(x, radius); c.Distance(norm, y, x) <= radius {
							many = append(many, y...)
							tried++
						} else if y = draw(x, radius/4); c.Distance(norm, y, x) <= radius {
							many = append(many, y...)
							tried++
						}
					}
					inside, err := advlib.NewExamples("inside", many, []int{d}, make([]int32, len(many)/d))
					if err != nil {
						t.Fatal(err)
					}
					z, err := c.Logits(inside.X)
					if err != nil {
						t.Fatal(err)
					}
					if k, j := outside(z, lower[i], upper[i]); k >= 0 {
						t.Fatalf("%v, %v: example %d, input %v: logit %d is %g, outside of its bounds [%g, %g]", ball, method, i,
							many[k*d:(k+1)*d], j, z[k][j], lower[i][j], upper[i][j])
					}
				}
			}
		}
	}
}

// outside returns the first row, and its place, that is not between the ends; −1 if all are.
func outside(rows [][]float32, lower, upper []float64) (row, place int) {
	for k, z := range rows {
		for j, v := range z {
			if float64(v) < lower[j] || float64(v) > upper[j] {
				return k, j
			}
		}
	}
	return -1, 0
}

// With a linear model the bound in Linf is the sum over coordinates of what each can do.
func TestLinearBoundInDomainIsExact(t *testing.T) {
	w := []float64{1, 5, -0.5, 0, 0, 0, -2, -3}
	rows := make([][]float32, len(w))
	for j := range rows {
		rows[j] = []float32{float32(w[j]), 0}
	}
	c := advlib.MustClassifier(advlib.Spec{Name: "linear", Input: []int{8}, Domain: domain, Logits: func(_ *model.Scope, x *Node) *Node {
		return Dot(x, ConstAsDType(x.Graph(), x.DType(), rows)).Product()
	}})
	x := []float32{0.9, 50, 3, 1, 0, 0, 0.5, 0.5}
	e, err := advlib.NewExamples("one", x, []int{8}, []int32{0})
	if err != nil {
		t.Fatal(err)
	}
	const ε = 0.4
	lower, upper, err := certify.Bounds(ctx, c, e, advlib.Linf.Ball(ε), certify.CROWNIBP)
	if err != nil {
		t.Fatal(err)
	}
	// a moves by ε/2 down and by 0.1 up, c by 2ε both ways (not in whole steps), "rises" up by ε, "falls" down by ε/4.
	at := 0.9 + 5*50 - 0.5*3 - 2*0.5 - 3*0.5
	wantLower := at - ε*0.5 - 0.5*2*ε - 2*ε
	wantUpper := at + 0.1 + 0.5*2*ε + 3*ε*0.25
	if math.Abs(lower[0][0]-wantLower) > 1e-3 || math.Abs(upper[0][0]-wantUpper) > 1e-3 {
		t.Errorf("bounds [%g, %g], want [%g, %g]", lower[0][0], upper[0][0], wantLower, wantUpper)
	}
}

// Verify asks about what the domain makes of a ball: farther than the ball where a scale is above 1, nowhere where a
// feature is fixed.
func TestVerifyInDomain(t *testing.T) {
	scales := advlib.Domain{
		{Name: "far", Lo: 0, Hi: 100, Scale: 20},
		{Name: "fixed", Lo: 0, Hi: 100, Change: advlib.Fixed},
		{Name: "whole", Lo: 0, Hi: 10, Step: 1, Scale: 4},
	}
	at := []float32{50, 50, 5}
	for _, test := range []struct {
		name string
		w    []float64 // the margin is w·x + b
		b    float64
		want advlib.Status
	}{
		{"beyond the plain ball", []float64{1, 0, 0}, -45, advlib.Falsified},
		{"beyond the scaled ball", []float64{1, 0, 0}, -38, advlib.Verified},
		{"by what is fixed", []float64{0, 1, 0}, -49.9, advlib.Verified},
		{"by a whole step", []float64{0, 0, 1}, -3.5, advlib.Falsified},
		{"between whole steps", []float64{0, 0, 1}, -2.9, advlib.Verified},
	} {
		rows := make([][]float32, 3)
		for j := range rows {
			rows[j] = []float32{float32(test.w[j]), 0}
		}
		c := advlib.MustClassifier(advlib.Spec{Name: test.name, Input: []int{3}, Domain: scales, Logits: func(_ *model.Scope, x *Node) *Node {
			return Add(Dot(x, ConstAsDType(x.Graph(), x.DType(), rows)).Product(),
				ConstAsDType(x.Graph(), x.DType(), [][]float32{{float32(test.b), 0}}))
		}})
		e, err := advlib.NewExamples("one", at, []int{3}, []int32{0})
		if err != nil {
			t.Fatal(err)
		}
		for _, norm := range norms {
			ball := norm.Ball(0.5) // ±10, nothing, ±2
			v, err := certify.Verify(ctx, c, e, ball, certify.Options{Cells: 300})
			if err != nil {
				t.Fatal(err)
			}
			got := v.Decisions[0]
			if got.Status != test.want {
				t.Errorf("%s, %v: %v, want %v", test.name, ball, got, test.want)
			}
			if got.Status == advlib.Falsified {
				y := make([]float32, 3)
				for j, v := range got.Counterexample {
					y[j] = float32(v)
				}
				if d := c.Distance(norm, y, at); d > 0.5 || y[1] != 50 || y[2] != float32(math.Round(float64(y[2]))) {
					t.Errorf("%s, %v: the counterexample %v is at %g", test.name, ball, y, d)
				}
			}
		}
	}
}

// A domain with derived features is refused by all that bounds balls, with the feature's name.
func TestDerivedFeaturesAreRefused(t *testing.T) {
	d := advlib.Domain{{Name: "a", Lo: 0, Hi: 1}, {Name: "b", Lo: 1, Hi: 2}, {Name: "share", Formula: "a / b"}}
	c := advlib.MustClassifier(advlib.Spec{Name: "derived", Input: []int{3}, Domain: d,
		Logits: func(_ *model.Scope, x *Node) *Node { return x }})
	e, err := advlib.NewExamples("one", []float32{0.5, 2, 0.25}, []int{3}, []int32{1})
	if err != nil {
		t.Fatal(err)
	}
	ball := advlib.Linf.Ball(0.1)
	_, _, bounds := certify.Bounds(ctx, c, e, ball, certify.CROWN)
	_, method := certify.IBP.Certify(ctx, c, e, ball)
	_, complete := certify.Complete{}.Certify(ctx, c, e, ball)
	_, verify := certify.Verify(ctx, c, e, ball, certify.Options{Cells: 10})
	for name, err := range map[string]error{"Bounds": bounds, "IBP": method, "Complete": complete, "Verify": verify} {
		if err == nil || !strings.Contains(err.Error(), `feature 2, "share", of the domain of derived is derived`) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

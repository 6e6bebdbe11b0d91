package detect_test

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/certify"
	"advlab/advlib/detect"
	"advlab/advlib/transform"
)

// between is a detector of one's own: the score of a number x is 1 − |2x − 1|, the nearer to ½ the higher.
type between struct{}

func (between) String() string { return "between" }

func (between) Fit(context.Context, *advlib.Classifier, detect.Data) (detect.Score, error) {
	return between{}, nil
}

func (between) Graph(_ *advlib.Model, x, _ *graph.Node) *graph.Node {
	return graph.Reshape(graph.OneMinus(graph.Abs(graph.AddScalar(graph.MulScalar(x, 2), -1))), x.Shape().Dimensions[0])
}

// numbers are 12 inputs of one number each.
func numbers(t *testing.T) (*advlib.Classifier, *advlib.Examples) {
	t.Helper()
	c, err := advlib.NewClassifier(advlib.Spec{Name: "above a half", Input: []int{1}, Box: advlib.UnitBox,
		Logits: func(_ *model.Scope, x *graph.Node) *graph.Node {
			w := graph.ConstAsDType(x.Graph(), x.DType(), [][]float32{{-8, 8}})
			return graph.Add(graph.DotProduct(x, w), graph.ConstAsDType(x.Graph(), x.DType(), [][]float32{{4, -4}}))
		}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := advlib.NewExamples("numbers", []float32{.05, .15, .25, .28, .32, .38, .45, .55, .65, .72, .90, .80}, []int{1},
		[]int32{0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0})
	if err != nil {
		t.Fatal(err)
	}
	return c, e
}

// TestToy has every number by hand. Accepted is what is at least 0.1 from ½; in the ball of radius 0.3:
//
//	0.05, 0.15         right; nothing in the ball is misclassified                      robust, certified
//	0.25, 0.28         what is misclassified, up to 0.58, is rejected                   robust
//	0.32, 0.38         0.62 and 0.68 are accepted and misclassified                     broken
//	0.45, 0.55         the clean input is rejected
//	0.65               0.35 is accepted and misclassified                               broken
//	0.72               what is misclassified, down to 0.42, is rejected                 robust
//	0.90               right; nothing in the ball is misclassified                      robust, certified
//	0.80               of class 0: accepted and misclassified from the beginning
func TestToy(t *testing.T) {
	c, e := numbers(t)
	s, err := detect.Screen(t.Context(), c, between{}, detect.Data{Train: e, Clean: e, Rate: 0.2})
	if err != nil {
		t.Fatal(err)
	}
	// The scores are .1 .3 .5 .56 .64 .76 .9 .9 .7 .56 .2 .4: of 12, the ⌈13·0.8⌉ = 11th smallest.
	if math.Abs(s.Threshold-0.9) > 1e-6 {
		t.Errorf("the threshold is %g, want 0.9", s.Threshold)
	}
	s.Threshold = 0.8
	verdicts, err := s.Verdicts(t.Context(), e.X)
	if err != nil {
		t.Fatal(err)
	}
	// 8 clean scores of 12 are at least 0.5, and so is the input's own.
	if v := verdicts[2]; math.Abs(v.Score-0.5) > 1e-6 || v.Flagged || v.P != 9./13 || !verdicts[6].Flagged {
		t.Errorf("verdicts %+v and %+v", v, verdicts[6])
	}
	ball := advlib.Linf.Ball(0.3)
	robust := []bool{true, true, true, true, false, false, false, false, false, true, true, false}
	certified := []bool{true, true, false, false, false, false, false, false, false, false, true, false}
	clean := []bool{true, true, true, true, true, true, false, false, true, true, true, false}
	for _, kind := range []string{"naive", "adaptive"} {
		o := detect.Inspection{Naive: []advlib.Attack{attack.FGM{Ball: ball}}}
		if kind == "adaptive" {
			o = detect.Inspection{Adaptive: []advlib.Attack{s.Adaptive(ball)}}
		}
		n, err := o.Run(t.Context(), s, e)
		if err != nil {
			t.Fatal(err)
		}
		rate := func(k, of int) advlib.Rate { return advlib.Rate{Count: k, Of: of} }
		if n.Accuracy != rate(11, 12) || n.Clean != rate(9, 12) || n.Rejected != rate(2, 12) || n.Robust != rate(6, 12) {
			t.Errorf("%s: accuracy %v, clean %v, rejected %v, robust %v", kind, n.Accuracy, n.Clean, n.Rejected, n.Robust)
		}
		if !slices.Equal(n.Standing, robust) {
			t.Errorf("%s: standing %v, want %v", kind, n.Standing, robust)
		}
		a := n.Attacks[0]
		if a.Success != rate(8, 11) || a.Evaded != rate(3, 9) || a.Detected != rate(3, 8) {
			t.Errorf("%s: success %+v, want 8 of 11; evaded %+v, want 3 of 9; detected %+v, want 3 of 8", kind, a.Success, a.Evaded, a.Detected)
		}
	}
	r, err := advlib.Evaluate(t.Context(), s, e, []advlib.Attack{s.Naive(ball), s.Adaptive(ball)}, s.Certified(certify.IBP))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Robust(ball); got.Count != 6 || got.Of != 12 {
		t.Errorf("Evaluate: robust %+v, want 6 of 12", got)
	}
	if got := r.Certificates[0].Certified; !slices.Equal(got, certified) {
		t.Errorf("certified %v, want %v", got, certified)
	}
	for i := range e.Y {
		if certified[i] && !robust[i] || robust[i] && !clean[i] {
			t.Errorf("example %d: certified %t, robust %t, clean %t", i, certified[i], robust[i], clean[i])
		}
	}
	curve, err := s.Curve(t.Context(), advlib.Settings{}, e, []float64{0, 0.3}, func(ε float64) advlib.Attack {
		return attack.FGM{Ball: advlib.Linf.Ball(ε)}
	})
	if err != nil {
		t.Fatal(err)
	}
	// FGM moves the nine that stand by 0.3: three are rejected; the two that were rejected are accepted, and wrong.
	for i, want := range [][3]int{{9, 1, 2}, {3, 6, 3}} {
		if p := curve[i]; [3]int{p.Right.Count, p.Wrong.Count, p.Rejected.Count} != want {
			t.Errorf("curve at %g: %+v, want right, wrong, rejected %v", p.Radius, p, want)
		}
	}
	s.Threshold = math.Inf(-1) // rejects everything
	n, err := detect.Inspection{Naive: []advlib.Attack{attack.FGM{Ball: ball}}}.Run(t.Context(), s, e)
	if err != nil {
		t.Fatal(err)
	}
	if n.Robust.Count != 0 || n.Clean.Count != 0 || n.Rejected.Count != 12 || n.Attacks[0].Detected.Count != 8 {
		t.Errorf("a detector that rejects everything: %v", n)
	}
}

func TestROC(t *testing.T) {
	r, err := detect.NewROC([]float64{1, 2, 3, 4}, []float64{3, 5, 6})
	if err != nil {
		t.Fatal(err)
	}
	// Of 12 pairs 11 less a half are on the right side: 3 is above 1 and 2, equal to 3, below 4. By hand, DeLong: the
	// shares are 2.5/4, 1, 1 with a variance of 0.046875, and 1, 1, 2.5/3, 2/3 with one of 0.0254630.
	area, lo, hi := r.AUC()
	half := 1.959963984540054 * math.Sqrt(0.046875/3+0.025462962962962962/4)
	if math.Abs(area-10.5/12) > 1e-12 || math.Abs(area-half-lo) > 1e-9 || hi != 1 {
		t.Errorf("AUC %g [%g, %g]", area, lo, hi)
	}
	for fpr, want := range map[float64]int{0: 2, 0.24: 2, 0.25: 2, 0.5: 3, 1: 3} {
		if got, _ := r.TPR(fpr); got.Count != want || got.Of != 3 {
			t.Errorf("TPR at %g: %+v, want %d", fpr, got, want)
		}
	}
	points := r.Points()
	first, last := points[0], points[len(points)-1]
	if first.FPR != 0 || first.TPR != 0 || last.FPR != 1 || last.TPR != 1 || len(points) != 7 {
		t.Errorf("points %v", points)
	}
	for _, bad := range [][2][]float64{{nil, {1}}, {{1}, nil}, {{math.NaN()}, {1}}} {
		if _, err := detect.NewROC(bad[0], bad[1]); err == nil {
			t.Errorf("%v is no error", bad)
		}
	}
}

// Under the null the p-values are uniform on 1/(B+1), …, 1: the largest distance of their distribution to it, of 1000,
// is below what one in a thousand exceeds.
func TestMMDIsUniformUnderTheNull(t *testing.T) {
	random := rand.New(rand.NewPCG(4, 4))
	draw := func(n int, shift float64) *tensors.Tensor {
		x := make([]float32, 3*n)
		for i := range x {
			x[i] = float32(random.ExpFloat64() + shift)
		}
		return tensors.FromFlatDataAndDimensions(x, n, 3)
	}
	const runs, permutations = 1000, 99
	count := make([]int, permutations+2)
	for i := range runs {
		d, err := detect.MMD{Permutations: permutations, Seed: uint64(i)}.Test(draw(12, 0), draw(9, 0))
		if err != nil {
			t.Fatal(err)
		}
		count[int(math.Round(d.P*(permutations+1)))]++
	}
	worst, sum := 0., 0
	for k, n := range count {
		sum += n
		worst = max(worst, math.Abs(float64(sum)/runs-min(1, float64(k)/(permutations+1))))
	}
	if limit := 1.95 / math.Sqrt(runs); worst > limit {
		t.Errorf("the p-values are %.4f from uniform, at most %.4f is chance", worst, limit)
	}
	t.Logf("1000 p-values are at most %.4f from uniform", worst)
	d, err := detect.MMD{Permutations: permutations}.Test(draw(40, 0), draw(40, 1.5))
	if err != nil || d.P != 1./(permutations+1) || d.Squared <= 0 {
		t.Errorf("sets that differ: %+v, %v", d, err)
	}
	// By hand: k = exp(−d²/2) of 0, 1 against 0, 2.
	x, y := tensors.FromFlatDataAndDimensions([]float32{0, 1}, 2, 1), tensors.FromFlatDataAndDimensions([]float32{0, 2}, 2, 1)
	k := func(d float64) float64 { return math.Exp(-d * d / 2) }
	want := k(1) + k(2) - (k(0)+k(2)+k(1)+k(1))/2
	if d, err := (detect.MMD{Bandwidth: 1, Permutations: 5}).Test(x, y); err != nil || math.Abs(d.Squared-want) > 1e-12 {
		t.Errorf("MMD² is %v, want %g (%v)", d, want, err)
	}
	for _, bad := range []*tensors.Tensor{nil, draw(1, 0), tensors.FromFlatDataAndDimensions(make([]float32, 4), 2, 2)} {
		if _, err := (detect.MMD{}).Test(draw(5, 0), bad); err == nil {
			t.Error("a set that cannot be compared is no error")
		}
	}
}

func TestReduction(t *testing.T) {
	c, e := numbers(t)
	fgm := func(b advlib.Ball) advlib.Attack { return attack.FGM{Ball: b} }
	// In 0.15 the classifier loses .38 .45 .55 and .65: .8 is wrong from the beginning.
	for robust, implausible := range map[int]bool{7: false, 980: true} {
		of := 12
		if implausible {
			of = 1000
		}
		r, err := detect.Reduce(t.Context(), advlib.Settings{}, advlib.Rate{Count: robust, Of: of}, advlib.Linf.Ball(0.3), c, e, fgm)
		if err != nil {
			t.Fatal(err)
		}
		said := r.String()
		if r.Best != (advlib.Rate{Count: 7, Of: 12}) || r.Implausible() != implausible ||
			strings.Contains(said, "SUSPECT") != implausible || strings.Contains(said, "nothing follows") == implausible {
			t.Errorf("%d of %d: %v", robust, of, r)
		}
	}
	if _, err := detect.Reduce(t.Context(), advlib.Settings{}, advlib.Rate{}, advlib.Linf.Ball(0.3), c, e, fgm); err == nil {
		t.Error("a rate of nothing is no error")
	}
}

// TestScreenRefuses: what cannot be fitted is refused before anything is computed.
func TestScreenRefuses(t *testing.T) {
	c, e := numbers(t)
	one := e.First(7)
	good := detect.Data{Train: e, Clean: e, Rate: 0.2}
	with := func(change func(d *detect.Data)) detect.Data {
		d := good
		change(&d)
		return d
	}
	for _, bad := range []struct {
		method detect.Method
		data   detect.Data
		want   string
	}{
		{between{}, with(func(d *detect.Data) { d.Train = one }), "all 7 examples of numbers are of class 0"},
		{between{}, with(func(d *detect.Data) { d.Rate = 0 }), "12 clean examples are too few for a rate of 0.05: it takes at least 19"},
		{between{}, with(func(d *detect.Data) { d.Rate = 1 }), "the rate of false positives is 1"},
		{between{}, with(func(d *detect.Data) { d.Rate = -0.1 }), "the rate of false positives is -0.1"},
		{between{}, with(func(d *detect.Data) { d.Rate = math.NaN() }), "the rate of false positives is NaN"},
		{between{}, with(func(d *detect.Data) { d.Train = nil }), "there are no examples"},
		{nil, good, "there is no method"},
		{detect.LID{}, good, "has no hidden layer"},
		{detect.KernelDensity{Bandwidth: -1}, good, "Bandwidth = -1"},
		{detect.Mahalanobis{Magnitude: math.Inf(1)}, good, "Magnitude = +Inf"},
		{detect.LID{K: 20, Batch: 10}, good, "20 neighbours of 10 examples"},
		{detect.Binary{}, good, "there is no attack"},
		{detect.FeatureSqueezing{}, good, "are no images"},
		{detect.FeatureSqueezing{Squeezers: []transform.Transform{transform.Noise{Sigma: 0.1}}}, good, "draws random numbers"},
		{detect.MagNet{Temperatures: []float64{-1}}, good, "the temperature -1"},
	} {
		if _, err := detect.Screen(t.Context(), c, bad.method, bad.data); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%v: error %v does not say %q", bad.method, err, bad.want)
		}
	}
	if _, err := detect.Screen(t.Context(), nil, between{}, good); err == nil {
		t.Error("no classifier is no error")
	}
	s := detect.MustScreen(t.Context(), c, between{}, good)
	for _, a := range []advlib.Attack{
		detect.Evasion{Ball: advlib.Linf.Ball(0.1)}, detect.Evasion{Screen: s, Ball: advlib.L1.Ball(0.1)},
		detect.Evasion{Screen: s, Ball: advlib.Linf.Ball(0.1), Match: true, Orthogonal: true},
		detect.Evasion{Screen: s, Ball: advlib.Linf.Ball(0.1), Restarts: 2}, detect.Adaptive{Screen: s}, detect.Joint{Screen: s},
		detect.Joint{Screen: s, Attack: attack.PGD{Ball: advlib.Linf.Ball(0.1)}, Targets: 2},
		detect.Joint{Screen: s, Attack: attack.PGD{Ball: advlib.Linf.Ball(0.1), Goal: advlib.Targeted(1)}},
		detect.Adaptive{Screen: s, Attacks: []advlib.Attack{
			attack.FGM{Ball: advlib.Linf.Ball(0.1)}, attack.FGM{Ball: advlib.Linf.Ball(0.2)},
		}},
	} {
		if _, err := advlib.Run(t.Context(), s, e, a); err == nil {
			t.Errorf("%v is no error", a)
		}
	}
}

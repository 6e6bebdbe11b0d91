package smooth_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/dataset"
	"advlab/advlib/smooth"
	"advlab/advlib/zoo"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

// halves is the classifier of two classes that says 1 where w·x > b. Smoothed, it is itself, and the radius of its
// certificate at x is the distance from the plane: P(f(x+η) = 1) = Φ((w·x−b)/(σ‖w‖)).
func halves(t *testing.T, w []float32, b float64) *advlib.Classifier {
	t.Helper()
	c, err := advlib.NewClassifier(advlib.Spec{Name: "half-spaces", Input: []int{len(w)}, Box: advlib.UnitBox,
		Logits: func(_ *model.Scope, x *Node) *Node {
			z := AddScalar(Dot(x, Const(x.Graph(), tensors.FromFlatDataAndDimensions(w, len(w), 1))).Product(), -b)
			return Concatenate([]*Node{ZerosLike(z), z}, 1)
		}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// points returns inputs of d coordinates in [0, 1], with labels 0.
func points(t *testing.T, n, d int) *advlib.Examples {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, n*d)
	for i := range x {
		x[i] = r.Float32()
	}
	e, err := advlib.NewExamples("points", x, []int{d}, make([]int32, n))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Certificates are of the right class, and below the true radius but for about a share α of them.
func TestCertifiesHalfSpaces(t *testing.T) {
	w := []float32{0.5, -1, 0.25, 2, -0.125}
	const b, n, α = 0.8125, 300, 0.05
	clf := halves(t, w, b)
	e := points(t, n, len(w))
	s := smooth.Gaussian{Base: clf, Sigma: 0.25, N0: 400, N: 2000, Alpha: α, Seed: 3}
	report := s.MustCertify(t.Context(), e)
	norm := advlib.L2.Distance(w, make([]float32, len(w)))
	x := tensors.MustCopyFlatData[float32](e.X)
	tooFar, abstained, share := 0, 0, 0.
	for i, c := range report.Certificates {
		z := -b
		for j, v := range w {
			z += float64(v) * float64(x[i*len(w)+j])
		}
		truth := math.Abs(z) / norm
		if c.Class == smooth.Abstain {
			abstained++
			if truth > 0.2*s.Sigma {
				t.Errorf("example %d, %g from the plane: an abstention", i, truth)
			}
			continue
		}
		if (c.Class == 1) != (z > 0) {
			// Only where both classes are nearly equally probable, the wrong one is certified, with probability α.
			if truth > 0.1*s.Sigma {
				t.Errorf("example %d, z = %g: class %d", i, z, c.Class)
			}
			tooFar++
			continue
		}
		if c.Radius > truth {
			tooFar++
		}
		if truth < 2*s.Sigma {
			share += c.Radius / truth / n
		}
	}
	// Binomial(300, 0.05) is above 27 with probability 0.001.
	if tooFar > 27 {
		t.Errorf("%d of %d radii are too large, want about %d at most", tooFar, n, int(α*n))
	}
	if tooFar == 0 {
		t.Errorf("no radius of %d is too large: the bounds are needlessly loose for α = %g", n, α)
	}
	t.Logf("%d of %d radii too large, %d abstentions, radii are %.2f of the distance on average", tooFar, n, abstained, share)
	if report.Forward != n*(400+2000) {
		t.Errorf("%d passes are reported, want %d", report.Forward, n*(400+2000))
	}

	// Predictions agree with the plane.
	s.N = 500
	answers, err := s.Predict(t.Context(), e.First(50))
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		z := -b
		for j, v := range w {
			z += float64(v) * float64(x[i*len(w)+j])
		}
		if a.Class != smooth.Abstain && (a.Class == 1) != (z > 0) && math.Abs(z)/norm > 0.2*s.Sigma {
			t.Errorf("example %d, z = %g: prediction %+v", i, z, a)
		}
		if a.First+a.Second != s.N || a.First < a.Second || (a.Class == smooth.Abstain) != (a.PValue > α) {
			t.Errorf("example %d: prediction %+v of %d samples", i, a, s.N)
		}
	}
}

// An example's certificate depends on its number and the seed alone.
func TestCertificatesDoNotDependOnTheBatch(t *testing.T) {
	clf := halves(t, []float32{1, -1, 0.5}, 0.25)
	e := points(t, 12, 3)
	s := smooth.Gaussian{Base: clf, Sigma: 0.5, N0: 20, N: 1500}
	all := s.MustCertify(t.Context(), e)
	some := s.MustCertify(t.Context(), e.Select([]int{7, 2, 11}))
	for i, row := range []int{7, 2, 11} {
		if some.Certificates[i] != all.Certificates[row] || some.Index[i] != int64(row) {
			t.Errorf("example %d alone: %+v, among the others %+v", row, some.Certificates[i], all.Certificates[row])
		}
	}
	again := s.MustCertify(t.Context(), e)
	if !reflect.DeepEqual(again.Certificates, all.Certificates) {
		t.Error("the same seed gives other certificates")
	}
	s.Seed = 1
	if reflect.DeepEqual(s.MustCertify(t.Context(), e).Certificates, all.Certificates) {
		t.Error("another seed gives the same certificates")
	}
}

// The noise is not clipped, and copies without finite logits count for no class: here half of them, those below 0.
func TestNotFiniteCountsForNothing(t *testing.T) {
	c := advlib.MustClassifier(advlib.Spec{Name: "roots", Input: []int{1}, Box: advlib.UnitBox, Logits: func(_ *model.Scope, x *Node) *Node {
		return Concatenate([]*Node{Neg(OnesLike(x)), Sqrt(x)}, 1)
	}})
	e, err := advlib.NewExamples("edge", []float32{0, 0.5}, []int{1}, []int32{1, 1})
	if err != nil {
		t.Fatal(err)
	}
	report := smooth.Gaussian{Base: c, Sigma: 0.25, N: 10_000}.MustCertify(t.Context(), e)
	for i, want := range []float64{0.5, 0.97725} { // Φ(0), Φ(2)
		if got := float64(report.Certificates[i].Count) / 10_000; math.Abs(got-want) > 0.02 {
			t.Errorf("example %d: a share of %g of the noisy copies is in class 1, want %g", i, got, want)
		}
	}
	if report.Certificates[0].Class != smooth.Abstain {
		t.Errorf("half of the copies have no class: %+v, want an abstention", report.Certificates[0])
	}
}

func TestRefusals(t *testing.T) {
	clf := halves(t, []float32{1, 1}, 1)
	e := points(t, 3, 2)
	random := advlib.MustClassifier(advlib.Spec{Name: "noisy", Input: []int{2}, Box: advlib.UnitBox, Random: true,
		Logits: func(scope *model.Scope, x *Node) *Node {
			return Add(x, scope.RandomNormal(x.Graph(), x.Shape()))
		}})
	tabular := advlib.MustClassifier(advlib.Spec{Name: "tabular", Input: []int{2}, Box: advlib.UnitBox,
		Domain: advlib.Domain{{Change: advlib.Fixed}, {}}, Logits: func(_ *model.Scope, x *Node) *Node { return x }})
	for _, c := range []struct {
		s         smooth.Gaussian
		e         *advlib.Examples
		want      string
		predicted bool // Predict says something else
	}{
		{smooth.Gaussian{Sigma: 1}, e, "the Base is nil", false},
		{smooth.Gaussian{Base: random, Sigma: 1}, e, "is random itself", false},
		{smooth.Gaussian{Base: tabular, Sigma: 1}, e, "has a Domain", false},
		{smooth.Gaussian{Base: clf}, e, "the Sigma 0 is not", false},
		{smooth.Gaussian{Base: clf, Sigma: math.NaN()}, e, "the Sigma NaN is not", false},
		{smooth.Gaussian{Base: clf, Sigma: 1e-7}, e, "the Sigma 1e-07 is too small", false},
		{smooth.Gaussian{Base: clf, Sigma: 1, Alpha: 1}, e, "the Alpha 1 is not in (0, 1)", false},
		{smooth.Gaussian{Base: clf, Sigma: 1, N: -1}, e, "N = -1 samples", false},
		{smooth.Gaussian{Base: clf, Sigma: 1, N0: -1}, e, "N0 = -1 samples", false},
		{smooth.Gaussian{Base: clf, Sigma: 1, N: 9}, e, "N must be at least 10", true},
		{smooth.Gaussian{Base: clf, Sigma: 1}, nil, "there are no examples", false},
		{smooth.Gaussian{Base: clf, Sigma: 1}, points(t, 3, 4), "the inputs have shape [3 4]", false},
	} {
		_, err := c.s.Certify(t.Context(), c.e)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "smooth: certify ") {
			t.Errorf("%+v: error %v, want one that says %q", c.s, err, c.want)
		}
		_, err = c.s.Predict(t.Context(), c.e)
		if err == nil || !c.predicted && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: prediction: error %v, want one that says %q", c.s, err, c.want)
		}
	}
	if _, err := (smooth.Gaussian{Base: clf, Sigma: 1, N: 10}).Predict(t.Context(), e); err == nil ||
		!strings.Contains(err.Error(), "N must be at least 11") {
		t.Errorf("10 samples for a prediction: error %v", err)
	}
	if _, err := (smooth.Gaussian{Base: clf, Sigma: 1}).Surrogate(0); err == nil {
		t.Error("a surrogate of no draws is no error")
	}
}

func TestCancelledKeepsWhatIsDone(t *testing.T) {
	clf := halves(t, []float32{1, 1}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var seen []int
	s := smooth.Gaussian{Base: clf, Sigma: 1, N: 1000, OnProgress: func(p advlib.Progress) {
		if seen = append(seen, p.Done); p.Done == 3 {
			cancel()
		}
	}}
	report, err := s.Certify(ctx, points(t, 10, 2))
	if !errors.Is(err, context.Canceled) || report == nil || len(report.Certificates) != 3 || len(report.Label) != 3 {
		t.Errorf("cancelled after 3 examples: %v, %v", report, err)
	}
	if !reflect.DeepEqual(seen, []int{1, 2, 3}) {
		t.Errorf("progress %v", seen)
	}
}

func TestCertified(t *testing.T) {
	r := &smooth.Certified{Base: "MLP-100", Data: "digits/test", Backend: "go", Box: advlib.UnitBox, Sigma: 0.25,
		N0: 100, N: 1000, Alpha: 0.001, Slack: 1e-6,
		Index: []int64{0, 1, 2, 3}, Label: []int32{3, 1, 4, 1},
		Certificates: []smooth.Certificate{{Class: 3, Count: 1000, P: 0.993, Radius: 0.6149}, {Class: 1, Count: 900, P: 0.868, Radius: 0.279},
			{Class: smooth.Abstain, Count: 500, P: 0.45}, {Class: 7, Count: 990, P: 0.97, Radius: 0.4}}}
	for radius, want := range map[float64]int{0: 2, 0.279: 1, 0.2789: 2, 0.61: 1, 0.6149: 0, 1: 0} {
		if got := r.CertifiedAccuracy(radius); got.Count != want || got.Of != 4 {
			t.Errorf("certified accuracy at %g: %+v, want %d of 4", radius, got, want)
		}
	}
	if a, w := r.Abstentions(), r.Wrong(); a.Count != 1 || w.Count != 1 {
		t.Errorf("abstentions %+v, wrong %+v, want one each", a, w)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back smooth.Certified
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(*r, back) {
		t.Errorf("read back from JSON: %+v (%v)", back, err)
	}
	for _, bad := range []string{`{}`, `{"schema": "advlab.report/1"}`, strings.Replace(string(text), `"index":[0,`, `"index":[`, 1)} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%.60s…: no error", bad)
		}
	}
	p := r.Plain(0, 0.3)
	if got := p.Clean(); got.Count != 2 {
		t.Errorf("as a plain report: clean accuracy %+v, want 2 of 4", got)
	}
	if !reflect.DeepEqual(p.Certificates[1].Certified, []bool{true, false, false, false}) || p.Certificates[1].Radius != 0.3 {
		t.Errorf("as a plain report: %+v", p.Certificates[1])
	}
	all := *r
	all.Certificates = append([]smooth.Certificate{{Class: 3, Count: 1000, P: 0.993, Radius: r.LargestRadius()}}, r.Certificates[1:]...)
	curve := all.Plain().Certificates
	for i, c := range curve[:len(curve)-1] {
		if at := float64(i) * 0.025; math.Abs(c.Radius-at) > 1e-12 {
			t.Errorf("radius %d of a curve is %g, want %g", i, c.Radius, at)
		}
	}
	if last := curve[len(curve)-1]; !(last.Radius < r.LargestRadius()) || !last.Certified[0] || last.Certified[1] || curve[0].Radius != 0 {
		t.Errorf("the end of a curve: %+v, want one example certified just below %g", last, r.LargestRadius())
	}
	golden := filepath.Join("testdata", "report.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(r.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if r.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", r, want)
	}
}

// On digits: training on noisy inputs pays, and no attack on the smoothed classifier succeeds inside a certified
// radius.
func TestDigits(t *testing.T) {
	const σ = 0.25
	train, test := dataset.Digits()
	few := test.First(60)
	accuracy := map[bool]advlib.Rate{}
	var s smooth.Gaussian
	var report *smooth.Certified
	for _, augmented := range []bool{false, true} {
		m := zoo.MLP(100, 100)
		if augmented {
			m = smooth.Augment(m, σ)
		}
		s = smooth.Gaussian{Base: m.MustFit(t.Context(), train), Sigma: σ, N: 1000}
		report = s.MustCertify(t.Context(), few)
		accuracy[augmented] = report.CertifiedAccuracy(0.25)
	}
	t.Logf("certified at 0.25: trained without noise %v, with noise %v\n%v", accuracy[false], accuracy[true], report)
	if accuracy[true].Count <= accuracy[false].Count {
		t.Errorf("trained on noise %+v are certified at 0.25, without %+v", accuracy[true], accuracy[false])
	}

	// SmoothAdv from many starts, each example within its own radius: groups of examples with nearly the same one.
	surrogate, err := s.Surrogate(8)
	if err != nil {
		t.Fatal(err)
	}
	starts, broken, restarts := 0, 0, 5
	if os.Getenv("ADVLAB_FULL") != "" {
		restarts = 20 // more than 1000 starts
	}
	for k := 1; k <= 4; k++ {
		ε := 0.15 * float64(k)
		var rows []int
		for i, c := range report.Certificates {
			if c.Class == few.Y[i] && c.Radius > ε && c.Radius <= ε+0.15 {
				rows = append(rows, i)
			}
		}
		if len(rows) == 0 {
			continue
		}
		for restart := range restarts {
			result := advlib.Settings{Seed: uint64(restart)}.MustRun(t.Context(), surrogate, few.Select(rows),
				attack.PGD{Ball: advlib.L2.Ball(ε), Steps: 10, KeepGoing: true})
			e := *result.Examples
			e.X = result.Adversarial
			s.N = 500
			answers, err := s.Predict(t.Context(), &e)
			if err != nil {
				t.Fatal(err)
			}
			for i, a := range answers {
				starts++
				if a.Class != smooth.Abstain && a.Class != e.Y[i] {
					broken++
					t.Errorf("example %d is certified for ‖δ‖ < %g, and has class %d at ‖δ‖ = %g", e.Index[i], report.Certificates[rows[i]].Radius,
						a.Class, result.Distance[i])
				}
			}
		}
	}
	t.Logf("%d attacks inside certified balls, %d successes", starts, broken)
	if starts < 100 {
		t.Errorf("%d attacks only", starts)
	}
}

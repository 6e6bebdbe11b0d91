package diagnose

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/dataset"
	"advlab/advlib/detect"
	"advlab/advlib/oracle"
)

// firstFeature is a detector whose score is the input's first feature.
type firstFeature struct{}

func (firstFeature) String() string { return "first feature" }

func (firstFeature) Fit(context.Context, *advlib.Classifier, detect.Data) (detect.Score, error) {
	return firstFeature{}, nil
}

func (firstFeature) Graph(_ *advlib.Model, x, _ *Node) *Node {
	return Reshape(Slice(x, AxisRange(), AxisElem(0)), x.Shape().Dimensions[0])
}

// blindToFirst is a perceptron of random weights that does not see the first of 40 features, and examples that it gets
// right, whose first feature is within 0.01 of ½. So in a ball of 0.1 about half of all points are rejected, and an
// attack that follows the classifier alone never changes which.
func blindToFirst(t *testing.T) (*advlib.Classifier, *advlib.Examples) {
	t.Helper()
	const size, hidden, n = 40, 64, 120
	r := rand.New(rand.NewPCG(7, 7))
	v, w := make([]float32, size*hidden), make([]float32, hidden*2)
	for i := range v {
		if v[i] = float32(r.NormFloat64()); i < hidden { // what the first feature weighs
			v[i] = 0
		}
	}
	for i := range w {
		w[i] = float32(r.NormFloat64())
	}
	c := advlib.MustClassifier(advlib.Spec{Name: "blind to the first", Input: []int{size}, Box: advlib.UnitBox,
		Logits: func(_ *model.Scope, x *Node) *Node {
			g := x.Graph()
			h := Max(MatMul(AddScalar(x, -0.5), Reshape(Const(g, v), size, hidden)), ScalarZero(g, x.DType()))
			return MatMul(h, Reshape(Const(g, w), hidden, 2))
		}})
	x := make([]float32, n*size)
	for i := range x {
		if x[i] = 0.2 + 0.6*r.Float32(); i%size == 0 {
			x[i] = 0.49 + 0.02*r.Float32()
		}
	}
	said, err := c.Query(t.Context(), tensors.FromFlatDataAndDimensions(x, n, size))
	if err != nil {
		t.Fatal(err)
	}
	y := make([]int32, n)
	for i, a := range said {
		y[i] = a.Class()
	}
	e, err := advlib.NewExamples("forty", x, []int{size}, y)
	if err != nil {
		t.Fatal(err)
	}
	return c, e
}

// TestInverted: behind a detector of which an attack knows nothing, it finds all that is accepted and, since it leaves
// the score as it is, nothing that is rejected; attacks that know the score find both.
func TestInverted(t *testing.T) {
	c, e := blindToFirst(t)
	s, err := detect.Screen(t.Context(), c, firstFeature{}, detect.Data{Train: e, Clean: e})
	if err != nil {
		t.Fatal(err)
	}
	ball := advlib.Linf.Ball(0.1)
	pgd := attack.PGD{Ball: ball, Loss: advlib.Margin, NoRandomStart: true, KeepGoing: true}
	for _, test := range []struct {
		name          string
		attack        advlib.Attack
		want          Verdict
		plain, turned float64 // at most, of a verdict that is "failed"
	}{
		{"ignores the detector", s.Shown(pgd), Failed, 1, 0},
		{"selective", detect.Evasion{Screen: s, Ball: ball}, Passed, 1, 1},
		{"adaptive", s.Adaptive(ball), Passed, 1, 1},
		{"one short step", detect.Evasion{Screen: s, Ball: ball, Steps: 1, StepSize: 1e-4}, Failed, 0, 0},
	} {
		d, err := Settings{Ball: ball, Attack: test.attack, Only: []string{"binarisation"}, Points: 16}.Run(t.Context(), s, e)
		if err != nil {
			t.Fatal(err)
		}
		f := d.Findings[16]
		t.Logf("%s: %s: %s%s", test.name, f.Verdict, f.Measured, f.Why)
		if f.Verdict != test.want || len(f.Planted) != 2 || f.Planted[0].Inverted || !f.Planted[1].Inverted {
			t.Errorf("%s: %+v, want %s", test.name, f, test.want)
			continue
		}
		for k, want := range []float64{test.plain, test.turned} {
			if p := f.Planted[k]; p.Found.Of < 12 || p.Found.Value() != want || p.Random.Value() > mostLuck {
				t.Errorf("%s: %+v, want a share of %g of at least 12, and few by luck", test.name, p, want)
			}
		}
		if f.Verdict == Failed && (len(f.Next) < 2 || strings.Contains(strings.Join(f.Next, " "), "0x")) {
			t.Errorf("%s: the advice is %q", test.name, f.Next)
		}
		if text, page := d.String(), d.HTML(); !strings.Contains(page, "inverted: by the attack") || f.Verdict == Passed &&
			!strings.Contains(text, "with the detector inverted: ASR 100.0 %") {
			t.Errorf("%s: %s", test.name, text)
		}
		conforms(t, d)
	}
}

// conforms validates a diagnosis in JSON.
func conforms(t *testing.T, d *Diagnosis) {
	t.Helper()
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var plain any
	if err := json.Unmarshal(text, &plain); err != nil {
		t.Fatal(err)
	}
	if err := form(t).Validate(plain); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
}

// TestNothingToInvert: where the test cannot be set up, it says why.
func TestNothingToInvert(t *testing.T) {
	c, e := blindToFirst(t)
	screen := func(threshold float64) *detect.Screened {
		s, err := detect.Screen(t.Context(), c, firstFeature{}, detect.Data{Train: e, Clean: e})
		if err != nil {
			t.Fatal(err)
		}
		s.Threshold = threshold
		return s
	}
	ball := advlib.Linf.Ball(0.1)
	never := screen(0.9) // beyond every ball
	foreign := changed(t, c, "twice", func(m *advlib.Model, x *Node) *Node { return MulScalar(m.Logits(x), 2) })
	for want, test := range map[string]struct {
		victim advlib.Victim
		attack advlib.Attack
	}{
		"no point at the border is rejected": {never, never.Shown(attack.PGD{Ball: ball, Loss: advlib.Margin})},
		"no diagnose.Rereader":               {oracle.Rejecting(c, "none", func([]float32, advlib.Answer) bool { return false }), nil},
		"whose last layer is not known":      {never, attack.Transfer{Attack: attack.PGD{Ball: ball}, From: foreign}},
		"looks for a smallest change":        {never, attack.HopSkipJump{Norm: advlib.Linf, Queries: 50}},
	} {
		d, err := Settings{Ball: ball, Attack: test.attack, Only: []string{"binarisation"}, Points: 4}.Run(t.Context(), test.victim, e.First(8))
		if err != nil {
			t.Fatal(err)
		}
		if f := d.Findings[16]; f.Verdict != NotApplicable || !strings.Contains(f.Why, want) {
			t.Errorf("%+v, want %q", f, want)
		}
	}
}

// TestInvertedMethods: the attacks that package detect makes for its detectors are moved to planted points, and run. In
// CI what two methods add to the usual ones is run, on a few points; ADVLAB_FULL=1 takes all.
func TestInvertedMethods(t *testing.T) {
	train, test := dataset.Digits()
	c := natural(t, 0)
	ball := advlib.Linf.Ball(0.1)
	full := os.Getenv("ADVLAB_FULL") != ""
	methods := []detect.Method{detect.FeatureSqueezing{}, detect.KernelDensity{}}
	s := Settings{Ball: ball, Only: []string{"binarisation"}, Points: 4}
	if full {
		s.Points = 32
		methods = append(methods, detect.Consistency{}, detect.LID{}, detect.Mahalanobis{}, detect.MagNet{})
	}
	for _, m := range methods {
		t.Run(fmt.Sprintf("%T", m), func(t *testing.T) {
			v, err := detect.Screen(t.Context(), c, m, detect.Data{Train: train.First(400), Clean: test.First(120)})
			if err != nil {
				t.Fatal(err)
			}
			if s.Attack = v.Adaptive(ball); !full {
				s.Attack = detect.Adaptive{Screen: v, Attacks: m.(detect.Evader).Evade(v, ball)}
			}
			d, err := s.Run(t.Context(), v, test.First(map[bool]int{true: 100, false: 12}[full]))
			if err != nil {
				t.Fatal(err)
			}
			f := d.Findings[16]
			t.Logf("%s: %s: %s%s (%.0f s)", d.Attack, f.Verdict, f.Measured, f.Why, d.Seconds)
			if f.Verdict == NotRun || len(f.Planted) != 2 || f.Planted[0].Found.Of == 0 {
				t.Errorf("%+v", f)
			}
		})
	}
}

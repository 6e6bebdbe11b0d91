package diagnose

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/dataset"
	"advlab/advlib/defense"
	"advlab/advlib/oracle"
	"advlab/advlib/training"
	"advlab/advlib/transform"
	"advlab/advlib/zoo"
)

// natural is a perceptron on digits.
func natural(t *testing.T, seed uint64) *advlib.Classifier {
	train, _ := dataset.Digits()
	m := zoo.MLP(100, 100)
	m.Epochs, m.Seed = 20, seed
	return m.MustFit(t.Context(), train)
}

// planted is a fixture that hides its weakness, with the checks of which one must fail.
type planted struct {
	name   string
	victim advlib.Victim
	attack advlib.Attack
	fits   []string
}

func changed(t *testing.T, c *advlib.Classifier, name string, change func(m *advlib.Model, x *Node) *Node) *advlib.Classifier {
	t.Helper()
	d, err := c.Derive(name, name, change)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// lastIterate takes steps along the sign of the slope, shaken by noise, and returns its last point, whatever it is.
type lastIterate struct {
	Ball     advlib.Ball
	Steps    int
	StepSize float64
}

func (a lastIterate) String() string {
	return fmt.Sprintf("last of %d steps of %g in %v", a.Steps, a.StepSize, a.Ball)
}
func (a lastIterate) Threat(advlib.Victim) (advlib.Threat, error) {
	return advlib.Threat{Norm: a.Ball.Norm, Radius: a.Ball.Radius}, nil
}

func (a lastIterate) Perturb(_ context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	limits := v.Signature().Limits()
	step := v.Compile("last iterate", func(m *advlib.Model, in []*Node) []*Node {
		x, x0, y, shake, α, ε := in[0], in[1], in[2], in[3], in[4], in[5]
		g := m.Direction(advlib.Linf, advlib.Margin.Of(m.Logits(x), advlib.GoalNodes{Label: y}), x)
		x = Add(Add(x, Mul(α, Sign(g))), Mul(ε, shake))
		return []*Node{limits.Clip(Add(x0, Clip(Sub(x, x0), Neg(ε), ε)), x0)}
	})
	y := tensors.FromFlatDataAndDimensions(b.Y, len(b.Y))
	x, r := b.X, rand.New(rand.NewPCG(b.Seed, 1))
	for range a.Steps {
		shake := make([]float32, b.X.Shape().Size())
		for i := range shake {
			shake[i] = 2*r.Float32() - 1
		}
		out, err := step.Run(b.Len(), x, b.X, y, tensors.FromFlatDataAndDimensions(shake, b.X.Shape().Dimensions...), float32(a.StepSize),
			float32(a.Ball.Radius))
		if err != nil {
			return nil, err
		}
		x = out[0]
	}
	return x, nil
}

// winners keeps the k largest of each row.
func winners(h *Node, k int) *Node {
	least, rest := h, h
	for range k {
		top := ReduceAndKeep(rest, ReduceMax, -1)
		least = BroadcastToDims(top, h.Shape().Dimensions...)
		rest = Where(GreaterOrEqual(rest, least), Infinity(h.Graph(), h.DType(), -1), rest)
	}
	return Where(GreaterOrEqual(h, least), h, ZerosLike(h))
}

// kWTA is a perceptron whose hidden units compete (Xiao et al. 2020, arXiv:1905.10510).
func kWTA(t *testing.T) *advlib.Classifier {
	train, _ := dataset.Digits()
	layer := func(scope *model.Scope, x *Node, units int) *Node {
		w := scope.VariableWithShape("w", shapes.Make(x.DType(), x.Shape().Dimensions[1], units)).NodeValue(x)
		b := scope.VariableWithShape("b", shapes.Make(x.DType(), units)).NodeValue(x)
		return Add(DotProduct(x, w), InsertAxes(b, 0))
	}
	m := training.Model{Name: "k winners take all", Epochs: 30, Build: func(classes int) advlib.LogitsFn {
		return func(scope *model.Scope, x *Node) *Node {
			h := Reshape(x, x.Shape().Dimensions[0], -1)
			for l := range 2 {
				h = winners(layer(scope.In("dense%d", l), h, 200), 10)
			}
			return layer(scope.In("dense2"), h, classes)
		}
	}}
	return m.MustFit(t.Context(), train)
}

func fixtures(t *testing.T) []planted {
	train, _ := dataset.Digits()
	c := natural(t, 0)
	ball := advlib.Linf.Ball(0.1)
	pgd := attack.PGD{Ball: ball}
	slow := zoo.MLP(60)
	slow.Epochs, slow.LearningRate = 40, 0.005
	distilled := defense.Distillation{T: 100}.MustFit(t.Context(), slow, train)
	behind := func(all ...transform.Transform) *advlib.Classifier { return transform.MustBefore(c, all...).Classifier }
	wide := c.Signature()
	wide.Box, wide.Domain = advlib.Box{Lo: 0, Hi: 255}, nil
	return []planted{
		{"distilled at T = 100", distilled, defense.Distillation{T: 100}.Naive(ball), []string{"gradients", "loss", "black-box"}},
		{"8-bit quantiser", behind(transform.BitDepth{Bits: 8}), nil, []string{"gradients"}},
		{"1-bit quantiser", behind(transform.BitDepth{Bits: 1}), nil, []string{"gradients"}},
		{"JPEG without a gradient", behind(transform.JPEG{Quality: 75}), nil, []string{"gradients"}},
		{"random resize and pad", behind(transform.ResizePad{Least: 0.8}), pgd, []string{"random"}},
		{"logits × 1000", changed(t, c, "× 1000", func(m *advlib.Model, x *Node) *Node { return MulScalar(m.Logits(x), 1000) }), pgd,
			[]string{"loss", "gradients", "black-box"}},
		{"noise layer", behind(transform.Noise{Sigma: 0.2}), pgd, []string{"random"}},
		{"tempered argmax", changed(t, c, "argmax", func(m *advlib.Model, x *Node) *Node {
			return MulScalar(Softmax(MulScalar(m.Logits(x), 1e4), -1), 10)
		}), pgd, []string{"gradients"}},
		{"detector that rejects", oracle.Rejecting(c, "unsure", func(_ []float32, a advlib.Answer) bool {
			return confidence(a.Scores) < 0.9
		}), nil, []string{"detector"}},
		{"k winners take all", kWTA(t), pgd, []string{"noise", "black-box", "loss", "steps", "binarisation"}},
		{"saturated softmax", changed(t, c, "saturated", func(m *advlib.Model, x *Node) *Node {
			return Log(MaxScalar(Softmax(MulScalar(m.Logits(x), 50), -1), advlib.LeastProbability))
		}), pgd, []string{"gradients"}},
		{"too few steps", c, attack.PGD{Ball: ball, Steps: 2, StepSize: 0.02}, []string{"single-step", "steps", "black-box"}},
		{"step size near 0", c, attack.PGD{Ball: ball, StepSize: 1e-6, NoRandomStart: true}, []string{"single-step", "black-box", "unbounded"}},
		{"box 0 to 255", func() advlib.Victim {
			spec := advlib.Spec{Name: "bytes", Box: wide.Box, Input: c.Input(), Store: c.Store(), Logits: func(_ *model.Scope, x *Node) *Node {
				return c.LogitsGraph(x)
			}}
			return advlib.MustClassifier(spec)
		}(), nil, []string{"fill"}},
		{"last iterate", c, lastIterate{Ball: ball, Steps: 10, StepSize: 0.03}, []string{"silent"}},
	}
}

// update writes the table of the documentation anew.
var update = flag.Bool("update", false, "with ADVLAB_FULL=1, write fixtures.md")

// TestPlantedFixtures: of each model or attack that hides something, a check that fits it fails. In CI only those
// checks are run that the table says fail, with few points; ADVLAB_FULL=1 runs all and compares, or writes, the table.
func TestPlantedFixtures(t *testing.T) {
	_, test := dataset.Digits()
	full := os.Getenv("ADVLAB_FULL") != ""
	s := Settings{Ball: advlib.Linf.Ball(0.1), Samples: 1000, Queries: 300, Points: 32}
	table := "| fixture | attack | " + strings.Join(Names(), " | ") + " |\n|---|---" + strings.Repeat("|---", len(checklist)) + "|\n"
	for _, p := range fixtures(t) {
		t.Run(p.name, func(t *testing.T) {
			if s.Attack, s.Only = p.attack, p.fits[:1]; full {
				s.Only = nil
			}
			d, err := s.Run(t.Context(), p.victim, test.First(map[bool]int{true: 100, false: 60}[full]))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(d.With(Failed), func(f Finding) bool { return slices.Contains(p.fits, f.Name) }) {
				t.Errorf("none of %s has failed:\n%v", strings.Join(p.fits, ", "), d)
			}
			table += "| " + p.name + " | " + d.Attack
			for _, f := range d.Findings {
				mark := map[Verdict]string{Passed: "passed", Failed: "**failed**", NotApplicable: "–", NotRun: "not run"}[f.Verdict]
				table += " | " + mark
			}
			table += " |\n"
		})
	}
	if !full {
		return
	}
	const file = "fixtures.md"
	text := tableHead + table
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if had, err := os.ReadFile(file); err != nil || string(had) != text {
		t.Errorf("%s is not what was found (ADVLAB_FULL=1 go test -run TestPlantedFixtures -update ./advlib/diagnose writes it): %v\n%s", file,
			err, text)
	}
}

const tableHead = `# What the checks find

Models, and attacks, that make a robust accuracy look better than it is: which checks fail on them. The first 100 of the
digits' test part, Linf, ε = 0.1; 300 queries, 1000 random points, 32 planted points. A dash is "not applicable".
Written by TestPlantedFixtures.

`

// TestHonestModels: six models that hide nothing are not suspected.
func TestHonestModels(t *testing.T) {
	train, test := dataset.Digits()
	ball := advlib.Linf.Ball(0.1)
	hardened := func(m training.Model, a training.Adversary, o training.Objective) *advlib.Classifier {
		m.Epochs, m.Adversary, m.Objective = 20, a, o
		return m.MustFit(t.Context(), train)
	}
	plain := zoo.MLP(100, 100)
	for name, c := range map[string]*advlib.Classifier{
		"perceptron":           natural(t, 0),
		"CNN":                  zoo.CNN(8).MustFit(t.Context(), train),
		"adversarial training": hardened(plain, defense.AdversarialTraining{Ball: ball}, nil),
		"TRADES":               hardened(plain, nil, defense.TRADES{Ball: ball}),
		"MART":                 hardened(plain, nil, defense.MART{Ball: ball}),
		"smoothed":             transform.MustBefore(natural(t, 0), transform.Noise{Sigma: 0.05}).Classifier,
	} {
		t.Run(name, func(t *testing.T) {
			s := Settings{Ball: ball, Samples: 128, Queries: 100, Points: 12}
			if os.Getenv("ADVLAB_FULL") == "" { // in CI, what decides
				for _, k := range Checks() {
					if k.Decides {
						s.Only = append(s.Only, k.Name)
					}
				}
			}
			d, err := s.Run(t.Context(), c, test.First(64))
			if err != nil {
				t.Fatal(err)
			}
			if d.Masking() {
				t.Errorf("it is honest, and suspected:\n%v", d)
			}
			if d.Worst.Count > d.Robust.Count || d.Robust.Count > d.Clean.Count {
				t.Errorf("worst %v, robust %v, clean %v: they must not rise", d.Worst, d.Robust, d.Clean)
			}
		})
	}
}

// known is a rejecting victim that says how it is attacked.
type known struct{ advlib.Victim }

func (known) Adaptive(ball advlib.Ball) advlib.Attack { return attack.Square{Ball: ball, Queries: 300} }

// TestKnownDetector: a victim's own attack is the one that is diagnosed, and another is compared with it.
func TestKnownDetector(t *testing.T) {
	_, test := dataset.Digits()
	v := known{oracle.Rejecting(natural(t, 0), "unsure", func(_ []float32, a advlib.Answer) bool { return confidence(a.Scores) < 0.9 })}
	ball := advlib.Linf.Ball(0.2)
	for want, a := range map[Verdict]advlib.Attack{Passed: nil, Failed: attack.Square{Ball: ball, Queries: 3}} {
		d, err := Settings{Ball: ball, Attack: a, Only: []string{"detector"}}.Run(t.Context(), v, test.First(60))
		if err != nil {
			t.Fatal(err)
		}
		if got := d.Findings[21]; got.Verdict != want {
			t.Errorf("with %v: %+v", d.Attack, got)
		}
	}
}

// TestIndicators compares with NumPy on the authors' formulas; testdata/indicators.py has made the numbers.
func TestIndicators(t *testing.T) {
	text, err := os.ReadFile("testdata/indicators.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases struct {
		Unstable []struct {
			Reference, Is float64
			Around        []float64
		}
		Incomplete []struct {
			Losses []float64
			Is     float64
		}
		Silent []struct {
			Way []bool
			Is  bool
		}
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases.Unstable) != 40 || len(cases.Incomplete) != 40 || len(cases.Silent) != 20 {
		t.Fatal("cases are missing")
	}
	for i, c := range cases.Unstable {
		if got := UnstablePredictions(c.Reference, c.Around); math.Abs(got-c.Is) > 1e-6 {
			t.Errorf("unstable %d: %g, NumPy has %g", i, got, c.Is)
		}
	}
	for i, c := range cases.Incomplete {
		if got := IncompleteOptimisation(c.Losses); math.Abs(got-c.Is) > 1e-6 {
			t.Errorf("incomplete %d: %g, NumPy has %g", i, got, c.Is)
		}
	}
	for i, c := range cases.Silent {
		if got := SilentSuccess(c.Way); got != c.Is {
			t.Errorf("silent %d: %v of %v", i, got, c.Way)
		}
	}
}

// TestRefuses: bad settings are refused before anything is computed, and say what to do.
func TestRefuses(t *testing.T) {
	_, test := dataset.Digits()
	c := natural(t, 0)
	ball := advlib.Linf.Ball(0.1)
	for want, s := range map[string]Settings{
		"unset":                   {},
		"with a radius above 0":   {Ball: advlib.Linf.Ball(0)},
		"one of L1, L2 or Linf":   {Ball: advlib.L0.Ball(3)},
		`no check "gradient"`:     {Ball: ball, Only: []string{"gradient"}},
		"Queries is -1":           {Ball: ball, Queries: -1},
		"give both the same ball": {Ball: ball, Attack: attack.PGD{Ball: advlib.Linf.Ball(0.2)}},
		"give an untargeted one":  {Ball: ball, Attack: attack.PGD{Ball: ball, Goal: advlib.Targeted(3)}},
		"the victim is nil":       {Ball: ball},
		"have shape [2 5]":        {Ball: ball},
	} {
		var v advlib.Victim = c
		e := test.First(10)
		switch want {
		case "the victim is nil":
			v = nil
		case "have shape [2 5]":
			e, _ = advlib.NewExamples("five", make([]float32, 10), []int{5}, []int32{0, 1})
		}
		if _, err := s.Run(t.Context(), v, e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v instead of %q", err, want)
		}
	}
}

// TestJSON: what is written is read back equal, and names the schema.
func TestJSON(t *testing.T) {
	_, test := dataset.Digits()
	d, err := Settings{Ball: advlib.Linf.Ball(0.1), Only: []string{"clean", "fill", "radii"}}.Run(t.Context(), natural(t, 0), test.First(30))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), `"schema":"advlab.diagnosis/1"`) {
		t.Errorf("%s", text)
	}
	var back Diagnosis
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(*d, back) {
		t.Errorf("%v\n%+v\n%+v", err, *d, back)
	}
	if err := json.Unmarshal([]byte(`{"schema": "advlab.report/2"}`), &back); err == nil {
		t.Error("another schema is read")
	}
	if page := d.HTML(); !strings.Contains(page, "fill") || strings.Contains(page, "<script") {
		t.Errorf("%s", page)
	}
}

// TestInterrupted: what was reached is returned, and the rest is not run.
func TestInterrupted(t *testing.T) {
	_, test := dataset.Digits()
	ctx, cancel := context.WithCancel(t.Context())
	s := Settings{Ball: advlib.Linf.Ball(0.1), OnCheck: func(c Check, _, _ int) {
		if c.Name == "radii" {
			cancel()
		}
	}, Skip: []string{"black-box", "noise"}}
	d, err := s.Run(ctx, natural(t, 0), test.First(30))
	if !errors.Is(err, context.Canceled) || d == nil || !d.Interrupted {
		t.Fatal(d, err)
	}
	for _, f := range d.Findings {
		if reached := f.Number < 6 && f.Name != "black-box" && f.Name != "noise"; reached != (f.Verdict != NotRun) {
			t.Errorf("%s: %s", f.Name, f.Verdict)
		}
	}
}

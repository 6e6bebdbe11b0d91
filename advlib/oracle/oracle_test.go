package oracle_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
	"advlab/advlib/backend"
	"advlab/advlib/certify"
	"advlab/advlib/oracle"
	"advlab/advlib/report"
)

// linear returns a linear classifier, and a Go function that computes its logits as it does up to rounding.
func linear(t *testing.T) (*attacktest.Linear, func(x []float32) []float32) {
	t.Helper()
	b, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	l, err := attacktest.NewLinear(attacktest.LinearSpec{Seed: 11, Examples: 8}, b)
	if err != nil {
		t.Fatal(err)
	}
	return l, func(x []float32) []float32 {
		z := make([]float32, len(l.W))
		for k, w := range l.W {
			sum := 0.
			for i, v := range x {
				sum += w[i] * float64(v)
			}
			z[k] = float32(sum)
		}
		return z
	}
}

// function returns the function of [linear] as a victim.
func function(t *testing.T) (*attacktest.Linear, advlib.Victim) {
	l, f := linear(t)
	return l, oracle.Func("f", advlib.Signature{Input: l.Classifier.Input(), Box: advlib.UnitBox, Classes: len(l.W)}, f)
}

func square(ε float64, queries int) attack.Square {
	return attack.Square{Ball: advlib.Linf.Ball(ε), Queries: queries}
}

func count(which []bool) int {
	n := 0
	for _, w := range which {
		if w {
			n++
		}
	}
	return n
}

func TestVictimHasFewMethods(t *testing.T) {
	if n := reflect.TypeFor[advlib.Victim]().NumMethod(); n > 5 {
		t.Errorf("a victim needs %d methods, want at most 5", n)
	}
}

func TestSquareOnAFunction(t *testing.T) {
	l, f := function(t)
	a := square(0.15, 200)
	want := advlib.MustRun(t.Context(), l.Classifier, l.Examples, a)
	counter := oracle.Count(f)
	got := advlib.MustRun(t.Context(), counter, l.Examples, a)
	if n := count(want.Success); n == 0 || n == l.Examples.Len() {
		t.Fatalf("Square breaks %d of %d examples of the classifier: this test compares nothing", n, l.Examples.Len())
	}
	if !slices.Equal(got.Success, want.Success) {
		t.Errorf("Square succeeds on %v of the function, on %v of the classifier that computes the same", got.Success, want.Success)
	}
	if got.Stats.Forward != want.Stats.Forward || got.Stats.Backward != 0 {
		t.Errorf("%d passes forward and %d backward on the function, %d forward on the classifier", got.Stats.Forward,
			got.Stats.Backward, want.Stats.Forward)
	}
	// The measurement asks about each original, and about each example that was attacked: here all.
	if asked := counter.Queries(); asked != got.Stats.Forward+2*int64(l.Examples.Len()) {
		t.Errorf("the victim answered %d inputs: want %d to the attack, and 2 for each of %d examples", asked, got.Stats.Forward,
			l.Examples.Len())
	}
	if got.Clean[0].Class != want.Clean[0].Class || math.Abs(got.Clean[0].Confidence-want.Clean[0].Confidence) > 1e-5 {
		t.Errorf("the function says %+v, the classifier %+v", got.Clean[0], want.Clean[0])
	}
}

func TestWhiteBoxAttacksNameWhatToUse(t *testing.T) {
	l, f := function(t)
	for _, a := range []advlib.Attack{
		attack.PGD{Ball: advlib.Linf.Ball(0.1)},
		attack.CarliniWagner{},
		attack.AutoAttack{Ball: advlib.Linf.Ball(0.1)},
		attack.EOT{Attack: attack.PGD{Ball: advlib.Linf.Ball(0.1)}, Samples: 2},
		gradients{},
	} {
		_, err := advlib.Run(t.Context(), f, l.Examples, a)
		none := (*advlib.NoGraphError)(nil)
		if !errors.As(err, &none) || none.Victim != "f" || !strings.Contains(err.Error(), "attack.Square") {
			t.Errorf("%v: error %v does not say that f has no graph, and to take attack.Square", a, err)
		}
	}
}

// gradients is an attack that asks for a gradient without having asked whether there is one.
type gradients struct{}

func (gradients) String() string { return "gradients" }

func (gradients) Threat(advlib.Victim) (advlib.Threat, error) {
	return advlib.Threat{Norm: advlib.Linf, Radius: 0.1}, nil
}

func (gradients) Perturb(_ context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	step := v.Compile(gradients{}, func(m *advlib.Model, in []*graph.Node) []*graph.Node {
		return []*graph.Node{m.Gradient(advlib.Margin.Of(m.Logits(in[0]), advlib.GoalNodes{Label: in[1]}), in[0])}
	})
	_, err := step.Run(b.Len(), b.X, b.Y)
	return b.X, err
}

func TestEvaluateAFunction(t *testing.T) {
	l, f := function(t)
	a := square(0.15, 100)
	r, err := advlib.Evaluate(t.Context(), f, l.Examples, []advlib.Attack{a}, certify.IBP)
	if err != nil {
		t.Fatal(err)
	}
	want := advlib.MustEvaluate(t.Context(), l.Classifier, l.Examples, []advlib.Attack{a})
	ball := advlib.Linf.Ball(0.15)
	if got, want := r.Robust(ball), want.Robust(ball); got != want {
		t.Errorf("robust accuracy of the function %v of %d, of the classifier %v", got, got.Of, want)
	}
	for _, text := range []string{r.String(), r.HTML()} {
		if !strings.Contains(text, "not applicable: no graph") || !strings.Contains(text, "IBP is not applicable: f has no graph") {
			t.Errorf("the report does not say that the gradients and IBP are not applicable:\n%s", text)
		}
	}
	if _, asked := r.Certified(ball); asked {
		t.Error("the report has a certified accuracy")
	}
	text, err := r.MarshalJSON()
	if err != nil || !strings.Contains(string(text), `"not_applicable":"no graph"`) {
		t.Errorf("JSON without a field not_applicable (%v): %s", err, text)
	}
	var again report.Report
	if err := again.UnmarshalJSON(text); err != nil || again.String() != r.String() {
		t.Errorf("read again (%v) the report is another one", err)
	}
}

func TestViews(t *testing.T) {
	s := advlib.Signature{Input: []int{1}, Box: advlib.UnitBox, Classes: 3}
	f := oracle.Func("f", s, func(x []float32) []float32 {
		if x[0] > 0.9 {
			return nil
		}
		return []float32{0, x[0], 2}
	})
	p := make([]float32, 3)
	for k, z := range []float64{0, 0.5, 2} {
		p[k] = float32(math.Exp(z) / (1 + math.Exp(0.5) + math.Exp(2)))
	}
	round := func(v float32) float32 { return float32(math.Round(float64(v)*100) / 100) }
	for _, c := range []struct {
		v       advlib.Victim
		name    string
		returns advlib.Returns
		want    advlib.Answer
	}{
		{f, "f", advlib.Logits, advlib.Answer{Kind: advlib.Logits, Scores: []float32{0, 0.5, 2}}},
		{oracle.Labels(f), "f, labels only", advlib.Label, advlib.Answer{Kind: advlib.Label, Label: 2}},
		{oracle.Probabilities(f), "f, probabilities", advlib.Probabilities, advlib.Answer{Kind: advlib.Probabilities, Scores: p}},
		{oracle.TopK(f, 2), "f, probabilities, top 2", advlib.TopClasses, advlib.Answer{Kind: advlib.TopClasses, Scores: []float32{p[2], p[1]}, Top: []int32{2, 1}}},
		{oracle.TopK(oracle.TopK(f, 2), 5), "f, probabilities, top 2, probabilities, top 5", advlib.TopClasses, advlib.Answer{Kind: advlib.TopClasses, Scores: []float32{p[2], p[1]}, Top: []int32{2, 1}}},
		{oracle.Rounded(oracle.Probabilities(f), 2), "f, probabilities, rounded to 2 digits", advlib.Probabilities, advlib.Answer{Kind: advlib.Probabilities, Scores: []float32{round(p[0]), round(p[1]), round(p[2])}}},
		{oracle.Decide("d", s, func([]float32) int { return 1 }), "d", advlib.Label, advlib.Answer{Kind: advlib.Label, Label: 1}},
	} {
		x := tensors.FromFlatDataAndDimensions([]float32{0.5}, 1, 1)
		got, err := c.v.Query(t.Context(), x)
		if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], c.want) {
			t.Errorf("%s answers %+v (%v), want %+v", c.v.Name(), got, err, c.want)
		}
		if c.v.Name() != c.name || c.v.Signature().Returns != c.returns {
			t.Errorf("%s returns %v, want %s and %v", c.v.Name(), c.v.Signature().Returns, c.name, c.returns)
		}
	}
	for _, v := range []advlib.Victim{f, oracle.Labels(f), oracle.TopK(f, 1), oracle.Rounded(f, 1), oracle.Budget(f, 3)} {
		if got, err := v.Query(t.Context(), tensors.FromFlatDataAndDimensions([]float32{1}, 1, 1)); err != nil ||
			got[0].Kind != advlib.Rejected || got[0].Class() != -1 {
			t.Errorf("%s answers %+v (%v) where f rejects", v.Name(), got, err)
		}
	}
	if n := oracle.Budget(oracle.Budget(f, 3), 5).Signature().Queries; n != 3 {
		t.Errorf("a budget of 5 within one of 3 is %d", n)
	}
}

func TestAttacksOnLessThanScores(t *testing.T) {
	l, f := function(t)
	a := square(0.15, 200)
	full := advlib.MustRun(t.Context(), f, l.Examples, a)
	// Probabilities, and the first two of them, are as good as logits for the margin in a problem without saturation.
	for _, v := range []advlib.Victim{oracle.Probabilities(f), oracle.TopK(f, 2)} {
		if got := advlib.MustRun(t.Context(), v, l.Examples, a); count(got.Success) < count(full.Success)-1 {
			t.Errorf("%s: Square breaks %d examples, with logits %d", v.Name(), count(got.Success), count(full.Success))
		}
	}
	labels := oracle.Labels(l.Classifier)
	_, err := advlib.Run(t.Context(), labels, l.Examples, a)
	none := (*advlib.NoScoresError)(nil)
	if !errors.As(err, &none) || !strings.Contains(err.Error(), "attack.Transfer") || !strings.Contains(err.Error(), labels.Name()) {
		t.Errorf("Square on labels: error %v does not name the victim and attack.Transfer", err)
	}
	transferred := attack.Transfer{Attack: attack.PGD{Ball: advlib.Linf.Ball(0.15), Steps: 10}, From: l.Classifier}
	res := advlib.MustRun(t.Context(), labels, l.Examples, transferred)
	own := advlib.MustRun(t.Context(), l.Classifier, l.Examples, attack.PGD{Ball: advlib.Linf.Ball(0.15), Steps: 10})
	if !slices.Equal(res.Success, own.Success) || count(own.Success) == 0 {
		t.Errorf("transferred from the classifier itself, PGD succeeds on %v, and on the classifier on %v", res.Success, own.Success)
	}
	if !math.IsNaN(res.Clean[0].Confidence) {
		t.Errorf("a victim that tells labels only has the confidence %g", res.Clean[0].Confidence)
	}
}

func TestBudgetIsKept(t *testing.T) {
	l, f := function(t)
	n := l.Examples.Len()
	for _, budget := range []int{1, 2, 3, 10} {
		for _, a := range []advlib.Attack{
			square(0.001, 50), attack.Square{Ball: advlib.L2.Ball(0.001), Queries: 51, Restarts: 3},
			attack.Repeat{Attack: square(0.001, 8), Times: 3},
		} {
			counter := oracle.Count(f)
			res, err := advlib.Run(t.Context(), oracle.Budget(counter, budget), l.Examples, a)
			if err != nil {
				t.Errorf("%v, %d queries: %v", a, budget, err)
				continue
			}
			if count(res.Success) > 0 {
				t.Fatalf("%v breaks an example: this test does not see whether the budget is used up", a)
			}
			want := budget
			if budget == 2 {
				want = 1 // one for what is returned, which is the original
			}
			if asked := int(counter.Queries()); asked != want*n || res.Stats.Sent != int64(asked) ||
				!slices.Equal(res.Queries, slices.Repeat([]int{want}, n)) {
				t.Errorf("%v, %d queries for each of %d examples: the victim answered %d, the result says %d and %v", a, budget, n, asked,
					res.Stats.Sent, res.Queries)
			}
		}
	}
	// An attack that does not say of which example it asks is refused.
	if _, err := advlib.Run(t.Context(), oracle.Budget(f, 3), l.Examples, blind{}); err == nil ||
		!strings.Contains(err.Error(), "does not say of which example") {
		t.Errorf("an attack that does not say of which example it asks: %v", err)
	}
}

// blind asks about a batch without saying of which examples.
type blind struct{ gradients }

func (blind) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	_, err := v.Query(ctx, b.X)
	return b.X, err
}

// shift is an attack that adds a constant.
type shift struct {
	gradients
	by float32
}

func (s shift) Perturb(_ context.Context, _ *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	x := tensors.MustCopyFlatData[float32](b.X)
	for i := range x {
		x[i] += s.by
	}
	return tensors.FromFlatDataAndDimensions(x, b.X.Shape().Dimensions...), nil
}

// A victim of one input x: below 0.5 class 0, below 0.6 rejected, else class 1.
func TestRejectionIsNoSuccess(t *testing.T) {
	s := advlib.Signature{Input: []int{1}, Box: advlib.UnitBox, Classes: 2}
	f := oracle.Func("f", s, func(x []float32) []float32 { return []float32{0.5, x[0]} })
	v := oracle.Rejecting(f, "no 0.5 to 0.6", func(x []float32, _ advlib.Answer) bool { return x[0] >= 0.5 && x[0] < 0.6 })
	e, err := advlib.NewExamples("five", []float32{0.3, 0.45, 0.55, 0.52, 0.7}, []int{1}, []int32{0, 0, 0, 1, 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		a       advlib.Attack
		success []bool
	}{
		{shift{by: 0.1}, []bool{false, false, false, false, false}},  // 0.45 goes to 0.55, which is rejected
		{shift{by: -0.1}, []bool{false, false, false, false, false}}, // 0.7 to 0.6 stays class 1
	} {
		res := advlib.MustRun(t.Context(), v, e, c.a)
		if !slices.Equal(res.Success, c.success) {
			t.Errorf("%+v succeeds on %v, want %v", c.a, res.Success, c.success)
		}
		if want := []bool{true, true, false, false, true}; !slices.Equal(res.Attempted, want) {
			t.Errorf("attempted %v, want %v: rejected originals are left out", res.Attempted, want)
		}
		if want := []int32{0, 0, -1, -1, 1}; !slices.EqualFunc(res.Clean, want, func(p advlib.Prediction, k int32) bool { return p.Class == k }) {
			t.Errorf("clean answers %+v, want classes %v", res.Clean, want)
		}
	}
	for _, alone := range []bool{false, true} {
		r := advlib.Settings{Alone: alone}.MustEvaluate(t.Context(), v, e, []advlib.Attack{shift{by: 0.1}})
		// What is rejected is neither right nor broken: 3 of 5 are right, and all of these stand.
		if r.Clean().Count != 3 || r.Robust(advlib.Linf.Ball(0.1)).Count != 3 || r.Abstained().Count != 2 ||
			r.Attacks[0].SuccessRate() != (advlib.Rate{Of: 3}) {
			t.Errorf("alone %t: clean %v, robust %v, rejected %v, success %+v", alone, r.Clean(), r.Robust(advlib.Linf.Ball(0.1)),
				r.Abstained(), r.Attacks[0].SuccessRate())
		}
	}
	// Without the rejection, the same input is a success.
	if res := advlib.MustRun(t.Context(), f, e, shift{by: 0.1}); !res.Success[1] || res.Distance[1] == 0 {
		t.Errorf("0.55 without rejection: success %v at %g", res.Success[1], res.Distance[1])
	}
}

func TestRandomFunction(t *testing.T) {
	l, f := linear(t)
	r := rand.New(rand.NewPCG(3, 4))
	v := oracle.Func("noisy", advlib.Signature{Input: l.Classifier.Input(), Box: advlib.UnitBox, Classes: len(l.W), Random: true},
		func(x []float32) []float32 {
			z := f(x)
			for k := range z {
				z[k] += float32(0.3 * r.NormFloat64())
			}
			return z
		})
	counter := oracle.Count(v)
	res := advlib.MustRun(t.Context(), counter, l.Examples, attack.EOT{Attack: square(0.2, 20), Samples: 4})
	if !strings.Contains(res.String(), "no seed governs") {
		t.Errorf("the result does not warn that no seed governs the draws: %v", res)
	}
	if count(res.Success) == 0 {
		t.Error("nothing is broken")
	}
	if res.Stats.Forward%4 != 0 || counter.Queries() < res.Stats.Forward {
		t.Errorf("%d passes with 4 draws for each question, of %d answers", res.Stats.Forward, counter.Queries())
	}
	report := advlib.MustEvaluate(t.Context(), v, l.Examples, []advlib.Attack{square(0.2, 20)})
	if report.Cascade {
		t.Error("attacks on a random victim form a cascade")
	}
	// The number of draws is measured by the margin, where there is no gradient.
	n, err := attack.EOT{}.Measure(t.Context(), advlib.Count(v), advlib.Batch{X: l.Examples.X, Y: l.Examples.Y})
	if err != nil || n < 1 || n > 8 {
		t.Errorf("%d draws (%v) for noise that is small beside the margin", n, err)
	}
}

func TestDomainOfAFunction(t *testing.T) {
	l, f := linear(t)
	d := make(advlib.Domain, l.Classifier.Input()[0])
	for i := range d {
		d[i] = advlib.Feature{Name: fmt.Sprint("f", i), Step: 0.125, Scale: 0.5}
	}
	d[0].Change = advlib.Fixed
	x := tensors.MustCopyFlatData[float32](l.Examples.X)
	for i := range x {
		x[i] = float32(math.Round(float64(x[i])*8) / 8)
	}
	s := advlib.Signature{Input: l.Classifier.Input(), Box: advlib.UnitBox, Domain: d, Classes: len(l.W)}
	v := oracle.Func("stepped", s, func(x []float32) []float32 {
		for i, v := range x {
			if v != float32(math.Round(float64(v)*8)/8) {
				t.Errorf("asked about %g at position %d, which is no step", v, i)
			}
		}
		return f(x)
	})
	e, err := advlib.NewExamples("steps", x, l.Classifier.Input(), l.Examples.Y)
	if err != nil {
		t.Fatal(err)
	}
	res := advlib.MustRun(t.Context(), v, e, attack.Square{Ball: advlib.Linf.Ball(0.6), Queries: 100})
	if count(res.Success) == 0 {
		t.Error("nothing is broken")
	}
	adv := tensors.MustCopyFlatData[float32](res.Adversarial)
	for i := range adv {
		if i%len(d) == 0 && adv[i] != x[i] {
			t.Errorf("the fixed feature of example %d went from %g to %g", i/len(d), x[i], adv[i])
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	l, f := linear(t)
	good := advlib.Signature{Input: l.Classifier.Input(), Box: advlib.UnitBox, Classes: len(l.W)}
	a := square(0.1, 5)
	for want, change := range map[string]func(s *advlib.Signature){
		"0 classes":              func(s *advlib.Signature) { s.Classes = 0 },
		"Input is empty":         func(s *advlib.Signature) { s.Input = nil },
		"is empty or not finite": func(s *advlib.Signature) { s.Box = advlib.Box{} },
		"returns rejected":       func(s *advlib.Signature) { s.Returns = advlib.Rejected },
		"10 scores for 9":        func(s *advlib.Signature) { s.Classes = 9 },
		"class names":            func(s *advlib.Signature) { s.ClassNames = []string{"one"} },
		"no probability":         func(s *advlib.Signature) { s.Returns = advlib.Probabilities },
	} {
		s := good
		change(&s)
		e := l.Examples
		if s.Classes == 9 {
			e = e.Select([]int{slices.IndexFunc(e.Y, func(y int32) bool { return y < 9 })})
		}
		if _, err := advlib.Run(t.Context(), oracle.Func("f", s, f), e, a); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	// Probabilities that are said to be logits are noticed.
	v := oracle.Func("softmax", good, func(x []float32) []float32 {
		z, sum := f(x), 0.
		for _, v := range z {
			sum += math.Exp(float64(v))
		}
		for k, v := range z {
			z[k] = float32(math.Exp(float64(v)) / sum)
		}
		return z
	})
	if _, err := advlib.Run(t.Context(), v, l.Examples, a); err == nil || !strings.Contains(err.Error(), "look like probabilities") {
		t.Errorf("probabilities as logits: %v", err)
	}
	if _, err := advlib.Run(t.Context(), nil, l.Examples, a); err == nil {
		t.Error("no victim is no error")
	}
	// When it is cancelled, what was found is returned.
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	slow := oracle.Func("slow", good, func(x []float32) []float32 {
		if asked++; asked == 40 {
			cancel()
		}
		return f(x)
	})
	res, err := advlib.Run(ctx, slow, l.Examples, square(0.15, 1000))
	if !errors.Is(err, context.Canceled) || res == nil || count(res.Attempted) != l.Examples.Len() {
		t.Errorf("cancelled after 40 answers: %v, %v", res, err)
	}
}

func TestCertificatesWithoutAttacks(t *testing.T) {
	l, _ := linear(t)
	ball := advlib.Linf.Ball(0.01)
	r, err := advlib.Settings{Balls: []advlib.Ball{ball}}.Evaluate(t.Context(), l.Classifier, l.Examples, nil, certify.IBP)
	if err != nil {
		t.Fatal(err)
	}
	if rate, asked := r.Certified(ball); !asked || rate.Count == 0 {
		t.Errorf("certified %v (asked: %t)", rate, asked)
	}
	if text := r.String(); strings.Contains(text, "worst case") || !strings.Contains(text, "nothing was attacked") {
		t.Errorf("the report names a robust accuracy where nothing was attacked:\n%s", text)
	}
	if _, err := advlib.Evaluate(t.Context(), l.Classifier, l.Examples, nil, certify.IBP); err == nil ||
		!strings.Contains(err.Error(), "Settings.Balls") {
		t.Errorf("a certifier without a ball: %v", err)
	}
	if _, err := advlib.Evaluate(t.Context(), l.Classifier, l.Examples, nil); err == nil || !strings.Contains(err.Error(), "no attacks") {
		t.Errorf("neither attack nor certifier: %v", err)
	}
}

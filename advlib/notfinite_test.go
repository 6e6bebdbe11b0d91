package advlib_test

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/cachedir"
	"advlab/advlib/certify"
	"advlab/advlib/lab"
	"advlab/advlib/smooth"
)

// lengths classifies inputs [2] by their direction, x/‖x‖, which is NaN at the origin: the first class is nearer to the
// first axis.
func lengths(t testing.TB, box advlib.Box) *advlib.Classifier {
	t.Helper()
	c, err := advlib.NewClassifier(advlib.Spec{Name: "direction", Input: []int{2}, Box: box, Logits: func(_ *model.Scope, x *Node) *Node {
		return Div(x, Sqrt(ReduceAndKeep(Square(x), ReduceSum, 1)))
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// pairs are inputs of which those of rows 1 and 4 are the origin. Row 5 is misclassified; of the others row 0 is
// farther from the border than 0.1.
func pairs(t testing.TB) *advlib.Examples {
	t.Helper()
	e, err := advlib.NewExamples("pairs", []float32{0.9, 0.1, 0, 0, 0.5, 0.45, 0.2, 0.3, 0, 0, 0.1, 0.9}, []int{2}, []int32{0, 0, 0, 1, 1, 0})
	if err != nil {
		t.Fatal(err)
	}
	e.Index = []int64{10, 11, 12, 13, 14, 15}
	return e
}

// Inputs on which the model has no answer are in no rate, and are named wherever a report is.
func TestNotFiniteExamplesAreLeftOut(t *testing.T) {
	c, e := lengths(t, advlib.UnitBox), pairs(t)
	ball := advlib.Linf.Ball(0.1)
	attacks := []advlib.Attack{attack.PGD{Ball: ball}, attack.FMN{Norm: advlib.Linf}}
	for name, s := range map[string]advlib.Settings{"cascade": {}, "alone": {Alone: true}, "batches": {BatchSize: 1}} {
		r, err := s.Evaluate(t.Context(), c, e, attacks)
		if err != nil {
			t.Fatal(name, err)
		}
		if !slices.Equal(r.Index, []int64{10, 12, 13, 15}) || r.Clean() != (advlib.Rate{Count: 3, Of: 4}) ||
			r.Robust(ball) != (advlib.Rate{Count: 1, Of: 4}) {
			t.Errorf("%s: examples %v, clean %v, robust %v", name, r.Index, r.Clean(), r.Robust(ball))
		}
		want := []advlib.NotFinite{{Index: 11, Label: 0, Logit: 0, Value: "NaN"}, {Index: 14, Label: 1, Logit: 0, Value: "NaN"}}
		if !slices.Equal(r.LeftOut, want) {
			t.Errorf("%s: left out are %v", name, r.LeftOut)
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		const sentence = "2 of 6 examples are left out of all numbers, because the model's logits are not finite for example 11 " +
			"(logit 0 is NaN), example 14 (logit 0 is NaN)"
		for form, got := range map[string]string{"text": r.String(), "JSON": strings.ReplaceAll(string(text), "\\u0027", "'"),
			"HTML": strings.ReplaceAll(r.HTML(), "&#39;", "'")} {
			if !strings.Contains(got, sentence) {
				t.Errorf("%s: the %s does not name them: %s", name, form, got)
			}
		}
		var read advlib.Report
		if err := json.Unmarshal(text, &read); err != nil || !slices.Equal(read.LeftOut, want) {
			t.Errorf("%s: read back %v, %v", name, read.LeftOut, err)
		}
		if merged, err := r.Merge(r); err != nil || len(merged.LeftOut) != 4 {
			t.Errorf("%s: merged %v, %v", name, merged, err)
		}
	}
	// With certificates too: the rows of a report fit together.
	first, err := advlib.Evaluate(t.Context(), c, e, attacks, everything{})
	if err != nil || len(first.Certificates[0].Certified) != 4 {
		t.Errorf("%v, %v", first, err)
	}
	_, err = advlib.Settings{Strict: true}.Evaluate(t.Context(), c, e, attacks)
	if err == nil || !strings.Contains(err.Error(), "not finite for example 11 (logit 0 is NaN), example 14 (logit 0 is NaN); "+
		"without Settings.Strict they are left out") {
		t.Errorf("strict: %v", err)
	}
	if _, err := (advlib.Settings{Strict: true}).Evaluate(t.Context(), c, e.Select([]int{0, 2}), attacks); err != nil {
		t.Errorf("strict, with finite logits: %v", err)
	}
	if _, err := advlib.Evaluate(t.Context(), c, e.Select([]int{1, 4}), attacks); err == nil ||
		!strings.Contains(err.Error(), "not finite for any of 2 examples") {
		t.Errorf("nothing but such examples: %v", err)
	}
}

// everything certifies no example, and sees how many there are.
type everything struct{}

func (everything) String() string { return "nothing" }
func (everything) Certify(_ context.Context, _ *advlib.Classifier, e *advlib.Examples, _ advlib.Ball) ([]bool, error) {
	return make([]bool, e.Len()), nil
}

func TestNotFiniteExamplesOfARun(t *testing.T) {
	c, e := lengths(t, advlib.UnitBox), pairs(t)
	pgd := attack.PGD{Ball: advlib.Linf.Ball(0.1)}
	check := func(name string, res *advlib.Result, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(name, err)
		}
		if !slices.Equal(res.Attempted, []bool{true, false, true, true, false, true}) ||
			!slices.Equal(res.Success, []bool{false, false, true, true, false, true}) || res.SuccessRate().Of != 4 {
			t.Errorf("%s: attempted %v, success %v", name, res.Attempted, res.Success)
		}
		if len(res.LeftOut) != 2 || res.Clean[1].Class != -1 || res.Clean[0].Class != 0 || !math.IsInf(res.Distance[1], 1) ||
			!strings.Contains(strings.Join(res.Warnings, ""), "2 of 6 examples are left out") {
			t.Errorf("%s: left out %v, predictions %v, distances %v, warnings %q", name, res.LeftOut, res.Clean, res.Distance, res.Warnings)
		}
	}
	res, err := advlib.Run(t.Context(), c, e, pgd)
	check("run", res, err)
	t.Setenv(cachedir.Variable, t.TempDir())
	for _, name := range []string{"lab.Run", "lab.Run, kept"} {
		res, err = lab.Settings{BatchSize: 2}.Run(t.Context(), c, e, pgd)
		check(name, res, err)
	}
	if _, err := (lab.Settings{BatchSize: 2, Strict: true}).Run(t.Context(), c, e, pgd); err == nil ||
		!strings.Contains(err.Error(), "Settings.Strict") {
		t.Errorf("strict, where a result is kept: %v", err)
	}
	// A report that is kept, and one that continues, name them too.
	for range 2 {
		r, err := lab.Evaluate(t.Context(), c, e, []advlib.Attack{pgd})
		if err != nil || len(r.LeftOut) != 2 || r.Clean().Of != 4 {
			t.Errorf("%v, %v", r, err)
		}
	}
	journal, err := lab.NewJournal(t.Context(), c, "pairs")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		r, err := advlib.Settings{BatchSize: 1, Journal: journal}.Evaluate(t.Context(), c, e, []advlib.Attack{pgd},
			certify.Complete{Timeout: 1e9})
		if err != nil || len(r.LeftOut) != 2 || r.Robust(pgd.Ball).Count != 1 || i == 1 && journal.Recalled() == 0 {
			t.Errorf("time %d: %v, %v, %d recalled", i, r, err, journal.Recalled())
		}
	}
}

// toOrigin moves all inputs to the origin.
type toOrigin struct{ attack.FGM }

func (a toOrigin) Perturb(_ context.Context, _ *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	return tensors.FromShape(b.X.Shape()), nil
}

// An attack that moves an input to where the model has no answer has not made it wrong, and says so.
func TestAttackToNotFinite(t *testing.T) {
	c, e := lengths(t, advlib.UnitBox), pairs(t).Select([]int{0, 2, 3})
	r, err := advlib.Evaluate(t.Context(), c, e, []advlib.Attack{toOrigin{attack.FGM{Ball: advlib.Linf.Ball(1)}}})
	if err != nil || r.Robust(r.Balls()[0]).Count != 3 || !strings.Contains(strings.Join(r.Warnings, ""),
		"moved 3 examples, such as example 10, to where the model's logits are not finite") {
		t.Errorf("%v, %v", r, err)
	}
}

// A classifier with no answer in the middle of its box is one, with a warning; one without any answer is none.
func TestNotFiniteInTheMiddle(t *testing.T) {
	c := lengths(t, advlib.Box{Lo: -1, Hi: 1})
	res, err := advlib.Run(t.Context(), c, pairs(t), attack.FGM{Ball: advlib.Linf.Ball(0.1)})
	if err != nil || !strings.Contains(strings.Join(res.Warnings, ""), "logit 0 is NaN for an input inside of the box [-1, 1]") {
		t.Errorf("%v, %v", res, err)
	}
	_, err = advlib.NewClassifier(advlib.Spec{Name: "nowhere", Input: []int{2}, Box: advlib.UnitBox,
		Logits: func(_ *model.Scope, x *Node) *Node { return Sqrt(AddScalar(x, -2)) }})
	if err == nil || !strings.Contains(err.Error(), "its logit 0 is NaN") {
		t.Errorf("no answer anywhere: %v", err)
	}
}

// Noisy copies without an answer count for no class, and are counted.
func TestNotFiniteUnderNoise(t *testing.T) {
	c, err := advlib.NewClassifier(advlib.Spec{Name: "root", Input: []int{2}, Box: advlib.UnitBox,
		Logits: func(_ *model.Scope, x *Node) *Node { return Sqrt(AddScalar(x, 0.1)) }})
	if err != nil {
		t.Fatal(err)
	}
	e, err := advlib.NewExamples("two", []float32{0.9, 0.5, 0.6, 0}, []int{2}, []int32{0, 0})
	if err != nil {
		t.Fatal(err)
	}
	g := smooth.Gaussian{Base: c, Sigma: 0.05, N: 1000}
	r, err := g.Certify(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	// A copy of the second is outside of the root's domain where the noise is below −2σ: 2.3 % of them.
	if n := r.Certificates[1].NotFinite; n < 8 || n > 45 || r.Certificates[0].NotFinite != 0 || r.Certificates[1].Count > 1000-n {
		t.Errorf("%+v", r.Certificates)
	}
	if want := "copies of 1 examples, such as example 1: these copies count for no class"; !strings.Contains(r.String(), want) ||
		!strings.Contains(strings.Join(r.Plain().Warnings, ""), want) {
		t.Errorf("the report does not say so: %s", r)
	}
	g.Strict = true
	if _, err := g.Certify(t.Context(), e); err == nil || !strings.Contains(err.Error(), "noisy copies of example 1") {
		t.Errorf("strict: %v", err)
	}
}

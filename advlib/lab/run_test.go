package lab_test

import (
	"context"
	"reflect"
	"slices"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/lab"
	"advlab/advlib/oracle"
)

// linear returns a linear classifier of inputs of two coordinates whose margin is slope·(x₀ − x₁), and whose graph
// holds a factor.
func linear(t *testing.T, slope float32, factor float64) *advlib.Classifier {
	t.Helper()
	store := model.NewStore()
	if _, err := store.CreateVariable("w", tensors.FromValue([][]float32{{slope, 0}, {0, slope}})); err != nil {
		t.Fatal(err)
	}
	return advlib.MustClassifier(advlib.Spec{Name: "linear", Store: store, Input: []int{2}, Box: advlib.UnitBox,
		Logits: func(scope *model.Scope, x *Node) *Node {
			return MulScalar(DotProduct(x, scope.VariableWithValue("w", [][]float32{{0, 0}, {0, 0}}).NodeValue(x)), factor)
		}})
}

func points(t *testing.T, x0 float32) *advlib.Examples {
	t.Helper()
	e, err := advlib.NewExamples("points", []float32{x0, 0.5, 0.5, 0.65}, []int{2}, []int32{0, 1})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestRunIsKept(t *testing.T) {
	_, notices := ownStore(t)
	fgm := attack.FGM{Ball: advlib.Linf.Ball(0.1)}
	run := func(s advlib.Settings, slope float32, factor float64, a advlib.Attack, x0 float32) *advlib.Result {
		t.Helper()
		r, err := lab.Settings(s).Run(t.Context(), linear(t, slope, factor), points(t, x0), a)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	count := func() int {
		entries, err := lab.List()
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	first := run(advlib.Settings{}, 3, 1, fgm, 0.6)
	again := run(advlib.Settings{}, 3, 1, fgm, 0.6)
	if count() != 1 || again.Stats.Elapsed != first.Stats.Elapsed || !again.Adversarial.Equal(first.Adversarial) ||
		!reflect.DeepEqual(again.Success, first.Success) {
		t.Errorf("the same run is made anew: %d entries", count())
	}
	if !slices.Equal(first.Success, []bool{true, true}) {
		t.Errorf("success %v, want both: margins 0.1 and 0.15 in the reach of 2·0.1", first.Success)
	}
	// Anything else is another run.
	others := []func(){
		func() { run(advlib.Settings{}, 3.5, 1, fgm, 0.6) },
		func() { run(advlib.Settings{}, 3, 1.5, fgm, 0.6) },
		func() { run(advlib.Settings{}, 3, 1, fgm, 0.61) },
		func() { run(advlib.Settings{Seed: 1}, 3, 1, fgm, 0.6) },
		func() { run(advlib.Settings{}, 3, 1, attack.FGM{Ball: advlib.Linf.Ball(0.11)}, 0.6) },
		func() { run(advlib.Settings{}, 3, 1, attack.FGM{Ball: advlib.L2.Ball(0.1)}, 0.6) },
		func() { run(advlib.Settings{}, 3, 1, attack.FGM{Ball: fgm.Ball, Loss: advlib.Margin}, 0.6) },
		func() { run(advlib.Settings{}, 3, 1, attack.FGM{Ball: fgm.Ball, Goal: advlib.Targeted(1)}, 0.6) },
		func() { run(advlib.Settings{}, 3, 1, attack.PGD{Ball: fgm.Ball}, 0.6) },
	}
	for i, other := range others {
		before := count()
		other()
		if count() != before+1 {
			t.Errorf("edit %d is taken for another run", i)
		}
	}
	if len(*notices) > 0 {
		t.Errorf("notices %q", *notices)
	}
}

func TestEvaluateIsKept(t *testing.T) {
	ownStore(t)
	evaluate := func(radius float64) *advlib.Report {
		t.Helper()
		r, err := lab.Evaluate(t.Context(), linear(t, 3, 1), points(t, 0.6), []advlib.Attack{attack.FGSM(radius)})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := evaluate(0.1)
	if first.Key == "" {
		t.Error("the report has no key")
	}
	if again := evaluate(0.1); !reflect.DeepEqual(first, again) {
		t.Errorf("%+v came back as %+v", first, again)
	}
	if evaluate(0.06).Key == first.Key {
		t.Error("another radius has the same key")
	}
}

// stranger is an attack whose code the library cannot know: here it holds a function, in a cell it would be of package
// main.
type stranger struct {
	attack.FGM
	change func(float64) float64
}

func TestUnknownCodeIsNotKept(t *testing.T) {
	_, notices := ownStore(t)
	a := stranger{attack.FGSM(0.1), func(x float64) float64 { return x }}
	for range 2 {
		if _, err := lab.Run(t.Context(), linear(t, 3, 1), points(t, 0.6), a); err != nil {
			t.Fatal(err)
		}
	}
	if entries, _ := lab.List(); len(entries) != 0 || len(*notices) != 2 {
		t.Errorf("kept %v, notices %q", entries, *notices)
	}
}

// A function is known by its fingerprint only, and a view of a classifier by the classifier.
func TestVictimsAreKeptWhereTheyAreKnown(t *testing.T) {
	_, notices := ownStore(t)
	c := linear(t, 3, 1)
	f := oracle.Func("f", c.Signature(), func(x []float32) []float32 { return []float32{3 * x[0], 3 * x[1]} })
	random := c.Signature()
	random.Random = true
	square := attack.Square{Ball: advlib.Linf.Ball(0.1), Queries: 5}
	for _, k := range []struct {
		v       advlib.Victim
		entries int // after two runs
		notices int // of them
	}{
		{f, 0, 4}, // of the run, and of its pieces, each time
		{oracle.Fingerprint(f, "slope 3"), 1, 0},
		{oracle.Fingerprint(f, "slope 3, again"), 2, 0},
		{oracle.Rounded(c, 2), 3, 0},
		{oracle.Rounded(c, 3), 4, 0},
		{oracle.Rounded(linear(t, 3.5, 1), 3), 5, 0},
		{oracle.Rounded(oracle.Fingerprint(f, "slope 3"), 3), 6, 0},
		{oracle.Budget(c, 3), 7, 0},
		{oracle.Rounded(f, 3), 7, 4},
		{oracle.Rejecting(c, "none", func([]float32, advlib.Answer) bool { return false }), 7, 4},
		{oracle.Fingerprint(oracle.Func("g", random, func(x []float32) []float32 { return x }), "drawn"), 7, 4},
	} {
		*notices = nil
		for range 2 {
			if _, err := lab.Run(t.Context(), k.v, points(t, 0.6), square); err != nil {
				t.Fatal(err)
			}
		}
		if entries, _ := lab.List(); len(entries) != k.entries || len(*notices) != k.notices {
			t.Errorf("%s: %d entries, want %d; %d notices, want %d: %q", k.v.Name(), len(entries), k.entries, len(*notices), k.notices, *notices)
		}
	}
}

func TestRunPassesErrorsOn(t *testing.T) {
	ownStore(t)
	if _, err := lab.Run(t.Context(), nil, nil, attack.FGSM(0.1)); err == nil {
		t.Error("no classifier is no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lab.Run(ctx, linear(t, 3, 1), points(t, 0.6), attack.FGSM(0.1)); err == nil {
		t.Error("a cancelled context is no error")
	}
	if entries, _ := lab.List(); len(entries) != 0 {
		t.Errorf("kept %v", entries)
	}
}

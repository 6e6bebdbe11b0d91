package advlib_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
)

type halfKey struct{ by float64 }

func halved(t *testing.T, c *advlib.Classifier, by float64) *advlib.Classifier {
	t.Helper()
	d, err := c.Derive(halfKey{by}, "divided", func(m *advlib.Model, x *Node) *Node {
		return DivScalar(Add(m.Logits(x), m.Logits(x)), 2*by)
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// An extended classifier may have another number of outputs, and counts passes alike.
func TestExtend(t *testing.T) {
	c, e := linear(t), corners(t)
	type key struct{}
	d, err := c.Extend(key{}, "with the sum", func(m *advlib.Model, x *Node) *Node {
		return Concatenate([]*Node{m.Logits(x), ReduceAndKeep(m.Logits(x), ReduceSum, 1)}, 1)
	})
	if err != nil {
		t.Fatal(err)
	}
	target := advlib.Count(c)
	z, err := target.On(d).Logits(t.Context(), e.X)
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range z {
		if sum := row[0] + row[1] + row[2]; len(row) != 4 || row[3] != sum {
			t.Errorf("example %d: outputs %v, want three logits and %g", i, row, sum)
		}
	}
	if f, _ := target.Passes(); f != int64(2*e.Len()) {
		t.Errorf("%d forward passes for %d rows, want two each", f, e.Len())
	}
}

// A derived classifier has the logits of its graph function, is kept under its key, and its passes count as those it
// makes.
func TestDerive(t *testing.T) {
	c, e := linear(t), corners(t)
	d := halved(t, c, 4)
	if halved(t, c, 4) != d || halved(t, c, 5) == d {
		t.Error("a derived classifier is not kept under its key")
	}
	target := advlib.Count(c)
	on := target.On(d)
	z, err := on.Logits(t.Context(), e.X)
	if err != nil {
		t.Fatal(err)
	}
	want, err := target.Logits(t.Context(), e.X)
	if err != nil {
		t.Fatal(err)
	}
	for i := range z {
		for k := range z[i] {
			if z[i][k] != want[i][k]/4 {
				t.Errorf("logit %d of example %d is %g, want %g / 4", k, i, z[i][k], want[i][k])
			}
		}
	}
	type key struct{}
	step := on.Compile(key{}, func(m *advlib.Model, in []*Node) []*Node {
		return []*Node{m.Gradient(advlib.Margin.Of(m.Logits(in[0]), advlib.GoalNodes{Label: in[1]}), in[0])}
	})
	if _, err := step.Run(3, e.X, e.Y); err != nil {
		t.Fatal(err)
	}
	// 3 rows: twice for the derived logits, once for the plain ones, twice each way for the step.
	if forward, backward := target.Passes(); forward != 3*(2+1+2) || backward != 3*2 {
		t.Errorf("%d forward and %d backward passes, want 15 and 6", forward, backward)
	}
	if _, err := c.Derive("fewer", "two of three", func(m *advlib.Model, x *Node) *Node {
		return Slice(m.Logits(x), AxisRange(), AxisRange(0, 2))
	}); err == nil || !strings.Contains(err.Error(), "has 2 classes") {
		t.Errorf("another number of classes: %v", err)
	}
}

// A model with random logits is refused unless it says so; then the same seed gives the same result, and another
// another one.
func TestRandomClassifier(t *testing.T) {
	spec := advlib.Spec{Name: "noisy", Input: []int{3}, Box: advlib.UnitBox,
		Logits: func(scope *model.Scope, x *Node) *Node {
			return Add(x, scope.RandomNormal(x.Graph(), x.Shape()))
		}}
	if _, err := advlib.NewClassifier(spec); err == nil || !strings.Contains(err.Error(), "set Spec.Random") {
		t.Fatalf("a random model that does not say so: %v", err)
	}
	spec.Random = true
	c, err := advlib.NewClassifier(spec)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Random() || linear(t).Random() {
		t.Error("Random does not tell which classifiers are random")
	}
	nothing := proposal{threat: advlib.Threat{Norm: advlib.Linf, Radius: 0.5},
		adv: rowsOf(func(_ int, x []float32) { x[0], x[1] = x[1], x[0] })}
	x := make([]float32, 300)
	e, err := advlib.NewExamples("gray", x, []int{3}, make([]int32, 100))
	if err != nil {
		t.Fatal(err)
	}
	broken := func(seed uint64) []bool {
		res, err := advlib.Settings{Seed: seed}.Run(context.Background(), c, e, nothing)
		if err != nil {
			t.Fatal(err)
		}
		return res.Success
	}
	first := broken(1)
	if !slices.Equal(first, broken(1)) {
		t.Error("the same seed gives another result")
	}
	if slices.Equal(first, broken(2)) {
		t.Error("another seed gives the same result")
	}
}

// Classifiers of one store have one set of variables in float64, those of others their own: a graph of one has another
// in it.
func TestWideIsTheStores(t *testing.T) {
	c := linear(t)
	wide := func(c *advlib.Classifier) *advlib.Wide {
		w, err := c.Wide()
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	onIt := advlib.MustClassifier(advlib.Spec{Name: "on it", Input: c.Input(), Box: c.Box(), Store: c.Store(), Backend: c.Backend(),
		Logits: func(_ *model.Scope, x *Node) *Node { return c.LogitsGraph(x) }})
	if wide(c) != wide(onIt) || wide(c) != wide(c.View()) || wide(c) != wide(halved(t, c, 2)) {
		t.Error("classifiers of one store have several")
	}
	if wide(c) == wide(linear(t)) {
		t.Error("those of two stores have one")
	}
}

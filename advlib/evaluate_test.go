package advlib_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
)

// line is a classifier of numbers in [0, 1]: class 0 up to 0.5, class 1 above. The nearest adversarial example of x is
// at
// |x − 0.5|, in every norm.
func line(t testing.TB) *advlib.Classifier {
	t.Helper()
	c, err := advlib.NewClassifier(advlib.Spec{Name: "line", Input: []int{1}, Box: advlib.UnitBox,
		Logits: func(_ *model.Scope, x *Node) *Node { return MulScalar(Concatenate([]*Node{OneMinus(x), x}, 1), 3) }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// numbers are examples of [line]: at distance 0.05, 0.08, 0.12, 0.2 and 0.4 of the boundary, and a misclassified one.
func numbers(t testing.TB) *advlib.Examples {
	t.Helper()
	e, err := advlib.NewExamples("numbers", []float32{0.45, 0.42, 0.38, 0.7, 0.9, 0.2}, []int{1}, []int32{0, 0, 0, 1, 1, 1})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// mover moves numbers towards the other class by its budget; of minimal norm, by a little more than is needed.
type mover struct {
	norm   advlib.Norm
	radius float64
	goal   advlib.Goal
	weak   bool                    // leaves class 0 alone
	seen   func(index []int64)     // told of each batch
	stop   func() (cancelled bool) // asked before each batch
}

func (m mover) String() string {
	name := fmt.Sprintf("mover %v ≤ %g", m.norm, m.radius)
	if m.weak {
		name += ", weak"
	}
	return name
}

func (m mover) Threat(advlib.Victim) (advlib.Threat, error) {
	return advlib.Threat{Norm: m.norm, Radius: m.radius, Goal: m.goal}, nil
}

func (m mover) Perturb(ctx context.Context, _ *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	if m.seen != nil {
		m.seen(b.Index)
	}
	x := tensors.MustCopyFlatData[float32](b.X)
	if m.stop != nil && m.stop() {
		return tensors.FromFlatDataAndDimensions(x, len(x), 1), ctx.Err()
	}
	for i, v := range x {
		step := min(m.radius*0.999, math.Abs(float64(v)-0.5)+0.001)
		switch {
		case v > 0.5:
			x[i] = v - float32(step)
		case !m.weak:
			x[i] = v + float32(step)
		}
	}
	return tensors.FromFlatDataAndDimensions(x, len(x), 1), nil
}

// movers are budgets in Linf of which the smaller is given last, one of minimal norm, one in L2, and a targeted attack.
func movers(seen map[string][]int64) []advlib.Attack {
	var all []advlib.Attack
	for _, m := range []mover{
		{norm: advlib.Linf, radius: 0.15},
		{norm: advlib.Linf, radius: 0.1, weak: true},
		{norm: advlib.Linf, radius: math.Inf(1)},
		{norm: advlib.L2, radius: 0.1},
		{norm: advlib.Linf, radius: 0.25, goal: advlib.Targeted(1)},
		{norm: advlib.Linf, radius: 0.3},
	} {
		m.seen = func(index []int64) {
			seen[m.String()] = append(seen[m.String()], index...)
			slices.Sort(seen[m.String()]) // batches are in the order of content
		}
		all = append(all, m)
	}
	return all
}

func TestEvaluateIsACascade(t *testing.T) {
	c, e := line(t), numbers(t)
	seen, alone := map[string][]int64{}, map[string][]int64{}
	r, err := advlib.Evaluate(t.Context(), c, e, movers(seen))
	if err != nil {
		t.Fatal(err)
	}
	all, err := advlib.Settings{Alone: true}.Evaluate(t.Context(), c, e, movers(alone))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Cascade || all.Cascade || r.Interrupted {
		t.Errorf("cascade %v, alone %v, interrupted %v", r.Cascade, all.Cascade, r.Interrupted)
	}
	// The smallest budget first, and beside it the one of minimal norm, which breaks all; so the larger budgets are run
	// on what it broke farther out. Norms and targeted attacks stand for themselves.
	for name, want := range map[string][]int64{
		"mover Linf ≤ 0.1, weak": {0, 1, 2, 3, 4},
		"mover Linf ≤ +Inf":      {0, 1, 2, 3, 4},
		"mover Linf ≤ 0.15":      {3, 4},
		"mover Linf ≤ 0.25":      {0, 1, 2}, // of another class than the target, and not there
		"mover Linf ≤ 0.3":       {4},
		"mover L2 ≤ 0.1":         {0, 1, 2, 3, 4},
	} {
		if !slices.Equal(seen[name], want) {
			t.Errorf("%s was run on %v, want %v", name, seen[name], want)
		}
		if name != "mover Linf ≤ 0.25" && !slices.Equal(alone[name], []int64{0, 1, 2, 3, 4}) {
			t.Errorf("%s alone was run on %v", name, alone[name])
		}
	}
	if got, want := r.Order(), []int{1, 2, 0, 4, 5, 3}; !slices.Equal(got, want) {
		t.Errorf("order %v, want %v", got, want)
	}
	if got, want := all.Order(), []int{0, 1, 2, 3, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("order alone %v, want %v", got, want)
	}
	if a := r.Attacks[0]; a.Name != "mover Linf ≤ 0.15" || !slices.Equal(a.Skipped, []bool{true, true, true, false, false, false}) ||
		!slices.Equal(a.Attempted, []bool{false, false, false, true, true, true}) || math.Abs(float64(a.Distance[1])-0.081) > 1e-6 ||
		a.Distance[5] != 0 {
		t.Errorf("the row is %+v", a)
	}
	for _, ball := range []advlib.Ball{advlib.Linf.Ball(0.1), advlib.Linf.Ball(0.15), advlib.Linf.Ball(0.3), advlib.L2.Ball(0.1)} {
		if got, want := r.Robust(ball), all.Robust(ball); got != want {
			t.Errorf("%v: %v robust in the cascade, %v otherwise", ball, got, want)
		}
		before := r.Clean().Count
		for _, k := range r.Order() {
			now := r.RobustAfter(k, ball).Count
			if now > before {
				t.Errorf("%v: robust accuracy rises after %s", ball, r.Attacks[k].Name)
			}
			before = now
			if a := all.Attacks[k]; !a.Targeted {
				if alone, known := all.RobustTo(a, ball); !known || alone.Count < all.Robust(ball).Count {
					t.Errorf("%v: the worst case is above %s alone", ball, a.Name)
				}
			}
		}
		if before != r.Robust(ball).Count {
			t.Errorf("%v: %d after all, worst case %v", ball, before, r.Robust(ball))
		}
	}
	if got, want := r.Attacks[2].MedianDistance(), all.Attacks[2].MedianDistance(); got != want {
		t.Errorf("median %v, alone %v", got, want)
	}
}

// TestCascadeOfRealAttacks: the worst case is the same as with each attack on all examples, and cheaper.
func TestCascadeOfRealAttacks(t *testing.T) {
	c := linear(t)
	x := make([]float32, 3*60)
	y := make([]int32, 60)
	for i := range x {
		x[i] = float32(i*i*7919%997) / 997
	}
	for i := range y {
		for k := range 3 {
			if x[3*i+k] > x[3*i+int(y[i])] {
				y[i] = int32(k)
			}
		}
	}
	e, err := advlib.NewExamples("points", x, []int{3}, y)
	if err != nil {
		t.Fatal(err)
	}
	var attacks []advlib.Attack
	for _, ε := range []float64{0.2, 0.05} {
		attacks = append(attacks, attack.FGM{Ball: advlib.Linf.Ball(ε)}, attack.PGD{Ball: advlib.Linf.Ball(ε), Loss: advlib.Margin, Steps: 10})
	}
	cascade, err := advlib.Evaluate(t.Context(), c, e, attacks)
	if err != nil {
		t.Fatal(err)
	}
	alone, err := advlib.Settings{Alone: true}.Evaluate(t.Context(), c, e, attacks)
	if err != nil {
		t.Fatal(err)
	}
	var passes, passesAlone int64
	for k := range attacks {
		passes, passesAlone = passes+cascade.Attacks[k].Forward, passesAlone+alone.Attacks[k].Forward
		broken := func(r *advlib.Report, i int) bool {
			return r.Attacks[k].Success[i] || len(r.Attacks[k].Skipped) > i && r.Attacks[k].Skipped[i]
		}
		for i := range e.Len() {
			if broken(alone, i) && !broken(cascade, i) {
				t.Errorf("%v breaks example %d alone only", attacks[k], i)
			}
		}
	}
	for _, ball := range cascade.Balls() {
		if got, want := cascade.Robust(ball), alone.Robust(ball); got != want || got.Count == 0 || got.Count == got.Of {
			t.Errorf("%v: %v, alone %v", ball, got, want)
		}
	}
	if passes >= passesAlone {
		t.Errorf("%d passes, alone %d", passes, passesAlone)
	}
	// What was made for the first evaluation is there for the second.
	made := func(r *advlib.Report) (n int) {
		for _, a := range r.Attacks {
			for _, p := range a.Programs {
				if p.Batch != advlib.Bucket(p.Batch) {
					t.Errorf("%s: a program for batches of %d", a.Name, p.Batch)
				}
				n += p.Compiled + p.Loaded
			}
		}
		return n
	}
	// FGM's step; of PGD start and step, at 128 rows and fewer.
	if first, second := made(cascade), made(alone); first < 3 || second > first {
		t.Errorf("%d programs were made for the cascade, %d then for each attack alone", first, second)
	}
}

func TestBallsThatAreAskedFor(t *testing.T) {
	s := advlib.Settings{Balls: []advlib.Ball{advlib.L2.Ball(0.3), advlib.L2.Ball(0.1)}}
	seen := map[string][]int64{}
	strong := mover{norm: advlib.L2, radius: math.Inf(1), seen: func(index []int64) { seen["strong"] = slices.Sorted(slices.Values(index)) }}
	weak := mover{norm: advlib.L2, radius: math.Inf(1), weak: true,
		seen: func(index []int64) { seen["weak"] = slices.Sorted(slices.Values(index)) }}
	r, err := s.Evaluate(t.Context(), line(t), numbers(t), []advlib.Attack{strong, weak})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(r.Balls()); got != 2 {
		t.Fatalf("%d balls", got)
	}
	for _, tc := range []struct {
		radius float64
		want   int
	}{{0.1, 3}, {0.3, 1}} {
		if got := r.Robust(advlib.L2.Ball(tc.radius)); got.Count != tc.want {
			t.Errorf("%d robust at %g, want %d", got.Count, tc.radius, tc.want)
		}
	}
	if !slices.Equal(seen["weak"], []int64{2, 3, 4}) {
		t.Errorf("the second attack was run on %v, want what is not broken within the smallest ball", seen["weak"])
	}
	if _, err := (advlib.Settings{Balls: []advlib.Ball{{}}}).Evaluate(t.Context(), line(t), numbers(t),
		[]advlib.Attack{strong}); err == nil || !strings.Contains(err.Error(), "Settings.Balls") {
		t.Errorf("an unset ball: %v", err)
	}
}

func TestCancelledEvaluationKeepsTheAttackThatRan(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	batches := 0
	slow := mover{norm: advlib.Linf, radius: 0.3, stop: func() bool {
		if batches++; batches == 3 {
			cancel()
		}
		return batches >= 3
	}}
	attacks := []advlib.Attack{mover{norm: advlib.Linf, radius: 0.3, weak: true}, slow, mover{norm: advlib.Linf, radius: 0.4}}
	r, err := advlib.Settings{BatchSize: 1}.Evaluate(ctx, line(t), numbers(t), attacks)
	if !errors.Is(err, context.Canceled) || r == nil || !r.Interrupted || len(r.Attacks) != 2 {
		t.Fatalf("report %+v, error %v", r, err)
	}
	// The weak one breaks 0.7; of what stands, 0.45, 0.42, 0.38 and 0.9, two were done and the third was begun.
	if a := r.Attacks[1]; !slices.Equal(a.Attempted, []bool{true, true, true, false, false, true}) ||
		!slices.Equal(a.Success, []bool{true, true, false, false, false, true}) ||
		!slices.Equal(a.Skipped, []bool{false, false, false, true, false, false}) {
		t.Errorf("attempted %v, success %v, skipped %v", a.Attempted, a.Success, a.Skipped)
	}
	if text := r.String(); !strings.Contains(text, "3 of 4") || !strings.Contains(text, "INTERRUPTED") {
		t.Errorf("the report is\n%s", text)
	}
}

// TestRandomClassifiersAreAttackedAlone, always with the same clean answers: luck of a draw keeps no example from the
// attacks that follow.
func TestRandomClassifiersAreAttackedAlone(t *testing.T) {
	c, err := advlib.NewClassifier(advlib.Spec{Name: "noisy", Input: []int{1}, Box: advlib.UnitBox, Random: true,
		Logits: func(scope *model.Scope, x *Node) *Node {
			x = Add(x, MulScalar(scope.RandomNormal(x.Graph(), x.Shape()), 0.1))
			return MulScalar(Concatenate([]*Node{OneMinus(x), x}, 1), 3)
		}})
	if err != nil {
		t.Fatal(err)
	}
	attacks := []advlib.Attack{mover{norm: advlib.Linf, radius: 0.15}, mover{norm: advlib.Linf, radius: 0.1}} // each moves all
	r, err := advlib.Settings{BatchSize: 2}.Evaluate(t.Context(), c, numbers(t), attacks)
	if err != nil {
		t.Fatal(err)
	}
	again, err := advlib.Settings{BatchSize: 2}.Evaluate(t.Context(), c, numbers(t), attacks)
	if err != nil {
		t.Fatal(err)
	}
	if r.Cascade || len(r.Notes) == 0 || !strings.Contains(r.Notes[len(r.Notes)-1], "answers are random") {
		t.Errorf("cascade %v, notes %q", r.Cascade, r.Notes)
	}
	for k, a := range r.Attacks {
		if slices.Contains(a.Skipped, true) || slices.Contains(a.Attempted, false) {
			t.Errorf("%s was not run on all: %+v", a.Name, a)
		}
		if !slices.Equal(a.Success, again.Attacks[k].Success) {
			t.Errorf("%s breaks %v, and again %v", a.Name, a.Success, again.Attacks[k].Success)
		}
		for i := range r.Label {
			if (a.Distance[i] == 0) != (r.Predicted[i] != r.Label[i]) {
				t.Errorf("%s: example %d is predicted %d by the report, distance %v", a.Name, i, r.Predicted[i], a.Distance[i])
			}
		}
	}
}

// provesNothing is a certifier.
type provesNothing struct{}

func (provesNothing) String() string { return "nothing proven" }

func (provesNothing) Certify(_ context.Context, _ *advlib.Classifier, e *advlib.Examples, _ advlib.Ball) ([]bool, error) {
	return make([]bool, e.Len()), nil
}

// A certifier without any ball to certify is refused, and not passed over; one in Settings.Balls is enough.
func TestEvaluateWithoutABallToCertify(t *testing.T) {
	minimal := mover{norm: advlib.Linf, radius: math.Inf(1)}
	if _, err := advlib.Evaluate(t.Context(), line(t), numbers(t), []advlib.Attack{minimal}, provesNothing{}); err == nil ||
		!strings.Contains(err.Error(), "no ball for which nothing proven could certify") || !strings.Contains(err.Error(), "Settings.Balls") {
		t.Errorf("the error is %v", err)
	}
	s := advlib.Settings{Balls: []advlib.Ball{advlib.Linf.Ball(0.1)}}
	r, err := s.Evaluate(t.Context(), line(t), numbers(t), []advlib.Attack{minimal}, provesNothing{})
	if err != nil || len(r.Certificates) != 1 {
		t.Errorf("with a ball: %v", err)
	}
	if _, err := s.Evaluate(t.Context(), line(t), numbers(t), []advlib.Attack{minimal}, nil); err == nil ||
		!strings.Contains(err.Error(), "one of the certifiers is nil") {
		t.Errorf("the error is %v", err)
	}
}

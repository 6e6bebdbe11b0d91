package attack_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
	"advlab/advlib/backend"
)

func digits(t testing.TB) *attacktest.Reference {
	t.Helper()
	b, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	return reference(t, "mlp-digits", b)
}

// run collects what PGD yields for each row and restart.
func run(t *testing.T, a attack.PGD, target *advlib.Counted, b advlib.Batch) []attack.Iterate {
	t.Helper()
	var all []attack.Iterate
	for it, err := range a.Iterates(context.Background(), target, b) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, it)
	}
	return all
}

// The point returned is the best of the iterates: the first adversarial one (with KeepGoing the adversarial one of
// highest loss), or without any the one of highest loss.
func TestPGDKeepsTheBest(t *testing.T) {
	r := digits(t)
	target := advlib.Count(r.Classifier)
	b := batch(r.Examples.First(20))
	for _, keepGoing := range []bool{false, true} {
		// A step as long as the ball's diameter jumps to and fro, so that the last iterate is often not the best.
		a := attack.PGD{Ball: advlib.L2.Ball(0.4), Steps: 12, StepSize: 0.8, Restarts: 1, KeepGoing: keepGoing}
		want, done := make([]float64, b.Len()), make([]bool, b.Len())
		for i := range want {
			want[i] = math.Inf(-1)
		}
		later, regress := 0, 0
		for _, it := range run(t, a, target, b) {
			for j, row := range it.Rows {
				loss := float64(it.Loss[j])
				switch {
				case done[row] && !keepGoing:
				case it.Solved[j] && !done[row]:
					want[row], done[row] = loss, true
				case done[row] && loss > want[row]:
					want[row] = loss // provided that it is adversarial too, which a higher cross-entropy than an adversarial one's is here
					later++
				case !done[row] && loss > want[row]:
					want[row] = loss
				case loss < want[row]:
					regress++
				}
			}
		}
		adv, err := a.Perturb(context.Background(), target, b)
		if err != nil {
			t.Fatal(err)
		}
		got := losses(t, target, advlib.CrossEntropy, adv, b.Y)
		for i := range got {
			if math.Abs(float64(got[i])-want[i]) > 1e-4*(1+math.Abs(want[i])) {
				t.Errorf("keep going %v: row %d: the loss at the returned point is %g, the best iterate's is %g", keepGoing, i, got[i], want[i])
			}
		}
		if regress == 0 || keepGoing && later == 0 {
			t.Errorf("keep going %v: no iterate was worse than one before (%d), or better after the first adversarial one (%d): this "+
				"tests nothing", keepGoing, regress, later)
		}
	}
}

// losses returns the loss of each row at x.
func losses(t *testing.T, target *advlib.Counted, loss advlib.Loss, x *tensors.Tensor, y []int32) []float32 {
	t.Helper()
	type key struct{ l advlib.Loss }
	step := target.Compile(key{loss}, func(m *advlib.Model, in []*graph.Node) []*graph.Node {
		return []*graph.Node{loss.Of(m.Logits(in[0]), advlib.GoalNodes{Label: in[1]})}
	})
	out, err := step.Run(len(y), x, y)
	if err != nil {
		t.Fatal(err)
	}
	return tensors.MustCopyFlatData[float32](out[0])
}

// Solved rows leave, restarts work on what still stands, and passes are counted for the rows that were worked on.
func TestPGDActiveSet(t *testing.T) {
	r := digits(t)
	b := batch(r.Examples)
	target := advlib.Count(r.Classifier)
	a := attack.PGD{Ball: advlib.Linf.Ball(0.1), Steps: 10, Restarts: 2}
	standing := make(map[int]bool)
	for i := range b.Len() {
		standing[i] = true
	}
	var work, first, last int64
	restart, sizes := 0, map[int]bool{}
	var before []int
	for _, it := range run(t, a, target, b) {
		if it.Restart != restart {
			restart = it.Restart
			for _, row := range it.Rows {
				if !standing[row] {
					t.Errorf("restart %d works on row %d, which was solved", restart, row)
				}
			}
			before = nil
		}
		active := int64(0)
		for j, row := range it.Rows {
			if standing[row] || it.Step == 0 {
				active++
			}
			if it.Solved[j] {
				delete(standing, row)
			}
		}
		if it.Step < 10 {
			work += active
		} else {
			last += active
		}
		if it.Restart == 0 && it.Step == 0 {
			first = active
		}
		if before != nil && len(it.Rows) > len(before) {
			t.Errorf("step %d has %d rows after %d", it.Step, len(it.Rows), len(before))
		}
		before = it.Rows
		sizes[len(it.Rows)] = true
	}
	forward, backward := target.Passes()
	if forward != work+last || backward != work {
		t.Errorf("%d forward and %d backward passes were counted, %d and %d rows were worked on", forward, backward, work+last, work)
	}
	if first != int64(b.Len()) || len(standing) == 0 || len(standing) == b.Len() || len(sizes) < 2 {
		t.Errorf("%d rows at first, %d standing at last, batches of %v rows: this tests nothing", first, len(standing), sizes)
	}
}

// Random starts depend on seed, example and restart, and on nothing else.
func TestPGDRandomStarts(t *testing.T) {
	r := digits(t)
	target := advlib.Count(r.Classifier)
	start := func(b advlib.Batch) [][]float32 {
		a := attack.PGD{Ball: advlib.Linf.Ball(0.05), Steps: 1, Restarts: 1, KeepGoing: true}
		starts := make([][]float32, 2)
		for _, it := range run(t, a, target, b) {
			if it.Step == 0 {
				starts[it.Restart] = make([]float32, b.Len())
				for j, row := range it.Rows {
					starts[it.Restart][row] = it.Loss[j]
				}
			}
		}
		return starts
	}
	b := batch(r.Examples.First(8))
	one := start(b)
	if again := start(b); !slices.Equal(one[0], again[0]) || !slices.Equal(one[1], again[1]) {
		t.Error("the same seed gives other starts")
	}
	if slices.Equal(one[0], one[1]) {
		t.Error("the restart starts where the first run did")
	}
	b.Seed = 1
	if other := start(b); slices.Equal(one[0], other[0]) {
		t.Error("another seed gives the same starts")
	}
	b.Seed = 0
	for row := range b.Len() {
		b.Key = append(b.Key, r.Examples.Key(row))
	}
	b.Key[3] = 77
	for row, loss := range start(b)[0] {
		if same := loss == one[0][row]; same != (row != 3) {
			t.Errorf("with another key for row 3, row %d starts at the same point: %v", row, same)
		}
	}
}

// Neither ε nor the step size compiles again.
func TestPGDCurveCompilesOnce(t *testing.T) {
	r := digits(t)
	e := r.Examples.First(8)
	accuracy := make([]int, 0, 5)
	var compiled int
	for k, ε := range []float64{0.02, 0.05, 0.1, 0.2, 0.4} {
		res, err := advlib.Run(context.Background(), r.Classifier, e, attack.PGD{Ball: advlib.Linf.Ball(ε)})
		if err != nil {
			t.Fatal(err)
		}
		s := backend.CacheStats()
		if k == 0 {
			compiled = s.Hits + s.Misses
		} else if s.Hits+s.Misses != compiled {
			t.Errorf("ε = %g compiled %d programs more", ε, s.Hits+s.Misses-compiled)
		}
		accuracy = append(accuracy, count(res.Success))
	}
	if !slices.IsSorted(accuracy) || accuracy[0] == accuracy[4] {
		t.Errorf("successes %v do not grow with ε", accuracy)
	}
}

// A reader of the iterates may stop, and the attack is cancelled between steps with the best so far.
func TestPGDStops(t *testing.T) {
	r := digits(t)
	target := advlib.Count(r.Classifier)
	b := batch(r.Examples)
	a := attack.PGD{Ball: advlib.Linf.Ball(0.2), KeepGoing: true}
	steps := 0
	for range a.Iterates(context.Background(), target, b) {
		if steps++; steps == 3 {
			break
		}
	}
	if forward, _ := target.Passes(); forward != int64(3*b.Len()) {
		t.Errorf("%d forward passes after stopping at the third of %d rows", forward, b.Len())
	}
	ctx, cancel := context.WithCancel(context.Background())
	var last error
	seen := 0
	for it, err := range a.Iterates(ctx, target, b) {
		if last = err; err != nil {
			break
		}
		seen++
		if it.Step == 4 {
			cancel()
		}
	}
	cancel()
	if !errors.Is(last, context.Canceled) || seen != 5 {
		t.Errorf("cancelled in step 4 it yielded %d steps and the error %v", seen, last)
	}
}

// Batches of more than 512 rows are attacked in pieces, each row like anywhere else.
func TestLargeBatch(t *testing.T) {
	r := digits(t)
	n := r.Examples.Len()
	var rows []int
	for len(rows) < 600 {
		rows = append(rows, len(rows)%n)
	}
	e := r.Examples.Select(rows)
	ball := advlib.Linf.Ball(0.1)
	for _, a := range []advlib.Attack{attack.FGM{Ball: ball}, attack.PGD{Ball: ball, Steps: 5},
		attack.CarliniWagner{BinarySearchSteps: 2, Steps: 20, InitialConst: 10}} {
		small, err := advlib.Run(context.Background(), r.Classifier, r.Examples, a)
		if err != nil {
			t.Fatal(err)
		}
		big, err := advlib.Settings{BatchSize: 600}.Run(context.Background(), r.Classifier, e, a)
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range rows {
			if big.Success[i] != small.Success[row] || big.Success[i] && math.Abs(big.Distance[i]-small.Distance[row]) > 1e-3*small.Distance[row] {
				t.Errorf("%v: example %d: success %v at %g in a batch of 600, %v at %g in one of %d", a, row, big.Success[i], big.Distance[i],
					small.Success[row], small.Distance[row], n)
			}
		}
		if count(small.Success) == 0 {
			t.Errorf("%v breaks nothing", a)
		}
	}
}

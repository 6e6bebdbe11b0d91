package attack_test

import (
	"context"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
)

// The runner-up's boundary is not always the nearest: all targets find what it misses, and for a minimal norm nothing
// is farther.
func TestAllTargets(t *testing.T) {
	// On such models another library's largest ratio falls from 1.38 alone to 1.014.
	const largest = 1.05
	l := linear(t, linearSpecs[2])
	one := attack.CarliniWagner{BinarySearchSteps: 6, Steps: 500, InitialConst: 0.01}
	alone, err := l.ScoreMinimal(context.Background(), one)
	if err != nil {
		t.Fatal(err)
	}
	all, err := l.ScoreMinimal(context.Background(), attack.AllTargets{Attack: one})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("largest ratio %.4f alone, %.4f with all targets", alone.Max(), all.Max())
	if alone.Max() < 1.1 {
		t.Errorf("the largest ratio alone is %.4f: this tests nothing", alone.Max())
	}
	if all.Found != all.Breakable || all.Max() > largest || all.False > 0 {
		t.Errorf("with all targets: %d of %d found, largest ratio %.4f, %d false", all.Found, all.Breakable, all.Max(), all.False)
	}
}

// Fewer targets cost fewer passes, and no more than there are classes are tried.
func TestAllTargetsMost(t *testing.T) {
	l := linear(t, linearSpecs[0])
	passes := map[int]int64{}
	for _, most := range []int{1, 3, 0, 100} {
		a := attack.AllTargets{Attack: attack.PGD{Ball: advlib.Linf.Ball(0.001), Loss: advlib.Margin, Steps: 2}, Most: most}
		res, err := advlib.Run(context.Background(), l.Classifier, l.Examples, a)
		if err != nil {
			t.Fatal(err)
		}
		if count(res.Success) > 0 {
			t.Fatalf("%v breaks %d examples", a, count(res.Success))
		}
		passes[most] = res.Stats.Backward
	}
	n := int64(l.Examples.Len())
	if passes[1] != 2*n || passes[3] != 3*2*n || passes[0] != 9*2*n || passes[100] != 9*2*n {
		t.Errorf("backward passes %v for %d examples and 2 steps", passes, n)
	}
}

// A batch that already has targets is not the wrapper's.
func TestAllTargetsRefusesTargets(t *testing.T) {
	r := digits(t)
	b := batch(r.Examples.First(2))
	b.Target = []int32{1, 2}
	if _, err := (attack.AllTargets{Attack: attack.FGSM(0.1)}).Perturb(context.Background(), advlib.Count(r.Classifier), b); err == nil {
		t.Error("it took a batch with targets")
	}
}

// deaf is PGD that does not hear which class is wanted.
type deaf struct{ attack.PGD }

func (a deaf) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	b.Target, b.AnyClass = nil, false
	return a.PGD.Perturb(ctx, v, b)
}

// An attack that ignores the class that is wanted is noticed, one that obeys is not.
func TestAllTargetsAreHeard(t *testing.T) {
	r := digits(t)
	pgd := attack.PGD{Ball: advlib.Linf.Ball(0.03), Steps: 5}
	for _, c := range []struct {
		a    advlib.Attack
		deaf bool
	}{{deaf{pgd}, true}, {pgd, false}} {
		res := advlib.MustRun(t.Context(), r.Classifier, r.Examples.First(16), attack.AllTargets{Attack: c.a, Most: 3})
		warned := strings.Contains(strings.Join(res.Warnings, " "), "it ignores Batch.Target")
		if warned != c.deaf {
			t.Errorf("%T: warnings %q", c.a, res.Warnings)
		}
	}
	rep := advlib.MustEvaluate(t.Context(), r.Classifier, r.Examples.First(16), []advlib.Attack{attack.AllTargets{Attack: deaf{pgd}, Most: 3}})
	if !strings.Contains(rep.String(), "it ignores Batch.Target") {
		t.Errorf("the report does not say it:\n%v", rep)
	}
}

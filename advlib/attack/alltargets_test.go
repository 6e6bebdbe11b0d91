package attack_test

import (
	"context"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
)

// The runner-up's boundary is not always the nearest: all targets find what it misses, and for a minimal norm nothing is farther.
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

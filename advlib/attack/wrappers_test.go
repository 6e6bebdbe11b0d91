package attack_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
)

func TestConformanceWrappers(t *testing.T) {
	ball := func(ε float64) advlib.Ball { return advlib.BallOf(advlib.Linf, ε) }
	const ε = 0.1
	worst := func(ε float64, g advlib.Goal, l advlib.Loss) advlib.Attack {
		return attack.WorstOf{Attacks: []advlib.Attack{
			attack.FGM{Ball: ball(ε), Goal: g, Loss: l}, attack.PGD{Ball: ball(ε), Goal: g, Loss: l, Steps: 10},
		}}
	}
	repeat := func(ε float64, g advlib.Goal, l advlib.Loss) advlib.Attack {
		return attack.Repeat{Attack: attack.PGD{Ball: ball(ε), Goal: g, Loss: l, Steps: 5}, Times: 3}
	}
	var subjects []attacktest.Subject
	for name, make := range map[string]func(float64, advlib.Goal, advlib.Loss) advlib.Attack{"worst of": worst, "repeat": repeat} {
		subjects = append(subjects, attacktest.Subject{
			Name:     name,
			New:      func(g advlib.Goal) advlib.Attack { return make(ε, g, nil) },
			AtRadius: func(ε float64) advlib.Attack { return make(ε, advlib.Untargeted, nil) },
			WithLoss: func(l advlib.Loss, g advlib.Goal) advlib.Attack { return make(ε, g, l) },
		})
	}
	attacktest.Run(t, subjects...)
}

// The worst case is the union of what each breaks; each attack works on what the ones before left.
func TestWorstOf(t *testing.T) {
	r := digits(t)
	ball := advlib.BallOf(advlib.L2, 0.5)
	fgm, pgd, cw := attack.FGM{Ball: ball}, attack.PGD{Ball: ball, Steps: 10}, attack.CarliniWagner{BinarySearchSteps: 3, Steps: 100, InitialConst: 1}
	one := func(a advlib.Attack) *advlib.Result {
		return advlib.MustRun(context.Background(), r.Classifier, a, r.Examples)
	}
	all := one(attack.WorstOf{Attacks: []advlib.Attack{fgm, pgd, cw}})
	a, b, c := one(fgm), one(pgd), one(cw)
	byDistance := 0
	for i, broken := range all.Success {
		far := c.Distance[i] > ball.Radius
		if want := a.Success[i] || b.Success[i] || !far; broken != want {
			t.Errorf("example %d: broken %v, but FGM %v, PGD %v, C&W at %g", i, broken, a.Success[i], b.Success[i], c.Distance[i])
		}
		if broken && !a.Success[i] && !b.Success[i] {
			byDistance++
		}
	}
	if all.Threat.Radius != ball.Radius {
		t.Errorf("the threat is %v, want %v", all.Threat, ball)
	}
	if sum := a.Stats.Backward + b.Stats.Backward + c.Stats.Backward; all.Stats.Backward >= sum {
		t.Errorf("%d backward passes, one by one %d: each should work on less", all.Stats.Backward, sum)
	}
	t.Logf("FGM %d, PGD %d, worst %d of %d, %d of them by C&W alone", count(a.Success), count(b.Success), count(all.Success), len(all.Success), byDistance)

	// Of attacks of minimal norm the nearest is kept.
	weak := attack.CarliniWagner{BinarySearchSteps: 1, Steps: 50, InitialConst: 10}
	nearest := one(attack.WorstOf{Attacks: []advlib.Attack{weak, cw}})
	w := one(weak)
	for i, d := range nearest.Distance {
		if want := min(w.Distance[i], c.Distance[i]); math.Abs(d-want) > 1e-3*want {
			t.Errorf("example %d: distance %g, of the two %g and %g", i, d, w.Distance[i], c.Distance[i])
		}
	}
}

// Runs differ, and more of them never break less.
func TestRepeat(t *testing.T) {
	r := digits(t)
	a := attack.PGD{Ball: advlib.BallOf(advlib.Linf, 0.08), Steps: 1, StepSize: 0.04}
	var broken []int
	for _, times := range []int{1, 2, 10} {
		res := advlib.MustRun(context.Background(), r.Classifier, attack.Repeat{Attack: a, Times: times}, r.Examples)
		broken = append(broken, count(res.Success))
	}
	once := advlib.MustRun(context.Background(), r.Classifier, a, r.Examples)
	t.Logf("%v: %v broken in 1, 2 and 10 runs", a, broken)
	if broken[0] != count(once.Success) || !slices.IsSorted(broken) || broken[0] == broken[2] {
		t.Errorf("%v broken in 1, 2 and 10 runs, %d without the wrapper", broken, count(once.Success))
	}
}

func TestWrapperRefusals(t *testing.T) {
	linf, l2 := advlib.BallOf(advlib.Linf, 0.1), advlib.BallOf(advlib.L2, 0.1)
	ten := linear(t, linearSpecs[0]).Classifier
	three := linear(t, attacktest.LinearSpec{Classes: 3, Examples: 1}).Classifier
	for _, c := range []struct {
		a    advlib.Attack
		c    *advlib.Classifier
		want string
	}{
		{attack.WorstOf{}, ten, "there are no Attacks"},
		{attack.WorstOf{Attacks: []advlib.Attack{nil}}, ten, "attack 0 of 1 is nil"},
		{attack.WorstOf{Attacks: []advlib.Attack{attack.FGM{Ball: linf}, attack.FGM{Ball: l2}}}, ten, "different norms"},
		{attack.WorstOf{Attacks: []advlib.Attack{attack.FGM{Ball: linf}, attack.FGSM(0.2)}}, ten, "the same ball"},
		{attack.WorstOf{Attacks: []advlib.Attack{attack.FGM{Ball: linf}, attack.FGM{Ball: linf, Goal: advlib.Targeted(1)}}}, ten, "the same goal"},
		{attack.WorstOf{Attacks: []advlib.Attack{attack.FGM{Ball: linf}, attack.PGD{Ball: linf, Steps: -1}}}, ten, "Steps = -1"},
		{attack.AllTargets{Attack: attack.WorstOf{Attacks: []advlib.Attack{attack.FGM{Ball: linf, Loss: advlib.DLR}}}}, three, "DLR needs at least 4 classes"},
		{attack.Repeat{}, ten, "is nil"},
		{attack.Repeat{Attack: attack.FGM{Ball: linf}, Times: -1}, ten, "Times = -1"},
	} {
		if _, err := c.a.Threat(c.c); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v does not say %q", c.a, err, c.want)
		}
	}
}

func ExampleWorstOf() {
	c, e := brightness()
	ball := advlib.BallOf(advlib.L2, 0.4)
	worst := attack.WorstOf{Attacks: []advlib.Attack{attack.FGM{Ball: ball}, attack.CarliniWagner{Steps: 200}}}
	res := advlib.MustRun(context.Background(), c, worst, e)
	fmt.Println(res.Attack, res.Success)
	// Output:
	// worst of (FGM L2 ≤ 0.4; C&W 9×200 L2 minimal) [true true false]
}

func ExampleRepeat() {
	c, e := brightness()
	res := advlib.MustRun(context.Background(), c, attack.Repeat{Attack: attack.PGD{Ball: advlib.BallOf(advlib.Linf, 0.3), Steps: 3}}, e)
	fmt.Println(res.Attack, res.Success)
	// Output:
	// PGD-3 Linf ≤ 0.3, 5 times [true true false]
}

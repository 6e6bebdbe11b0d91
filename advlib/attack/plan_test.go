package attack_test

import (
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
	"advlab/advlib/backend"
)

// TestPlans: where nothing stops early, attacks make about as many passes as they announce. The estimate of the time
// left is no better than that.
func TestPlans(t *testing.T) {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	l, err := attacktest.NewLinear(attacktest.LinearSpec{Classes: 4, Examples: 6, Seed: 1}, b)
	if err != nil {
		t.Fatal(err)
	}
	linf, l2 := advlib.Linf.Ball(1e-5), advlib.L2.Ball(1e-5) // nothing is found in these
	pgd := attack.PGD{Ball: linf, Steps: 8, Restarts: 1}
	for _, a := range []advlib.Attack{
		attack.FGM{Ball: linf}, pgd, attack.BIM{Ball: linf}, attack.MIFGSM{Ball: l2}, attack.APGD{Ball: l2, Steps: 20},
		attack.Square{Ball: linf, Queries: 60},
		attack.FAB{Norm: advlib.Linf, Steps: 15, NoLineSearch: true, Restarts: 1}, attack.AllTargets{Attack: attack.FAB{Norm: advlib.L2,
			Steps: 15, NoLineSearch: true}},
		attack.FMN{Norm: advlib.L1, Steps: 30, NoLineSearch: true}, attack.DDN{Steps: 30,
			NoLineSearch: true}, attack.SigmaZero{Steps: 30, NoLineSearch: true},
		attack.EAD{Steps: 20, BinarySearchSteps: 3, NoLineSearch: true}, attack.CarliniWagner{Steps: 20, BinarySearchSteps: 3, NoAbort: true},
		attack.AllTargets{Attack: pgd, Most: 2, Untargeted: true}, attack.Repeat{Attack: pgd,
			Times: 3}, attack.WorstOf{Attacks: []advlib.Attack{pgd, attack.FGM{Ball: linf}}},
		attack.EOT{Attack: pgd, Samples: 3}, attack.Temperature{Attack: pgd,
			T: 2}, attack.Lattice8{Attack: pgd}, attack.Transfer{Attack: pgd, From: l.Classifier},
	} {
		forward, backward, known := a.(advlib.Planner).Plan(l.Classifier)
		res, err := advlib.Run(t.Context(), l.Classifier, l.Examples, a)
		if err != nil {
			t.Fatal(err)
		}
		n := float64(l.Examples.Len())
		got, want := float64(res.Stats.Forward+2*res.Stats.Backward)/n, forward+2*backward
		if !known || got < 0.7*want || got > 1.4*want+3 {
			t.Errorf("%v announces %v and %v passes (%v), and makes %v and %v", a, forward, backward, known, float64(res.Stats.Forward)/n,
				float64(res.Stats.Backward)/n)
		}
	}
	// DeepFool ends where it has crossed, so it announces too much, but never too little.
	forward, backward, known := attack.AutoAttack{Ball: linf}.Plan(l.Classifier)
	if !known || forward < 5000 || backward < 100 {
		t.Errorf("AutoAttack announces %v, %v, %v", forward, backward, known)
	}
	for _, a := range []advlib.Attack{attack.EOT{Attack: pgd}, attack.Repeat{Attack: attack.CarliniWagnerL0{}},
		attack.WorstOf{Attacks: []advlib.Attack{attack.JSMA{}}}} {
		if _, _, known := a.(advlib.Planner).Plan(l.Classifier); known {
			t.Errorf("%s announces what it cannot know", strings.TrimSpace(a.String()))
		}
	}
}

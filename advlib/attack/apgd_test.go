package attack_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
)

var apgdNorms = []advlib.Norm{advlib.L1, advlib.L2, advlib.Linf}

// APGD-T, as AutoAttack has it but towards all nine other classes in every norm, must miss nothing, and claim nothing
// false: 0 and 0, at three ε for each model and norm, which the log names. Examples whose optimum lies within 1 % of ε
// are left out.
func TestLinearAPGDTargeted(t *testing.T) {
	const missed, falseClaims = 0, 0
	for _, spec := range linearSpecs {
		l := linear(t, spec)
		for _, n := range apgdNorms {
			for _, share := range []float64{0.25, 0.5, 0.9} {
				ε := quantile(l, n, share)
				a := attack.AllTargets{Attack: attack.APGD{Ball: n.Ball(ε), Loss: advlib.DLR, LargerRadii: n == advlib.Norm(advlib.L1)}, Most: 9}
				s, err := l.ScoreBall(context.Background(), a)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%v, %v ≤ %.4f: missed %d of %d, %d false, %d safe", spec, n, ε, s.Missed, s.Attackable, s.False, s.Safe)
				if s.Attackable == 0 || s.Safe == 0 {
					t.Errorf("%v, %v ≤ %g: %d attackable and %d safe examples test nothing", spec, n, ε, s.Attackable, s.Safe)
				}
				if s.Missed > missed || s.False > falseClaims {
					t.Errorf("%v, %v: missed %d of %d, %d false claims", spec, a, s.Missed, s.Attackable, s.False)
				}
			}
		}
	}
}

func apgdSubjects() []attacktest.Subject {
	var subjects []attacktest.Subject
	for _, n := range apgdNorms {
		for _, larger := range []bool{false, true} {
			if larger && n != advlib.Norm(advlib.L1) {
				continue
			}
			a := attack.APGD{Ball: n.Ball(radius(n)), Steps: 20, LargerRadii: larger}
			name := "APGD " + n.String()
			if larger {
				name += " larger radii"
			}
			subjects = append(subjects, attacktest.Subject{
				Name: name,
				New: func(g advlib.Goal) advlib.Attack {
					a := a
					a.Goal, a.Restarts = g, 1
					return a
				},
				AtRadius: func(ε float64) advlib.Attack {
					a := a
					a.Ball.Radius = ε
					return a
				},
				WithLoss: func(loss advlib.Loss, g advlib.Goal) advlib.Attack {
					a := a
					a.Goal, a.Loss = g, loss
					return a
				},
			})
		}
	}
	return subjects
}

func TestConformanceAPGD(t *testing.T) { attacktest.Run(t, apgdSubjects()...) }

func TestAPGDRefusals(t *testing.T) {
	linf, l1 := advlib.Linf.Ball(0.1), advlib.L1.Ball(1)
	ten := linear(t, linearSpecs[0]).Classifier
	for want, a := range map[string]attack.APGD{
		"the ball is unset":                     {},
		"L0 ball has no steepest ascent":        {Ball: advlib.L0.Ball(3)},
		"Steps = -1 is below 0":                 {Ball: linf, Steps: -1},
		"Restarts = -2 is below 0":              {Ball: linf, Restarts: -2},
		"Rises = 1.5 is not in (0, 1]":          {Ball: linf, Rises: 1.5},
		"Rises = NaN is not in (0, 1]":          {Ball: linf, Rises: math.NaN()},
		"Rises = 0.5 has no meaning in the L1":  {Ball: l1, Rises: 0.5},
		"2 steps cannot be spent in three ball": {Ball: l1, Steps: 2, LargerRadii: true},
	} {
		if _, err := a.Threat(ten); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v does not say %q", a, err, want)
		}
	}
	if got, want := (attack.APGD{Ball: l1, Loss: advlib.DLR, Restarts: 4,
		LargerRadii: true}).String(), "APGD-100 L1 ≤ 1, DLR, 4 restarts, larger radii"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

package attack_test

import (
	"context"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/core/graph"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
	"advlab/advlib/backend"
)

// linearSpecs are the models of the closed-form oracle: gray and binary images, and logits shifted by −30, which a mask
// of 0 in the place of −∞ does not survive.
var linearSpecs = []attacktest.LinearSpec{
	{Seed: 1}, {Seed: 2}, {Seed: 3, Shift: -30},
	{Seed: 1, Binary: true}, {Seed: 2, Binary: true}, {Seed: 3, Binary: true, Shift: -30},
}

func linear(t testing.TB, spec attacktest.LinearSpec) *attacktest.Linear {
	t.Helper()
	b, err := backend.Open()
	if err != nil {
		t.Fatal(err)
	}
	l, err := attacktest.NewLinear(spec, b)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// quantile returns the distance below which the given share of the examples can be broken.
func quantile(l *attacktest.Linear, n advlib.Norm, share float64) float64 {
	var d []float64
	for i := range l.Examples.Len() {
		d = append(d, l.Distance(n, i))
	}
	slices.Sort(d)
	return d[int(share*float64(len(d)))]
}

// PGD on the margin towards all targets must miss nothing, and claim nothing false: 0 and 0, at three ε for each model
// and norm, which the log names. The step is ε/4: from a random start in L2 the angle to the optimum shrinks by 1 + α/ε
// a step, and with the default α = 2.5·ε/40 an example is left 1 % short.
func TestLinearPGD(t *testing.T) {
	const missed, falseClaims = 0, 0
	specs := linearSpecs
	if testing.Short() {
		specs = specs[:1]
	}
	for _, spec := range specs {
		l := linear(t, spec)
		for _, n := range []advlib.Norm{advlib.L1, advlib.L2, advlib.Linf} {
			for _, share := range []float64{0.25, 0.5, 0.9} {
				ε := quantile(l, n, share)
				a := attack.AllTargets{Attack: attack.PGD{Ball: n.Ball(ε), Loss: advlib.Margin, StepSize: ε / 4}}
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

// The same with DLR, whose direction changes from step to step, and with the untargeted cross-entropy, which may miss:
// the runner-up is not always the nearest. Neither may claim anything false.
func TestLinearOtherLosses(t *testing.T) {
	for _, spec := range []attacktest.LinearSpec{linearSpecs[1], linearSpecs[5]} {
		l := linear(t, spec)
		for _, n := range []advlib.Norm{advlib.L1, advlib.L2, advlib.Linf} {
			ball := n.Ball(quantile(l, n, 0.5))
			step := ball.Radius / 4
			for _, c := range []struct {
				a       advlib.Attack
				allowed int
			}{
				{attack.AllTargets{Attack: attack.PGD{Ball: ball, Loss: advlib.DLR, StepSize: step}}, 0},
				{attack.PGD{Ball: ball, StepSize: step, Restarts: 3}, 4},
			} {
				s, err := l.ScoreBall(context.Background(), c.a)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%v, %v: missed %d of %d, %d false", spec, c.a, s.Missed, s.Attackable, s.False)
				if s.Missed > c.allowed || s.False > 0 {
					t.Errorf("%v, %v: missed %d of %d, %d false claims", spec, c.a, s.Missed, s.Attackable, s.False)
				}
			}
		}
	}
}

// Carlini & Wagner must break every example, at a median of at most 1.02 times the optimum. Targets from the issue:
// 1.00 and 1.02.
func TestLinearCarliniWagner(t *testing.T) {
	const success, ratio = 1.0, 1.02
	for _, spec := range linearSpecs {
		l := linear(t, spec)
		a := attack.CarliniWagner{}
		s, err := l.ScoreMinimal(context.Background(), a)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%v: found %d of %d, distance over optimum: median %.4f, largest %.4f", spec, s.Found, s.Breakable, s.Median(), s.Max())
		if float64(s.Found) < success*float64(s.Breakable) || s.Median() > ratio || s.False > 0 {
			t.Errorf("%v: found %d of %d, median ratio %.4f, %d false claims", spec, s.Found, s.Breakable, s.Median(), s.False)
		}
	}
}

// negated ascends the wrong way: the mistake of a flipped sign.
type negated struct{ advlib.Loss }

func (l negated) Of(z *graph.Node, goal advlib.GoalNodes) *graph.Node {
	return graph.Neg(l.Loss.Of(z, goal))
}

// The oracle must notice an attack that goes the wrong way.
func TestLinearCatchesFlippedSign(t *testing.T) {
	l := linear(t, linearSpecs[0])
	for _, n := range []advlib.Norm{advlib.L1, advlib.L2, advlib.Linf} {
		ball := n.Ball(quantile(l, n, 0.9))
		for _, a := range []advlib.Attack{
			attack.FGM{Ball: ball, Loss: negated{advlib.Margin}},
			attack.PGD{Ball: ball, Loss: negated{advlib.Margin}},
			attack.AllTargets{Attack: attack.PGD{Ball: ball, Loss: negated{advlib.Margin}}},
		} {
			s, err := l.ScoreBall(context.Background(), a)
			if err != nil {
				t.Fatal(err)
			}
			if s.Missed < s.Attackable*3/4 {
				t.Errorf("%v with its sign flipped misses only %d of %d", a, s.Missed, s.Attackable)
			}
		}
	}
}

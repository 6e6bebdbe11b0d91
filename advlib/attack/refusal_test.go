package attack_test

import (
	"math"
	"strings"
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
)

// What cannot be meant is refused before anything is computed, in a sentence that names the value.
func TestRefusals(t *testing.T) {
	linf, l1 := advlib.Linf.Ball(0.1), advlib.L1.Ball(1)
	ten := linear(t, linearSpecs[0]).Classifier
	two := linear(t, attacktest.LinearSpec{Classes: 2, Examples: 1}).Classifier
	three := linear(t, attacktest.LinearSpec{Classes: 3, Examples: 1}).Classifier
	for _, c := range []struct {
		a    advlib.Attack
		c    *advlib.Classifier
		want string
	}{
		{attack.FGM{}, ten, "the ball is unset"},
		{attack.PGD{}, ten, "the ball is unset"},
		{attack.FGM{Ball: advlib.Linf.Ball(-0.1)}, ten, "ε = -0.1"},
		{attack.PGD{Ball: advlib.L2.Ball(math.NaN())}, ten, "ε = NaN"},
		{attack.FGM{Ball: advlib.L0.Ball(3)}, ten, "L0 ball has no steepest ascent"},
		{attack.PGD{Ball: advlib.L0.Ball(3)}, ten, "L0 ball has no steepest ascent"},
		{attack.PGD{Ball: linf, Steps: -1}, ten, "Steps = -1 is below 0"},
		{attack.PGD{Ball: linf, Restarts: -2}, ten, "Restarts = -2 is below 0"},
		{attack.PGD{Ball: linf, StepSize: -0.5}, ten, "StepSize = -0.5"},
		{attack.PGD{Ball: linf, StepSize: math.NaN()}, ten, "StepSize = NaN"},
		{attack.PGD{Ball: linf, StepSize: math.Inf(1)}, ten, "StepSize = +Inf"},
		{attack.PGD{Ball: linf, Restarts: 3, NoRandomStart: true}, ten, "3 restarts without a random start"},
		{attack.PGD{Ball: l1, Sparsity: 1.5}, ten, "Sparsity = 1.5 is not in (0, 1]"},
		{attack.PGD{Ball: linf, Sparsity: 0.5}, ten, "Sparsity = 0.5 has no meaning in the Linf"},
		{attack.FGM{Ball: linf, Loss: advlib.DLR}, two, "DLR needs at least 3 classes, the classifier has 2"},
		{attack.PGD{Ball: linf, Loss: advlib.DLR, Goal: advlib.Targeted(0)}, three, "DLR needs at least 4 classes with a target, the classifier has 3"},
		{attack.AllTargets{Attack: attack.PGD{Ball: linf, Loss: advlib.DLR}}, three, "DLR needs at least 4 classes with a target"},
		{attack.AllTargets{}, ten, "is nil"},
		{attack.AllTargets{Attack: attack.PGD{Ball: linf, Goal: advlib.Targeted(1)}}, ten, "leave its Goal out"},
		{attack.AllTargets{Attack: attack.FGM{Ball: linf}, Most: -1}, ten, "Most = -1 is below 0"},
		{attack.CarliniWagner{Steps: -1}, ten, "Steps = -1"},
		{attack.CarliniWagner{BinarySearchSteps: -1}, ten, "BinarySearchSteps = -1"},
		{attack.CarliniWagner{LearningRate: -1}, ten, "LearningRate = -1"},
		{attack.CarliniWagner{InitialConst: math.NaN()}, ten, "InitialConst = NaN"},
		{attack.CarliniWagner{Confidence: -3}, ten, "Confidence = -3"},
	} {
		if _, err := c.a.Threat(c.c); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v does not say %q", c.a, err, c.want)
		}
	}
	// The same losses are fine where they are defined.
	for _, a := range []advlib.Attack{attack.FGM{Ball: linf, Loss: advlib.DLR}, attack.PGD{Ball: linf, Loss: advlib.DLR}} {
		if _, err := a.Threat(three); err != nil {
			t.Error(err)
		}
	}
}

func TestStrings(t *testing.T) {
	linf := advlib.Linf.Ball(0.1)
	for want, a := range map[string]advlib.Attack{
		"FGM Linf ≤ 0.1":                           attack.FGSM(0.1),
		"FGM Linf ≤ 0.1, targeted(3), Margin":      attack.FGM{Ball: linf, Goal: advlib.Targeted(3), Loss: advlib.Margin},
		"PGD-40 Linf ≤ 0.1":                        attack.PGD{Ball: linf},
		"PGD-7 Linf ≤ 0.1, DLR, α = 0.01":          attack.PGD{Ball: linf, Steps: 7, Loss: advlib.DLR, StepSize: 0.01},
		"PGD-40 Linf ≤ 0.1, 2 restarts":            attack.PGD{Ball: linf, Restarts: 2},
		"PGD-40 Linf ≤ 0.1, no random start":       attack.PGD{Ball: linf, NoRandomStart: true},
		"PGD-40 L1 ≤ 2, sparsity 0.1, keeps going": attack.PGD{Ball: advlib.L1.Ball(2), Sparsity: 0.1, KeepGoing: true},
		"PGD-40 Linf ≤ 0.1, Margin, all targets":   attack.AllTargets{Attack: attack.PGD{Ball: linf, Loss: advlib.Margin}},
		"PGD-40 Linf ≤ 0.1, Margin, 9 targets":     attack.AllTargets{Attack: attack.PGD{Ball: linf, Loss: advlib.Margin}, Most: 9},
		"C&W 9×1000 L2 minimal":                    attack.CarliniWagner{},
		"C&W 5×100 L2 minimal, targeted(2), κ = 3": attack.CarliniWagner{BinarySearchSteps: 5, Steps: 100, Goal: advlib.Targeted(2),
			Confidence: 3},
		"C&W 9×1000 L2 minimal, rate 0.1, c₀ = 1": attack.CarliniWagner{LearningRate: 0.1, InitialConst: 1},
		"C&W 9×1000 L2 minimal, no abort":         attack.CarliniWagner{NoAbort: true},
		"C&W 9×1000 L2 minimal, all targets":      attack.AllTargets{Attack: attack.CarliniWagner{}},
	} {
		if got := a.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

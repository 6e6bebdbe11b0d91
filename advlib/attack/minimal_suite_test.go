package attack_test

import (
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
)

// minimalSubjects are the attacks of minimal norm in quick versions. Where only the projection differs, one norm stands
// for the others unless ADVLAB_FULL is set: compiling each for all shapes of the suite takes most of its time.
func minimalSubjects() []attacktest.Subject {
	var subjects []attacktest.Subject
	add := func(name string, attack func(goal advlib.Goal) advlib.Attack) {
		subjects = append(subjects, attacktest.Subject{Name: name, New: attack})
	}
	norms := func(quick []advlib.Norm, others ...advlib.Norm) []advlib.Norm {
		if full {
			return append(quick, others...)
		}
		return quick
	}
	for _, n := range norms([]advlib.Norm{advlib.L0, advlib.Linf}, advlib.L1, advlib.L2) {
		add("FMN "+n.String(), func(g advlib.Goal) advlib.Attack { return attack.FMN{Norm: n, Goal: g, Steps: 60} })
	}
	add("DDN", func(g advlib.Goal) advlib.Attack { return attack.DDN{Goal: g, Steps: 60} })
	for _, n := range norms([]advlib.Norm{advlib.L2}, advlib.Linf) {
		add("DeepFool "+n.String(), func(g advlib.Goal) advlib.Attack { return attack.DeepFool{Norm: n, Goal: g} })
	}
	for _, n := range norms([]advlib.Norm{advlib.Linf}, advlib.L1, advlib.L2) {
		add("FAB "+n.String(), func(g advlib.Goal) advlib.Attack { return attack.FAB{Norm: n, Goal: g, Steps: 10, Restarts: 1} })
	}
	add("σ-zero", func(g advlib.Goal) advlib.Attack { return attack.SigmaZero{Goal: g, Steps: 60} })
	add("Carlini & Wagner Linf", func(g advlib.Goal) advlib.Attack {
		return attack.CarliniWagnerLinf{Goal: g, Steps: 30, InitialConst: 1, LearningRate: 0.02}
	})
	add("Carlini & Wagner L0", func(g advlib.Goal) advlib.Attack {
		return attack.CarliniWagnerL0{Goal: g, Steps: 30, InitialConst: 1, LargestConst: 1000, LearningRate: 0.05}
	})
	add("EAD", func(g advlib.Goal) advlib.Attack {
		return attack.EAD{Goal: g, BinarySearchSteps: 3, Steps: 50, InitialConst: 1}
	})
	add("JSMA", func(g advlib.Goal) advlib.Attack { return attack.JSMA{Goal: g, Gamma: 0.5, BothDirections: true} })
	subjects[len(subjects)-1].Pairs = true
	return subjects
}

func TestConformanceMinimal(t *testing.T) { attacktest.Run(t, minimalSubjects()...) }

package attack_test

import (
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
)

// minimalSubjects are the attacks of minimal norm in quick versions.
func minimalSubjects() []attacktest.Subject {
	var subjects []attacktest.Subject
	add := func(name string, attack func(goal advlib.Goal) advlib.Attack) {
		subjects = append(subjects, attacktest.Subject{Name: name, New: attack})
	}
	for _, n := range []advlib.Norm{advlib.L0, advlib.L1, advlib.L2, advlib.Linf} {
		add("FMN "+n.String(), func(g advlib.Goal) advlib.Attack { return attack.FMN{Norm: n, Goal: g, Steps: 60} })
	}
	add("DDN", func(g advlib.Goal) advlib.Attack { return attack.DDN{Goal: g, Steps: 60} })
	for _, n := range []advlib.Norm{advlib.L2, advlib.Linf} {
		add("DeepFool "+n.String(), func(g advlib.Goal) advlib.Attack { return attack.DeepFool{Norm: n, Goal: g} })
	}
	return subjects
}

func TestConformanceMinimal(t *testing.T) { attacktest.Run(t, minimalSubjects()...) }

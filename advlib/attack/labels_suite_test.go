package attack_test

import (
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
)

// labelSubjects are the attacks by labels, with budgets that find something on the models of the suite.
func labelSubjects() []attacktest.Subject {
	var subjects []attacktest.Subject
	add := func(name string, attack func(goal advlib.Goal) advlib.Attack) {
		subjects = append(subjects, attacktest.Subject{Name: name, New: attack, Labels: true})
	}
	for _, n := range []advlib.Norm{advlib.L2, advlib.Linf} {
		add("HopSkipJump "+n.String(), func(g advlib.Goal) advlib.Attack {
			return attack.HopSkipJump{Norm: n, Goal: g, Queries: 150, Samples: 20}
		})
	}
	add("CGBA-H", func(g advlib.Goal) advlib.Attack { return attack.CGBAH{Goal: g, Queries: 150} })
	add("SurFree", func(g advlib.Goal) advlib.Attack { return attack.SurFree{Goal: g, Queries: 150} })
	add("Sign-OPT", func(g advlib.Goal) advlib.Attack { return attack.SignOPT{Goal: g, Queries: 150, Samples: 20} })
	for _, n := range []advlib.Norm{advlib.L0, advlib.L2} {
		add("Pointwise "+n.String(), func(g advlib.Goal) advlib.Attack { return attack.Pointwise{Norm: n, Goal: g, Queries: 150} })
	}
	add("Boundary", func(g advlib.Goal) advlib.Attack { return attack.BoundaryAttack{Goal: g, Queries: 100} })
	add("RayS", func(g advlib.Goal) advlib.Attack { return attack.RayS{Goal: g, Queries: 120} })
	return subjects
}

func TestConformanceLabels(t *testing.T) { attacktest.Run(t, labelSubjects()...) }

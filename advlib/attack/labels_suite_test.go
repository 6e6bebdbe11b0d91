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
	add("RayS", func(g advlib.Goal) advlib.Attack { return attack.RayS{Goal: g, Queries: 120} })
	return subjects
}

func TestConformanceLabels(t *testing.T) { attacktest.Run(t, labelSubjects()...) }

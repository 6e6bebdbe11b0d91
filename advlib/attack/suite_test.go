package attack_test

import (
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
)

// radius is a budget for each norm that breaks some of the digits and not others.
func radius(n advlib.Norm) float64 {
	switch n {
	case advlib.Norm(advlib.L1):
		return 1.5
	case advlib.Norm(advlib.L2):
		return 0.5
	}
	return 0.1
}

func basicSubjects() []attacktest.Subject {
	var subjects []attacktest.Subject
	for _, n := range []advlib.Norm{advlib.L1, advlib.L2, advlib.Linf} {
		ball := n.Ball(radius(n))
		subjects = append(subjects, attacktest.Subject{
			Name:     "FGM " + n.String(),
			New:      func(g advlib.Goal) advlib.Attack { return attack.FGM{Ball: ball, Goal: g} },
			AtRadius: func(ε float64) advlib.Attack { return attack.FGM{Ball: n.Ball(ε)} },
			WithLoss: func(l advlib.Loss, g advlib.Goal) advlib.Attack { return attack.FGM{Ball: ball, Goal: g, Loss: l} },
		}, attacktest.Subject{
			Name:     "PGD " + n.String(),
			New:      func(g advlib.Goal) advlib.Attack { return attack.PGD{Ball: ball, Goal: g, Steps: 20, Restarts: 1} },
			AtRadius: func(ε float64) advlib.Attack { return attack.PGD{Ball: n.Ball(ε), Steps: 20} },
			WithLoss: func(l advlib.Loss, g advlib.Goal) advlib.Attack { return attack.PGD{Ball: ball, Goal: g, Loss: l} },
		})
	}
	linf := advlib.Linf.Ball(radius(advlib.Linf))
	subjects = append(subjects, attacktest.Subject{
		Name: "PGD Linf margin",
		New: func(g advlib.Goal) advlib.Attack {
			return attack.PGD{Ball: linf, Goal: g, Loss: advlib.Margin, Steps: 20}
		},
		AtRadius: func(ε float64) advlib.Attack {
			return attack.PGD{Ball: advlib.Linf.Ball(ε), Loss: advlib.Margin}
		},
	}, attacktest.Subject{
		Name: "PGD L2 keeps going",
		New: func(g advlib.Goal) advlib.Attack {
			return attack.PGD{Ball: advlib.L2.Ball(0.5), Goal: g, KeepGoing: true, Steps: 20}
		},
		AtRadius: func(ε float64) advlib.Attack { return attack.PGD{Ball: advlib.L2.Ball(ε), KeepGoing: true} },
	}, attacktest.Subject{
		Name: "all targets",
		New: func(g advlib.Goal) advlib.Attack {
			return attack.AllTargets{Attack: attack.PGD{Ball: linf, Goal: g, Loss: advlib.Margin, Steps: 10}}
		},
		AtRadius: func(ε float64) advlib.Attack {
			return attack.AllTargets{Attack: attack.PGD{Ball: advlib.Linf.Ball(ε), Loss: advlib.Margin, Steps: 10}}
		},
		WithLoss: func(l advlib.Loss, g advlib.Goal) advlib.Attack {
			return attack.AllTargets{Attack: attack.PGD{Ball: linf, Goal: g, Loss: l}}
		},
		Untargeted: true,
	}, attacktest.Subject{
		Name: "Carlini & Wagner",
		New: func(g advlib.Goal) advlib.Attack {
			return attack.CarliniWagner{Goal: g, BinarySearchSteps: 5, Steps: 100, InitialConst: 1}
		},
	}, attacktest.Subject{
		Name: "Carlini & Wagner, all targets",
		New: func(g advlib.Goal) advlib.Attack {
			return attack.AllTargets{Attack: attack.CarliniWagner{Goal: g, BinarySearchSteps: 3, Steps: 50, InitialConst: 1}, Most: 3}
		},
		Untargeted: true,
	})
	return subjects
}

func TestConformance(t *testing.T) { attacktest.Run(t, basicSubjects()...) }

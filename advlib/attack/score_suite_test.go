package attack_test

import (
	"testing"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
)

// scoreSubjects are attacks that ask for scores, and noise, in quick versions.
func scoreSubjects() []attacktest.Subject {
	subjects := []attacktest.Subject{{
		Name: "Sparse-RS",
		New: func(g advlib.Goal) advlib.Attack {
			return attack.SparseRS{Ball: advlib.L0.Ball(2), Goal: g, Queries: 100}
		},
		AtRadius: func(ε float64) advlib.Attack { return attack.SparseRS{Ball: advlib.L0.Ball(ε), Queries: 100} },
		WithLoss: func(l advlib.Loss, g advlib.Goal) advlib.Attack {
			return attack.SparseRS{Ball: advlib.L0.Ball(2), Goal: g, Loss: l, Queries: 100}
		},
	}, {
		Name: "Patch-RS",
		New: func(g advlib.Goal) advlib.Attack {
			return attack.PatchRS{Ball: advlib.L0.Ball(4), Goal: g, Queries: 100}
		},
		AtRadius: func(ε float64) advlib.Attack { return attack.PatchRS{Ball: advlib.L0.Ball(ε), Queries: 100} },
		WithLoss: func(l advlib.Loss, g advlib.Goal) advlib.Attack {
			return attack.PatchRS{Ball: advlib.L0.Ball(4), Goal: g, Loss: l, Queries: 100}
		},
	}}
	for _, n := range []advlib.Norm{advlib.L2, advlib.Linf} {
		ball := n.Ball(radius(n))
		subjects = append(subjects, attacktest.Subject{
			Name:     "NES " + n.String(),
			New:      func(g advlib.Goal) advlib.Attack { return attack.NES{Ball: ball, Goal: g, Queries: 300, Sigma: 0.01} },
			AtRadius: func(ε float64) advlib.Attack { return attack.NES{Ball: n.Ball(ε), Queries: 300, Sigma: 0.01} },
			WithLoss: func(l advlib.Loss, g advlib.Goal) advlib.Attack {
				return attack.NES{Ball: ball, Goal: g, Loss: l, Queries: 300, Sigma: 0.01}
			},
		}, attacktest.Subject{
			Name:     "SPSA " + n.String(),
			New:      func(g advlib.Goal) advlib.Attack { return attack.SPSA{Ball: ball, Goal: g, Queries: 300, Samples: 64} },
			AtRadius: func(ε float64) advlib.Attack { return attack.SPSA{Ball: n.Ball(ε), Queries: 300, Samples: 64} },
			WithLoss: func(l advlib.Loss, g advlib.Goal) advlib.Attack {
				return attack.SPSA{Ball: ball, Goal: g, Loss: l, Queries: 300, Samples: 64}
			},
		}, attacktest.Subject{
			Name:     "Bandits " + n.String(),
			New:      func(g advlib.Goal) advlib.Attack { return attack.Bandits{Ball: ball, Goal: g, Queries: 300} },
			AtRadius: func(ε float64) advlib.Attack { return attack.Bandits{Ball: n.Ball(ε), Queries: 300} },
			WithLoss: func(l advlib.Loss, g advlib.Goal) advlib.Attack {
				return attack.Bandits{Ball: ball, Goal: g, Loss: l, Queries: 300}
			},
		})
	}
	subjects = append(subjects, attacktest.Subject{
		Name: "ZOO",
		New:  func(g advlib.Goal) advlib.Attack { return attack.ZOO{Goal: g, Queries: 1500, LearningRate: 0.05} },
	})
	for _, dct := range []bool{false, true} {
		name := "SimBA"
		if dct {
			name += " DCT"
		}
		subjects = append(subjects, attacktest.Subject{
			Name: name,
			New:  func(g advlib.Goal) advlib.Attack { return attack.SimBA{Goal: g, DCT: dct, Queries: 500} },
			WithLoss: func(l advlib.Loss, g advlib.Goal) advlib.Attack {
				return attack.SimBA{Goal: g, DCT: dct, Loss: l, Queries: 500}
			},
		})
	}
	for _, a := range []attack.Noise{
		{Norm: advlib.L2}, {Norm: advlib.Linf, Kind: attack.UniformNoise}, {Norm: advlib.L0, Kind: attack.SaltAndPepper},
		{Norm: advlib.L2, Kind: attack.BlendedNoise}, {Norm: advlib.L2, Kind: attack.ContrastReduction},
	} {
		a.Queries = 200
		subjects = append(subjects, attacktest.Subject{
			Name: a.Kind.String(), Labels: true, Untargeted: true,
			Pairs: a.Kind == attack.ContrastReduction, // which takes a single value to the middle, and not beyond
			New: func(g advlib.Goal) advlib.Attack {
				if g.IsTargeted() { // it has no Goal; what wraps it refuses for it
					return attack.AllTargets{Attack: a}
				}
				return a
			},
		})
	}
	return subjects
}

func TestConformanceScores(t *testing.T) { attacktest.Run(t, scoreSubjects()...) }

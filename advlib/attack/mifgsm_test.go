package attack_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/attacktest"
)

// MI-FGSM agrees with torchattacks' in every pixel within 1e-5, ties aside: where the accumulated gradient is so near
// to 0 that rounding decides its sign, a pixel is another step of ε/10 away. Such pixels are counted, and must be fewer
// than 1 in 1000. Only examples that are classified right are compared; Run leaves the others alone.
func TestReferenceMIFGSM(t *testing.T) {
	const tolerance, tiesAllowed = 1e-5, 1e-3
	onBackends(t, func(t *testing.T, b compute.Backend, _ bool) {
		compared := 0
		for _, name := range attacktest.References {
			r := reference(t, name, b)
			for text, ε := range radii(name, advlib.Linf) {
				want, dims, err := r.Array("mifgsm_alpha=eps__10_s=10_mu=1__" + text)
				if err != nil {
					continue // the peer was not run on this model
				}
				compared++
				adv, err := attack.MIFGSM{Ball: advlib.Linf.Ball(ε)}.Perturb(context.Background(), advlib.Count(r.Classifier), batch(r.Examples))
				if err != nil {
					t.Fatal(err)
				}
				got := tensors.MustCopyFlatData[float32](adv)
				ties, worst := 0, 0.
				for i := range got {
					diff := math.Abs(float64(got[i]) - float64(want[i]))
					if diff > tolerance {
						ties++
					} else {
						worst = max(worst, diff)
					}
				}
				t.Logf("%s, ε = %g: %d of %d pixels of %d examples differ by more than %g, the others by at most %.2g", name, ε, ties,
					len(got), dims[0], tolerance, worst)
				if float64(ties) > tiesAllowed*float64(len(got)) {
					t.Errorf("%s, ε = %g: %d of %d pixels differ by more than %g", name, ε, ties, len(got), tolerance)
				}
			}
		}
		if compared == 0 {
			t.Error("no reference has MI-FGSM: this tests nothing")
		}
	})
}

// The variants for transfer.
var transferVariants = map[string]attack.MIFGSM{
	"NI":       {Nesterov: true},
	"DI":       {Diversity: 0.9},
	"TI":       {Smoothing: 5},
	"TI-DI-NI": {Nesterov: true, Diversity: 0.5, Smoothing: 5},
}

func mifgsmSubjects() []attacktest.Subject {
	subject := func(name string, a attack.MIFGSM) attacktest.Subject {
		a.Steps = 5
		return attacktest.Subject{
			Name: name,
			New: func(g advlib.Goal) advlib.Attack {
				a := a
				a.Goal = g
				return a
			},
			AtRadius: func(ε float64) advlib.Attack {
				a := a
				a.Ball.Radius = ε
				return a
			},
			WithLoss: func(l advlib.Loss, g advlib.Goal) advlib.Attack {
				a := a
				a.Loss, a.Goal = l, g
				return a
			},
		}
	}
	linf := advlib.Linf.Ball(radius(advlib.Linf))
	subjects := []attacktest.Subject{
		subject("MI-FGSM Linf", attack.MIFGSM{Ball: linf}),
		subject("MI-FGSM L2", attack.MIFGSM{Ball: advlib.L2.Ball(radius(advlib.L2))}),
		subject("NI-FGSM Linf", attack.MIFGSM{Ball: linf, Nesterov: true}),
		{
			Name:     "BIM Linf",
			New:      func(g advlib.Goal) advlib.Attack { return attack.BIM{Ball: linf, Goal: g} },
			AtRadius: func(ε float64) advlib.Attack { return attack.BIM{Ball: advlib.Linf.Ball(ε)} },
			WithLoss: func(l advlib.Loss, g advlib.Goal) advlib.Attack { return attack.BIM{Ball: linf, Goal: g, Loss: l} },
		},
	}
	return subjects
}

func TestConformanceMIFGSM(t *testing.T) { attacktest.Run(t, mifgsmSubjects()...) }

// The variants that need images: what they return is inside the ball, is what it claims, and breaks most of what PGD
// breaks on a network that they see entirely. Random places depend on seed and example only, so that another order
// gives the same.
func TestTransferVariants(t *testing.T) {
	r := reference(t, "cnn-mnist-adv", digits(t).Classifier.Backend())
	ball := advlib.Linf.Ball(0.25)
	pgd, err := advlib.Run(context.Background(), r.Classifier, r.Examples, attack.PGD{Ball: ball})
	if err != nil {
		t.Fatal(err)
	}
	for name, a := range transferVariants {
		a.Ball = ball
		res, err := advlib.Run(context.Background(), r.Classifier, r.Examples, a)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d of %d broken, PGD %d", a, count(res.Success), len(res.Success), count(pgd.Success))
		if 2*count(res.Success) < count(pgd.Success) || count(pgd.Success) == 0 {
			t.Errorf("%s breaks %d, PGD %d", name, count(res.Success), count(pgd.Success))
		}
		again, err := advlib.Run(context.Background(), r.Classifier, r.Examples.Select([]int{3, 1, 0, 2, 7, 6, 5, 4}), a)
		if err != nil {
			t.Fatal(err)
		}
		for i, from := range []int{3, 1, 0, 2, 7, 6, 5, 4} {
			if again.Distance[i] != res.Distance[from] {
				t.Errorf("%s: example %d: distance %g in another order, was %g", name, from, again.Distance[i], res.Distance[from])
			}
		}
	}
}

func TestMIFGSMRefusals(t *testing.T) {
	linf := advlib.Linf.Ball(0.1)
	flat := linear(t, linearSpecs[0]).Classifier
	if _, err := (attack.BIM{}).Threat(flat); err == nil || !strings.Contains(err.Error(), "the ball is unset") {
		t.Errorf("BIM without a ball: %v", err)
	}
	for want, a := range map[string]advlib.Attack{
		"the ball is unset":                           attack.MIFGSM{},
		"Steps = -1 is below 0":                       attack.MIFGSM{Ball: linf, Steps: -1},
		"StepSize = NaN":                              attack.MIFGSM{Ball: linf, StepSize: math.NaN()},
		"Decay = -1":                                  attack.MIFGSM{Ball: linf, Decay: -1},
		"Diversity = 1.5 is not a probability":        attack.MIFGSM{Ball: linf, Diversity: 1.5},
		"Smoothing = 4 is not the width":              attack.MIFGSM{Ball: linf, Smoothing: 4},
		"need images":                                 attack.MIFGSM{Ball: linf, Smoothing: 3},
		"there is no momentum iterative method in L1": attack.MIFGSM{Ball: advlib.L1.Ball(1)},
		"Steps = -3 is below 0":                       attack.BIM{Ball: linf, Steps: -3},
	} {
		if _, err := a.Threat(flat); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v does not say %q", a, err, want)
		}
	}
	for want, a := range map[string]advlib.Attack{
		"MI-FGSM-10 Linf ≤ 0.1": attack.MIFGSM{Ball: linf},
		"TI-DI-NI-FGSM-5 Linf ≤ 0.1, μ = 0.9, diversity 0.5, smoothing 15": attack.MIFGSM{Ball: linf, Steps: 5, Decay: 0.9,
			Nesterov: true, Diversity: 0.5, Smoothing: 15},
		"BIM-10 Linf ≤ 0.1, targeted(2), α = 0.01": attack.BIM{Ball: linf, StepSize: 0.01, Goal: advlib.Targeted(2)},
	} {
		if got := a.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

package defense

import (
	"cmp"
	"context"
	"fmt"

	"advlab/advlib"
	"advlab/advlib/training"
)

// Fast is the fast adversarial training of Wong, Rice & Kolter (2020), arXiv:2001.03994, algorithm 3: one step of
// 1.25·ε from a point drawn uniformly from the ball, and a learning rate that rises and falls once. It can overfit
// catastrophically: from one epoch to the next the model withstands its own single step and nothing else. So a part of
// the examples is held back, and the training stops when the accuracy under PGD-20 falls by more than Fall at once; the
// model has the best weights before.
type Fast struct {
	// Ball is what the model is hardened against; its norm is L1, L2 or Linf. It must be set.
	Ball advlib.Ball
	// Step is the length of the one step, as a multiple of ε; 0 means 1.25.
	Step float64
	// Fall is by how much of the best accuracy it must fall to stop; 0 means 0.2. NoStop goes on, to show the collapse,
	// and keeps the last weights.
	Fall   float64
	NoStop bool
	// WarmUp and NoWarmUp are those of [AdversarialTraining].
	WarmUp   float64
	NoWarmUp bool
}

// String returns for example "fast adversarial training, Linf ≤ 0.1".
func (f Fast) String() string { return fmt.Sprintf("fast adversarial training, %v", f.Ball) }

// fastRate is the largest learning rate of fast training, where the model sets none; see [Recipe] for the others. It
// was measured: CNN-16-32 on 8000 of MNIST, Linf 0.3, withstood PGD-20 on 63.4 % of the held-back images after 40
// epochs at 0.003, and on 82.5 % after 36 at 0.01; an MLP on digits, Linf 0.15, on 54.1 and 60.2 % of test images.
const fastRate = 0.01

// Fit trains the model; see [AdversarialTraining.Fit]. The model's own schedule and validation are kept where it has
// them; without a learning rate of its own, it is 0.01.
func (f Fast) Fit(ctx context.Context, m training.Model, e *advlib.Examples) (*advlib.Classifier, error) {
	return fitted(f.Train(ctx, m, e))
}

// Train is Fit, and returns what was measured on the way.
func (f Fast) Train(ctx context.Context, m training.Model, e *advlib.Examples) (*training.Trained, error) {
	if m.Adversary != nil {
		return nil, fmt.Errorf("defense: %v: the model has the adversary %v already: leave one of the two out", f, m.Adversary)
	}
	m.Adversary = AdversarialTraining{Ball: f.Ball, Ascents: 1, StepSize: cmp.Or(f.Step, 1.25) * f.Ball.Radius, WarmUp: f.WarmUp,
		NoWarmUp: f.NoWarmUp}
	if m.LearningRate == 0 {
		m.LearningRate = fastRate
	}
	if e != nil && f.Ball.Check() == nil {
		m = Recipe(m, f.Ball, e.Len())
	}
	if v := &m.Validation; !v.None && *v != (training.Validation{}) {
		if v.KeepLast = v.KeepLast || f.NoStop; !f.NoStop && v.Stop == nil {
			v.Stop = training.Collapse(cmp.Or(f.Fall, 0.2))
		}
	}
	return hardening{f, "fast", f.Ball}.train(ctx, m, e)
}

// MustFit is [Fast.Fit] for notebooks, examples and tests: it panics on an error.
func (f Fast) MustFit(ctx context.Context, m training.Model, e *advlib.Examples) *advlib.Classifier {
	return must(f.Fit(ctx, m, e))
}

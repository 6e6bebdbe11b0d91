package defense

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/training"
)

// Fast is the fast adversarial training of Wong, Rice & Kolter (2020), arXiv:2001.03994, algorithm 3: one step of
// 1.25·ε from a point drawn uniformly from the ball, and a learning rate that rises and falls once. It can overfit
// catastrophically: from one epoch to the next the model withstands its own single step and nothing else. So a part of
// the examples is held back, and the training stops when the accuracy under PGD-5 falls by more than Fall at once; the
// model has the best weights before.
type Fast struct {
	// Ball is what the model is hardened against; its norm is L1, L2 or Linf. It must be set.
	Ball advlib.Ball
	// Step is the length of the one step, as a multiple of ε; 0 means 1.25.
	Step float64
	// Held is the share of the examples that are held back, drawn by the model's seed; 0 means 0.1.
	Held float64
	// Fall is by how much of the best accuracy it must fall to stop; 0 means 0.2. NoStop goes on, to show the collapse,
	// and keeps the last weights.
	Fall   float64
	NoStop bool
	// WarmUp is that of [AdversarialTraining].
	WarmUp float64
}

// String returns for example "fast adversarial training, Linf ≤ 0.1".
func (f Fast) String() string { return fmt.Sprintf("fast adversarial training, %v", f.Ball) }

// Fit trains the model; see [AdversarialTraining.Fit]. The model's own schedule and validation are kept where it has
// them.
func (f Fast) Fit(ctx context.Context, m training.Model, e *advlib.Examples) (*advlib.Classifier, error) {
	t, err := f.Train(ctx, m, e)
	if err != nil {
		return nil, err
	}
	if err := checkLearned(t.Classifier, e.First(collapseExamples)); err != nil {
		return nil, fmt.Errorf("defense: %v: %w", f, err)
	}
	return t.Classifier, nil
}

// Train is Fit, and returns what was measured on the way.
func (f Fast) Train(ctx context.Context, m training.Model, e *advlib.Examples) (*training.Trained, error) {
	step, held, fall := cmp.Or(f.Step, 1.25), cmp.Or(f.Held, 0.1), cmp.Or(f.Fall, 0.2)
	switch {
	case !(held > 0 && held < 1):
		return nil, fmt.Errorf("defense: %v: Held = %g is not in (0, 1): it is the share of the examples that are held back", f, f.Held)
	case m.Adversary != nil:
		return nil, fmt.Errorf("defense: %v: the model has the adversary %v already: leave one of the two out", f, m.Adversary)
	}
	m.Adversary = AdversarialTraining{Ball: f.Ball, Ascents: 1, StepSize: step * f.Ball.Radius, WarmUp: f.WarmUp}
	if m.Schedule == nil {
		m.Schedule = training.Triangle{}
	}
	if m.Validation == (training.Validation{}) {
		n := int(held * float64(e.Len()))
		if n == 0 || n == e.Len() {
			return nil, fmt.Errorf("defense: %v: a share of %g of %d examples is %d: hold more examples back, or give more", f, held, e.Len(), n)
		}
		order := rand.New(rand.NewPCG(m.Seed, uint64(n))).Perm(e.Len())
		m.Validation = training.Validation{Examples: e.Select(order[:n]), Attack: attack.PGD{Ball: f.Ball, Steps: 5}}
		e = e.Select(order[n:])
		if m.Validation.KeepLast = f.NoStop; !f.NoStop {
			m.Validation.Stop = training.Collapse(fall)
		}
	}
	if m.Name == "" {
		m.Name = "model"
	}
	m.Name += fmt.Sprintf(" (fast, %v)", f.Ball)
	return m.Train(ctx, e)
}

// MustFit is [Fast.Fit] for notebooks, examples and tests: it panics on an error.
func (f Fast) MustFit(ctx context.Context, m training.Model, e *advlib.Examples) *advlib.Classifier {
	return must(f.Fit(ctx, m, e))
}

package defense

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/attack/craft"
	"advlab/advlib/internal/option"
	"advlab/advlib/training"
)

// AdversarialTraining is that of Madry et al. (2018), arXiv:1706.06083, equation 2.1: the model θ learns from the worst
// it meets inside the ball, found by projected gradient ascent at each step of the training,
//
//	min_θ E[ max_{‖δ‖ ≤ ε} L(θ, x + δ, y) ]
//
// with L the cross-entropy. The gradient with respect to θ is that at the point found, which counts as a constant
// (Danskin's theorem, appendix A). The ascent meets the model in inference mode, and goes on to its last step whether
// or not the model is fooled on the way: it is the loss that is maximised, not the error.
//
// With Clean above 0 it is the mixture of Kurakin et al. (2017), arXiv:1611.01236, algorithm 1: a share of each batch
// stays as it is. That buys clean accuracy at the price of robustness.
type AdversarialTraining struct {
	// Ball is what the model is hardened against; its norm is L1, L2 or Linf. It must be set.
	Ball advlib.Ball
	// Ascents is the number of steps K of the inner maximisation; 0 means 10. (Madry et al. take 40 on MNIST and 7 on
	// CIFAR-10.)
	Ascents int
	// StepSize is α, the length of an ascent in the ball's norm, in units of the box; 0 means 2.5·ε/K.
	StepSize float64
	// NoRandomStart starts at the original instead of a point drawn uniformly from the ball and clipped to the box.
	NoRandomStart bool
	// WarmUp is the share of the training, in (0, 1), during which the radius and the step size grow from 0 to theirs,
	// linearly; 0 means 0.5. Large balls need it, above all for small models: without it they may never learn to tell the
	// classes apart. NoWarmUp begins with the whole ball, as in the paper.
	WarmUp   float64
	NoWarmUp bool
	// Clean is the share of each batch that stays as it is, in [0, 1), rounded down to whole examples.
	Clean float64
}

// defaultWarmUp is that of all methods with a WarmUp.
const defaultWarmUp = 0.5

// String returns for example "adversarial training, PGD-10 Linf ≤ 0.1".
func (a AdversarialTraining) String() string { return "adversarial training, " + a.steps() }

// steps says how it ascends: "PGD-10 Linf ≤ 0.1".
func (a AdversarialTraining) steps() string {
	s := fmt.Sprintf("PGD-%d %v", a.Steps(), a.Ball)
	if a.StepSize != 0 {
		s += fmt.Sprintf(", α = %.6g", a.StepSize)
	}
	if a.NoRandomStart {
		s += ", no random start"
	}
	switch {
	case a.NoWarmUp:
		s += ", no warm-up"
	case a.WarmUp != 0:
		s += fmt.Sprintf(", warm-up %.6g", a.WarmUp)
	}
	if a.Clean != 0 {
		s += fmt.Sprintf(", %.6g clean", a.Clean)
	}
	return s
}

// Fit trains the model adversarially, as [training.Model.Fit] trains it on clean examples: reproducibly, and kept. What
// the model leaves open of its training [Recipe] fills in. The model's name says that it was hardened.
//
// It is an error if the model that comes out has one answer to all examples, which is how adversarial training fails,
// and what no measurement of robustness would show: a constant cannot be fooled.
func (a AdversarialTraining) Fit(ctx context.Context, m training.Model, e *advlib.Examples) (*advlib.Classifier, error) {
	return fitted(a.Train(ctx, m, e))
}

// Train is Fit, and returns what was measured on the way.
func (a AdversarialTraining) Train(ctx context.Context, m training.Model, e *advlib.Examples) (*training.Trained, error) {
	if m.Adversary != nil {
		return nil, fmt.Errorf("defense: %v: the model has the adversary %v already: leave one of the two out", a, m.Adversary)
	}
	m.Adversary = a
	return hardening{a, "adversarial", a.Ball}.train(ctx, m, e)
}

// collapseExamples is how many examples a model is looked at with after its training.
const collapseExamples = 512

// longerWarmUp is what helps most.
const longerWarmUp = option.Name("a longer WarmUp, such as 0.8")

// checkLearned returns an error if the classifier gives the same answer to all examples, though their labels differ.
func checkLearned(c *advlib.Classifier, e *advlib.Examples) error {
	z, err := c.Logits(e.X)
	if err != nil {
		return err
	}
	answers, labels := map[int]bool{}, map[int32]bool{}
	for i, row := range z {
		answers[slices.Index(row, slices.Max(row))], labels[e.Y[i]] = true, true
	}
	for answer := range answers {
		if len(answers) == 1 && len(labels) > 1 {
			return fmt.Errorf("the model has learned nothing, it answers %s to all of %d examples: give it %v, "+
				"a smaller ball, a smaller learning rate or a larger model", c.ClassName(answer), e.Len(), longerWarmUp)
		}
	}
	return nil
}

// MustFit is [AdversarialTraining.Fit] for notebooks, examples and tests: it panics on an error.
func (a AdversarialTraining) MustFit(ctx context.Context, m training.Model, e *advlib.Examples) *advlib.Classifier {
	return must(a.Fit(ctx, m, e))
}

func must(c *advlib.Classifier, err error) *advlib.Classifier {
	if err != nil {
		panic(err)
	}
	return c
}

// Check implements [training.Adversary].
func (a AdversarialTraining) Check(c *advlib.Classifier) error {
	if err := a.Ball.Check(); err != nil {
		return err
	}
	switch _, convex := a.Ball.Norm.(advlib.ConvexNorm); {
	case !convex:
		return fmt.Errorf("%v has no steepest ascent and no projection: harden against a ball of L1, L2 or Linf", a.Ball.Norm)
	case a.Ball.Radius == 0:
		return fmt.Errorf("the ball %v is a point: give a radius above 0 (in Go 8/255 is the whole number 0, write "+
			"8./255), or train without a defence", a.Ball)
	case a.Ascents < 0:
		return fmt.Errorf("Ascents = %d: give a positive number, or 0 for 10", a.Ascents)
	case math.IsNaN(a.StepSize) || math.IsInf(a.StepSize, 0) || a.StepSize < 0:
		return fmt.Errorf("StepSize = %g is not a finite number ≥ 0: leave it at 0 for 2.5·ε/K", a.StepSize)
	case !(a.WarmUp >= 0 && a.WarmUp < 1):
		return fmt.Errorf("WarmUp = %g is not in (0, 1): it is the share of the training during which the radius grows, not a "+
			"number of epochs; 0 means 0.5", a.WarmUp)
	case a.NoWarmUp && a.WarmUp != 0:
		return fmt.Errorf("WarmUp = %g together with NoWarmUp: leave one of the two out", a.WarmUp)
	case !(a.Clean >= 0 && a.Clean < 1):
		return fmt.Errorf("Clean = %g is not in [0, 1): it is the share of each batch that stays as it is", a.Clean)
	}
	return nil
}

// Rows implements [training.Adversary]: the first examples of a batch, which is shuffled, stay clean.
func (a AdversarialTraining) Rows(n int) (first int) { return int(a.Clean * float64(n)) }

// Strength implements [training.Adversary]: the share of the radius.
func (a AdversarialTraining) Strength(progress float64) float64 {
	if a.NoWarmUp {
		return 1
	}
	return min(1, progress/cmp.Or(a.WarmUp, defaultWarmUp))
}

// Reach implements [training.Adversary]: the ball, grown to that share of its radius.
func (a AdversarialTraining) Reach(strength float64) advlib.Ball {
	return a.Ball.Norm.Ball(strength * a.Ball.Radius)
}

// pgd is the attack whose start and steps these are.
func (a AdversarialTraining) pgd(strength float64) attack.PGD {
	return attack.PGD{Ball: a.Reach(strength), Steps: a.Steps(), StepSize: a.StepSize, NoRandomStart: a.NoRandomStart}
}

// Start implements [training.Adversary].
func (a AdversarialTraining) Start(r *rand.Rand, limits advlib.Limits, strength float64, x []float32) {
	start := a.pgd(strength).Start(limits)
	if start == nil {
		return
	}
	for row := range slices.Chunk(x, limits.Size()) {
		start(r, row)
	}
}

// Steps implements [training.Adversary].
func (a AdversarialTraining) Steps() int {
	if a.Ascents == 0 {
		return 10
	}
	return a.Ascents
}

func (a AdversarialTraining) stepSize() float64 {
	if a.StepSize == 0 {
		return 2.5 * a.Ball.Radius / float64(a.Steps())
	}
	return a.StepSize
}

// Step implements [training.Adversary]: a step of [attack.PGD] on the cross-entropy.
func (a AdversarialTraining) Step(m *advlib.Model, at *training.Ascent) *Node {
	p := &craft.Point{Model: m, X0: at.X0, Limits: at.Limits, Goal: advlib.GoalNodes{Label: at.Y}}
	return a.climb(p, at, advlib.CrossEntropy.Of(m.Logits(at.X), p.Goal))
}

// climb returns the points after a step of [attack.PGD] on the loss L of each row.
func (a AdversarialTraining) climb(p *craft.Point, at *training.Ascent, L *Node) *Node {
	ε, α := MulScalar(at.Strength, a.Ball.Radius), MulScalar(at.Strength, a.stepSize())
	return a.pgd(1).Step(at.Limits).Next(p, at.X, L, []*Node{ε, α})
}

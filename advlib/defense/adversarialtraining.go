package defense

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	. "github.com/gomlx/gomlx/core/graph"

	"advlab/advlib"
	"advlab/advlib/zoo"
)

// AdversarialTraining is that of Madry et al. (2018), arXiv:1706.06083, equation 2.1: the model θ learns from the worst it meets inside
// the ball, found by projected gradient ascent at each step of the training,
//
//	min_θ E[ max_{‖δ‖ ≤ ε} L(θ, x + δ, y) ]
//
// with L the cross-entropy. The gradient with respect to θ is that at the point found, which counts as a constant (Danskin's theorem,
// appendix A). The ascent meets the model in inference mode, and goes on to its last step whether or not the model is fooled on the way:
// it is the loss that is maximised, not the error.
//
// With Clean above 0 it is the mixture of Kurakin et al. (2017), arXiv:1611.01236, algorithm 1: a share of each batch stays as it is. That
// buys clean accuracy at the price of robustness.
type AdversarialTraining struct {
	// Ball is what the model is hardened against; its norm is L1, L2 or Linf. It must be set.
	Ball advlib.Ball
	// Ascents is the number of steps K of the inner maximisation; 0 means 10. (Madry et al. take 40 on MNIST and 7 on CIFAR-10.)
	Ascents int
	// StepSize is α, the length of an ascent in the ball's norm, in units of the box; 0 means 2.5·ε/K.
	StepSize float64
	// NoRandomStart starts at the original instead of a point drawn uniformly from the ball and clipped to the box.
	NoRandomStart bool
	// Clean is the share of each batch that stays as it is, in [0, 1), rounded down to whole examples.
	Clean float64
}

// String returns for example "adversarial training, PGD-10 Linf ≤ 0.1".
func (a AdversarialTraining) String() string {
	s := fmt.Sprintf("adversarial training, PGD-%d %v", a.Steps(), a.Ball)
	if a.StepSize != 0 {
		s += fmt.Sprintf(", α = %.6g", a.StepSize)
	}
	if a.NoRandomStart {
		s += ", no random start"
	}
	if a.Clean != 0 {
		s += fmt.Sprintf(", %.6g clean", a.Clean)
	}
	return s
}

// Fit trains the model adversarially, as [zoo.Model.Fit] trains it on clean examples: with the model's own epochs, batch size, learning rate
// and seed, reproducibly, and kept. The model's name says that it was hardened.
func (a AdversarialTraining) Fit(ctx context.Context, m zoo.Model, e *advlib.Examples) (*advlib.Classifier, error) {
	if m.Adversary != nil {
		return nil, fmt.Errorf("defense: %v: the model has the adversary %v already: leave one of the two out", a, m.Adversary)
	}
	if m.Name == "" {
		m.Name = "model"
	}
	m.Name += fmt.Sprintf(" (adversarial, %v)", a.Ball)
	m.Adversary = a
	return m.Fit(ctx, e)
}

// MustFit is [AdversarialTraining.Fit] for notebooks, examples and tests: it panics on an error.
func (a AdversarialTraining) MustFit(ctx context.Context, m zoo.Model, e *advlib.Examples) *advlib.Classifier {
	c, err := a.Fit(ctx, m, e)
	if err != nil {
		panic(err)
	}
	return c
}

// Check implements [zoo.Adversary].
func (a AdversarialTraining) Check(box advlib.Box, classes int) error {
	if err := a.Ball.Check(); err != nil {
		return err
	}
	switch _, convex := a.Ball.Norm.(advlib.ConvexNorm); {
	case !convex:
		return fmt.Errorf("%v has no steepest ascent and no projection: harden against a ball of L1, L2 or Linf", a.Ball.Norm)
	case a.Ball.Radius == 0:
		return fmt.Errorf("the ball %v is a point: give a radius above 0, or train without a defence", a.Ball)
	case a.Ascents < 0:
		return fmt.Errorf("Ascents = %d: give a positive number, or 0 for 10", a.Ascents)
	case math.IsNaN(a.StepSize) || math.IsInf(a.StepSize, 0) || a.StepSize < 0:
		return fmt.Errorf("StepSize = %g is not a finite number ≥ 0: leave it at 0 for 2.5·ε/K", a.StepSize)
	case !(a.Clean >= 0 && a.Clean < 1):
		return fmt.Errorf("Clean = %g is not in [0, 1): it is the share of each batch that stays as it is", a.Clean)
	}
	return nil
}

// Rows implements [zoo.Adversary]: the first examples of a batch, which is shuffled, stay clean.
func (a AdversarialTraining) Rows(n int) (first int) { return int(a.Clean * float64(n)) }

// Start implements [zoo.Adversary].
func (a AdversarialTraining) Start(r *rand.Rand, box advlib.Box, x []float32, size int) {
	if a.NoRandomStart {
		return
	}
	norm := a.Ball.Norm.(advlib.ConvexNorm)
	u := make([]float32, size)
	for lo := 0; lo < len(x); lo += size {
		norm.Sample(r, u)
		for j := range u {
			v := &x[lo+j]
			*v = min(max(*v+float32(a.Ball.Radius)*u[j], float32(box.Lo)), float32(box.Hi))
		}
	}
}

// Steps implements [zoo.Adversary].
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

// Step implements [zoo.Adversary]: Madry et al. (2018), section 2.1,
//
//	x ← Π(x + α·d),  d = argmax ⟨d, ∇ₓL⟩ over ‖d‖ ≤ 1,  Π projects on the intersection of the ball at x₀ with the box
func (a AdversarialTraining) Step(logits func(x *Node) *Node, box advlib.Box, x0, x, y *Node) *Node {
	norm := a.Ball.Norm.(advlib.ConvexNorm)
	L := advlib.CrossEntropy.Of(logits(x), advlib.Aim{Label: y})
	g := Gradient(ReduceAllSum(L), x)[0]
	g = Where(IsFinite(g), g, ZerosLike(g))
	δ := Sub(Add(x, MulScalar(norm.Ascend(g), a.stepSize())), x0)
	lo, hi := box.Room(x0)
	ε := Scalar(x.Graph(), x.DType(), a.Ball.Radius)
	return box.Clip(Add(x0, norm.Project(δ, ε, lo, hi)))
}

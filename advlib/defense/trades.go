package defense

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	. "github.com/gomlx/gomlx/core/graph"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
	"advlab/advlib/training"
)

// TRADES is that of Zhang et al. (2019), arXiv:1901.08573, equation 5: the model is right on the originals, and says
// the same all around them,
//
//	min_θ E[ L(θ, x, y) + β · max_{‖δ‖ ≤ ε} KL(p(x) ‖ p(x + δ)) ]
//
// with L the cross-entropy and p the softmax of the model, both in training mode. The maximum is sought by projected
// gradient ascent on that divergence, in inference mode, from a point drawn around the original with a deviation of
// 0.001. A larger β buys robustness with clean accuracy.
//
// It is a [training.Objective] with an adversary of its own; Fit trains a model with it.
type TRADES struct {
	// Ball is what the model is hardened against; its norm is L1, L2 or Linf. It must be set.
	Ball advlib.Ball
	// Beta is β, called 1/λ in the paper; 0 means 6, as for CIFAR-10.
	Beta float64
	// Ascents, StepSize, WarmUp and NoWarmUp are those of [AdversarialTraining].
	Ascents          int
	StepSize, WarmUp float64
	NoWarmUp         bool
}

func (t TRADES) beta() float64 { return cmp.Or(t.Beta, 6) }

// inner is the adversarial training whose ball, steps and warm-up are its own.
func (t TRADES) inner() AdversarialTraining {
	return AdversarialTraining{Ball: t.Ball, Ascents: t.Ascents, StepSize: t.StepSize, WarmUp: t.WarmUp, NoWarmUp: t.NoWarmUp}
}

// String returns for example "TRADES, β = 6, PGD-10 Linf ≤ 0.1".
func (t TRADES) String() string {
	return fmt.Sprintf("TRADES, β = %.6g, %s", t.beta(), t.inner().steps())
}

// Check implements [training.Objective].
func (t TRADES) Check(c *advlib.Classifier) error {
	if err := checkWeight("Beta", t.Beta, 6); err != nil {
		return err
	}
	return t.inner().Check(c)
}

// Adversary implements [training.Adversarial].
func (t TRADES) Adversary() training.Adversary { return divergent{t.inner()} }

// Loss implements [training.Objective].
func (t TRADES) Loss(s *training.Step) *Node {
	clean, adversarial := s.Logits(s.X0), s.Logits(s.X)
	return Add(crossEntropy(clean, s.Y), MulScalar(divergence(clean, adversarial), t.beta()))
}

// Fit trains the model with this objective; see [AdversarialTraining.Fit].
func (t TRADES) Fit(ctx context.Context, m training.Model, e *advlib.Examples) (*advlib.Classifier, error) {
	return fitted(t.Train(ctx, m, e))
}

// Train is Fit, and returns what was measured on the way.
func (t TRADES) Train(ctx context.Context, m training.Model, e *advlib.Examples) (*training.Trained, error) {
	return hardening{t, "TRADES", t.Ball}.minimise(ctx, t, m, e)
}

// MustFit is [TRADES.Fit] for notebooks, examples and tests: it panics on an error.
func (t TRADES) MustFit(ctx context.Context, m training.Model, e *advlib.Examples) *advlib.Classifier {
	return must(t.Fit(ctx, m, e))
}

// divergent is the adversary of TRADES: it seeks what the model answers most differently than the original.
type divergent struct{ AdversarialTraining }

// String implements [training.Adversary].
func (d divergent) String() string { return "KL by " + d.steps() }

// Start implements [training.Adversary]. The divergence has slope 0 at the original itself.
func (d divergent) Start(r *rand.Rand, limits advlib.Limits, strength float64, x []float32) {
	const deviation = 0.001
	for j, x0 := range x {
		x[j] = limits.Clamp(j%limits.Size(), float64(x0)+strength*deviation*r.NormFloat64(), x0)
	}
}

// Step implements [training.Adversary]: a step of [attack.PGD] on the divergence.
func (d divergent) Step(m *advlib.Model, at *training.Ascent) *Node {
	p := &craft.Point{Model: m, X0: at.X0, Limits: at.Limits, Goal: advlib.GoalNodes{Label: at.Y}}
	L := divergence(StopGradient(m.Logits(at.X0)), m.Logits(at.X))
	return d.climb(p, at, L)
}

// divergence is KL(softmax(z) ‖ softmax(other)) of each row: logits [n, K], the result [n].
func divergence(z, other *Node) *Node {
	logp, logq := LogSoftmax(z, -1), LogSoftmax(other, -1)
	return ReduceSum(Mul(Exp(logp), Sub(logp, logq)), -1)
}

// crossEntropy is −log softmax(z)_y of each row: z [n, K], y int32 [n], the result [n].
func crossEntropy(z, y *Node) *Node {
	return Neg(advlib.At(LogSoftmax(z, -1), y))
}

// checkWeight refuses a weight that makes no sense.
func checkWeight(name string, v, otherwise float64) error {
	if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
		return fmt.Errorf("%s = %g is not a finite number ≥ 0: leave it at 0 for %g", name, v, otherwise)
	}
	return nil
}

package defense

import (
	"cmp"
	"context"
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"advlab/advlib"
	"advlab/advlib/training"
)

// MART is that of Wang et al. (2020), "Improving Adversarial Robustness Requires Revisiting Misclassified Examples",
// equation 11: the model is pushed away from the runner-up, too, and examples of which it is unsure count more,
//
//	BCE(p(x′), y) + λ · KL(p(x) ‖ p(x′)) · (1 − p_y(x)),   BCE(p, y) = −log p_y − log(1 − max_{k≠y} p_k)
//
// with x′ found by projected gradient ascent on the cross-entropy, as in [AdversarialTraining], and p the softmax of
// the model. The authors' code adds 1e-4 inside of the second logarithm, so that it stays finite; here it is computed
// from the logits, and is exact.
//
// It is a [training.Objective] with an adversary of its own; Fit trains a model with it.
type MART struct {
	// Ball is what the model is hardened against; its norm is L1, L2 or Linf. It must be set.
	Ball advlib.Ball
	// Lambda is λ; 0 means 5.
	Lambda float64
	// Ascents, StepSize, WarmUp and NoWarmUp are those of [AdversarialTraining].
	Ascents          int
	StepSize, WarmUp float64
	NoWarmUp         bool
}

func (t MART) lambda() float64 { return cmp.Or(t.Lambda, 5) }

func (t MART) inner() AdversarialTraining {
	return AdversarialTraining{Ball: t.Ball, Ascents: t.Ascents, StepSize: t.StepSize, WarmUp: t.WarmUp, NoWarmUp: t.NoWarmUp}
}

// String returns for example "MART, λ = 5, PGD-10 Linf ≤ 0.1".
func (t MART) String() string {
	return fmt.Sprintf("MART, λ = %.6g, %s", t.lambda(), t.inner().steps())
}

// Check implements [training.Objective].
func (t MART) Check(c *advlib.Classifier) error {
	if err := checkWeight("Lambda", t.Lambda, 5); err != nil {
		return err
	}
	return t.inner().Check(c)
}

// Adversary implements [training.Adversarial].
func (t MART) Adversary() training.Adversary { return t.inner() }

// Loss implements [training.Objective].
func (t MART) Loss(s *training.Step) *Node {
	clean, adversarial := s.Logits(s.X0), s.Logits(s.X)
	unsure := OneMinus(Exp(Neg(crossEntropy(clean, s.Y)))) // 1 − p_y(x)
	return Add(boosted(adversarial, s.Y), MulScalar(Mul(divergence(clean, adversarial), unsure), t.lambda()))
}

// boosted is the boosted cross-entropy BCE of each row: logits z [n, K], y int32 [n], the result [n].
func boosted(z, y *Node) *Node {
	logp := LogSoftmax(z, -1)
	low := Infinity(z.Graph(), z.DType(), -1)
	label := OneHot(y, z.Shape().Dimensions[1], z.DType())
	others := Where(GreaterThan(label, ZerosLike(label)), BroadcastToDims(low, z.Shape().Dimensions...), logp)
	second := OneHot(ArgMax(others, -1), z.Shape().Dimensions[1], z.DType())
	// log(1 − p_k) is the logarithm of the sum of all the others.
	rest := Where(GreaterThan(second, ZerosLike(second)), BroadcastToDims(low, z.Shape().Dimensions...), logp)
	return Neg(Add(advlib.At(logp, y), logSumExp(rest)))
}

// logSumExp is log Σ exp(v) of each row, some of whose entries may be −∞.
func logSumExp(v *Node) *Node {
	most := StopGradient(ReduceAndKeep(v, ReduceMax, -1))
	return Add(Log(ReduceSum(Exp(Sub(v, most)), -1)), Squeeze(most, -1))
}

// Fit trains the model with this objective; see [AdversarialTraining.Fit].
func (t MART) Fit(ctx context.Context, m training.Model, e *advlib.Examples) (*advlib.Classifier, error) {
	return fitted(t.Train(ctx, m, e))
}

// Train is Fit, and returns what was measured on the way.
func (t MART) Train(ctx context.Context, m training.Model, e *advlib.Examples) (*training.Trained, error) {
	return hardening{t, "MART", t.Ball}.minimise(ctx, t, m, e)
}

// MustFit is [MART.Fit] for notebooks, examples and tests: it panics on an error.
func (t MART) MustFit(ctx context.Context, m training.Model, e *advlib.Examples) *advlib.Classifier {
	return must(t.Fit(ctx, m, e))
}

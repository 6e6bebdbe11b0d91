package defense

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/training"
)

// Free is the free adversarial training of Shafahi et al. (2019), arXiv:1904.12843, algorithm 1: each batch is trained
// on m times in a row, and the one backward pass of a step moves the weights and the perturbation, too,
//
//	θ ← θ − τ·∇_θ L(θ, x + δ, y),   δ ← clip(δ + ε·sign ∇_x L(θ, x + δ, y), −ε, ε)
//
// so that a step costs what one of a natural training does. An epoch of the model's sees a share of 1/m of the examples
// m times: the model's Epochs are as many backward passes as without the defence. Where the model does not say, they
// are m times those of [Recipe], so that as many batches are seen as by other methods, and every m-th is validated. δ
// is kept from batch to batch, as in the authors' code. It is for Linf, and for inputs without a [advlib.Domain].
//
// It is a [training.Objective]; Fit trains a model with it.
type Free struct {
	// Ball is what the model is hardened against; its norm is Linf. It must be set.
	Ball advlib.Ball
	// Replays is m; 0 means 8.
	Replays int
	// WarmUp and NoWarmUp are those of [AdversarialTraining]; the authors have none.
	WarmUp   float64
	NoWarmUp bool
}

// inner is the adversarial training whose ball and warm-up are its own.
func (f Free) inner() AdversarialTraining {
	return AdversarialTraining{Ball: f.Ball, WarmUp: f.WarmUp, NoWarmUp: f.NoWarmUp}
}

func (f Free) replays() int {
	if f.Replays == 0 {
		return 8
	}
	return f.Replays
}

// String returns for example "free adversarial training, m = 8, Linf ≤ 0.1".
func (f Free) String() string {
	return fmt.Sprintf("free adversarial training, m = %d, %v", f.replays(), f.Ball)
}

// Check implements [training.Objective].
func (f Free) Check(c *advlib.Classifier) error {
	if err := f.inner().Check(c); err != nil {
		return err
	}
	switch {
	case f.Ball.Norm != advlib.Norm(advlib.Linf):
		return fmt.Errorf("the ball %v is not of Linf, in which this training steps: use AdversarialTraining", f.Ball)
	case f.Replays < 0:
		return fmt.Errorf("Replays = %d: give a positive number, or 0 for 8", f.Replays)
	case c.Domain() != nil:
		return fmt.Errorf("the inputs have a domain (%v), to which this training would not keep: use AdversarialTraining", c.Domain())
	}
	return nil
}

// Loss implements [training.Objective].
func (f Free) Loss(s *training.Step) *Node {
	x0 := s.X0
	ε := ConstAs(x0, f.Ball.Radius)
	if !f.NoWarmUp {
		ε = MulScalar(MinScalar(DivScalar(s.Progress, cmp.Or(f.WarmUp, defaultWarmUp)), 1), f.Ball.Radius)
	}
	δ := s.Scope().VariableWithValue("delta", tensors.FromShape(x0.Shape())).SetTrainable(false)
	x := s.Limits.Clip(Add(x0, δ.NodeValue(x0)), x0)
	L := crossEntropy(s.Logits(x), s.Y)
	up := Sign(Gradient(ReduceAllSum(L), x)[0])
	ε = BroadcastToDims(ε, x0.Shape().Dimensions...)
	δ.SetNodeValue(StopGradient(Min(Max(Add(δ.NodeValue(x0), Mul(up, ε)), Neg(ε)), ε)))
	return L
}

// Batches implements [training.Sampler]: each batch of an epoch's order m times.
func (f Free) Batches(e *advlib.Examples, size int, seed uint64) iter.Seq[[]int] {
	return func(yield func([]int) bool) {
		r := rand.New(rand.NewPCG(seed, uint64(f.replays())))
		for {
			order := r.Perm(e.Len())
			for batch := range slices.Chunk(order[:e.Len()/size*size], size) {
				for range f.replays() {
					if !yield(batch) {
						return
					}
				}
			}
		}
	}
}

// Fit trains the model with this objective; see [AdversarialTraining.Fit].
func (f Free) Fit(ctx context.Context, m training.Model, e *advlib.Examples) (*advlib.Classifier, error) {
	return fitted(f.Train(ctx, m, e))
}

// Train is Fit, and returns what was measured on the way.
func (f Free) Train(ctx context.Context, m training.Model, e *advlib.Examples) (*training.Trained, error) {
	if e != nil && f.Ball.Check() == nil && m.Epochs == 0 && f.Replays >= 0 {
		filled := Recipe(m, f.Ball, e.Len())
		m.Epochs, m.Validation = f.replays()*filled.Epochs, filled.Validation
		if m.Validation.Held > 0 && m.Validation.Every == 0 {
			m.Validation.Every = f.replays()
		}
	}
	return hardening{f, "free", f.Ball}.minimise(ctx, f, m, e)
}

// MustFit is [Free.Fit] for notebooks, examples and tests: it panics on an error.
func (f Free) MustFit(ctx context.Context, m training.Model, e *advlib.Examples) *advlib.Classifier {
	return must(f.Fit(ctx, m, e))
}

package defense

import (
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
// m times: the model's Epochs are as many backward passes as without the defence. δ is kept from batch to batch, as in
// the authors' code. It is for Linf, and for inputs without a [advlib.Domain].
//
// It is a [training.Objective]; Fit trains a model with it.
type Free struct {
	// Ball is what the model is hardened against; its norm is Linf. It must be set.
	Ball advlib.Ball
	// Replays is m; 0 means 8.
	Replays int
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
	if err := (AdversarialTraining{Ball: f.Ball}).Check(c); err != nil {
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
	ε, x0 := f.Ball.Radius, s.X0
	δ := s.Scope().VariableWithValue("delta", tensors.FromShape(x0.Shape())).SetTrainable(false)
	x := s.Limits.Clip(Add(x0, δ.NodeValue(x0)), x0)
	L := crossEntropy(s.Logits(x), s.Y)
	up := Sign(Gradient(ReduceAllSum(L), x)[0])
	δ.SetNodeValue(StopGradient(ClipScalar(Add(δ.NodeValue(x0), MulScalar(up, ε)), -ε, ε)))
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
	return hardening{f, "free", f.Ball}.minimise(ctx, f, m, e)
}

// MustFit is [Free.Fit] for notebooks, examples and tests: it panics on an error.
func (f Free) MustFit(ctx context.Context, m training.Model, e *advlib.Examples) *advlib.Classifier {
	return must(f.Fit(ctx, m, e))
}

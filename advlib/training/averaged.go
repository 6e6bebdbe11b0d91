package training

import (
	"context"
	"fmt"
	"iter"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Averaged trains as an [Objective] does, and keeps a moving average of the weights beside them, which is what the
// trained model gets, and what is validated:
//
//	θ̄ ← d·θ̄ + (1 − d)·θ  after each step, from θ̄ = θ after the first
//
// Averages are more robust than the last weights, and overfit later (Gowal et al. 2020, arXiv:2010.03593, section 4.5).
type Averaged struct {
	// Objective is what is minimised; nil is the [CrossEntropy].
	Objective Objective
	// Decay is d, in (0, 1); 0 means 0.995.
	Decay float64
}

func (a Averaged) filled() Averaged {
	if a.Objective == nil {
		a.Objective = CrossEntropy{}
	}
	if a.Decay == 0 {
		a.Decay = 0.995
	}
	return a
}

// String implements [Objective].
func (a Averaged) String() string {
	a = a.filled()
	return fmt.Sprintf("%v, weights averaged by %.6g", a.Objective, a.Decay)
}

// Check implements [Objective].
func (a Averaged) Check(c *advlib.Classifier) error {
	a = a.filled()
	if !(a.Decay > 0 && a.Decay < 1) {
		return fmt.Errorf("Decay = %g is not in (0, 1): it is what is left of the average at each step, such as 0.995", a.Decay)
	}
	if _, ok := a.Objective.(Updater); ok {
		return fmt.Errorf("%v changes variables after each step itself: it cannot be averaged", a.Objective)
	}
	return a.Objective.Check(c)
}

// Loss implements [Objective].
func (a Averaged) Loss(s *Step) *Node { return a.filled().Objective.Loss(s) }

// Update implements [Updater].
func (a Averaged) Update(s *Step) {
	a = a.filled()
	first := Equal(s.Progress, ZerosLike(s.Progress))
	for _, v := range s.Weights() {
		average := s.Scope().Store().Scope(averages+v.Scope()).VariableWithShape(v.Name(), v.Shape()).SetTrainable(false)
		θ, mean := v.NodeValue(s.X), average.NodeValue(s.X)
		average.SetNodeValue(Where(first, θ, Add(MulScalar(mean, a.Decay), MulScalar(θ, 1-a.Decay))))
	}
}

// averages is the scope below which the averages are.
const averages = "/" + ownScope + "/average"

// Kept implements [Updater].
func (a Averaged) Kept(path string) string { return averages + path }

// Batches implements [Sampler].
func (a Averaged) Batches(e *advlib.Examples, size int, seed uint64) iter.Seq[[]int] {
	if s, ok := a.filled().Objective.(Sampler); ok {
		return s.Batches(e, size, seed)
	}
	return nil
}

// Columns implements [Columner].
func (a Averaged) Columns(ctx context.Context, e *advlib.Examples) ([]*tensors.Tensor, error) {
	if c, ok := a.filled().Objective.(Columner); ok {
		return c.Columns(ctx, e)
	}
	return nil, nil
}

// Adversary implements [Adversarial].
func (a Averaged) Adversary() Adversary {
	if o, ok := a.filled().Objective.(Adversarial); ok {
		return o.Adversary()
	}
	return nil
}

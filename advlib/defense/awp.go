package defense

import (
	"cmp"
	"context"
	"fmt"
	"iter"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/training"
)

// AWP is the adversarial weight perturbation of Wu et al. (2020), arXiv:2004.05884, equation 7 and algorithm 1, on top
// of another objective: the loss counts at weights that were moved to where it is higher, layer by layer, so that the
// training ends in a flat place,
//
//	min_θ L(θ + v),   v = γ · ‖w‖ · ∇L/‖∇L‖  of each tensor w of weights
//
// with one step of ascent, as in the paper. Vectors, such as biases, are not moved. v counts as a constant.
//
//	clf, err := defense.ByObjective{Objective: defense.AWP{Objective: defense.TRADES{Ball: ball}}}.Fit(ctx, m, train)
//	at := defense.AdversarialTraining{Ball: ball}
//	clf, err = defense.ByObjective{Objective: defense.AWP{}, Adversary: at}.Fit(ctx, m, train)   // Madry et al. with AWP
type AWP struct {
	// Objective is what is minimised; nil is the cross-entropy.
	Objective training.Objective
	// Gamma is γ, the size of the perturbation relative to the weights'; 0 means 0.005.
	Gamma float64
}

func (a AWP) objective() training.Objective {
	if a.Objective == nil {
		return training.CrossEntropy{}
	}
	return a.Objective
}

func (a AWP) gamma() float64 { return cmp.Or(a.Gamma, 0.005) }

// String returns for example "TRADES, β = 6, PGD-10 Linf ≤ 0.1, AWP γ = 0.005".
func (a AWP) String() string { return fmt.Sprintf("%v, AWP γ = %.6g", a.objective(), a.gamma()) }

// Check implements [training.Objective].
func (a AWP) Check(c *advlib.Classifier) error {
	if err := checkWeight("Gamma", a.Gamma, 0.005); err != nil {
		return err
	}
	if u, ok := a.objective().(training.Updater); ok {
		return fmt.Errorf("%v changes variables after each step itself: put AWP inside of it, as in training.Averaged{Objective: AWP{…}}", u)
	}
	return a.objective().Check(c)
}

// Loss implements [training.Objective].
func (a AWP) Loss(s *training.Step) *Node {
	at := a.objective().Loss(s)
	weights := s.Weights()
	values := make([]*Node, len(weights))
	for i, w := range weights {
		values[i] = w.NodeValue(s.X)
	}
	slopes := Gradient(ReduceAllMean(at), values...)
	for i, w := range weights {
		if w.Shape().Rank() > 1 {
			v := MulScalar(Div(Mul(length(values[i]), slopes[i]), AddScalar(length(slopes[i]), 1e-20)), a.gamma())
			w.SetNodeValue(Add(values[i], StopGradient(v)))
		}
	}
	there := a.objective().Loss(s)
	for i, w := range weights {
		w.SetNodeValue(values[i])
	}
	return there
}

// length is the L2 norm of all values of a tensor.
func length(v *Node) *Node { return Sqrt(ReduceAllSum(Mul(v, v))) }

// Adversary implements [training.Adversarial].
func (a AWP) Adversary() training.Adversary {
	if o, ok := a.objective().(training.Adversarial); ok {
		return o.Adversary()
	}
	return nil
}

// Batches implements [training.Sampler].
func (a AWP) Batches(e *advlib.Examples, size int, seed uint64) iter.Seq[[]int] {
	if s, ok := a.objective().(training.Sampler); ok {
		return s.Batches(e, size, seed)
	}
	return nil
}

// Columns implements [training.Columner].
func (a AWP) Columns(ctx context.Context, e *advlib.Examples) ([]*tensors.Tensor, error) {
	if c, ok := a.objective().(training.Columner); ok {
		return c.Columns(ctx, e)
	}
	return nil, nil
}

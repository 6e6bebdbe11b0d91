package attack

import (
	"context"
	"fmt"
	"math"

	. "advlab/advlib/internal/equation"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() { register[BPDA](Wrapper) }

// BPDA is backward pass differentiable approximation of Athalye et al. (2018), arXiv:1802.00420, section 4.1: an attack
// takes its gradients through a stand-in for what has none, such as a quantiser, while the forward pass is the real
// one.
//
// Through is a classifier with the logits of the one that is attacked and another gradient. [StraightThrough] makes
// one:
//
//	defended := f(g(x))                                       // g rounds, compresses, denoises, …
//	Through  := f(StraightThrough(g, identity)(x))            // forward g, backward as if there were nothing
type BPDA struct {
	// Attack is what is run.
	Attack advlib.Attack
	// Through is what gives the gradients. It must be set, and its logits must be those of the classifier that is
	// attacked.
	Through *advlib.Classifier
}

// StraightThrough returns the function whose value is that of forward, and whose gradient is that of backward.
func StraightThrough(forward, backward func(x *Node) *Node) func(x *Node) *Node {
	return func(x *Node) *Node {
		smooth := backward(x)
		return Add(smooth, StopGradient(Sub(forward(x), smooth)))
	}
}

// Describe implements [craft.Described].
func (a *BPDA) Describe(d *craft.Description) {
	d.Paper("Athalye et al. 2018, arXiv:1802.00420")
	d.Name("%s, BPDA", nameOf(a.Attack))
	d.Refuse(a.Attack == nil, "the Attack to run with other gradients is nil")
	if v := d.Victim(); v != nil {
		d.Check(checkStandIn(a.Through, v, "Through"))
	}
	d.RunsOn(a.Through, a.Attack, 1, "to run with other gradients")
}

// String returns for example "PGD-40 Linf ≤ 0.1, BPDA".
func (a BPDA) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a BPDA) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a BPDA) Plan(v advlib.Victim) (forward, backward float64, known bool) { return craft.Plan(a, v) }

// agreement is how far the logits of Through may be off, relative to the largest: adding and subtracting the stand-in
// rounds.
const agreement = 1e-3

// Perturb implements [advlib.Attack]. It is an error if the logits of Through are not those of the classifier, at the
// originals.
func (a BPDA) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	through := v.On(a.Through)
	want, err := v.Logits(ctx, b.X)
	if err != nil {
		return nil, err
	}
	got, err := through.Logits(ctx, b.X)
	if err != nil {
		return nil, err
	}
	for i := range got {
		largest := 0.
		for _, z := range want[i] {
			largest = max(largest, math.Abs(float64(z)))
		}
		for k := range got[i] {
			if d := math.Abs(float64(got[i][k]) - float64(want[i][k])); d > agreement*largest && !v.Signature().Random {
				return nil, fmt.Errorf("logit %d of example %d is %g by %s and %g by %s: the forward pass of Through must be that of the "+
					"classifier", k, b.Number(i), got[i][k], a.Through.Name(), want[i][k], v.Name())
			}
		}
	}
	return a.Attack.Perturb(ctx, through, b)
}

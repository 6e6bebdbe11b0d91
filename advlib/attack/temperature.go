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

func init() { register[Temperature](Wrapper) }

// Temperature runs an attack on the classifier with its logits divided by T, which changes no prediction. Where large
// logits saturate the softmax, as those of defensive distillation do (Papernot et al. 2016, arXiv:1511.04508), the
// gradient of the cross-entropy is 0 in float32; at the temperature of the training it is back: Carlini & Wagner
// (2016), arXiv:1607.04311, section 3.
type Temperature struct {
	// Attack is what is run.
	Attack advlib.Attack
	// T is what the logits are divided by, above 0. It must be set; for a distilled network it is the temperature of the
	// distillation.
	T float64
}

// Describe implements [craft.Described].
func (a *Temperature) Describe(d *craft.Description) {
	d.Paper("Carlini & Wagner 2016, arXiv:1607.04311")
	d.Name("%s, T = %g", nameOf(a.Attack), a.T)
	d.Refuse(math.IsNaN(a.T) || math.IsInf(a.T, 0) || a.T <= 0, "the temperature T = %g is not a finite number above 0", a.T)
	d.Runs(a.Attack, 1, "to run at another temperature")
}

// String returns for example "PGD-40 Linf ≤ 0.1, T = 100".
func (a Temperature) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a Temperature) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a Temperature) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// nameOf names a wrapped attack, which may be missing.
func nameOf(a advlib.Attack) string {
	if a == nil {
		return "nothing"
	}
	return a.String()
}

type temperatureKey struct{ T float64 }

// Perturb implements [advlib.Attack].
func (a Temperature) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	c, err := advlib.WhiteBox(v)
	if err != nil {
		return nil, err
	}
	cool, err := c.Derive(temperatureKey{a.T}, fmt.Sprintf("%s, logits / %g", c.Name(), a.T), func(m *advlib.Model, x *Node) *Node {
		return DivScalar(m.Logits(x), a.T)
	})
	if err != nil {
		return nil, err
	}
	return a.Attack.Perturb(ctx, v.On(cool), b)
}

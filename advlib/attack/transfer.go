package attack

import (
	"context"
	"fmt"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() { register[Transfer](Wrapper) }

// Transfer runs an attack on another classifier, the surrogate, and offers what comes out to the one that is attacked,
// which is never asked: Papernot et al. (2016), arXiv:1605.07277. Passes are those of the surrogate.
//
// Attacks that stop at the surrogate's boundary transfer badly: take [MIFGSM], or [PGD] with KeepGoing. A model that
// resists transferred examples is not shown to be robust.
type Transfer struct {
	// Attack is what is run.
	Attack advlib.Attack
	// From is the surrogate: of the same inputs, box, domain and number of classes as the classifier that is attacked. It
	// must be set.
	From *advlib.Classifier
	// Asked is how many answers of the victim From was trained with, see [Substitute]: all examples share them, and they
	// are in [advlib.Stats], as Shared.
	Asked int
}

// Describe implements [craft.Described].
func (a *Transfer) Describe(d *craft.Description) {
	d.Paper("Papernot et al. 2016, arXiv:1605.07277")
	from := "nowhere"
	if a.From != nil {
		from = a.From.Name()
	}
	d.Name("%s, transferred from %s", nameOf(a.Attack), from)
	d.Count(&a.Asked, 0).As("trained with %d queries")
	d.Refuse(a.Attack == nil, "the Attack to transfer is nil")
	if v := d.Victim(); v != nil {
		d.Check(checkStandIn(a.From, v, "From"))
	}
	d.RunsOn(a.From, a.Attack, 1, "to transfer")
}

// String returns for example "MI-FGSM-10 Linf ≤ 0.1, transferred from mlp".
func (a Transfer) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a Transfer) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a Transfer) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// checkStandIn refuses classifiers that an attack cannot use in place of v.
func checkStandIn(s *advlib.Classifier, v advlib.Victim, field string) error {
	switch {
	case s == nil:
		return fmt.Errorf("%s is nil: give the classifier to attack in place of %s", field, v.Name())
	case s.Classes() != v.Signature().Classes:
		return fmt.Errorf("%s, %s, has %d classes, the classifier %s has %d", field, s.Name(), s.Classes(), v.Name(), v.Signature().Classes)
	}
	if err := advlib.SameInputs(s, v); err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	return nil
}

// Perturb implements [advlib.Attack].
func (a Transfer) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	v.Book(a.From, int64(a.Asked))
	return a.Attack.Perturb(ctx, v.On(a.From), b)
}

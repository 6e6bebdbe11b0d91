package attack

import (
	"context"
	"fmt"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Transfer runs an attack on another classifier, the surrogate, and offers what comes out to the one that is attacked, which is never
// asked: Papernot et al. (2016), arXiv:1605.07277. Passes are those of the surrogate.
//
// Attacks that stop at the surrogate's boundary transfer badly: take [MIFGSM], or [PGD] with KeepGoing. A model that resists transferred
// examples is not shown to be robust.
type Transfer struct {
	// Attack is what is run.
	Attack advlib.Attack
	// From is the surrogate: of the same inputs, box, domain and number of classes as the classifier that is attacked. It must be set.
	From *advlib.Classifier
}

// String returns for example "MI-FGSM-10 Linf ≤ 0.1, transferred from mlp".
func (a Transfer) String() string {
	from := "nowhere"
	if a.From != nil {
		from = a.From.Name()
	}
	return fmt.Sprintf("%s, transferred from %s", nameOf(a.Attack), from)
}

// Threat implements [advlib.Attack].
func (a Transfer) Threat(v advlib.Victim) (advlib.Threat, error) {
	if a.Attack == nil {
		return advlib.Threat{}, fmt.Errorf("the Attack to transfer is nil")
	}
	if err := checkStandIn(a.From, v, "From"); err != nil {
		return advlib.Threat{}, err
	}
	return a.Attack.Threat(a.From)
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

func (a Transfer) checkGoal(_ advlib.Victim, targeted bool) error {
	return checkGoalOf(a.Attack, a.From, targeted)
}

// Perturb implements [advlib.Attack].
func (a Transfer) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	return a.Attack.Perturb(ctx, v.On(a.From), b)
}

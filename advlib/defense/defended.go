package defense

import (
	"context"
	"fmt"

	"advlab/advlib"
	"advlab/advlib/attack"
	"advlab/advlib/training"
)

// Defended is a model with a defence, and the two attacks between which a defence is judged. What is robust under the
// first alone is not: a defence is worth what is left of it under an attack that knows it (Athalye et al. 2018,
// arXiv:1802.00420; Tramèr et al. 2020, arXiv:2002.08347).
//
// What a [Method] trains is one, and so is what transform.Before puts in front of a model. One of your own needs these
// four methods, and nothing of this package.
type Defended interface {
	// String names the defence, with its parameters.
	String() string
	// Victim is what is attacked: the model with all that the defence puts around it.
	Victim() advlib.Victim
	// Naive is the attack that the defence looks good under: that of who does not know of it, or of its authors.
	Naive(ball advlib.Ball) advlib.Attack
	// Adaptive is the attack of who knows all about the defence: the one that its critics used.
	Adaptive(ball advlib.Ball) advlib.Attack
}

// Method is a way to train a model so that it is harder to fool, with the attacks by which what it trains is judged.
// Of this package [AdversarialTraining], [Free], [Fast], [TRADES], [MART], [ByObjective], for
// [AWP] and objectives of one's own, and [Distillation] are some.
type Method interface {
	// String names the method, with its parameters.
	String() string
	// Fit trains a model, as [training.Model.Fit] does.
	Fit(ctx context.Context, m training.Model, e *advlib.Examples) (*advlib.Classifier, error)
	// Attacks returns the attacks on a classifier that it has trained: see [Defended].
	Attacks(c *advlib.Classifier, ball advlib.Ball) (naive, adaptive advlib.Attack)
}

// Trained is a classifier that a [Method] has trained. It is a [Defended].
type Trained struct {
	Method
	// Classifier is what was trained.
	Classifier *advlib.Classifier
	// Cost is what the training took, of a teacher too; of weights that were kept, what it took when they were made.
	Cost *training.Cost
}

// Train trains a model by a method, or takes what the same training has given before, and returns it with the attacks
// by which it is judged.
func Train(ctx context.Context, by Method, m training.Model, e *advlib.Examples) (*Trained, error) {
	cost := new(training.Cost)
	c, err := by.Fit(training.Account(ctx, cost), m, e)
	if err != nil {
		return nil, err
	}
	return &Trained{Method: by, Classifier: c, Cost: cost}, nil
}

// MustTrain is [Train] for notebooks, examples and tests: it panics on an error.
func MustTrain(ctx context.Context, by Method, m training.Model, e *advlib.Examples) *Trained {
	t, err := Train(ctx, by, m, e)
	if err != nil {
		panic(err)
	}
	return t
}

// TrainingSeconds implements [Costly].
func (t *Trained) TrainingSeconds() float64 { return t.Cost.Seconds }

// Victim implements [Defended].
func (t *Trained) Victim() advlib.Victim { return t.Classifier }

// Naive implements [Defended].
func (t *Trained) Naive(b advlib.Ball) advlib.Attack {
	naive, _ := t.Attacks(t.Classifier, b)
	return naive
}

// Adaptive implements [Defended].
func (t *Trained) Adaptive(b advlib.Ball) advlib.Attack {
	_, adaptive := t.Attacks(t.Classifier, b)
	return adaptive
}

// Natural is no defence: training on the examples as they are, to compare with.
type Natural struct{}

// String returns "no defence".
func (Natural) String() string { return "no defence" }

// Train is Fit, and returns what was measured on the way.
func (Natural) Train(ctx context.Context, m training.Model, e *advlib.Examples) (*training.Trained, error) {
	return m.Train(ctx, e)
}

// Fit implements [Method]: it is the model's own Fit.
func (Natural) Fit(ctx context.Context, m training.Model, e *advlib.Examples) (*advlib.Classifier, error) {
	return m.Fit(ctx, e)
}

// Attacks implements [Method]: a single step of the gradient, and AutoAttack.
func (Natural) Attacks(_ *advlib.Classifier, b advlib.Ball) (naive, adaptive advlib.Attack) {
	return attack.FGM{Ball: b}, attack.AutoAttack{Ball: b}
}

// ByObjective trains by any objective, such as [AWP] or one of your own, and any adversary:
//
//	defense.ByObjective{Objective: defense.AWP{}, Adversary: defense.AdversarialTraining{Ball: ball}}
type ByObjective struct {
	// Objective is what is minimised; nil means the cross-entropy.
	Objective training.Objective
	// Adversary perturbs the batches; nil means the objective's own, or nobody.
	Adversary training.Adversary
}

// String names the objective and the adversary.
func (o ByObjective) String() string {
	switch {
	case o.Objective == nil && o.Adversary == nil:
		return training.CrossEntropy{}.String()
	case o.Objective == nil:
		return fmt.Sprint(o.Adversary)
	case o.Adversary == nil:
		return o.Objective.String()
	}
	return fmt.Sprintf("%v, %v", o.Objective, o.Adversary)
}

// Fit implements [Method]. A model that has an objective or an adversary already is an error. With an adversary, what
// the model leaves open of its training is filled in by [Recipe].
func (o ByObjective) Fit(ctx context.Context, m training.Model, e *advlib.Examples) (*advlib.Classifier, error) {
	return fitted(o.Train(ctx, m, e))
}

// Train is Fit, and returns what was measured on the way.
func (o ByObjective) Train(ctx context.Context, m training.Model, e *advlib.Examples) (*training.Trained, error) {
	if m.Objective != nil || m.Adversary != nil {
		return nil, fmt.Errorf("defense: %v: the model has the objective %v and the adversary %v already: leave them out", o, m.Objective,
			m.Adversary)
	}
	m.Objective, m.Adversary = o.Objective, o.Adversary
	if own, ok := o.Objective.(training.Adversarial); ok && m.Adversary == nil {
		m.Adversary = own.Adversary()
	}
	if m.Adversary == nil {
		return m.Train(ctx, e)
	}
	return hardening{o, "hardened", m.Adversary.Reach(1)}.train(ctx, m, e)
}

// Attacks implements [Method]: PGD on the cross-entropy, and AutoAttack.
func (ByObjective) Attacks(_ *advlib.Classifier, b advlib.Ball) (naive, adaptive advlib.Attack) {
	return authors(b)
}

// authors returns the attack by which papers on adversarial training measure, PGD on the cross-entropy, and AutoAttack,
// under which many of their numbers fell (Croce & Hein 2020, arXiv:2003.01690, table 2).
func authors(b advlib.Ball) (naive, adaptive advlib.Attack) {
	return attack.PGD{Ball: b}, attack.AutoAttack{Ball: b}
}

// Attacks implements [Method]: PGD on the cross-entropy, by which the authors measure, and AutoAttack.
func (AdversarialTraining) Attacks(_ *advlib.Classifier, b advlib.Ball) (naive, adaptive advlib.Attack) {
	return authors(b)
}

// Attacks implements [Method]: PGD on the cross-entropy, by which the authors measure, and AutoAttack.
func (TRADES) Attacks(_ *advlib.Classifier, b advlib.Ball) (naive, adaptive advlib.Attack) {
	return authors(b)
}

// Attacks implements [Method]: PGD on the cross-entropy, by which the authors measure, and AutoAttack.
func (MART) Attacks(_ *advlib.Classifier, b advlib.Ball) (naive, adaptive advlib.Attack) {
	return authors(b)
}

// Attacks implements [Method]: PGD on the cross-entropy, by which the authors measure, and AutoAttack.
func (Free) Attacks(_ *advlib.Classifier, b advlib.Ball) (naive, adaptive advlib.Attack) {
	return authors(b)
}

// Attacks implements [Method]: the single step that it trains with, under which a model looks robust whose training has
// collapsed (Wong et al. 2020, arXiv:2001.03994, section 5.1), and AutoAttack.
func (Fast) Attacks(_ *advlib.Classifier, b advlib.Ball) (naive, adaptive advlib.Attack) {
	return attack.FGM{Ball: b}, attack.AutoAttack{Ball: b}
}

// Attacks implements [Method]: the attack that [Distillation.Naive] is, and the worst of [Distillation.Break].
func (d Distillation) Attacks(c *advlib.Classifier, b advlib.Ball) (naive, adaptive advlib.Attack) {
	return d.Naive(b), attack.WorstOf{Attacks: d.Break(b, c.Classes())}
}

var (
	_ Defended = (*Trained)(nil)
	_          = []Method{Natural{}, AdversarialTraining{}, TRADES{}, MART{}, ByObjective{}, Free{}, Fast{}, Distillation{}}
)

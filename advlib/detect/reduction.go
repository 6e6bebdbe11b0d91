package detect

import (
	"context"
	"fmt"

	"advlab/advlib"
	"advlab/advlib/attack"
)

// Reduction holds a claim for a detector against what it would imply. Tramèr (2022), arXiv:2107.11630, theorem 4: out
// of a classifier with a detector that is robust at the radius ε, with rejection, one can construct a classifier
// without one that is as robust at ε/2, though not one that anybody could run. So a detector that is better at ε than
// the best known classifier is at ε/2 would be a breakthrough in classification, too: most often its attack was too
// weak. It says nothing for a detector that is not better.
type Reduction struct {
	// Ball is where the detector was measured, Robust its robust accuracy with rejection there.
	Ball   advlib.Ball `json:"ball"`
	Robust advlib.Rate `json:"robust"`
	// Best is the robust accuracy at half the radius of the classifier named Classifier, under Attack.
	Classifier string      `json:"classifier"`
	Attack     string      `json:"attack"`
	Best       advlib.Rate `json:"best"`
}

// Reduce measures the best classifier that is known, such as one that defense.AdversarialTraining has hardened at half
// the radius, on the examples that the robust accuracy was measured on. The attack is AutoAttack if at is nil: a weaker
// one makes the classifier look better than it is, and hides what this is there to show.
func Reduce(
	ctx context.Context, settings advlib.Settings, robust advlib.Rate, ball advlib.Ball, best *advlib.Classifier, e *advlib.Examples,
	at func(b advlib.Ball) advlib.Attack,
) (*Reduction, error) {
	switch {
	case best == nil:
		return nil, fmt.Errorf("detect: reduction: the classifier to compare with is nil: give the most robust one that you have at %v",
			half(ball))
	case robust.Of == 0 || robust.Count < 0 || robust.Count > robust.Of:
		return nil, fmt.Errorf("detect: reduction: a robust accuracy of %d out of %d is none", robust.Count, robust.Of)
	}
	if err := ball.Check(); err != nil {
		return nil, fmt.Errorf("detect: reduction: %w", err)
	}
	if at == nil {
		at = func(b advlib.Ball) advlib.Attack { return attack.AutoAttack{Ball: b} }
	}
	r, err := settings.Run(ctx, best, e, at(half(ball)))
	if err != nil {
		return nil, err
	}
	d := &Reduction{Ball: ball, Robust: robust, Classifier: best.Name(), Attack: r.Attack, Best: advlib.Rate{Of: e.Len()}}
	for i := range e.Y {
		if r.Attempted[i] && !r.Success[i] {
			d.Best.Count++
		}
	}
	return d, nil
}

func half(b advlib.Ball) advlib.Ball { return advlib.Ball{Norm: b.Norm, Radius: b.Radius / 2} }

// Implausible tells whether the detector is better than the classifier beyond the 95 % intervals of both.
func (r *Reduction) Implausible() bool {
	lo, _ := r.Robust.Wilson()
	_, hi := r.Best.Wilson()
	return lo > hi
}

// String says what follows.
func (r *Reduction) String() string {
	s := fmt.Sprintf("robust with rejection in %v: %v %s; robust of %s in %v, under %s: %v %s", r.Ball, r.Robust, r.Robust.Interval(),
		r.Classifier, half(r.Ball), r.Attack, r.Best, r.Best.Interval())
	if r.Implausible() {
		return s + "\nSUSPECT THE ATTACK: a detector that good would imply a better classifier at half the radius than this one (by a " +
			"construction that nobody can run, arXiv:2107.11630); it is more likely that a stronger attack breaks the detector"
	}
	return s + "\nnothing follows from this: a detector that is no better than a classifier at half the radius may still be broken by a " +
		"stronger attack"
}

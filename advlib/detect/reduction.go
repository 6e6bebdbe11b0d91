package detect

import (
	"context"
	"fmt"

	"advlab/advlib"
	"advlab/advlib/attack"
)

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
	d := &Reduction{Ball: ball.Named(), Robust: robust, Classifier: best.Name(), Attack: r.Attack, Best: advlib.Rate{Of: e.Len()}}
	for i := range e.Y {
		if r.Attempted[i] && !r.Success[i] {
			d.Best.Count++
		}
	}
	return d, nil
}

func half(b advlib.Ball) advlib.Ball { return advlib.Ball{Norm: b.Norm, Radius: b.Radius / 2} }

// Plausible holds each robust accuracy of a report on a screened classifier, one for each of its balls, against that of
// the best classifier that is known in the ball of half the radius, which best returns, see [Reduce], and adds what
// comes out to the report. The examples are those that were evaluated, and at makes the attack, [attack.AutoAttack] if
// it is nil.
func Plausible(
	ctx context.Context, settings advlib.Settings, r *advlib.Report, best func(half advlib.Ball) (*advlib.Classifier, error),
	e *advlib.Examples, at func(b advlib.Ball) advlib.Attack,
) error {
	if r.Rejection == nil {
		return fmt.Errorf("detect: reduction: the report on %s has no rejections: evaluate what detect.Screen returns", r.Classifier)
	}
	if e = evaluated(e, r); e == nil {
		return fmt.Errorf("detect: reduction: the report on %s is not of these examples: give those that were evaluated", r.Classifier)
	}
	var all []Reduction
	for _, b := range r.Balls() {
		norm, err := normOf(b.Norm)
		if err != nil {
			return err
		}
		ball := norm.Ball(b.Radius)
		c, err := best(half(ball))
		if err != nil {
			return err
		}
		d, err := Reduce(ctx, settings, r.Robust(b), ball, c, e, at)
		if err != nil {
			return err
		}
		all = append(all, *d)
	}
	r.Rejection.Reductions = all
	return nil
}

// evaluated returns those examples that a report is of: some may have been left out. It is nil if they are not of them.
func evaluated(e *advlib.Examples, r *advlib.Report) *advlib.Examples {
	var rows []int
	for i := range e.Y {
		if k := len(rows); k < len(r.Index) && e.Number(i) == r.Index[k] && e.Y[i] == r.Label[k] {
			rows = append(rows, i)
		}
	}
	switch {
	case len(rows) != len(r.Index):
		return nil
	case len(rows) == e.Len():
		return e
	}
	return e.Select(rows)
}

// normOf returns a norm of advlib's by its name.
func normOf(name string) (advlib.Norm, error) {
	for _, n := range []advlib.ConvexNorm{advlib.Linf, advlib.L2, advlib.L1} {
		if n.String() == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("detect: reduction: nothing is known of the norm %s at half a radius: take Linf, L2 or L1", name)
}

package report

import "fmt"

// Reduction holds a claim for a detector against what it would imply. Tramèr (2022), arXiv:2107.11630: out
// of a classifier with a detector that is robust at the radius ε, with rejection, one can construct a classifier
// without one that is as robust at ε/2, though not one that anybody could run. So a detector that is better at ε than
// the best known classifier is at ε/2 would be a breakthrough in classification, too: most often its attack was too
// weak. It says nothing for a detector that is not better.
type Reduction struct {
	// Ball is where the detector was measured, Robust its robust accuracy with rejection there.
	Ball   Ball `json:"ball"`
	Robust Rate `json:"robust"`
	// Best is the robust accuracy at half the radius of the classifier named Classifier, under Attack.
	Classifier string `json:"classifier"`
	Attack     string `json:"attack"`
	Best       Rate   `json:"best"`
}

// reductions are those of the report.
func (r *Report) reductions() []Reduction {
	if r.Rejection == nil {
		return nil
	}
	return r.Rejection.Reductions
}

// same tells whether two are of the same claim, on whatever examples.
func (r Reduction) same(o Reduction) bool {
	return r.Ball == o.Ball && r.Classifier == o.Classifier && r.Attack == o.Attack
}

// Implausible tells whether the detector is better than the classifier beyond the 95 % intervals of both.
func (r Reduction) Implausible() bool {
	lo, _ := r.Robust.Wilson()
	_, hi := r.Best.Wilson()
	return lo > hi
}

// String says what follows, in two lines.
func (r Reduction) String() string {
	half := Ball{r.Ball.Norm, r.Ball.Radius / 2}
	return fmt.Sprintf("robust with rejection in %v: %v %s; robust of %s in %v, under %s: %v %s\n%s", r.Ball, r.Robust, r.Robust.Interval(),
		r.Classifier, half, r.Attack, r.Best, r.Best.Interval(), r.Consequence())
}

// Consequence says what follows.
func (r Reduction) Consequence() string {
	if r.Implausible() {
		return "SUSPECT THE ATTACK: a detector that good would imply a better classifier at half the radius than this one (by a " +
			"construction that nobody can run, arXiv:2107.11630); it is more likely that a stronger attack breaks the detector"
	}
	return "nothing follows from this: a detector that is no better than a classifier at half the radius may still be broken by a " +
		"stronger attack"
}

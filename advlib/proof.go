package advlib

import "context"

// Prover is a [Certifier] that tells more than its verdicts.
type Prover interface {
	Certifier
	// Prove is Certify with how it was decided.
	Prove(ctx context.Context, c *Classifier, e *Examples, ball Ball) (*Proof, error)
}

// Proof is what a [Prover] shows of examples.
type Proof struct {
	// Certified are the verdicts; see [Certifier].
	Certified []bool
	// Margin is, for each example, the smallest lower bound of logit_y − logit_j over classes j other than the label y.
	Margin []Bound
	// Rounding names the arithmetic of the model for which the verdicts hold, such as "float32-any-order".
	Rounding string
	// Distance, of a method that looks for counterexamples too, is for each example how far the nearest that it found is
	// from the example, measured as those of attacks: +Inf where it found none in the ball, 0 where the example is
	// misclassified. It may be left out.
	Distance []Distance
	// Slack is the most that rounding errors took from one of the bounds.
	Slack float64
}

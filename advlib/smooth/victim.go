package smooth

import (
	"context"
	"fmt"
	"sync"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Victim is the smoothed classifier as [advlib.Evaluate] measures it, with certificates of its own in one report:
//
//	g := smooth.Gaussian{Base: clf, Sigma: 0.25, N: 1000}.Victim()
//	report, err := advlib.Settings{Balls: balls}.Evaluate(ctx, g, examples, attacks, g)
//
// All numbers of that report are of the smoothed classifier g; none is of the base classifier, of which there is no
// row. As a victim, g answers PREDICT's label, and rejects where PREDICT abstains: an abstention counts as wrong, and
// is no success of an attack. It has no graph: an attack is one that asks for answers only, each of which takes N
// passes through the base classifier, or attack.Transfer from [Gaussian.Surrogate].
//
// As a certifier it speaks of g alone, in L2, and refuses any other victim, the base classifier too. What it certifies
// is the outcome of CERTIFY at each example, wrong with probability at most α for each, which its name says. Unlike the
// proofs of package certify it holds for g as a function, of which PREDICT's answers are an estimate: so the error that
// refutes a certificate may come by chance, for each example with probability 2α at most. What CERTIFY certifies and
// PREDICT abstains on is not counted as certified, for the report could not count it as right.
type Victim struct {
	how Gaussian

	mu   sync.Mutex
	last *outcomes // of the examples that were certified last: the same serve all balls
}

// outcomes are what is known of examples.
type outcomes struct {
	of        *advlib.Examples
	certified *Certified
	abstains  []bool // PREDICT does, where CERTIFY does not
}

var _ interface {
	advlib.Victim
	advlib.VictimCertifier
} = (*Victim)(nil)

// Victim returns the smoothed classifier as a victim, which certifies itself.
func (s Gaussian) Victim() *Victim { return &Victim{how: s.defaults()} }

// Name returns for example "CNN-16-32 smoothed, σ = 0.25".
func (g *Victim) Name() string { return g.how.String() }

// Signature says that it answers labels. The same input has the same answer each time: its noise is keyed by the input.
func (g *Victim) Signature() advlib.Signature {
	s := g.how
	if s.Base == nil {
		return advlib.Signature{Returns: advlib.Label}
	}
	of := s.Base.Signature()
	of.Returns, of.Random = advlib.Label, false
	of.Notes = append(of.Notes[:len(of.Notes):len(of.Notes)], fmt.Sprintf("smoothed: all numbers are of the smoothed classifier, not of %s; "+
		"each answer and each certificate is wrong with probability at most %g", s.Base.Name(), s.Alpha))
	return of
}

// Query is [Gaussian.Predict] as a victim answers: a label, or a rejection where it abstains.
func (g *Victim) Query(ctx context.Context, x *tensors.Tensor) ([]advlib.Answer, error) {
	votes, err := g.how.Predict(ctx, &advlib.Examples{Name: "a query", X: x, Y: make([]int32, x.Shape().Dimensions[0])})
	answers := make([]advlib.Answer, len(votes))
	for i, v := range votes {
		answers[i] = advlib.Answer{Kind: advlib.Label, Label: v.Class}
		if v.Class == Abstain {
			answers[i] = advlib.Answer{Kind: advlib.Rejected}
		}
	}
	return answers, err
}

// String returns for example "smoothing, α = 0.001".
func (g *Victim) String() string { return fmt.Sprintf("smoothing, α = %g", g.how.Alpha) }

// Certify refuses: a certificate of smoothing says nothing of a classifier that is not smoothed.
func (g *Victim) Certify(context.Context, *advlib.Classifier, *advlib.Examples, advlib.Ball) ([]bool, error) {
	return nil, g.notOf("a classifier")
}

func (g *Victim) notOf(what string) error {
	return fmt.Errorf("smooth: %v certifies its own classifier, %s, and not %s: evaluate what Gaussian.Victim returns", g, g.Name(), what)
}

// CheckVictim refuses other victims than itself, and balls of other norms than L2.
func (g *Victim) CheckVictim(v advlib.Victim, ball advlib.Ball) error {
	if v != advlib.Victim(g) {
		return g.notOf(v.Name())
	}
	if ball.Norm != advlib.L2 {
		return fmt.Errorf("smooth: %v certifies L2 balls, not %v", g, ball)
	}
	return nil
}

// CertifyVictim tells for which examples the label is certified for the ball. Each example is sampled once, whatever
// the number of balls.
func (g *Victim) CertifyVictim(ctx context.Context, v advlib.Victim, e *advlib.Examples, ball advlib.Ball) ([]bool, error) {
	if err := g.CheckVictim(v, ball); err != nil {
		return nil, err
	}
	o, err := g.outcomes(ctx, e)
	if err != nil {
		return nil, err
	}
	certified := make([]bool, e.Len())
	for i, c := range o.certified.Certificates {
		certified[i] = c.Class == e.Y[i] && c.Radius > ball.Radius && !o.abstains[i]
	}
	return certified, nil
}

// outcomes samples examples, unless they are the last ones.
func (g *Victim) outcomes(ctx context.Context, e *advlib.Examples) (*outcomes, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.last != nil && g.last.of == e {
		return g.last, nil
	}
	o := &outcomes{of: e, abstains: make([]bool, e.Len())}
	var err error
	if o.certified, err = g.how.Certify(ctx, e); err != nil {
		return nil, err
	}
	var some []int
	for i, c := range o.certified.Certificates {
		if c.Class != Abstain {
			some = append(some, i)
		}
	}
	if len(some) > 0 {
		on := e.Select(some)
		defer advlib.Free(on.X)
		votes, err := g.how.Predict(ctx, on)
		if err != nil {
			return nil, err
		}
		for k, i := range some {
			o.abstains[i] = votes[k].Class == Abstain
		}
	}
	g.last = o
	return o, nil
}

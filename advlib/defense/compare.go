package defense

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"advlab/advlib"
	"advlab/advlib/report"
)

// Costly is a [Defended] that tells how long its training took.
type Costly interface {
	Defended
	// TrainingSeconds is how long it took, NaN if that is not known.
	TrainingSeconds() float64
}

// Certified is a [Defended] with certificates of its own, such as a smoothed classifier, which other certifiers say
// nothing about.
type Certified interface {
	Defended
	// Certifiers certify its victim, in the given ball.
	Certifiers(ball advlib.Ball) []advlib.Certifier
}

// Compare measures defences on the same examples in the same ball under default settings; see [CompareIn].
func Compare(
	ctx context.Context, e *advlib.Examples, ball advlib.Ball, all []Defended, certifiers ...advlib.Certifier,
) (*report.Comparison, error) {
	return CompareIn(ctx, advlib.Settings{}, e, ball, all, certifiers...)
}

// MustCompare is [Compare] for notebooks, examples and tests: it panics on an error.
func MustCompare(
	ctx context.Context, e *advlib.Examples, ball advlib.Ball, all []Defended, certifiers ...advlib.Certifier,
) *report.Comparison {
	c, err := Compare(ctx, e, ball, all, certifiers...)
	if err != nil {
		panic(err)
	}
	return c
}

// CompareIn measures each defence by its two attacks, each on all examples, and by certifiers: its own, or those that
// are given, on victims that they can speak of. With that goes what the defence costs: the training where it tells, and
// an answer, as the fastest of a few calls.
//
// A random defence is judged by fresh draws, and a certificate that does not apply to a victim, as to a random one, is
// left out. When ctx is done, what was found so far is returned together with ctx.Err().
func CompareIn(
	ctx context.Context, s advlib.Settings, e *advlib.Examples, ball advlib.Ball, all []Defended, certifiers ...advlib.Certifier,
) (*report.Comparison, error) {
	if err := ball.Check(); err != nil {
		return nil, fmt.Errorf("defense: compare: %w", err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("defense: compare: there are no defences: give at least one, Natural among them to compare with")
	}
	for i, d := range all {
		if d == nil {
			return nil, fmt.Errorf("defense: compare: defence %d of %d is nil", i, len(all))
		}
	}
	s.Alone = true
	c := &report.Comparison{Data: e.Name, Ball: ball.Named()}
	for _, d := range all {
		row, err := compared(ctx, s, e, ball, d, certifiers)
		if row.Report != nil {
			c.Rows = append(c.Rows, row)
		}
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, advlib.ErrContradiction) {
				return c, err
			}
			return nil, fmt.Errorf("defense: compare: %v: %w", d, err)
		}
	}
	return c, nil
}

// compared measures one defence.
func compared(
	ctx context.Context, s advlib.Settings, e *advlib.Examples, ball advlib.Ball, d Defended, certifiers []advlib.Certifier,
) (report.ComparisonRow, error) {
	row := report.ComparisonRow{Defence: d.String(), Training: report.Seconds(math.NaN())}
	if t, ok := d.(Costly); ok {
		row.Training = report.Seconds(t.TrainingSeconds())
	}
	v := d.Victim()
	var able []advlib.Certifier
	if own, ok := d.(Certified); ok {
		able = own.Certifiers(ball)
	} else {
		for _, c := range certifiers {
			if speaksOf(c, v, ball) {
				able = append(able, c)
			}
		}
	}
	var err error
	row.Report, err = s.Evaluate(ctx, v, e, []advlib.Attack{d.Naive(ball), d.Adaptive(ball)}, able...)
	if err != nil {
		return row, err
	}
	row.Prediction, err = answerSeconds(ctx, v, e)
	return row, err
}

// speaksOf tells whether a certifier can say anything of a victim, in a ball.
func speaksOf(c advlib.Certifier, v advlib.Victim, ball advlib.Ball) bool {
	if own, ok := c.(advlib.VictimCertifier); ok {
		return own.CheckVictim(v, ball) == nil
	}
	white, err := advlib.WhiteBox(v)
	if err != nil {
		return false
	}
	if checks, ok := c.(interface {
		Check(*advlib.Classifier, advlib.Ball) error
	}); ok {
		return checks.Check(white, ball) == nil
	}
	return true
}

// answerSeconds is how long a victim takes for one of the examples, by the fastest of a few calls with all of them: the
// first compiles, and others may be disturbed.
func answerSeconds(ctx context.Context, v advlib.Victim, e *advlib.Examples) (report.Seconds, error) {
	const calls = 4
	best := math.Inf(1)
	for range calls {
		start := time.Now()
		if _, err := v.Query(ctx, e.X); err != nil {
			return report.Seconds(math.NaN()), err
		}
		best = min(best, time.Since(start).Seconds())
	}
	return report.Seconds(best / float64(e.Len())), nil
}

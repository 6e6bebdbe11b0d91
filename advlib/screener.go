package advlib

import (
	"context"
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/report"
)

// Screener is a [Victim] that rejects inputs for a score, such as detect.Screened: an input is answered if its score is
// at most a threshold. A measurement, other than an attack, may look behind the rejection: [Settings.Evaluate] then
// says what the detector rejects of clean inputs and of what attacks find, and what would be left of the accuracy
// without it.
type Screener interface {
	Victim
	// Screening says by what inputs are rejected.
	Screening() Screening
	// Inspect returns what would be answered to inputs x [n, d...] were none rejected, and their scores. Query says the
	// same of what is accepted.
	Inspect(ctx context.Context, x *tensors.Tensor) ([]Inspection, error)
	// Knows tells whether an attack knows the detector: whether it sees its scores or rejections while it searches. One
	// that searches on a classifier without it does not.
	Knows(a Attack) bool
	// Classifier returns the classifier whose answers those without the detector are: the check of the gradients is of it.
	Classifier() (*Classifier, error)
}

// Screening is what inputs are rejected by.
type Screening struct {
	// Detector is its name.
	Detector string
	// Threshold is the score above which an input is rejected; so is one whose score is not a number.
	Threshold float64
	// Rate is the share of clean inputs, 0..1, that the threshold was set to reject.
	Rate float64
}

// Inspection is what a [Screener] tells of an input.
type Inspection struct {
	// Answer is what would be answered, were nothing rejected.
	Answer Answer
	// Score is high for what looks adversarial.
	Score float64
}

// behind is what was seen of an input by looking behind the rejection.
type behind struct {
	class int32
	score report.Score
}

// screened asks a screener as Query does, and keeps what is behind the answers.
func (v *subject) screened(ctx context.Context, x *tensors.Tensor) ([]Answer, error) {
	seen, err := v.screener.Inspect(ctx, x)
	if n := x.Shape().Dimensions[0]; err == nil && len(seen) != n {
		err = fmt.Errorf("%d answers for %d inputs", len(seen), n)
	}
	threshold := report.Score(v.screener.Screening().Threshold)
	var all []Answer
	for i, s := range seen {
		if bad := s.Answer.check(v.signature); err == nil && bad != nil {
			err = fmt.Errorf("answer %d: %w", i, bad)
		}
		a := s.Answer
		score := report.Score(s.Score)
		if score.Above(threshold) {
			a = Answer{Kind: Rejected}
		}
		a.behind = &behind{s.Answer.Class(), score}
		all = append(all, a)
	}
	if err != nil {
		return nil, fmt.Errorf("inspecting inputs of shape %v by %s: %w", x.Shape().Dimensions, v.victim.Name(), err)
	}
	return all, nil
}

// newRejection is what a report says of a screener, from what was said of the originals; nil of other victims.
func (v *subject) newRejection(said []Answer) *report.Rejection {
	if v.screener == nil {
		return nil
	}
	by := v.screener.Screening()
	r := &report.Rejection{Detector: by.Detector, Threshold: report.Score(by.Threshold), Rate: by.Rate}
	for _, a := range said {
		r.Class, r.Score = append(r.Class, a.behind.class), append(r.Score, a.behind.score)
	}
	return r
}

// screenedRow is what a report says of an attack on a screener before it has run: of each example what the original is.
func (v *subject) screenedRow(a Attack, r *report.Rejection) *report.Screened {
	if r == nil {
		return nil
	}
	return &report.Screened{Adaptive: v.screener.Knows(a), Class: slices.Clone(r.Class), Score: slices.Clone(r.Score)}
}

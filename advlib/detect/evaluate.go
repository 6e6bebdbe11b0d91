package detect

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib"
	"advlab/advlib/attack"
	. "advlab/advlib/internal/equation"
	"advlab/advlib/lab"
)

// What is screened is evaluated as what it is, a classifier that may reject.
var _ advlib.Screener = (*Screened)(nil)

// Screening implements [advlib.Screener].
func (s *Screened) Screening() advlib.Screening {
	return advlib.Screening{Detector: s.String(), Threshold: s.Threshold, Rate: s.Rate}
}

// Inspect implements [advlib.Screener].
func (s *Screened) Inspect(ctx context.Context, x *tensors.Tensor) ([]advlib.Inspection, error) {
	z, scores, err := s.ask(ctx, advlib.Count(s.of), x)
	all := make([]advlib.Inspection, len(scores))
	for i := range all {
		all[i] = advlib.Inspection{Answer: advlib.Answer{Kind: advlib.Logits, Scores: z[i]}, Score: scores[i]}
	}
	return all, err
}

// Data returns what the detector was fitted to.
func (s *Screened) Data() Data { return s.data }

// Knows implements [advlib.Screener]. What is transferred from a classifier, such as that of [Screened.Naive], knows
// nothing of the detector; all others are made for it, or see its rejections in the answers.
func (s *Screened) Knows(a advlib.Attack) bool {
	_, transferred := a.(attack.Transfer)
	return !transferred
}

// Shown is an attack on the classifier alone, whose results are shown to the whole: that of who does not know of the
// detector.
func (s *Screened) Shown(a advlib.Attack) advlib.Attack {
	return attack.Transfer{Attack: a, From: s.of}
}

// Fingerprint returns a text that changes with whatever changes what is answered or rejected, so that package lab can
// keep what is measured. It is empty where the graph cannot be seen.
func (s *Screened) Fingerprint() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trace == "" {
		s.trace = s.traced()
	}
	if s.trace == "" {
		return ""
	}
	return fmt.Sprintf("%s, threshold %v, rate %v, fitted to %s and %s", s.trace, s.Threshold, s.Rate, s.data.Train.Hash(),
		s.data.Clean.Hash())
}

// traced hashes the classifier, and the graph that scores, constants included.
func (s *Screened) traced() string {
	of, err := lab.Classifier(s.of)
	if err != nil {
		return ""
	}
	input := shapes.Make(dtypes.Float32, append([]int{advlib.Bucket(1)}, s.of.Input()...)...)
	text, err := lab.Trace(s.of.Backend(), s.of.Store(), []shapes.Shape{input}, func(_ *model.Scope, in []*graph.Node) []*Node {
		z, score := s.graph(advlib.NewModel(s.of), in[0])
		return []*Node{z, score}
	})
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(of+text)))
}

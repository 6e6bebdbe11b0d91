package advlib

import (
	"fmt"
	"math"
	"slices"
)

// Answer is what a [Victim] says about one input.
type Answer struct {
	// Kind says what the answer holds: [Logits], [Probabilities], [TopClasses] or [Label], as the victim's [Signature]
	// says, or [Rejected].
	Kind Returns
	// Scores are the K logits or probabilities; of TopClasses, the probabilities of the classes in Top.
	Scores []float32
	// Top are the classes that a TopClasses answer tells, the most likely first.
	Top []int32
	// Label is the class of a Label answer.
	Label int32

	behind *behind // of what a [Screener] answers to a measurement
}

// Class returns the class that the victim decides for, the first of equals. It is −1 for a rejection, and where a score
// is not finite.
func (a Answer) Class() int32 {
	switch {
	case a.Kind == Rejected || notFinite(a.Scores) >= 0:
		return -1
	case a.Kind == Label:
		return a.Label
	case a.Kind == TopClasses:
		return a.Top[argmax(a.Scores)]
	}
	return argmax(a.Scores)
}

// confidence returns the probability of the class: the softmax of logits, computed in float64. It is 0 where there is
// no class, and NaN for a label.
func (a Answer) confidence() float64 {
	switch k := a.Class(); {
	case k < 0:
		return 0
	case a.Kind == Label:
		return math.NaN()
	case a.Kind == TopClasses:
		return float64(a.Scores[slices.Index(a.Top, k)])
	case a.Kind == Probabilities:
		return float64(a.Scores[k])
	default:
		var sum float64
		for _, v := range a.Scores {
			sum += math.Exp(float64(v) - float64(a.Scores[k]))
		}
		return 1 / sum
	}
}

// Logits returns what a loss takes for the K logits: the scores of Logits, and log p of probabilities, of at least
// [LeastProbability]. With TopClasses the classes that are not told share what is left of the probability evenly, but
// no more than the least that is told. It is nil where an answer has no scores: a label, or a rejection.
func (a Answer) Logits(classes int) []float32 {
	switch a.Kind {
	case Logits:
		return a.Scores
	case Probabilities:
		return logs(a.Scores)
	case TopClasses:
		p, left := make([]float32, classes), 1.
		for _, v := range a.Scores {
			left -= float64(v)
		}
		if rest := classes - len(a.Top); rest > 0 {
			share := float32(max(0, min(left/float64(rest), float64(slices.Min(a.Scores)))))
			for k := range p {
				p[k] = share
			}
		}
		for i, k := range a.Top {
			p[k] = a.Scores[i]
		}
		return logs(p)
	}
	return nil
}

// logs returns log p, of at least LeastProbability; what is not finite stays so.
func logs(p []float32) []float32 {
	z := make([]float32, len(p))
	for k, v := range p {
		z[k] = float32(math.Log(max(float64(v), LeastProbability)))
	}
	return z
}

// check refuses an answer that a victim with the signature s cannot give.
func (a Answer) check(s Signature) error {
	switch {
	case a.Kind == Rejected:
		return nil
	case a.Kind != s.Returns:
		return fmt.Errorf("it is %v, but the victim's signature says %v", a.Kind, s.Returns)
	case a.Kind == Label:
		if a.Label < 0 || int(a.Label) >= s.Classes {
			return fmt.Errorf("the label %d is not in 0..%d", a.Label, s.Classes-1)
		}
	case a.Kind == TopClasses:
		if len(a.Top) == 0 || len(a.Top) != len(a.Scores) || len(a.Top) > s.Classes {
			return fmt.Errorf("it tells %d classes with %d probabilities, of %d classes", len(a.Top), len(a.Scores), s.Classes)
		}
		for i, k := range a.Top {
			if k < 0 || int(k) >= s.Classes || slices.Contains(a.Top[:i], k) {
				return fmt.Errorf("its classes %v are not some of 0..%d, each once", a.Top, s.Classes-1)
			}
		}
	case len(a.Scores) != s.Classes:
		return fmt.Errorf("it has %d scores for %d classes", len(a.Scores), s.Classes)
	}
	if a.Kind != Logits && a.Kind != Label {
		for _, p := range a.Scores {
			if p < -slackOfP || p > 1+slackOfP {
				return fmt.Errorf("the score %g is no probability: if the victim answers logits, its signature's Returns must say so", p)
			}
		}
	}
	return nil
}

// slackOfP is by how much a probability may miss 0..1, or their sum 1, by rounding.
const slackOfP = 1e-3

// looksLikeProbabilities tells whether all logits that are finite are at least 0 and sum to 1 in each row.
func looksLikeProbabilities(said []Answer) bool {
	rows := 0
	for _, a := range said {
		if a.Kind == Rejected || notFinite(a.Scores) >= 0 {
			continue
		}
		sum := 0.
		for _, z := range a.Scores {
			if z < 0 {
				return false
			}
			sum += float64(z)
		}
		if math.Abs(sum-1) > slackOfP {
			return false
		}
		rows++
	}
	return rows > 0
}

// answers are those of a classifier with logits z.
func answers(z [][]float32) []Answer {
	all := make([]Answer, len(z))
	for i := range z {
		all[i] = Answer{Kind: Logits, Scores: z[i]}
	}
	return all
}

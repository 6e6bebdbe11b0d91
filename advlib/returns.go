package advlib

import (
	"fmt"
	"math"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"advlab/advlib/internal/option"
)

// Returns says what a model returns for each input, where it is not logits. [Spec] has one: logits are made of it
// inside of the classifier.
type Returns int

const (
	// Logits are what goes into a softmax: [n, K] with K ≥ 2.
	Logits Returns = iota
	// Probabilities are p in [0, 1], [n, K] with K ≥ 2, whose logarithms are the logits: their softmax is p. From [n] or
	// [n, 1], that of class 1, they are log(1−p) and log p.
	//
	// In float32 a probability below 1.2e-38, [LeastProbability], is 0, and 1−p is 0 from p = 1 − 6e-8 on. Then the
	// logarithm is that of LeastProbability, −87.3, and its gradient is 0, so that gradient attacks do not see a way.
	// Reports count the examples where this happens. Logits before a softmax or a sigmoid do not have that flaw: use them
	// where there are any.
	Probabilities
	// OneLogit is the logit z of class 1 against class 0: [n] or [n, 1], of which the logits are 0 and z.
	OneLogit
	// TopClasses are the probabilities of the k most likely classes, Label is the class alone, and Rejected is the answer
	// that there is none. Only a [Victim] that has no graph answers so: no Spec has them.
	TopClasses
	Label
	Rejected
)

// LeastProbability is what a probability of [Probabilities] counts as at least: the smallest number that float32 holds
// with all its digits.
const LeastProbability = 1. / (1 << 63) / (1 << 63)

// String returns "logits", "probabilities", "one logit", "top k", "label" or "rejected".
func (r Returns) String() string {
	switch r {
	case Logits:
		return "logits"
	case Probabilities:
		return "probabilities"
	case OneLogit:
		return "one logit"
	case TopClasses:
		return "top k"
	case Label:
		return "label"
	case Rejected:
		return "rejected"
	}
	return fmt.Sprintf("Returns(%d)", int(r))
}

// The names under which a caller sets them.
const (
	probabilitiesName = option.Name("Returns: advlib.Probabilities")
	oneLogitName      = option.Name("Returns: advlib.OneLogit")
)

// note is what reports say of it.
func (r Returns) note() string {
	switch r {
	case Probabilities:
		return fmt.Sprintf("logits: log p of the model's probabilities p, of at least %.3g", LeastProbability)
	case OneLogit:
		return "logits: 0 and z, of the model's one logit z"
	}
	return ""
}

// logits makes logits [n, K] of what a model returns.
func (r Returns) logits(y *Node, n int) *Node {
	if y == nil || r == Logits {
		return y
	}
	if y.Rank() == 1 && y.Shape().Dimensions[0] == n {
		y = Reshape(y, n, 1)
	}
	if y.Rank() != 2 || y.Shape().Dimensions[0] != n {
		panic(fmt.Errorf("it returns %v for %d inputs: %v are of shape [%d] or [%d, K]", y.Shape(), n, r, n, n))
	}
	one := y.Shape().Dimensions[1] == 1
	switch {
	case r == Probabilities && one:
		return Log(atLeast(Concatenate([]*Node{OneMinus(y), y}, 1)))
	case r == Probabilities:
		return Log(atLeast(y))
	case !one:
		panic(fmt.Errorf("it returns %v for %d inputs: %v is of shape [%d] or [%d, 1]", y.Shape(), n, r, n, n))
	}
	return Concatenate([]*Node{ZerosLike(y), y}, 1)
}

// atLeast is max(p, LeastProbability).
func atLeast(p *Node) *Node { return MaxScalar(p, LeastProbability) }

// logFloor is the logarithm of LeastProbability, with room for a backend's rounding.
const logFloor = -87.33

// impossible refuses logarithms z of what cannot be probabilities.
func impossible(z []float32) error {
	sum, floor := 0., false
	for k, v := range z {
		sum, floor = sum+math.Exp(float64(v)), floor || v <= logFloor
		if v > 1e-3 {
			return fmt.Errorf("it is said to return probabilities, but for an input inside of the box output %d is %.4g: if it returns "+
				"logits, leave %v out", k, math.Exp(float64(v)), probabilitiesName)
		}
	}
	if floor && math.Abs(sum-1) > 1e-2 {
		return fmt.Errorf("it is said to return probabilities, but for an input inside of the box some outputs are 0 or below and "+
			"they do not sum to 1: if it returns logits, leave %v out", probabilitiesName)
	}
	return nil
}

// saturation says on how many originals a probability is 0 in float32; "" for none, and where logits are no logarithms.
func (v *subject) saturation(clean []Answer) string {
	n := 0
	for _, a := range clean {
		if slices.ContainsFunc(a.Logits(v.signature.Classes), func(z float32) bool { return z <= logFloor }) {
			n++
		}
	}
	if n == 0 || v.signature.Returns == Label || v.signature.Returns == Logits && (v.white == nil || !v.white.logP) {
		return ""
	}
	return fmt.Sprintf("on %d of %d examples a probability is 0 in float32, and counts as %.3g: its gradient is 0 there, so that "+
		"attacks are weaker than they look, and what is farther from the decision looks as far; evaluate the logits that go into the "+
		"model's softmax or sigmoid if you can", n, len(clean), LeastProbability)
}

// unfold makes the normalisation and what the model returns part of Logits, so that whatever is derived from the
// classifier has them once.
func (s *Spec) unfold() error {
	logits, returns := s.Logits, s.Returns
	if returns < Logits || returns > OneLogit {
		return fmt.Errorf("there is no %v of a classifier: there are advlib.Logits, advlib.Probabilities and advlib.OneLogit", returns)
	}
	if s.Normalisation != nil {
		n, err := s.Normalisation.Fit(s.Input)
		if err != nil {
			return err
		}
		// Graphs of certificates are in float64, and must have the numbers of the model as it runs.
		given, rounded := logits, n.Rounded()
		logits = func(scope *model.Scope, x *Node) *Node { return given(scope, rounded.Apply(x)) }
		s.Notes = append([]string{n.Note()}, s.Notes...)
		if w := n.Warning(s.Box); w != "" {
			s.Warnings = append([]string{w}, s.Warnings...)
		}
	}
	s.Logits = logits
	if returns != Logits {
		s.Logits = func(scope *model.Scope, x *Node) *Node {
			return returns.logits(logits(scope, x), x.Shape().Dimensions[0])
		}
		s.Notes = append(s.Notes[:len(s.Notes):len(s.Notes)], returns.note())
	}
	s.Normalisation, s.Returns = nil, Logits
	return nil
}

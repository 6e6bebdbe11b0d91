package advlib

import (
	"context"
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib/internal/option"
)

// Victim is what is attacked: whatever answers inputs. A [Classifier] is one, whose graph and gradient attacks may look
// into; a Go function, or a model behind a network, answers and shows nothing else: see package oracle.
type Victim interface {
	// Name is shown in reports.
	Name() string
	// Signature says what the victim takes and what it answers.
	Signature() Signature
	// Query answers inputs x [n, d...], one answer for each row. An error comes with the answers of the rows before it.
	Query(ctx context.Context, x *tensors.Tensor) ([]Answer, error)
}

// Signature is what a [Victim] takes and what it answers.
type Signature struct {
	// Input is the shape of one input, without the batch axis.
	Input []int
	// Box is the range of the inputs. With a Domain it may be left out.
	Box Box
	// Domain describes each feature of the inputs, if there is more to say than the Box; see [Spec].
	Domain Domain
	// Classes is K, the number of classes; ClassNames are their names, nil for their numbers.
	Classes    int
	ClassNames []string
	// Returns is the kind of all answers but rejections: [Logits], [Probabilities], [TopClasses] or [Label].
	Returns Returns
	// Random says that the same input may be answered otherwise each time.
	Random bool
	// Queries is how many inputs are answered about each example, as a service would limit it; 0 means any number. The
	// original, and what an attack returns, by which it is measured, are among them: an attack has two less.
	Queries int
	// Notes are sentences on what the victim is, and Warnings on what looks wrong with it. Reports show both.
	Notes, Warnings []string

	space *space // nil until it is resolved
}

// space is what follows from a signature's inputs.
type space struct {
	layout *layout // nil without a Domain
	limits Limits
	base   *Signature // of the inputs that are not encoded; nil if these are they
}

// resolved returns the signature checked, with the defaults of its domain filled in.
func (s Signature) resolved() (Signature, error) {
	if s.space != nil {
		return s, nil
	}
	if len(s.Input) == 0 {
		return s, fmt.Errorf("its Input is empty: give the shape of one input without the batch axis, such as []int{28, 28, 1}")
	}
	for _, d := range s.Input {
		if d <= 0 {
			return s, fmt.Errorf("its input shape %v has a dimension below 1", s.Input)
		}
	}
	s.Box = s.Box.rounded()
	space := &space{}
	if s.Domain != nil {
		l, err := s.Domain.layout(s.Box, s.Input)
		if err != nil {
			return s, err
		}
		s.Domain, s.Box = l.features, l.box
		space.layout, space.limits = l, l.limits()
	}
	if err := s.Box.check(); err != nil {
		return s, err
	}
	if space.layout == nil {
		space.limits = boxLimits(s.Box, s.Input)
	}
	s.space = space
	return s, nil
}

// ClassName returns the name of class k, which is its number if it has none.
func (s Signature) ClassName(k int) string {
	if k >= 0 && k < len(s.ClassNames) {
		return s.ClassNames[k]
	}
	return fmt.Sprint(k)
}

// distance returns how far a flat input y is from x, as a norm measures it: with a domain, by features and in their
// scales.
func (s *space) distance(norm Norm, y, x []float32) float64 {
	if s.layout == nil {
		return norm.Distance(y, x)
	}
	return norm.Length(s.layout.difference(x, y))
}

// Limits returns how far an attack may take each coordinate of an input. Those of a signature that makes no sense are
// refused by [Limits.Check].
func (s Signature) Limits() Limits {
	s, err := s.resolved()
	if err != nil {
		return Limits{raw: err}
	}
	return s.space.limits
}

// base returns the signature whose inputs are not encoded.
func (s Signature) base() Signature {
	if s.space != nil && s.space.base != nil {
		return *s.space.base
	}
	return s
}

// SameInputs returns an error that says how the inputs of two victims differ: in shape, box or domain.
func SameInputs(v, o Victim) error {
	a, err := v.Signature().base().resolved()
	if err != nil {
		return fmt.Errorf("%s: %w", v.Name(), err)
	}
	b, err := o.Signature().base().resolved()
	if err != nil {
		return fmt.Errorf("%s: %w", o.Name(), err)
	}
	switch {
	case !slices.Equal(a.Input, b.Input) || a.Box != b.Box:
		return fmt.Errorf("%s takes inputs %v in %v, %s takes %v in %v: they must be the same", v.Name(), a.Input, a.Box, o.Name(),
			b.Input, b.Box)
	case !slices.Equal(a.Domain, b.Domain):
		return fmt.Errorf("the inputs of %s and of %s are not in the same domain (%v; %v): give both the same", v.Name(), o.Name(),
			a.Domain, b.Domain)
	}
	return nil
}

// WhiteBox returns the classifier that v is, or that v counts: what attacks look into that need a graph or a gradient.
// For a victim that only answers it returns a [NoGraphError].
func WhiteBox(v Victim) (*Classifier, error) {
	switch v := v.(type) {
	case *Classifier:
		if v != nil {
			return v, nil
		}
	case *Counted:
		return WhiteBox(v.victim)
	case nil:
	default:
		return nil, &NoGraphError{v.Name()}
	}
	return nil, fmt.Errorf("the victim is nil")
}

// GivesScores returns a [NoScoresError] for a victim that answers labels only: for attacks that need logits or
// probabilities.
func GivesScores(v Victim) error {
	if r := v.Signature().Returns; r == Label {
		return &NoScoresError{v.Name(), r}
	}
	return nil
}

// NoScoresError says that a victim answers with less than an attack needs: a label, where logits or probabilities are
// needed.
type NoScoresError struct {
	// Victim is its name, and Returns what it answers.
	Victim  string
	Returns Returns
}

// Error says what to use instead.
func (e *NoScoresError) Error() string {
	return fmt.Sprintf("%s answers with a %v only, and so has no scores: %v", e.Victim, e.Returns,
		option.Name("ask it for logits or probabilities, or take attack.Transfer from a classifier of your own"))
}

// NoGraphError says that a victim only answers, where a graph is needed.
type NoGraphError struct {
	// Victim is its name.
	Victim string
}

// Error says what to use instead.
func (e *NoGraphError) Error() string {
	return fmt.Sprintf("%s has no graph, and so no gradient: %v", e.Victim,
		option.Name("take an attack that asks for answers only, attack.Square, or attack.Transfer from a classifier of your own"))
}

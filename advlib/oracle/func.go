package oracle

import (
	"context"
	"fmt"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Func returns a victim that asks f about each input, flat, in the order of the batch. What f returns is what the
// signature says: K logits or probabilities. Nil rejects the input. A function with other answers, such as
// [advlib.TopClasses], or one that may fail, is an [advlib.Victim] of its own, of three methods.
//
// Results on it are not kept by package lab, which cannot see what f does, unless [Fingerprint] says it.
func Func(name string, s advlib.Signature, f func(x []float32) []float32) advlib.Victim {
	return function{name, s, func(x []float32) advlib.Answer {
		scores := f(x)
		if scores == nil {
			return advlib.Answer{Kind: advlib.Rejected}
		}
		return advlib.Answer{Kind: s.Returns, Scores: scores}
	}}
}

// Decide is [Func] for a function that returns the class alone. A class below 0 rejects the input. The signature's
// Returns is [advlib.Label], whatever it says.
func Decide(name string, s advlib.Signature, f func(x []float32) int) advlib.Victim {
	s.Returns = advlib.Label
	return function{name, s, func(x []float32) advlib.Answer {
		class := f(x)
		if class < 0 {
			return advlib.Answer{Kind: advlib.Rejected}
		}
		return advlib.Answer{Kind: advlib.Label, Label: int32(class)}
	}}
}

// function is a victim that is a Go function.
type function struct {
	name      string
	signature advlib.Signature
	answer    func(x []float32) advlib.Answer
}

// Name implements [advlib.Victim].
func (f function) Name() string { return f.name }

// Signature implements [advlib.Victim].
func (f function) Signature() advlib.Signature { return f.signature }

// Query implements [advlib.Victim].
func (f function) Query(ctx context.Context, x *tensors.Tensor) ([]advlib.Answer, error) {
	n := x.Shape().Dimensions[0]
	flat := tensors.MustCopyFlatData[float32](x)
	size := len(flat) / n
	answers := make([]advlib.Answer, 0, n)
	for i := range n {
		if err := ctx.Err(); err != nil {
			return answers, fmt.Errorf("after %d of %d inputs: %w", i, n, err)
		}
		answers = append(answers, f.answer(flat[i*size:(i+1)*size:(i+1)*size]))
	}
	return answers, nil
}

// Fingerprint returns v with a text by which package lab recognises it: by giving it you say that two victims with
// equal texts and signatures answer equally, so that a result that was kept is taken in place of a new one. For a file
// of weights that is its hash, for a service the name and version of its model.
func Fingerprint(v advlib.Victim, text string) advlib.Victim { return printed{v, text} }

type printed struct {
	advlib.Victim
	text string
}

// Fingerprint is what package lab asks for.
func (p printed) Fingerprint() string { return p.text }

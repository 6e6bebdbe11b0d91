package advlib

import (
	"context"
	"fmt"

	"github.com/gomlx/gomlx/core/tensors"
)

// # Random victims
//
// A random victim answers the same input otherwise each time, so that one answer says little: an attack that is judged
// by a single draw breaks by luck what it does not break. Here each original, and whatever an attack returns, is put to
// the victim several times, in draws that the attack has not seen. What counts is the share of the draws, and an
// example is broken where most of them go wrong.

// leastDraws is how often a random victim is asked to judge a point, at least.
const leastDraws = 20

// draws returns how often a victim is asked about an input that is to be judged; 0 for one that is not random.
func (s Settings) draws(v Signature) int {
	switch {
	case !v.Random:
		return 0
	case s.Draws == 0:
		return leastDraws
	}
	return s.Draws
}

// checkDraws refuses less draws than say anything.
func (s Settings) checkDraws() error {
	if s.Draws != 0 && s.Draws < leastDraws {
		return fmt.Errorf("a random victim would be judged by %d draws: give Settings.Draws at least %d, or 0 for %d", s.Draws, leastDraws,
			leastDraws)
	}
	return nil
}

// opinions are what a victim says about some inputs.
type opinions struct {
	// each has the answer for each input; of a random victim it is the first of those draws that have its most frequent
	// class.
	each []Answer
	// draws has what a random victim says each time, about all inputs; nil of others.
	draws [][]Answer
}

// pick returns the opinions about some of the inputs.
func (o opinions) pick(rows []int) opinions {
	p := opinions{each: pick(o.each, rows)}
	for _, d := range o.draws {
		p.draws = append(p.draws, pick(d, rows))
	}
	return p
}

// count returns in how many draws something holds of the answer about input i.
func (o opinions) count(i int, holds func(Answer) bool) int {
	n := 0
	for _, d := range o.draws {
		if holds(d[i]) {
			n++
		}
	}
	return n
}

// opinions asks a victim, a random one so many times.
func (v *subject) opinions(ctx context.Context, x *tensors.Tensor, draws int, ask func() ([]Answer, error)) (opinions, error) {
	if draws == 0 {
		each, err := ask()
		return opinions{each: each}, err
	}
	var o opinions
	for range draws {
		if err := ctx.Err(); err != nil {
			return o, err
		}
		said, err := ask()
		if err != nil {
			return o, err
		}
		o.draws = append(o.draws, said)
	}
	o.each = make([]Answer, x.Shape().Dimensions[0])
	for i := range o.each {
		o.each[i] = o.usual(i)
	}
	return o, nil
}

// usual returns an answer with the most frequent class about input i, of equally frequent ones the first that was met.
func (o opinions) usual(i int) Answer {
	times := map[int32]int{}
	for _, d := range o.draws {
		times[d[i].Class()]++
	}
	best := o.draws[0][i]
	for _, d := range o.draws {
		if times[d[i].Class()] > times[best.Class()] {
			best = d[i]
		}
	}
	return best
}

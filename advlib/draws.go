package advlib

import (
	"context"
	"fmt"
	"slices"

	"github.com/gomlx/gomlx/core/graph"
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

// DrawsByRow tells whether a random classifier draws for each row of a batch anew: whether rows with the same input
// have other logits. Then the mean over draws is that over equal rows; otherwise the model has to be built once for
// each draw. What is drawn partly for the batch and partly for rows counts as drawn for rows.
func (c *Classifier) DrawsByRow() (bool, error) {
	type key struct{}
	c.memoMu.Lock()
	known, ok := c.memo[key{}].(bool)
	c.memoMu.Unlock()
	if ok {
		return known, nil
	}
	rows := Bucket(1)
	one := c.probeInput(2, 1)
	one = one[len(one)/2:] // the first is the middle of the box, which a crop leaves as it is
	x := tensors.FromFlatDataAndDimensions(slices.Repeat(one, rows), append([]int{rows}, c.spec.Input...)...)
	z, err := c.Logits(x)
	if err != nil {
		return false, err
	}
	differ := slices.ContainsFunc(z, func(row []float32) bool { return !slices.Equal(row, z[0]) })
	c.memoMu.Lock()
	defer c.memoMu.Unlock()
	if c.memo == nil {
		c.memo = map[any]any{}
	}
	c.memo[key{}] = differ
	return differ, nil
}

// Mean returns the mean of the logits of x [n, d...] over several draws of a random classifier, or what another
// function makes of all of them, [draws, n, K], if it is not nil: so many forward passes for each row. With byRow, see
// [Classifier.DrawsByRow], the draws are rows of one larger batch.
func (m *Model) Mean(x *graph.Node, draws int, byRow bool, of func(z *graph.Node) *graph.Node) *graph.Node {
	if of == nil {
		of = func(z *graph.Node) *graph.Node { return graph.ReduceMean(z, 0) }
	}
	if !byRow || m.classifier == nil {
		all := make([]*graph.Node, draws)
		for i := range all {
			all[i] = graph.InsertAxes(m.Logits(x), 0)
		}
		return of(graph.Concatenate(all, 0))
	}
	dims := x.Shape().Dimensions
	many := graph.BroadcastToDims(graph.InsertAxes(x, 0), append([]int{draws}, dims...)...)
	z := m.Logits(graph.Reshape(many, append([]int{draws * dims[0]}, dims[1:]...)...))
	m.forward += m.classifier.cost * (draws - 1)
	return of(graph.Reshape(z, draws, dims[0], z.Shape().Dimensions[1]))
}

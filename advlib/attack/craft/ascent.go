package craft

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"reflect"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Ascent is a search in a ball: it makes steps that should raise a loss, and returns the best point it has met, an
// adversarial one if there was any, else the one of highest loss. Rows that are solved leave it.
type Ascent struct {
	// Step is what is special about an attack.
	Step Stepper
	// In are numbers that each step is given as inputs of its graph, such as the radius: another one needs no compiling.
	In []float64
	// Loss is what the best point has most of; it must be set.
	Loss advlib.Loss
	// Steps is how many steps a run makes, Restarts how often rows that still stand are attacked again.
	Steps, Restarts int
	// KeepGoing goes on with solved rows, raising their loss to the last step.
	KeepGoing bool
	// Start moves x, the original of a row, flat, to where a run starts; r is that row's stream of random numbers, another
	// for each restart. Nil starts at the original.
	Start func(r *rand.Rand, x []float32)
}

// Stepper builds the graph of a step. It is compared by == to know what is compiled already, so it is a struct, whose
// fields determine the graph, and nothing else does.
type Stepper interface {
	// Next returns the next points [n, d...], inside ball and limits, from x [n, d...] and its losses L [n]. Rows must not
	// mix. In are the ascent's numbers, scalars.
	Next(p *Point, x, L *Node, in []*Node) *Node
}

// Iterate is where an ascent stands after one step on some of the rows of a batch.
type Iterate struct {
	// Restart counts from 0, Step from 0 too: step 0 is the start, the last step the final point.
	Restart, Step int
	// Rows are the rows of the batch that were still worked on.
	Rows []int
	// Loss is the loss of the current points, one for each of Rows.
	Loss []float32
	// Solved tells whether an adversarial example has been found, now or earlier, one for each of Rows.
	Solved []bool
}

// Perturb returns the best points: what an attack's Perturb returns.
func (a Ascent) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	return a.perturb(ctx, v, b, func(Iterate) bool { return true })
}

// Iterates makes the same steps and yields after each; the caller may stop at any time. When ctx is done, the last pair
// holds ctx.Err().
func (a Ascent) Iterates(ctx context.Context, v *advlib.Counted, b advlib.Batch) iter.Seq2[Iterate, error] {
	return func(yield func(Iterate, error) bool) {
		_, err := a.perturb(ctx, v, b, func(i Iterate) bool { return yield(i, nil) })
		if err != nil && !errors.Is(err, errStopped) {
			yield(Iterate{}, err)
		}
	}
}

// errStopped says that the caller of Iterates wants no more.
var errStopped = errors.New("stopped")

func (a Ascent) perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch, yield func(Iterate) bool) (*tensors.Tensor, error) {
	if !reflect.TypeOf(a.Step).Comparable() {
		return nil, fmt.Errorf("the step %T cannot be compared by ==, as compiled steps are: keep slices, maps, functions and an "+
			"advlib.Goal out of its fields", a.Step)
	}
	key := ascentKey{step: a.Step, loss: a.Loss, keepGoing: a.KeepGoing}
	climb := Compile(v, b, key, key.graph)
	key.last = true
	judge := Compile(v, b, key, key.graph)
	best := NewBest(b)
	best.All = a.KeepGoing
	return Runs(ctx, b, best, a.Restarts, func(at []int, restart int) error {
		s := a.start(b, at, restart, best)
		defer s.Free()
		defer s.save(best)
		for k := range a.Steps {
			if err := s.run(ctx, climb, Iterate{Restart: restart, Step: k}, yield); err != nil {
				return err
			}
			if !a.KeepGoing && s.leave(best) {
				return nil
			}
		}
		return s.run(ctx, judge, Iterate{Restart: restart, Step: a.Steps}, yield)
	})
}

// ascentKey determines the graphs of an ascent.
type ascentKey struct {
	step      Stepper
	loss      advlib.Loss
	keepGoing bool
	last      bool // judge only
}

// graph judges the point x, keeps it if it is the best, and lets the step go on from it. The losses of the rows are
// summed by whoever takes a gradient, so rows do not mix.
func (k ascentKey) graph(p *Point, in []*Node) []*Node {
	best, bestL, solved, x := in[0], in[1], in[2], in[3]
	z := p.Logits(x)
	L := k.loss.Of(z, p.Goal)
	hit := p.Reached(z)

	higher := GreaterThan(L, bestL)
	better := LogicalAnd(LogicalNot(solved), LogicalOr(hit, higher))
	if k.keepGoing {
		first := LogicalAnd(hit, LogicalNot(solved))
		lost := LogicalAnd(solved, LogicalNot(hit))
		better = LogicalOr(first, LogicalAnd(higher, LogicalNot(lost)))
	}
	best = Where(PerRow(better, x), x, best)
	bestL = Where(better, L, bestL)
	solved = LogicalOr(solved, hit)
	if k.last {
		return []*Node{best, bestL, solved, x, L}
	}
	return []*Node{best, bestL, solved, k.step.Next(p, x, L, in[4:]), L}
}

// ascent is one run on some rows. Its state are the best points, their losses, whether they are adversarial, and the
// points where it stands.
type ascent struct {
	*Search
	in []*tensors.Tensor
}

// start puts a run's rows where they begin.
func (a Ascent) start(b advlib.Batch, at []int, restart int, best *Best) *ascent {
	s := &ascent{Search: &Search{Rows: NewRows(b, at)}}
	x := s.Originals()
	if a.Start != nil {
		s.Each(x, func(i int, row []float32) { a.Start(b.Rand(at[i], uint64(restart)), row) })
	}
	s.Push(best.Of(s.Rows), Padded(s.Rows, best.Loss), Padded(s.Rows, best.Solved), x)
	for _, v := range a.In {
		s.in = append(s.in, tensors.FromScalar(float32(v)))
	}
	return s
}

// run runs one of the two steps, and yields what came out.
func (s *ascent) run(ctx context.Context, step *advlib.Step, it Iterate, yield func(Iterate) bool) error {
	more := make([]any, len(s.in))
	for i, v := range s.in {
		more[i] = v
	}
	out, err := s.Run(ctx, step, more...)
	if err != nil {
		return err
	}
	it.Rows = s.At
	it.Loss = tensors.MustCopyFlatData[float32](out[0])[:len(s.At)]
	it.Solved = tensors.MustCopyFlatData[bool](s.State[2])[:len(s.At)]
	advlib.Free(out...)
	if !yield(it) {
		return errStopped
	}
	return nil
}

// leave takes solved rows out of play, and tells whether there are no others.
func (s *ascent) leave(best *Best) bool {
	s.Leave(tensors.MustCopyFlatData[bool](s.State[2])[:len(s.At)], func() { s.save(best) })
	return s.Active == 0
}

// save takes the best points to the host.
func (s *ascent) save(best *Best) {
	best.Put(s.At, s.State[0], nil)
	loss, solved := tensors.MustCopyFlatData[float32](s.State[1]), tensors.MustCopyFlatData[bool](s.State[2])
	for i, row := range s.At {
		best.Loss[row], best.Solved[row] = loss[i], solved[i]
	}
}

// Free releases the memory on the device.
func (s *ascent) Free() {
	s.Search.Free()
	advlib.Free(s.in...)
}

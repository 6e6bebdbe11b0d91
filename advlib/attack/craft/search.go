package craft

import (
	"context"
	"fmt"
	"math"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Search is an attack's work on some rows: state on the device, which every step replaces.
type Search struct {
	*Rows
	// State are tensors with a first axis of Size.
	State []*tensors.Tensor

	runs  int    // since the state was pushed, for messages
	steep []bool // rows that have met slopes that are not finite, padding included; nil if none has
}

// Each lets work attack the rows of a batch, piece by piece. The first tensor of the state, the originals at first, is
// what is returned in the end: when ctx is done, with its error; with another error nothing is.
func Each(ctx context.Context, b advlib.Batch, work func(s *Search) error) (*tensors.Tensor, error) {
	best := NewBest(b)
	return Runs(ctx, b, best, 0, func(at []int, _ int) error {
		s := &Search{Rows: NewRows(b, at)}
		defer s.Free()
		s.Push(s.Originals())
		err := work(s)
		best.Put(at, s.State[0], nil)
		return err
	})
}

// Nearest is [Each] for attacks of minimal norm: the first two tensors of the state are the nearest adversarial
// examples so far, the originals where there is none, and their distances, there +Inf. [Point.Nearer] gives their next
// values.
func Nearest(ctx context.Context, b advlib.Batch, work func(s *Search) error) (*tensors.Tensor, error) {
	return Each(ctx, b, func(s *Search) error {
		s.Push(s.Fill(math.Inf(1)))
		return work(s)
	})
}

// Push adds tensors to the state.
func (s *Search) Push(ts ...*tensors.Tensor) {
	s.State = append(s.State, ts...)
	s.runs = 0
}

// Drop leaves the first n tensors of the state.
func (s *Search) Drop(n int) {
	advlib.Free(s.State[n:]...)
	s.State = s.State[:n:n]
}

// Run runs a step on the state, and more. Its first results are the new state; the others are returned. It is an error
// when ctx is done.
func (s *Search) Run(ctx context.Context, step *advlib.Step, more ...any) ([]*tensors.Tensor, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	in := make([]any, 0, len(s.State)+len(more))
	for _, t := range s.State {
		in = append(in, t)
	}
	out, steep, err := step.RunSteep(s.Active, s.inputs(append(in, more...))...)
	if err != nil {
		return nil, fmt.Errorf("step %d on %d examples: %w", s.runs, len(s.At), err)
	}
	s.runs++
	if steep != nil && s.steep == nil {
		s.steep = make([]bool, s.Size)
	}
	for i, n := range steep {
		s.steep[i] = s.steep[i] || n > 0
	}
	n := len(s.State)
	advlib.Free(s.State...)
	s.State = out[:n:n]
	return out[n:], nil
}

// Leave takes rows out of play that are done: passes no longer count for them, and once the others fit into a smaller
// bucket they go on in that one. Then it returns which rows these are, by their place until now; else nil. Before is
// called before rows leave, to save what was found for them; nil is nothing to save.
func (s *Search) Leave(done []bool, before func()) (kept []int) {
	var keep, at []int
	for i, row := range s.At {
		if !done[i] {
			keep, at = append(keep, i), append(at, row)
		}
	}
	s.Active = len(keep)
	if s.Active == 0 || advlib.Bucket(s.Active) == s.Size {
		return nil
	}
	if before != nil {
		before()
	}
	rows := NewRows(s.Batch, at)
	for k, t := range s.State {
		s.State[k] = advlib.TakeRows(t, keep, rows.Size)
		advlib.Free(t)
	}
	if s.steep != nil {
		steep := make([]bool, rows.Size)
		for i, k := range keep {
			steep[i] = s.steep[k]
		}
		s.steep = steep
	}
	s.Rows.Free()
	s.Rows = rows
	return keep
}

// Free releases the memory on the device, the state's too.
func (s *Search) Free() {
	s.Rows.Free()
	s.Drop(0)
}

// Cosine is the schedule of Loshchilov & Hutter (2017), arXiv:1608.03983, equation 5, without restarts: from first at k
// = 0 to last at k = n.
func Cosine(first, last float64, k, n int) float64 {
	return last + (first-last)*(1+math.Cos(math.Pi*float64(k)/float64(n)))/2
}

package attack

import (
	"context"
	"math"

	. "advlab/advlib/internal/equation"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// iteration is an attack's work on some rows of a batch: state on the device, which every step replaces. The first two tensors are
// the nearest adversarial examples so far, the originals where there is none, and their distances, there +Inf.
type iteration struct {
	*group
	state []*tensors.Tensor
	steep []bool // rows that have met slopes that are not finite, padding included; nil if none has
}

// eachPiece lets work look for the nearest adversarial examples of each piece of a batch. When ctx is done it returns what there is.
func eachPiece(ctx context.Context, b advlib.Batch, work func(s *iteration) error) (*tensors.Tensor, error) {
	adv := newCandidates(b)
	for _, rows := range pieces(b) {
		s := &iteration{group: newGroup(b, rows)}
		s.push(advlib.TakeRows(b.X, rows, s.size), s.fill(float32(math.Inf(1))))
		err := work(s)
		adv.put(rows, s.state[0], nil)
		s.drop(0)
		s.free()
		if err != nil {
			if ctx.Err() == nil {
				return nil, err
			}
			return adv.tensor(), err
		}
	}
	return adv.tensor(), nil
}

// push adds tensors to the state.
func (s *iteration) push(ts ...*tensors.Tensor) { s.state = append(s.state, ts...) }

// drop leaves the first n tensors of the state.
func (s *iteration) drop(n int) {
	advlib.Free(s.state[n:]...)
	s.state = s.state[:n:n]
}

// restart forgets the best examples, and all other state, and returns them.
func (s *iteration) restart() *candidates {
	best := &candidates{flat: tensors.MustCopyFlatData[float32](s.state[0]), dims: s.x.Shape().Dimensions}
	s.drop(0)
	s.push(tensors.FromFlatDataAndDimensions(tensors.MustCopyFlatData[float32](s.x), s.x.Shape().Dimensions...), s.fill(float32(math.Inf(1))))
	return best
}

// merge takes those of the earlier best examples that are nearer than the present ones, or for which there is none.
func (s *iteration) merge(earlier *candidates, norm advlib.Norm) {
	now := &candidates{flat: tensors.MustCopyFlatData[float32](s.state[0]), dims: earlier.dims}
	origin := &candidates{flat: tensors.MustCopyFlatData[float32](s.x), dims: earlier.dims}
	for i := range s.size {
		before, after := norm.Distance(earlier.row(i), origin.row(i)), norm.Distance(now.row(i), origin.row(i))
		if before > 0 && (after == 0 || before < after) { // at distance 0 nothing was found
			copy(now.row(i), earlier.row(i))
		}
	}
	s.drop(0)
	s.push(now.tensor())
}

// zeros returns zeros in the shape of the inputs.
func (s *iteration) zeros() *tensors.Tensor { return tensors.FromShape(s.x.Shape()) }

// fill returns one number for each row.
func (s *iteration) fill(v float32) *tensors.Tensor {
	flat := make([]float32, s.size)
	for i := range flat {
		flat[i] = v
	}
	return tensors.FromFlatDataAndDimensions(flat, s.size)
}

// run runs a step on the inputs of the group, the state, and more. The first results are the new state; it returns the others.
func (s *iteration) run(step *advlib.Step, more ...any) ([]*tensors.Tensor, error) {
	in := s.inputs()
	for _, t := range s.state {
		in = append(in, t)
	}
	out, steep, err := step.RunSteep(len(s.rows), append(in, more...)...)
	if err != nil {
		return nil, err
	}
	if steep != nil && s.steep == nil {
		s.steep = make([]bool, s.size)
	}
	for i, n := range steep {
		s.steep[i] = s.steep[i] || n > 0
	}
	n := len(s.state)
	advlib.Free(s.state...)
	s.state = out[:n:n]
	return out[n:], nil
}

// nearer replaces the best examples so far by those x that are adversarial and nearer to x₀, all [n, d...]; reached [n] tells which
// are adversarial. It returns the distances of x too.
func nearer(norm advlib.Norm, x, x0, reached, best, bestD *Node) (best2, bestD2, D *Node) {
	D = norm.Of(Sub(x, x0))
	closer := LogicalAnd(reached, LessThan(D, bestD))
	return Where(perRow(closer, x), x, best), Where(closer, D, bestD), D
}

// unit returns each row of g divided by its L2 norm; rows of zeros stay zero.
func unit(g *Node) *Node { return advlib.L2.Ascend(g) }

// cosine is the schedule of Loshchilov & Hutter (2017), arXiv:1608.03983, equation 5, without restarts: from first at k = 0 to
// last at k = n.
func cosine(first, last float64, k, n int) float64 {
	return last + (first-last)*(1+math.Cos(math.Pi*float64(k)/float64(n)))/2
}

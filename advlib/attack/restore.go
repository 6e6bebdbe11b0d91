package attack

import (
	"context"
	"fmt"
	"slices"

	. "advlab/advlib/internal/equation"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// restoreStep determines the graph of one coordinate's restoration.
type restoreStep struct{ wish wish }

// graph gives the smallest change that has not been tried its original value, and keeps that if the example remains adversarial, as it
// is or with its other changes taken to the end of the box, which costs nothing in L0. It also returns how many changes of each row
// are left to try.
func (s restoreStep) graph(m *advlib.Model, limits advlib.Limits, in []*Node) []*Node {
	x0, aim, rest := s.wish.read(in)
	best, tried := rest[0], rest[1]
	δ := Sub(best, x0)
	zero := ZerosLike(δ)
	open := LogicalAnd(NotEqual(δ, zero), LogicalNot(tried))
	size := flat(Where(open, Abs(δ), Infinity(δ.Graph(), δ.DType(), 1)))
	at := ArgMin(size, 1)
	n, d := size.Shape().Dimensions[0], size.Shape().Dimensions[1]
	chosen := Equal(Iota(x0.Graph(), shapes.Make(at.DType(), n, d), 1), BroadcastToDims(Reshape(at, n, 1), n, d))
	chosen = LogicalAnd(Reshape(chosen, x0.Shape().Dimensions...), open)

	adversarial := func(x *Node) *Node {
		reached := clearance(m.Logits(x), aim)
		return perRow(GreaterThan(reached, ZerosLike(reached)), x)
	}
	x := Where(chosen, x0, best)
	lo, hi := limits.Ends(x0)
	end := Where(GreaterThan(δ, zero), hi, Where(LessThan(δ, zero), lo, x0))
	far := Where(chosen, x0, end)
	asIs, atEnd := adversarial(x), adversarial(far)
	next := Where(asIs, x, Where(atEnd, far, best))
	// With its changes at the end, what could not be restored before may be.
	tried = LogicalAnd(LogicalOr(tried, chosen), LogicalOr(asIs, LogicalNot(atEnd)))
	left := sumRows(ConvertDType(LogicalAnd(NotEqual(next, x0), LogicalNot(tried)), δ.DType()))
	return []*Node{next, tried, left}
}

// restore gives changed coordinates back their original values, the smallest change first, each kept if the example remains
// adversarial: in L0 what bisecting the segment is in the other norms. Each is tried at most twice on average.
func restore(ctx context.Context, v *advlib.Counted, b advlib.Batch, s *iteration) error {
	limits, key := v.Signature().Limits(), restoreStep{wishOf(b)}
	step := v.Compile(key, func(m *advlib.Model, in []*Node) []*Node { return key.graph(m, limits, in) })
	s.drop(1)
	s.push(tensors.FromFlatDataAndDimensions(make([]bool, s.x.Shape().Size()), s.x.Shape().Dimensions...))
	for k := range 2 * s.x.Shape().Size() / s.size {
		if err := ctx.Err(); err != nil {
			return err
		}
		out, err := s.run(step)
		if err != nil {
			return fmt.Errorf("restoring coordinate %d of %d examples: %w", k, len(s.rows), err)
		}
		left := tensors.MustCopyFlatData[float32](out[0])[:len(s.rows)]
		advlib.Free(out...)
		if slices.Max(left) == 0 {
			break
		}
	}
	return nil
}

// flat returns x [n, d...] as [n, Πd].
func flat(x *Node) *Node { return Reshape(x, x.Shape().Dimensions[0], -1) }

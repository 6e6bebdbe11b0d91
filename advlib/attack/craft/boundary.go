package craft

import (
	"context"
	"fmt"
	"slices"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// halvings is how often the segment between the original and the best example is halved: to 6·10⁻⁵ of its length.
const halvings = 14

// segmentStep determines the graph of one halving.
type segmentStep struct{}

// graph judges x₀ + s·(end − x₀) with s in the middle of what is left of [0, 1], and keeps it if it is adversarial.
func (segmentStep) graph(p *Point, in []*Node) []*Node {
	best, low, high, end := in[0], in[1], in[2], in[3]
	mid := MulScalar(Add(low, high), 0.5)
	x := p.Clip(Add(p.X0, Mul(PerRow(mid, p.X0), Sub(end, p.X0))))
	hit := p.Reached(p.Logits(x))
	return []*Node{Where(PerRow(hit, x), x, best), Where(hit, low, mid), Where(hit, mid, high)}
}

// Bisect searches between each original and its best example for the boundary of the two, which makes the best example
// nearer in every norm but L0 whenever an attack has left it beyond the boundary. Originals for which nothing was found
// are left alone. It is the last thing that an attack of [Nearest] does: it leaves nothing of the state but the best
// examples.
func (s *Search) Bisect(ctx context.Context, v *advlib.Counted) error {
	step := Compile(v, s.Batch, segmentStep{}, segmentStep{}.graph)
	s.Drop(1)
	all := make([]int, s.Size)
	for i := range all {
		all[i] = i
	}
	end := advlib.TakeRows(s.State[0], all, s.Size)
	defer advlib.Free(end)
	s.Push(s.Fill(0), s.Fill(1))
	for range halvings {
		if _, err := s.Run(ctx, step, end); err != nil {
			return fmt.Errorf("searching along the segment: %w", err)
		}
	}
	return nil
}

// restoreStep determines the graph of one coordinate's restoration.
type restoreStep struct{}

// graph gives the smallest change that has not been tried its original value, and keeps that if the example remains
// adversarial, as it is or with its other changes taken to the end of the box, which costs nothing in L0. It also
// returns how many changes of each row are left to try.
func (restoreStep) graph(p *Point, in []*Node) []*Node {
	best, tried := in[0], in[1]
	δ := Sub(best, p.X0)
	zero := ZerosLike(δ)
	open := LogicalAnd(NotEqual(δ, zero), LogicalNot(tried))
	size := Flat(Where(open, Abs(δ), Infinity(δ.Graph(), δ.DType(), 1)))
	at := ArgMin(size, 1)
	n, d := size.Shape().Dimensions[0], size.Shape().Dimensions[1]
	chosen := Equal(Iota(δ.Graph(), shapes.Make(at.DType(), n, d), 1), BroadcastToDims(Reshape(at, n, 1), n, d))
	chosen = LogicalAnd(Reshape(chosen, δ.Shape().Dimensions...), open)

	adversarial := func(x *Node) *Node { return PerRow(p.Reached(p.Logits(x)), x) }
	x := Where(chosen, p.X0, best)
	lo, hi := p.Limits.Ends(p.X0)
	end := Where(GreaterThan(δ, zero), hi, Where(LessThan(δ, zero), lo, p.X0))
	far := Where(chosen, p.X0, end)
	asIs, atEnd := adversarial(x), adversarial(far)
	next := Where(asIs, x, Where(atEnd, far, best))
	// With its changes at the end, what could not be restored before may be.
	tried = LogicalAnd(LogicalOr(tried, chosen), LogicalOr(asIs, LogicalNot(atEnd)))
	left := SumRows(ConvertDType(LogicalAnd(NotEqual(next, p.X0), LogicalNot(tried)), δ.DType()))
	return []*Node{next, tried, left}
}

// Restore gives changed coordinates back their original values, the smallest change first, each kept if the example
// remains adversarial: in L0 what [Search.Bisect] is in the other norms. Each is tried at most twice on average.
func (s *Search) Restore(ctx context.Context, v *advlib.Counted) error {
	step := Compile(v, s.Batch, restoreStep{}, restoreStep{}.graph)
	s.Drop(1)
	s.Push(tensors.FromFlatDataAndDimensions(make([]bool, s.X0.Shape().Size()), s.X0.Shape().Dimensions...))
	for range 2 * s.X0.Shape().Size() / s.Size {
		out, err := s.Run(ctx, step)
		if err != nil {
			return fmt.Errorf("restoring coordinates: %w", err)
		}
		left := tensors.MustCopyFlatData[float32](out[0])[:len(s.At)]
		advlib.Free(out...)
		if slices.Max(left) == 0 {
			break
		}
	}
	return nil
}

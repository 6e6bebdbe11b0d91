package attack

import (
	"context"
	"fmt"

	. "advlab/advlib/internal/equation"

	"advlab/advlib"
)

// segmentHalvings is how often the segment between the original and the best example is halved: to 6·10⁻⁵ of its length.
const segmentHalvings = 14

// segmentStep determines the graph of one halving.
type segmentStep struct{ wish wish }

// graph judges x₀ + s·(end − x₀) with s in the middle of what is left of [0, 1], and keeps it if it is adversarial.
func (s segmentStep) graph(m *advlib.Model, limits advlib.Limits, in []*Node) []*Node {
	x0, aim, rest := s.wish.read(in)
	best, low, high, end := rest[0], rest[1], rest[2], rest[3]
	mid := MulScalar(Add(low, high), 0.5)
	x := limits.Clip(Add(x0, Mul(perRow(mid, x0), Sub(end, x0))), x0)
	hit := GreaterThan(clearance(m.Logits(x), aim), ZerosLike(mid))
	return []*Node{Where(perRow(hit, x), x, best), Where(hit, low, mid), Where(hit, mid, high)}
}

// searchSegment bisects between each original and its best example for the boundary of the two, which makes the best example nearer in
// every norm but L0 whenever the attack has left it beyond the boundary. Originals for which nothing was found are left alone.
func searchSegment(ctx context.Context, v *advlib.Counted, b advlib.Batch, s *iteration) error {
	limits, key := v.Signature().Limits(), segmentStep{wishOf(b)}
	step := v.Compile(key, func(m *advlib.Model, in []*Node) []*Node { return key.graph(m, limits, in) })
	s.drop(1)
	all := make([]int, s.size)
	for i := range all {
		all[i] = i
	}
	end := advlib.TakeRows(s.state[0], all, s.size)
	defer advlib.Free(end)
	s.push(s.fill(0), s.fill(1))
	for k := range segmentHalvings {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := s.run(step, end); err != nil {
			return fmt.Errorf("halving %d of the segment to %d examples: %w", k, len(s.rows), err)
		}
	}
	return nil
}

package attack

import (
	"context"
	"fmt"
	"math"

	. "advlab/advlib/internal/equation"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Settling: in a norm whose ball has corners, and where slopes are infinite and fall fast, the steps of an attack of minimal norm end
// beside the nearest example. On z = W·x^(1/2.2) with half of x zeros, FMN's distances in L1 were 1.73 times the nearest at the 90th
// percentile.
const (
	settleSteps = 200
	settleγ     = 0.05 // by which the radius changes in the first step, as in FMN; it falls to fmnLastγ
	settleStep  = 0.2  // the first step, as a share of the radius; it falls to fmnLastα of that
	settleAhead = 2    // how far it looks ahead at most, as a share of the way gone
)

// settleKey determines the graph of a step.
type settleKey struct {
	wish wish
	norm advlib.ConvexNorm
}

// settle brings the best examples of rows that have met slopes that are not finite nearer: by steps like FMN's, from the best example on,
// which are shares of its distance, and on gradients ahead of the iterate (see [advlib.Model.Ahead]) that are less and less far ahead.
// All other rows keep what they have, bit for bit.
func settle(ctx context.Context, v *advlib.Counted, b advlib.Batch, s *iteration, norm advlib.ConvexNorm) error {
	if s.steep == nil {
		return nil
	}
	s.drop(2)
	s.push(s.changes(), tensors.FromFlatDataAndDimensions(tensors.MustCopyFlatData[float32](s.state[1]), s.size))
	steep := tensors.FromFlatDataAndDimensions(s.steep, s.size)
	defer advlib.Free(steep)
	limits, key := v.Signature().Limits(), settleKey{wishOf(b), norm}
	step := v.Compile(key, func(m *advlib.Model, in []*Node) []*Node { return key.graph(m, limits, in) })
	for k := range settleSteps {
		if err := ctx.Err(); err != nil {
			return err
		}
		share := cosine(settleStep, settleStep*fmnLastα, k, settleSteps)
		γ := cosine(settleγ, fmnLastγ, k, settleSteps)
		if _, err := s.run(step, steep, float32(share), float32(γ), float32(lookAhead(k))); err != nil {
			return fmt.Errorf("settling, step %d on %d examples: %w", k, len(s.rows), err)
		}
	}
	return nil
}

// lookAhead is how far step k looks ahead: anywhere up to the most, which falls as the iterate settles. The multiples of the golden ratio
// spread evenly, and draw nothing at random.
func lookAhead(k int) float64 {
	_, anywhere := math.Modf(float64(k) * (math.Sqrt(5) - 1) / 2)
	return settleAhead * anywhere * math.Pow(1-float64(k)/settleSteps, 8)
}

// changes returns the differences between the best examples and the originals.
func (s *iteration) changes() *tensors.Tensor {
	best, x0 := tensors.MustCopyFlatData[float32](s.state[0]), tensors.MustCopyFlatData[float32](s.x)
	for i := range best {
		best[i] -= x0[i]
	}
	return tensors.FromFlatDataAndDimensions(best, s.x.Shape().Dimensions...)
}

// graph is one step, with L the margin and r the largest ‖δ‖₂ of the ball of radius ε:
//
//	ε ← min(ε·(1 − γ), ‖δ*‖) if L > 0, else ε·(1 + γ)
//	δ ← Π(δ + share·r·g/‖g‖₂),  g is ∇L ahead of x₀ + δ, Π projects on ‖·‖ ≤ ε and the box
func (s settleKey) graph(m *advlib.Model, limits advlib.Limits, in []*Node) []*Node {
	x0, aim, rest := s.wish.read(in)
	best, bestD, δ, ε, steep, share, γ, ahead := rest[0], rest[1], rest[2], rest[3], rest[4], rest[5], rest[6], rest[7]

	x := limits.Clip(Add(x0, δ), x0)
	z := m.Logits(x)
	L := advlib.Margin.Of(z, aim)
	hit := LogicalAnd(steep, GreaterThan(clearance(z, aim), ZerosLike(L)))
	best, bestD, _ = nearer(s.norm, x, x0, hit, best, bestD)
	ε = Where(hit, Min(Mul(ε, OneMinus(γ)), bestD), Mul(ε, OnePlus(γ)))
	ε = MinScalar(ε, limits.Diameter(s.norm)) // from +Inf where nothing was found

	g := m.Ahead(L, x, x0, m.Ascent(L, x), ahead)
	r := ε
	if s.norm == advlib.Linf {
		r = MulScalar(ε, math.Sqrt(float64(x.Shape().Size()/x.Shape().Dimensions[0])))
	}
	lo, hi := limits.Room(x0, x0)
	δ = s.norm.Project(Add(Sub(x, x0), Mul(perRow(Mul(r, share), x), unit(g))), ε, lo, hi)
	return []*Node{best, bestD, δ, ε}
}

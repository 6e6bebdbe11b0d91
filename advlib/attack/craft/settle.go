package craft

import (
	"context"
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// Constants of settling, with names of FMN, whose steps these are like.
const (
	settleSteps = 200
	settleγ     = 0.05  // by which the radius changes in the first step
	settleLastγ = 0.001 // in the last
	settleStep  = 0.2   // the first step, as a share of the radius
	settleLast  = 0.01  // the last, as a share of the first
	settleAhead = 2     // how far it looks ahead at most, as a share of the way gone
)

// settleKey determines the graph of a step.
type settleKey struct{ norm advlib.ConvexNorm }

// Settle brings the best examples of rows that have met slopes that are not finite nearer. In a norm whose ball has
// corners, and where slopes are infinite and fall fast, the steps of an attack of minimal norm end beside the nearest
// example: on z = W·x^(1/2.2) with half of x zeros, FMN's distances in L1 were 1.73 times the nearest at the 90th
// percentile. It makes steps like FMN's, from the best example on, which are shares of its distance, and on gradients
// ahead of the iterate (see [advlib.Model.Ahead]) that are less and less far ahead. All other rows keep what they have,
// bit for bit. Nothing but the best examples and their distances is left of the state.
func (s *Search) Settle(ctx context.Context, v *advlib.Counted, norm advlib.ConvexNorm) error {
	if s.steep == nil {
		return nil
	}
	s.Drop(2)
	s.Push(s.changes(), tensors.FromFlatDataAndDimensions(tensors.MustCopyFlatData[float32](s.State[1]), s.Size))
	steep := tensors.FromFlatDataAndDimensions(s.steep, s.Size)
	defer advlib.Free(steep)
	step := Compile(v, s.Batch, settleKey{norm}, settleKey{norm}.graph)
	for k := range settleSteps {
		share := Cosine(settleStep, settleStep*settleLast, k, settleSteps)
		γ := Cosine(settleγ, settleLastγ, k, settleSteps)
		if _, err := s.Run(ctx, step, steep, float32(share), float32(γ), float32(lookAhead(k))); err != nil {
			return fmt.Errorf("settling: %w", err)
		}
	}
	return nil
}

// lookAhead is how far step k looks ahead: anywhere up to the most, which falls as the iterate settles. The multiples
// of the golden ratio spread evenly, and draw nothing at random.
func lookAhead(k int) float64 {
	_, anywhere := math.Modf(float64(k) * (math.Sqrt(5) - 1) / 2)
	return settleAhead * anywhere * math.Pow(1-float64(k)/settleSteps, 8)
}

// changes returns the differences between the best examples and the originals.
func (s *Search) changes() *tensors.Tensor {
	best, x0 := tensors.MustCopyFlatData[float32](s.State[0]), tensors.MustCopyFlatData[float32](s.X0)
	for i := range best {
		best[i] -= x0[i]
	}
	return tensors.FromFlatDataAndDimensions(best, s.X0.Shape().Dimensions...)
}

// graph is one step, with L the margin and r the largest ‖δ‖₂ of the ball of radius ε:
//
//	ε ← min(ε·(1 − γ), ‖δ*‖) if L > 0, else ε·(1 + γ)
//	δ ← Π(δ + share·r·g/‖g‖₂),  g is ∇L ahead of x₀ + δ, Π projects on ‖·‖ ≤ ε and the box
func (s settleKey) graph(p *Point, in []*Node) []*Node {
	best, bestD, δ, ε, steep, share, γ, ahead := in[0], in[1], in[2], in[3], in[4], in[5], in[6], in[7]

	x := p.Clip(Add(p.X0, δ))
	z := p.Logits(x)
	L := advlib.Margin.Of(z, p.Goal)
	hit := LogicalAnd(steep, p.Reached(z))
	best, bestD, _ = p.Nearer(s.norm, x, hit, best, bestD)
	ε = Where(hit, Min(Mul(ε, OneMinus(γ)), bestD), Mul(ε, OnePlus(γ)))
	ε = MinScalar(ε, p.Limits.Diameter(s.norm)) // from +Inf where nothing was found

	g := p.Ahead(L, x, p.X0, p.Ascent(L, x), ahead)
	r := ε
	if s.norm == advlib.Linf {
		r = MulScalar(ε, math.Sqrt(float64(x.Shape().Size()/x.Shape().Dimensions[0])))
	}
	lo, hi := p.Room()
	δ = s.norm.Project(Add(Sub(x, p.X0), Mul(PerRow(Mul(r, share), x), advlib.L2.Ascend(g))), ε, lo, hi)
	return []*Node{best, bestD, δ, ε}
}

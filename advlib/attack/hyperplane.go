package attack

import (
	"fmt"

	. "advlab/advlib/internal/equation"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

// hyperplaneHalvings brackets a multiplier to the resolution of float32.
const hyperplaneHalvings = 30

// toHyperplane returns, for each row, the shortest δ in the norm (L1, L2 or Linf) with f + ⟨w, δ⟩ = 0 and lo ≤ δ ≤ hi:
// Croce & Hein (2020), arXiv:1907.02044, section 3.1 and appendix A. Where the box does not reach the hyperplane it is
// the corner nearest to it. f is [n]; w, lo and hi are [n, d...], lo ≤ 0 ≤ hi.
//
// With v = −sign(f)·w and gap = |f|, the optimality conditions give
//
//	L2    δ = clip(λ·v),       λ ≥ 0 such that ⟨v, δ⟩ = gap
//	Linf  δ = clip(t·sign v),  t ≥ 0 such that ⟨v, δ⟩ = gap
//	L1    coordinates by falling |v|, each as far as the box lets it, the last one in part
//
// and ⟨v, δ⟩ grows with λ and t, so they are bisected; in L1 what is bisected is the |v| of the last coordinate.
func toHyperplane(norm advlib.ConvexNorm, f, w, lo, hi *Node) *Node {
	zero := ZerosLike(f)
	v := Mul(craft.PerRow(Where(GreaterThan(f, zero), Neg(OnesLike(f)), OnesLike(f)), w), w)
	// Scaled so that max |v| = 1: neither squares nor products leave the range of float32.
	scale := advlib.Linf.Of(v)
	scale = Where(Equal(scale, zero), OnesLike(scale), scale)
	v = Div(v, craft.PerRow(scale, v))
	gap := Div(Abs(f), scale)
	clip := func(δ *Node) *Node { return Max(lo, Min(hi, δ)) }
	width := advlib.Linf.Of(Sub(hi, lo))
	switch norm {
	case advlib.L2:
		at := func(λ *Node) *Node { return clip(Mul(craft.PerRow(λ, v), v)) }
		// λ is at least what an unclipped step needs, and at 10⁹ times the width all coordinates that matter are clipped. In
		// between its order of magnitude is unknown, so the bracket is halved on a logarithmic scale.
		least := AddScalar(Div(gap, MaxScalar(craft.SumRows(squared(v)), 1)), 1e-30)
		most := Max(MulScalar(width, 1e9), least)
		return at(bracket(least, most, func(a, b *Node) *Node { return Mul(Sqrt(a), Sqrt(b)) }, func(λ *Node) *Node {
			return GreaterOrEqual(craft.SumRows(Mul(v, at(λ))), gap)
		}))
	case advlib.Linf:
		at := func(t *Node) *Node { return clip(Mul(craft.PerRow(t, v), Sign(v))) }
		return at(bracket(zero, width, middle, func(t *Node) *Node {
			return GreaterOrEqual(craft.SumRows(Mul(v, at(t))), gap)
		}))
	case advlib.L1:
		size := Abs(v)
		full := Where(GreaterThan(v, ZerosLike(v)), hi, Where(LessThan(v, ZerosLike(v)), lo, ZerosLike(v)))
		above := func(τ *Node) *Node { return Where(GreaterThan(size, craft.PerRow(τ, v)), full, ZerosLike(v)) }
		// −τ grows: the largest τ with which coordinates above it reach the hyperplane, and the least with which they do not.
		reach := func(negτ *Node) *Node { return GreaterOrEqual(craft.SumRows(Mul(v, above(Neg(negτ)))), gap) }
		low, high := brackets(Neg(OnesLike(f)), zero, middle, reach)
		all := above(Neg(low))
		last := Sub(above(Neg(high)), all) // one coordinate, or several that are equal to rounding and share
		left, gain := Sub(gap, craft.SumRows(Mul(v, all))), craft.SumRows(Mul(v, last))
		share := ClipScalar(Div(left, Where(Equal(gain, zero), OnesLike(gain), gain)), 0, 1)
		return Add(all, Mul(craft.PerRow(share, v), last))
	}
	panic(fmt.Sprintf("attack: no projection on a hyperplane in %v", norm))
}

func middle(a, b *Node) *Node { return MulScalar(Add(a, b), 0.5) }

// bracket returns, per row, a point of [low, high] for which reached holds, or high, just above the least such point.
// Once it holds, reached must hold for all larger arguments.
func bracket(low, high *Node, between func(a, b *Node) *Node, reached func(*Node) *Node) *Node {
	_, high = brackets(low, high, between, reached)
	return high
}

// brackets returns both ends of the last bracket.
func brackets(low, high *Node, between func(a, b *Node) *Node, reached func(*Node) *Node) (_, _ *Node) {
	for range hyperplaneHalvings {
		mid := between(low, high)
		yes := reached(mid)
		low, high = Where(yes, low, mid), Where(yes, mid, high)
	}
	return low, high
}

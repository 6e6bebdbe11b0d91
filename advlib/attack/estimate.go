package attack

import (
	"math"
	"math/rand/v2"
	"slices"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

// estimator estimates slopes from scores alone, by pairs of points on both sides of x:
//
//	ĝᵢ = Σⱼ (L(x⁺ⱼ) − L(x⁻ⱼ))·dᵢⱼ / Σⱼ dᵢⱼ²,  x^±ⱼ = clip(x ± σ·uⱼ),  dⱼ = x⁺ⱼ − x⁻ⱼ,  j = 1…n
//
// with symmetric and independent draws uᵢⱼ, what NES and SPSA have in common. The differences d are those of the points
// that were asked about, after clipping. So on a linear loss the mean of ĝ is the slope, in every coordinate that can
// change, at the ends of the box too: given the sizes |dᵢⱼ|, their signs are independent, and all terms but gᵢ·dᵢⱼ²
// vanish in the mean.
//
// Where a feature has steps, a draw is at least as far as takes it to the next one.
type estimator struct {
	σ, most float64
	draw    func(r *rand.Rand) float64
	least   []float64 // of each coordinate; 0 without steps
}

// gradient asks about pairs of points around x, and returns the slope; 0 where nothing is known. It draws from farther
// away, up to most, the next time if no pair had a difference, as where scores are rounded.
func (e *estimator) gradient(q *craft.Inquiry, x []float32, pairs int) []float64 {
	if e.least == nil {
		e.least = leastMoves(q, e.σ)
	}
	points := make([][]float32, 2*pairs)
	for j := range pairs {
		plus, minus := make([]float32, len(x)), make([]float32, len(x))
		for i, v := range x {
			d := 0.
			if q.Lower[i] < q.Upper[i] {
				d = max(e.σ, e.least[i]) * e.draw(q.Rand)
			}
			plus[i], minus[i] = float32(float64(v)+d), float32(float64(v)-d)
		}
		points[2*j], points[2*j+1] = q.Clip(plus), q.Clip(minus)
	}
	L := q.Losses(points)
	g, squares := make([]float64, len(x)), make([]float64, len(x))
	flat := true
	for j := range pairs {
		rise := L[2*j] - L[2*j+1]
		if math.IsNaN(rise) || math.IsInf(rise, 0) {
			continue // an answer without scores
		}
		flat = flat && rise == 0
		for i := range x {
			d := float64(points[2*j][i]) - float64(points[2*j+1][i])
			g[i] += rise * d
			squares[i] += d * d
		}
	}
	for i, s := range squares {
		if s > 0 {
			g[i] /= s
		}
	}
	if flat {
		e.σ = min(2*e.σ, max(e.σ, e.most))
	}
	return g
}

// normal and rademacher are how NES and SPSA draw.
func normal(r *rand.Rand) float64     { return r.NormFloat64() }
func rademacher(r *rand.Rand) float64 { return float64(2*r.IntN(2) - 1) }

// leastMoves returns, for each coordinate, how far it must move from the original so that the input changes, if that is
// farther than σ: where a feature has steps or is a category. It asks nothing.
func leastMoves(q *craft.Inquiry, σ float64) []float64 {
	least := make([]float64, len(q.X))
	var still []int // those that have not moved yet
	width := 0.
	for i := range q.X {
		if q.Lower[i] < q.Upper[i] {
			still = append(still, i)
			width = max(width, float64(q.Upper[i])-float64(q.Lower[i]))
		}
	}
	for s := σ; len(still) > 0 && s < 2*width; s *= 2 {
		up, down := slices.Clone(q.X), slices.Clone(q.X)
		for _, i := range still {
			up[i], down[i] = float32(float64(up[i])+s), float32(float64(down[i])-s)
		}
		q.Clip(up)
		q.Clip(down)
		still = slices.DeleteFunc(still, func(i int) bool { return up[i] != q.X[i] || down[i] != q.X[i] })
		for _, i := range still {
			least[i] = 2 * s
		}
	}
	return least
}

// stepInside returns the point nearest to x + δ of the ball around the original and within the limits. It is no point
// to ask about, before it is clipped: small steps of a feature that has steps must add up.
func stepInside(q *craft.Inquiry, b advlib.Ball, x []float32, δ []float64) []float32 {
	d, lo, hi := make([]float64, len(x)), make([]float64, len(x)), make([]float64, len(x))
	for i, v := range q.X {
		d[i] = float64(x[i]) + δ[i] - float64(v)
		lo[i], hi[i] = float64(q.Lower[i])-float64(v), float64(q.Upper[i])-float64(v)
	}
	project(b, d, lo, hi)
	to := slices.Clone(q.X)
	for i := range to {
		to[i] = float32(float64(to[i]) + d[i])
	}
	return to
}

// project moves δ to the nearest point of the ball within lo ≤ δ ≤ hi, lo ≤ 0 ≤ hi; see [advlib.ConvexNorm], whose
// projections are in graphs. In L2 it is clip(s·δ) with the largest s ≤ 1 that is inside, in L1 clip(sign(δ)·max(|δ| −
// λ, 0)) with the smallest λ ≥ 0: both are bisected.
func project(b advlib.Ball, δ, lo, hi []float64) {
	clip := func(i int, v float64) float64 { return min(max(v, lo[i]), hi[i]) }
	at := func(t float64, i int) float64 { return clip(i, t*δ[i]) }
	inside, outside := 0., 1.
	switch b.Norm {
	case advlib.Norm(advlib.Linf):
		for i, v := range δ {
			δ[i] = clip(i, min(max(v, -b.Radius), b.Radius))
		}
		return
	case advlib.Norm(advlib.L1):
		most := 0.
		for _, v := range δ {
			most = max(most, math.Abs(v))
		}
		at = func(t float64, i int) float64 {
			return clip(i, math.Copysign(max(math.Abs(δ[i])-(1-t)*most, 0), δ[i]))
		}
	}
	length := func(t float64) float64 {
		s := 0.
		for i := range δ {
			if v := at(t, i); b.Norm == advlib.Norm(advlib.L1) {
				s += math.Abs(v)
			} else {
				s += v * v
			}
		}
		if b.Norm == advlib.Norm(advlib.L1) {
			return s
		}
		return math.Sqrt(s)
	}
	if length(outside) <= b.Radius {
		inside = outside
	}
	for range 40 {
		if middle := (inside + outside) / 2; length(middle) <= b.Radius {
			inside = middle
		} else {
			outside = middle
		}
	}
	for i := range δ {
		δ[i] = at(inside, i)
	}
}

package attacktest

import (
	"math"
	"math/bits"
	"testing"

	"advlab/advlib"
	"advlab/advlib/backend"
)

// TestLinearOracle proves the oracle right, for every example and class: what it returns is feasible, and weak duality
// (for L0 the enumeration of all subsets of coordinates) shows that nothing nearer is.
//
// The problem is: minimise ‖δ‖ subject to v·δ ≥ gap, lo ≤ δ ≤ hi. For every λ ≥ 0,
// g(λ) = min over the box of ‖δ‖ − λ(v·δ − gap) (for L2 with ½‖δ‖² in place of ‖δ‖) is a lower bound of the minimum.
func TestLinearOracle(t *testing.T) {
	b, err := backend.OpenNamed(backend.Go)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range []LinearSpec{{Seed: 1}, {Seed: 2, Binary: true}, {Seed: 3, Shift: -30}} {
		l, err := NewLinear(spec, b)
		if err != nil {
			t.Fatal(err)
		}
		infeasible := 0
		for i := range l.x {
			for k := range l.W {
				if k == int(l.Examples.Y[i]) {
					continue
				}
				v, gap, lo, hi := l.problem(i, k)
				reach := make([]float64, len(v)) // |v|·room: the most that each coordinate contributes
				room, total := make([]float64, len(v)), 0.
				for j := range v {
					room[j] = max(sign(v[j])*lo[j], sign(v[j])*hi[j])
					reach[j] = math.Abs(v[j]) * room[j]
					total += reach[j]
				}
				for _, n := range []advlib.Norm{advlib.L0, advlib.L1, advlib.L2, advlib.Linf} {
					δ := l.Nearest(n, i, k)
					if total < gap {
						infeasible++
						if δ != nil {
							t.Fatalf("%v: %v: example %d class %d: the box holds no such point, got %v", spec, n, i, k, δ)
						}
						continue
					}
					for j := range δ {
						if δ[j] < lo[j] || δ[j] > hi[j] {
							t.Fatalf("%v: %v: example %d class %d: coordinate %d leaves the box", spec, n, i, k, j)
						}
					}
					if dot(v, δ) < gap-1e-9 {
						t.Fatalf("%v: %v: example %d class %d: v·δ = %g does not reach %g", spec, n, i, k, dot(v, δ), gap)
					}
					got := length(n, δ)
					bound := lowerBound(n, got, v, gap, lo, hi, room, reach)
					if math.Abs(got-bound) > 1e-6*(1+got) {
						t.Fatalf("%v: %v: example %d class %d: distance %.9g, lower bound %.9g", spec, n, i, k, got, bound)
					}
				}
			}
		}
		t.Logf("%v: %d of %d problems have no solution in the box", spec, infeasible, 4*9*len(l.x))
	}
}

// lowerBound returns what weak duality, and for L0 the enumeration of all subsets, says of the least distance; got is
// the one that the oracle gives.
func lowerBound(n advlib.Norm, got float64, v []float64, gap float64, lo, hi, room, reach []float64) (bound float64) {
	switch n {
	case advlib.L0:
		bound = fewest(reach, gap)
	case advlib.Norm(advlib.L1):
		// min over |δ_j| ≤ room_j of (1 − λ|v_j|)·|δ_j|; the best λ is among 1/|v_j|.
		for j := range v {
			λ, g := 1/math.Abs(v[j]), 0.
			for h := range v {
				g += min(0, (1-λ*math.Abs(v[h]))*room[h])
			}
			bound = max(bound, g+λ*gap)
		}
	case advlib.Norm(advlib.L2):
		// The inner minimum of ½‖δ‖² − λ v·δ is at clip(λv); g is concave in λ, so ternary search finds its top.
		low, high := 0., 1e4
		g := func(λ float64) float64 {
			s := λ * gap
			for j := range v {
				δ := min(max(λ*v[j], lo[j]), hi[j])
				s += δ*δ/2 - λ*v[j]*δ
			}
			return s
		}
		for range 300 {
			a, c := low+(high-low)/3, high-(high-low)/3
			if g(a) < g(c) {
				low = a
			} else {
				high = c
			}
		}
		bound = math.Sqrt(2 * max(0, g(low)))
	case advlib.Norm(advlib.Linf):
		// With t = ‖δ‖∞ the inner minimum is that of t − λ Σ |v_j| min(t, room_j), at t = 0 or at one of the rooms; the
		// slope of Σ|v_j| min(t, room_j) at the optimum gives the best λ.
		slope := 0.
		for j := range v {
			if room[j] >= got-1e-12 {
				slope += math.Abs(v[j])
			}
		}
		λ := 1 / slope
		bound = math.Inf(1)
		for _, t := range append([]float64{0}, room...) {
			g := t + λ*gap
			for j := range v {
				g -= λ * math.Abs(v[j]) * min(t, room[j])
			}
			bound = min(bound, g)
		}
	}
	return bound
}

// fewest returns the size of the smallest subset whose sum is at least gap, by trying all.
func fewest(reach []float64, gap float64) float64 {
	best := len(reach)
	sums := make([]float64, 1<<len(reach))
	for s := 1; s < len(sums); s++ {
		low := bits.TrailingZeros(uint(s))
		sums[s] = sums[s&(s-1)] + reach[low]
		if sums[s] >= gap {
			best = min(best, bits.OnesCount(uint(s)))
		}
	}
	return float64(best)
}

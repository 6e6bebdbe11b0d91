package attack

import (
	"context"
	"fmt"
	"math"

	. "advlab/advlib/internal/equation"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// FAB is the fast adaptive boundary attack of Croce & Hein (2020), arXiv:1907.02044, algorithm 1: it projects the iterate and the
// original on the nearest linearised boundary inside the box, goes a little beyond, biased towards the original, and from an
// adversarial example a little back.
//
// With a target, the only boundary looked at is that with the target: FAB-T of Croce & Hein (2020), arXiv:2003.01690, section 4; see
// [FABT]. It departs from the paper in three things: the final search bisects the segment to the original instead of three steps of
// a modified bisection; before it, examples that have met infinite slopes are settled by 200 steps that look ahead, see
// [advlib.Model.Ahead]; and at most 10 classes are looked at unless Candidates says more.
type FAB struct {
	// Norm is what is minimised: L1, L2 or Linf. It must be set.
	Norm advlib.Norm
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Steps is N; 0 means 100.
	Steps int
	// Restarts is how often the search is repeated from a random point, within half of the best distance so far.
	Restarts int
	// Candidates is how many classes are looked at, with the label, the most likely by the logits of the original; 0 means 10. The
	// paper looks at all; each costs a pass.
	Candidates int
	// MostBias is α_max, the largest bias towards the original, at most 1; 0 means 0.1.
	MostBias float64
	// Extrapolation is η, the share of the way to the boundary that is gone, at least 1; 0 means 1.05.
	Extrapolation float64
	// Backward is β, the share of the perturbation that is kept of an adversarial example, below 1; 0 means 0.9.
	Backward float64
	// NoLineSearch leaves the final bisection out.
	NoLineSearch bool
}

// FABT returns the targeted version of FAB, towards each of the nine most likely other classes, as it is part of AutoAttack.
func FABT(n advlib.Norm) AllTargets { return AllTargets{Attack: FAB{Norm: n}, Most: 9} }

// String returns for example "FAB-100 Linf minimal".
func (a FAB) String() string {
	var restarts, classes, α, η, β, line string
	if a.Restarts != 0 {
		restarts = fmt.Sprintf("%d restarts", a.Restarts)
	}
	if a.Candidates != 0 {
		classes = fmt.Sprintf("%d classes", a.Candidates)
	}
	if a.MostBias != 0 {
		α = fmt.Sprintf("α ≤ %g", a.MostBias)
	}
	if a.Extrapolation != 0 {
		η = fmt.Sprintf("η = %g", a.Extrapolation)
	}
	if a.Backward != 0 {
		β = fmt.Sprintf("β = %g", a.Backward)
	}
	if a.NoLineSearch {
		line = "no line search"
	}
	return named(fmt.Sprintf("FAB-%d", a.steps()), minimalIn(a.Norm), a.Goal, restarts, classes, α, η, β, line)
}

func (a FAB) steps() int      { return numberOr(a.Steps, 100) }
func (a FAB) candidates() int { return numberOr(a.Candidates, defaultCandidates) }
func (a FAB) αmax() float64   { return numberOr(a.MostBias, 0.1) }
func (a FAB) η() float64      { return numberOr(a.Extrapolation, 1.05) }
func (a FAB) β() float64      { return numberOr(a.Backward, 0.9) }

// filled implements [indexed].
func (a FAB) filled() any {
	a.Steps, a.Candidates, a.MostBias, a.Extrapolation, a.Backward = a.steps(), a.candidates(), a.αmax(), a.η(), a.β()
	return a
}

// Threat implements [advlib.Attack].
func (a FAB) Threat(v advlib.Victim) (advlib.Threat, error) {
	if err := checkGradient(v); err != nil {
		return advlib.Threat{}, err
	}
	threat := advlib.Threat{Norm: a.Norm, Radius: math.Inf(1), Goal: a.Goal}
	if err := checkNorm(a.Norm, advlib.L1, advlib.L2, advlib.Linf); err != nil {
		return threat, err
	}
	if err := checkCount("Steps", a.Steps); err != nil {
		return threat, err
	}
	if err := checkCount("Restarts", a.Restarts); err != nil {
		return threat, err
	}
	if err := checkCandidates(a.Candidates); err != nil {
		return threat, err
	}
	if a.MostBias != 1 {
		if err := checkShare("MostBias", a.MostBias); err != nil {
			return threat, err
		}
	}
	if err := checkShare("Backward", a.Backward); err != nil {
		return threat, err
	}
	if η := a.η(); !(η >= 1) || math.IsInf(η, 1) {
		return threat, fmt.Errorf("Extrapolation = %g stays before the boundary, or is infinite: leave it at 0 for 1.05, or give a number ≥ 1", a.Extrapolation)
	}
	return threat, nil
}

func (a FAB) checkGoal(advlib.Victim, bool) error { return nil } // it needs no loss

// startRadius bounds the distance of random starts where nothing has been found, in widths of the box (the reference implementation's
// default ε).
var startRadius = map[advlib.Norm]float64{advlib.L1: 5, advlib.L2: 1, advlib.Linf: 0.3}

// Perturb implements [advlib.Attack].
func (a FAB) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	limits := v.Signature().Limits()
	key := fabStep{wish: wishOf(b), norm: a.Norm.(advlib.ConvexNorm), αmax: a.αmax(), η: a.η(), β: a.β()}
	key.others = min(a.candidates(), v.Signature().Classes) - 1
	step := v.Compile(key, func(m *advlib.Model, in []*Node) []*Node { return key.graph(m, limits, in) })
	clean, err := v.Logits(ctx, b.X)
	if err != nil {
		return nil, err
	}
	return eachPiece(ctx, b, func(s *iteration) error {
		classes := s.others(b, clean, key.others)
		defer advlib.Free(classes)
		for restart := range 1 + a.Restarts {
			earlier := s.restart()
			s.push(a.start(b, s, restart, earlier, limits))
			err := a.search(ctx, v, b, s, step, classes)
			s.merge(earlier, a.Norm)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// search looks for the boundary from where the state says, and back along the segment.
func (a FAB) search(ctx context.Context, v *advlib.Counted, b advlib.Batch, s *iteration, step *advlib.Step, classes *tensors.Tensor) error {
	for k := range a.steps() + 1 { // the last one judges
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := s.run(step, classes); err != nil {
			return fmt.Errorf("step %d on %d examples: %w", k, len(s.rows), err)
		}
	}
	if a.NoLineSearch {
		return nil
	}
	if err := settle(ctx, v, b, s, a.Norm.(advlib.ConvexNorm)); err != nil {
		return err
	}
	return searchSegment(ctx, v, b, s)
}

// start returns where a search starts: the originals, then random points around them.
func (a FAB) start(b advlib.Batch, s *iteration, restart int, earlier *candidates, limits advlib.Limits) *tensors.Tensor {
	x := advlib.TakeRows(b.X, s.rows, s.size)
	if restart == 0 {
		return x
	}
	size := x.Shape().Size() / s.size
	u, origin := make([]float32, size), make([]float32, size)
	tensors.MustMutableFlatData(x, func(x []float32) {
		for i, r := range s.rows {
			reach := startRadius[a.Norm] * limits.Width()
			if D := a.Norm.Distance(earlier.row(i), x[i*size:(i+1)*size]); D > 0 {
				reach = min(reach, D)
			}
			advlib.Linf.Sample(b.Rand(r, uint64(restart)), u)
			reach /= 2 * max(a.Norm.Distance(u, origin), 1e-30)
			for j := range u {
				v := &x[i*size+j]
				*v = limits.Clamp(j, float64(*v)+reach*float64(u[j]), *v)
			}
		}
	})
	return x
}

// fabStep determines the graph of a step.
type fabStep struct {
	wish       wish
	norm       advlib.ConvexNorm
	others     int // classes looked at, but the label
	αmax, η, β float64
}

// graph is one iteration of Croce & Hein (2020), algorithm 1, from line 12 on to line 11 of the next: with x the point of the last
// iteration,
//
//	keep x if it is adversarial, and then x ← (1 − β)·x₀ + β·x
//	π: the boundary nearest to x, linearised there;  δ, δ₀: from x and x₀ to π inside the box
//	α = min(‖δ‖/(‖δ‖ + ‖δ₀‖), α_max)
//	x ← clip((1 − α)·(x + η·δ) + α·(x₀ + η·δ₀))
func (s fabStep) graph(m *advlib.Model, limits advlib.Limits, in []*Node) []*Node {
	x0, aim, rest := s.wish.read(in)
	best, bestD, x, classes := rest[0], rest[1], rest[2], rest[3]

	z := m.Logits(x)
	hit := GreaterThan(clearance(z, aim), ZerosLike(bestD))
	best, bestD, _ = nearer(s.norm, x, x0, hit, best, bestD)
	crossed := GreaterThan(beyond(z, aim), ZerosLike(bestD)) // rounding is no reason to stay
	x = limits.Clip(Where(perRow(crossed, x), Add(x0, MulScalar(Sub(x, x0), s.β)), x), x0)

	f, w := boundaries(m, s.norm, m.Logits(x), x, classes, aim)
	f0 := Add(f, sumRows(Mul(w, Sub(x0, x)))) // the linearisation's value at x₀
	lo, hi := limits.Room(x, x0)
	lo0, hi0 := limits.Room(x0, x0)
	// Both projections at once, to build the graph of one.
	both := func(a, b *Node) *Node { return Concatenate([]*Node{a, b}, 0) }
	δs := toHyperplane(s.norm, both(f, f0), both(w, w), both(lo, lo0), both(hi, hi0))
	n := x.Shape().Dimensions[0]
	δ, δ0 := Slice(δs, AxisRange(0, n)), Slice(δs, AxisRange(n))

	D, D0 := s.norm.Of(δ), s.norm.Of(δ0)
	α := MinScalar(Div(D, MaxScalar(Add(D, D0), 1e-12*limits.Width())), s.αmax)
	α = perRow(α, x)
	x = Add(Mul(OneMinus(α), Add(x, MulScalar(δ, s.η))), Mul(α, Add(x0, MulScalar(δ0, s.η))))
	return []*Node{best, bestD, limits.Clip(x, x0)}
}

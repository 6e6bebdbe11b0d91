package attack

import (
	"context"
	"math"

	. "advlab/advlib/internal/equation"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[FAB](Nearest,
		Command{Name: "fab", About: "FAB: projections on the linearised boundary, back and forth", Make: func(b advlib.Ball) advlib.Attack {
			return FAB{Norm: b.Norm}
		}},
		Command{Name: "fab-t", About: "FAB towards each of the nine most likely classes",
			Make: func(b advlib.Ball) advlib.Attack { return FABT(b.Norm) }})
}

// FAB is the fast adaptive boundary attack of Croce & Hein (2020), arXiv:1907.02044, algorithm 1: it projects the
// iterate and the original on the nearest linearised boundary inside the box, goes a little beyond, biased towards the
// original, and from an adversarial example a little back.
//
// With a target, the only boundary looked at is that with the target: FAB-T of Croce & Hein (2020), arXiv:2003.01690,
// section 4; see [FABT]. It departs from the paper in three things: the final search bisects the segment to the
// original instead of three steps of a modified bisection; before it, examples that have met infinite slopes are
// settled by 200 steps that look ahead, see [advlib.Model.Ahead]; and at most 10 classes are looked at unless
// Candidates says more.
type FAB struct {
	// Norm is what is minimised: L1, L2 or Linf. It must be set.
	Norm advlib.Norm
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Steps is N; 0 means 100.
	Steps int
	// Restarts is how often the search is repeated from a random point, within half of the best distance so far.
	Restarts int
	// Candidates is how many classes are looked at, with the label, the most likely by the logits of the original; 0
	// means 10. The paper looks at all; each costs a pass.
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

// FABT returns the targeted version of FAB, towards each of the nine most likely other classes, as it is part of
// AutoAttack.
func FABT(n advlib.Norm) AllTargets { return AllTargets{Attack: FAB{Norm: n}, Most: 9} }

// Describe implements [craft.Described].
func (a *FAB) Describe(d *craft.Description) {
	d.Paper("Croce & Hein 2020, arXiv:1907.02044")
	d.Gradients()
	d.Norm(&a.Norm, convexNorms...)
	d.Goal(&a.Goal)
	d.Count(&a.Steps, 100)
	d.Count(&a.Restarts, 0).As("%d restarts")
	candidates(d, &a.Candidates)
	d.Portion(&a.MostBias, 0.1, "the largest bias towards the original").As("α ≤ %g")
	d.Number(&a.Extrapolation, 1.05, a.Extrapolation == 0 || a.Extrapolation >= 1 && !math.IsInf(a.Extrapolation, 1),
		"stays before the boundary, or is infinite: leave it at 0 for 1.05, or give a number ≥ 1").As("η = %g")
	d.Share(&a.Backward, 0.9).As("β = %g")
	d.Flag(&a.NoLineSearch, "no line search")
	d.Name("FAB-%d", a.Steps)
	n := (1 + a.Restarts) * a.Steps
	d.Passes(2*n, n*boundariesSeen(d, a.Candidates)) // a step judges one point and linearises at another
}

// String returns for example "FAB-100 Linf minimal".
func (a FAB) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a FAB) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a FAB) Plan(v advlib.Victim) (forward, backward float64, known bool) { return craft.Plan(a, v) }

// startRadius bounds the distance of random starts where nothing has been found, in widths of the box (the reference
// implementation's default ε).
var startRadius = map[advlib.Norm]float64{advlib.L1: 5, advlib.L2: 1, advlib.Linf: 0.3}

// Perturb implements [advlib.Attack].
func (a FAB) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	key := fabStep{
		norm: a.Norm.(advlib.ConvexNorm), others: min(a.Candidates, v.Signature().Classes) - 1,
		αmax: a.MostBias, η: a.Extrapolation, β: a.Backward,
	}
	step := craft.Compile(v, b, key, key.graph)
	clean, err := v.Logits(ctx, b.X)
	if err != nil {
		return nil, err
	}
	limits := v.Signature().Limits()
	return craft.Nearest(ctx, b, func(s *craft.Search) error {
		classes := others(s.Rows, clean, key.others)
		defer advlib.Free(classes)
		for restart := range 1 + a.Restarts {
			earlier := tensors.MustCopyFlatData[float32](s.State[0])
			s.Drop(0)
			s.Push(s.Originals(), s.Fill(math.Inf(1)), a.start(s.Rows, restart, earlier, limits))
			err := a.search(ctx, v, s, step, classes)
			a.merge(s, earlier)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// search looks for the boundary from where the state says, and back along the segment.
func (a FAB) search(ctx context.Context, v *advlib.Counted, s *craft.Search, step *advlib.Step, classes *tensors.Tensor) error {
	for range a.Steps + 1 { // the last one judges
		if _, err := s.Run(ctx, step, classes); err != nil {
			return err
		}
	}
	if a.NoLineSearch {
		return nil
	}
	if err := s.Settle(ctx, v, a.Norm.(advlib.ConvexNorm)); err != nil {
		return err
	}
	return s.Bisect(ctx, v)
}

// start returns where a search starts: the originals, then random points around them, by the examples of the searches
// before.
func (a FAB) start(s *craft.Rows, restart int, earlier []float32, limits advlib.Limits) *tensors.Tensor {
	x := s.Originals()
	if restart == 0 {
		return x
	}
	s.Each(x, func(i int, row []float32) {
		u, origin := make([]float32, len(row)), make([]float32, len(row))
		reach := startRadius[a.Norm] * limits.Width()
		if D := a.Norm.Distance(earlier[i*len(row):(i+1)*len(row)], row); D > 0 {
			reach = min(reach, D)
		}
		advlib.Linf.Sample(s.Batch.Rand(s.At[i], uint64(restart)), u)
		reach /= 2 * max(a.Norm.Distance(u, origin), 1e-30)
		for j := range u {
			row[j] = limits.Clamp(j, float64(row[j])+reach*float64(u[j]), row[j])
		}
	})
	return x
}

// merge takes those of the earlier best examples that are nearer than the present ones, or for which there is none.
func (a FAB) merge(s *craft.Search, earlier []float32) {
	now, x0 := tensors.MustCopyFlatData[float32](s.State[0]), tensors.MustCopyFlatData[float32](s.X0)
	size := len(now) / s.Size
	for i := range s.Size {
		row := func(v []float32) []float32 { return v[i*size : (i+1)*size] }
		before, after := a.Norm.Distance(row(earlier), row(x0)), a.Norm.Distance(row(now), row(x0))
		if before > 0 && (after == 0 || before < after) { // at distance 0 nothing was found
			copy(row(now), row(earlier))
		}
	}
	s.Drop(0)
	s.Push(tensors.FromFlatDataAndDimensions(now, s.X0.Shape().Dimensions...))
}

// fabStep determines the graph of a step.
type fabStep struct {
	norm       advlib.ConvexNorm
	others     int // classes looked at, but the label
	αmax, η, β float64
}

// graph is one iteration of Croce & Hein (2020), algorithm 1, from line 12 on to line 11 of the next: with x the point
// of the last iteration,
//
//	keep x if it is adversarial, and then x ← (1 − β)·x₀ + β·x
//	π: the boundary nearest to x, linearised there;  δ, δ₀: from x and x₀ to π inside the box
//	α = min(‖δ‖/(‖δ‖ + ‖δ₀‖), α_max)
//	x ← clip((1 − α)·(x + η·δ) + α·(x₀ + η·δ₀))
func (s fabStep) graph(p *craft.Point, in []*Node) []*Node {
	best, bestD, x, classes := in[0], in[1], in[2], in[3]

	z := p.Logits(x)
	hit := p.Reached(z)
	best, bestD, _ = p.Nearer(s.norm, x, hit, best, bestD)
	crossed := GreaterThan(p.Beyond(z), ZerosLike(bestD)) // rounding is no reason to stay
	x = p.Clip(Where(craft.PerRow(crossed, x), Add(p.X0, MulScalar(Sub(x, p.X0), s.β)), x))

	f, w := boundaries(p, s.norm, p.Logits(x), x, classes)
	f0 := Add(f, craft.SumRows(Mul(w, Sub(p.X0, x)))) // the linearisation's value at x₀
	lo, hi := p.Limits.Room(x, p.X0)
	lo0, hi0 := p.Room()
	// Both projections at once, to build the graph of one.
	both := func(a, b *Node) *Node { return Concatenate([]*Node{a, b}, 0) }
	δs := toHyperplane(s.norm, both(f, f0), both(w, w), both(lo, lo0), both(hi, hi0))
	n := x.Shape().Dimensions[0]
	δ, δ0 := Slice(δs, AxisRange(0, n)), Slice(δs, AxisRange(n))

	D, D0 := s.norm.Of(δ), s.norm.Of(δ0)
	α := MinScalar(Div(D, MaxScalar(Add(D, D0), 1e-12*p.Limits.Width())), s.αmax)
	α = craft.PerRow(α, x)
	x = Add(Mul(OneMinus(α), Add(x, MulScalar(δ, s.η))), Mul(α, Add(p.X0, MulScalar(δ0, s.η))))
	return []*Node{best, bestD, p.Clip(x)}
}

package attack

import (
	"context"

	. "advlab/advlib/internal/equation"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[FMN](Nearest, Command{Name: "fmn", About: "FMN: gradient steps in a ball that shrinks and grows",
		Make: func(b advlib.Ball) advlib.Attack {
			return FMN{Norm: b.Norm}
		}})
}

// FMN is the fast minimum-norm attack of Pintor et al. (2021), arXiv:2102.12827, algorithm 1: gradient steps on the
// margin, each projected on a ball around the original whose radius ε shrinks where the example is adversarial and
// grows where it is not.
//
// It departs from the paper in four things, without which it stops exactly on the boundary and finds nothing on many
// examples, or stays away from the nearest where slopes are infinite:
//
//   - The estimate of the distance to the boundary, which is the radius until an adversarial example is found, is
//     multiplied by 1 + Overshoot.
//   - The projection is on the intersection of the ball with the box, where the paper clips what it has projected on
//     the ball.
//   - Examples that have met infinite slopes are then settled: 200 steps that look ahead, see [advlib.Model.Ahead].
//   - At the end the segment between the original and the best example is bisected; in L0, changes that are not needed
//     are undone.
//
// The gradient is divided by its L2 norm whatever the norm, as in the authors' code.
type FMN struct {
	// Norm is what is minimised: L0, L1, L2 or Linf. It must be set.
	Norm advlib.Norm
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Steps is K; 0 means 1000.
	Steps int
	// StepSize is α₀, in widths of the box; it falls to a hundredth along a cosine. 0 means 1.
	StepSize float64
	// Gamma is γ₀, the share by which ε changes in a step, below 1; it falls to 0.001 along a cosine. 0 means 0.05.
	Gamma float64
	// Overshoot is by how much more the estimated distance is taken; 0 means 0.05.
	Overshoot float64
	// NoLineSearch leaves the final bisection out.
	NoLineSearch bool
}

// Describe implements [craft.Described].
func (a *FMN) Describe(d *craft.Description) {
	d.Paper("Pintor et al. 2021, arXiv:2102.12827")
	d.Gradients()
	d.Norm(&a.Norm, advlib.L0, advlib.L1, advlib.L2, advlib.Linf)
	d.Goal(&a.Goal)
	d.Count(&a.Steps, 1000)
	d.Size(&a.StepSize, 1).As("α = %g")
	d.Share(&a.Gamma, 0.05).As("γ = %g")
	d.Size(&a.Overshoot, 0.05).As("overshoot %g")
	d.Flag(&a.NoLineSearch, "no line search")
	d.Name("FMN-%d", a.Steps)
	d.Passes(a.Steps, a.Steps)
}

// String returns for example "FMN-1000 Linf minimal".
func (a FMN) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a FMN) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a FMN) Plan(v advlib.Victim) (forward, backward float64, known bool) { return craft.Plan(a, v) }

// Constants of the authors' code.
const (
	fmnLastγ = 0.001
	fmnLastα = 0.01 // times α₀
)

// Perturb implements [advlib.Attack].
func (a FMN) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	key := fmnStep{norm: a.Norm, over: 1 + a.Overshoot}
	step := craft.Compile(v, b, key, key.graph)
	return craft.Nearest(ctx, b, func(s *craft.Search) error {
		s.Push(s.Zeros(), s.Fill(1))
		for k := range a.Steps {
			α := craft.Cosine(a.StepSize, a.StepSize*fmnLastα, k, a.Steps)
			γ := craft.Cosine(a.Gamma, min(fmnLastγ, a.Gamma), k, a.Steps)
			if _, err := s.Run(ctx, step, float32(α), float32(γ)); err != nil {
				return err
			}
		}
		switch {
		case a.NoLineSearch:
			return nil
		case a.Norm == advlib.L0:
			return s.Restore(ctx, v)
		}
		if err := s.Settle(ctx, v, a.Norm.(advlib.ConvexNorm)); err != nil {
			return err
		}
		return s.Bisect(ctx, v)
	})
}

// fmnStep determines the graph of a step.
type fmnStep struct {
	norm advlib.Norm
	over float64 // 1 + overshoot
}

// graph is one iteration of Pintor et al. (2021), algorithm 1, with L the margin, which is positive where x₀ + δ is
// adversarial:
//
//	ε ← min(ε·(1 − γ), ‖δ*‖) if L > 0, else ε·(1 + γ) if there is a δ*, else (1 + overshoot)·(‖δ‖ + |L|/‖∇L‖_q)
//	δ ← Π(δ + α·∇L/‖∇L‖₂),  Π projects on ‖·‖ ≤ ε and the box
func (s fmnStep) graph(p *craft.Point, in []*Node) []*Node {
	best, bestD, δ, ε, α, γ := in[0], in[1], in[2], in[3], in[4], in[5]

	x := p.Clip(Add(p.X0, δ))
	z := p.Logits(x)
	L := advlib.Margin.Of(z, p.Goal)
	hit := p.Reached(z)
	found := LessThan(bestD, Infinity(bestD.Graph(), bestD.DType(), 1)) // before this step, as ε then still is the estimate
	best, bestD, D := p.Nearer(s.norm, x, hit, best, bestD)
	g := p.Ascent(L, x)

	shrunk, grown := Mul(ε, OneMinus(γ)), Mul(ε, OnePlus(γ))
	if convex, ok := s.norm.(advlib.ConvexNorm); ok {
		far := OnesLike(ε)
		far = MulScalar(far, p.Limits.Diameter(s.norm))
		slope := convex.Dual().Of(g)
		flat := Equal(slope, ZerosLike(slope))
		estimate := Add(D, Div(Abs(L), Where(flat, OnesLike(slope), slope)))
		estimate = Where(flat, far, Min(MulScalar(estimate, s.over), far))
		ε = Where(hit, Min(shrunk, bestD), Where(found, grown, estimate))
	} else {
		// In L0 the radius is a number of coordinates, 1 at first, and changes by at least one (section 2.2 of the paper).
		ε = Where(hit, Min(Min(AddScalar(ε, -1), Floor(shrunk)), bestD), Max(OnePlus(ε), Floor(grown)))
		ε = Max(ε, ZerosLike(ε))
	}
	δ = Add(Sub(x, p.X0), Mul(MulScalar(α, p.Limits.Width()), unit(g)))
	lo, hi := p.Room()
	if convex, ok := s.norm.(advlib.ConvexNorm); ok {
		δ = convex.Project(δ, ε, lo, hi)
	} else {
		δ = largest(Max(lo, Min(hi, δ)), ε)
	}
	return []*Node{best, bestD, δ, ε}
}

package attack

import (
	"context"
	"fmt"
	"math"

	. "advlab/advlib/internal/equation"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// FMN is the fast minimum-norm attack of Pintor et al. (2021), arXiv:2102.12827, algorithm 1: gradient steps on the margin, each
// projected on a ball around the original whose radius ε shrinks where the example is adversarial and grows where it is not.
//
// It departs from the paper in four things, without which it stops exactly on the boundary and finds nothing on many examples, or stays
// away from the nearest where slopes are infinite:
//
//   - The estimate of the distance to the boundary, which is the radius until an adversarial example is found, is multiplied by
//     1 + Overshoot.
//   - The projection is on the intersection of the ball with the box, where the paper clips what it has projected on the ball.
//   - Examples that have met infinite slopes are then settled: 200 steps that look ahead, see [advlib.Model.Ahead].
//   - At the end the segment between the original and the best example is bisected; in L0, changes that are not needed are undone.
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

// String returns for example "FMN-1000 Linf minimal".
func (a FMN) String() string {
	var α, γ, over, line string
	if a.StepSize != 0 {
		α = fmt.Sprintf("α = %g", a.StepSize)
	}
	if a.Gamma != 0 {
		γ = fmt.Sprintf("γ = %g", a.Gamma)
	}
	if a.Overshoot != 0 {
		over = fmt.Sprintf("overshoot %g", a.Overshoot)
	}
	if a.NoLineSearch {
		line = "no line search"
	}
	return named(fmt.Sprintf("FMN-%d", a.steps()), minimalIn(a.Norm), a.Goal, α, γ, over, line)
}

// minimalIn names what an attack of minimal norm looks for.
func minimalIn(n advlib.Norm) string {
	if n == nil {
		return "no norm"
	}
	return n.String() + " minimal"
}

func (a FMN) steps() int    { return numberOr(a.Steps, 1000) }
func (a FMN) α() float64    { return numberOr(a.StepSize, 1) }
func (a FMN) γ() float64    { return numberOr(a.Gamma, 0.05) }
func (a FMN) over() float64 { return numberOr(a.Overshoot, 0.05) }

// filled implements [indexed].
func (a FMN) filled() any {
	a.Steps, a.StepSize, a.Gamma, a.Overshoot = a.steps(), a.α(), a.γ(), a.over()
	return a
}
func (a FMN) lastγ() float64 { return min(fmnLastγ, a.γ()) }
func (a FMN) lastα() float64 { return a.α() * fmnLastα }

// Constants of the authors' code.
const (
	fmnLastγ = 0.001
	fmnLastα = 0.01 // times α₀
)

// Threat implements [advlib.Attack].
func (a FMN) Threat(v advlib.Victim) (advlib.Threat, error) {
	if err := checkGradient(v); err != nil {
		return advlib.Threat{}, err
	}
	threat := advlib.Threat{Norm: a.Norm, Radius: math.Inf(1), Goal: a.Goal}
	if err := checkNorm(a.Norm, advlib.L0, advlib.L1, advlib.L2, advlib.Linf); err != nil {
		return threat, err
	}
	if err := checkCount("Steps", a.Steps); err != nil {
		return threat, err
	}
	if err := checkSize("StepSize", a.StepSize); err != nil {
		return threat, err
	}
	if err := checkShare("Gamma", a.Gamma); err != nil {
		return threat, err
	}
	return threat, checkSize("Overshoot", a.Overshoot)
}

func (a FMN) checkGoal(advlib.Victim, bool) error { return nil } // the margin suits any number of classes

// Perturb implements [advlib.Attack].
func (a FMN) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	limits, key := v.Signature().Limits(), fmnStep{wish: wishOf(b), norm: a.Norm, over: 1 + a.over()}
	step := v.Compile(key, func(m *advlib.Model, in []*Node) []*Node { return key.graph(m, limits, in) })
	return eachPiece(ctx, b, func(s *iteration) error {
		s.push(s.zeros(), s.fill(1))
		for k := range a.steps() {
			if err := ctx.Err(); err != nil {
				return err
			}
			α := cosine(a.α(), a.lastα(), k, a.steps())
			γ := cosine(a.γ(), a.lastγ(), k, a.steps())
			if _, err := s.run(step, float32(α), float32(γ)); err != nil {
				return fmt.Errorf("step %d on %d examples: %w", k, len(s.rows), err)
			}
		}
		switch {
		case a.NoLineSearch:
			return nil
		case a.Norm == advlib.L0:
			return restore(ctx, v, b, s)
		}
		if err := settle(ctx, v, b, s, a.Norm.(advlib.ConvexNorm)); err != nil {
			return err
		}
		return searchSegment(ctx, v, b, s)
	})
}

// fmnStep determines the graph of a step.
type fmnStep struct {
	wish wish
	norm advlib.Norm
	over float64 // 1 + overshoot
}

// graph is one iteration of Pintor et al. (2021), algorithm 1, with L the margin, which is positive where x₀ + δ is adversarial:
//
//	ε ← min(ε·(1 − γ), ‖δ*‖) if L > 0, else ε·(1 + γ) if there is a δ*, else (1 + overshoot)·(‖δ‖ + |L|/‖∇L‖_q)
//	δ ← Π(δ + α·∇L/‖∇L‖₂),  Π projects on ‖·‖ ≤ ε and the box
func (s fmnStep) graph(m *advlib.Model, limits advlib.Limits, in []*Node) []*Node {
	x0, aim, rest := s.wish.read(in)
	best, bestD, δ, ε, α, γ := rest[0], rest[1], rest[2], rest[3], rest[4], rest[5]

	x := limits.Clip(Add(x0, δ), x0)
	z := m.Logits(x)
	L := advlib.Margin.Of(z, aim)
	hit := GreaterThan(clearance(z, aim), ZerosLike(L))
	found := LessThan(bestD, Infinity(bestD.Graph(), bestD.DType(), 1)) // before this step, as ε then still is the estimate
	best, bestD, D := nearer(s.norm, x, x0, hit, best, bestD)
	g := m.Ascent(L, x)

	shrunk, grown := Mul(ε, OneMinus(γ)), Mul(ε, OnePlus(γ))
	if convex, ok := s.norm.(advlib.ConvexNorm); ok {
		far := OnesLike(ε)
		far = MulScalar(far, limits.Diameter(s.norm))
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
	δ = Add(Sub(x, x0), Mul(MulScalar(α, limits.Width()), unit(g)))
	lo, hi := limits.Room(x0, x0)
	if convex, ok := s.norm.(advlib.ConvexNorm); ok {
		δ = convex.Project(δ, ε, lo, hi)
	} else {
		δ = largest(Max(lo, Min(hi, δ)), ε)
	}
	return []*Node{best, bestD, δ, ε}
}

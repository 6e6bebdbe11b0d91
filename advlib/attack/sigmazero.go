package attack

import (
	"context"
	"fmt"
	"math"

	. "advlab/advlib/internal/equation"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// SigmaZero is σ-zero, the L0 attack of Cinà et al. (2025), arXiv:2402.01879, algorithm 1: Adam on the margin and a smooth
// approximation of the number of changed coordinates, with small changes set to 0 below a threshold that rises where the example is
// adversarial and falls where it is not.
//
// At the end changes that are not needed are undone, which the paper does not do.
type SigmaZero struct {
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Steps is N; 0 means 1000.
	Steps int
	// LearningRate is η₀, in widths of the box; it falls to a tenth along a cosine. 0 means 1.
	LearningRate float64
	// Sigma is σ, how smooth the approximation of L0 is; 0 means 0.001.
	Sigma float64
	// Threshold is τ₀, in widths of the box; 0 means 0.3.
	Threshold float64
	// ThresholdRate is t, how much of η the threshold moves in a step; 0 means 0.01.
	ThresholdRate float64
	// NoLineSearch leaves the final undoing out.
	NoLineSearch bool
}

// String returns for example "σ-zero-1000 L0 minimal".
func (a SigmaZero) String() string {
	var η, σ, τ, t, line string
	if a.LearningRate != 0 {
		η = fmt.Sprintf("rate %g", a.LearningRate)
	}
	if a.Sigma != 0 {
		σ = fmt.Sprintf("σ = %g", a.Sigma)
	}
	if a.Threshold != 0 {
		τ = fmt.Sprintf("τ₀ = %g", a.Threshold)
	}
	if a.ThresholdRate != 0 {
		t = fmt.Sprintf("t = %g", a.ThresholdRate)
	}
	if a.NoLineSearch {
		line = "no line search"
	}
	return named(fmt.Sprintf("σ-zero-%d", a.steps()), "L0 minimal", a.Goal, η, σ, τ, t, line)
}

func (a SigmaZero) steps() int  { return numberOr(a.Steps, 1000) }
func (a SigmaZero) η0() float64 { return numberOr(a.LearningRate, 1) }
func (a SigmaZero) σ() float64  { return numberOr(a.Sigma, 1e-3) }
func (a SigmaZero) τ0() float64 { return numberOr(a.Threshold, 0.3) }
func (a SigmaZero) t() float64  { return numberOr(a.ThresholdRate, 0.01) }

// filled implements [indexed].
func (a SigmaZero) filled() any {
	a.Steps, a.LearningRate, a.Sigma, a.Threshold, a.ThresholdRate = a.steps(), a.η0(), a.σ(), a.τ0(), a.t()
	return a
}

// sigmaZeroLastη is the last learning rate over the first.
const sigmaZeroLastη = 0.1

// Threat implements [advlib.Attack].
func (a SigmaZero) Threat(v advlib.Victim) (advlib.Threat, error) {
	if err := checkGradient(v); err != nil {
		return advlib.Threat{}, err
	}
	threat := advlib.Threat{Norm: advlib.L0, Radius: math.Inf(1), Goal: a.Goal}
	if err := checkCount("Steps", a.Steps); err != nil {
		return threat, err
	}
	for _, field := range []struct {
		name  string
		value float64
	}{{"LearningRate", a.LearningRate}, {"Sigma", a.Sigma}, {"Threshold", a.Threshold}, {"ThresholdRate", a.ThresholdRate}} {
		if err := checkSize(field.name, field.value); err != nil {
			return threat, err
		}
	}
	return threat, nil
}

func (a SigmaZero) checkGoal(advlib.Victim, bool) error { return nil } // the margin suits any number of classes

// Perturb implements [advlib.Attack].
func (a SigmaZero) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	limits, key := v.Signature().Limits(), sigmaZeroStep{wish: wishOf(b), σ: a.σ(), t: a.t()}
	step := v.Compile(key, func(m *advlib.Model, in []*Node) []*Node { return key.graph(m, limits, in) })
	return eachPiece(ctx, b, func(s *iteration) error {
		s.push(s.zeros(), s.fill(float32(a.τ0())), s.zeros(), s.zeros())
		η0 := a.η0()
		for k := range a.steps() {
			if err := ctx.Err(); err != nil {
				return err
			}
			η := cosine(η0, sigmaZeroLastη*η0, k, a.steps())
			if _, err := s.run(step, float32(η), float32(adamRate(η, k))); err != nil {
				return fmt.Errorf("step %d on %d examples: %w", k, len(s.rows), err)
			}
		}
		if a.NoLineSearch {
			return nil
		}
		return restore(ctx, v, b, s)
	})
}

// sigmaZeroStep determines the graph of a step.
type sigmaZeroStep struct {
	wish wish
	σ, t float64
}

// graph is one iteration of Cinà et al. (2025), algorithm 1, in widths of the box:
//
//	L = max(f_y − max_{k≠y} f_k, 0) + (1/d)·Σ δᵢ²/(δᵢ² + σ)    (equations 4 and 6)
//	δ ← clip(Adam(δ, ∇L/‖∇L‖_∞))
//	τ ← τ + t·η if x₀ + δ is adversarial, else τ − t·η
//	δᵢ ← 0 where |δᵢ| < τ
func (s sigmaZeroStep) graph(m *advlib.Model, limits advlib.Limits, in []*Node) []*Node {
	x0, aim, rest := s.wish.read(in)
	best, bestD, δ, τ, m1, m2, η, rate := rest[0], rest[1], rest[2], rest[3], rest[4], rest[5], rest[6], rest[7]
	d := float64(limits.Free())

	// Exactly x₀ where nothing has changed: rounding must not count.
	x := Where(Equal(δ, ZerosLike(δ)), x0, limits.Clip(Add(x0, MulScalar(δ, limits.Width())), x0))
	z := m.Logits(x)
	hit := GreaterThan(clearance(z, aim), ZerosLike(τ))
	best, bestD, _ = nearer(advlib.L0, x, x0, hit, best, bestD)

	hinge := MaxScalar(Neg(advlib.Margin.Of(z, aim)), 0)
	g := MulScalar(m.Gradient(hinge, x), limits.Width())
	// ∂/∂δ of δ²/(δ² + σ) is 2σδ/(δ² + σ)².
	g = Add(g, DivScalar(Div(MulScalar(δ, 2*s.σ), squared(AddScalar(squared(δ), s.σ))), d))
	size := advlib.Linf.Of(g)
	g = Div(g, perRow(Where(Equal(size, ZerosLike(size)), OnesLike(size), size), g))

	m1, m2, change := adam(m1, m2, g)
	lo, hi := limits.Room(x0, x0)
	δ = Add(δ, Mul(rate, change))
	δ = Max(DivScalar(lo, limits.Width()), Min(DivScalar(hi, limits.Width()), δ))
	move := MulScalar(η, s.t)
	τ = ClipScalar(Where(hit, Add(τ, move), Sub(τ, move)), 0, 1)
	δ = Where(LessThan(Abs(δ), perRow(τ, δ)), ZerosLike(δ), δ)
	return []*Node{best, bestD, δ, τ, m1, m2}
}

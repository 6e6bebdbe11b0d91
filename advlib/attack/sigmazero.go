package attack

import (
	"context"

	. "advlab/advlib/internal/equation"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[SigmaZero](Nearest, Command{Name: "sigma-zero", About: "σ-zero: gradient steps on a smooth stand-in for L0",
		Make: func(advlib.Ball) advlib.Attack {
			return SigmaZero{}
		}})
}

// SigmaZero is σ-zero, the L0 attack of Cinà et al. (2025), arXiv:2402.01879, algorithm 1: Adam on the margin and a
// smooth approximation of the number of changed coordinates, with small changes set to 0 below a threshold that rises
// where the example is adversarial and falls where it is not.
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

// Describe implements [craft.Described].
func (a *SigmaZero) Describe(d *craft.Description) {
	d.Paper("Cinà et al. 2025, arXiv:2402.01879")
	d.Gradients()
	d.Minimal(advlib.L0)
	d.Goal(&a.Goal)
	d.Count(&a.Steps, 1000)
	d.Size(&a.LearningRate, 1).As("rate %g")
	d.Size(&a.Sigma, 1e-3).As("σ = %g")
	d.Size(&a.Threshold, 0.3).As("τ₀ = %g")
	d.Size(&a.ThresholdRate, 0.01).As("t = %g")
	d.Flag(&a.NoLineSearch, "no line search")
	d.Name("σ-zero-%d", a.Steps)
	d.Passes(a.Steps, a.Steps)
}

// String returns for example "σ-zero-1000 L0 minimal".
func (a SigmaZero) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a SigmaZero) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a SigmaZero) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// sigmaZeroLastη is the last learning rate over the first.
const sigmaZeroLastη = 0.1

// Perturb implements [advlib.Attack].
func (a SigmaZero) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	key := sigmaZeroStep{σ: a.Sigma, t: a.ThresholdRate}
	step := craft.Compile(v, b, key, key.graph)
	return craft.Nearest(ctx, b, func(s *craft.Search) error {
		s.Push(s.Zeros(), s.Fill(a.Threshold), s.Zeros(), s.Zeros())
		for k := range a.Steps {
			η := craft.Cosine(a.LearningRate, sigmaZeroLastη*a.LearningRate, k, a.Steps)
			if _, err := s.Run(ctx, step, float32(η), float32(adamRate(η, k))); err != nil {
				return err
			}
		}
		if a.NoLineSearch {
			return nil
		}
		return s.Restore(ctx, v)
	})
}

// sigmaZeroStep determines the graph of a step.
type sigmaZeroStep struct {
	σ, t float64
}

// graph is one iteration of Cinà et al. (2025), algorithm 1, in widths of the box:
//
//	L = max(f_y − max_{k≠y} f_k, 0) + (1/d)·Σ δᵢ²/(δᵢ² + σ)    (equations 4 and 6)
//	δ ← clip(Adam(δ, ∇L/‖∇L‖_∞))
//	τ ← τ + t·η if x₀ + δ is adversarial, else τ − t·η
//	δᵢ ← 0 where |δᵢ| < τ
func (s sigmaZeroStep) graph(p *craft.Point, in []*Node) []*Node {
	best, bestD, δ, τ, m1, m2, η, rate := in[0], in[1], in[2], in[3], in[4], in[5], in[6], in[7]
	d := float64(p.Limits.Free())

	// Exactly x₀ where nothing has changed: rounding must not count.
	x := Where(Equal(δ, ZerosLike(δ)), p.X0, p.Clip(Add(p.X0, MulScalar(δ, p.Limits.Width()))))
	z := p.Logits(x)
	hit := p.Reached(z)
	best, bestD, _ = p.Nearer(advlib.L0, x, hit, best, bestD)

	hinge := MaxScalar(Neg(advlib.Margin.Of(z, p.Goal)), 0)
	g := MulScalar(p.Gradient(hinge, x), p.Limits.Width())
	// ∂/∂δ of δ²/(δ² + σ) is 2σδ/(δ² + σ)².
	g = Add(g, DivScalar(Div(MulScalar(δ, 2*s.σ), squared(AddScalar(squared(δ), s.σ))), d))
	size := advlib.Linf.Of(g)
	g = Div(g, craft.PerRow(Where(Equal(size, ZerosLike(size)), OnesLike(size), size), g))

	m1, m2, change := adam(m1, m2, g)
	lo, hi := p.Room()
	δ = Add(δ, Mul(rate, change))
	δ = Max(DivScalar(lo, p.Limits.Width()), Min(DivScalar(hi, p.Limits.Width()), δ))
	move := MulScalar(η, s.t)
	τ = ClipScalar(Where(hit, Add(τ, move), Sub(τ, move)), 0, 1)
	δ = Where(LessThan(Abs(δ), craft.PerRow(τ, δ)), ZerosLike(δ), δ)
	return []*Node{best, bestD, δ, τ, m1, m2}
}

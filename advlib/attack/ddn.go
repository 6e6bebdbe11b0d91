package attack

import (
	"context"
	"fmt"
	"math"

	. "advlab/advlib/internal/equation"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// DDN is the attack with decoupled direction and norm of Rony et al. (2019), arXiv:1811.09600, algorithm 1: the direction of the
// perturbation follows the gradient of the cross-entropy, its L2 norm ε shrinks by a share γ where the example is adversarial and
// grows by it where it is not.
//
// It departs from the paper in three things: 1000 steps where the paper tries 100, 300 and 1000; the best example is not rounded to
// 256 levels; and at the end the segment between the original and the best example is bisected, because ε moves in steps of 5 %.
type DDN struct {
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Steps is K; 0 means 1000.
	Steps int
	// InitialNorm is ε₀, in widths of the box; 0 means 1.
	InitialNorm float64
	// Gamma is γ, the share by which ε changes in a step, below 1; 0 means 0.05.
	Gamma float64
	// NoLineSearch leaves the final bisection out.
	NoLineSearch bool
}

// String returns for example "DDN-1000 L2 minimal".
func (a DDN) String() string {
	var ε, γ, line string
	if a.InitialNorm != 0 {
		ε = fmt.Sprintf("ε₀ = %g", a.InitialNorm)
	}
	if a.Gamma != 0 {
		γ = fmt.Sprintf("γ = %g", a.Gamma)
	}
	if a.NoLineSearch {
		line = "no line search"
	}
	return named(fmt.Sprintf("DDN-%d", a.steps()), "L2 minimal", a.Goal, ε, γ, line)
}

func (a DDN) steps() int           { return numberOr(a.Steps, 1000) }
func (a DDN) initialNorm() float64 { return numberOr(a.InitialNorm, 1) }
func (a DDN) γ() float64           { return numberOr(a.Gamma, 0.05) }

// filled implements [indexed].
func (a DDN) filled() any {
	a.Steps, a.InitialNorm, a.Gamma = a.steps(), a.initialNorm(), a.γ()
	return a
}

// The step size falls from one width of the box to a hundredth of it along a cosine (section 4 of the paper).
const (
	ddnFirstα = 1
	ddnLastα  = 0.01
)

// Threat implements [advlib.Attack].
func (a DDN) Threat(v advlib.Victim) (advlib.Threat, error) {
	if err := checkGradient(v); err != nil {
		return advlib.Threat{}, err
	}
	threat := advlib.Threat{Norm: advlib.L2, Radius: math.Inf(1), Goal: a.Goal}
	if err := checkCount("Steps", a.Steps); err != nil {
		return threat, err
	}
	if err := checkSize("InitialNorm", a.InitialNorm); err != nil {
		return threat, err
	}
	return threat, checkShare("Gamma", a.Gamma)
}

func (a DDN) checkGoal(advlib.Victim, bool) error { return nil } // cross-entropy suits any number of classes

// Perturb implements [advlib.Attack].
func (a DDN) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	limits, key := v.Signature().Limits(), ddnStep{wish: wishOf(b), γ: a.γ()}
	step := v.Compile(key, func(m *advlib.Model, in []*Node) []*Node { return key.graph(m, limits, in) })
	return eachPiece(ctx, b, func(s *iteration) error {
		u := s.directions(b)
		defer advlib.Free(u)
		s.push(s.zeros(), s.fill(float32(a.initialNorm()*limits.Width())))
		for k := range a.steps() {
			if err := ctx.Err(); err != nil {
				return err
			}
			α := cosine(ddnFirstα, ddnLastα, k, a.steps()) * limits.Width()
			if _, err := s.run(step, u, float32(α)); err != nil {
				return fmt.Errorf("step %d on %d examples: %w", k, len(s.rows), err)
			}
		}
		if a.NoLineSearch {
			return nil
		}
		return searchSegment(ctx, v, b, s)
	})
}

// directions returns a random direction for each row, in the shape of the inputs.
func (s *iteration) directions(b advlib.Batch) *tensors.Tensor {
	u := s.zeros()
	size := u.Shape().Size() / s.size
	tensors.MustMutableFlatData(u, func(u []float32) {
		for i, r := range s.rows {
			advlib.L2.Sample(b.Rand(r, 0), u[i*size:(i+1)*size])
		}
	})
	return u
}

// ddnStep determines the graph of a step.
type ddnStep struct {
	wish wish
	γ    float64
}

// graph is one iteration of Rony et al. (2019), algorithm 1, with L ascended:
//
//	ε ← (1 − γ)·ε if x₀ + δ is adversarial, else (1 + γ)·ε
//	δ ← δ + α·∇L/‖∇L‖₂,  a random direction u where ∇L = 0
//	δ ← clip(ε·δ/‖δ‖₂)
func (s ddnStep) graph(m *advlib.Model, limits advlib.Limits, in []*Node) []*Node {
	x0, aim, rest := s.wish.read(in)
	best, bestD, δ, ε, u, α := rest[0], rest[1], rest[2], rest[3], rest[4], rest[5]

	x := limits.Clip(Add(x0, δ), x0)
	z := m.Logits(x)
	hit := GreaterThan(clearance(z, aim), ZerosLike(ε))
	best, bestD, _ = nearer(advlib.L2, x, x0, hit, best, bestD)
	g := m.Ascent(advlib.CrossEntropy.Of(z, aim), x)

	ε = Where(hit, MulScalar(ε, 1-s.γ), MulScalar(ε, 1+s.γ))
	flat := Equal(advlib.Linf.Of(g), ZerosLike(ε))
	δ = Add(Sub(x, x0), Mul(α, unit(Where(perRow(flat, g), u, g))))
	δ = Mul(perRow(ε, δ), unit(δ))
	lo, hi := limits.Room(x0, x0)
	return []*Node{best, bestD, Max(lo, Min(hi, δ)), ε}
}

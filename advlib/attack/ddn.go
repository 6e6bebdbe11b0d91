package attack

import (
	"context"

	. "advlab/advlib/internal/equation"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[DDN](Nearest, Command{Name: "ddn", About: "DDN: gradient steps on a sphere that shrinks and grows",
		Make: func(advlib.Ball) advlib.Attack { return DDN{} }})
}

// DDN is the attack with decoupled direction and norm of Rony et al. (2019), arXiv:1811.09600, algorithm 1: the
// direction of the perturbation follows the gradient of the cross-entropy, its L2 norm ε shrinks by a share γ where the
// example is adversarial and grows by it where it is not.
//
// It departs from the paper in three things: 1000 steps where the paper tries 100, 300 and 1000; the best example is
// not rounded to 256 levels; and at the end the segment between the original and the best example is bisected, because
// ε moves in steps of 5 %.
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

// Describe implements [craft.Described].
func (a *DDN) Describe(d *craft.Description) {
	d.Paper("Rony et al. 2019, arXiv:1811.09600")
	d.Gradients()
	d.Minimal(advlib.L2)
	d.Goal(&a.Goal)
	d.Count(&a.Steps, 1000)
	d.Size(&a.InitialNorm, 1).As("ε₀ = %g")
	d.Share(&a.Gamma, 0.05).As("γ = %g")
	d.Flag(&a.NoLineSearch, "no line search")
	d.Name("DDN-%d", a.Steps)
	d.Passes(a.Steps, a.Steps)
}

// String returns for example "DDN-1000 L2 minimal".
func (a DDN) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a DDN) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a DDN) Plan(v advlib.Victim) (forward, backward float64, known bool) { return craft.Plan(a, v) }

// The step size falls from one width of the box to a hundredth of it along a cosine (section 4 of the paper).
const (
	ddnFirstα = 1
	ddnLastα  = 0.01
)

// Perturb implements [advlib.Attack].
func (a DDN) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	width := v.Signature().Limits().Width()
	step := craft.Compile(v, b, ddnStep{a.Gamma}, ddnStep{a.Gamma}.graph)
	return craft.Nearest(ctx, b, func(s *craft.Search) error {
		u := s.Zeros()
		defer advlib.Free(u)
		s.Each(u, func(i int, row []float32) { advlib.L2.Sample(b.Rand(s.At[i], 0), row) })
		s.Push(s.Zeros(), s.Fill(a.InitialNorm*width))
		for k := range a.Steps {
			α := craft.Cosine(ddnFirstα, ddnLastα, k, a.Steps) * width
			if _, err := s.Run(ctx, step, u, float32(α)); err != nil {
				return err
			}
		}
		if a.NoLineSearch {
			return nil
		}
		return s.Bisect(ctx, v)
	})
}

// ddnStep determines the graph of a step.
type ddnStep struct {
	γ float64
}

// graph is one iteration of Rony et al. (2019), algorithm 1, with L ascended:
//
//	ε ← (1 − γ)·ε if x₀ + δ is adversarial, else (1 + γ)·ε
//	δ ← δ + α·∇L/‖∇L‖₂,  a random direction u where ∇L = 0
//	δ ← clip(ε·δ/‖δ‖₂)
func (s ddnStep) graph(p *craft.Point, in []*Node) []*Node {
	best, bestD, δ, ε, u, α := in[0], in[1], in[2], in[3], in[4], in[5]

	x := p.Clip(Add(p.X0, δ))
	z := p.Logits(x)
	hit := p.Reached(z)
	best, bestD, _ = p.Nearer(advlib.L2, x, hit, best, bestD)
	g := p.Ascent(advlib.CrossEntropy.Of(z, p.Goal), x)

	ε = Where(hit, MulScalar(ε, 1-s.γ), MulScalar(ε, 1+s.γ))
	flat := Equal(advlib.Linf.Of(g), ZerosLike(ε))
	δ = Add(Sub(x, p.X0), Mul(α, unit(Where(craft.PerRow(flat, g), u, g))))
	δ = Mul(craft.PerRow(ε, δ), unit(δ))
	lo, hi := p.Room()
	return []*Node{best, bestD, Max(lo, Min(hi, δ)), ε}
}

// unit returns each row of g divided by its L2 norm; rows of zeros stay zero.
func unit(g *Node) *Node { return advlib.L2.Ascend(g) }

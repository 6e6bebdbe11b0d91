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
	register[EAD](Nearest, Command{Name: "ead", About: "EAD: Carlini & Wagner with an elastic net",
		Make: func(advlib.Ball) advlib.Attack { return EAD{} }})
}

// EAD is the elastic-net attack of Chen et al. (2018), arXiv:1709.04114, algorithm 1, with the L1 decision rule: it
// minimises c·f(x) + ‖x − x₀‖₂² + β·‖x − x₀‖₁ by iterative shrinkage and thresholding with momentum (FISTA), and
// searches for the smallest constant c that succeeds, for each example by itself.
//
// Constants are those of the authors' code, with these departures: β is 0.01, the middle of the three values that the
// paper tries; distances are in widths of the box; untargeted is the default; a constant c succeeds, as in
// [CarliniWagner], when an iterate of the last tenth of its steps is adversarial; and at the end the segment between
// the original and the best example is bisected.
type EAD struct {
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Confidence is κ: by how much the logits of an adversarial example must differ.
	Confidence float64
	// Beta is β, the weight of L1 and the threshold, in widths of the box, below which changes are set to 0; 0 means 0.01.
	Beta float64
	// BinarySearchSteps is how many values of c are tried; 0 means 9.
	BinarySearchSteps int
	// Steps for each c; 0 means 1000.
	Steps int
	// LearningRate is the first step size, in widths of the box; it falls to 0 as a square root. 0 means 0.01.
	LearningRate float64
	// InitialConst is the first c; 0 means 0.001.
	InitialConst float64
	// NoLineSearch leaves the final bisection out.
	NoLineSearch bool
}

// Describe implements [craft.Described].
func (a *EAD) Describe(d *craft.Description) {
	d.Paper("Chen et al. 2018, arXiv:1709.04114")
	d.Gradients()
	d.Minimal(advlib.L1)
	d.Goal(&a.Goal)
	d.Size(&a.Confidence, 0).As("κ = %g")
	d.Size(&a.Beta, 0.01).As("β = %g")
	d.Count(&a.BinarySearchSteps, 9)
	d.Count(&a.Steps, 1000)
	d.Size(&a.LearningRate, 0.01).As("rate %g")
	d.Size(&a.InitialConst, 1e-3).As("c₀ = %g")
	d.Flag(&a.NoLineSearch, "no line search")
	d.Name("EAD %d×%d", a.BinarySearchSteps, a.Steps)
	d.Passes(a.BinarySearchSteps*a.Steps, a.BinarySearchSteps*a.Steps)
}

// String returns for example "EAD 9×1000 L1 minimal".
func (a EAD) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a EAD) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a EAD) Plan(v advlib.Victim) (forward, backward float64, known bool) { return craft.Plan(a, v) }

// Perturb implements [advlib.Attack].
func (a EAD) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	key := eadStep{κ: a.Confidence, β: a.Beta}
	step := craft.Compile(v, b, key, key.graph)
	return craft.Nearest(ctx, b, func(s *craft.Search) error {
		search := newConstants(len(s.At), a.InitialConst)
		for k := range a.BinarySearchSteps {
			if a.BinarySearchSteps >= 10 && k == a.BinarySearchSteps-1 {
				search.repeat() // as in the authors' code
			}
			hit, err := a.minimise(ctx, s, step, search.c)
			if err != nil {
				return err
			}
			search.next(hit)
		}
		if a.NoLineSearch || a.Confidence > 0 { // on the way back there is less confidence
			return nil
		}
		return s.Bisect(ctx, v)
	})
}

// minimise runs all steps from the original with the given c, and tells which rows had an adversarial iterate among the
// last tenth.
func (a EAD) minimise(ctx context.Context, s *craft.Search, step *advlib.Step, c []float64) (hit []bool, err error) {
	s.Drop(2)
	s.Push(s.Zeros(), s.Zeros(), s.Fill(math.Inf(1)))
	flat := make([]float32, s.Size)
	for i, v := range c {
		flat[i] = float32(v)
	}
	weights := tensors.FromFlatDataAndDimensions(flat, s.Size)
	defer advlib.Free(weights)
	n := a.Steps
	for k := range n + 1 { // the last one judges
		α := a.LearningRate * math.Sqrt(1-float64(k)/float64(n))
		if _, err := s.Run(ctx, step, weights, float32(α), float32(float64(k)/float64(k+3))); err != nil {
			return nil, err
		}
	}
	return succeeded(tensors.MustCopyFlatData[float32](s.State[4])[:len(s.At)], n), nil
}

// eadStep determines the graph of a step.
type eadStep struct {
	κ, β float64
}

// graph is one iteration of Chen et al. (2018), equations 4 to 6, with δ = x − x₀ and υ = y − x₀ in widths of the box:
//
//	g(y) = c·f(y) + ‖υ‖₂²,  f(y) = max(max_{i≠t} Z(y)_i − Z(y)_t, −κ)
//	δ' = S_β(υ − α·∇g(y)),  S_β shrinks by β, sets to 0 what is smaller, and clips to the box
//	υ  = δ' + k/(k + 3)·(δ' − δ)
//
// x is judged before. The age is how many steps ago x was adversarial.
func (s eadStep) graph(p *craft.Point, in []*Node) []*Node {
	best, bestD, δ, υ, age, c, α, momentum := in[0], in[1], in[2], in[3], in[4], in[5], in[6], in[7]
	at := func(δ *Node) *Node {
		return Where(Equal(δ, ZerosLike(δ)), p.X0, p.Clip(Add(p.X0, MulScalar(δ, p.Limits.Width()))))
	}

	x := at(δ)
	hit := GreaterThan(AddScalar(p.Clearance(p.Logits(x)), -s.κ), ZerosLike(c))
	best, bestD, _ = p.Nearer(advlib.L1, x, hit, best, bestD)
	age = Where(hit, ZerosLike(age), AddScalar(age, 1))

	y := at(υ)
	f := MaxScalar(Neg(advlib.Margin.Of(p.Logits(y), p.Goal)), -s.κ)
	g := Add(MulScalar(p.Gradient(Mul(c, f), y), p.Limits.Width()), MulScalar(υ, 2))
	v := Sub(υ, Mul(α, g))
	shrunk := Mul(Sign(v), MaxScalar(AddScalar(Abs(v), -s.β), 0))
	lo, hi := p.Room()
	next := Max(DivScalar(lo, p.Limits.Width()), Min(DivScalar(hi, p.Limits.Width()), shrunk))
	υ = Add(next, Mul(momentum, Sub(next, δ)))
	return []*Node{best, bestD, next, υ, age}
}

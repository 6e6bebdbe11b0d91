package attack

import (
	"context"
	"fmt"
	"math"

	. "advlab/advlib/internal/equation"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// EAD is the elastic-net attack of Chen et al. (2018), arXiv:1709.04114, algorithm 1, with the L1 decision rule: it minimises
// c·f(x) + ‖x − x₀‖₂² + β·‖x − x₀‖₁ by iterative shrinkage and thresholding with momentum (FISTA), and searches for the smallest
// constant c that succeeds, for each example by itself.
//
// Constants are those of the authors' code, with these departures: β is 0.01, the middle of the three values that the paper tries;
// distances are in widths of the box; untargeted is the default; a constant c succeeds, as in [CarliniWagner], when an iterate of the last tenth
// of its steps is adversarial; and at the end the segment between the original and the best example is bisected.
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

// String returns for example "EAD 9×1000 L1 minimal".
func (a EAD) String() string {
	var κ, β, lr, c, line string
	if a.Confidence != 0 {
		κ = fmt.Sprintf("κ = %g", a.Confidence)
	}
	if a.Beta != 0 {
		β = fmt.Sprintf("β = %g", a.Beta)
	}
	if a.LearningRate != 0 {
		lr = fmt.Sprintf("rate %g", a.LearningRate)
	}
	if a.InitialConst != 0 {
		c = fmt.Sprintf("c₀ = %g", a.InitialConst)
	}
	if a.NoLineSearch {
		line = "no line search"
	}
	return named(fmt.Sprintf("EAD %d×%d", a.searches(), a.steps()), "L1 minimal", a.Goal, κ, β, lr, c, line)
}

func (a EAD) searches() int     { return numberOr(a.BinarySearchSteps, 9) }
func (a EAD) steps() int        { return numberOr(a.Steps, 1000) }
func (a EAD) β() float64        { return numberOr(a.Beta, 0.01) }
func (a EAD) rate() float64     { return numberOr(a.LearningRate, 0.01) }
func (a EAD) initialC() float64 { return numberOr(a.InitialConst, 1e-3) }

// filled implements [indexed].
func (a EAD) filled() any {
	a.Beta, a.BinarySearchSteps, a.Steps, a.LearningRate, a.InitialConst = a.β(), a.searches(), a.steps(), a.rate(), a.initialC()
	return a
}

// Threat implements [advlib.Attack].
func (a EAD) Threat(v advlib.Victim) (advlib.Threat, error) {
	if err := checkGradient(v); err != nil {
		return advlib.Threat{}, err
	}
	threat := advlib.Threat{Norm: advlib.L1, Radius: math.Inf(1), Goal: a.Goal}
	if err := checkCount("BinarySearchSteps", a.BinarySearchSteps); err != nil {
		return threat, err
	}
	if err := checkCount("Steps", a.Steps); err != nil {
		return threat, err
	}
	for _, field := range []struct {
		name  string
		value float64
	}{{"Confidence", a.Confidence}, {"Beta", a.Beta}, {"LearningRate", a.LearningRate}, {"InitialConst", a.InitialConst}} {
		if err := checkSize(field.name, field.value); err != nil {
			return threat, err
		}
	}
	return threat, nil
}

func (a EAD) checkGoal(advlib.Victim, bool) error { return nil } // the margin suits any number of classes

// Perturb implements [advlib.Attack].
func (a EAD) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	limits, key := v.Signature().Limits(), eadStep{wish: wishOf(b), κ: a.Confidence, β: a.β()}
	step := v.Compile(key, func(m *advlib.Model, in []*Node) []*Node { return key.graph(m, limits, in) })
	return eachPiece(ctx, b, func(s *iteration) error {
		search := newConstants(len(s.rows), a.initialC())
		for k := range a.searches() {
			if a.searches() >= 10 && k == a.searches()-1 {
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
		return searchSegment(ctx, v, b, s)
	})
}

// minimise runs all steps from the original with the given c, and tells which rows had an adversarial iterate among the last tenth.
func (a EAD) minimise(ctx context.Context, s *iteration, step *advlib.Step, c []float64) (hit []bool, err error) {
	s.drop(2)
	s.push(s.zeros(), s.zeros(), s.fill(float32(math.Inf(1))))
	flat := make([]float32, s.size)
	for i, v := range c {
		flat[i] = float32(v)
	}
	weights := tensors.FromFlatDataAndDimensions(flat, s.size)
	defer advlib.Free(weights)
	n := a.steps()
	for k := range n + 1 { // the last one judges
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		α := a.rate() * math.Sqrt(1-float64(k)/float64(n))
		if _, err := s.run(step, weights, float32(α), float32(float64(k)/float64(k+3))); err != nil {
			return nil, fmt.Errorf("step %d on %d examples: %w", k, len(s.rows), err)
		}
	}
	return succeeded(tensors.MustCopyFlatData[float32](s.state[4])[:len(s.rows)], n), nil
}

// eadStep determines the graph of a step.
type eadStep struct {
	wish wish
	κ, β float64
}

// graph is one iteration of Chen et al. (2018), equations 4 to 6, with δ = x − x₀ and υ = y − x₀ in widths of the box:
//
//	g(y) = c·f(y) + ‖υ‖₂²,  f(y) = max(max_{i≠t} Z(y)_i − Z(y)_t, −κ)
//	δ' = S_β(υ − α·∇g(y)),  S_β shrinks by β, sets to 0 what is smaller, and clips to the box
//	υ  = δ' + k/(k + 3)·(δ' − δ)
//
// x is judged before. The age is how many steps ago x was adversarial.
func (s eadStep) graph(m *advlib.Model, limits advlib.Limits, in []*Node) []*Node {
	x0, aim, rest := s.wish.read(in)
	best, bestD, δ, υ, age, c, α, momentum := rest[0], rest[1], rest[2], rest[3], rest[4], rest[5], rest[6], rest[7]
	at := func(δ *Node) *Node {
		return Where(Equal(δ, ZerosLike(δ)), x0, limits.Clip(Add(x0, MulScalar(δ, limits.Width())), x0))
	}

	x := at(δ)
	hit := GreaterThan(AddScalar(clearance(m.Logits(x), aim), -s.κ), ZerosLike(c))
	best, bestD, _ = nearer(advlib.L1, x, x0, hit, best, bestD)
	age = Where(hit, ZerosLike(age), AddScalar(age, 1))

	y := at(υ)
	f := MaxScalar(Neg(advlib.Margin.Of(m.Logits(y), aim)), -s.κ)
	g := Add(MulScalar(m.Gradient(Mul(c, f), y), limits.Width()), MulScalar(υ, 2))
	v := Sub(υ, Mul(α, g))
	shrunk := Mul(Sign(v), MaxScalar(AddScalar(Abs(v), -s.β), 0))
	lo, hi := limits.Room(x0, x0)
	next := Max(DivScalar(lo, limits.Width()), Min(DivScalar(hi, limits.Width()), shrunk))
	υ = Add(next, Mul(momentum, Sub(next, δ)))
	return []*Node{best, bestD, next, υ, age}
}

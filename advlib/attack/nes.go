package attack

import (
	"context"
	"math"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[NES](InBall, Command{Name: "nes", About: "NES, 10000 queries: gradient steps with slopes estimated from scores",
		Make: func(b advlib.Ball) advlib.Attack { return NES{Ball: b} }})
}

// NES is the attack of Ilyas et al. (2018), arXiv:1804.08598, algorithm 1 and section 3.1: the slope is estimated by
// natural evolution strategies, from the losses at pairs of points x ± σu with normal u, and followed as in PGD, with
// momentum. The step is halved where the loss does not rise. It needs no gradient, and runs on any victim with scores.
//
// It departs from the authors' code in this: points are clipped before they are asked about, and the slope is computed
// from the points that were asked about; the loss is the margin, since the slope of the cross-entropy vanishes where
// the model is sure; where scores are rounded, so that all are equal, σ is doubled; and each query counts.
type NES struct {
	// Ball is what may be changed; its norm is L2 or Linf. It must be set.
	Ball advlib.Ball
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Loss is raised; nil means the margin.
	Loss advlib.Loss
	// Queries is the budget of each example, clean prediction and final check included; 0 means 10000.
	Queries int
	// Samples is how many points a slope is estimated from, in pairs; 0 means 50.
	Samples int
	// Sigma is σ, how far away these are, in widths of the box; 0 means 0.001.
	Sigma float64
	// StepSize is the first step, in the ball's norm; 0 means ε/5. It falls to 1/200 of that.
	StepSize float64
	// Momentum is the share of the slopes before that is kept; 0 means 0.9.
	Momentum float64
}

// Describe implements [craft.Described].
func (a *NES) Describe(d *craft.Description) {
	d.Paper("Ilyas et al. 2018, arXiv:1804.08598")
	d.Scores()
	d.Ball(&a.Ball, advlib.L2, advlib.Linf)
	d.Goal(&a.Goal)
	d.Loss(&a.Loss, advlib.Margin)
	d.Queries(&a.Queries, 10000)
	describePairs(d, &a.Samples, 50)
	d.Size(&a.Sigma, 1e-3).As("σ = %g")
	d.Size(&a.StepSize, a.Ball.Radius/5).As("α = %.6g")
	d.Share(&a.Momentum, 0.9).As("momentum %g")
	d.Name("NES-%d", a.Queries)
}

// describePairs describes the number of points that a slope is estimated from.
func describePairs(d *craft.Description, n *int, otherwise int) {
	d.Refuse(*n == 1, "Samples = 1: points are asked about in pairs, so give an even number, or 0 for %d", otherwise)
	d.Count(n, otherwise).As("%d samples")
}

// String returns for example "NES-10000 Linf ≤ 0.1".
func (a NES) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a NES) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a NES) Plan(v advlib.Victim) (forward, backward float64, known bool) { return craft.Plan(a, v) }

// Perturb implements [advlib.Attack].
func (a NES) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	width := v.Signature().Limits().Width()
	c := craft.Inquest{Ball: a.Ball, Queries: a.Queries, Loss: a.Loss}
	return craft.Inquire(ctx, v, b, c, func(q *craft.Inquiry) {
		a.search(q, &estimator{σ: a.Sigma * width, most: width / 10, draw: normal})
	})
}

// The authors' constants: after how many steps without a rise of the loss the step is halved, and to what part of
// itself it falls at most.
const (
	nesPlateau = 5
	nesLeast   = 1. / 200
)

// search is the search for one example:
//
//	m ← β·m + (1 − β)·ĝ,  x ← Π(x + α·d),  d = argmax ⟨d, m⟩ over ‖d‖ ≤ 1
func (a NES) search(q *craft.Inquiry, e *estimator) {
	x, m, α := slices.Clone(q.X), make([]float64, len(q.X)), a.StepSize
	var losses []float64 // of the last steps
	for {
		for i, g := range e.gradient(q, x, a.Samples/2) {
			m[i] = a.Momentum*m[i] + (1-a.Momentum)*g
		}
		x = stepInside(q, a.Ball, x, steepest(a.Ball.Norm, m, α))
		losses = append(losses, q.Losses([][]float32{q.Clip(slices.Clone(x))})[0])
		if len(losses) < nesPlateau {
			continue
		}
		losses = losses[len(losses)-nesPlateau:]
		if losses[nesPlateau-1] <= losses[0] {
			α, losses = max(α/2, a.StepSize*nesLeast), nil
		}
	}
}

// steepest returns the step of length α along the slope g that rises most: α·sign(g) in Linf, α·g/‖g‖ in L2.
func steepest(norm advlib.Norm, g []float64, α float64) []float64 {
	δ := make([]float64, len(g))
	length := advlib.L2.Length(g)
	for i, v := range g {
		switch {
		case v == 0:
		case norm == advlib.Norm(advlib.Linf):
			δ[i] = math.Copysign(α, v)
		default:
			δ[i] = α * v / length
		}
	}
	return δ
}

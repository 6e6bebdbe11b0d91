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
	register[SPSA](InBall, Command{Name: "spsa", About: "SPSA, 10000 queries: Adam with slopes estimated from scores",
		Make: func(b advlib.Ball) advlib.Attack { return SPSA{Ball: b} }})
}

// SPSA is the attack of Uesato et al. (2018), arXiv:1802.05666, algorithm 1: the slope is estimated by simultaneous
// perturbation, from the margins at pairs of points x ± δu where each coordinate of u is −1 or 1, and followed by Adam,
// with projection on the ball. It needs no gradient, and runs on any victim with scores.
//
// It departs from the code of CleverHans in this: it goes on until the budget is spent, where that code makes one step
// by default; points are clipped before they are asked about, and the slope is computed from the points that were asked
// about; where scores are rounded, so that all are equal, δ is doubled; and each query counts.
type SPSA struct {
	// Ball is what may be changed; its norm is L2 or Linf. It must be set.
	Ball advlib.Ball
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Loss is raised; nil means the margin, as in the paper.
	Loss advlib.Loss
	// Queries is the budget of each example, clean prediction and final check included; 0 means 10000.
	Queries int
	// Samples is how many points a slope is estimated from, in pairs; 0 means 128.
	Samples int
	// Delta is δ, how far away these are in each coordinate, in widths of the box; 0 means 0.01.
	Delta float64
	// LearningRate is Adam's, as the length in the ball's norm of a step in which every coordinate moves by as much; 0
	// means ε/4. The paper has 0.01 for ε = 8/255.
	LearningRate float64
}

// Describe implements [craft.Described].
func (a *SPSA) Describe(d *craft.Description) {
	d.Paper("Uesato et al. 2018, arXiv:1802.05666")
	d.Scores()
	d.Ball(&a.Ball, advlib.L2, advlib.Linf)
	d.Goal(&a.Goal)
	d.Loss(&a.Loss, advlib.Margin)
	d.Queries(&a.Queries, 10000)
	describePairs(d, &a.Samples, 128)
	d.Size(&a.Delta, 0.01).As("δ = %g")
	d.Size(&a.LearningRate, a.Ball.Radius/4).As("rate %.6g")
	d.Name("SPSA-%d", a.Queries)
}

// String returns for example "SPSA-10000 Linf ≤ 0.1".
func (a SPSA) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a SPSA) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a SPSA) Plan(v advlib.Victim) (forward, backward float64, known bool) { return craft.Plan(a, v) }

// Perturb implements [advlib.Attack].
func (a SPSA) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	limits := v.Signature().Limits()
	rate := a.LearningRate
	if a.Ball.Norm == advlib.Norm(advlib.L2) {
		rate /= math.Sqrt(float64(limits.Free()))
	}
	c := craft.Inquest{Ball: a.Ball, Queries: a.Queries, Loss: a.Loss}
	return craft.Inquire(ctx, v, b, c, func(q *craft.Inquiry) {
		e := &estimator{σ: a.Delta * limits.Width(), most: limits.Width() / 10, draw: rademacher}
		x, steps := slices.Clone(q.X), newHostAdam(len(q.X))
		for {
			x = stepInside(q, a.Ball, x, steps.next(rate, e.gradient(q, x, a.Samples/2)))
			q.Is(q.Clip(slices.Clone(x)))
		}
	})
}

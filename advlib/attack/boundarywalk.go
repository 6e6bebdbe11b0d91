package attack

import (
	"context"
	"math"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[BoundaryAttack](Nearest, Command{Name: "boundary", About: "a random walk along the boundary, 5000 queries, by labels only",
		Make: func(advlib.Ball) advlib.Attack { return BoundaryAttack{} }})
}

// BoundaryAttack is the attack by labels of Brendel, Rauber & Bethge (2018), arXiv:1712.04248, algorithm 1: a random
// walk along the boundary. A step goes sideways, at the same distance from the original, by the share σ of it, and then
// towards the original by the share ε; it is kept if it is adversarial. Every tenth step asks about the way sideways
// alone, too. Of the last 100 such questions more than half should be adversarial, but not many more: if so both shares
// are multiplied by 1.5, and divided if less than a fifth are; ε is by itself, if more than a quarter of the last 30
// whole steps are, or less than a tenth.
//
// It is here to compare with: [HopSkipJump] and [SurFree] come nearer with a tenth of its queries. What is mended: the
// statistics are those of each example, and nothing is asked once the walk has converged, but it begins anew; see
// [Starts].
type BoundaryAttack struct {
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Queries is how many inputs are answered for each example, the original and the returned point included; 0 means
	// 5000.
	Queries int
	// Sideways is the first σ, Towards the first ε: shares of the distance, below 1. 0 means 0.01 of both.
	Sideways, Towards float64
	Starts
}

// Describe implements [craft.Described].
func (a *BoundaryAttack) Describe(d *craft.Description) {
	d.Paper("Brendel et al. 2018, arXiv:1712.04248")
	d.Minimal(advlib.L2)
	d.Goal(&a.Goal)
	d.Queries(&a.Queries, 5000)
	d.Share(&a.Sideways, 0.01).As("σ = %g")
	d.Share(&a.Towards, 0.01).As("ε = %g")
	a.Starts.describe(d, mostTries)
	d.Name("Boundary-%d", a.Queries)
}

// String returns for example "Boundary-5000 L2 minimal".
func (a BoundaryAttack) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a BoundaryAttack) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a BoundaryAttack) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// Perturb implements [advlib.Attack].
func (a BoundaryAttack) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	return byLabels(ctx, v, b, advlib.L2, a.Queries, a.search)
}

// Constants of the authors' code.
const (
	walkFactor = 1.5  // by which shares change
	walkEvery  = 10   // steps from one question about the way sideways to the next
	walkLeast  = 1e-7 // ε at which the walk has converged
)

// share counts the last answers, and tells when they are enough.
type share struct {
	last []bool
	size int
}

// add adds an answer, and returns the share of adversarial ones among the last size answers, once there are as many.
func (s *share) add(is bool) (of float64, full bool) {
	if s.last = append(s.last, is); len(s.last) > s.size {
		s.last = s.last[1:]
	}
	for _, is := range s.last {
		if is {
			of += 1 / float64(s.size)
		}
	}
	return of, len(s.last) == s.size
}

// search is the attack on one example.
func (a BoundaryAttack) search(d *decisions) {
	a.Starts.search(d, late, func(s start) func() []float32 {
		x, σ, ε := s.point, a.Sideways, a.Towards
		sideways, whole := share{size: 100}, share{size: 30}
		asked := 0
		return func() []float32 {
			if d.distance(x) == 0 || ε < walkLeast {
				return x
			}
			aside, next := a.step(d, x, σ, ε)
			is := d.is(next)
			if asked++; asked%walkEvery == 0 {
				factor, other := 1., 1.
				if of, full := sideways.add(d.is(aside)); full && (of > 0.5 || of < 0.2) {
					factor = change(of > 0.5)
					sideways.last = nil
				}
				if of, full := whole.add(is); full && (of > 0.25 || of < 0.1) {
					other = change(of > 0.25)
					whole.last = nil
				}
				σ, ε = σ*factor, min(ε*factor*other, 1)
			}
			if is && d.distance(next) < d.distance(x) {
				x = next
			}
			return x
		}
	})
}

// change is the factor of a share that is to rise or to fall.
func change(rise bool) float64 {
	if rise {
		return walkFactor
	}
	return 1 / walkFactor
}

// step draws a step from x: the point sideways, and the one towards the original from there.
func (a BoundaryAttack) step(d *decisions, x []float32, σ, ε float64) (aside, next []float32) {
	r, u := d.distance(x), normalised(d.away(x))
	η := make([]float64, len(u))
	shortened(η, d.sphere(η))
	orthogonalise(η, [][]float64{u})
	scale := r / math.Sqrt(1+σ*σ)
	aside = d.point(func(j int) float64 { return float64(d.X[j]) + scale*(u[j]+σ*η[j]) })
	now := d.distance(aside) // not r where it is clipped
	if now == 0 {
		return aside, aside
	}
	t := 1 - max(0, ε*r+now-r)/now
	return aside, d.point(func(j int) float64 { x := float64(d.X[j]); return x + t*(float64(aside[j])-x) })
}

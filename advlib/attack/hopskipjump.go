package attack

import (
	"context"
	"math"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[HopSkipJump](Nearest, Command{Name: "hopskipjump", About: "steps along normals estimated from 5000 queries, by labels only",
		Make: func(b advlib.Ball) advlib.Attack {
			return HopSkipJump{Norm: b.Norm}
		}})
}

// HopSkipJump is the attack by labels of Chen, Jordan & Wainwright (2020), arXiv:1904.02144, algorithm 2. From a point
// on the boundary it estimates the normal by noise, takes a step along it, in Linf along its signs, and bisects towards
// the original to come back to the boundary:
//
//	v ← estimate by B₀·√t points x + δ·u      ξ ← ‖x − x₀‖/√t, halved until x + ξ·v is adversarial
//	x ← the boundary between x₀ and x + ξ·v
//
// with δ = ‖x − x₀‖/n, n coordinates, but 0.1 of the box in the first round. What is mended of the authors' code and of
// others': halvings are bounded; each example has its own step (foolbox divides the estimate by the norm of the whole
// batch); noise is what is left of it in the box; where all noise is on one side, δ is doubled for the next round; the
// nearest point that was ever asked about is returned, and nothing is asked beyond the budget; see [Starts], too.
type HopSkipJump struct {
	// Norm measures the perturbation: L2 or Linf. It must be set.
	Norm advlib.Norm
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Queries is how many inputs are answered for each example, the original and the returned point included; 0 means
	// 5000.
	Queries int
	// Samples is B₀, the number of points of the first estimate; 0 means 100. An estimate has at most 10000.
	Samples int
	// Gamma is γ: a bisection ends at γ/√n³ of the distance in L2, at γ/n² in Linf. 0 means 1.
	Gamma float64
	Starts
}

// Describe implements [craft.Described].
func (a *HopSkipJump) Describe(d *craft.Description) {
	d.Paper("Chen et al. 2020, arXiv:1904.02144")
	d.Norm(&a.Norm, advlib.L2, advlib.Linf)
	d.Goal(&a.Goal)
	d.Queries(&a.Queries, 5000)
	d.Count(&a.Samples, 100).As("B₀ = %d")
	d.Size(&a.Gamma, 1).As("γ = %g")
	tries := mostTries
	if a.Norm == advlib.Norm(advlib.Linf) {
		tries = fewTries
	}
	a.Starts.describe(d, tries)
	d.Name("HopSkipJump-%d", a.Queries)
}

// String returns for example "HopSkipJump-5000 L2 minimal".
func (a HopSkipJump) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a HopSkipJump) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a HopSkipJump) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// Perturb implements [advlib.Attack].
func (a HopSkipJump) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	return byLabels(ctx, v, b, a.Norm, a.Queries, a.search)
}

// Constants of HopSkipJump, those of the authors' code, and bounds that it lacks.
const (
	hsjFirst    = 0.1   // δ of the first round, as a share of the box
	hsjMost     = 10000 // points of an estimate
	hsjHalvings = 25    // of a step
	hsjDoubling = 1024  // the largest factor of δ
)

// search is the attack on one example.
func (a HopSkipJump) search(d *decisions) {
	n := float64(len(d.free))
	linf := a.Norm == advlib.Norm(advlib.Linf)
	θ, draw := a.Gamma/(n*math.Sqrt(n)), d.sphere
	if linf {
		θ, draw = a.Gamma/(n*n), d.cube
	}
	a.Starts.search(d, late, func(s start) func() []float32 {
		x, t, wider := d.boundary(s, θ), 0., 1.
		return func() []float32 {
			r := d.distance(x)
			if r == 0 {
				return x
			}
			t++
			δ := wider * a.Gamma * r / n
			if t == 1 {
				δ = hsjFirst * d.width
			}
			v, unanimous := d.normal(x, int(min(float64(a.Samples)*math.Sqrt(t), hsjMost)), δ, draw)
			if unanimous && t > 1 {
				wider = min(2*wider, hsjDoubling)
			}
			if linf {
				for j := range v {
					v[j] = math.Copysign(1, v[j])
				}
			}
			ξ := r / math.Sqrt(t)
			for range hsjHalvings {
				if p := d.step(x, ξ, v); d.is(p) {
					x = d.boundary(start{point: p}, θ)
					break
				}
				ξ /= 2
			}
			return x
		}
	})
}

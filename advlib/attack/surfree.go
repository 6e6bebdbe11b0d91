package attack

import (
	"context"
	"math"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[SurFree](Nearest, Command{Name: "surfree", About: "5000 queries along random half circles, by labels only",
		Make: func(advlib.Ball) advlib.Attack { return SurFree{} }})
}

// SurFree is the attack by labels of Maho, Furon & Le Merrer (2021), arXiv:2011.12807, which estimates no gradient.
// From an adversarial point x it draws a direction v, orthogonal to the way u from the original x₀ and to the last
// ones, and looks along the half circle over that way:
//
//	x₀ + ‖x − x₀‖·cos θ·(cos θ·u + sin θ·v)
//
// on which every adversarial point with θ ≠ 0 is nearer. It asks about θmax and −θmax. If neither is adversarial, θmax
// falls by the factor ρ, and another v is drawn; else θmax rises by it, and θ grows by steps of θmax until it is not
// adversarial, and is bisected.
//
// What is mended of the authors' code: a direction is made orthogonal to at most a quarter of the coordinates' number
// of others (to 100 of 64, what is left is rounding, and 1.8 times the optimum after 2000 queries where this has 1.00);
// it takes the nearest of the adversarial points, not the farthest; an original of zeros gives no direction that is not
// a number; every question counts; see [Starts], too. Directions are of low frequencies, which suit images: on an MNIST
// network trained adversarially, after 2000 queries, the median distance is 2.5 with them and 3.7 with white noise.
// Where little is left of one, because the last directions have used them up, it is white. (The paper weighs them with
// the original's own cosine transform, which a black image has not.)
type SurFree struct {
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Queries is how many inputs are answered for each example, the original and the returned point included; 0 means
	// 5000.
	Queries int
	// Angle is the first θmax, in degrees, below 90; 0 means 30.
	Angle float64
	// Decay is ρ, below 1; 0 means 0.95.
	Decay float64
	// Orthogonal is to how many of the last directions a new one is orthogonal; 0 means 100. It is at most a quarter of
	// the number of coordinates, and half of that of the frequencies that directions are made of.
	Orthogonal int
	// Bisections is how often an angle is bisected at most; 0 means 7.
	Bisections int
	// Frequencies is the share of the lowest frequencies of each side of an image that directions are made of, in its
	// cosine transform; 0 means a quarter, but at least 8 of them. 1 is white noise.
	Frequencies float64
	Starts
}

// Describe implements [craft.Described].
func (a *SurFree) Describe(d *craft.Description) {
	d.Paper("Maho et al. 2021, arXiv:2011.12807")
	d.Minimal(advlib.L2)
	d.Goal(&a.Goal)
	d.Queries(&a.Queries, 5000)
	d.Number(&a.Angle, 30, a.Angle >= 0 && a.Angle < 90, "is not in [0, 90): it is in degrees; leave it at 0 for 30").As("θmax = %g°")
	d.Share(&a.Decay, 0.95).As("ρ = %g")
	d.Count(&a.Orthogonal, 100).As("orthogonal to %d")
	d.Count(&a.Bisections, 7).As("%d bisections")
	d.Portion(&a.Frequencies, 0, "the share of the lowest frequencies that directions are made of").As("%g of the frequencies")
	a.Starts.describe(d, mostTries)
	d.Name("SurFree-%d", a.Queries)
}

// String returns for example "SurFree-5000 L2 minimal".
func (a SurFree) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a SurFree) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a SurFree) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// Perturb implements [advlib.Attack].
func (a SurFree) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	return byLabels(ctx, v, b, advlib.L2, a.Queries, a.search)
}

// Constants of SurFree.
const (
	surFreeStart = 1e-3        // how finely the start is bisected, as a share of its distance
	surFreeGain  = 0.01        // by how much cosines differ at least, for an angle to be bisected
	surFreeMost  = math.Pi / 2 // the largest angle, at the original
	surFreeLeft  = 0.3         // how much of a direction is left at least, for it to be taken
	surFreeLeast = 1e-4        // the smallest θmax: below, it begins anew at the first one
)

// search is the attack on one example.
func (a SurFree) search(d *decisions) {
	draw, waves := lowFrequencies(d, a.Frequencies)
	most := min(a.Orthogonal, max(1, len(d.free)/4), max(1, waves/2))
	a.Starts.search(d, early, func(s start) func() []float32 {
		x := d.boundary(s, surFreeStart)
		θmax := a.Angle * math.Pi / 180
		var last [][]float64 // the directions so far
		return func() []float32 {
			if d.distance(x) == 0 {
				return x
			}
			v := make([]float64, len(d.X))
			shortened(v, draw(v))
			if orthogonalise(v, last) < surFreeLeft {
				shortened(v, d.sphere(v))
				orthogonalise(v, last)
			}
			orthogonalise(v, [][]float64{normalised(d.away(x))})
			if last = append(last, v); len(last) > most {
				last = last[1:]
			}
			at, _ := d.halfCircle(x, v)
			switch p, q := at(θmax), at(-θmax); {
			case d.is(p):
				x = a.grow(d, x, p, θmax, at)
			case d.is(q):
				x = a.grow(d, x, q, θmax, func(θ float64) []float32 { return at(-θ) })
			default:
				if θmax *= a.Decay; θmax < surFreeLeast {
					θmax = a.Angle * math.Pi / 180
				}
				return x
			}
			θmax = min(θmax/a.Decay, surFreeMost)
			return x
		}
	})
}

// grow follows a half circle from x, on which p at the angle θ is adversarial, by steps of θ until it is not, and
// bisects. It returns the nearest adversarial point.
func (a SurFree) grow(d *decisions, x, p []float32, θ float64, at func(θ float64) []float32) []float32 {
	best := x
	take := func(p []float32) {
		if d.distance(p) < d.distance(best) {
			best = p
		}
	}
	take(p)
	low, high := θ, min(2*θ, surFreeMost) // adversarial; not
	for low < high {
		p := at(high)
		if !d.is(p) {
			break
		}
		take(p)
		low, high = high, min(high+θ, surFreeMost)
	}
	for k := 0; k < a.Bisections && math.Cos(low)-math.Cos(high) > surFreeGain; k++ {
		mid := (low + high) / 2
		if p := at(mid); d.is(p) {
			take(p)
			low = mid
		} else {
			high = mid
		}
	}
	return best
}

// orthogonalise takes from v its part along directions of length 1, scales it to length 1, and returns how long it was.
func orthogonalise(v []float64, directions [][]float64) float64 {
	for _, w := range directions {
		c := dot(v, w)
		for j := range v {
			v[j] -= c * w[j]
		}
	}
	left := advlib.L2.Length(v)
	normalised(v)
	return left
}

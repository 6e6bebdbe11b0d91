package attack

import (
	"context"
	"math"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[CGBAH](Nearest, Command{Name: "cgba-h", About: "5000 queries along half circles through the boundary, by labels only",
		Make: func(advlib.Ball) advlib.Attack { return CGBAH{} }})
}

// CGBAH is CGBA-H, the attack by labels of Reza et al. (2023), arXiv:2308.03163, in its version for curved boundaries.
// From a point x on the boundary it estimates the normal η by ⌊N₀·√t⌋ noises of deviation σ, and looks along the half
// circle with the diameter from the original x₀ to x in the plane of v = (x − x₀)/‖x − x₀‖ and η:
//
//	x₀ + ‖x − x₀‖·cos α·ζ(α)        ζ(α) the direction at the angle α from v towards η
//
// for α = ∠(v, η)/2ᵏ, k = 0, 1, 2, … until it is adversarial, and bisects from there straight to x₀. (The paper begins
// at k = 1. Of a flat boundary, k = 0 is the nearest point.)
//
// What is mended of the authors' code: noise and half circle are clipped, and what is computed with is what is left of
// them (56 to 90 % of the queries of theirs are out of the box or not a number); the mean sign is subtracted; cosines
// are at most 1; every loop is bounded; where all noise is on one side, σ is doubled for the next round; noise is of
// low frequencies on any shape of image. See [Starts], too.
type CGBAH struct {
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Queries is how many inputs are answered for each example, the original and the returned point included; 0 means
	// 5000.
	Queries int
	// Samples is N₀, the number of noises of the first estimate; 0 means 30.
	Samples int
	// Sigma is σ, the deviation of the noise, as a share of the box; 0 means 0.0002.
	Sigma float64
	// Tolerance is how finely a bisection ends, as a share of the box; 0 means 0.0001.
	Tolerance float64
	// Frequencies is the share of the lowest frequencies of each side of an image that noise is made of, in its cosine
	// transform; 0 means a quarter, as in the paper for images of 224 pixels, but at least 8 of them. 1 is white noise.
	Frequencies float64
	Starts
}

// Describe implements [craft.Described].
func (a *CGBAH) Describe(d *craft.Description) {
	d.Paper("Reza et al. 2023, arXiv:2308.03163")
	d.Minimal(advlib.L2)
	d.Goal(&a.Goal)
	d.Queries(&a.Queries, 5000)
	d.Count(&a.Samples, 30).As("N₀ = %d")
	d.Size(&a.Sigma, 2e-4).As("σ = %g")
	d.Size(&a.Tolerance, 1e-4).As("tolerance %g")
	d.Portion(&a.Frequencies, 0, "the share of the lowest frequencies that noise is made of").As("%g of the frequencies")
	a.Starts.describe(d, mostTries)
	d.Name("CGBA-H-%d", a.Queries)
}

// String returns for example "CGBA-H-5000 L2 minimal".
func (a CGBAH) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a CGBAH) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a CGBAH) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// Perturb implements [advlib.Attack].
func (a CGBAH) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	return byLabels(ctx, v, b, advlib.L2, a.Queries, a.search)
}

// cgbaHalvings is how often the angle is halved at most.
const cgbaHalvings = 25

// search is the attack on one example.
func (a CGBAH) search(d *decisions) {
	draw, _ := lowFrequencies(d, a.Frequencies)
	boundary := func(s start) []float32 {
		return d.boundary(s, a.Tolerance*d.width/d.distance(s.point))
	}
	a.Starts.search(d, late, func(s start) func() []float32 {
		x, t, wider := boundary(s), 0., 1.
		return func() []float32 {
			r := d.distance(x)
			if r == 0 {
				return x
			}
			t++
			δ := wider * a.Sigma * d.width * math.Sqrt(float64(len(d.free)))
			η, unanimous := d.normal(x, int(float64(a.Samples)*math.Sqrt(t)), δ, draw)
			if unanimous {
				wider = min(2*wider, hsjDoubling)
			}
			at, α := d.halfCircle(x, η)
			for range cgbaHalvings {
				if p := at(α); d.is(p) {
					if d.distance(p) < r { // not so where the circle is clipped
						x = boundary(start{point: p})
					}
					break
				}
				α /= 2
			}
			return x
		}
	})
}

// halfCircle returns the point at each angle of the half circle over the way from the original to x, in the plane of a
// direction, and the angle between way and direction.
func (d *decisions) halfCircle(x []float32, direction []float64) (at func(α float64) []float32, angle float64) {
	r, v := d.distance(x), normalised(d.away(x))
	cos := min(max(dot(v, direction), -1), 1)
	w := make([]float64, len(v))
	for j := range w {
		w[j] = direction[j] - cos*v[j]
	}
	normalised(w)
	return func(α float64) []float32 {
		c, s := r*math.Cos(α)*math.Cos(α), r*math.Cos(α)*math.Sin(α)
		return d.point(func(j int) float64 { return float64(d.X[j]) + c*v[j] + s*w[j] })
	}, math.Acos(cos)
}

package attack

import (
	"context"
	"math"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[SignOPT](Nearest, Command{Name: "sign-opt", About: "5000 queries on the distance along a direction, by labels only",
		Make: func(advlib.Ball) advlib.Attack { return SignOPT{} }})
}

// SignOPT is the attack by labels of Cheng et al. (2020), arXiv:1909.10773, algorithm 1. It minimises g(θ), the
// distance of the boundary along the direction θ, by steps along the mean of Q signs:
//
//	v = mean of sᵢ·uᵢ,  sᵢ = ±1 by whether x₀ + g(θ)·(θ + β·uᵢ)/‖θ + β·uᵢ‖ is adversarial
//	θ ← (θ + α·v)/‖θ + α·v‖
//
// with α doubled while g falls, else quartered until it does. A new g is looked for below the present one, and
// bisected.
//
// What is mended of the authors' code: points are clipped, and θ and g are those of the clipped point (theirs returns
// one that is outside of the box); the mean sign is subtracted; the end of each loop counts; a direction that is not
// nearer costs one query; β is 0.01 at first and Q 100, which are better with few queries than their 0.001 and 200, and
// β is doubled where all signs are equal, as where inputs have steps; it takes 60 starts, not 100, see [Starts]. It
// goes on until the budget ends.
type SignOPT struct {
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Queries is how many inputs are answered for each example, the original and the returned point included; 0 means
	// 5000.
	Queries int
	// Samples is Q, the number of signs of an estimate; 0 means 100.
	Samples int
	// Step is the first α; 0 means 0.2.
	Step float64
	// Probe is the first β; 0 means 0.01. It falls by a tenth when no step is found any more.
	Probe float64
	Starts
}

// Describe implements [craft.Described].
func (a *SignOPT) Describe(d *craft.Description) {
	d.Paper("Cheng et al. 2020, arXiv:1909.10773")
	d.Minimal(advlib.L2)
	d.Goal(&a.Goal)
	d.Queries(&a.Queries, 5000)
	d.Count(&a.Samples, 100).As("Q = %d")
	d.Size(&a.Step, 0.2).As("α = %g")
	d.Size(&a.Probe, 0.01).As("β = %g")
	a.Starts.describe(d, mostTries)
	d.Name("Sign-OPT-%d", a.Queries)
}

// String returns for example "Sign-OPT-5000 L2 minimal".
func (a SignOPT) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a SignOPT) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a SignOPT) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// Perturb implements [advlib.Attack].
func (a SignOPT) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	return byLabels(ctx, v, b, advlib.L2, a.Queries, a.search)
}

// Constants of Sign-OPT, but for the smallest β those of the authors' code.
const (
	signOPTTries = 15   // doublings, and quarterings, of α
	signOPTLeast = 1e-4 // the smallest α: below, it is 1 again, and β a tenth
	signOPTProbe = 1e-6 // the smallest β
	signOPTShare = 0.01 // the steps by which a smaller g is looked for, as a share of it
	signOPTFine  = 500  // a bisection ends at β/500
)

// search is the attack on one example.
func (a SignOPT) search(d *decisions) {
	a.Starts.search(d, late, func(s start) func() []float32 {
		x, α, β := d.boundary(s, a.Probe/signOPTFine), a.Step, a.Probe
		return func() []float32 {
			if d.distance(x) == 0 {
				return x
			}
			θ := normalised(d.away(x))
			v, unanimous := a.descent(d, θ, d.distance(x), β)
			if unanimous {
				β = min(2*β, 1)
			}
			best := x
			try := func() bool {
				next := make([]float64, len(θ))
				for j := range next {
					next[j] = θ[j] + α*v[j]
				}
				p, ok := d.below(normalised(next), d.distance(best), β/signOPTFine)
				if ok && d.distance(p) < d.distance(best) {
					best = p
					return true
				}
				return false
			}
			found := false
			for range signOPTTries {
				ok := try()
				α *= 2
				if !ok {
					break
				}
				found = true
			}
			for k := 0; k < signOPTTries && !found; k++ {
				α /= 4
				found = try()
			}
			if α < signOPTLeast {
				α, β = 1, max(β/10, signOPTProbe)
			}
			x = best
			return x
		}
	})
}

// descent estimates the direction in which g falls, at the direction θ with g(θ) = g. Unanimous tells that all signs
// were equal.
func (a SignOPT) descent(d *decisions, θ []float64, g, β float64) (v []float64, unanimous bool) {
	us, ask := make([][]float64, a.Samples), make([][]float32, a.Samples)
	for i := range us {
		u, next := make([]float64, len(θ)), make([]float64, len(θ))
		shortened(u, d.sphere(u))
		for j := range next {
			next[j] = θ[j] + β*u[j]
		}
		us[i], ask[i] = u, d.step(d.X, g, normalised(next))
	}
	is := d.are(ask)
	mean := 0.
	for _, ok := range is {
		if ok {
			mean += 2 / float64(len(is))
		}
	}
	if mean--; math.Abs(mean) > 1-1e-9 {
		mean, unanimous = 0, true
	}
	v = make([]float64, len(θ))
	for i, ok := range is {
		s := -1 - mean
		if ok {
			s = 1 - mean
		}
		for j := range v {
			v[j] += s * us[i][j] / float64(len(is))
		}
	}
	return v, unanimous
}

// below returns the adversarial point at the boundary along the direction θ, if it is nearer than g: by steps of a
// hundredth, and bisection to a length of tolerance.
func (d *decisions) below(θ []float64, g, tolerance float64) (p []float32, ok bool) {
	at := func(λ float64) []float32 { return d.step(d.X, λ, θ) }
	p = at(g)
	if !d.is(p) {
		return nil, false
	}
	low := g * (1 - signOPTShare)
	for g > tolerance {
		q := at(low)
		if !d.is(q) {
			break
		}
		p, g, low = q, low, low*(1-signOPTShare)
	}
	_, _, p = d.bisect(low, g, tolerance, p, at)
	return p, true
}

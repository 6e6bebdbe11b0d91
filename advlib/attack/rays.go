package attack

import (
	"context"
	"math"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[RayS](Nearest, Command{Name: "rays", About: "5000 queries of flipped signs, by labels only",
		Make: func(advlib.Ball) advlib.Attack { return RayS{} }, Norms: []advlib.Norm{advlib.Linf}})
}

// RayS is the attack by labels of Chen & Gu (2020), arXiv:2006.12792, algorithms 1 to 3. It looks for the ray x₀ + r·s,
// s ∈ {−1, 1}ⁿ, on which the boundary is nearest: it flips the signs of blocks, the whole input, its halves, its
// quarters and so on down to single coordinates, and keeps a flip if the ray is adversarial at the radius so far, which
// is then bisected. A flip that is not kept costs one query. Blocks run through one channel after the other.
//
// What is mended of the authors' code: it counts no query above its budget; asks about the far corner once, not ten
// times; bisects to a share of the radius, from above, since most flips gain little; and begins anew with other signs,
// drawn at random, once no single flip gains: theirs is deterministic, and repeats the last level for ever, at 1.4
// times the optimum for a tenth of the examples of linear models.
type RayS struct {
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Queries is how many inputs are answered for each example, the original and the returned point included; 0 means
	// 5000.
	Queries int
	// Tolerance is how finely a radius is bisected, as a share of it; 0 means 0.001.
	Tolerance float64
	// From are points whose directions give the first signs, one after the other: for an example those of another class
	// than its label, for a targeted goal those of the target, the nearest of each class first. Then, or if it is nil, all
	// signs are +1, and later random.
	From *advlib.Examples
}

// Describe implements [craft.Described].
func (a *RayS) Describe(d *craft.Description) {
	d.Paper("Chen & Gu 2020, arXiv:2006.12792")
	d.Minimal(advlib.Linf)
	d.Goal(&a.Goal)
	d.Queries(&a.Queries, 5000)
	d.Share(&a.Tolerance, 1e-3).As("tolerance %g")
	if v := d.Victim(); v != nil && a.From != nil {
		d.Check((&Starts{From: a.From}).fits(v))
	}
	d.Name("RayS-%d", a.Queries)
}

// String returns for example "RayS-5000 Linf minimal".
func (a RayS) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a RayS) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a RayS) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// Perturb implements [advlib.Attack].
func (a RayS) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	return byLabels(ctx, v, b, advlib.Linf, a.Queries, a.search)
}

// search is the attack on one example.
func (a RayS) search(d *decisions) {
	given := Starts{From: a.From}.given(d)
	s := make([]float64, len(d.X))
	for run := 0; ; run++ {
		for _, j := range d.free {
			switch {
			case run < len(given) && given[run][j] < d.X[j]:
				s[j] = -1
			case run <= len(given):
				s[j] = 1
			default:
				s[j] = float64(2*d.Rand.IntN(2) - 1)
			}
		}
		a.descend(d, s)
		d.aside = d.AnyClass // the target is only a direction
	}
}

// descend flips blocks of s of every size until no coordinate's flip is kept.
func (a RayS) descend(d *decisions, s []float64) {
	order := byChannel(d)
	r := math.Inf(1)
	for size := len(order); ; size = (size + 1) / 2 {
		kept := false
		for from := 0; from < len(order); from += size {
			block := order[from:min(from+size, len(order))]
			flip := func() {
				for _, j := range block {
					s[j] = -s[j]
				}
			}
			flip()
			if near, ok := a.radius(d, s, r); ok {
				r, kept = near, true
			} else {
				flip()
			}
		}
		if size == 1 && !kept {
			return
		}
	}
}

// radius returns the radius of the boundary along s, if it is below r.
func (a RayS) radius(d *decisions, s []float64, r float64) (near float64, ok bool) {
	at := func(r float64) []float32 { return d.step(d.X, r, s) }
	if math.IsInf(r, 1) {
		r = 0
		for _, j := range d.free {
			r = max(r, float64(d.Upper[j])-float64(d.Lower[j]))
		}
	}
	p := at(r)
	if !d.is(p) {
		return r, false
	}
	tolerance, low := a.Tolerance*r, 0.
	for gain := raysGain; gain < 1; gain *= 2 {
		q := at(r * (1 - gain))
		if !d.is(q) {
			low = r * (1 - gain)
			break
		}
		r, p = r*(1-gain), q
	}
	_, r, _ = d.bisect(low, r, tolerance, p, at)
	return r, true
}

// raysGain is by how much of the radius a flip is first expected to gain.
const raysGain = 0.02

// byChannel returns the coordinates that may change, one channel after the other.
func byChannel(d *decisions) []int {
	_, _, c := extent(d.Shape)
	order := make([]int, 0, len(d.free))
	for k := range c {
		for _, j := range d.free {
			if j%c == k {
				order = append(order, j)
			}
		}
	}
	return order
}

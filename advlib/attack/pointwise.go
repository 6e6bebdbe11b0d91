package attack

import (
	"context"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[Pointwise](Nearest, Command{Name: "pointwise", About: "coordinates put back one by one, 5000 queries, by labels only",
		Make: func(b advlib.Ball) advlib.Attack { return Pointwise{Norm: b.Norm} }})
}

// Pointwise is the attack by labels of Schott et al. (2019), arXiv:1805.09190, section 5. It puts the coordinates of an
// adversarial point back to those of the original, in random order, as long as it stays adversarial, and again until no
// one can be put back. In L2 those that cannot are then bisected, in turns.
//
// What is added to the authors' code: coordinates are put back in blocks first, halves and quarters and so on, which
// costs some dozens of queries in place of one for each coordinate; and since what is left depends on the order, the
// attack begins anew from other noise until the budget ends.
type Pointwise struct {
	// Norm measures the perturbation: L0 or L2. It must be set.
	Norm advlib.Norm
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Queries is how many inputs are answered for each example, the original and the returned point included; 0 means
	// 5000.
	Queries int
	// Bisections is how often a coordinate is bisected in L2; 0 means 10.
	Bisections int
	// From are points to start from, one after the other: for an example those of another class than its label, for a
	// targeted goal those of the target, the nearest of each class first. Then, or if it is nil, noise is tried.
	From *advlib.Examples
}

// Describe implements [craft.Described].
func (a *Pointwise) Describe(d *craft.Description) {
	d.Paper("Schott et al. 2019, arXiv:1805.09190")
	d.Norm(&a.Norm, advlib.L0, advlib.L2)
	d.Goal(&a.Goal)
	d.Queries(&a.Queries, 5000)
	d.Count(&a.Bisections, 10).As("%d bisections")
	if v := d.Victim(); v != nil && a.From != nil {
		d.Check((&Starts{From: a.From}).fits(v))
	}
	d.Name("Pointwise-%d", a.Queries)
}

// String returns for example "Pointwise-5000 L0 minimal".
func (a Pointwise) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a Pointwise) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a Pointwise) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// Perturb implements [advlib.Attack].
func (a Pointwise) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	return byLabels(ctx, v, b, a.Norm, a.Queries, a.search)
}

// search is the attack on one example.
func (a Pointwise) search(d *decisions) {
	given := Starts{From: a.From}.given(d)
	found := false
	for run := 0; found || run < len(given)+mostStarts; run++ {
		p := d.noise(run - len(given))
		if run < len(given) {
			p = given[run]
		}
		if !d.is(p) {
			d.aside = d.AnyClass && run > len(given)+mostStarts/10 // the target is out of reach
			continue
		}
		found = true
		if p = putBack(d, p); a.Norm == advlib.Norm(advlib.L2) {
			a.bisectEach(d, p)
		}
	}
}

// putBack returns p with as many coordinates put back as can be, by blocks of half of them, a quarter and so on, until
// no single one can.
func putBack(d *decisions, p []float32) []float32 {
	changed := d.changed(p)
	for size := max(1, len(changed)/2); ; size = max(1, size/2) {
		kept := false
		for block := range slices.Chunk(changed, size) {
			next := slices.Clone(p)
			for _, j := range block {
				next[j] = d.X[j]
			}
			if next = d.Clip(next); !slices.Equal(next, p) && d.is(next) {
				p, kept = next, true
			}
		}
		if changed = d.changed(p); size == 1 && !kept {
			return p
		}
	}
}

// bisectEach bisects the coordinates of p one after the other, in random order, until none comes nearer.
func (a Pointwise) bisectEach(d *decisions, p []float32) {
	for near := d.distance(p); ; near = d.distance(p) {
		for _, j := range d.changed(p) {
			from := p[j]
			at := func(t float64) []float32 {
				next := slices.Clone(p)
				next[j] = float32(float64(d.X[j]) + t*(float64(from)-float64(d.X[j])))
				return d.Clip(next)
			}
			if q := at(0); d.is(q) {
				p = q
				continue
			}
			_, _, p = d.bisect(0, 1, 1/float64(int(1)<<min(a.Bisections, 30)), p, at)
		}
		if !(d.distance(p) < near*(1-pointwiseGain)) {
			return
		}
	}
}

// pointwiseGain is by what share of the distance a turn of bisections must come nearer, for another one.
const pointwiseGain = 1e-3

// changed returns the coordinates in which p is not the original, in random order.
func (d *decisions) changed(p []float32) []int {
	var js []int
	for _, j := range d.free {
		if p[j] != d.X[j] {
			js = append(js, j)
		}
	}
	d.Rand.Shuffle(len(js), func(i, k int) { js[i], js[k] = js[k], js[i] })
	return js
}

package attack

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	command := func(name, about string, dct bool) Command {
		return Command{Name: name, About: about, Make: func(advlib.Ball) advlib.Attack { return SimBA{DCT: dct} }}
	}
	register[SimBA](Nearest, command("simba", "one pixel after the other, by scores, in 10000 queries", false),
		command("simba-dct", "one cosine wave after the other, by scores, the long ones first", true))
}

// SimBA is the simple black-box attack of Guo et al. (2019), arXiv:1905.07121, algorithm 1: it goes through the
// directions of an orthonormal basis in random order, single values or cosine waves, makes a step of ε to one side or
// else to the other, and stays there if the loss rises. The directions are orthonormal, so T steps are √T·ε long at
// most.
//
// It departs from the authors' code in this: when all directions have been tried it begins anew, with half the step
// where none helped, in place of ending; a step that clipping undoes is not asked about; and once the example is
// adversarial, the way back to the original is bisected.
type SimBA struct {
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Loss is raised; nil means cross-entropy, as in the paper, whose p(y|x) falls as it rises.
	Loss advlib.Loss
	// Queries is the budget of each example, clean prediction and final check included; 0 means 10000.
	Queries int
	// StepSize is ε, in widths of the box; 0 means 0.2.
	StepSize float64
	// DCT takes the waves of the cosine transform of the image's plane as directions, of each channel by itself. Those of
	// low frequency come first: a block of Frequencies, then rings around it.
	DCT bool
	// Frequencies is the share of the lowest frequencies, of each axis, that come first; 0 means 1/8, as in the paper.
	Frequencies float64
	// NoLineSearch leaves the final bisection out.
	NoLineSearch bool
}

// Describe implements [craft.Described].
func (a *SimBA) Describe(d *craft.Description) {
	d.Paper("Guo et al. 2019, arXiv:1905.07121")
	d.Scores()
	d.Minimal(advlib.L2)
	d.Goal(&a.Goal)
	d.Loss(&a.Loss, advlib.CrossEntropy)
	d.Queries(&a.Queries, 10000)
	d.Size(&a.StepSize, 0.2).As("ε = %g")
	d.Flag(&a.DCT, "DCT")
	d.Portion(&a.Frequencies, 0.125, "the share of the frequencies that come first").As("first %g")
	d.Flag(&a.NoLineSearch, "no line search")
	d.Name("SimBA-%d", a.Queries)
}

// String returns for example "SimBA-10000 L2 minimal, DCT".
func (a SimBA) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a SimBA) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a SimBA) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// Perturb implements [advlib.Attack].
func (a SimBA) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	ε := a.StepSize * v.Signature().Limits().Width()
	c := craft.Inquest{Norm: advlib.L2, Queries: a.Queries, Loss: a.Loss}
	return craft.Inquire(ctx, v, b, c, func(q *craft.Inquiry) { a.search(q, ε) })
}

// simbaLeast is the part of ε below which the steps do not shrink, simbaTolerance that of the way back to the original
// to which it is bisected.
const (
	simbaLeast     = 1. / 1024
	simbaTolerance = 1. / 1024
)

// search is the search for one example.
func (a SimBA) search(q *craft.Inquiry, ε float64) {
	waves := newWaves(newRaster(q), a.DCT)
	x, L := slices.Clone(q.X), q.Losses([][]float32{q.X})[0]
	for least := ε * simbaLeast; ε >= least; {
		moved := false
		for _, w := range waves.order(q.Rand, a.Frequencies) {
			for _, s := range []float64{-ε, ε} {
				next := slices.Clone(x)
				waves.add(next, w, s)
				if q.Clip(next); slices.Equal(next, x) {
					continue
				}
				now := q.Losses([][]float32{next})[0]
				if _, _, ok := q.Best(); ok {
					if !a.NoLineSearch {
						newDecisions(q, advlib.L2).boundary(start{point: next}, simbaTolerance)
					}
					return
				}
				if now > L {
					x, L, moved = next, now, true
					break
				}
			}
		}
		if !moved {
			ε /= 2
		}
	}
}

// wave is a direction of a basis: a value of the input, or the wave of frequencies u and v in a channel.
type wave struct{ u, v, channel int }

// waves is an orthonormal basis of the inputs: the waves of the cosine transform (DCT-II), or single values.
type waves struct {
	p         raster
	dct       bool
	rows, col [][]float64 // the waves of each axis, by frequency
	all       []wave
}

func newWaves(p raster, dct bool) *waves {
	w := &waves{p: p, dct: dct}
	if dct {
		w.rows, w.col = cosines(p.h), cosines(p.w)
	}
	for i := range p.h * p.w {
		for k := range p.c {
			if p.movable(p.at(i, k)) || dct && p.anywhere(k) {
				w.all = append(w.all, wave{u: i / p.w, v: i % p.w, channel: k})
			}
		}
	}
	return w
}

// anywhere tells whether a channel may change in some pixel.
func (p raster) anywhere(k int) bool {
	for i := range p.h * p.w {
		if p.movable(p.at(i, k)) {
			return true
		}
	}
	return false
}

// cosines returns the n orthonormal waves of n values: √(2/n)·cos(π(2i+1)u/2n), and √(1/n) for u = 0.
func cosines(n int) [][]float64 {
	waves := make([][]float64, n)
	for u := range waves {
		waves[u] = make([]float64, n)
		for i := range n {
			waves[u][i] = math.Sqrt(2/float64(n)) * math.Cos(math.Pi*float64(2*i+1)*float64(u)/float64(2*n))
			if u == 0 {
				waves[u][i] = math.Sqrt(1 / float64(n))
			}
		}
	}
	return waves
}

// add adds s times a direction to x. What may not change stays.
func (w *waves) add(x []float32, d wave, s float64) {
	if !w.dct {
		j := w.p.at(d.u*w.p.w+d.v, d.channel)
		x[j] = float32(float64(x[j]) + s)
		return
	}
	for y, a := range w.rows[d.u] {
		for z, b := range w.col[d.v] {
			if j := w.p.at(y*w.p.w+z, d.channel); w.p.movable(j) {
				x[j] = float32(float64(x[j]) + s*a*b)
			}
		}
	}
}

// order returns all directions in a random order; of waves those of the lowest frequencies come first, the share first
// of each axis, then ring by ring of a 32nd.
func (w *waves) order(r *rand.Rand, first float64) []wave {
	r.Shuffle(len(w.all), func(i, j int) { w.all[i], w.all[j] = w.all[j], w.all[i] })
	if w.dct {
		slices.SortStableFunc(w.all, func(a, b wave) int { return cmp.Compare(w.ring(a, first), w.ring(b, first)) })
	}
	return w.all
}

// ring is 0 in the block of the lowest frequencies, and counts the rings around it.
func (w *waves) ring(d wave, first float64) int {
	of := func(frequency, axis int) int {
		beyond := frequency + 1 - max(1, int(math.Round(first*float64(axis))))
		width := max(1, axis/32)
		return max(0, (beyond+width-1)/width)
	}
	return max(of(d.u, w.p.h), of(d.v, w.p.w))
}

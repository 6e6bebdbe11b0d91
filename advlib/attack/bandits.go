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
	register[Bandits](InBall, Command{Name: "bandits", About: "Bandits, 10000 queries: gradient steps along a slope that is learned on tiles",
		Make: func(b advlib.Ball) advlib.Attack { return Bandits{Ball: b} }})
}

// Bandits is the attack of Ilyas, Engstrom & Mądry (2019), arXiv:1807.07978, algorithms 1 to 3: a guess p of the slope
// on coarse tiles of the image is kept from step to step, as slopes change little, and corrected by the loss at two
// points along p ± w, with w = δ·u/√n of normal u,
//
//	d = (L(x + η·q⁺/‖q⁺‖) − L(x + η·q⁻/‖q⁻‖))/(η·δ),  q^± = up(p ± w)
//
// In Linf p is followed by exponentiated gradients, and x by the sign of up(p); in L2 by gradient steps, and x by
// up(p)/‖up(p)‖. A step costs three queries: two for d, and one for the point that it reaches, which the authors' code
// does not count.
//
// It departs from that code in this: probes are clipped before they are asked about; steps and distances are shares of
// ε and of the box, where that code has numbers for ImageNet; and d is divided by its root mean square so far, so that
// the prior's rate does not depend on the scale of the model's logits, where the code's 100 makes a prior of ±1 of a
// steep model's first answer.
type Bandits struct {
	// Ball is what may be changed; its norm is L2 or Linf. It must be set.
	Ball advlib.Ball
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Loss is raised; nil means the cross-entropy, as in the paper.
	Loss advlib.Loss
	// Queries is the budget of each example, clean prediction and final check included; 0 means 10000.
	Queries int
	// Tiles is the number of tiles along each side of the image; 0 means 50, and never more than there are pixels. A flat
	// input is one row of pixels.
	Tiles int
	// StepSize is that of x, in the ball's norm; 0 means ε/5 in Linf and ε/10 in L2.
	StepSize float64
	// PriorRate is that of p; 0 means 0.1.
	PriorRate float64
	// Probe is η, the length of a probe in L2, in widths of the box; 0 means 0.1 in Linf and 0.01 in L2.
	Probe float64
	// Exploration is δ, how far the probes are from the guess; 0 means 0.1.
	Exploration float64
}

// Describe implements [craft.Described].
func (a *Bandits) Describe(d *craft.Description) {
	d.Paper("Ilyas et al. 2019, arXiv:1807.07978")
	d.Scores()
	d.Ball(&a.Ball, advlib.L2, advlib.Linf)
	d.Goal(&a.Goal)
	d.Loss(&a.Loss, advlib.CrossEntropy)
	d.Queries(&a.Queries, 10000)
	d.Count(&a.Tiles, 50).As("%d tiles")
	step, probe := a.Ball.Radius/5, 0.1
	if a.Ball.Norm == advlib.Norm(advlib.L2) {
		step, probe = a.Ball.Radius/10, 0.01
	}
	d.Size(&a.StepSize, step).As("α = %.6g")
	d.Size(&a.PriorRate, 0.1).As("prior's rate %g")
	d.Size(&a.Probe, probe).As("η = %g")
	d.Size(&a.Exploration, 0.1).As("δ = %g")
	d.Name("Bandits-%d", a.Queries)
}

// String returns for example "Bandits-10000 Linf ≤ 0.1".
func (a Bandits) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a Bandits) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a Bandits) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// Perturb implements [advlib.Attack].
func (a Bandits) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	η := a.Probe * v.Signature().Limits().Width()
	c := craft.Inquest{Ball: a.Ball, Queries: a.Queries, Loss: a.Loss}
	return craft.Inquire(ctx, v, b, c, func(q *craft.Inquiry) { a.search(q, η) })
}

// search is the search for one example.
func (a Bandits) search(q *craft.Inquiry, η float64) {
	tiles := newTiles(newRaster(q), len(q.X), a.Tiles)
	p := make([]float64, tiles.n)
	x, squares, steps := slices.Clone(q.X), 0., 0.
	for {
		w := make([]float64, tiles.n)
		for i := range w {
			w[i] = a.Exploration * q.Rand.NormFloat64() / math.Sqrt(float64(tiles.n))
		}
		L := q.Losses([][]float32{a.probe(q, tiles, x, p, w, 1, η), a.probe(q, tiles, x, p, w, -1, η)})
		if d := L[0] - L[1]; d != 0 && !math.IsNaN(d) && !math.IsInf(d, 0) {
			squares, steps = squares+d*d, steps+1
			a.learn(p, w, d/math.Sqrt(squares/steps))
		}
		x = stepInside(q, a.Ball, x, steepest(a.Ball.Norm, tiles.up(p), a.StepSize))
		q.Is(q.Clip(slices.Clone(x)))
	}
}

// probe returns the point at η from x along p + sign·w.
func (a Bandits) probe(q *craft.Inquiry, tiles tiling, x []float32, p, w []float64, sign, η float64) []float32 {
	guess := slices.Clone(p)
	for i := range guess {
		guess[i] += sign * w[i]
	}
	at := slices.Clone(x)
	for j, v := range normalised(tiles.up(guess)) {
		at[j] = float32(float64(at[j]) + η*v)
	}
	return q.Clip(at)
}

// learn corrects the guess p along w by the slope d that was measured, in units of what was measured so far.
func (a Bandits) learn(p, w []float64, d float64) {
	for i := range p {
		g := d * w[i] / a.Exploration
		if a.Ball.Norm == advlib.Norm(advlib.L2) {
			p[i] += a.PriorRate * a.Exploration * g
			continue
		}
		// Exponentiated gradients on (p + 1)/2; the exponent is bounded so that p stays a number.
		up := (p[i] + 1) / 2
		e := math.Exp(min(max(a.PriorRate*math.Sqrt(float64(len(p)))*g, -60), 60))
		p[i] = 2*up*e/(up*e+1-up) - 1
		p[i] = min(max(p[i], -1+1e-12), 1-1e-12)
	}
}

// tiling lays coarse tiles over an image: tile[j] is the one of coordinate j, −1 where it cannot change.
type tiling struct {
	n    int
	tile []int
}

func newTiles(p raster, size, side int) tiling {
	t := tiling{tile: make([]int, size)}
	for j := range t.tile {
		t.tile[j] = -1
	}
	rows, columns := min(side, p.h), min(side, p.w)
	if p.h == 1 {
		columns = p.w // a flat input has no neighbours
	}
	t.n = rows * columns * p.c
	for i := range p.h * p.w {
		row, column := i/p.w*rows/p.h, i%p.w*columns/p.w
		for k := range p.c {
			if j := p.at(i, k); p.movable(j) {
				t.tile[j] = (row*columns+column)*p.c + k
			}
		}
	}
	return t
}

// up returns the value of its tile for each coordinate.
func (t tiling) up(p []float64) []float64 {
	v := make([]float64, len(t.tile))
	for j, tile := range t.tile {
		if tile >= 0 {
			v[j] = p[tile]
		}
	}
	return v
}

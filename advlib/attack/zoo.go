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
	register[ZOO](Nearest, Command{Name: "zoo", About: "ZOO, 10000 queries: Carlini & Wagner's L2 with slopes estimated from scores",
		Make: func(advlib.Ball) advlib.Attack { return ZOO{} }})
}

// ZOO is zeroth order optimisation of Chen et al. (2017), arXiv:1708.03999, algorithm 2: the attack of Carlini & Wagner
// in L2, with slopes of single coordinates from pairs of questions, and Adam for each coordinate by itself,
//
//	min ‖x − x₀‖² + c·max(−margin(x), −κ),   ĝᵢ = (f(x + h·eᵢ) − f(x − h·eᵢ))/2h
//
// for a batch of coordinates drawn at random in each step. A coordinate of each step costs two queries, so it is the
// dearest attack of this package, and needs thousands of queries even on small images.
//
// It departs from the authors' code in this: c is not searched for by bisection, each run of which costs the whole
// budget, but doubles after each pass over the coordinates that ends without an adversarial example, and is halved
// after one with; points are clipped before they are asked about; probes that rounding or clipping makes equal are not
// asked about; and each query counts.
type ZOO struct {
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Queries is the budget of each example, clean prediction and final check included; 0 means 10000.
	Queries int
	// Confidence is κ, the margin that is asked for; the default is 0.
	Confidence float64
	// Coordinates is how many coordinates move in each step; 0 means 128.
	Coordinates int
	// Delta is h, in widths of the box; 0 means 0.001. (The paper's 1e-4 is lost in the rounding of float32 logits.)
	Delta float64
	// LearningRate is that of Adam, in widths of the box; 0 means 0.01.
	LearningRate float64
	// InitialConst is the first c; 0 means 1.
	InitialConst float64
}

// Describe implements [craft.Described].
func (a *ZOO) Describe(d *craft.Description) {
	d.Paper("Chen et al. 2017, arXiv:1708.03999")
	d.Scores()
	d.Minimal(advlib.L2)
	d.Goal(&a.Goal)
	d.Queries(&a.Queries, 10000)
	d.Size(&a.Confidence, 0).As("κ = %g")
	d.Count(&a.Coordinates, 128).As("%d coordinates")
	d.Size(&a.Delta, 1e-3).As("h = %g")
	d.Size(&a.LearningRate, 0.01).As("rate %g")
	d.Size(&a.InitialConst, 1).As("c₀ = %g")
	d.Name("ZOO-%d", a.Queries)
}

// String returns for example "ZOO-10000 L2 minimal".
func (a ZOO) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a ZOO) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a ZOO) Plan(v advlib.Victim) (forward, backward float64, known bool) { return craft.Plan(a, v) }

// Perturb implements [advlib.Attack].
func (a ZOO) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	width := v.Signature().Limits().Width()
	c := craft.Inquest{Norm: advlib.L2, Queries: a.Queries, Loss: advlib.Margin}
	return craft.Inquire(ctx, v, b, c, func(q *craft.Inquiry) { a.search(q, width) })
}

// search is the search for one example.
func (a ZOO) search(q *craft.Inquiry, width float64) {
	h, rate, c := a.Delta*width, a.LearningRate*width, a.InitialConst
	var free []int
	for j := range q.X {
		if q.Lower[j] < q.Upper[j] {
			free = append(free, j)
		}
	}
	least := leastMoves(q, h)
	x, adam := slices.Clone(q.X), newCoordinateAdam(len(q.X))
	for len(free) > 0 {
		q.Rand.Shuffle(len(free), func(i, j int) { free[i], free[j] = free[j], free[i] })
		hit := false
		for some := range slices.Chunk(free, a.Coordinates) {
			for i, f := range a.slopes(q, x, some, h, least) {
				j := some[i]
				g := 2*(float64(x[j])-float64(q.X[j]))/(width*width) + c*f
				x[j] = min(max(float32(float64(x[j])-adam.next(j, rate, g*width)), q.Lower[j]), q.Upper[j])
			}
			if q.Is(q.Clip(slices.Clone(x))) {
				hit = true
			}
		}
		if hit {
			c /= 2
		} else {
			c *= 2
		}
	}
}

// slopes returns those of max(−margin, −κ) by some coordinates at x; 0 where nothing is known.
func (a ZOO) slopes(q *craft.Inquiry, x []float32, some []int, h float64, least []float64) []float64 {
	var points [][]float32
	asked := make([]bool, len(some))
	for i, j := range some {
		plus, minus := slices.Clone(x), slices.Clone(x)
		d := max(h, least[j])
		plus[j], minus[j] = float32(float64(x[j])+d), float32(float64(x[j])-d)
		q.Clip(plus)
		q.Clip(minus)
		if asked[i] = plus[j] != minus[j]; asked[i] {
			points = append(points, plus, minus)
		}
	}
	margins := q.Losses(points)
	f, k := make([]float64, len(some)), 0
	for i, j := range some {
		if !asked[i] {
			continue
		}
		plus, minus := max(-margins[k], -a.Confidence), max(-margins[k+1], -a.Confidence)
		if rise := plus - minus; !math.IsNaN(rise) && !math.IsInf(rise, 0) {
			f[i] = rise / (float64(points[k][j]) - float64(points[k+1][j]))
		}
		k += 2
	}
	return f
}

// coordinateAdam is Adam for each coordinate by itself, which counts its own steps.
type coordinateAdam struct {
	k      []int
	m1, m2 []float64
}

func newCoordinateAdam(n int) *coordinateAdam {
	return &coordinateAdam{k: make([]int, n), m1: make([]float64, n), m2: make([]float64, n)}
}

// next returns the step of coordinate j along its slope g.
func (s *coordinateAdam) next(j int, rate, g float64) float64 {
	rate = adamRate(rate, s.k[j])
	s.k[j]++
	s.m1[j] = adamβ1*s.m1[j] + (1-adamβ1)*g
	s.m2[j] = adamβ2*s.m2[j] + (1-adamβ2)*g*g
	return rate * s.m1[j] / (math.Sqrt(s.m2[j]) + adamε)
}

package attack

import (
	"context"
	"math/rand/v2"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[SparseRS](InBall, Command{Name: "sparse-rs", About: "Sparse-RS, 10000 queries of random search over few pixels",
		Make: func(b advlib.Ball) advlib.Attack { return SparseRS{Ball: b} }})
}

// SparseRS is Sparse-RS for L0 of Croce et al. (2022), arXiv:2006.12834, algorithms 1 and 2: a random search over
// which k pixels are changed, and to which corners of the box. Each query exchanges a share p of them for others in
// other colours, and the exchange is kept if the loss rises. The share falls from p₀ to p₀/20.
//
// It asks for logits or probabilities, never for a gradient. It mends three things in the code of the paper: no point
// is asked about twice, where the victim is not random; where one pixel is left to exchange and its neighbourhood is
// exhausted, more are; each example has its own draws.
type SparseRS struct {
	// Ball is what may be changed, in L0: its radius is the number of values. A pixel of c channels has c values, so that
	// k is the radius over c; with a radius below c single values are changed. It must be set.
	Ball advlib.Ball
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Loss is raised; nil means the margin, with a target cross-entropy, as in the paper.
	Loss advlib.Loss
	// Queries is the budget of each example, clean prediction and final check included; 0 means 10000.
	Queries int
	// Share is p₀, in (0, 1]: the share of the pixels that is exchanged at first; 0 means 0.3, with a target 0.1, as in
	// the paper's experiments.
	Share float64
	// Rescaled changes the share when the same part of Queries is spent as in the paper, which has 10000. Otherwise it
	// changes after 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 queries, so that a run can be continued.
	Rescaled bool
}

// Describe implements [craft.Described].
func (a *SparseRS) Describe(d *craft.Description) {
	d.Paper("Croce et al. 2022, arXiv:2006.12834")
	d.Scores()
	d.Ball(&a.Ball, advlib.L0)
	d.Goal(&a.Goal)
	describeSearch(d, &a.Loss)
	d.Queries(&a.Queries, 10000)
	d.Portion(&a.Share, sparseShare(d.Targeted()), "the share of the pixels that is exchanged at first").As("p₀ = %g")
	d.Flag(&a.Rescaled, "rescaled schedule")
	d.Name("Sparse-RS-%d", a.Queries)
}

// sparseShare is p₀ of the paper's experiments.
func sparseShare(targeted bool) float64 {
	if targeted {
		return 0.1
	}
	return 0.3
}

// describeSearch describes the loss of random searches, which is the margin, with a target cross-entropy.
func describeSearch(d *craft.Description, loss *advlib.Loss) {
	given := *loss
	if d.Targeted() {
		d.Loss(loss, advlib.CrossEntropy).Given(given != nil)
	} else {
		d.Loss(loss, advlib.Margin).Given(given != nil)
	}
}

// String returns for example "Sparse-RS-10000 L0 ≤ 5".
func (a SparseRS) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a SparseRS) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a SparseRS) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// Perturb implements [advlib.Attack].
func (a SparseRS) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	random := v.Signature().Random
	c := craft.Inquest{Ball: a.Ball, Queries: a.Queries, Loss: a.Loss}
	return craft.Inquire(ctx, v, b, c, func(q *craft.Inquiry) { a.search(q, random) })
}

// decay is after how many queries a share falls, and to what part of itself.
type decay []struct {
	after int
	by    float64
}

// at returns the share of the first that is left after i queries, of a schedule for 10000 that is rescaled to budget
// if that is not 0.
func (h decay) at(first float64, i, budget int) float64 {
	if budget > 0 {
		i = int(float64(i) / float64(budget) * 10000)
	}
	by := 1.
	for _, s := range h {
		if i > s.after {
			by = s.by
		}
	}
	return first / by
}

// sparseSchedule is that of the paper's code for L0: the first query has p₀ itself.
var sparseSchedule = decay{{0, 2}, {50, 4}, {200, 5}, {500, 6}, {1000, 8}, {2000, 10}, {4000, 12}, {6000, 15}, {8000, 20}}

// search is the search for one example.
func (a SparseRS) search(q *craft.Inquiry, random bool) {
	p := newRaster(q)
	pixels := p.pixels()
	k := 0
	if c := p.movableChannels(pixels); c > 0 {
		if k = int(a.Ball.Radius) / c; k == 0 {
			p = p.values()
			pixels = p.pixels()
			k = int(a.Ball.Radius)
		}
	}
	if k = min(k, len(pixels)); k == 0 {
		return
	}
	s := newSparse(q, p, pixels, k, random)
	for i := 1; ; i++ {
		m := max(1, int(sparseSchedule.at(a.Share, i, a.rescale())*float64(k)))
		if !s.exchange(m) {
			return
		}
	}
}

// rescale is the budget to which the schedule is rescaled, 0 for none.
func (a SparseRS) rescale() int {
	if a.Rescaled {
		return a.Queries
	}
	return 0
}

// sparse is the state of Sparse-RS for one example: k pixels are used, the others are not.
type sparse struct {
	q            *craft.Inquiry
	p            raster
	used, unused []int
	colour       map[int]uint64 // of used pixels that differ from the original
	x, next      []float32
	loss         float64
	key          uint64              // of x
	seen         map[uint64]struct{} // points asked about; nil where asking again is of use
}

func newSparse(q *craft.Inquiry, p raster, pixels []int, k int, random bool) *sparse {
	q.Rand.Shuffle(len(pixels), func(i, j int) { pixels[i], pixels[j] = pixels[j], pixels[i] })
	s := &sparse{q: q, p: p, used: pixels[:k:k], unused: pixels[k:], colour: map[int]uint64{}}
	s.x, s.next = append([]float32(nil), q.X...), make([]float32, len(q.X))
	for _, pixel := range s.used {
		s.colour[pixel] = s.paint(s.x, pixel)
		s.key ^= s.colour[pixel]
	}
	if !random {
		s.seen = map[uint64]struct{}{s.key: {}}
	}
	s.loss = q.Losses([][]float32{s.x})[0]
	return s
}

// paint gives a pixel of x a random corner of the box as its colour, another one than it has. It returns a number that
// stands for the pixel with that colour, 0 where it is that of the original.
func (s *sparse) paint(x []float32, pixel int) uint64 {
	for changed := false; !changed; {
		for k := range s.p.c {
			j := s.p.at(pixel, k)
			if !s.p.movable(j) {
				continue
			}
			to := s.p.lower[j]
			if s.q.Rand.Uint64()&1 == 1 {
				to = s.p.upper[j]
			}
			changed = changed || to != x[j]
			x[j] = to
		}
	}
	number, differs := uint64(0), false
	for k := range s.p.c {
		j := s.p.at(pixel, k)
		differs = differs || x[j] != s.q.X[j]
		number <<= 1
		if s.p.movable(j) && x[j] == s.p.upper[j] {
			number |= 1
		}
	}
	if !differs {
		return 0
	}
	return rand.NewPCG(uint64(pixel), number).Uint64()
}

// exchange asks about a point in which m of the used pixels are exchanged for others, and goes there if it is better.
// It returns false where every such point was asked about.
func (s *sparse) exchange(m int) bool {
	const tries = 100
	for ; m <= len(s.used); m++ {
		for range tries {
			key, painted := s.propose(m)
			if s.seen != nil {
				if _, asked := s.seen[key]; asked {
					continue
				}
				s.seen[key] = struct{}{}
			}
			loss := s.q.Losses([][]float32{s.next})[0]
			if loss > s.loss {
				s.accept(loss, key, painted)
			}
			return true
		}
	}
	return false
}

// propose puts into next a point in which the first m used pixels, drawn at random, are exchanged for the first unused
// ones; where there are fewer of these, the others are given another colour. It returns the point's number, and those
// of the pixels that were painted.
func (s *sparse) propose(m int) (key uint64, painted []uint64) {
	draw(s.q.Rand, s.used, m)
	n := draw(s.q.Rand, s.unused, m)
	copy(s.next, s.x)
	key = s.key
	for i := range m {
		pixel := s.used[i]
		key ^= s.colour[pixel]
		if i < n {
			for k := range s.p.c {
				j := s.p.at(pixel, k)
				s.next[j] = s.q.X[j]
			}
			pixel = s.unused[i]
		}
		z := s.paint(s.next, pixel)
		painted = append(painted, z)
		key ^= z
	}
	return key, painted
}

// accept goes to next.
func (s *sparse) accept(loss float64, key uint64, painted []uint64) {
	s.x, s.next, s.loss, s.key = s.next, s.x, loss, key
	for i, z := range painted {
		if i < len(s.unused) {
			delete(s.colour, s.used[i])
			s.used[i], s.unused[i] = s.unused[i], s.used[i]
		}
		s.colour[s.used[i]] = z
	}
}

// draw moves m of v, drawn at random, or all if there are fewer, to its beginning, and returns how many.
func draw(r *rand.Rand, v []int, m int) int {
	m = min(m, len(v))
	for i := range m {
		j := i + r.IntN(len(v)-i)
		v[i], v[j] = v[j], v[i]
	}
	return m
}

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
//
// It goes beyond the paper in what it does with the answers, which tell more than whether the loss rises: the search
// ends at points that no exchange improves, because another class than the nearest one would have to be approached. All
// scores of an answer together say what single pixels do to each class, if their effects are added. So colours that
// were not tried yet are preferred, and where the search has stalled the k pixels are asked about that should bring
// some class furthest. Where effects do not add up, that costs a tenth of its queries at most. RandomOnly leaves it
// out.
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
	// RandomOnly draws all proposals at random, as the paper does, and learns nothing from the answers.
	RandomOnly bool
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
	d.Flag(&a.RandomOnly, "random only")
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
	s := newSparse(q, p, pixels, k, random, !a.RandomOnly)
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
	worn         map[int]*spot // the colours of the used pixels that differ from the original
	x, next      []float32
	loss         float64
	key          uint64              // of x
	seen         map[uint64]struct{} // points asked about; nil where asking again is of use
	learnt       *effects            // nil where nothing is learnt
	failed       int                 // how many questions ago x was found
	recombined   int                 // at which question the learnt effects were recombined last
}

func newSparse(q *craft.Inquiry, p raster, pixels []int, k int, random, learn bool) *sparse {
	q.Rand.Shuffle(len(pixels), func(i, j int) { pixels[i], pixels[j] = pixels[j], pixels[i] })
	s := &sparse{q: q, p: p, used: pixels[:k:k], unused: pixels[k:], worn: map[int]*spot{}}
	s.loss = math.NaN() // any loss is better
	s.x, s.next = slices.Clone(q.X), slices.Clone(q.X)
	if !random {
		s.seen = map[uint64]struct{}{}
	}
	if learn {
		s.learnt = newEffects(q, p)
	}
	var first repaint
	for _, pixel := range s.used {
		first.add(s.paint(pixel, false))
	}
	s.ask(first)
	return s
}

// repaint is what a proposal differs by from x: pixels that lose their colour, and pixels that are given one.
type repaint struct{ off, on []*spot }

func (c *repaint) add(d *spot) {
	if d != nil {
		c.on = append(c.on, d)
	}
}

// ask asks about next, which differs from x by c, and goes there if it is better.
func (s *sparse) ask(c repaint) bool {
	key := s.keyOf(c)
	if s.seen != nil {
		s.seen[key] = struct{}{}
	}
	answer := s.q.Answers([][]float32{s.next})[0]
	if s.learnt != nil {
		s.learnt.learn(answer, c)
	}
	s.failed++
	loss := s.q.Loss(answer)
	if loss <= s.loss {
		return false
	}
	s.x, s.next, s.loss, s.key, s.failed = s.next, s.x, loss, key, 0
	for _, d := range c.off {
		delete(s.worn, d.pixel)
	}
	for _, d := range c.on {
		s.worn[d.pixel] = d
	}
	if s.learnt != nil {
		s.learnt.moved()
	}
	return true
}

// keyOf returns the number of the point that differs from x by c.
func (s *sparse) keyOf(c repaint) uint64 {
	key := s.key
	for _, d := range c.off {
		key ^= d.key
	}
	for _, d := range c.on {
		key ^= d.key
	}
	return key
}

// asked tells whether the point that differs from x by c was asked about.
func (s *sparse) asked(c repaint) bool {
	_, asked := s.seen[s.keyOf(c)]
	return asked
}

// paint gives a pixel of next a random corner of the box as its colour, another one than it has, and one that was not
// tried yet, if it is to be new. It returns nil where that is the colour of the original.
func (s *sparse) paint(pixel int, isNew bool) *spot {
	const tries = 20
	var d *spot
	for range tries {
		d = s.splash(pixel)
		if !isNew || d != nil && s.learnt.of[d.key] == nil {
			break
		}
	}
	if d != nil && s.learnt != nil {
		d = s.learnt.known(d)
	}
	return d
}

func (s *sparse) splash(pixel int) *spot {
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
			changed = changed || to != s.next[j]
			s.next[j] = to
		}
	}
	return s.p.spot(s.next, s.q.X, pixel)
}

// exchange asks about a point in which m of the used pixels are exchanged for others, and goes there if it is better.
// It returns false where every such point was asked about.
func (s *sparse) exchange(m int) bool {
	if s.learnt != nil && s.recombine() {
		return true
	}
	const tries = 100
	for ; m <= len(s.used); m++ {
		for range tries {
			c, n := s.propose(m)
			if s.asked(c) {
				continue
			}
			if s.ask(c) {
				for i := range n {
					s.used[i], s.unused[i] = s.unused[i], s.used[i]
				}
			}
			return true
		}
	}
	return false
}

// propose puts into next a point in which the first m used pixels, drawn at random, are exchanged for the first n
// unused ones; where there are fewer of these, the others are given another colour. Of what is learnt, the first is one
// with a colour that was not tried yet, if there is one.
func (s *sparse) propose(m int) (c repaint, n int) {
	draw(s.q.Rand, s.used, m)
	n = draw(s.q.Rand, s.unused, m)
	isNew := s.learnt != nil && s.learnt.untried(s.unused)
	copy(s.next, s.x)
	for i := range m {
		pixel := s.used[i]
		if d := s.worn[pixel]; d != nil {
			c.off = append(c.off, d)
		}
		if i < n {
			s.p.restore(s.next, s.q.X, pixel)
			pixel = s.unused[i]
		}
		c.add(s.paint(pixel, isNew && i == 0))
	}
	return c, n
}

// Where so many questions have found nothing better, what was learnt is recombined: at each tenth question, and later
// when a 50th has come to those that were asked, for its costs grow with them.
const (
	patience      = 10
	recombineLess = 50
)

// recombine asks about the point that the learnt effects promise most of, if its time has come and there is one.
func (s *sparse) recombine() bool {
	asked := s.q.Asked()
	if s.failed < patience || asked-s.recombined < max(patience, asked/recombineLess) {
		return false
	}
	s.recombined = asked
	c, ok := s.learnt.best(len(s.used), s.worn, func(c repaint) bool { return s.asked(c) })
	if !ok {
		return false
	}
	copy(s.next, s.x)
	for _, d := range c.off {
		s.p.restore(s.next, s.q.X, d.pixel)
	}
	for _, d := range c.on {
		s.p.wear(s.next, d)
	}
	if s.ask(c) {
		s.reorder()
	}
	return true
}

// reorder makes the pixels that wear a colour the used ones, with as many others as there were.
func (s *sparse) reorder() {
	all, k := slices.Concat(s.used, s.unused), len(s.used)
	slices.SortStableFunc(all, func(a, b int) int { return cmp.Compare(s.bare(a), s.bare(b)) })
	s.used, s.unused = all[:k:k], all[k:]
}

// bare is 0 for a pixel that wears a colour, else 1.
func (s *sparse) bare(pixel int) int {
	if s.worn[pixel] != nil {
		return 0
	}
	return 1
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

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
	register[PatchRS](InPatch, Command{Name: "patch-rs", About: "Patch-RS, 10000 queries for a square patch of its own for each image",
		Make: func(b advlib.Ball) advlib.Attack { return PatchRS{Ball: b} }})
}

// PatchRS is Sparse-RS for patches of one image each, Patch-RS of Croce et al. (2022), arXiv:2006.12834, section 5: a
// random search over where a square patch lies and what it shows, both of its own for each image. Every fourth query
// tries another place nearby, the others another colour in a square of the patch; what raises the loss is kept. Colours
// are corners of the box. It asks for logits or probabilities, never for a gradient. [AdversarialPatch] learns one
// patch for all images and places, by gradients.
//
// The patch is the largest square that the ball allows; where the image is too narrow for it, or flat, a rectangle of
// the same area. What a domain fixes shows through it. It mends four things in the code of the paper: patches reach the
// last row and column, and may be as large as the image; images need not be square, nor have three channels; each
// example has its own draws; no point is asked about twice, where the victim is not random. And where a search has
// found nothing better in 200 queries, and in half of those that it had, another begins from other draws.
type PatchRS struct {
	// Ball is what may be changed, in L0: its radius is the number of values, so that 25 allow a patch of 5 × 5 pixels of
	// one channel, 75 of three. It must be set.
	Ball advlib.Ball
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Loss is raised; nil means the margin, with a target cross-entropy, as in the paper.
	Loss advlib.Loss
	// Queries is the budget of each example, clean prediction and final check included; 0 means 10000.
	Queries int
	// Area is p₀, in (0, 1]: the share of the patch that is given another colour at first, halved nine times as by Square;
	// 0 means 0.4, with a target 0.1, as in the paper's experiments.
	Area float64
	// Period is how often the place is changed: at each query whose number it divides; 0 means 4, with a target 10, as in
	// the paper.
	Period int
	// Rescaled shortens the schedules to Queries; otherwise they are those of the paper's 10000, so that a run can be
	// continued.
	Rescaled bool
}

// Describe implements [craft.Described].
func (a *PatchRS) Describe(d *craft.Description) {
	d.Paper("Croce et al. 2022, arXiv:2006.12834")
	d.Scores()
	d.Ball(&a.Ball, advlib.L0)
	d.Goal(&a.Goal)
	describeSearch(d, &a.Loss)
	d.Queries(&a.Queries, 10000)
	area, period := 0.4, 4
	if d.Targeted() {
		area, period = 0.1, 10
	}
	d.Portion(&a.Area, area, "the share of the patch that is given another colour at first").As("p₀ = %g")
	d.Count(&a.Period, period).As("place at each %d")
	d.Flag(&a.Rescaled, "rescaled schedules")
	d.Name("Patch-RS-%d", a.Queries)
	if v := d.Victim(); v != nil && a.Ball.Norm != nil {
		c := channelsOf(v.Signature().Input)
		d.Refuse(a.Ball.Radius >= 1 && int(a.Ball.Radius) < c,
			"the radius %g is less than the %d values of a pixel: give the number of values, %d for a patch of 3 × 3 pixels",
			a.Ball.Radius, c, 9*c)
	}
}

// channelsOf returns the number of values of a pixel of inputs of that shape.
func channelsOf(shape []int) int {
	c := 1
	for _, n := range shape[min(2, len(shape)):] {
		c *= n
	}
	return c
}

// String returns for example "Patch-RS-10000 L0 ≤ 25".
func (a PatchRS) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack]. An attack in the L0 ball may do more than a patch, so that a certificate for the
// ball holds against the patch.
func (a PatchRS) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a PatchRS) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// Perturb implements [advlib.Attack].
func (a PatchRS) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	random := v.Signature().Random
	c := craft.Inquest{Ball: a.Ball, Queries: a.Queries, Loss: a.Loss}
	return craft.Inquire(ctx, v, b, c, func(q *craft.Inquiry) { a.search(q, random) })
}

// patienceRS is for how many queries a search may find nothing better, or for half as many as it had, before another
// begins.
const patienceRS = 200

// search is the search for one example.
func (a PatchRS) search(q *craft.Inquiry, random bool) {
	s := newPatched(q, int(a.Ball.Radius))
	if s.h*s.w == 0 {
		return
	}
	if !random {
		s.seen = map[uint64]struct{}{}
	}
	for s.mosaic() {
		s.ask()
		for i, found := 1, 0; i-found <= max(patienceRS, i/2); i++ {
			if !s.fresh(func() { a.propose(s, i) }) {
				break
			}
			if s.ask() {
				found = i
			}
		}
		s.loss = math.NaN()
	}
}

// length is how many queries the schedules are made for.
func (a PatchRS) length() int {
	if a.Rescaled {
		return a.Queries
	}
	return 10000
}

// side is the side of the square that is given another colour in query i, of a patch of side s.
func (a PatchRS) side(i, s int) int {
	budget := 0
	if a.Rescaled {
		budget = a.Queries
	}
	return max(1, int(math.Sqrt(squareSchedule.at(a.Area, i, budget))*float64(s)))
}

// propose changes the proposal of query i into another one: a place, or colours.
func (a PatchRS) propose(s *patched, i int) {
	s.back()
	if reach := 0.75 * max(0, 1-float64(i)/float64(a.length())); i%a.Period == 0 && s.move(reach) {
		return
	}
	side := a.side(i, s.side())
	s.colour(side, side == 1 && i >= a.singles(s.side()))
}

// singles is the query from which on single channels change: in the middle of what is left when the squares have come
// down to one pixel.
func (a PatchRS) singles(side int) int {
	n := a.length()
	i := 0
	for i < n && a.side(i, side) > 1 {
		i++
	}
	return i + (n-i)/2
}

// laid is where a patch lies, and what it shows: for each pixel and channel whether it is the upper end.
type laid struct {
	top, left int
	upper     []bool
}

// patched is the state of Patch-RS for one example.
type patched struct {
	q        *craft.Inquiry
	p        raster // the image
	h, w     int    // of the patch
	at, next laid   // the best so far, and the proposal
	x        []float32
	loss     float64             // of the best so far; NaN before the first, than which any is better
	seen     map[uint64]struct{} // proposals asked about; nil where asking again is of use
}

// newPatched returns the state for a patch of at most so many values.
func newPatched(q *craft.Inquiry, values int) *patched {
	s := &patched{q: q, p: newRaster(q), loss: math.NaN(), x: make([]float32, len(q.X))}
	pixels := values / s.p.c
	side := int(math.Sqrt(float64(pixels)))
	s.h, s.w = side, side
	switch {
	case s.p.h*s.p.w == 0:
		s.h, s.w = 0, 0
	case side > s.p.h:
		s.h, s.w = s.p.h, min(pixels/s.p.h, s.p.w)
	case side > s.p.w:
		s.h, s.w = min(pixels/s.p.w, s.p.h), s.p.w
	}
	cells := s.h * s.w * s.p.c
	s.at.upper, s.next.upper = make([]bool, cells), make([]bool, cells)
	return s
}

// side is that of the patch, of a rectangle the shorter one: squares inside of it are at most so large.
func (s *patched) side() int { return min(s.h, s.w) }

// back makes the proposal what was found best.
func (s *patched) back() {
	s.next.top, s.next.left = s.at.top, s.at.left
	copy(s.next.upper, s.at.upper)
}

// fresh draws proposals until one was not asked about, and tells whether it found one.
func (s *patched) fresh(propose func()) bool {
	const tries = 100
	for range tries {
		propose()
		if _, asked := s.seen[s.key()]; !asked {
			return true
		}
	}
	return false
}

// mosaic draws where a search begins: a place, and a thousand small squares on top of each other, each of one colour.
// It tells whether it found one that was not asked about.
func (s *patched) mosaic() bool {
	r := s.q.Rand
	largest := max(1, int(math.Ceil(math.Sqrt(float64(s.side()))))-1)
	return s.fresh(func() {
		s.next.top, s.next.left = r.IntN(s.p.h-s.h+1), r.IntN(s.p.w-s.w+1)
		for range 1000 {
			s.square(1+r.IntN(largest), s.corner())
		}
	})
}

// corner draws a colour: an end of each channel.
func (s *patched) corner() []bool {
	colour := make([]bool, s.p.c)
	for k := range colour {
		colour[k] = s.q.Rand.Uint64()&1 == 1
	}
	return colour
}

// square gives a square of the patch, of that side, anywhere, one colour.
func (s *patched) square(side int, colour []bool) {
	top, left := s.q.Rand.IntN(s.h-side+1), s.q.Rand.IntN(s.w-side+1)
	for y := top; y < top+side; y++ {
		for x := left; x < left+side; x++ {
			copy(s.next.upper[(y*s.w+x)*s.p.c:], colour)
		}
	}
}

// move puts the patch elsewhere, by at most so much of the image's sides, and tells whether it could.
func (s *patched) move(reach float64) bool {
	r := s.q.Rand
	shift := func(at, length, size int) int {
		most := int(reach * float64(length))
		return min(max(at+r.IntN(2*most+1)-most, 0), length-size)
	}
	for range redraws {
		s.next.top, s.next.left = shift(s.at.top, s.p.h, s.h), shift(s.at.left, s.p.w, s.w)
		if s.next.top != s.at.top || s.next.left != s.at.left {
			return true
		}
	}
	return false
}

// colour gives a square of that side another colour, or one channel of a pixel its other end.
func (s *patched) colour(side int, single bool) {
	if single {
		j := s.q.Rand.IntN(len(s.next.upper))
		s.next.upper[j] = !s.next.upper[j]
		return
	}
	for range redraws {
		s.square(side, s.corner())
		if !slices.Equal(s.next.upper, s.at.upper) {
			return
		}
	}
}

// key is a number that stands for the proposal.
func (s *patched) key() uint64 {
	key := mixed(uint64(s.next.top)<<32 | uint64(s.next.left))
	word := uint64(0)
	for j, upper := range s.next.upper {
		if upper {
			word |= 1 << (j % 64)
		}
		if j%64 == 63 || j == len(s.next.upper)-1 {
			key, word = mixed(key^word), 0
		}
	}
	return key
}

// ask asks about the proposal, keeps it if it is better, and tells whether it is.
func (s *patched) ask() bool {
	if s.seen != nil {
		s.seen[s.key()] = struct{}{}
	}
	copy(s.x, s.q.X)
	for y := range s.h {
		for x := range s.w {
			pixel := (s.next.top+y)*s.p.w + s.next.left + x
			for k := range s.p.c {
				j := s.p.at(pixel, k)
				if s.x[j] = s.p.lower[j]; s.next.upper[(y*s.w+x)*s.p.c+k] {
					s.x[j] = s.p.upper[j]
				}
			}
		}
	}
	loss := s.q.Losses([][]float32{s.q.Clip(s.x)})[0]
	if loss <= s.loss {
		return false
	}
	s.loss = loss
	s.at, s.next = s.next, s.at
	return true
}

package attack

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[Square](InBall, Command{Name: "square", About: "Square, 5000 queries of random search, without gradients",
		Make: func(b advlib.Ball) advlib.Attack {
			return Square{Ball: b}
		}})
}

// Square is the random search of Andriushchenko et al. (2020), arXiv:1912.00049, algorithms 1 to 3, in L1 that of Croce
// & Hein (2021), arXiv:2103.01208, appendix: it changes a square window of the image at a random place, and keeps the
// change if the loss rises. It asks for logits only, never for a gradient, so that it also breaks models that hide
// theirs. Stats.Forward is its number of queries.
//
// Each example has its own windows, drawn from its own stream; in the code of the paper a batch shares them. Windows
// reach the last row and column, which that code leaves out. Images may have any shape: the first two axes are the
// plane, what follows are channels, and a flat input is one row of pixels: those of its coordinates that may change, of
// a domain with fixed features. Where a square does not fit, the window is a rectangle of the same area.
type Square struct {
	// Ball is what may be changed; its norm is L1, L2 or Linf. It must be set.
	Ball advlib.Ball
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Loss is raised; nil means the margin, with a target cross-entropy, as in the paper.
	Loss advlib.Loss
	// Queries is the budget: how many inputs are answered about an example in all runs together, the original before the
	// attack and the returned point after it included; 0 means 5000. The authors, and AutoAttack, count neither of these
	// two.
	Queries int
	// Area is p, in (0, 1]: the share of the pixels that the first windows cover; 0 means 0.8. It is halved nine times.
	Area float64
	// Rescaled halves the area when the same part of Queries is spent as in the paper, which has 10000. Otherwise it is
	// halved after 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 queries, as AutoAttack does, so that a run can be
	// continued.
	Rescaled bool
	// Restarts is how often examples that still stand are attacked again, each time from other random draws. All runs
	// have the same share of the queries.
	Restarts int
}

// Describe implements [craft.Described].
func (a *Square) Describe(d *craft.Description) {
	d.Paper("Andriushchenko et al. 2020, arXiv:1912.00049")
	d.Scores()
	d.Ball(&a.Ball, convexNorms...)
	d.Goal(&a.Goal)
	describeSearch(d, &a.Loss)
	d.Queries(&a.Queries, 5000)
	d.Portion(&a.Area, 0.8, "the share of the pixels that the first windows cover").As("p = %g")
	d.Flag(&a.Rescaled, "rescaled schedule")
	d.Count(&a.Restarts, 0).As("%d restarts")
	d.Name("Square-%d", a.Queries)
}

// String returns for example "Square-5000 Linf ≤ 0.1".
func (a Square) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a Square) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a Square) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// Perturb implements [advlib.Attack].
func (a Square) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	c := craft.Inquest{Ball: a.Ball, Queries: a.Queries, Loss: a.Loss}
	a.Queries = v.Share(a.Queries, 1+a.Restarts) // of each run
	return craft.Inquire(ctx, v, b, c, func(q *craft.Inquiry) {
		for range 1 + a.Restarts {
			a.search(q)
		}
	})
}

// search makes one run.
func (a Square) search(q *craft.Inquiry) {
	w := a.newWalk(q)
	for i := range a.Queries {
		for range redraws {
			w.propose(i)
			if !slices.Equal(w.next, w.x) {
				break
			}
		}
		asked := w.next
		if w.input != nil {
			asked = w.input
		}
		if L := q.Losses([][]float32{asked})[0]; L > w.L {
			w.L = L
			w.x, w.next = w.next, w.x
		}
	}
}

// redraws is how often a window is drawn anew whose change is none, because it is on that face of the cube already.
const redraws = 20

// walk is the search for one example. Its vectors have a value for each channel of each pixel.
type walk struct {
	raster
	attack Square
	q      *craft.Inquiry
	r      *rand.Rand
	x0, x  []float32 // the original, and the best point so far
	next   []float32 // the proposal
	input  []float32 // the same as an input; nil where it is one
	δ      []float64 // of the proposal, in L1 and L2
	lo, hi []float64 // how far each value may go
	L      float64   // the loss at x
}

func (a Square) newWalk(q *craft.Inquiry) *walk {
	w := &walk{raster: newRaster(q), attack: a, q: q, r: q.Rand, L: math.Inf(-1)}
	if w.free != nil {
		w.input = slices.Clone(q.X)
	}
	n := w.h * w.w * w.c
	w.x0, w.δ, w.lo, w.hi = make([]float32, n), make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range n {
		j := w.coordinate(i)
		w.x0[i] = q.X[j]
		w.lo[i], w.hi[i] = float64(w.lower[j])-float64(q.X[j]), float64(w.upper[j])-float64(q.X[j])
	}
	w.x, w.next = slices.Clone(w.x0), slices.Clone(w.x0)
	return w
}

// coordinate returns where in the input the value i is.
func (w *walk) coordinate(i int) int { return w.at(i/w.c, i%w.c) }

// propose fills next with the point to ask about in query q; query 0 is the first point, and what follows counts from 0
// as in the paper.
func (w *walk) propose(q int) {
	switch {
	case w.attack.Ball.Norm == advlib.Norm(advlib.Linf) && q == 0:
		w.stripes()
	case w.attack.Ball.Norm == advlib.Norm(advlib.Linf):
		w.flip(w.attack.area(q - 1))
	case q == 0:
		w.tiles()
	default:
		w.shift(w.attack.area(q - 1))
	}
	if w.input == nil {
		w.q.Clip(w.next)
		return
	}
	for i, v := range w.next {
		w.input[w.coordinate(i)] = v
	}
	w.q.Clip(w.input)
	for i := range w.next {
		w.next[i] = w.input[w.coordinate(i)]
	}
}

// area is p after i queries: section 5 of the paper.
func (a Square) area(i int) float64 {
	if a.Rescaled {
		return squareSchedule.at(a.Area, i, a.Queries)
	}
	return squareSchedule.at(a.Area, i, 0)
}

var squareSchedule = decay{{10, 2}, {50, 4}, {200, 8}, {500, 16}, {1000, 32}, {2000, 64}, {4000, 128}, {6000, 256}, {8000, 512}}

// window is a rectangle of the image: the pixels top ≤ y < top + h, left ≤ x < left + w.
type window struct{ top, left, h, w int }

// window draws a window that covers the share p of the pixels, a square if one fits. In L1 and L2 its sides are odd and
// at least 3, unless the image is so small that windows of 3 would all overlap.
func (w *walk) window(p float64, odd bool) window {
	fit := func(side float64, most int) int {
		s := max(1, int(math.Round(side)))
		if odd && most >= 5 {
			s = max(3, s)
		}
		if odd {
			s |= 1
		}
		return min(s, most)
	}
	pixels := p * float64(w.h*w.w)
	v := window{h: fit(math.Sqrt(pixels), w.h), w: fit(math.Sqrt(pixels), w.w)}
	switch side := math.Sqrt(pixels); {
	case side > float64(w.h):
		v.w = fit(pixels/float64(w.h), w.w)
	case side > float64(w.w):
		v.h = fit(pixels/float64(w.w), w.h)
	}
	v.top, v.left = w.r.IntN(w.h-v.h+1), w.r.IntN(w.w-v.w+1)
	return v
}

// sign draws −1 or 1.
func (w *walk) sign() float64 { return float64(2*w.r.IntN(2) - 1) }

// stripes is the first point in Linf: x₀ ± ε, with one sign for each column and channel (section 3.4).
func (w *walk) stripes() {
	for x := range w.w {
		for k := range w.c {
			s := w.sign() * w.attack.Ball.Radius
			for y := range w.h {
				i := (y*w.w+x)*w.c + k
				w.next[i] = w.inside(i, s)
			}
		}
	}
}

// flip moves a window by ±2ε in each channel, back into the ball: one face of the cube or the other (algorithm 2).
func (w *walk) flip(p float64) {
	copy(w.next, w.x)
	v, ε := w.window(p, false), w.attack.Ball.Radius
	for k := range w.c {
		s := w.sign() * 2 * ε
		for y := v.top; y < v.top+v.h; y++ {
			for x := v.left; x < v.left+v.w; x++ {
				i := (y*w.w+x)*w.c + k
				w.next[i] = w.inside(i, min(max(float64(w.x[i])-float64(w.x0[i])+s, -ε), ε))
			}
		}
	}
}

// inside returns the value i moved by δ, within the limits.
func (w *walk) inside(i int, δ float64) float32 {
	if δ < w.lo[i] {
		δ = w.lo[i]
	} else if δ > w.hi[i] {
		δ = w.hi[i]
	}
	return float32(float64(w.x0[i]) + δ)
}

// tiles is the first point in L1 and L2: the image paved with bumps of a fifth of its sides, each of a random sign in
// each channel.
func (w *walk) tiles() {
	clear(w.δ)
	th, tw := max(1, w.h/5), max(1, w.w/5)
	rows, columns := w.h/th, w.w/tw
	for i := range rows {
		for j := range columns {
			v := window{top: (w.h-rows*th)/2 + i*th, left: (w.w-columns*tw)/2 + j*tw, h: th, w: tw}
			η := w.bump(v)
			for k := range w.c {
				s := w.sign()
				w.each(v, k, func(i, j int) { w.δ[i] += s * η[j] })
			}
		}
	}
	w.settle()
}

// shift moves perturbation from one window to another, in the shape of a bump added to what is there, together with the
// budget that is not spent yet (algorithm 3 with its line 12; in L1 the same with sums of magnitudes).
func (w *walk) shift(p float64) {
	for i := range w.δ {
		w.δ[i] = float64(w.x[i]) - float64(w.x0[i])
	}
	to, from := w.window(p, true), w.window(p, true)
	unspent := max(0, w.power(w.attack.Ball.Radius)-w.sum(w.δ)) / float64(w.c)
	η := w.bump(to)
	next := make([]float64, len(η))
	for k := range w.c {
		var here []float64 // δ in the window
		w.each(to, k, func(i, _ int) { here = append(here, w.δ[i]) })
		length, both := w.root(w.sum(here)), w.sum(here)
		w.each(from, k, func(i, _ int) {
			if y, x := i/w.c/w.w, i/w.c%w.w; !to.holds(y, x) {
				both += w.power(w.δ[i])
			}
			w.δ[i] = 0
		})
		s := w.sign()
		for j := range next {
			next[j] = s*η[j] + here[j]/(tiny+length)
		}
		scale := w.root(unspent+both) / (tiny + w.root(w.sum(next)))
		if w.attack.Ball.Norm == advlib.Norm(advlib.L1) {
			scale *= float64(w.c)
		}
		w.each(to, k, func(i, j int) { w.δ[i] = scale * next[j] })
	}
	w.settle()
}

// tiny keeps quotients finite where a window is empty (the constant of the paper's code).
const tiny = 1e-12

// power, sum and root compute ‖·‖ᵖ of a number, of numbers, and the norm from it.
func (w *walk) power(v float64) float64 {
	if w.attack.Ball.Norm == advlib.Norm(advlib.L1) {
		return math.Abs(v)
	}
	return v * v
}

func (w *walk) sum(v []float64) float64 {
	s := 0.
	if w.attack.Ball.Norm == advlib.Norm(advlib.L1) {
		for _, x := range v {
			s += math.Abs(x)
		}
		return s
	}
	for _, x := range v {
		s += x * x
	}
	return s
}

func (w *walk) root(s float64) float64 {
	if w.attack.Ball.Norm == advlib.Norm(advlib.L1) {
		return s
	}
	return math.Sqrt(s)
}

func (v window) holds(y, x int) bool {
	return y >= v.top && y < v.top+v.h && x >= v.left && x < v.left+v.w
}

// each calls f with the position i in the input and j in the window of each pixel of the window, in channel k.
func (w *walk) each(v window, k int, f func(i, j int)) {
	for y := range v.h {
		for x := range v.w {
			f(((v.top+y)*w.w+v.left+x)*w.c+k, y*v.w+x)
		}
	}
}

// settle fills next with x₀ + δ: in L2 with δ stretched to length ε and clipped to the box, in L1 projected on the ball
// and the box.
func (w *walk) settle() {
	ε := w.attack.Ball.Radius
	if w.attack.Ball.Norm == advlib.Norm(advlib.L1) {
		project(w.attack.Ball, w.δ, w.lo, w.hi)
	} else if length := math.Sqrt(w.sum(w.δ)); length > 0 {
		stretch := ε / length
		for i := range w.δ {
			w.δ[i] *= stretch
		}
	}
	for i, d := range w.δ {
		w.next[i] = w.inside(i, d)
	}
}

// bump returns the pattern η of a window, of norm 1: one half of it is a hill and the other a valley, split along a
// random side (section 3.4, figure 4).
func (w *walk) bump(v window) []float64 {
	across := w.r.IntN(2) == 1
	if v.h == 1 || v.w == 1 {
		across = v.h == 1 // a line can be split in one way only
	}
	h, width := v.h, v.w
	if across {
		h, width = width, h
	}
	η := append(w.hill(h/2, width), w.hill(h-h/2, width)...)
	for i := h / 2 * width; i < len(η); i++ {
		η[i] = -η[i]
	}
	length := w.root(w.sum(η))
	for i := range η {
		η[i] /= length
	}
	if !across {
		return η
	}
	turned := make([]float64, len(η))
	for y := range h {
		for x := range width {
			turned[x*h+y] = η[y*width+x]
		}
	}
	return turned
}

// hill returns the sum over k of 1/(k+1)² (in L1 of the fourth power) on nested rectangles around the middle, of norm
// 1: equation 2.
func (w *walk) hill(h, width int) []float64 {
	m := make([]float64, h*width)
	for k := range max(h, width)/2 + 1 {
		top, left := h/2-k, width/2-k
		v := 1 / float64((k+1)*(k+1))
		if w.attack.Ball.Norm == advlib.Norm(advlib.L1) {
			v *= v
		}
		for y := max(top, 0); y < min(top+2*k+1, h); y++ {
			for x := max(left, 0); x < min(left+2*k+1, width); x++ {
				m[y*width+x] += v
			}
		}
	}
	length := w.root(w.sum(m))
	for i := range m {
		m[i] /= length
	}
	return m
}

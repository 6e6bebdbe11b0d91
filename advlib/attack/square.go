package attack

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	. "advlab/advlib/internal/equation"

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
	// FixedSchedule halves the area after 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 queries, whatever Queries is,
	// as AutoAttack does; without restarts, a run is then the beginning of one with more queries. Otherwise these numbers
	// are for 10000 queries, and are scaled to those of a run.
	FixedSchedule bool
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
	if loss := a.Loss; d.Targeted() {
		d.Loss(&a.Loss, advlib.CrossEntropy).Given(loss != nil)
	} else {
		d.Loss(&a.Loss, advlib.Margin).Given(loss != nil)
	}
	d.Queries(&a.Queries, 5000)
	d.Portion(&a.Area, 0.8, "the share of the pixels that the first windows cover").As("p = %g")
	d.Flag(&a.FixedSchedule, "fixed schedule")
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

// squareStep determines the graph of Square.
type squareStep struct{ loss advlib.Loss }

// graph judges the points x: their losses, by how much a loss must be higher to be so beyond rounding, and whether the
// goal is reached.
func (s squareStep) graph(p *craft.Point, in []*Node) []*Node {
	z := p.Logits(in[0])
	return []*Node{s.loss.Of(z, p.Goal), craft.Rounding(z), p.Reached(z)}
}

// Perturb implements [advlib.Attack].
func (a Square) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	if err := v.Signature().Limits().Check(); err != nil {
		return nil, err
	}
	step := craft.Compile(v, b, squareStep{a.Loss}, squareStep{a.Loss}.graph)
	best := craft.NewBest(b)
	return craft.Runs(ctx, b, best, a.Restarts, func(at []int, restart int) error {
		return a.search(ctx, v, step, b, at, restart, best)
	})
}

// search makes one run on the given rows; best takes what it finds.
func (a Square) search(
	ctx context.Context, v *advlib.Counted, step *advlib.Step, b advlib.Batch, rows []int, restart int, best *craft.Best,
) error {
	limits := v.Signature().Limits()
	a.Queries = v.Share(a.Queries, 1+a.Restarts)
	var walks []*walk
	originals := craft.NewBest(b)
	for _, r := range rows {
		walks = append(walks, a.newWalk(r, originals.Row(r), b.Rand(r, uint64(restart)), limits, b.X.Shape().Dimensions[1:]))
	}
	var g *craft.Rows
	defer func() {
		if g != nil {
			g.Free()
		}
	}()
	for q := range a.Queries {
		if err := ctx.Err(); err != nil {
			return err
		}
		walks = slices.DeleteFunc(walks, func(w *walk) bool { return v.Left(b.Number(w.row)) == 0 })
		if len(walks) == 0 {
			break
		}
		if g == nil || advlib.Bucket(len(walks)) != g.Size {
			if g != nil {
				g.Free()
			}
			g = craft.NewRows(b, rowsOf(walks))
		}
		// Rows that left make room for padding only when the bucket changes: until then the labels of g.At must stay in
		// place.
		x := make([]float32, 0, g.Size*len(walks[0].all))
		at := map[int]*walk{}
		for _, w := range walks {
			at[w.row] = w
			w.propose(q)
		}
		for i := range g.Size {
			w := walks[0]
			if i < len(g.At) && at[g.At[i]] != nil {
				w = at[g.At[i]]
			}
			x = w.put(x, w.next)
		}
		in := tensors.FromFlatDataAndDimensions(x, append([]int{g.Size}, b.X.Shape().Dimensions[1:]...)...)
		out, err := g.Ask(step, func(row int) bool { return at[row] != nil }, in)
		if err != nil {
			return fmt.Errorf("query %d on %d examples: %w", q, len(walks), err)
		}
		L, slack := tensors.MustCopyFlatData[float32](out[0]), tensors.MustCopyFlatData[float32](out[1])
		hit := tensors.MustCopyFlatData[bool](out[2])
		advlib.Free(append(out, in)...)
		walks = walks[:0]
		for i, r := range g.At {
			w := at[r]
			if w == nil {
				continue
			}
			if w.judge(L[i], slack[i], hit[i]); hit[i] {
				best.Solved[r] = true
				v.Found(b.Number(r), a.Ball.Norm.Distance(w.x, w.x0), 0)
			} else {
				walks = append(walks, w)
			}
			if hit[i] || w.L > best.Loss[r] {
				best.Loss[r] = w.L
				w.put(best.Row(r)[:0], w.x)
			}
		}
	}
	return nil
}

func rowsOf(walks []*walk) []int {
	rows := make([]int, len(walks))
	for i, w := range walks {
		rows[i] = w.row
	}
	return rows
}

// walk is the search for one example.
type walk struct {
	attack  Square
	row     int
	r       *rand.Rand
	limits  advlib.Limits
	all     []float32 // the original
	free    []int     // of a flat input, the coordinates that may change, which are the pixels; nil: all
	h, w, c int       // height, width, channels
	x0, x   []float32 // the original, and the best point so far, of the pixels
	next    []float32 // the proposal
	δ       []float64 // of the proposal, in L1 and L2
	L       float32   // the loss at x
}

func (a Square) newWalk(row int, x0 []float32, r *rand.Rand, limits advlib.Limits, shape []int) *walk {
	w := &walk{attack: a, row: row, r: r, limits: limits, all: x0, h: 1, w: shape[0], L: float32(math.Inf(-1))}
	if len(shape) > 1 {
		w.h, w.w = shape[0], shape[1]
	} else if n := limits.Free(); n < len(x0) {
		pixels := make([]float32, 0, n)
		for j, v := range x0 {
			if limits.IsFree(j) {
				w.free, pixels = append(w.free, j), append(pixels, v)
			}
		}
		w.w, x0 = n, pixels
	}
	w.x0 = x0
	w.c = len(x0) / (w.h * w.w)
	w.x, w.next, w.δ = append([]float32(nil), x0...), make([]float32, len(x0)), make([]float64, len(x0))
	return w
}

// put appends the whole input to x whose pixels are v.
func (w *walk) put(x, v []float32) []float32 {
	if w.free == nil {
		return append(x, v...)
	}
	n := len(x)
	x = append(x, w.all...)
	for i, j := range w.free {
		x[n+j] = v[i]
	}
	return x
}

// coordinate returns which coordinate of the input pixel and channel i is.
func (w *walk) coordinate(i int) int {
	if w.free == nil {
		return i
	}
	return w.free[i]
}

// judge takes the proposal if it reaches the goal or raises the loss, by more than rounding explains: another batch
// size rounds differently.
func (w *walk) judge(L, slack float32, hit bool) {
	if hit || L-w.L > slack {
		w.L = L
		w.x, w.next = w.next, w.x
	}
}

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
}

// area is p after i queries: section 5 of the paper.
func (a Square) area(i int) float64 {
	if !a.FixedSchedule {
		i = int(float64(i) / float64(a.Queries) * 10000)
	}
	p := a.Area
	for _, after := range []int{10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000} {
		if i > after {
			p /= 2
		}
	}
	return p
}

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
				w.next[i] = w.inside(i, float64(w.x0[i])+s)
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
				x0 := float64(w.x0[i])
				w.next[i] = w.inside(i, min(max(float64(w.x[i])+s, x0-ε), x0+ε))
			}
		}
	}
}

// inside moves v, a value of coordinate i, into the limits.
func (w *walk) inside(i int, v float64) float32 { return w.limits.Clamp(w.coordinate(i), v, w.x0[i]) }

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
	for _, x := range v {
		s += w.power(x)
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
		w.soften(ε)
	} else if length := math.Sqrt(w.sum(w.δ)); length > 0 {
		for i := range w.δ {
			w.δ[i] *= ε / length
		}
	}
	for i, d := range w.δ {
		w.next[i] = w.inside(i, float64(w.x0[i])+d)
	}
}

// soften projects δ on the intersection of the L1 ball with the box: the smallest λ ≥ 0 is sought for which
// clip(sign(δ)·max(|δ| − λ, 0)) lies in the ball.
func (w *walk) soften(ε float64) {
	at := func(i int, λ float64) float64 {
		d := math.Copysign(max(math.Abs(w.δ[i])-λ, 0), w.δ[i])
		r := w.limits.Range(w.coordinate(i), w.x0[i])
		return min(max(d, r.Lo-float64(w.x0[i])), r.Hi-float64(w.x0[i]))
	}
	length := func(λ float64) float64 {
		s := 0.
		for i := range w.δ {
			s += math.Abs(at(i, λ))
		}
		return s
	}
	λ, low := 0., 0.
	if length(0) > ε {
		for _, d := range w.δ {
			λ = max(λ, math.Abs(d))
		}
		for range 40 {
			if mid := (low + λ) / 2; length(mid) > ε {
				low = mid
			} else {
				λ = mid
			}
		}
	}
	for i := range w.δ {
		w.δ[i] = at(i, λ)
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

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
	register[APGD](InBall,
		Command{Name: "apgd-ce", About: "APGD, 100 steps of its own size, on the cross-entropy", Make: func(b advlib.Ball) advlib.Attack {
			return APGD{Ball: b}
		}},
		Command{Name: "apgd-dlr", About: "APGD on the difference of logits ratio, for at least 3 classes",
			Make: func(b advlib.Ball) advlib.Attack {
				return APGD{Ball: b, Loss: advlib.DLR}
			}},
		Command{Name: "apgd-t", About: "APGD on the targeted DLR towards the nine most likely classes, for at least 4",
			Make: func(b advlib.Ball) advlib.Attack {
				return AllTargets{Attack: APGD{Ball: b, Loss: advlib.DLR}, Most: 9}
			}})
}

// APGD is Auto-PGD of Croce & Hein (2020), arXiv:2003.01690, section 3: projected gradient ascent with momentum whose
// step size needs no tuning. It begins at 2ε; at checkpoints it is halved for each example by itself where the loss has
// risen too rarely, and the search goes on from the best point so far. In L1 it is that of Croce & Hein (2021),
// arXiv:2103.01208, section 3: steps along the signs of the largest gradients, as many as the best point suggests, and
// the exact projection on the intersection of ball and box.
//
// With Loss: advlib.DLR it is APGD-DLR; AllTargets{Attack: APGD{Loss: advlib.DLR}, Most: 9} is APGD-T.
//
// It departs from the papers' code in these:
//
//   - An example is left alone once it is solved.
//   - L2 points are projected on the intersection of ball and box; the code projects on the ball and then clips.
//   - Rises before the first checkpoint count from the loss at the start, as the paper has it; the code compares the
//     first loss with 0.
//   - In L1 a step leaves out coordinates at an end of the box that would leave it, and the number of coordinates it
//     moves is rounded down; the code rounds up, and then always moves two coordinates of a point that differs in two.
//     Images do not notice; of the oracle's 310 examples of 16 coordinates that can be broken in L1, the code's rules
//     missed 7.
type APGD struct {
	// Ball is what may be changed; its norm is L1, L2 or Linf. It must be set.
	Ball advlib.Ball
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Loss is ascended; nil means cross-entropy.
	Loss advlib.Loss
	// Steps is the number of steps; 0 means 100.
	Steps int
	// Restarts is how often examples that still stand are attacked again, each time from another random start.
	Restarts int
	// Rises is ρ in L2 and Linf, in (0, 1]: the share of steps that must raise the loss for the step size to stay; 0 means
	// 0.75.
	Rises float64
	// LargerRadii spends 0.3 of the steps in the ball of 3ε and 0.3 in that of 2ε, each going on from the best point of
	// the one before, and the rest in the ball itself. The paper proposes it in L1.
	LargerRadii bool
}

// Describe implements [craft.Described].
func (a *APGD) Describe(d *craft.Description) {
	d.Paper("Croce & Hein 2020, arXiv:2003.01690")
	d.Gradients()
	d.ConvexBall(&a.Ball)
	d.Goal(&a.Goal)
	d.Loss(&a.Loss, advlib.CrossEntropy)
	d.Count(&a.Steps, 100)
	d.Count(&a.Restarts, 0).As("%d restarts")
	given, share := a.Rises, 0.75
	if a.sparse() {
		share = 0
	}
	d.Portion(&a.Rises, share, "the share of steps that must raise the loss").As("ρ = %g")
	d.Flag(&a.LargerRadii, "larger radii")
	d.Name("APGD-%d", a.Steps)
	d.Passes((1+a.Restarts)*a.Steps, (1+a.Restarts)*a.Steps)
	d.Refuse(given != 0 && a.sparse(),
		"Rises = %g has no meaning in the L1 ball, where the sparsity of the best point decides on the step size", given)
	d.Refuse(a.LargerRadii && a.Steps < 3,
		"%d steps cannot be spent in three balls: give at least 3, or leave LargerRadii out", a.Steps)
}

// String returns for example "APGD-100 Linf ≤ 0.1, DLR".
func (a APGD) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a APGD) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a APGD) Plan(v advlib.Victim) (forward, backward float64, known bool) { return craft.Plan(a, v) }

// sparse tells whether steps are those of L1.
func (a APGD) sparse() bool { return a.Ball.Norm == advlib.Norm(advlib.L1) }

// stage is a number of steps in the ball of a radius.
type stage struct {
	radius float64
	steps  int
}

// stages returns the balls that a run goes through; the last is the attack's own.
func (a APGD) stages() []stage {
	n, ε := a.Steps, a.Ball.Radius
	if !a.LargerRadii {
		return []stage{{ε, n}}
	}
	early := min(int(math.Ceil(0.3*float64(n))), (n-1)/2)
	return []stage{{3 * ε, early}, {2 * ε, early}, {ε, n - 2*early}}
}

// Perturb implements [advlib.Attack].
func (a APGD) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	best := craft.NewBest(b)
	return craft.Runs(ctx, b, best, a.Restarts, func(at []int, restart int) error {
		s := a.start(v, b, at, restart)
		defer s.Free()
		return a.run(ctx, s, best)
	})
}

// run goes through all stages.
func (a APGD) run(ctx context.Context, s *autoAscent, best *craft.Best) error {
	stages := a.stages()
	for k, stage := range stages {
		last := k == len(stages)-1
		if err := s.enter(ctx, stage.radius, last); err != nil {
			return err
		}
		steps := a.schedule(s, stage, k == 0 && !a.LargerRadii)
		for i := 0; ; i++ {
			if s.leave(best, steps); s.Active == 0 {
				s.save(best)
				return nil
			}
			if i == stage.steps {
				break
			}
			before := s.L
			if err := s.step(ctx, i); err != nil {
				if last { // points of larger balls are of no use
					s.save(best)
				}
				return err
			}
			steps.after(s, before)
		}
	}
	s.save(best)
	return nil
}

// apgdStep determines the graphs of APGD.
type apgdStep struct {
	norm  advlib.ConvexNorm
	loss  advlib.Loss
	begin bool
}

// momentum is α of Croce & Hein (2020), equation 4: the share of the plain step.
const momentum = 0.75

// graph is one step of Croce & Hein (2020), section 3.1, equations 3 and 4, and the judging of where it leads:
//
//	z ← Π(x + η·d),  x⁺ ← Π(x + α·(z − x) + (1 − α)·(x − x⁻)),  d = argmax ⟨d, ∇ₓL⟩ over ‖d‖ ≤ 1
//
// The first step has α = 1. Π projects on the intersection of the ball at x₀ with the box. Where restart is set, the
// step begins at the best point instead of x. In L1, d is the sign of those gradients that are at least as large as the
// one of rank cut, counted from the smallest, divided by their number: Croce & Hein (2021), section 3.2.
func (s apgdStep) graph(p *craft.Point, in []*Node) []*Node {
	if s.begin {
		x := p.Project(s.norm, in[0], in[1])
		L, hit, g := s.judge(p, x)
		return []*Node{x, g, L, hit, advlib.L0.Of(Sub(x, p.X0))}
	}
	x, xOld, g, best, gBest, bestL := in[0], in[1], in[2], in[3], in[4], in[5]
	solved, restart, η, α, ε, counts := in[6], in[7], in[8], in[9], in[10], in[11]

	x = Where(craft.PerRow(restart, x), best, x)
	g = Where(craft.PerRow(restart, x), gBest, g)
	var d *Node
	if s.norm == advlib.L1 {
		d = sparseSigns(movable(g, x, p), in[12])
	} else {
		d = s.norm.Ascend(g)
	}
	z := p.Project(s.norm, Add(x, Mul(craft.PerRow(η, x), d)), ε)
	plain, inertia := Mul(α, Sub(z, x)), Mul(OneMinus(α), Sub(x, xOld))
	xNew := p.Project(s.norm, Add(x, Add(plain, inertia)), ε)

	L, hit, gNew := s.judge(p, xNew)
	hit = LogicalAnd(hit, BroadcastToShape(counts, hit.Shape()))
	better := LogicalAnd(LogicalNot(solved), LogicalOr(hit, GreaterThan(L, bestL)))
	best = Where(craft.PerRow(better, x), xNew, best)
	gBest = Where(craft.PerRow(better, x), gNew, gBest)
	return []*Node{xNew, x, gNew, best, gBest, L, hit, advlib.L0.Of(Sub(best, p.X0))}
}

// judge returns the losses at x, whether it reaches the goal, and the gradients.
func (s apgdStep) judge(p *craft.Point, x *Node) (L, hit, g *Node) {
	z := p.Logits(x)
	L = s.loss.Of(z, p.Goal)
	return L, p.Reached(z), p.Direction(s.norm, L, x)
}

// sparseSigns returns sign(g), of the coordinates of each row whose magnitude is at least that of rank cut [n] from the
// smallest, divided by their number.
func sparseSigns(g, cut *Node) *Node {
	size := craft.Flat(Abs(g))
	n, d := size.Shape().Dimensions[0], size.Shape().Dimensions[1]
	rank := BroadcastToDims(Reshape(cut, n, 1), n, d)
	columns := Iota(g.Graph(), rank.Shape(), 1)
	threshold := ReduceSum(Where(Equal(columns, rank), Sort(size, 1, true), ZerosLike(size)), 1)
	return signsOf(g, GreaterOrEqual(size, craft.PerRow(threshold, size)))
}

// autoAscent is one run of APGD on some rows. On the device are x, the x before, the gradient there, the best point,
// and the gradient at that; numbers of each row are on the host.
type autoAscent struct {
	*craft.Search
	sparse       bool
	begin, climb *advlib.Step
	ε            float32
	counts       bool // whether hits count: the points lie in the attack's own ball
	changeable   int  // coordinates that may change

	// One entry for each row of the bucket.
	L, bestL []float32
	solved   []bool
	restart  []bool    // the next step begins at the best point
	η        []float32 // step sizes
	moved    []float32 // coordinates in which the best point differs from the original
	cut      []int32   // in L1, the rank of the smallest gradient that moves its coordinate
}

// bestState is where the best points stand in the state.
const bestState = 3

// start puts some rows where a run starts, before that is projected; a has its defaults.
func (a APGD) start(v *advlib.Counted, b advlib.Batch, at []int, restart int) *autoAscent {
	limits, key := v.Signature().Limits(), apgdStep{norm: a.Ball.Norm.(advlib.ConvexNorm), loss: a.Loss}
	s := &autoAscent{Search: &craft.Search{Rows: craft.NewRows(b, at)}, changeable: limits.Free(), sparse: a.sparse()}
	s.climb = craft.Compile(v, b, key, key.graph)
	key.begin = true
	s.begin = craft.Compile(v, b, key, key.graph)
	x := s.Originals()
	s.Each(x, func(i int, row []float32) {
		u := make([]float64, len(row))
		a.draw(b.Rand(at[i], uint64(restart)), limits.Width(), u)
		for j := range u {
			row[j] += float32(u[j])
		}
	})
	s.Push(x)
	return s
}

// draw fills u with a start: a point on the sphere of radius ε; in L1 one of the normal distribution in units of the
// box's width, to be projected.
func (a APGD) draw(r *rand.Rand, width float64, u []float64) {
	linf := a.Ball.Norm == advlib.Norm(advlib.Linf)
	largest, squares := 0., 0.
	for j := range u {
		if u[j] = r.NormFloat64(); linf {
			u[j] = 2*r.Float64() - 1
		}
		largest, squares = max(largest, math.Abs(u[j])), squares+u[j]*u[j]
	}
	length := math.Sqrt(squares)
	if linf {
		length = largest
	}
	scale := a.Ball.Radius / max(length, tiny)
	if a.sparse() {
		scale = width
	}
	for j := range u {
		u[j] *= scale
	}
}

// enter begins a stage: from the best point so far, projected on the ball of radius ε.
func (s *autoAscent) enter(ctx context.Context, ε float64, counts bool) error {
	s.ε, s.counts = float32(ε), counts
	from := s.State[len(s.State)-1] // at first there is nothing else
	if len(s.State) > 1 {
		from = s.State[bestState]
	}
	out, err := s.Rows.Run(s.begin, from, s.ε)
	if err != nil {
		return fmt.Errorf("the start on %d examples: %w", len(s.At), err)
	}
	copied := func(t *tensors.Tensor) *tensors.Tensor { return advlib.TakeRows(t, identity(s.Size), s.Size) }
	s.Drop(0)
	x, g := out[0], out[1]
	s.Push(x, copied(x), g, copied(x), copied(g))
	s.L = tensors.MustCopyFlatData[float32](out[2])
	s.bestL = slices.Clone(s.L)
	if s.solved = tensors.MustCopyFlatData[bool](out[3]); !counts {
		clear(s.solved)
	}
	s.moved = tensors.MustCopyFlatData[float32](out[4])
	advlib.Free(out[2:]...)
	s.restart, s.η, s.cut = make([]bool, s.Size), make([]float32, s.Size), make([]int32, s.Size)
	return nil
}

// step makes step i of a stage.
func (s *autoAscent) step(ctx context.Context, i int) error {
	α := float32(momentum)
	if i == 0 {
		α = 1
	}
	in := []any{s.bestL, s.solved, s.restart, s.η, α, s.ε, s.counts}
	if s.sparse {
		in = append(in, s.cut)
	}
	out, err := s.Run(ctx, s.climb, in...)
	if err != nil {
		return err
	}
	s.L = tensors.MustCopyFlatData[float32](out[0])
	hit := tensors.MustCopyFlatData[bool](out[1])
	s.moved = tensors.MustCopyFlatData[float32](out[2])
	advlib.Free(out...)
	clear(s.restart)
	for i, L := range s.L {
		if !s.solved[i] && (hit[i] || L > s.bestL[i]) {
			s.bestL[i] = L
		}
		s.solved[i] = s.solved[i] || hit[i]
	}
	return nil
}

// leave takes solved rows out of play.
func (s *autoAscent) leave(best *craft.Best, steps schedule) {
	keep := s.Leave(s.solved, func() { s.save(best) })
	if keep == nil {
		return
	}
	s.L, s.bestL, s.η, s.moved = shorter(s.L, keep, s.Size), shorter(s.bestL, keep, s.Size), shorter(s.η, keep,
		s.Size), shorter(s.moved, keep, s.Size)
	s.solved, s.restart, s.cut = shorter(s.solved, keep, s.Size), shorter(s.restart, keep, s.Size), shorter(s.cut, keep, s.Size)
	steps.keep(keep)
}

// shorter returns the given elements of v, followed by zeros up to size.
func shorter[T any](v []T, keep []int, size int) []T {
	s := make([]T, size)
	for i, k := range keep {
		s[i] = v[k]
	}
	return s
}

// save takes the best points from the device, of rows that are solved, or have a higher loss than in the runs before.
func (s *autoAscent) save(best *craft.Best) {
	take := make([]bool, len(s.At))
	for i, row := range s.At {
		if take[i] = s.solved[i] || s.bestL[i] > best.Loss[row]; take[i] {
			best.Loss[row], best.Solved[row] = s.bestL[i], s.solved[i]
		}
	}
	best.Put(s.At, s.State[bestState], take)
}

// schedule decides, at its checkpoints, on the step sizes and on which rows go back to their best point.
type schedule interface {
	// after is told that a step was made; before are the losses before it.
	after(s *autoAscent, before []float32)
	// keep drops the state of all rows but the given ones.
	keep(rows []int)
}

// schedule returns that of a stage and sets the first step sizes; fresh says that the stage begins at a random point.
func (a APGD) schedule(s *autoAscent, stage stage, fresh bool) schedule {
	share := func(of float64) int { return max(1, int(of*float64(stage.steps))) }
	n := len(s.At)
	if !s.sparse {
		for i := range s.η {
			s.η[i] = float32(2 * stage.radius)
		}
		h := &halving{ρ: a.Rises, every: share(0.22), less: share(0.03), least: share(0.06), rises: make([]int, n),
			bestL: slices.Clone(s.bestL[:n]), halved: make([]bool, n)}
		for i := range h.halved {
			h.halved[i] = true // so that the first checkpoint asks for the rises alone
		}
		return h
	}
	d := s.X0.Shape().Size() / s.Size
	p := &sparsity{every: share(0.04), d: d, free: s.changeable, longest: float32(stage.radius), moved: make([]float32, n)}
	for i := range n {
		s.η[i] = p.longest
		if fresh {
			p.moved[i] = float32(p.free)
			s.cut[i] = p.rank(0.2)
		} else {
			p.moved[i] = s.moved[i]
			s.cut[i] = p.rank(float64(s.moved[i]) / float64(p.free) / fewer)
		}
	}
	return p
}

// halving is the schedule of Croce & Hein (2020), section 3.2: the step size of a row is halved, and its search goes on
// from the best point, when fewer than ρ of the steps since the last checkpoint raised the loss (condition 1), or when
// it was not halved there and the best loss has not changed since (condition 2). Checkpoints come sooner and sooner.
type halving struct {
	ρ                  float64
	every, less, least int
	since              int // steps since the last checkpoint

	rises  []int     // steps that raised the loss since then
	bestL  []float32 // the best losses at the last checkpoint
	halved []bool    // whether the step size was halved there
}

func (h *halving) after(s *autoAscent, before []float32) {
	for i := range h.rises {
		if s.L[i] > before[i] {
			h.rises[i]++
		}
	}
	if h.since++; h.since < h.every {
		return
	}
	for i := range h.rises {
		few := float64(h.rises[i]) <= h.ρ*float64(h.every)
		stuck := !h.halved[i] && s.bestL[i] <= h.bestL[i]
		if h.halved[i] = few || stuck; h.halved[i] {
			s.η[i] /= 2
			s.restart[i] = true
		}
		h.rises[i], h.bestL[i] = 0, s.bestL[i]
	}
	h.since, h.every = 0, max(h.every-h.less, h.least)
}

func (h *halving) keep(rows []int) {
	n := len(rows)
	h.rises, h.bestL, h.halved = shorter(h.rises, rows, n), shorter(h.bestL, rows, n), shorter(h.halved, rows, n)
}

// Constants of the L1 schedule in the code of Croce & Hein (2021).
const (
	fewer   = 1.5  // the next steps move this many times fewer coordinates than the best point differs in, and are shorter by it
	sparser = 0.95 // the best point is sparser when it differs in less than this share of the coordinates of before
	tenth   = 10   // the shortest step is the longest divided by this
)

// sparsity is the schedule of Croce & Hein (2021), section 3.3: at each checkpoint the next steps move 1/1.5 of the
// coordinates in which the best point differs from the original. If that is fewer than at the last one, the step size
// is ε again and the search goes on from the best point; else the step size is divided by 1.5, down to ε/10.
type sparsity struct {
	every, since int
	d, free      int // coordinates, and those that may change
	longest      float32
	moved        []float32 // coordinates in which the best points differed at the last checkpoint
}

// rank returns the rank, counted from the smallest, of the smallest gradient that is among the given share of the
// largest: at least one is. The number is rounded down; the code of the paper rounds up, so that it always moves two
// coordinates of a point that differs in two.
func (p *sparsity) rank(share float64) int32 {
	return int32(p.d - min(max(int(share*float64(p.free)), 1), p.free))
}

func (p *sparsity) after(s *autoAscent, _ []float32) {
	if p.since++; p.since < p.every {
		return
	}
	p.since = 0
	for i, before := range p.moved {
		if s.moved[i] < sparser*before {
			s.η[i] = p.longest
			s.restart[i] = true
		} else {
			s.η[i] = max(s.η[i]/fewer, p.longest/tenth)
		}
		p.moved[i] = s.moved[i]
		s.cut[i] = p.rank(float64(s.moved[i]) / float64(p.free) / fewer)
	}
}

func (p *sparsity) keep(rows []int) { p.moved = shorter(p.moved, rows, len(rows)) }

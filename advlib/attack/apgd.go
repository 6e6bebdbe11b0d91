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
)

// APGD is Auto-PGD of Croce & Hein (2020), arXiv:2003.01690, section 3: projected gradient ascent with momentum whose step size needs
// no tuning. It begins at 2ε; at checkpoints it is halved for each example by itself where the loss has risen too rarely, and the
// search goes on from the best point so far. In L1 it is that of Croce & Hein (2021), arXiv:2103.01208, section 3: steps along the signs
// of the largest gradients, as many as the best point suggests, and the exact projection on the intersection of ball and box.
//
// With Loss: advlib.DLR it is APGD-DLR; AllTargets{Attack: APGD{Loss: advlib.DLR}, Most: 9} is APGD-T.
//
// It departs from the papers' code in these:
//
//   - An example is left alone once it is solved.
//   - L2 points are projected on the intersection of ball and box; the code projects on the ball and then clips.
//   - Rises before the first checkpoint count from the loss at the start, as the paper has it; the code compares the first loss with 0.
//   - In L1 a step leaves out coordinates at an end of the box that would leave it, and the number of coordinates it moves is rounded
//     down; the code rounds up, and then always moves two coordinates of a point that differs in two. Images do not notice; of the
//     oracle's 310 examples of 16 coordinates that can be broken in L1, the code's rules missed 7.
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
	// Rises is ρ in L2 and Linf, in (0, 1]: the share of steps that must raise the loss for the step size to stay; 0 means 0.75.
	Rises float64
	// LargerRadii spends 0.3 of the steps in the ball of 3ε and 0.3 in that of 2ε, each going on from the best point of the one before,
	// and the rest in the ball itself. The paper proposes it in L1.
	LargerRadii bool
}

// String returns for example "APGD-100 Linf ≤ 0.1, DLR".
func (a APGD) String() string {
	var restarts, ρ, radii string
	if a.Restarts != 0 {
		restarts = fmt.Sprintf("%d restarts", a.Restarts)
	}
	if a.Rises != 0 {
		ρ = fmt.Sprintf("ρ = %g", a.Rises)
	}
	if a.LargerRadii {
		radii = "larger radii"
	}
	return named(fmt.Sprintf("APGD-%d", a.steps()), a.Ball.String(), a.Goal, lossName(a.Loss), restarts, ρ, radii)
}

func (a APGD) steps() int { return numberOr(a.Steps, 100) }

func (a APGD) loss() advlib.Loss { return lossOr(a.Loss, advlib.CrossEntropy) }

func (a APGD) rises() float64 { return numberOr(a.Rises, 0.75) }

// filled implements [indexed].
func (a APGD) filled() any {
	a.Loss, a.Steps = a.loss(), a.steps()
	if a.Ball.Norm != advlib.Norm(advlib.L1) {
		a.Rises = a.rises()
	}
	return a
}

// Threat implements [advlib.Attack].
func (a APGD) Threat(v advlib.Victim) (advlib.Threat, error) {
	if err := checkGradient(v); err != nil {
		return advlib.Threat{}, err
	}
	threat := advlib.Threat{Norm: a.Ball.Norm, Radius: a.Ball.Radius, Goal: a.Goal}
	if err := checkBall(a.Ball); err != nil {
		return threat, err
	}
	if err := checkCount("Steps", a.Steps); err != nil {
		return threat, err
	}
	if err := checkCount("Restarts", a.Restarts); err != nil {
		return threat, err
	}
	switch {
	case math.IsNaN(a.Rises) || a.Rises < 0 || a.Rises > 1:
		return threat, fmt.Errorf("Rises = %g is not in (0, 1]: it is the share of steps that must raise the loss; leave it at 0 for 0.75", a.Rises)
	case a.Rises != 0 && a.sparse():
		return threat, fmt.Errorf("Rises = %g has no meaning in the L1 ball, where the sparsity of the best point decides on the step size", a.Rises)
	case a.LargerRadii && a.steps() < 3:
		return threat, fmt.Errorf("%d steps cannot be spent in three balls: give at least 3, or leave LargerRadii out", a.steps())
	}
	return threat, a.checkGoal(v, a.Goal.IsTargeted())
}

func (a APGD) checkGoal(v advlib.Victim, targeted bool) error {
	return checkLoss(a.loss(), v.Signature().Classes, targeted)
}

// sparse tells whether steps are those of L1.
func (a APGD) sparse() bool { return a.Ball.Norm == advlib.Norm(advlib.L1) }

// stage is a number of steps in the ball of a radius.
type stage struct {
	radius float64
	steps  int
}

// stages returns the balls that a run goes through; the last is the attack's own.
func (a APGD) stages() []stage {
	n, ε := a.steps(), a.Ball.Radius
	if !a.LargerRadii {
		return []stage{{ε, n}}
	}
	early := min(int(math.Ceil(0.3*float64(n))), (n-1)/2)
	return []stage{{3 * ε, early}, {2 * ε, early}, {ε, n - 2*early}}
}

// Perturb implements [advlib.Attack].
func (a APGD) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	if err := a.checkGoal(v, b.Target != nil); err != nil {
		return nil, err
	}
	best := newIncumbents(b)
	for _, rows := range pieces(b) {
		for restart := range 1 + a.Restarts {
			if rows = best.standing(rows, false); len(rows) == 0 {
				break
			}
			s := a.start(v, b, rows, restart)
			err := a.run(ctx, b, s, best)
			s.free()
			if err != nil {
				if ctx.Err() == nil {
					return nil, err
				}
				return best.tensor(), err
			}
		}
	}
	return best.tensor(), nil
}

// run goes through all stages.
func (a APGD) run(ctx context.Context, b advlib.Batch, s *autoAscent, best *incumbents) error {
	stages := a.stages()
	for k, stage := range stages {
		last := k == len(stages)-1
		if err := s.enter(stage.radius, last); err != nil {
			return fmt.Errorf("the start on %d examples: %w", len(s.rows), err)
		}
		steps := a.schedule(s, stage, k == 0 && !a.LargerRadii)
		for i := 0; ; i++ {
			if s.shrink(b, best, steps); s.active == 0 {
				return nil
			}
			if err := ctx.Err(); err != nil {
				if last { // points of larger balls are of no use
					s.save(best)
				}
				return err
			}
			if i == stage.steps {
				break
			}
			before := s.L
			if err := s.step(i); err != nil {
				return fmt.Errorf("step %d on %d examples: %w", i, len(s.rows), err)
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
	wish  wish
	begin bool
}

// momentum is α of Croce & Hein (2020), equation 4: the share of the plain step.
const momentum = 0.75

// graph is one step of Croce & Hein (2020), section 3.1, equations 3 and 4, and the judging of where it leads:
//
//	z ← Π(x + η·d),  x⁺ ← Π(x + α·(z − x) + (1 − α)·(x − x⁻)),  d = argmax ⟨d, ∇ₓL⟩ over ‖d‖ ≤ 1
//
// The first step has α = 1. Π projects on the intersection of the ball at x₀ with the box. Where restart is set, the step begins at the
// best point instead of x. In L1, d is the sign of those gradients that are at least as large as the one of rank cut, counted from the
// smallest, divided by their number: Croce & Hein (2021), section 3.2.
func (s apgdStep) graph(m *advlib.Model, limits advlib.Limits, in []*Node) []*Node {
	x0, aim, rest := s.wish.read(in)
	project := func(x, ε *Node) *Node {
		lo, hi := limits.Room(x0, x0)
		return limits.Clip(Add(x0, s.norm.Project(Sub(x, x0), ε, lo, hi)), x0)
	}
	if s.begin {
		x := project(rest[0], rest[1])
		L, hit, g := s.judge(m, x, aim)
		return []*Node{x, g, L, hit, advlib.L0.Of(Sub(x, x0))}
	}
	x, xOld, g, best, gBest, bestL := rest[0], rest[1], rest[2], rest[3], rest[4], rest[5]
	solved, restart, η, α, ε, counts := rest[6], rest[7], rest[8], rest[9], rest[10], rest[11]

	x = Where(perRow(restart, x), best, x)
	g = Where(perRow(restart, x), gBest, g)
	var d *Node
	if s.norm == advlib.L1 {
		d = sparseSigns(movable(g, x, x0, limits), rest[12])
	} else {
		d = s.norm.Ascend(g)
	}
	z := project(Add(x, Mul(perRow(η, x), d)), ε)
	plain, inertia := Mul(α, Sub(z, x)), Mul(OneMinus(α), Sub(x, xOld))
	xNew := project(Add(x, Add(plain, inertia)), ε)

	L, hit, gNew := s.judge(m, xNew, aim)
	hit = LogicalAnd(hit, BroadcastToShape(counts, hit.Shape()))
	better := LogicalAnd(LogicalNot(solved), LogicalOr(hit, GreaterThan(L, bestL)))
	best = Where(perRow(better, x), xNew, best)
	gBest = Where(perRow(better, x), gNew, gBest)
	return []*Node{xNew, x, gNew, best, gBest, L, hit, advlib.L0.Of(Sub(best, x0))}
}

// judge returns the losses at x, whether it reaches the goal, and the gradients.
func (s apgdStep) judge(m *advlib.Model, x *Node, aim advlib.Aim) (L, hit, g *Node) {
	z := m.Logits(x)
	L = s.loss.Of(z, aim)
	return L, GreaterThan(clearance(z, aim), ZerosLike(L)), m.Direction(s.norm, L, x)
}

// movable returns the gradient g without the coordinates that stand at an end of their range and could only leave it. Without this, a sparse step
// may choose nothing but coordinates that the projection puts back.
func movable(g, x, x0 *Node, limits advlib.Limits) *Node {
	zero := ZerosLike(g)
	lo, hi := limits.Ends(x0)
	rises := LogicalAnd(GreaterThan(g, zero), LessThan(x, hi))
	falls := LogicalAnd(LessThan(g, zero), GreaterThan(x, lo))
	return Where(LogicalOr(rises, falls), g, zero)
}

// sparseSigns returns sign(g), of the coordinates of each row whose magnitude is at least that of rank cut [n] from the smallest, divided
// by their number. Coordinates without a gradient stay where they are.
func sparseSigns(g, cut *Node) *Node {
	size := Reshape(Abs(g), g.Shape().Dimensions[0], -1)
	n, d := size.Shape().Dimensions[0], size.Shape().Dimensions[1]
	rank := BroadcastToDims(Reshape(cut, n, 1), n, d)
	columns := Iota(g.Graph(), rank.Shape(), 1)
	threshold := ReduceSum(Where(Equal(columns, rank), Sort(size, 1, true), ZerosLike(size)), 1)
	e := Where(GreaterOrEqual(Abs(g), perRow(threshold, g)), Sign(g), ZerosLike(g))
	count := sumRows(Abs(e))
	return Div(e, perRow(Max(count, OnesLike(count)), e))
}

// autoAscent is one run of APGD on some rows. Points and gradients are on the device, numbers of each row on the host.
type autoAscent struct {
	*group
	sparse                  bool
	begin, climb            *advlib.Step
	x, xOld, g, best, gBest *tensors.Tensor
	ε                       float32
	counts                  bool // whether hits count: the points lie in the attack's own ball
	active                  int  // rows not yet solved
	changeable              int  // coordinates that may change

	// One entry for each row of the bucket.
	L, bestL []float32
	solved   []bool
	restart  []bool    // the next step begins at the best point
	η        []float32 // step sizes
	moved    []float32 // coordinates in which the best point differs from the original
	cut      []int32   // in L1, the rank of the smallest gradient that moves its coordinate
}

func (a APGD) start(v *advlib.Counted, b advlib.Batch, rows []int, restart int) *autoAscent {
	limits := v.Signature().Limits()
	key := apgdStep{norm: a.Ball.Norm.(advlib.ConvexNorm), loss: a.loss(), wish: wishOf(b)}
	compile := func(key apgdStep) *advlib.Step {
		return v.Compile(key, func(m *advlib.Model, in []*Node) []*Node { return key.graph(m, limits, in) })
	}
	s := &autoAscent{group: newGroup(b, rows), active: len(rows), changeable: limits.Free(), sparse: a.sparse(), climb: compile(key)}
	key.begin = true
	s.begin = compile(key)
	s.best = advlib.TakeRows(b.X, rows, s.size)
	size := b.X.Shape().Size() / b.Len()
	u := make([]float64, size)
	tensors.MustMutableFlatData(s.best, func(x []float32) {
		for i, r := range rows {
			a.draw(b.Rand(r, uint64(restart)), limits.Width(), u)
			for j := range u {
				x[i*size+j] += float32(u[j])
			}
		}
	})
	return s
}

// draw fills u with a start: a point on the sphere of radius ε; in L1 one of the normal distribution in units of the box's width, to be projected.
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
func (s *autoAscent) enter(ε float64, counts bool) error {
	s.ε, s.counts = float32(ε), counts
	out, err := s.begin.Run(s.active, append(s.inputs(), s.best, s.ε)...)
	if err != nil {
		return err
	}
	advlib.Free(s.x, s.xOld, s.g, s.best, s.gBest)
	all := make([]int, s.size)
	for i := range all {
		all[i] = i
	}
	s.x, s.g = out[0], out[1]
	s.xOld, s.best, s.gBest = advlib.TakeRows(s.x, all, s.size), advlib.TakeRows(s.x, all, s.size), advlib.TakeRows(s.g, all, s.size)
	s.L = tensors.MustCopyFlatData[float32](out[2])
	s.bestL = slices.Clone(s.L)
	if s.solved = tensors.MustCopyFlatData[bool](out[3]); !counts {
		clear(s.solved)
	}
	s.moved = tensors.MustCopyFlatData[float32](out[4])
	advlib.Free(out[2:]...)
	s.restart, s.η, s.cut = make([]bool, s.size), make([]float32, s.size), make([]int32, s.size)
	return nil
}

// step makes step i of a stage.
func (s *autoAscent) step(i int) error {
	α := float32(momentum)
	if i == 0 {
		α = 1
	}
	in := append(s.inputs(), s.x, s.xOld, s.g, s.best, s.gBest, s.bestL, s.solved, s.restart, s.η, α, s.ε, s.counts)
	if s.sparse {
		in = append(in, s.cut)
	}
	out, err := s.climb.Run(s.active, in...)
	if err != nil {
		return err
	}
	advlib.Free(s.x, s.xOld, s.g, s.best, s.gBest)
	s.x, s.xOld, s.g, s.best, s.gBest = out[0], out[1], out[2], out[3], out[4]
	s.L = tensors.MustCopyFlatData[float32](out[5])
	hit := tensors.MustCopyFlatData[bool](out[6])
	s.moved = tensors.MustCopyFlatData[float32](out[7])
	advlib.Free(out[5:]...)
	clear(s.restart)
	for i, L := range s.L {
		if !s.solved[i] && (hit[i] || L > s.bestL[i]) {
			s.bestL[i] = L
		}
		s.solved[i] = s.solved[i] || hit[i]
	}
	return nil
}

// shrink counts the rows that still stand, and moves them to a smaller bucket as soon as they fit into one.
func (s *autoAscent) shrink(b advlib.Batch, best *incumbents, steps schedule) {
	var keep, rows []int
	for i, r := range s.rows {
		if !s.solved[i] {
			keep, rows = append(keep, i), append(rows, r)
		}
	}
	if s.active = len(keep); s.active > 0 && advlib.Bucket(s.active) == s.size {
		return
	}
	s.save(best)
	if s.active == 0 {
		return
	}
	s.group.free()
	s.group = newGroup(b, rows)
	for _, t := range []**tensors.Tensor{&s.x, &s.xOld, &s.g, &s.best, &s.gBest} {
		small := advlib.TakeRows(*t, keep, s.size)
		advlib.Free(*t)
		*t = small
	}
	s.L, s.bestL, s.η, s.moved = shorter(s.L, keep, s.size), shorter(s.bestL, keep, s.size), shorter(s.η, keep, s.size), shorter(s.moved, keep, s.size)
	s.solved, s.restart, s.cut = shorter(s.solved, keep, s.size), shorter(s.restart, keep, s.size), shorter(s.cut, keep, s.size)
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
func (s *autoAscent) save(best *incumbents) {
	take := make([]bool, len(s.rows))
	for i, r := range s.rows {
		if take[i] = s.solved[i] || s.bestL[i] > best.loss[r]; take[i] {
			best.loss[r], best.solved[r] = s.bestL[i], s.solved[i]
		}
	}
	best.put(s.rows, s.best, take)
}

func (s *autoAscent) free() {
	s.group.free()
	advlib.Free(s.x, s.xOld, s.g, s.best, s.gBest)
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
	n := len(s.rows)
	if !s.sparse {
		for i := range s.η {
			s.η[i] = float32(2 * stage.radius)
		}
		h := &halving{ρ: a.rises(), every: share(0.22), less: share(0.03), least: share(0.06), rises: make([]int, n), bestL: slices.Clone(s.bestL[:n]), halved: make([]bool, n)}
		for i := range h.halved {
			h.halved[i] = true // so that the first checkpoint asks for the rises alone
		}
		return h
	}
	d := s.x.Shape().Size() / s.size
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

// halving is the schedule of Croce & Hein (2020), section 3.2: the step size of a row is halved, and its search goes on from the best point,
// when fewer than ρ of the steps since the last checkpoint raised the loss (condition 1), or when it was not halved there and the best
// loss has not changed since (condition 2). Checkpoints come sooner and sooner.
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

// sparsity is the schedule of Croce & Hein (2021), section 3.3: at each checkpoint the next steps move 1/1.5 of the coordinates in which the
// best point differs from the original. If that is fewer than at the last one, the step size is ε again and the search goes on from the best
// point; else the step size is divided by 1.5, down to ε/10.
type sparsity struct {
	every, since int
	d, free      int // coordinates, and those that may change
	longest      float32
	moved        []float32 // coordinates in which the best points differed at the last checkpoint
}

// rank returns the rank, counted from the smallest, of the smallest gradient that is among the given share of the largest: at least one is.
// The number is rounded down; the code of the paper rounds up, so that it always moves two coordinates of a point that differs in two.
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

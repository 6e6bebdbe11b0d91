package attack

import (
	"context"
	"fmt"
	"iter"
	"math"

	. "advlab/advlib/internal/equation"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// PGD is projected gradient descent (here: ascent) of Madry et al. (2018), arXiv:1706.06083, section 2.1 and appendix B: steps
// along the loss's steepest ascent, each projected on the intersection of the ball with the box, from random starts.
//
// It departs from the paper in what it returns: the best iterate instead of the last (an adversarial one if there was any, else the
// one of highest loss), and in that an example is left alone once it is solved. In L1 the step is the sparse one of
// Tramèr & Boneh (2019), arXiv:1904.13000, section 3 ("SLIDE"), restricted to coordinates that can still move, and the projection
// is exact where theirs clips to the box afterwards.
type PGD struct {
	// Ball is what may be changed; its norm is L1, L2 or Linf. It must be set.
	Ball advlib.Ball
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Loss is ascended; nil means cross-entropy.
	Loss advlib.Loss
	// Steps is the number of steps; 0 means 40, as the paper uses on MNIST.
	Steps int
	// StepSize is α, the length of a step in the ball's norm, in units of the box; 0 means 2.5·ε/Steps, so that any point of the ball
	// can be reached from any other (section 4 of the paper's first version).
	StepSize float64
	// Restarts is how often examples that still stand are attacked again, each time from another random start.
	Restarts int
	// NoRandomStart starts at the original instead of a point drawn uniformly from the ball and clipped to the box.
	NoRandomStart bool
	// Sparsity is the share of the coordinates that a step in L1 moves, in (0, 1]; 0 means 0.01. At least one moves.
	Sparsity float64
	// KeepGoing goes on with solved examples, ascending their loss to the last step, for loss curves and transfer.
	KeepGoing bool
}

// String returns for example "PGD-40 Linf ≤ 0.1, Margin".
func (a PGD) String() string {
	var α, restarts, start, sparsity, keep string
	if a.StepSize != 0 {
		α = fmt.Sprintf("α = %.6g", a.StepSize)
	}
	if a.Restarts != 0 {
		restarts = fmt.Sprintf("%d restarts", a.Restarts)
	}
	if a.NoRandomStart {
		start = "no random start"
	}
	if a.Sparsity != 0 {
		sparsity = fmt.Sprintf("sparsity %g", a.Sparsity)
	}
	if a.KeepGoing {
		keep = "keeps going"
	}
	return named(fmt.Sprintf("PGD-%d", a.steps()), a.Ball.String(), a.Goal, lossName(a.Loss), α, restarts, start, sparsity, keep)
}

func (a PGD) steps() int { return numberOr(a.Steps, 40) }

func (a PGD) stepSize() float64 { return numberOr(a.StepSize, 2.5*a.Ball.Radius/float64(a.steps())) }

func (a PGD) loss() advlib.Loss { return lossOr(a.Loss, advlib.CrossEntropy) }

func (a PGD) sparsity() float64 { return numberOr(a.Sparsity, 0.01) }

// filled implements [indexed].
func (a PGD) filled() any {
	a.Loss, a.Steps, a.StepSize = a.loss(), a.steps(), a.stepSize()
	if a.Ball.Norm == advlib.Norm(advlib.L1) {
		a.Sparsity = a.sparsity()
	}
	return a
}

// Threat implements [advlib.Attack].
func (a PGD) Threat(v advlib.Victim) (advlib.Threat, error) {
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
	if err := checkSize("StepSize", a.StepSize); err != nil {
		return threat, err
	}
	switch {
	case math.IsNaN(a.Sparsity) || a.Sparsity < 0 || a.Sparsity > 1:
		return threat, fmt.Errorf("the Sparsity %g is not in (0, 1]: it is the share of the coordinates that a step in L1 moves; leave it at 0 for 0.01", a.Sparsity)
	case a.Sparsity != 0 && a.Ball.Norm != advlib.Norm(advlib.L1):
		return threat, fmt.Errorf("the Sparsity %g has no meaning in the %v ball: it is for steps in L1", a.Sparsity, a.Ball.Norm)
	case a.NoRandomStart && a.Restarts > 0:
		return threat, fmt.Errorf("%d restarts without a random start would repeat the same steps: leave one of the two out", a.Restarts)
	}
	return threat, a.checkGoal(v, a.Goal.IsTargeted())
}

func (a PGD) checkGoal(v advlib.Victim, targeted bool) error {
	return checkLoss(a.loss(), v.Signature().Classes, targeted)
}

// Iterate is where PGD stands after one step on some of the rows of a batch.
type Iterate struct {
	// Restart counts from 0, Step from 0 too: step 0 is the start, the last step the final point.
	Restart, Step int
	// Rows are the rows of the batch that were still worked on.
	Rows []int
	// Loss is the loss of the current points, one for each of Rows.
	Loss []float32
	// Solved tells whether an adversarial example has been found, now or earlier, one for each of Rows.
	Solved []bool
}

// Perturb implements [advlib.Attack].
func (a PGD) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	best := newIncumbents(b)
	for _, err := range a.iterates(ctx, v, b, best) {
		if err != nil {
			if ctx.Err() == nil {
				return nil, err
			}
			return best.tensor(), err
		}
	}
	return best.tensor(), nil
}

// Iterates runs the attack and yields after each step; the caller may stop at any time. When ctx is done, the last pair
// holds ctx.Err(). Perturb is this, drained.
func (a PGD) Iterates(ctx context.Context, v *advlib.Counted, b advlib.Batch) iter.Seq2[Iterate, error] {
	return a.iterates(ctx, v, b, newIncumbents(b))
}

func (a PGD) iterates(ctx context.Context, v *advlib.Counted, b advlib.Batch, best *incumbents) iter.Seq2[Iterate, error] {
	return func(yield func(Iterate, error) bool) {
		if err := a.checkGoal(v, b.Target != nil); err != nil {
			yield(Iterate{}, err)
			return
		}
		for _, rows := range pieces(b) {
			for restart := range 1 + a.Restarts {
				if rows = best.standing(rows, a.KeepGoing); len(rows) == 0 {
					break
				}
				if !a.run(ctx, v, b, rows, restart, best, yield) {
					return
				}
			}
		}
	}
}

// run makes one run of all steps on the given rows. It returns false when it was stopped.
func (a PGD) run(ctx context.Context, v *advlib.Counted, b advlib.Batch, rows []int, restart int, best *incumbents, yield func(Iterate, error) bool) bool {
	s := a.start(v, b, rows, restart, best)
	defer func() { s.free() }()
	for k := 0; ; k++ {
		if err := ctx.Err(); err != nil {
			s.save(best)
			yield(Iterate{}, err)
			return false
		}
		it, err := s.step(k == a.steps())
		if err != nil {
			yield(Iterate{}, fmt.Errorf("step %d on %d examples: %w", k, len(s.rows), err))
			return false
		}
		it.Restart, it.Step = restart, k
		if !yield(it, nil) {
			s.save(best)
			return false
		}
		if k == a.steps() {
			break
		}
		if a.KeepGoing {
			continue
		}
		if s = s.shrink(b, it.Solved, best); s.active == 0 {
			break
		}
	}
	s.save(best)
	return true
}

// pgdStep determines the graphs of PGD.
type pgdStep struct {
	norm      advlib.ConvexNorm
	loss      advlib.Loss
	wish      wish
	keepGoing bool
	last      bool
	sparse    int // coordinates that a step in L1 moves
}

// graph judges the iterate x, keeps it if it is the best, and steps on: Madry et al. (2018), section 2.1,
//
//	x ← Π(x + α·d),  d = argmax ⟨d, ∇ₓL⟩ over ‖d‖ ≤ 1,  Π projects on the intersection of the ball at x₀ with the box
//
// The losses of the rows are summed, so rows do not mix. After the last step there is nothing but the judging.
func (s pgdStep) graph(m *advlib.Model, limits advlib.Limits, in []*Node) []*Node {
	x0, aim, rest := s.wish.read(in)
	x, best, bestL, solved, ε, α := rest[0], rest[1], rest[2], rest[3], rest[4], rest[5]

	z := m.Logits(x)
	L := s.loss.Of(z, aim)
	hit := GreaterThan(clearance(z, aim), ZerosLike(L))

	higher := GreaterThan(L, bestL)
	better := LogicalAnd(LogicalNot(solved), LogicalOr(hit, higher))
	if s.keepGoing {
		first := LogicalAnd(hit, LogicalNot(solved))
		lost := LogicalAnd(solved, LogicalNot(hit))
		better = LogicalOr(first, LogicalAnd(higher, LogicalNot(lost)))
	}
	best = Where(perRow(better, x), x, best)
	bestL = Where(better, L, bestL)
	solved = LogicalOr(solved, hit)
	if s.last {
		return []*Node{L, solved, best, bestL}
	}

	d := s.ascend(m.Direction(s.norm, L, x), x, x0, limits)
	δ := Sub(Add(x, Mul(α, d)), x0)
	lo, hi := limits.Room(x0, x0)
	x = limits.Clip(Add(x0, s.norm.Project(δ, ε, lo, hi)), x0) // x₀ + (Lo − x₀) may round to less than Lo
	return []*Node{L, solved, best, bestL, x}
}

// ascend returns the direction of the step: the norm's steepest ascent, in L1 the sparse one.
func (s pgdStep) ascend(g, x, x0 *Node, limits advlib.Limits) *Node {
	if s.norm != advlib.L1 {
		return s.norm.Ascend(g)
	}
	g = movable(g, x, x0, limits)
	zero := ZerosLike(g)
	top := TopKMask(Reshape(Abs(g), g.Shape().Dimensions[0], -1), s.sparse, -1)
	e := Where(Reshape(top, g.Shape().Dimensions...), Sign(g), zero)
	count := sumRows(Abs(e))
	return Div(e, perRow(Max(count, OnesLike(count)), e))
}

// ascent is one run of PGD on some rows: what is on the device, and the steps compiled for it.
type ascent struct {
	*group
	active                 int // rows not yet solved
	judge, climb           *advlib.Step
	x, best, bestL, solved *tensors.Tensor
	ε, α                   *tensors.Tensor
}

func (a PGD) start(v *advlib.Counted, b advlib.Batch, rows []int, restart int, best *incumbents) *ascent {
	limits := v.Signature().Limits()
	key := pgdStep{norm: a.Ball.Norm.(advlib.ConvexNorm), loss: a.loss(), wish: wishOf(b), keepGoing: a.KeepGoing}
	size := b.X.Shape().Size() / b.Len()
	if key.norm == advlib.L1 {
		key.sparse = max(1, int(math.Round(a.sparsity()*float64(limits.Free()))))
	}
	compile := func(key pgdStep) *advlib.Step {
		return v.Compile(key, func(m *advlib.Model, in []*Node) []*Node { return key.graph(m, limits, in) })
	}
	s := &ascent{group: newGroup(b, rows), active: len(rows), climb: compile(key)}
	key.last = true
	s.judge = compile(key)
	s.ε, s.α = tensors.FromScalar(float32(a.Ball.Radius)), tensors.FromScalar(float32(a.stepSize()))
	s.load(best)
	s.x = advlib.TakeRows(b.X, rows, s.size)
	if a.NoRandomStart {
		return s
	}
	u := make([]float32, size)
	tensors.MustMutableFlatData(s.x, func(x []float32) {
		for i, r := range rows {
			key.norm.Sample(b.Rand(r, uint64(restart)), u)
			for j := range u {
				v := &x[i*size+j]
				*v = limits.Clamp(j, float64(*v+float32(a.Ball.Radius)*u[j]), *v)
			}
		}
	})
	return s
}

// load puts the best points so far on the device.
func (s *ascent) load(best *incumbents) {
	s.best = best.take(s.rows, s.size)
	s.bestL, s.solved = padded(best.loss, s.rows, s.size), padded(best.solved, s.rows, s.size)
}

// save takes the best points from the device.
func (s *ascent) save(best *incumbents) {
	best.put(s.rows, s.best, nil)
	loss, solved := tensors.MustCopyFlatData[float32](s.bestL), tensors.MustCopyFlatData[bool](s.solved)
	for i, r := range s.rows {
		best.loss[r], best.solved[r] = loss[i], solved[i]
	}
}

// step makes one step, or after the last one only judges where it led.
func (s *ascent) step(last bool) (Iterate, error) {
	step := s.climb
	if last {
		step = s.judge
	}
	out, err := step.Run(s.active, append(s.inputs(), s.x, s.best, s.bestL, s.solved, s.ε, s.α)...)
	if err != nil {
		return Iterate{}, err
	}
	it := Iterate{Rows: s.rows, Loss: tensors.MustCopyFlatData[float32](out[0])[:len(s.rows)], Solved: tensors.MustCopyFlatData[bool](out[1])[:len(s.rows)]}
	advlib.Free(out[0], s.best, s.bestL, s.solved)
	s.solved, s.best, s.bestL = out[1], out[2], out[3]
	if !last {
		advlib.Free(s.x)
		s.x = out[4]
	}
	return it, nil
}

// shrink counts the rows that still stand, and moves them to a smaller bucket as soon as they fit into one.
func (s *ascent) shrink(b advlib.Batch, solved []bool, best *incumbents) *ascent {
	var keep, rows []int
	for i, done := range solved {
		if !done {
			keep, rows = append(keep, i), append(rows, s.rows[i])
		}
	}
	s.active = len(keep)
	if s.active == 0 || advlib.Bucket(s.active) == s.size {
		return s
	}
	s.save(best)
	next := &ascent{group: newGroup(b, rows), active: len(rows), climb: s.climb, judge: s.judge, ε: s.ε, α: s.α}
	next.x = advlib.TakeRows(s.x, keep, next.size)
	next.load(best)
	s.ε, s.α = nil, nil
	s.free()
	return next
}

func (s *ascent) free() {
	s.group.free()
	advlib.Free(s.x, s.best, s.bestL, s.solved, s.ε, s.α)
}

// incumbents are the best points so far, with their losses, and whether they are adversarial.
type incumbents struct {
	*candidates
	loss   []float32
	solved []bool
}

func newIncumbents(b advlib.Batch) *incumbents {
	i := &incumbents{candidates: newCandidates(b), loss: make([]float32, b.Len()), solved: make([]bool, b.Len())}
	for r := range i.loss {
		i.loss[r] = float32(math.Inf(-1))
	}
	return i
}

// standing returns those of the rows that are not solved, or all of them.
func (i *incumbents) standing(rows []int, all bool) []int {
	if all {
		return rows
	}
	var s []int
	for _, r := range rows {
		if !i.solved[r] {
			s = append(s, r)
		}
	}
	return s
}

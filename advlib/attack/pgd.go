package attack

import (
	"context"
	"iter"
	"math"
	"math/rand/v2"

	. "advlab/advlib/internal/equation"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[PGD](InBall,
		Command{Name: "pgd", About: "projected gradient descent, 40 steps on the cross-entropy", Make: func(b advlib.Ball) advlib.Attack {
			return PGD{Ball: b}
		}},
		Command{Name: "pgd-margin", About: "PGD on the margin between the label and the best other class",
			Make: func(b advlib.Ball) advlib.Attack {
				return PGD{Ball: b, Loss: advlib.Margin}
			}},
		Command{Name: "pgd-targets", About: "PGD on the margin towards each other class, the most likely first",
			Make: func(b advlib.Ball) advlib.Attack {
				return AllTargets{Attack: PGD{Ball: b, Loss: advlib.Margin}}
			}})
}

// PGD is projected gradient descent (here: ascent) of Madry et al. (2018), arXiv:1706.06083, section 2.1 and appendix
// B: steps along the loss's steepest ascent, each projected on the intersection of the ball with the box, from random
// starts.
//
// It departs from the paper in what it returns: the best iterate instead of the last (an adversarial one if there was
// any, else the one of highest loss), and in that an example is left alone once it is solved. In L1 the step is the
// sparse one of Tramèr & Boneh (2019), arXiv:1904.13000, section 3 ("SLIDE"), restricted to coordinates that can still
// move, and the projection is exact where theirs clips to the box afterwards.
type PGD struct {
	// Ball is what may be changed; its norm is L1, L2 or Linf. It must be set.
	Ball advlib.Ball
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Loss is ascended; nil means cross-entropy.
	Loss advlib.Loss
	// Steps is the number of steps; 0 means 40, as the paper uses on MNIST.
	Steps int
	// StepSize is α, the length of a step in the ball's norm, in units of the box; 0 means 2.5·ε/Steps, so that any point
	// of the ball can be reached from any other (section 4 of the paper's first version).
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

// Describe implements [craft.Described].
func (a *PGD) Describe(d *craft.Description) {
	d.Paper("Madry et al. 2018, arXiv:1706.06083")
	d.Gradients()
	d.ConvexBall(&a.Ball)
	d.Goal(&a.Goal)
	d.Loss(&a.Loss, advlib.CrossEntropy)
	d.Count(&a.Steps, 40)
	d.Size(&a.StepSize, 2.5*a.Ball.Radius/float64(a.Steps)).As("α = %.6g")
	d.Count(&a.Restarts, 0).As("%d restarts")
	d.Flag(&a.NoRandomStart, "no random start")
	given, share := a.Sparsity, 0.
	if a.Ball.Norm == advlib.Norm(advlib.L1) {
		share = 0.01
	}
	d.Portion(&a.Sparsity, share, "the share of the coordinates that a step in L1 moves").As("sparsity %g")
	d.Flag(&a.KeepGoing, "keeps going")
	d.Name("PGD-%d", a.Steps)
	d.Passes((1+a.Restarts)*a.Steps, (1+a.Restarts)*a.Steps)
	d.Refuse(given != 0 && share == 0, "Sparsity = %g has no meaning in the %v ball: it is for steps in L1", given, a.Ball.Norm)
	d.Refuse(a.NoRandomStart && a.Restarts > 0,
		"%d restarts without a random start would repeat the same steps: leave one of the two out", a.Restarts)
}

// String returns for example "PGD-40 Linf ≤ 0.1, Margin".
func (a PGD) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a PGD) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a PGD) Plan(v advlib.Victim) (forward, backward float64, known bool) { return craft.Plan(a, v) }

// Iterate is where PGD stands after one step on some of the rows of a batch.
type Iterate = craft.Iterate

// Perturb implements [advlib.Attack].
func (a PGD) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	return a.ascent(v).Perturb(ctx, v, b)
}

// Iterates runs the attack and yields after each step; the caller may stop at any time. When ctx is done, the last pair
// holds ctx.Err(). Perturb is this, drained.
func (a PGD) Iterates(ctx context.Context, v *advlib.Counted, b advlib.Batch) iter.Seq2[Iterate, error] {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return func(yield func(Iterate, error) bool) { yield(Iterate{}, err) }
	}
	return a.ascent(v).Iterates(ctx, v, b)
}

// ascent is PGD: its steps from a random point.
func (a PGD) ascent(v *advlib.Counted) craft.Ascent {
	limits := v.Signature().Limits()
	return craft.Ascent{
		Step: a.Step(limits), In: []float64{a.Ball.Radius, a.StepSize}, Start: a.Start(limits),
		Loss: a.Loss, Steps: a.Steps, Restarts: a.Restarts, KeepGoing: a.KeepGoing,
	}
}

// Step returns what builds a step of the attack, for loops of one's own, such as adversarial training. Its numbers are
// the radius ε and the length α of the step.
func (a PGD) Step(limits advlib.Limits) craft.Stepper {
	a = craft.Filled(a)
	step := pgdStep{norm: a.Ball.Norm.(advlib.ConvexNorm)}
	if step.norm == advlib.L1 {
		step.sparse = max(1, int(math.Round(a.Sparsity*float64(limits.Free()))))
	}
	return step
}

// Start returns what moves an original, flat, to where the steps begin: to a point drawn from the ball, clipped to the
// limits. It is nil if they begin at the original.
func (a PGD) Start(limits advlib.Limits) func(r *rand.Rand, x []float32) {
	if a.NoRandomStart {
		return nil
	}
	return func(r *rand.Rand, x []float32) {
		u := make([]float32, len(x))
		a.Ball.Norm.(advlib.ConvexNorm).Sample(r, u)
		for j, v := range x {
			x[j] = limits.Clamp(j, float64(v+float32(a.Ball.Radius)*u[j]), v)
		}
	}
}

// pgdStep determines the graph of PGD.
type pgdStep struct {
	norm   advlib.ConvexNorm
	sparse int // coordinates that a step in L1 moves
}

// Next is a step of Madry et al. (2018), section 2.1,
//
//	x ← Π(x + α·d),  d = argmax ⟨d, ∇ₓL⟩ over ‖d‖ ≤ 1,  Π projects on the intersection of the ball at x₀ with the box
//
// In L1, d is sparse: the signs of the largest slopes that can still be followed, over their number.
func (s pgdStep) Next(p *craft.Point, x, L *Node, in []*Node) *Node {
	ε, α := in[0], in[1]
	d := s.ascend(p, p.Direction(s.norm, L, x), x)
	return p.Project(s.norm, Add(x, Mul(α, d)), ε)
}

func (s pgdStep) ascend(p *craft.Point, g, x *Node) *Node {
	if s.norm != advlib.L1 {
		return s.norm.Ascend(g)
	}
	g = movable(g, x, p)
	return signsOf(g, TopKMask(craft.Flat(Abs(g)), s.sparse, -1))
}

// movable returns the gradient g at x without the coordinates that stand at an end of their range and could only leave
// it. Without this, a sparse step may choose nothing but coordinates that the projection puts back.
func movable(g, x *Node, p *craft.Point) *Node {
	zero := ZerosLike(g)
	lo, hi := p.Limits.Ends(p.X0)
	rises := LogicalAnd(GreaterThan(g, zero), LessThan(x, hi))
	falls := LogicalAnd(LessThan(g, zero), GreaterThan(x, lo))
	return Where(LogicalOr(rises, falls), g, zero)
}

// signsOf returns the signs of those coordinates of g [n, d...] that are marked, [n, Πd], divided by their number.
// Coordinates without a slope stay where they are.
func signsOf(g, marked *Node) *Node {
	e := Where(Reshape(marked, g.Shape().Dimensions...), Sign(g), ZerosLike(g))
	count := craft.SumRows(Abs(e))
	return Div(e, craft.PerRow(Max(count, OnesLike(count)), e))
}

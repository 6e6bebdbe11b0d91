package attack

import (
	"context"
	"slices"

	. "advlab/advlib/internal/equation"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() { register[CarliniWagnerL0](Nearest) } // the command cw is that of CarliniWagner

// CarliniWagnerL0 is the L0 attack of Carlini & Wagner (2017), arXiv:1608.04644, section VI-B: it runs the L2 attack,
// freezes the coordinates that matter least to it, by |δᵢ|·|∂f/∂xᵢ|, and repeats that with what is left, until it finds
// nothing more.
//
// Constants are those of the authors' code, with these departures: each example has its own c and number of steps; when
// it finds nothing after several coordinates were frozen at once, it tries again with one of them; coordinates are
// those of [CarliniWagner], which move at pixels of exactly 0 and 1; channels of a pixel count separately; untargeted
// is the default; and at the end changes that are not needed are undone.
type CarliniWagnerL0 struct {
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Steps of Adam for each c; 0 means 1000.
	Steps int
	// LearningRate of Adam; 0 means 0.01.
	LearningRate float64
	// InitialConst is the first c, LargestConst the last one; it doubles. 0 means 0.001 and 2e6.
	InitialConst, LargestConst float64
	// Margin is by how much the logits of an adversarial example must differ before coordinates are frozen; 0 means 0.01.
	Margin float64
	// NoLineSearch leaves the final undoing out.
	NoLineSearch bool
}

// Describe implements [craft.Described].
func (a *CarliniWagnerL0) Describe(d *craft.Description) {
	d.Paper("Carlini & Wagner 2017, arXiv:1608.04644")
	d.Gradients()
	d.Minimal(advlib.L0)
	d.Goal(&a.Goal)
	d.Count(&a.Steps, 1000)
	d.Size(&a.LearningRate, 1e-2).As("rate %g")
	d.Size(&a.InitialConst, 1e-3).As("c₀ = %g")
	d.Size(&a.LargestConst, 2e6).As("c ≤ %g")
	d.Size(&a.Margin, 0.01).As("margin %g")
	d.Flag(&a.NoLineSearch, "no line search")
	d.Name("C&W-%d", a.Steps)
	refuseConstants(d, a.InitialConst, a.LargestConst)
}

// String returns for example "C&W-1000 L0 minimal".
func (a CarliniWagnerL0) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a CarliniWagnerL0) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Constants of the authors' code.
const (
	cwEqual       = 1e-4 // widths of the box, below which a coordinate counts as unchanged
	cwFreeze      = 0.3  // times the root of the number of unchanged coordinates: the most that are frozen at once
	cwUnimportant = 0.01 // |δᵢ|·|∂f/∂xᵢ| above which no more than one is frozen
)

// Perturb implements [advlib.Attack].
func (a CarliniWagnerL0) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	limits, key := v.Signature().Limits(), cwL0Step{margin: a.Margin}
	step := craft.Compile(v, b, key, key.graph)
	return craft.Nearest(ctx, b, func(s *craft.Search) error {
		w0 := tanhStart(s.X0, limits)
		defer advlib.Free(w0)
		free := tensors.FromFlatDataAndDimensions(slices.Repeat([]bool{true}, s.X0.Shape().Size()), s.X0.Shape().Dimensions...)
		s.Push(s.Zeros(), s.Zeros(), s.Zeros(), s.Zeros(), free, s.Zeros())
		if err := a.search(ctx, s, step, w0); err != nil {
			return err
		}
		if a.NoLineSearch {
			return nil
		}
		return s.Restore(ctx, v)
	})
}

// What a step does with a row before it judges it.
const (
	cwGoOn    = 0.
	cwBegin   = 1. // begin anew at the last solution
	cwRetreat = 2. // and with one coordinate frozen since that instead of several
)

// cwL0Row is where the search of one example stands.
type cwL0Row struct {
	c       float64
	k       int     // steps made with this c and these coordinates
	do      float64 // in the next step
	several bool    // coordinates were frozen at once
	done    bool
}

// search freezes coordinates and raises c, for each row by itself: all rows step together, but each begins anew in its
// own time.
func (a CarliniWagnerL0) search(ctx context.Context, s *craft.Search, step *advlib.Step, w0 *tensors.Tensor) error {
	rows := make([]cwL0Row, s.Size)
	for i := range rows {
		rows[i] = cwL0Row{c: a.InitialConst, do: cwBegin, done: i >= len(s.At)}
	}
	flat := make([]float32, 3*s.Size)
	for {
		for i, r := range rows {
			α := adamRate(a.LearningRate, r.k)
			if r.done {
				α = 0
			}
			for j, v := range []float64{r.c, α, r.do} { // see cwL0Step
				flat[3*i+j] = float32(v)
			}
		}
		control := tensors.FromFlatDataAndDimensions(flat, s.Size, 3)
		out, err := s.Run(ctx, step, w0, control)
		advlib.Free(control)
		if err != nil {
			return err
		}
		frozen, left := tensors.MustCopyFlatData[float32](out[0]), tensors.MustCopyFlatData[float32](out[1])
		advlib.Free(out...)
		working := false
		for i := range s.At {
			rows[i].advance(a, int(frozen[i]), int(left[i]))
			working = working || !rows[i].done
		}
		if !working {
			return nil
		}
	}
}

// advance takes the outcome of a step: how many coordinates it froze, which it does when it has found a solution, and
// how many are left.
func (r *cwL0Row) advance(a CarliniWagnerL0, frozen, left int) {
	r.k++
	r.do = cwGoOn
	switch {
	case r.done:
	case frozen > 0:
		r.k, r.do, r.several = 0, cwBegin, frozen > 1
		r.done = left == 0
	case r.k > a.Steps:
		r.k, r.do = 0, cwBegin
		if r.c *= 2; r.c > a.LargestConst {
			r.c, r.do, r.done = a.LargestConst, cwRetreat, !r.several
			r.several = false
		}
	}
}

// cwL0Step determines the graph of a step.
type cwL0Step struct {
	margin float64
}

// graph is one step of Carlini & Wagner (2017), section VI-B, in the variable of [cwStep], on the coordinates that are
// free. Per row, control holds c, the rate of Adam, and what to do first.
//
//	minimise c·max(f(x) + margin, 0) + ‖x − x₀‖₂²
//	if f(x) ≤ −margin: freeze the free coordinates of least |xᵢ − x₀ᵢ|·|∂f/∂xᵢ|
//
// It also returns how many coordinates it froze, and how many are free.
func (s cwL0Step) graph(p *craft.Point, in []*Node) []*Node {
	best, bestD, ω, solution, m1, m2, free, order, w0, control := in[0], in[1], in[2], in[3], in[4], in[5], in[6], in[7], in[8], in[9]
	part := func(j int) *Node { return Reshape(Slice(control, AxisRange(), AxisElem(j)), -1) }
	c, rate, do := part(0), part(1), part(2)
	zero := ZerosLike(c)

	begin := craft.PerRow(GreaterThan(do, zero), p.X0)
	ω, m1, m2 = Where(begin, solution, ω), Where(begin, ZerosLike(m1), m1), Where(begin, ZerosLike(m2), m2)
	// order numbers the coordinates that the last solution froze, from 1; the first one stays frozen.
	retreat := craft.PerRow(GreaterThan(do, OnesLike(do)), p.X0)
	free = LogicalOr(free, LogicalAnd(retreat, GreaterThan(order, OnesLike(order))))

	moved, slope := fromTanh(p, w0, ω)
	x := Where(free, moved, p.X0)
	z := p.Logits(x)
	δ := DivScalar(Sub(x, p.X0), p.Limits.Width())
	f := Neg(advlib.Margin.Of(z, p.Goal))
	hit := GreaterThan(p.Clearance(z), zero)
	best, bestD, _ = p.Nearer(advlib.L0, x, hit, best, bestD)
	short := GreaterThan(AddScalar(f, s.margin), zero)
	solved := LogicalAnd(LogicalAnd(hit, LogicalNot(short)), GreaterThan(rate, zero))

	g := MulScalar(p.Gradient(f, x), p.Limits.Width())
	inLoss := Add(Where(craft.PerRow(short, g), Mul(craft.PerRow(c, g), g), ZerosLike(g)), MulScalar(δ, 2))
	m1, m2, change := adam(m1, m2, finite(Where(free, MulScalar(Mul(inLoss, slope), 1/p.Limits.Width()), ZerosLike(g))))

	importance := Mul(Abs(δ), Abs(g))
	equal := count(LessThan(Abs(δ), MulScalar(OnesLike(δ), cwEqual)))
	few := count(LogicalAnd(free, LessThan(importance, MulScalar(OnesLike(g), cwUnimportant))))
	number := Min(Ceil(MulScalar(Sqrt(equal), cwFreeze)), OnePlus(few))
	number = Where(solved, Min(Max(number, OnesLike(number)), count(free)), zero)
	candidates := Where(free, Neg(importance), Infinity(g.Graph(), g.DType(), -1))
	freeze := first(candidates, number)
	freeze = LogicalAnd(freeze, free)
	order = Where(craft.PerRow(solved, order),
		Where(freeze, OnePlus(ConvertDType(LogicalNot(first(candidates, Min(number, OnesLike(number)))), g.DType())), ZerosLike(g)), order)
	free = LogicalAnd(free, LogicalNot(freeze))
	solution = Where(craft.PerRow(solved, ω), ω, solution)
	ω = keepInside(p, w0, Add(ω, Mul(craft.PerRow(rate, ω), change)))
	return []*Node{best, bestD, ω, solution, m1, m2, free, order, number, count(free)}
}

// count returns how many of each row's coordinates hold, [n].
func count(v *Node) *Node { return craft.SumRows(ConvertDType(v, dtypes.Float32)) }

package attack

import (
	"context"
	"fmt"
	"math"

	. "advlab/advlib/internal/equation"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// CarliniWagnerL0 is the L0 attack of Carlini & Wagner (2017), arXiv:1608.04644, section VI-B: it runs the L2 attack, freezes the
// coordinates that matter least to it, by |δᵢ|·|∂f/∂xᵢ|, and repeats that with what is left, until it finds nothing more.
//
// Constants are those of the authors' code, with these departures: each example has its own c and number of steps; when it finds
// nothing after several coordinates were frozen at once, it tries again with one of them; coordinates are those of [CarliniWagner],
// which move at pixels of exactly 0 and 1; channels of a pixel count separately; untargeted is the default; and at the end changes that
// are not needed are undone.
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

// String returns for example "C&W-1000 L0 minimal".
func (a CarliniWagnerL0) String() string {
	var lr, c, most, margin, line string
	if a.LearningRate != 0 {
		lr = fmt.Sprintf("rate %g", a.LearningRate)
	}
	if a.InitialConst != 0 {
		c = fmt.Sprintf("c₀ = %g", a.InitialConst)
	}
	if a.LargestConst != 0 {
		most = fmt.Sprintf("c ≤ %g", a.LargestConst)
	}
	if a.Margin != 0 {
		margin = fmt.Sprintf("margin %g", a.Margin)
	}
	if a.NoLineSearch {
		line = "no line search"
	}
	return named(fmt.Sprintf("C&W-%d", a.steps()), "L0 minimal", a.Goal, lr, c, most, margin, line)
}

func (a CarliniWagnerL0) steps() int        { return numberOr(a.Steps, 1000) }
func (a CarliniWagnerL0) rate() float64     { return numberOr(a.LearningRate, 1e-2) }
func (a CarliniWagnerL0) initialC() float64 { return numberOr(a.InitialConst, 1e-3) }
func (a CarliniWagnerL0) largestC() float64 { return numberOr(a.LargestConst, 2e6) }
func (a CarliniWagnerL0) margin() float64   { return numberOr(a.Margin, 0.01) }

// filled implements [indexed].
func (a CarliniWagnerL0) filled() any {
	a.Steps, a.LearningRate, a.InitialConst, a.LargestConst, a.Margin = a.steps(), a.rate(), a.initialC(), a.largestC(), a.margin()
	return a
}

// Constants of the authors' code.
const (
	cwEqual       = 1e-4 // widths of the box, below which a coordinate counts as unchanged
	cwFreeze      = 0.3  // times the root of the number of unchanged coordinates: the most that are frozen at once
	cwUnimportant = 0.01 // |δᵢ|·|∂f/∂xᵢ| above which no more than one is frozen
)

// Threat implements [advlib.Attack].
func (a CarliniWagnerL0) Threat(v advlib.Victim) (advlib.Threat, error) {
	if err := checkGradient(v); err != nil {
		return advlib.Threat{}, err
	}
	threat := advlib.Threat{Norm: advlib.L0, Radius: math.Inf(1), Goal: a.Goal}
	if err := checkCount("Steps", a.Steps); err != nil {
		return threat, err
	}
	for _, field := range []struct {
		name  string
		value float64
	}{{"LearningRate", a.LearningRate}, {"InitialConst", a.InitialConst}, {"LargestConst", a.LargestConst}, {"Margin", a.Margin}} {
		if err := checkSize(field.name, field.value); err != nil {
			return threat, err
		}
	}
	if a.initialC() > a.largestC() {
		return threat, fmt.Errorf("InitialConst = %g is above LargestConst = %g: no v would be tried", a.initialC(), a.largestC())
	}
	return threat, nil
}

func (a CarliniWagnerL0) checkGoal(advlib.Victim, bool) error { return nil } // the margin suits any number of classes

// Perturb implements [advlib.Attack].
func (a CarliniWagnerL0) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	limits, key := v.Signature().Limits(), cwL0Step{wish: wishOf(b), margin: a.margin()}
	step := v.Compile(key, func(m *advlib.Model, in []*Node) []*Node { return key.graph(m, limits, in) })
	return eachPiece(ctx, b, func(s *iteration) error {
		w0 := tanhStart(s.x, limits)
		defer advlib.Free(w0)
		all := make([]bool, s.x.Shape().Size())
		for i := range all {
			all[i] = true
		}
		mask := func() *tensors.Tensor { return tensors.FromFlatDataAndDimensions(all, s.x.Shape().Dimensions...) }
		s.push(s.zeros(), s.zeros(), s.zeros(), s.zeros(), mask(), s.zeros())
		if err := a.search(ctx, s, step, w0); err != nil {
			return err
		}
		if a.NoLineSearch {
			return nil
		}
		return restore(ctx, v, b, s)
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

// search freezes coordinates and raises c, for each row by itself: all rows step together, but each begins anew in its own time.
func (a CarliniWagnerL0) search(ctx context.Context, s *iteration, step *advlib.Step, w0 *tensors.Tensor) error {
	rows := make([]cwL0Row, s.size)
	for i := range rows {
		rows[i] = cwL0Row{c: a.initialC(), do: cwBegin, done: i >= len(s.rows)}
	}
	flat := make([]float32, 3*s.size)
	for k := 0; ; k++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		for i, r := range rows {
			α := adamRate(a.rate(), r.k)
			if r.done {
				α = 0
			}
			for j, v := range []float64{r.c, α, r.do} { // see cwL0Step
				flat[3*i+j] = float32(v)
			}
		}
		control := tensors.FromFlatDataAndDimensions(flat, s.size, 3)
		out, err := s.run(step, w0, control)
		advlib.Free(control)
		if err != nil {
			return fmt.Errorf("step %d on %d examples: %w", k, len(s.rows), err)
		}
		frozen, left := tensors.MustCopyFlatData[float32](out[0]), tensors.MustCopyFlatData[float32](out[1])
		advlib.Free(out...)
		working := false
		for i := range s.rows {
			rows[i].advance(a, int(frozen[i]), int(left[i]))
			working = working || !rows[i].done
		}
		if !working {
			return nil
		}
	}
}

// advance takes the outcome of a step: how many coordinates it froze, which it does when it has found a solution, and how many are left.
func (r *cwL0Row) advance(a CarliniWagnerL0, frozen, left int) {
	r.k++
	r.do = cwGoOn
	switch {
	case r.done:
	case frozen > 0:
		r.k, r.do, r.several = 0, cwBegin, frozen > 1
		r.done = left == 0
	case r.k > a.steps():
		r.k, r.do = 0, cwBegin
		if r.c *= 2; r.c > a.largestC() {
			r.c, r.do, r.done = a.largestC(), cwRetreat, !r.several
			r.several = false
		}
	}
}

// cwL0Step determines the graph of a step.
type cwL0Step struct {
	wish   wish
	margin float64
}

// graph is one step of Carlini & Wagner (2017), section VI-B, in the variable of [cwStep], on the coordinates that are free. Per row,
// control holds c, the rate of Adam, and what to do first.
//
//	minimise c·max(f(x) + margin, 0) + ‖x − x₀‖₂²
//	if f(x) ≤ −margin: freeze the free coordinates of least |xᵢ − x₀ᵢ|·|∂f/∂xᵢ|
//
// It also returns how many coordinates it froze, and how many are free.
func (s cwL0Step) graph(m *advlib.Model, limits advlib.Limits, in []*Node) []*Node {
	x0, aim, rest := s.wish.read(in)
	best, bestD, ω, solution, m1, m2, free, order, w0, control := rest[0], rest[1], rest[2], rest[3], rest[4], rest[5], rest[6], rest[7], rest[8], rest[9]
	part := func(j int) *Node { return Reshape(Slice(control, AxisRange(), AxisElem(j)), -1) }
	c, rate, do := part(0), part(1), part(2)
	zero := ZerosLike(c)

	begin := perRow(GreaterThan(do, zero), x0)
	ω, m1, m2 = Where(begin, solution, ω), Where(begin, ZerosLike(m1), m1), Where(begin, ZerosLike(m2), m2)
	// order numbers the coordinates that the last solution froze, from 1; the first one stays frozen.
	retreat := perRow(GreaterThan(do, OnesLike(do)), x0)
	free = LogicalOr(free, LogicalAnd(retreat, GreaterThan(order, OnesLike(order))))

	moved, slope := fromTanh(x0, w0, ω, limits)
	x := Where(free, moved, x0)
	z := m.Logits(x)
	δ := DivScalar(Sub(x, x0), limits.Width())
	f := Neg(advlib.Margin.Of(z, aim))
	hit := GreaterThan(clearance(z, aim), zero)
	best, bestD, _ = nearer(advlib.L0, x, x0, hit, best, bestD)
	short := GreaterThan(AddScalar(f, s.margin), zero)
	solved := LogicalAnd(LogicalAnd(hit, LogicalNot(short)), GreaterThan(rate, zero))

	g := MulScalar(m.Gradient(f, x), limits.Width())
	inLoss := Add(Where(perRow(short, g), Mul(perRow(c, g), g), ZerosLike(g)), MulScalar(δ, 2))
	m1, m2, change := adam(m1, m2, finite(Where(free, MulScalar(Mul(inLoss, slope), 1/limits.Width()), ZerosLike(g))))

	importance := Mul(Abs(δ), Abs(g))
	equal := count(LessThan(Abs(δ), MulScalar(OnesLike(δ), cwEqual)))
	few := count(LogicalAnd(free, LessThan(importance, MulScalar(OnesLike(g), cwUnimportant))))
	number := Min(Ceil(MulScalar(Sqrt(equal), cwFreeze)), OnePlus(few))
	number = Where(solved, Min(Max(number, OnesLike(number)), count(free)), zero)
	candidates := Where(free, Neg(importance), Infinity(g.Graph(), g.DType(), -1))
	freeze := first(candidates, number)
	freeze = LogicalAnd(freeze, free)
	order = Where(perRow(solved, order), Where(freeze, OnePlus(ConvertDType(LogicalNot(first(candidates, Min(number, OnesLike(number)))), g.DType())), ZerosLike(g)), order)
	free = LogicalAnd(free, LogicalNot(freeze))
	solution = Where(perRow(solved, ω), ω, solution)
	ω = keepInside(w0, Add(ω, Mul(perRow(rate, ω), change)), limits)
	return []*Node{best, bestD, ω, solution, m1, m2, free, order, number, count(free)}
}

// count returns how many of each row's coordinates hold, [n].
func count(v *Node) *Node { return sumRows(ConvertDType(v, dtypes.Float32)) }

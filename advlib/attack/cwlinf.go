package attack

import (
	"context"
	"fmt"
	"math"

	. "advlab/advlib/internal/equation"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// CarliniWagnerLinf is the Linf attack of Carlini & Wagner (2017), arXiv:1608.04644, section VI-C: it minimises
// c·f(x+δ) + Σᵢ max(|δᵢ| − τ, 0) with Adam, in coordinates that keep x+δ in the box; when it succeeds it lowers τ, when it does not it
// raises c, until c is at its largest.
//
// Constants are those of the authors' code, with these departures: each example has its own τ, c and number of steps; coordinates are
// those of [CarliniWagner], which move at pixels of exactly 0 and 1; distances are in widths of the box; untargeted is the default;
// and at the end the segment between the original and the best example is bisected.
type CarliniWagnerLinf struct {
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Confidence is κ: by how much the logits of an adversarial example must differ.
	Confidence float64
	// Steps of Adam for each c and τ; 0 means 1000.
	Steps int
	// LearningRate of Adam; 0 means 0.005.
	LearningRate float64
	// InitialConst is the first c, LargestConst the last one; it doubles. 0 means 1e-5 and 20.
	InitialConst, LargestConst float64
	// Decrease is what τ is multiplied by, below 1; 0 means 0.9. LeastTau is where the search ends, in widths of the box; 0 means 1/256.
	Decrease, LeastTau float64
	// NoLineSearch leaves the final bisection out.
	NoLineSearch bool
}

// String returns for example "C&W-1000 Linf minimal".
func (a CarliniWagnerLinf) String() string {
	var κ, lr, c, most, factor, τ, line string
	if a.Confidence != 0 {
		κ = fmt.Sprintf("κ = %g", a.Confidence)
	}
	if a.LearningRate != 0 {
		lr = fmt.Sprintf("rate %g", a.LearningRate)
	}
	if a.InitialConst != 0 {
		c = fmt.Sprintf("c₀ = %g", a.InitialConst)
	}
	if a.LargestConst != 0 {
		most = fmt.Sprintf("c ≤ %g", a.LargestConst)
	}
	if a.Decrease != 0 {
		factor = fmt.Sprintf("τ × %g", a.Decrease)
	}
	if a.LeastTau != 0 {
		τ = fmt.Sprintf("τ ≥ %g", a.LeastTau)
	}
	if a.NoLineSearch {
		line = "no line search"
	}
	return named(fmt.Sprintf("C&W-%d", a.steps()), "Linf minimal", a.Goal, κ, lr, c, most, factor, τ, line)
}

func (a CarliniWagnerLinf) steps() int        { return numberOr(a.Steps, 1000) }
func (a CarliniWagnerLinf) rate() float64     { return numberOr(a.LearningRate, 5e-3) }
func (a CarliniWagnerLinf) initialC() float64 { return numberOr(a.InitialConst, 1e-5) }
func (a CarliniWagnerLinf) largestC() float64 { return numberOr(a.LargestConst, 20) }
func (a CarliniWagnerLinf) decrease() float64 { return numberOr(a.Decrease, 0.9) }
func (a CarliniWagnerLinf) leastTau() float64 { return numberOr(a.LeastTau, 1./256) }

// filled implements [indexed].
func (a CarliniWagnerLinf) filled() any {
	a.Steps, a.LearningRate, a.InitialConst, a.LargestConst = a.steps(), a.rate(), a.initialC(), a.largestC()
	a.Decrease, a.LeastTau = a.decrease(), a.leastTau()
	return a
}

// cwSolved is the loss, as a share of c, below which the authors' code calls a problem solved.
const cwSolved = 1e-4

// Threat implements [advlib.Attack].
func (a CarliniWagnerLinf) Threat(v advlib.Victim) (advlib.Threat, error) {
	if err := checkGradient(v); err != nil {
		return advlib.Threat{}, err
	}
	threat := advlib.Threat{Norm: advlib.Linf, Radius: math.Inf(1), Goal: a.Goal}
	if err := checkCount("Steps", a.Steps); err != nil {
		return threat, err
	}
	for _, field := range []struct {
		name  string
		value float64
	}{{"Confidence", a.Confidence}, {"LearningRate", a.LearningRate}, {"InitialConst", a.InitialConst}, {"LargestConst", a.LargestConst}, {"LeastTau", a.LeastTau}} {
		if err := checkSize(field.name, field.value); err != nil {
			return threat, err
		}
	}
	if a.initialC() > a.largestC() {
		return threat, fmt.Errorf("InitialConst = %g is above LargestConst = %g: no v would be tried", a.initialC(), a.largestC())
	}
	return threat, checkShare("Decrease", a.Decrease)
}

func (a CarliniWagnerLinf) checkGoal(advlib.Victim, bool) error { return nil } // the margin suits any number of classes

// Perturb implements [advlib.Attack].
func (a CarliniWagnerLinf) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	limits, key := v.Signature().Limits(), cwLinfStep{wish: wishOf(b), κ: a.Confidence}
	step := v.Compile(key, func(m *advlib.Model, in []*Node) []*Node { return key.graph(m, limits, in) })
	return eachPiece(ctx, b, func(s *iteration) error {
		w0 := tanhStart(s.x, limits)
		defer advlib.Free(w0)
		s.push(s.zeros(), s.zeros(), s.zeros(), s.zeros())
		if err := a.search(ctx, s, step, w0); err != nil {
			return err
		}
		if a.NoLineSearch || a.Confidence > 0 { // on the way back there is less confidence
			return nil
		}
		return searchSegment(ctx, v, b, s)
	})
}

// cwLinfRow is where the search of one example stands.
type cwLinfRow struct {
	c, τ float64
	k    int // steps made on this c and τ
	done bool
}

// search lowers τ and raises c, for each row by itself: all rows step together, but each begins anew in its own time.
func (a CarliniWagnerLinf) search(ctx context.Context, s *iteration, step *advlib.Step, w0 *tensors.Tensor) error {
	rows := make([]cwLinfRow, s.size)
	for i := range rows {
		rows[i] = cwLinfRow{c: a.initialC(), τ: 1, done: i >= len(s.rows)}
	}
	flat := make([]float32, 4*s.size)
	for k := 0; ; k++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		for i, r := range rows {
			α, anew := adamRate(a.rate(), r.k), 0.
			if r.done {
				α = 0
			}
			if r.k == 0 {
				anew = 1
			}
			for j, v := range []float64{r.c, r.τ, α, anew} { // see cwLinfStep
				flat[4*i+j] = float32(v)
			}
		}
		control := tensors.FromFlatDataAndDimensions(flat, s.size, 4)
		out, err := s.run(step, w0, control)
		advlib.Free(control)
		if err != nil {
			return fmt.Errorf("step %d on %d examples: %w", k, len(s.rows), err)
		}
		size, solved := tensors.MustCopyFlatData[float32](out[0]), tensors.MustCopyFlatData[bool](out[1])
		advlib.Free(out...)
		working := false
		for i := range s.rows {
			rows[i].advance(a, float64(size[i]), solved[i])
			working = working || !rows[i].done
		}
		if !working {
			return nil
		}
	}
}

// advance takes the outcome of a step: ‖δ‖ in widths of the box, and whether δ solves the problem of this c and τ.
func (r *cwLinfRow) advance(a CarliniWagnerLinf, size float64, solved bool) {
	r.k++
	switch {
	case r.done:
	case solved:
		r.τ = min(r.τ, size) * a.decrease()
		r.k = 0
		r.done = r.τ <= a.leastTau()
	case r.k > a.steps():
		r.c *= 2
		r.k = 0
		r.done = r.c > a.largestC()
	}
}

// cwLinfStep determines the graph of a step.
type cwLinfStep struct {
	wish wish
	κ    float64
}

// graph is one step of Carlini & Wagner (2017), section VI-C, in the variable of [cwStep]. Per row, control holds c, τ, the rate of Adam,
// and 1 where the search begins anew, at the last solution.
//
//	minimise c·f(x) + Σᵢ max(|xᵢ − x₀ᵢ| − τ, 0)
//
// It also returns ‖x − x₀‖ in widths of the box, and whether x is adversarial with a loss below 10⁻⁴·c.
func (s cwLinfStep) graph(m *advlib.Model, limits advlib.Limits, in []*Node) []*Node {
	x0, aim, rest := s.wish.read(in)
	best, bestD, ω, solution, m1, m2, w0, control := rest[0], rest[1], rest[2], rest[3], rest[4], rest[5], rest[6], rest[7]
	part := func(j int) *Node { return Reshape(Slice(control, AxisRange(), AxisElem(j)), -1) }
	c, τ, rate, anew := part(0), part(1), part(2), GreaterThan(part(3), ZerosLike(bestD))

	begin := perRow(anew, x0)
	ω, m1, m2 = Where(begin, solution, ω), Where(begin, ZerosLike(m1), m1), Where(begin, ZerosLike(m2), m2)
	x, slope := fromTanh(x0, w0, ω, limits)
	z := m.Logits(x)
	δ := DivScalar(Sub(x, x0), limits.Width())
	excess := sumRows(MaxScalar(Sub(Abs(δ), perRow(τ, δ)), 0))
	f := MaxScalar(Neg(advlib.Margin.Of(z, aim)), -s.κ)
	L := Add(Mul(c, AddScalar(f, s.κ)), excess)

	hit := GreaterThan(AddScalar(clearance(z, aim), -s.κ), ZerosLike(c))
	best, bestD, _ = nearer(advlib.Linf, x, x0, hit, best, bestD)
	solved := LogicalAnd(hit, LessThan(L, MulScalar(c, cwSolved)))
	solution = Where(perRow(solved, ω), ω, solution)

	g := finite(Mul(m.Gradient(L, x), slope))
	m1, m2, change := adam(m1, m2, g)
	ω = keepInside(w0, Add(ω, Mul(perRow(rate, ω), change)), limits)
	return []*Node{best, bestD, ω, solution, m1, m2, advlib.Linf.Of(δ), solved}
}

// tanhStart returns w₀ with x₀ = mid + half·widen·tanh w₀, each coordinate in its own range.
func tanhStart(x0 *tensors.Tensor, limits advlib.Limits) *tensors.Tensor {
	w0 := tensors.MustCopyFlatData[float32](x0)
	for i, v := range w0 {
		if r := limits.RangeOf(i % limits.Size()); r.Width() > 0 {
			mid, half := (r.Lo+r.Hi)/2, r.Width()/2
			w0[i] = float32(math.Atanh((float64(v) - mid) / half / widen))
		}
	}
	return tensors.FromFlatDataAndDimensions(w0, x0.Shape().Dimensions...)
}

// fromTanh returns x = x₀ + half·widen·(tanh(w₀ + ω) − tanh w₀), clipped to the limits, and its derivative by ω.
func fromTanh(x0, w0, ω *Node, limits advlib.Limits) (x, slope *Node) {
	half := func(r advlib.Box) float64 { return r.Width() / 2 * widen }
	tanh := Tanh(Add(w0, ω))
	x = limits.Clip(Add(x0, limits.Times(Sub(tanh, Tanh(w0)), half)), x0)
	return x, limits.Times(OneMinus(squared(tanh)), half)
}

// keepInside clips ω where x would leave the limits: tanh is monotone, so what may rise in x may rise in w.
func keepInside(w0, ω *Node, limits advlib.Limits) *Node {
	end := math.Atanh(1 / widen)
	return Sub(limits.Within(advlib.Box{Lo: -end, Hi: end}).Clip(Add(w0, ω), w0), w0)
}

package attack

import (
	"context"
	"math"

	. "advlab/advlib/internal/equation"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() { register[CarliniWagnerLinf](Nearest) } // the command cw is that of CarliniWagner

// CarliniWagnerLinf is the Linf attack of Carlini & Wagner (2017), arXiv:1608.04644, section VI-C: it minimises
// c·f(x+δ) + Σᵢ max(|δᵢ| − τ, 0) with Adam, in coordinates that keep x+δ in the box; when it succeeds it lowers τ, when
// it does not it raises c, until c is at its largest.
//
// Constants are those of the authors' code, with these departures: each example has its own τ, c and number of steps;
// coordinates are those of [CarliniWagner], which move at pixels of exactly 0 and 1; distances are in widths of the
// box; untargeted is the default; and at the end the segment between the original and the best example is bisected.
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
	// Decrease is what τ is multiplied by, below 1; 0 means 0.9. LeastTau is where the search ends, in widths of the box;
	// 0 means 1/256.
	Decrease, LeastTau float64
	// NoLineSearch leaves the final bisection out.
	NoLineSearch bool
}

// Describe implements [craft.Described].
func (a *CarliniWagnerLinf) Describe(d *craft.Description) {
	d.Paper("Carlini & Wagner 2017, arXiv:1608.04644")
	d.Gradients()
	d.Minimal(advlib.Linf)
	d.Goal(&a.Goal)
	d.Size(&a.Confidence, 0).As("κ = %g")
	d.Count(&a.Steps, 1000)
	d.Size(&a.LearningRate, 5e-3).As("rate %g")
	d.Size(&a.InitialConst, 1e-5).As("c₀ = %g")
	d.Size(&a.LargestConst, 20).As("c ≤ %g")
	d.Share(&a.Decrease, 0.9).As("τ × %g")
	d.Size(&a.LeastTau, 1./256).As("τ ≥ %g")
	d.Flag(&a.NoLineSearch, "no line search")
	d.Name("C&W-%d", a.Steps)
	refuseConstants(d, a.InitialConst, a.LargestConst)
}

// String returns for example "C&W-1000 Linf minimal".
func (a CarliniWagnerLinf) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a CarliniWagnerLinf) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// cwSolved is the loss, as a share of c, below which the authors' code calls a problem solved.
const cwSolved = 1e-4

// Perturb implements [advlib.Attack].
func (a CarliniWagnerLinf) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	limits, key := v.Signature().Limits(), cwLinfStep{κ: a.Confidence}
	step := craft.Compile(v, b, key, key.graph)
	return craft.Nearest(ctx, b, func(s *craft.Search) error {
		w0 := tanhStart(s.X0, limits)
		defer advlib.Free(w0)
		s.Push(s.Zeros(), s.Zeros(), s.Zeros(), s.Zeros())
		if err := a.search(ctx, s, step, w0); err != nil {
			return err
		}
		if a.NoLineSearch || a.Confidence > 0 { // on the way back there is less confidence
			return nil
		}
		return s.Bisect(ctx, v)
	})
}

// cwLinfRow is where the search of one example stands.
type cwLinfRow struct {
	c, τ float64
	k    int // steps made on this c and τ
	done bool
}

// search lowers τ and raises c, for each row by itself: all rows step together, but each begins anew in its own time.
func (a CarliniWagnerLinf) search(ctx context.Context, s *craft.Search, step *advlib.Step, w0 *tensors.Tensor) error {
	rows := make([]cwLinfRow, s.Size)
	for i := range rows {
		rows[i] = cwLinfRow{c: a.InitialConst, τ: 1, done: i >= len(s.At)}
	}
	flat := make([]float32, 4*s.Size)
	for {
		for i, r := range rows {
			α, anew := adamRate(a.LearningRate, r.k), 0.
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
		control := tensors.FromFlatDataAndDimensions(flat, s.Size, 4)
		out, err := s.Run(ctx, step, w0, control)
		advlib.Free(control)
		if err != nil {
			return err
		}
		size, solved := tensors.MustCopyFlatData[float32](out[0]), tensors.MustCopyFlatData[bool](out[1])
		advlib.Free(out...)
		working := false
		for i := range s.At {
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
		r.τ = min(r.τ, size) * a.Decrease
		r.k = 0
		r.done = r.τ <= a.LeastTau
	case r.k > a.Steps:
		r.c *= 2
		r.k = 0
		r.done = r.c > a.LargestConst
	}
}

// cwLinfStep determines the graph of a step.
type cwLinfStep struct {
	κ float64
}

// graph is one step of Carlini & Wagner (2017), section VI-C, in the variable of [cwStep]. Per row, control holds c, τ,
// the rate of Adam, and 1 where the search begins anew, at the last solution.
//
//	minimise c·f(x) + Σᵢ max(|xᵢ − x₀ᵢ| − τ, 0)
//
// It also returns ‖x − x₀‖ in widths of the box, and whether x is adversarial with a loss below 10⁻⁴·c.
func (s cwLinfStep) graph(p *craft.Point, in []*Node) []*Node {
	best, bestD, ω, solution, m1, m2, w0, control := in[0], in[1], in[2], in[3], in[4], in[5], in[6], in[7]
	part := func(j int) *Node { return Reshape(Slice(control, AxisRange(), AxisElem(j)), -1) }
	c, τ, rate, anew := part(0), part(1), part(2), GreaterThan(part(3), ZerosLike(bestD))

	begin := craft.PerRow(anew, p.X0)
	ω, m1, m2 = Where(begin, solution, ω), Where(begin, ZerosLike(m1), m1), Where(begin, ZerosLike(m2), m2)
	x, slope := fromTanh(p, w0, ω)
	z := p.Logits(x)
	δ := DivScalar(Sub(x, p.X0), p.Limits.Width())
	excess := craft.SumRows(MaxScalar(Sub(Abs(δ), craft.PerRow(τ, δ)), 0))
	f := MaxScalar(Neg(advlib.Margin.Of(z, p.Goal)), -s.κ)
	L := Add(Mul(c, AddScalar(f, s.κ)), excess)

	hit := GreaterThan(AddScalar(p.Clearance(z), -s.κ), ZerosLike(c))
	best, bestD, _ = p.Nearer(advlib.Linf, x, hit, best, bestD)
	solved := LogicalAnd(hit, LessThan(L, MulScalar(c, cwSolved)))
	solution = Where(craft.PerRow(solved, ω), ω, solution)

	g := finite(Mul(p.Gradient(L, x), slope))
	m1, m2, change := adam(m1, m2, g)
	ω = keepInside(p, w0, Add(ω, Mul(craft.PerRow(rate, ω), change)))
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
func fromTanh(p *craft.Point, w0, ω *Node) (x, slope *Node) {
	half := func(r advlib.Box) float64 { return r.Width() / 2 * widen }
	tanh := Tanh(Add(w0, ω))
	x = p.Clip(Add(p.X0, p.Limits.Times(Sub(tanh, Tanh(w0)), half)))
	return x, p.Limits.Times(OneMinus(squared(tanh)), half)
}

// keepInside clips ω where x would leave the limits: tanh is monotone, so what may rise in x may rise in w.
func keepInside(p *craft.Point, w0, ω *Node) *Node {
	end := math.Atanh(1 / widen)
	return Sub(p.Limits.Within(advlib.Box{Lo: -end, Hi: end}).Clip(Add(w0, ω), w0), w0)
}

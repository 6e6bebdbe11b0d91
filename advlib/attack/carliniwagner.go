package attack

import (
	"context"
	"fmt"
	"math"

	. "advlab/advlib/internal/equation"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[CarliniWagner](Nearest, Command{
		Name: "cw", About: "Carlini & Wagner: looks for the nearest adversarial example", Norms: []advlib.Norm{advlib.Linf, advlib.L2, advlib.L0},
		Make: func(b advlib.Ball) advlib.Attack {
			switch b.Norm {
			case advlib.Norm(advlib.Linf):
				return CarliniWagnerLinf{}
			case advlib.L0:
				return CarliniWagnerL0{}
			}
			return CarliniWagner{}
		},
	})
}

// CarliniWagner is the L2 attack of Carlini & Wagner (2017), arXiv:1608.04644, section VI-A: it looks for the nearest
// adversarial example by minimising ‖δ‖₂² + c·f(x+δ) with Adam, in coordinates that keep x+δ in the box, and searches
// for the smallest constant c that succeeds, for each example by itself. It has no budget: its result is a distance.
//
// Constants are those of the authors' code, with these departures:
//
//   - 1000 steps for each c instead of 10000, which is what other libraries take for practical runs; set Steps for
//     more.
//   - The box is the middle of tanh's range instead of all of it: x = mid + 1.3·half·tanh(w), with w held where x is in
//     the box. At a pixel of exactly 0 or 1 the original's derivative is 2·10⁻⁶ of that in the middle, so that binary
//     images hardly move; here it is 0.4. Distances at 1000 steps are the same as with 1.01, at 100 steps they are far
//     better.
//   - An example's search for one c is given up, when its loss no longer falls, by itself and only once it has moved;
//     the original looks at the loss of the whole batch.
//   - A constant c succeeds when an iterate of the last tenth of its steps, or of those before it was given up, is
//     adversarial: the paper asks for the smallest c whose solution is. In the original any iterate will do. An example
//     nearer to its boundary than Adam's first steps are long then succeeds with any c in passing, and the search falls
//     to 0 without one of use: it was left up to 1.6 times too far away.
//   - Distances are in units of the box's width inside the loss, so that c means the same in any box.
//   - Untargeted is the default, as everywhere here; the original's is targeted.
type CarliniWagner struct {
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Confidence is κ: by how much the logits of an adversarial example must differ.
	Confidence float64
	// BinarySearchSteps is how many values of c are tried; 0 means 9.
	BinarySearchSteps int
	// Steps of Adam for each c; 0 means 1000.
	Steps int
	// LearningRate of Adam; 0 means 0.01.
	LearningRate float64
	// InitialConst is the first c; 0 means 0.001.
	InitialConst float64
	// NoAbort makes all steps for each c even where the loss no longer falls.
	NoAbort bool
}

// Describe implements [craft.Described].
func (a *CarliniWagner) Describe(d *craft.Description) {
	d.Paper("Carlini & Wagner 2017, arXiv:1608.04644")
	d.Gradients()
	d.Minimal(advlib.L2)
	d.Goal(&a.Goal)
	d.Size(&a.Confidence, 0).As("κ = %g")
	d.Count(&a.BinarySearchSteps, 9)
	d.Count(&a.Steps, 1000)
	d.Size(&a.LearningRate, 1e-2).As("rate %g")
	d.Size(&a.InitialConst, 1e-3).As("c₀ = %g")
	d.Flag(&a.NoAbort, "no abort")
	d.Name("C&W %d×%d", a.BinarySearchSteps, a.Steps)
	d.Passes(a.BinarySearchSteps*a.Steps, a.BinarySearchSteps*a.Steps)
}

// String returns for example "C&W 9×1000 L2 minimal".
func (a CarliniWagner) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a CarliniWagner) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a CarliniWagner) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// Constants of the authors' code.
const (
	cwUpper       = 1e10   // of c, before any has succeeded
	cwChecks      = 10     // how often the loss is looked at in a search
	cwImprovement = 0.9999 // a loss above this share of the one at the last look no longer falls
)

// widen is by how much tanh's range is wider than the box.
const widen = 1.3

// cwStep determines the graph of a step.
type cwStep struct {
	κ float64
}

// graph is one step of Carlini & Wagner (2017), section VI-A, in the variable w = w₀ + ω, with ω = 0 at the original:
//
//	x = x₀ + half·widen·(tanh w − tanh w₀),  minimise ‖x − x₀‖² + c·f(x),  f(x) = max(max_{i≠t} Z(x)_i − Z(x)_t, −κ)
//
// untargeted f(x) = max(Z(x)_y − max_{i≠y} Z(x)_i, −κ). It judges x, keeps it if it is adversarial and the nearest so
// far, and makes one step of Adam (Kingma & Ba 2015, arXiv:1412.6980, section 2, the last form) in ω. The age is how
// many steps ago x was adversarial.
func (s cwStep) graph(p *craft.Point, in []*Node) []*Node {
	w0, ω, m1, m2, c, best, bestD, age, running, α := in[0], in[1], in[2], in[3], in[4], in[5], in[6], in[7], in[8], in[9]
	x, slope := fromTanh(p, w0, ω)
	z := p.Logits(x)
	D := craft.SumRows(squared(DivScalar(Sub(x, p.X0), p.Limits.Width())))
	f := MaxScalar(Neg(advlib.Margin.Of(z, p.Goal)), -s.κ)
	L := Add(D, Mul(c, f))

	reached := LogicalAnd(running, GreaterThan(AddScalar(p.Clearance(z), -s.κ), ZerosLike(L)))
	nearer := LogicalAnd(reached, LessThan(D, bestD))
	best, bestD = Where(craft.PerRow(nearer, x), x, best), Where(nearer, D, bestD)
	age = Where(reached, ZerosLike(age), Where(running, AddScalar(age, 1), age))

	// By the chain rule, as if x were not clipped: at the ends of the box the clip does nothing but undo rounding.
	g := finite(Mul(p.Gradient(L, x), slope))
	m1n, m2n, change := adam(m1, m2, g)
	ωn := keepInside(p, w0, Add(ω, Mul(α, change))) // stay where x is inside the box

	moving := craft.PerRow(running, x)
	return []*Node{Where(moving, ωn, ω), Where(moving, m1n, m1), Where(moving, m2n, m2), best, bestD, age, L, D}
}

// Perturb implements [advlib.Attack].
func (a CarliniWagner) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	limits, key := v.Signature().Limits(), cwStep{κ: a.Confidence}
	step := craft.Compile(v, b, key, key.graph)
	best := craft.NewBest(b)
	return craft.Runs(ctx, b, best, 0, func(at []int, _ int) error {
		s := newDescent(step, craft.NewRows(b, at), limits)
		defer s.free()
		err := a.searchC(ctx, s)
		best.Put(at, s.best, nil)
		return err
	})
}

// searchC searches for the smallest c that succeeds, for each row by itself.
func (a CarliniWagner) searchC(ctx context.Context, s *descent) error {
	search := newConstants(len(s.At), a.InitialConst)
	for k := range a.BinarySearchSteps {
		// The authors' code tries the smallest c that has succeeded again when there are searches to spare.
		if a.BinarySearchSteps >= 10 && k == a.BinarySearchSteps-1 {
			search.repeat()
		}
		hit, err := a.minimise(ctx, s, search.c)
		if err != nil {
			return err
		}
		search.next(hit)
	}
	return nil
}

// minimise runs Adam from the original with the given c, and tells which rows had an adversarial iterate among the last
// ones. Rows whose loss no longer falls are left alone, and the others are moved to a smaller bucket as soon as they
// fit into one.
func (a CarliniWagner) minimise(ctx context.Context, s *descent, c []float64) (hit []bool, err error) {
	s.reset(c)
	now, at := s, identity(len(s.At)) // what is worked on, and which rows of s its rows are
	defer func() { s.join(now, at) }()
	running := make([]bool, len(s.At))
	previous := make([]float64, len(s.At))
	for i := range running {
		running[i], previous[i] = true, math.Inf(1)
	}
	active := len(running)
	every := max(1, a.Steps/cwChecks)
	for k := range a.Steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		check := !a.NoAbort && k%every == 0
		L, D, err := now.step(active, float32(adamRate(a.LearningRate, k)), check)
		if err != nil {
			return nil, fmt.Errorf("step %d on %d examples: %w", k, len(s.At), err)
		}
		if !check {
			continue
		}
		before := active
		for i, l := range L {
			if running[i] && D[i] > 0 && float64(l) > previous[i]-(1-cwImprovement)*math.Abs(previous[i]) {
				running[i] = false
				active--
			}
			previous[i] = float64(l)
		}
		if active == 0 {
			break
		}
		switch {
		case active < before && advlib.Bucket(active) < now.Size:
			var keep []int
			for i, r := range running {
				if r {
					keep = append(keep, i)
				}
			}
			next, from := now.part(keep), make([]int, len(keep))
			for i, row := range keep {
				from[i] = at[row]
			}
			s.join(now, at)
			now, at = next, from
			running, previous = shorter(running, keep, len(keep)), shorter(previous, keep, len(keep))
		case active < before:
			now.halt(running)
		}
	}
	s.join(now, at)
	now = s
	return succeeded(tensors.MustCopyFlatData[float32](s.age)[:len(s.At)], a.Steps), nil
}

// descent is C&W's state on the device, for some rows.
type descent struct {
	*craft.Rows
	compiled                             *advlib.Step
	w0, c                                *tensors.Tensor
	ω, m1, m2, best, bestD, age, running *tensors.Tensor
}

func newDescent(step *advlib.Step, rows *craft.Rows, limits advlib.Limits) *descent {
	s := &descent{Rows: rows, compiled: step}
	s.best, s.bestD = s.Originals(), s.Fill(math.Inf(1))
	s.w0 = tanhStart(s.best, limits)
	return s
}

// reset goes back to the originals, with fresh moments; the nearest examples so far are kept.
func (s *descent) reset(c []float64) {
	advlib.Free(s.c, s.ω, s.m1, s.m2, s.age, s.running)
	s.ω, s.m1, s.m2 = s.Zeros(), s.Zeros(), s.Zeros()
	flat, running := make([]float32, s.Size), make([]bool, s.Size)
	for i, v := range c {
		flat[i], running[i] = float32(v), true
	}
	s.c = tensors.FromFlatDataAndDimensions(flat, s.Size)
	s.running = tensors.FromFlatDataAndDimensions(running, s.Size)
	s.age = s.Fill(math.Inf(1))
}

// halt leaves the rows alone that are no longer running.
func (s *descent) halt(running []bool) {
	all := make([]bool, s.Size)
	copy(all, running)
	advlib.Free(s.running)
	s.running = tensors.FromFlatDataAndDimensions(all, s.Size)
}

// part returns the given rows of s as a descent of their own, in the bucket that they fit into.
func (s *descent) part(rows []int) *descent {
	p := &descent{Rows: craft.NewRows(s.Batch, shorter(s.At, rows, len(rows))), compiled: s.compiled}
	take := func(t *tensors.Tensor) *tensors.Tensor { return advlib.TakeRows(t, rows, p.Size) }
	p.w0, p.c, p.ω, p.m1, p.m2 = take(s.w0), take(s.c), take(s.ω), take(s.m1), take(s.m2)
	p.best, p.bestD, p.age, p.running = take(s.best), take(s.bestD), take(s.age), take(s.running)
	return p
}

// join takes what a part has found for the given rows of s, and frees the part; s itself is left as it is.
func (s *descent) join(p *descent, rows []int) {
	if p == s {
		return
	}
	for _, of := range []struct{ to, from **tensors.Tensor }{{&s.best, &p.best}, {&s.bestD, &p.bestD}, {&s.age, &p.age}} {
		dims := (*of.to).Shape().Dimensions
		to, from := tensors.MustCopyFlatData[float32](*of.to), tensors.MustCopyFlatData[float32](*of.from)
		size := len(to) / dims[0]
		for i, row := range rows {
			copy(to[row*size:(row+1)*size], from[i*size:(i+1)*size])
		}
		advlib.Free(*of.to)
		*of.to = tensors.FromFlatDataAndDimensions(to, dims...)
	}
	p.free()
}

// identity returns 0, 1, …, n − 1.
func identity(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

// step makes one step; on request it returns the losses and squared distances of the rows before it.
func (s *descent) step(active int, α float32, look bool) (L, D []float32, err error) {
	s.Active = active
	out, err := s.Rows.Run(s.compiled, s.w0, s.ω, s.m1, s.m2, s.c, s.best, s.bestD, s.age, s.running, α)
	if err != nil {
		return nil, nil, err
	}
	if look {
		L, D = tensors.MustCopyFlatData[float32](out[6])[:len(s.At)], tensors.MustCopyFlatData[float32](out[7])[:len(s.At)]
	}
	advlib.Free(s.ω, s.m1, s.m2, s.best, s.bestD, s.age, out[6], out[7])
	s.ω, s.m1, s.m2, s.best, s.bestD, s.age = out[0], out[1], out[2], out[3], out[4], out[5]
	return L, D, nil
}

func (s *descent) free() {
	s.Rows.Free()
	advlib.Free(s.w0, s.c, s.ω, s.m1, s.m2, s.best, s.bestD, s.age, s.running)
}

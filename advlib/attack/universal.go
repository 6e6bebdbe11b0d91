package attack

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	. "advlab/advlib/internal/equation"

	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[Universal](ForAll)
	register[UniversalDeepFool](ForAll)
}

// Universal looks for one perturbation δ that fools a classifier on as many examples as possible, by stochastic
// gradient ascent: Shafahi et al. (2018), arXiv:1811.11304, algorithm 2 and equation 4:
//
//	maximise (1/n)·Σᵢ min(ℓ(xᵢ + δ, yᵢ), β)  over ‖δ‖ ≤ ε
//
// Fit learns δ on some examples; what it returns is an attack itself, to be measured by [advlib.Run] on others. A step
// is along the steepest ascent in the ball's norm, as long as a cosine says, and is followed by the exact projection.
// Of the δ at the ends of the epochs the one is kept that fools most of the examples it is learned on.
type Universal struct {
	// Ball is what may be changed; its norm is L1, L2 or Linf. It must be set.
	Ball advlib.Ball
	// Goal is untargeted if zero; a goal whose target differs from example to example is legal, and hard.
	Goal advlib.Goal
	// Loss is ascended; nil means cross-entropy.
	Loss advlib.Loss
	// Cap is β, the loss from which an example no longer counts, because it is fooled; 0 means 9.
	Cap float64
	// Epochs is how often each example is used; 0 means 20.
	Epochs int
	// BatchSize is how many examples a step's gradient is the mean of, at most 512; 0 means 128.
	BatchSize int
	// StepSize is the first step, in the ball's norm; it falls to a hundredth along a cosine. 0 means ε/5.
	StepSize float64
	// Seed draws the order of the examples in each epoch.
	Seed uint64
}

// Describe implements [craft.Described].
func (a *Universal) Describe(d *craft.Description) {
	d.Paper("Shafahi et al. 2018, arXiv:1811.11304")
	d.Gradients()
	d.ConvexBall(&a.Ball)
	d.Goal(&a.Goal)
	d.Loss(&a.Loss, advlib.CrossEntropy)
	d.Size(&a.Cap, 9).As("β = %g")
	d.Count(&a.Epochs, 20)
	batchSize(d, &a.BatchSize, 128)
	d.Size(&a.StepSize, a.Ball.Radius/5).As("α = %.6g")
	d.Name("Universal-%d", a.Epochs)
	refuseEncoded(d)
}

// String returns for example "Universal-20 Linf ≤ 0.1".
func (a Universal) String() string { return craft.Name(a) }

// Threat checks the fields against the classifier, and says what may be changed and what is wanted.
func (a Universal) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// refuseEncoded refuses victims whose domain lets attacks work in other coordinates than the inputs.
func refuseEncoded(d *craft.Description) {
	if v := d.Victim(); v != nil {
		d.Check(checkOwnInputs(v))
	}
}

// checkOwnInputs refuses classifiers whose domain lets attacks work in other coordinates than the inputs.
func checkOwnInputs(v advlib.Victim) error {
	if v.Signature().Limits().Check() != nil {
		return fmt.Errorf("what is the same for all examples is put into the inputs themselves, but the domain of %s has scales, "+
			"steps, categories or derived features: leave them out, or attack each example by itself", v.Name())
	}
	return nil
}

// batchSize describes the field that says how many examples a step is given.
func batchSize(d *craft.Description, n *int, otherwise int) {
	d.Refuse(*n > craft.MaxRows, "BatchSize = %d is above %d", *n, craft.MaxRows)
	d.Count(n, otherwise).As("batches of %d")
}

// Fit learns a perturbation on examples, and measures it on them: the result's success rate is what the perturbation
// reaches where it was learned, Stats what that took. Examples that the classifier gets wrong without it are not
// learned from. When ctx is done it returns the best so far with ctx.Err().
func (a Universal) Fit(ctx context.Context, c *advlib.Classifier, train *advlib.Examples) (*Perturbation, *advlib.Result, error) {
	return fitUniversal(ctx, c, train, a, a.Ball, a.Goal, a.Seed, a.learn)
}

// learn returns the best δ.
func (a Universal) learn(ctx context.Context, v *advlib.Counted, b advlib.Batch) ([]float32, error) {
	a = craft.Filled(a)
	key := universalStep{norm: a.Ball.Norm.(advlib.ConvexNorm), loss: a.Loss, β: a.Cap}
	step := craft.Compile(v, b, key, key.graph)
	best := newUniversal(v, b)
	δ := tensors.FromShape(best.shape)
	defer func() { advlib.Free(δ) }()
	batches := (len(best.rows) + a.BatchSize - 1) / a.BatchSize
	last := a.Epochs * batches
	for epoch := range a.Epochs {
		for k, rows := range slices.Collect(slices.Chunk(best.shuffled(a.Seed, epoch), a.BatchSize)) {
			if err := ctx.Err(); err != nil {
				return best.δ, err
			}
			g := craft.NewRows(b, rows)
			α := craft.Cosine(a.StepSize, a.StepSize/100, epoch*batches+k, last)
			weights := tensors.FromFlatDataAndDimensions(shares(len(rows), g.Size), g.Size)
			out, err := g.Run(step, weights, δ, float32(α), float32(a.Ball.Radius))
			g.Free()
			advlib.Free(weights)
			if err != nil {
				return nil, fmt.Errorf("epoch %d, step %d: %w", epoch, k, err)
			}
			advlib.Free(δ)
			δ = out[0]
		}
		if err := best.offer(ctx, tensors.MustCopyFlatData[float32](δ)); err != nil {
			return nil, err
		}
	}
	return best.δ, nil
}

// shares returns size weights: 1/n each for the first n, 0 for what pads.
func shares(n, size int) []float32 {
	w := make([]float32, size)
	for i := range n {
		w[i] = 1 / float32(n)
	}
	return w
}

// universalStep determines the graph of a step.
type universalStep struct {
	norm advlib.ConvexNorm
	loss advlib.Loss
	β    float64
}

// graph is one step of Shafahi et al. (2018), algorithm 2, with δ of the shape [1, d...] and weights w [n] that sum to
// 1:
//
//	g = Σᵢ wᵢ·∇ min(ℓ(xᵢ + δ), β),  δ ← Π(δ + α·d),  d = argmax ⟨d, g⟩ over ‖d‖ ≤ 1
//
// x + δ is clipped to the p.Limits. Coordinates of an example that are at their end and cannot follow the gradient do
// not count.
func (s universalStep) graph(p *craft.Point, in []*Node) []*Node {
	w, δ, α, ε := in[0], in[1], in[2], in[3]
	x := p.Clip(Add(p.X0, BroadcastToDims(δ, p.X0.Shape().Dimensions...)))
	L := MinScalar(s.loss.Of(p.Logits(x), p.Goal), s.β)
	g := p.Gradient(L, x)
	lo, hi := p.Limits.Room(x, p.X0)
	zero := ZerosLike(g)
	free := LogicalOr(LogicalAnd(GreaterThan(g, zero), GreaterThan(hi, zero)), LogicalAnd(LessThan(g, zero), LessThan(lo, zero)))
	mean := InsertAxes(ReduceSum(Mul(Where(free, g, zero), craft.PerRow(w, g)), 0), 0)
	δ = Add(δ, Mul(α, s.norm.Ascend(mean)))
	width := p.Limits.Constant(δ, func(r advlib.Box) float64 { return r.Width() })
	return []*Node{s.norm.Project(δ, ε, Neg(width), width)}
}

// UniversalDeepFool is the universal perturbation of Moosavi-Dezfooli et al. (2017), arXiv:1610.08401, algorithm 1: it
// goes through the examples, and where x + δ is not fooled adds what [DeepFool] finds is missing there, projected on
// the ball, until δ fools enough of them. [Universal] is the stronger one; this is the one by which the phenomenon was
// found.
type UniversalDeepFool struct {
	// Ball is what may be changed; its norm is L2 or Linf. It must be set.
	Ball advlib.Ball
	// Goal is untargeted if zero, as in the paper.
	Goal advlib.Goal
	// FoolingRate is 1 − ξ, below 1: the share of the examples that is enough; 0 means 0.8.
	FoolingRate float64
	// Epochs at most; 0 means 10.
	Epochs int
	// Steps and Overshoot are DeepFool's; 0 means its defaults.
	Steps     int
	Overshoot float64
	// Seed draws the order of the examples in each epoch.
	Seed uint64
}

// Describe implements [craft.Described].
func (a *UniversalDeepFool) Describe(d *craft.Description) {
	d.Paper("Moosavi-Dezfooli et al. 2017, arXiv:1610.08401")
	d.Gradients()
	d.Ball(&a.Ball, advlib.L2, advlib.Linf)
	d.Goal(&a.Goal)
	d.Share(&a.FoolingRate, 0.8).As("until %g")
	d.Count(&a.Epochs, 10).As("%d epochs")
	inner := craft.Filled(a.inner())
	d.Count(&a.Steps, inner.Steps).As("%d steps")
	d.Size(&a.Overshoot, inner.Overshoot).As("η = %g")
	d.Name("UniversalDeepFool")
	refuseEncoded(d)
}

// String returns for example "UniversalDeepFool Linf ≤ 0.1".
func (a UniversalDeepFool) String() string { return craft.Name(a) }

// Threat checks the fields against the classifier, and says what may be changed and what is wanted.
func (a UniversalDeepFool) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// inner is the attack that finds what is missing.
func (a UniversalDeepFool) inner() DeepFool {
	return DeepFool{Norm: a.Ball.Norm, Steps: a.Steps, Overshoot: a.Overshoot}
}

// Fit learns a perturbation on examples, and measures it on them; see [Universal.Fit].
func (a UniversalDeepFool) Fit(ctx context.Context, c *advlib.Classifier, train *advlib.Examples) (*Perturbation, *advlib.Result, error) {
	return fitUniversal(ctx, c, train, a, a.Ball, a.Goal, a.Seed, a.learn)
}

// projectStep determines the graph that projects a perturbation on a ball.
type projectStep struct{ norm advlib.ConvexNorm }

// learn returns the best δ.
func (a UniversalDeepFool) learn(ctx context.Context, v *advlib.Counted, b advlib.Batch) ([]float32, error) {
	a = craft.Filled(a)
	limits, key := v.Signature().Limits(), projectStep{a.Ball.Norm.(advlib.ConvexNorm)}
	project := v.Compile(key, func(_ *advlib.Model, in []*Node) []*Node {
		width := limits.Constant(in[0], func(r advlib.Box) float64 { return r.Width() })
		return []*Node{key.norm.Project(in[0], in[1], Neg(width), width)}
	})
	best := newUniversal(v, b)
	δ := slices.Clone(best.δ)
	for epoch := range a.Epochs {
		for _, row := range best.shuffled(a.Seed, epoch) {
			if err := ctx.Err(); err != nil {
				return best.δ, err
			}
			missing, err := a.missing(ctx, v, b.Select([]int{row}), δ)
			if err != nil && ctx.Err() != nil {
				return best.δ, err
			}
			if err != nil {
				return nil, err
			}
			if missing == nil {
				continue
			}
			sum := tensors.FromFlatDataAndDimensions(missing, best.shape.Dimensions...)
			out, err := project.Run(0, sum, float32(a.Ball.Radius))
			if err != nil {
				return nil, err
			}
			δ = tensors.MustCopyFlatData[float32](out[0])
			advlib.Free(sum, out[0])
		}
		if err := best.offer(ctx, slices.Clone(δ)); err != nil {
			return nil, err
		}
		if float64(best.fooled) >= a.FoolingRate*float64(b.Len()) {
			break
		}
	}
	return best.δ, nil
}

// missing returns δ with what DeepFool adds to it so that the one example of b is fooled; nil if it is already.
func (a UniversalDeepFool) missing(ctx context.Context, v *advlib.Counted, b advlib.Batch, δ []float32) ([]float32, error) {
	at := shifted(v.Signature().Limits(), tensors.MustCopyFlatData[float32](b.X), δ)
	dims := b.X.Shape().Dimensions
	advlib.Free(b.X)
	b.X = tensors.FromFlatDataAndDimensions(at, dims...)
	defer advlib.Free(b.X)
	z, err := v.Logits(ctx, b.X)
	if err != nil || b.Reached(0, z[0]) {
		return nil, err
	}
	adv, err := a.inner().Perturb(ctx, v, b)
	if err != nil {
		return nil, err
	}
	defer advlib.Free(adv)
	sum := slices.Clone(δ)
	for j, v := range tensors.MustCopyFlatData[float32](adv) {
		sum[j] += v - at[j]
	}
	return sum, nil
}

// universal is the search for a perturbation on a batch: the best so far.
type universal struct {
	target *advlib.Counted
	batch  advlib.Batch
	rows   []int // in the order of their content
	shape  shapes.Shape
	δ      []float32
	fooled int
}

func newUniversal(v *advlib.Counted, b advlib.Batch) *universal {
	u := &universal{target: v, batch: b, rows: slices.Concat(craft.Pieces(b)...), fooled: -1}
	u.shape = b.X.Shape().Clone()
	u.shape.Dimensions[0] = 1
	u.δ = make([]float32, u.shape.Size())
	return u
}

// shuffled returns the rows in the order of an epoch, whatever their order in the batch.
func (u *universal) shuffled(seed uint64, epoch int) []int {
	rows := slices.Clone(u.rows)
	r := rand.New(rand.NewPCG(seed, uint64(epoch)))
	r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	return rows
}

// offer keeps δ if it fools more of the batch.
func (u *universal) offer(ctx context.Context, δ []float32) error {
	x := tensors.FromFlatDataAndDimensions(shifted(u.target.Signature().Limits(), tensors.MustCopyFlatData[float32](u.batch.X), δ),
		u.batch.X.Shape().Dimensions...)
	defer advlib.Free(x)
	z, err := u.target.Logits(ctx, x)
	if err != nil {
		return err
	}
	fooled := 0
	for i := range z {
		if u.batch.Reached(i, z[i]) {
			fooled++
		}
	}
	if fooled > u.fooled {
		u.fooled, u.δ = fooled, δ
	}
	return nil
}

// shifted returns the rows x with δ added to each, within the limits around it.
func shifted(limits advlib.Limits, x, δ []float32) []float32 {
	at := make([]float32, len(x))
	for i, v := range x {
		j := i % len(δ)
		at[i] = limits.Clamp(j, float64(v)+float64(δ[j]), v)
	}
	return at
}

// Perturbation is one δ for all examples: an attack that adds it, and clips to the box.
type Perturbation struct {
	// Name says how it was made.
	Name string
	// Ball holds δ.
	Ball advlib.Ball
	// Goal is what it was made for, and is measured by.
	Goal advlib.Goal
	// Shape is that of an input, Delta δ in the order of its values, in units of the box.
	Shape []int
	Delta []float32
}

// String returns for example "one δ by Universal-20 Linf ≤ 0.1".
func (p Perturbation) String() string { return "one δ by " + p.Name }

// Threat implements [advlib.Attack].
func (p Perturbation) Threat(v advlib.Victim) (advlib.Threat, error) {
	threat := advlib.Threat{Norm: p.Ball.Norm, Radius: p.Ball.Radius, Goal: p.Goal}
	if err := p.Ball.Check(); err != nil {
		return threat, err
	}
	if !slices.Equal(p.Shape, v.Signature().Input) {
		return threat, fmt.Errorf("the perturbation has the shape %v, inputs of %s %v", p.Shape, v.Name(), v.Signature().Input)
	}
	if err := checkOwnInputs(v); err != nil {
		return threat, err
	}
	if n := v.Signature().Limits().Size(); len(p.Delta) != n {
		return threat, fmt.Errorf("the perturbation has %d values, inputs of %s %d", len(p.Delta), v.Name(), n)
	}
	size := p.Ball.Norm.Distance(p.Delta, make([]float32, len(p.Delta)))
	if math.IsNaN(size) || size > slack(p.Ball.Radius) {
		return threat, fmt.Errorf("the perturbation's %v norm is %g, more than the radius of %v", p.Ball.Norm, size, p.Ball)
	}
	return threat, nil
}

// Perturb implements [advlib.Attack].
func (p Perturbation) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	x := shifted(v.Signature().Limits(), tensors.MustCopyFlatData[float32](b.X), p.Delta)
	return tensors.FromFlatDataAndDimensions(x, b.X.Shape().Dimensions...), ctx.Err()
}

// fitUniversal lets learn find δ inside a run on the examples, so that Run checks, counts and measures that as it does
// anything.
func fitUniversal(ctx context.Context, c *advlib.Classifier, train *advlib.Examples, a threatened, ball advlib.Ball,
	goal advlib.Goal, seed uint64,
	learn func(ctx context.Context, v *advlib.Counted, b advlib.Batch) ([]float32, error),
) (*Perturbation, *advlib.Result, error) {
	p := &Perturbation{Name: a.String(), Ball: ball, Goal: goal}
	l := &lesson{threatened: a, learn: func(ctx context.Context, v *advlib.Counted, b advlib.Batch) (advlib.Attack, error) {
		δ, err := learn(ctx, v, b)
		if δ != nil {
			p.Delta = δ
		}
		return p, err
	}}
	if c != nil {
		p.Shape, p.Delta = slices.Clone(c.Input()), make([]float32, c.Limits().Size())
	}
	res, err := l.run(ctx, c, train, seed)
	if res == nil {
		return nil, nil, err
	}
	return p, res, err
}

// lesson is the attack inside Fit: it learns from all examples in one batch, and is measured by what it has learned.
type lesson struct {
	threatened
	learn func(ctx context.Context, v *advlib.Counted, b advlib.Batch) (advlib.Attack, error)
}

// run runs the lesson on all examples at once.
func (l *lesson) run(ctx context.Context, c *advlib.Classifier, train *advlib.Examples, seed uint64) (*advlib.Result, error) {
	all := 0
	if train != nil {
		all = train.Len()
	}
	return advlib.Settings{Seed: seed, BatchSize: all}.Run(ctx, c, train, l)
}

// Perturb implements [advlib.Attack].
func (l *lesson) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	learned, err := l.learn(ctx, v, b)
	if err != nil && ctx.Err() == nil {
		return nil, err
	}
	// What was learned is applied even when the lesson was cut short.
	adv, applyErr := learned.Perturb(context.WithoutCancel(ctx), v, b)
	if applyErr != nil {
		return nil, applyErr
	}
	return adv, err
}

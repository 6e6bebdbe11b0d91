package faces

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

// Blind is a pattern that knows nothing of the model, of the largest size that a ball allows: each value goes up or
// down by the radius, as a coin falls, as far as the box and the domain let it. It is what an attack of the same size
// has to beat. In the Linf ball of the box's width a pair of glasses becomes black and white dots.
type Blind struct {
	// Ball is an Linf ball; it must be set.
	Ball advlib.Ball
	// Goal is what it is measured by; untargeted if zero.
	Goal advlib.Goal
}

// Describe implements [craft.Described].
func (a *Blind) Describe(d *craft.Description) {
	d.Ball(&a.Ball, advlib.Linf)
	d.Goal(&a.Goal)
	d.Name("random signs")
}

// String returns for example "random signs Linf ≤ 0.1".
func (a Blind) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a Blind) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Perturb implements [advlib.Attack].
func (a Blind) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	limits, x := v.Signature().Limits(), tensors.MustCopyFlatData[float32](b.X)
	size := limits.Size()
	for i := range b.Len() {
		r := b.Rand(i, 0)
		for j := range size {
			at, δ := &x[i*size+j], a.Ball.Radius
			if r.IntN(2) == 0 {
				δ = -δ
			}
			*at = limits.Clamp(j, float64(*at)+δ, *at)
		}
	}
	return tensors.FromFlatDataAndDimensions(x, b.X.Shape().Dimensions...), ctx.Err()
}

// Frame is one pair of glasses, the same in every picture: an attack that puts its pixels in place of a face's.
type Frame struct {
	// Name says how it was made.
	Name string
	// Worn are the pixels of the frame, height × width long, and Pixels the values of the whole picture, of which those of
	// the frame count.
	Worn   []bool
	Pixels []float32
	// Goal is what it is measured by; untargeted if zero.
	Goal advlib.Goal
}

// Plain returns a frame of one shade: glasses as one buys them.
func Plain(worn []bool, channels int, shade float64) *Frame {
	return &Frame{Name: fmt.Sprintf("a plain frame of %g", shade), Worn: worn,
		Pixels: slices.Repeat([]float32{float32(shade)}, len(worn)*channels)}
}

// Random returns a frame of the same form with random pixels between lo and hi in place of its own, black and white
// ones: what it does that nobody has made for the purpose.
func (f *Frame) Random(box advlib.Box, seed uint64) *Frame {
	q := *f
	q.Name, q.Pixels = "random dots on the same frame", slices.Clone(f.Pixels)
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range q.Pixels {
		q.Pixels[i] = float32([]float64{box.Lo, box.Hi}[r.IntN(2)])
	}
	return &q
}

// String returns its name.
func (f *Frame) String() string { return f.Name }

// Threat implements [advlib.Attack]. Glasses have no ball of a norm; what contains them is the L0 ball whose radius is
// the number of their values.
func (f *Frame) Threat(v advlib.Victim) (advlib.Threat, error) {
	threat := advlib.Threat{Norm: advlib.L0, Goal: f.Goal}
	n := 0
	for _, may := range f.Worn {
		if may {
			n++
		}
	}
	in, box := v.Signature().Input, v.Signature().Box
	switch {
	case len(in) != 3 || len(f.Worn) != in[0]*in[1] || len(f.Pixels) != len(f.Worn)*in[2]:
		return threat, fmt.Errorf("the frame is of %d pixels and has %d values, inputs of %s have the shape %v", len(f.Worn), len(f.Pixels),
			v.Name(), in)
	case n == 0:
		return threat, fmt.Errorf("the frame has no pixels: faces.Glasses has some")
	}
	for i, p := range f.Pixels {
		if f.Worn[i/in[2]] && !(float64(p) >= box.Lo && float64(p) <= box.Hi) {
			return threat, fmt.Errorf("value %d of the frame is %g, outside of the box %v", i, p, box)
		}
	}
	threat.Radius = float64(n * in[2])
	return threat, nil
}

// Perturb implements [advlib.Attack].
func (f *Frame) Perturb(ctx context.Context, _ *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	x := tensors.MustCopyFlatData[float32](b.X)
	channels := len(f.Pixels) / len(f.Worn)
	for i := range x {
		if j := i % len(f.Pixels); f.Worn[j/channels] {
			x[i] = f.Pixels[j]
		}
	}
	return tensors.FromFlatDataAndDimensions(x, b.X.Shape().Dimensions...), ctx.Err()
}

// Campaign looks for one frame that works in all pictures of those who wear it: it raises the mean loss over them, and
// keeps the frame smooth (Sharif et al. 2016, https://doi.org/10.1145/2976749.2978392, equations 2 and 3)
//
//	maximise (1/n)·Σᵢ ℓ(xᵢ ⊕ p, yᵢ) − λ·TV(p) over the pixels p of the frame
//
// ⊕ puts the frame's pixels in place of the picture's, and TV is the mean length of the differences to the pixel below
// and to the right, both on the frame: cameras blur what is not smooth. Steps follow the sign of a momentum (Dong et
// al. 2018, arXiv:1710.06081).
type Campaign struct {
	// Goal is what the classifier should say: a target is an impersonation. Untargeted if zero, which is dodging.
	Goal advlib.Goal
	// Worn are the pixels of the frame, as of [Glasses]: at most [MostGlasses] of the face.
	Worn []bool
	// Loss is raised; nil means the margin.
	Loss advlib.Loss
	// Smooth is λ, at least 0; 0 means 0.05, and Rough leaves the term out.
	Smooth float64
	Rough  bool
	// Steps of the search; 0 means 100. StepSize is the first step, in widths of the box; it falls to a twentieth along a
	// cosine. 0 means 0.1.
	Steps    int
	StepSize float64
	// Seed keys the run.
	Seed uint64
}

// Describe implements [craft.Described].
func (a *Campaign) Describe(d *craft.Description) {
	d.Paper("Sharif et al. 2016, doi:10.1145/2976749.2978392")
	d.Gradients()
	d.Goal(&a.Goal)
	share := Share(a.Worn)
	d.Refuse(!slices.Contains(a.Worn, true), "Worn has no pixels: give faces.Glasses")
	d.Refuse(share > MostGlasses, "Worn is %.3g %% of the face, and this attacker has %g %% at most: see faces.Glasses", 100*share,
		100*MostGlasses)
	d.Budget(advlib.Ball{Norm: advlib.L0}, fmt.Sprintf("%.3g %% of the face", 100*share))
	d.Loss(&a.Loss, advlib.Margin)
	d.Refuse(a.Rough && a.Smooth != 0, "Rough and Smooth = %g contradict each other: leave one of the two out", a.Smooth)
	d.Size(&a.Smooth, 0.05).As("λ = %g")
	if a.Rough {
		a.Smooth = 0
	}
	d.Count(&a.Steps, 100)
	d.Size(&a.StepSize, 0.1).As("step %g")
	d.Name("glasses-%d,", a.Steps)
}

// String returns for example "glasses-100, 11 % of the face".
func (a Campaign) String() string { return craft.Name(a) }

// Fit learns a frame on pictures, at most 512, and measures it on them; those that the classifier gets wrong without it
// are not learned from. Other pictures of the same persons say what it is worth: run the frame on them. When ctx is
// done it returns the frame so far with ctx.Err().
func (a Campaign) Fit(ctx context.Context, c *advlib.Classifier, e *advlib.Examples) (*Frame, *advlib.Result, error) {
	if c == nil || e == nil {
		return nil, nil, fmt.Errorf("faces: %v: there is no classifier, or there are no examples: give both", a)
	}
	if e.Len() > craft.MaxRows {
		return nil, nil, fmt.Errorf("faces: %v: %d pictures to learn from: give at most %d", a, e.Len(), craft.MaxRows)
	}
	f := &Frame{Name: a.String(), Worn: a.Worn, Goal: a.Goal}
	for range c.Limits().Size() {
		f.Pixels = append(f.Pixels, float32((c.Box().Lo+c.Box().Hi)/2))
	}
	res, err := advlib.Settings{Seed: a.Seed, BatchSize: e.Len()}.Run(ctx, c, e, &lesson{a, f})
	if res == nil {
		return nil, nil, err
	}
	return f, res, err
}

// lesson is the attack inside Fit: it learns from all pictures in one batch, and is measured by what it has learned.
type lesson struct {
	Campaign
	frame *Frame
}

// Threat implements [advlib.Attack].
func (l *lesson) Threat(v advlib.Victim) (advlib.Threat, error) {
	if _, err := craft.Threat(l.Campaign, v); err != nil {
		return advlib.Threat{}, err
	}
	return l.frame.Threat(v)
}

// Perturb implements [advlib.Attack].
func (l *lesson) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	if err := l.learn(ctx, v, b); err != nil && ctx.Err() == nil {
		return nil, err
	}
	adv, err := l.frame.Perturb(context.WithoutCancel(ctx), v, b)
	if err != nil {
		return nil, err
	}
	return adv, ctx.Err()
}

// learn moves the pixels of the frame.
func (l *lesson) learn(ctx context.Context, v *advlib.Counted, b advlib.Batch) error {
	a, in := craft.Filled(l.Campaign), v.Signature().Input
	key := step{loss: a.Loss, smooth: a.Smooth}
	compiled := craft.Compile(v, b, key, key.graph)
	g := craft.NewRows(b, b.Order())
	defer g.Free()
	weights, worn := make([]float32, g.Size), make([]float32, len(a.Worn)*in[2])
	for i := range b.Len() {
		weights[i] = 1 / float32(b.Len())
	}
	for i := range worn {
		if a.Worn[i/in[2]] {
			worn[i] = 1
		}
	}
	shape := append([]int{1}, in...)
	fixed := []*tensors.Tensor{tensors.FromFlatDataAndDimensions(weights, g.Size), tensors.FromFlatDataAndDimensions(worn, shape...)}
	defer advlib.Free(fixed...)
	state := []*tensors.Tensor{tensors.FromFlatDataAndDimensions(l.frame.Pixels, shape...), tensors.FromFlatDataAndDimensions(
		make([]float32, len(worn)), shape...)} // pixels, momenta
	defer func() { advlib.Free(state...) }()
	for k := 0; k < a.Steps && ctx.Err() == nil; k++ {
		η := craft.Cosine(a.StepSize, a.StepSize/20, k, a.Steps) * v.Signature().Box.Width()
		out, err := g.Run(compiled, fixed[0], fixed[1], state[0], state[1], float32(η))
		if err != nil {
			return fmt.Errorf("step %d: %w", k, err)
		}
		advlib.Free(state...)
		state = out
	}
	l.frame.Pixels = tensors.MustCopyFlatData[float32](state[0])
	return ctx.Err()
}

// step determines the graph of a step.
type step struct {
	loss   advlib.Loss
	smooth float64
}

// graph is one step on [Campaign]'s objective, with weights w [n] that sum to 1, and the frame M, its pixels p and
// their momenta m of the shape [1, h, w, c]:
//
//	g = ∇ₚ (Σᵢ wᵢ·ℓ((1 − M)·xᵢ + M·p) − λ·TV),  m ← 0.9·m + g/mean|g|,  p ← clip(p + η·sign(m))
//
// TV is in widths of the box. It returns p and m.
func (s step) graph(at *craft.Point, in []*Node) []*Node {
	w, M, p, m, η := in[0], in[1], in[2], in[3], in[4]
	dims := at.X0.Shape().Dimensions
	over := BroadcastToDims(M, dims...)
	x := Add(Mul(OneMinus(over), at.X0), Mul(over, BroadcastToDims(p, dims...)))
	L := Mul(w, s.loss.Of(at.Logits(x), at.Goal))
	g := InsertAxes(ReduceSum(Mul(over, at.Gradient(L, x)), 0), 0)
	box := at.Limits.Box()
	if s.smooth > 0 {
		tv := variation(DivScalar(p, box.Width()), M)
		g = Sub(g, MulScalar(Gradient(tv, p)[0], s.smooth))
	}
	m = Add(MulScalar(m, 0.9), Div(g, AddScalar(Div(ReduceAllSum(Abs(g)), ReduceAllSum(M)), 1e-12)))
	return []*Node{ClipScalar(Add(p, Mul(η, Sign(m))), box.Lo, box.Hi), m}
}

// variation is the mean length of the differences of pixels [1, h, w, c] to those below and to the right, over those of
// a frame that have both.
func variation(p, frame *Node) *Node {
	d := p.Shape().Dimensions
	part := func(x *Node, down, right int) *Node {
		return Slice(x, AxisRange(), AxisRange(down, d[1]-1+down), AxisRange(right, d[2]-1+right))
	}
	on := Mul(part(frame, 0, 0), Mul(part(frame, 1, 0), part(frame, 0, 1)))
	down, right := Sub(part(p, 1, 0), part(p, 0, 0)), Sub(part(p, 0, 1), part(p, 0, 0))
	long := Sqrt(AddScalar(Add(Mul(down, down), Mul(right, right)), 1e-6))
	return Div(ReduceAllSum(Mul(on, long)), MaxScalar(ReduceAllSum(on), 1))
}

package signs

import (
	"context"
	"fmt"
	"math/rand/v2"

	. "advlab/advlib/internal/equation"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

const defaultSteps = 300

// Campaign looks for what to print on stickers: it raises the expected loss over viewpoints (Athalye et al. 2018,
// arXiv:1707.07397, equation 2; for stickers on signs Eykholt et al. 2018, arXiv:1707.08945, equation 3)
//
//	maximise E[ℓ(T(x ⊕ print(p)), y)] − λ·TV(p) over the texels p in 0..1
//
// with x and viewpoints T from [Views], and print the gamut of a printer. TV is the mean length of the differences to
// the texel below and to the right: smooth colours survive a camera, and a printer. Steps follow the sign of a
// momentum (Dong et al. 2018, arXiv:1710.06081).
type Campaign struct {
	// Goal is what the classifier should say; untargeted if zero.
	Goal advlib.Goal
	// Outline is that of the sign, Stickers what is stuck on it, at most [MostStickers] and [MostArea] of it; nil means
	// one [Patch] in the middle.
	Outline  Outline
	Stickers []Sticker
	// Gamut is the printer's.
	Gamut Gamut
	// Loss is raised; nil means the margin.
	Loss advlib.Loss
	// Smooth is λ, at least 0; 0 means 0.05 and a negative number is an error. Rough leaves the term out.
	Smooth float64
	Rough  bool
	// Longer is how many texels are along the longer side of a sticker; 0 means 12.
	Longer int
	// Steps of the search; 0 means 300. BatchSize is how many views a step's gradient is the mean of, at most 512; 0 means
	// 32.
	Steps, BatchSize int
	// StepSize is the first step, in 0..1 of a colour; it falls to a twentieth along a cosine. 0 means 0.1.
	StepSize float64
	// Seed draws the order of the views.
	Seed uint64
}

// Describe implements [craft.Described].
func (a *Campaign) Describe(d *craft.Description) {
	d.Paper("Athalye et al. 2018, arXiv:1707.07397")
	d.Gradients()
	d.Goal(&a.Goal)
	if a.Stickers == nil {
		a.Stickers = Patch(a.Outline, 0, 0)
	}
	d.Check(checkStickers(a.Outline, a.Stickers))
	d.Check(a.Gamut.check())
	a.Gamut = a.Gamut.filled()
	var share float64
	for _, s := range a.Stickers {
		share += s.Area() / a.Outline.Area()
	}
	d.Budget(advlib.Ball{Norm: advlib.L0}, fmt.Sprintf("%.3g %% of the %v", 100*share, a.Outline))
	d.Part(&a.Gamut)
	d.Loss(&a.Loss, advlib.Margin)
	d.Refuse(a.Rough && a.Smooth != 0, "Rough and Smooth = %g contradict each other: leave one of the two out", a.Smooth)
	d.Size(&a.Smooth, 0.05).As("λ = %g")
	if a.Rough {
		a.Smooth = 0
	}
	d.Refuse(a.BatchSize > craft.MaxRows, "BatchSize = %d is above %d", a.BatchSize, craft.MaxRows)
	d.Count(&a.Longer, 12).As("%d texels")
	d.Count(&a.Steps, defaultSteps)
	d.Count(&a.BatchSize, 32).As("batches of %d")
	d.Size(&a.StepSize, 0.1).As("step %g")
	d.Name("stickers-%d,", a.Steps)
}

// String returns for example "stickers-300, 8 % of the octagon, gamut 0.08–0.92, saturation 0.85 ±5 %".
func (a Campaign) String() string { return craft.Name(a) }

// Fit learns a print on views, and measures it on them; views that the classifier gets wrong without it are not learned
// from. Others, drawn with another seed, say what it is worth: see [Print.On]. When ctx is done it returns the print so
// far with ctx.Err().
func (a Campaign) Fit(ctx context.Context, c *advlib.Classifier, w *Views) (*Print, *advlib.Result, error) {
	if c == nil || w == nil {
		return nil, nil, fmt.Errorf("signs: %v: there is no classifier, or there are no views: give both", a)
	}
	filled := craft.Filled(a)
	p := blank(a.String(), filled.Outline, filled.Stickers, filled.Gamut, a.Goal, w.plane.channels, filled.Longer)
	l := &lesson{a, w, p}
	res, err := advlib.Settings{Seed: a.Seed, BatchSize: w.Len()}.Run(ctx, c, w.Examples, l)
	if res == nil {
		return nil, nil, err
	}
	return p, res, err
}

// lesson is the attack inside Fit: it learns from all views in one batch, and is measured by what it has learned.
type lesson struct {
	Campaign
	views *Views
	print *Print
}

// Threat implements [advlib.Attack].
func (l *lesson) Threat(v advlib.Victim) (advlib.Threat, error) {
	if _, err := craft.Threat(l.Campaign, v); err != nil {
		return advlib.Threat{}, err
	}
	return l.print.On(l.views).Threat(v)
}

// Perturb implements [advlib.Attack].
func (l *lesson) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	if err := l.learn(ctx, v, b); err != nil && ctx.Err() == nil {
		return nil, err
	}
	adv, err := l.print.On(l.views).Perturb(context.WithoutCancel(ctx), v, b)
	if err != nil {
		return nil, err
	}
	return adv, ctx.Err()
}

// learn moves the texels of the print.
func (l *lesson) learn(ctx context.Context, v *advlib.Counted, b advlib.Batch) error {
	a := craft.Filled(l.Campaign)
	key := step{loss: a.Loss, gamut: a.Gamut, smooth: a.Smooth, stickers: len(a.Stickers)}
	for k, s := range a.Stickers {
		key.high[k], key.wide[k] = s.texels(a.Longer)
	}
	compiled := craft.Compile(v, b, key, key.graph)
	covers := make([][]cover, b.Len())
	for i := range covers {
		for _, s := range a.Stickers {
			covers[i] = append(covers[i], l.views.view[b.Number(i)].cover(l.views.plane, s))
		}
	}
	var state []*tensors.Tensor // the texels of each sticker, then their momenta
	for k, s := range a.Stickers {
		rows, columns := s.texels(a.Longer)
		state = append(state, tensors.FromFlatDataAndDimensions(l.print.Texels[k], rows*columns, l.print.Channels))
	}
	for _, t := range state {
		state = append(state, tensors.FromShape(t.Shape()))
	}
	defer func() { advlib.Free(state...) }()
	var order []int
	for k, epoch := 0, uint64(0); k < a.Steps && ctx.Err() == nil; k++ {
		if len(order) == 0 {
			order, epoch = b.Order(), epoch+1
			r := rand.New(rand.NewPCG(a.Seed, epoch))
			r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		}
		n := min(a.BatchSize, len(order))
		g := craft.NewRows(b, order[:n])
		order = order[n:]
		in, scenes := l.inputs(g, covers)
		for _, s := range state {
			in = append(in, s)
		}
		out, err := g.Run(compiled, append(in, float32(craft.Cosine(a.StepSize, a.StepSize/20, k, a.Steps)))...)
		g.Free()
		advlib.Free(scenes...)
		if err != nil {
			return fmt.Errorf("step %d: %w", k, err)
		}
		advlib.Free(state...)
		state = out
	}
	for k := range a.Stickers {
		l.print.Texels[k] = tensors.MustCopyFlatData[float32](state[k])
	}
	return ctx.Err()
}

// inputs are the views of some rows, as inputs of a graph: see [step.graph].
func (l *lesson) inputs(g *craft.Rows, covers [][]cover) (in []any, held []*tensors.Tensor) {
	on := l.views.plane
	row := func(i int) int { return g.At[i%len(g.At)] }
	add := func(of func(i int) []float32, dims ...int) {
		var flat []float32
		for i := range g.Size {
			flat = append(flat, of(i)...)
		}
		t := tensors.FromFlatDataAndDimensions(flat, append([]int{g.Size}, dims...)...)
		in, held = append(in, t), append(held, t)
	}
	scene := func(i int) view { return l.views.view[g.Batch.Number(row(i))] }
	gamut := l.Gamut.filled()
	add(func(i int) []float32 { return []float32{weight(i, len(g.At))} })
	add(func(i int) []float32 { return scene(i).under }, on.height, on.width, on.channels)
	add(func(i int) []float32 { return scene(i).noise }, on.height, on.width, on.channels)
	add(func(i int) []float32 { return band(on.height, scene(i).blur) }, on.height, on.height)
	add(func(i int) []float32 { return band(on.width, scene(i).blur) }, on.width, on.width)
	add(func(i int) []float32 { // what a colour is multiplied by, in print and light
		s := scene(i)
		gain := make([]float32, on.channels)
		for c, off := range gamut.errors(s.ink, on.channels) {
			gain[c] = float32(s.gain[c] * off)
		}
		return gain
	}, 1, on.channels)
	add(func(i int) []float32 {
		haze := make([]float32, on.channels)
		for c, h := range scene(i).haze {
			haze[c] = float32(h)
		}
		return haze
	}, 1, on.channels)
	for k := range l.print.Stickers {
		pixels := on.height * on.width
		add(func(i int) []float32 { return covers[row(i)][k].share }, pixels, 1)
		add(func(i int) []float32 { return covers[row(i)][k].v }, pixels)
		add(func(i int) []float32 { return covers[row(i)][k].u }, pixels)
	}
	return in, held
}

// weight of a row among n; those that pad have none.
func weight(i, n int) float32 {
	if i < n {
		return 1 / float32(n)
	}
	return 0
}

// step determines the graph of a step.
type step struct {
	loss       advlib.Loss
	gamut      Gamut
	smooth     float64
	stickers   int
	high, wide [MostStickers]int // in texels
}

// graph is one step on [Campaign]'s objective: g = ∇ₚ (Σᵢ wᵢ·ℓ(xᵢ) − λ·TV), m ← 0.9·m + g/mean|g|, p ← clip(p +
// η·sign(m)). It returns the texels and momenta.
func (s step) graph(p *craft.Point, in []*Node) []*Node {
	w, under, noise, rows, columns, gain, haze := in[0], in[1], in[2], in[3], in[4], in[5], in[6]
	covers, state, η := in[7:7+3*s.stickers], in[7+3*s.stickers:7+5*s.stickers], in[7+5*s.stickers]
	texels, momenta := state[:s.stickers], state[s.stickers:]
	dims := under.Shape().Dimensions // [n, h, w, channels]
	flat := []int{dims[0], dims[1] * dims[2], dims[3]}
	sharp := Reshape(under, flat...)
	tv := ScalarZero(under.Graph(), under.DType())
	for k := range s.stickers {
		high, wide := s.high[k], s.wide[k]
		share, v, u := covers[3*k], covers[3*k+1], covers[3*k+2]
		ink := Reshape(s.gamut.inks(texels[k]), high, wide, dims[3])
		colour := Einsum("npj,ijc->npic", hats(u, wide), ink)
		colour = ReduceSum(Mul(colour, BroadcastToDims(InsertAxes(hats(v, high), -1), colour.Shape().Dimensions...)), 2)
		lit := Add(Mul(colour, BroadcastToDims(gain, flat...)), BroadcastToDims(haze, flat...))
		sharp = Add(sharp, Mul(BroadcastToDims(share, flat...), Sub(lit, sharp)))
		tv = Add(tv, variation(Reshape(texels[k], high, wide, dims[3])))
	}
	x := Reshape(sharp, dims...)
	x = Einsum("njk,nikc->nijc", columns, x)
	x = Einsum("nij,njkc->nikc", rows, x)
	box := p.Limits.Box()
	held := ClipScalar(Add(x, noise), 0, 1)
	x = Add(x, StopGradient(Sub(held, x))) // what is clipped in some light goes on being moved by the others
	x = AddScalar(MulScalar(x, box.Width()), box.Lo)
	L := Mul(w, s.loss.Of(p.Logits(x), p.Goal))
	gx := StopGradient(p.Gradient(L, x))
	objective := Sub(ReduceAllSum(Mul(gx, x)), MulScalar(tv, s.smooth))
	grads := Gradient(objective, texels...)
	moved, kept := make([]*Node, s.stickers), make([]*Node, s.stickers)
	for k, g := range grads {
		size := AddScalar(ReduceAllMean(Abs(g)), 1e-12)
		kept[k] = Add(MulScalar(momenta[k], 0.9), Div(g, size))
		moved[k] = ClipScalar(Add(texels[k], Mul(η, Sign(kept[k]))), 0, 1)
	}
	return append(moved, kept...)
}

// hats are the weights of n texels at places u [rows, pixels] of −1..1, in linear interpolation: [rows, pixels, n].
func hats(u *Node, n int) *Node {
	at := ClipScalar(AddScalar(MulScalar(OnePlus(u), float64(n)/2), -0.5), 0, float64(n-1))
	dims := append(u.Shape().Clone().Dimensions, n)
	shape := u.Shape().Clone()
	shape.Dimensions = dims
	distance := Abs(Sub(BroadcastToDims(InsertAxes(at, -1), dims...), Iota(u.Graph(), shape, 2)))
	return MaxScalar(OneMinus(distance), 0)
}

// variation is the mean length of the differences of texels [rows, columns, channels] to those below and to the right.
func variation(t *Node) *Node {
	dims := t.Shape().Dimensions
	if dims[0] < 2 || dims[1] < 2 {
		return ScalarZero(t.Graph(), t.DType())
	}
	here := Slice(t, AxisRange(0, dims[0]-1), AxisRange(0, dims[1]-1))
	down := Sub(Slice(t, AxisRange(1, dims[0]), AxisRange(0, dims[1]-1)), here)
	right := Sub(Slice(t, AxisRange(0, dims[0]-1), AxisRange(1, dims[1])), here)
	return ReduceAllMean(Sqrt(AddScalar(Add(Mul(down, down), Mul(right, right)), 1e-6)))
}

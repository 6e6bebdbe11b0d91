package attack

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"math"
	"slices"

	. "advlab/advlib/internal/equation"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() { register[AdversarialPatch](InPatch) }

// AdversarialPatch learns a patch that, put into any image anywhere, makes the classifier say what the goal wants:
// Brown et al. (2017), arXiv:1712.09665, equation 1, by expectation over transformations (Athalye et al. 2018,
// arXiv:1707.07397):
//
//	maximise E[ℓ(A(p, x, T), y)] over the pixels p, with x and placements T drawn at random; A puts p into x by T
//
// Fit learns it on some examples; what it returns is an attack itself, to be measured by [advlib.Run] on others, and
// can be printed.
type AdversarialPatch struct {
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Shape is the outline; a circle if zero, as in the paper.
	Shape PatchShape
	// Placements say where and how the patch may appear.
	Placements Placements
	// Loss is ascended; nil means cross-entropy, as in the paper.
	Loss advlib.Loss
	// Resolution is the number of pixels along a side of the patch; 0 means as many as it covers in the image where it is
	// largest.
	Resolution int
	// Steps of Adam; 0 means 500.
	Steps int
	// BatchSize is how many examples a step's gradient is the mean of, at most 512; 0 means 32.
	BatchSize int
	// Samples is how many placements are drawn for each example of a step; 0 means 1.
	Samples int
	// LearningRate of Adam, in widths of the box; it falls to a tenth along a cosine. 0 means 0.05.
	LearningRate float64
	// Seed draws the order of the examples, and all placements.
	Seed uint64
}

// Describe implements [craft.Described].
func (a *AdversarialPatch) Describe(d *craft.Description) {
	d.Paper("Brown et al. 2017, arXiv:1712.09665")
	d.Gradients()
	d.Goal(&a.Goal)
	d.Budget(advlib.Ball{Norm: advlib.L0}, a.Shape.String())
	if v := d.Victim(); v != nil {
		d.Threat(patchThreat(v, a.Shape, a.Placements, a.Goal))
	}
	a.Placements = a.Placements.filled()
	d.Part(&a.Placements)
	d.Loss(&a.Loss, advlib.CrossEntropy)
	d.Count(&a.Resolution, 0).As("%[1]d × %[1]d pixels")
	d.Count(&a.Steps, 500)
	batchSize(d, &a.BatchSize, 32)
	d.Count(&a.Samples, 1).As("%d placements")
	d.Size(&a.LearningRate, 0.05).As("rate %g")
	d.Name("patch-%d,", a.Steps)
	d.Refuse(a.BatchSize*a.Samples > craft.MaxRows,
		"%d placements for each of %d examples in a step are more than %d: lower Samples or BatchSize",
		a.Samples, a.BatchSize, craft.MaxRows)
}

// String returns for example "patch-500, circle, 0.3–0.5 of the side, ±22.5°, light ±0.1".
func (a AdversarialPatch) String() string { return craft.Name(a) }

// Threat checks the fields against the classifier, and says what may be changed and what is wanted; see [Patch.Threat].
func (a AdversarialPatch) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

func (a AdversarialPatch) resolution(on plane) int {
	if a.Resolution > 0 {
		return a.Resolution
	}
	_, largest := a.Placements.sides()
	return max(1, int(math.Ceil(largest*on.shorter())))
}

// patchThreat is the threat of a patch.
func patchThreat(v advlib.Victim, shape PatchShape, p Placements, goal advlib.Goal) (advlib.Threat, error) {
	threat := advlib.Threat{Norm: advlib.L0, Goal: goal}
	on, err := planeOf(v.Signature().Input)
	if err != nil {
		return threat, err
	}
	if err := checkOwnInputs(v); err != nil {
		return threat, err
	}
	if shape < PatchCircle || shape > PatchSquare {
		return threat, fmt.Errorf("%v is not one of PatchCircle and PatchSquare", shape)
	}
	if err := p.check(); err != nil {
		return threat, fmt.Errorf("placements: %w", err)
	}
	_, largest := p.sides()
	threat.Radius = float64(on.most(shape, largest*on.shorter()) * on.channels)
	return threat, nil
}

// Fit learns a patch on examples, and measures it on them, at other placements than those of the steps. Examples that
// the classifier gets wrong without it are not learned from. When ctx is done it returns the patch so far with
// ctx.Err().
func (a AdversarialPatch) Fit(ctx context.Context, c *advlib.Classifier, train *advlib.Examples) (*Patch, *advlib.Result, error) {
	p := &Patch{Name: a.String(), Shape: a.Shape, Placements: a.Placements, Goal: a.Goal}
	if c != nil {
		if on, err := planeOf(c.Input()); err == nil {
			p.Size, p.Channels, p.Box = a.resolution(on), on.channels, c.Box()
			p.Pixels = slices.Repeat([]float32{float32((p.Box.Lo + p.Box.Hi) / 2)}, p.Size*p.Size*p.Channels)
		}
	}
	l := &lesson{threatened: a, learn: func(ctx context.Context, v *advlib.Counted, b advlib.Batch) (advlib.Attack, error) {
		pixels, err := a.learn(ctx, v, b, p)
		if pixels != nil {
			p.Pixels = pixels
		}
		return p, err
	}}
	res, err := l.run(ctx, c, train, a.Seed)
	if res == nil {
		return nil, nil, err
	}
	return p, res, err
}

// learn returns the pixels of the patch, from those of start on.
func (a AdversarialPatch) learn(ctx context.Context, v *advlib.Counted, b advlib.Batch, start *Patch) ([]float32, error) {
	a = craft.Filled(a)
	on, err := planeOf(v.Signature().Input)
	if err != nil {
		return nil, err
	}
	key, limits := patchStep{loss: a.Loss}, v.Signature().Limits()
	step := craft.Compile(v, b, key, key.graph)
	u := newUniversal(v, b)
	p := tensors.FromFlatDataAndDimensions(slices.Clone(start.Pixels), start.Size*start.Size, start.Channels)
	state := []*tensors.Tensor{p, tensors.FromShape(p.Shape()), tensors.FromShape(p.Shape())} // with Adam's moments
	defer func() { advlib.Free(state...) }()
	var order []int
	for k, epoch := 0, 0; k < a.Steps; k++ {
		if err := ctx.Err(); err != nil {
			return tensors.MustCopyFlatData[float32](state[0]), err
		}
		if len(order) == 0 {
			order, epoch = u.shuffled(a.Seed, epoch), epoch+1
		}
		n := min(a.BatchSize, len(order))
		var rows []int
		var placements []placement
		for s := range a.Samples {
			for _, row := range order[:n] {
				rows = append(rows, row)
				placements = append(placements, a.Placements.draw(b.Rand(row, patchStream+uint64(k*a.Samples+s)), on, a.Shape, limits.Box()))
			}
		}
		order = order[n:]
		g := craft.NewRows(b, rows)
		at := gridsOf(placements, g.Size, on, start.Size)
		weights := tensors.FromFlatDataAndDimensions(shares(len(rows), g.Size), g.Size)
		in := append(at.inputs(), weights)
		for _, s := range state {
			in = append(in, s)
		}
		η := craft.Cosine(a.LearningRate, a.LearningRate/10, k, a.Steps) * limits.Width()
		out, err := g.Run(step, append(in, float32(adamRate(η, k)))...)
		g.Free()
		at.free()
		advlib.Free(weights)
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", k, err)
		}
		advlib.Free(state...)
		state = out[:3:3]
		advlib.Free(out[3])
	}
	return tensors.MustCopyFlatData[float32](state[0]), nil
}

// Streams of random numbers: what a patch is measured with, and the first of those it is learned with.
const (
	measureStream = 0
	patchStream   = 1
)

// patchStep determines the graph of a step.
type patchStep struct {
	loss advlib.Loss
}

// graph is one step on equation 1 of Brown et al. (2017), with weights w [n] that sum to 1: the expectation is the mean
// over rows, each of which has its own example and placement.
//
//	g = ∇ₚ Σᵢ wᵢ·ℓ(A(p, xᵢ, Tᵢ), yᵢ),  p ← clip(p + η·Adam(g))
//
// It returns p, Adam's moments, and g.
func (s patchStep) graph(p *craft.Point, in []*Node) []*Node {
	grid, w, patch, m1, m2, η := in[:4], in[4], in[5], in[6], in[7], in[8]
	x := place(p.X0, patch, grid, p.Limits)
	L := Mul(w, s.loss.Of(p.Logits(x), p.Goal))
	gx := StopGradient(p.Gradient(L, x))
	g := Gradient(ReduceAllSum(Mul(gx, x)), patch)[0] // the chain rule: ∂x/∂p is that of the interpolation
	m1, m2, change := adam(m1, m2, Neg(g))
	return []*Node{p.Limits.Box().Clip(Add(patch, Mul(η, change))), m1, m2, g}
}

// Patch is a patch that was learned: an attack that puts it into each example, once, at a placement drawn by the seed
// and the example's content. Its success rate is an average over examples and placements; [Repeat] tries several on
// each.
type Patch struct {
	// Name says how it was made.
	Name string
	// Shape is its outline.
	Shape PatchShape
	// Placements are those it was made for, and is measured at.
	Placements Placements
	// Goal is what it was made for, and is measured by.
	Goal advlib.Goal
	// Size is the number of pixels along a side, Channels the number of values of each, Box the range of these.
	Size, Channels int
	Box            advlib.Box
	// Pixels are Size × Size × Channels values, row by row; those outside of the outline are never seen.
	Pixels []float32
}

// String returns for example "patch-500, circle, 0.3–0.5 of the side, ±22.5°, light ±0.1".
func (p Patch) String() string { return p.Name }

// Threat implements [advlib.Attack]. A patch has no ball of a norm: inside of its outline everything may change, and
// nothing outside. What contains it is the L0 ball whose radius is the number of values that it covers where it is
// largest, bounded from above. So distances are counts of values, a certificate for that ball holds against the patch,
// and an attack in that ball may do more than a patch can.
func (p Patch) Threat(v advlib.Victim) (advlib.Threat, error) {
	threat, err := patchThreat(v, p.Shape, p.Placements, p.Goal)
	if err != nil {
		return threat, err
	}
	on, err := planeOf(v.Signature().Input)
	switch {
	case err != nil:
		return threat, err
	case on.channels != p.Channels || v.Signature().Box != p.Box:
		return threat, fmt.Errorf("the patch has %d channels in %v, inputs of %s %d in %v", p.Channels, p.Box, v.Name(), on.channels,
			v.Signature().Box)
	case p.Size < 1 || len(p.Pixels) != p.Size*p.Size*p.Channels:
		return threat, fmt.Errorf("the patch has %d values, %d × %d pixels of %d channels need %d", len(p.Pixels), p.Size, p.Size,
			p.Channels, p.Size*p.Size*p.Channels)
	}
	for j, v := range p.Pixels {
		if !p.Box.Contains(v) {
			return threat, fmt.Errorf("the patch holds %g at %d, which is outside of the box %v", v, j, p.Box)
		}
	}
	return threat, nil
}

// Perturb implements [advlib.Attack].
func (p Patch) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	limits := v.Signature().Limits()
	on, err := planeOf(v.Signature().Input)
	if err != nil {
		return nil, err
	}
	adv := craft.NewBest(b)
	for i := range b.Len() {
		at := p.Placements.draw(b.Rand(i, measureStream), on, p.Shape, limits.Box())
		at.paste(adv.Row(i), p.Pixels, on, p.Size, limits)
	}
	return adv.Tensor(), ctx.Err()
}

// Image returns the patch, transparent outside of its outline, to be shown, or printed by show.Printed. Gray and
// colours are shown as what they are; other numbers of channels by their mean.
func (p Patch) Image() image.Image {
	img := image.NewNRGBA(image.Rect(0, 0, p.Size, p.Size))
	level := func(v float64) uint8 {
		return uint8(math.Round(255 * min(max((v-p.Box.Lo)/p.Box.Width(), 0), 1)))
	}
	for i := range p.Size {
		for j := range p.Size {
			u, v := (float64(i)+0.5)/float64(p.Size)-0.5, (float64(j)+0.5)/float64(p.Size)-0.5
			if p.Shape == PatchCircle && u*u+v*v > 0.25 {
				continue
			}
			pixel := p.Pixels[(i*p.Size+j)*p.Channels : (i*p.Size+j+1)*p.Channels]
			c := color.NRGBA{A: 255}
			if p.Channels == 3 {
				c.R, c.G, c.B = level(float64(pixel[0])), level(float64(pixel[1])), level(float64(pixel[2]))
			} else {
				mean := 0.
				for _, v := range pixel {
					mean += float64(v) / float64(p.Channels)
				}
				c.R, c.G, c.B = level(mean), level(mean), level(mean)
			}
			img.SetNRGBA(j, i, c)
		}
	}
	return img
}

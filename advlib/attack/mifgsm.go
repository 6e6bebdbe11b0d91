package attack

import (
	"context"
	"math"

	. "advlab/advlib/internal/equation"

	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
	"advlab/advlib/attack/craft"
)

func init() {
	register[MIFGSM](InBall, Command{Name: "mifgsm", About: "10 steps with momentum",
		Make: func(b advlib.Ball) advlib.Attack { return MIFGSM{Ball: b} }})
}

// MIFGSM is the momentum iterative method of Dong et al. (2018), arXiv:1710.06081, algorithm 1, with the variants that
// make its examples transfer to other models: Nesterov (NI), Diversity (DI) and Smoothing (TI), in any combination. It
// makes all its steps even where an adversarial example is found earlier, because the later ones transfer better.
//
// It returns the last iterate, or the last adversarial one where the last is not; the paper always returns the last.
type MIFGSM struct {
	// Ball is what may be changed; its norm is L2 or Linf, as in the paper: in L1 the steepest ascent of a momentum would
	// go on moving one coordinate. It must be set.
	Ball advlib.Ball
	// Goal is untargeted if zero.
	Goal advlib.Goal
	// Loss is ascended; nil means cross-entropy.
	Loss advlib.Loss
	// Steps is the number of steps; 0 means 10.
	Steps int
	// StepSize is α, the length of a step in the ball's norm, in units of the box; 0 means ε/Steps.
	StepSize float64
	// Decay is μ, what is left of the momentum after a step; 0 means 1.
	Decay float64
	// Nesterov takes the gradient where the momentum leads: Lin et al. (2020), arXiv:1908.06281, equation 6.
	Nesterov bool
	// Diversity is the probability with which a step takes its gradient through a smaller copy of the image at a random
	// place: Xie et al. (2019), arXiv:1803.06978, section 3.3, who use 0.5. The copy has 0.9 to 1 of the size; what is
	// around it is Lo of the box. 0 is never.
	Diversity float64
	// Smoothing is the width in pixels, odd, of the Gaussian that smooths the gradient: Dong et al. (2019),
	// arXiv:1904.02884, equation 8, who use 15. Its standard deviation is a sixth of Smoothing − 1. 0 is none.
	Smoothing int
}

// Describe implements [craft.Described].
func (a *MIFGSM) Describe(d *craft.Description) {
	d.Paper("Dong et al. 2018, arXiv:1710.06081")
	d.Gradients()
	d.Refuse(a.Ball.Norm == advlib.Norm(advlib.L1), "there is no momentum iterative method in L1: use APGD, or PGD")
	d.Ball(&a.Ball, advlib.L2, advlib.Linf)
	d.Goal(&a.Goal)
	d.Loss(&a.Loss, advlib.CrossEntropy)
	d.Count(&a.Steps, 10)
	d.Size(&a.StepSize, a.Ball.Radius/float64(a.Steps)).As("α = %.6g")
	d.Size(&a.Decay, 1).As("μ = %g")
	d.Number(&a.Diversity, 0, a.Diversity >= 0 && a.Diversity <= 1, "is not a probability").As("diversity %g")
	d.Count(&a.Smoothing, 0).As("smoothing %d")
	name := "MI-FGSM"
	if a.Nesterov {
		name = "NI-FGSM"
	}
	if a.Diversity != 0 {
		name = "DI-" + name
	}
	if a.Smoothing != 0 {
		name = "TI-" + name
	}
	d.Name("%s-%d", name, a.Steps)
	d.Passes(a.Steps, a.Steps)
	d.Refuse(a.Smoothing > 0 && a.Smoothing%2 == 0,
		"Smoothing = %d is not the width of a window around a pixel: give an odd number, or 0 for none", a.Smoothing)
	if v := d.Victim(); v != nil && (a.Diversity > 0 || a.Smoothing > 0) {
		s := v.Signature()
		d.Refuse(len(s.Input) < 2, "Diversity and Smoothing need images, of shape [height, width] or [height, width, channels], "+
			"but the classifier %s takes %v", v.Name(), s.Input)
		d.Refuse(a.Diversity > 0 && s.Limits().Encoded(), "Diversity moves the image about, and what pixels of the classifier %s stand for "+
			"depends on where they are, because its domain (%v) has scales, steps, categories or derived features: leave Diversity out",
			v.Name(), s.Domain)
	}
}

// String returns for example "MI-FGSM-10 Linf ≤ 0.1" or "TI-DI-NI-FGSM-10 Linf ≤ 0.1, diversity 0.5, smoothing 15".
func (a MIFGSM) String() string { return craft.Name(a) }

// Threat implements [advlib.Attack].
func (a MIFGSM) Threat(v advlib.Victim) (advlib.Threat, error) { return craft.Threat(a, v) }

// Plan implements [advlib.Planner].
func (a MIFGSM) Plan(v advlib.Victim) (forward, backward float64, known bool) {
	return craft.Plan(a, v)
}

// Perturb implements [advlib.Attack].
func (a MIFGSM) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	a, err := craft.Ready(a, v, b)
	if err != nil {
		return nil, err
	}
	key := mifgsmStep{
		norm: a.Ball.Norm.(advlib.ConvexNorm), loss: a.Loss, nesterov: a.Nesterov, diverse: a.Diversity > 0, smoothing: a.Smoothing,
	}
	climb := craft.Compile(v, b, key, key.graph)
	key.last = true
	judge := craft.Compile(v, b, key, key.graph)
	return craft.Each(ctx, b, func(s *craft.Search) error {
		s.Push(tensors.FromFlatDataAndDimensions(make([]bool, s.Size), s.Size), s.Originals(), s.Zeros())
		for k := range a.Steps {
			in := []any{float32(a.Ball.Radius), float32(a.StepSize), float32(a.Decay)}
			if key.diverse {
				in = append(in, a.places(s.Rows, k)...)
			}
			if _, err := s.Run(ctx, climb, in...); err != nil {
				return err
			}
		}
		_, err := s.Run(ctx, judge)
		return err
	})
}

// smallest is the least size of the copies of Diversity, as a share of the image's.
const smallest = 0.9

// places draws where step k puts the copies of the rows: height, width, top and left, in pixels.
func (a MIFGSM) places(s *craft.Rows, k int) []any {
	h, w, size := s.X0.Shape().Dimensions[1], s.X0.Shape().Dimensions[2], s.Size
	height, width, top, left := make([]float32, size), make([]float32, size), make([]float32, size), make([]float32, size)
	for i := range size { // padding: the whole image
		height[i], width[i] = float32(h), float32(w)
	}
	for i, row := range s.At {
		r := s.Batch.Rand(row, uint64(k))
		if r.Float64() >= a.Diversity {
			continue
		}
		scale := smallest + (1-smallest)*r.Float64()
		ch, cw := max(1, int(math.Round(scale*float64(h)))), max(1, int(math.Round(scale*float64(w))))
		height[i], width[i] = float32(ch), float32(cw)
		top[i], left[i] = float32(r.IntN(h-ch+1)), float32(r.IntN(w-cw+1))
	}
	return []any{height, width, top, left}
}

// mifgsmStep determines the graphs of MI-FGSM.
type mifgsmStep struct {
	norm              advlib.ConvexNorm
	loss              advlib.Loss
	nesterov, diverse bool
	smoothing         int
	last              bool // judge only
}

// graph judges the iterate x and steps on: Dong et al. (2018), equations 6 and 7,
//
//	g ← μ·g + ∇ₓL / mean|∇ₓL|,  x ← Π(x + α·d),  d = argmax ⟨d, g⟩ over ‖d‖ ≤ 1
//
// The paper divides by the sum of the magnitudes, its code by their mean: the steps are the same, but the point x +
// α·μ·g in which Nesterov's variant takes the gradient is only a step away from x when it is the mean.
//
// What is returned in the end comes first: the last iterate that was adversarial, and where none was the last one.
func (s mifgsmStep) graph(p *craft.Point, in []*Node) []*Node {
	result, hit, x, g := in[0], in[1], in[2], in[3]
	z := p.Logits(x)
	now := p.Reached(z)
	result, hit = Where(craft.PerRow(now, x), x, result), LogicalOr(hit, now)
	if s.last {
		return []*Node{result, hit, x, g}
	}
	ε, α, μ := in[4], in[5], in[6]

	at := x
	if s.nesterov {
		at = Add(x, Mul(Mul(α, μ), g))
	}
	seen := at
	if s.diverse {
		seen = shrunk(at, in[7], in[8], in[9], in[10], p.Limits.Box().Lo)
	}
	if seen != x {
		z = p.Logits(seen)
	}
	slope := p.Direction(s.norm, s.loss.Of(z, p.Goal), at)
	if s.smoothing > 0 {
		slope = smoothed(slope, s.smoothing)
	}
	size := MulScalar(craft.SumRows(Abs(slope)), 1/float64(p.Limits.Free()))
	safe := Where(Equal(size, ZerosLike(size)), OnesLike(size), size)
	g = Add(Mul(μ, g), Div(slope, craft.PerRow(safe, slope)))

	x = p.Project(s.norm, Add(x, Mul(α, s.norm.Ascend(g))), ε)
	return []*Node{Where(craft.PerRow(hit, x), result, x), hit, x, g}
}

// shrunk returns the images x [n, h, w, ...], each resized to its own height × width [n] by linear interpolation, at
// its own top and left [n], with the rest filled. Both resizings are linear maps of one axis, and are computed as
// matrices, so that each row may have its own.
func shrunk(x, height, width, top, left *Node, fill float64) *Node {
	dims := x.Shape().Dimensions
	n, h, w := dims[0], dims[1], dims[2]
	x = Reshape(AddScalar(x, -fill), n, h, w, -1)
	x = Einsum("nij,njwc->niwc", resizing(h, height, top), x)
	x = Einsum("nij,nhjc->nhic", resizing(w, width, left), x)
	return AddScalar(Reshape(x, dims...), fill)
}

// resizing returns the matrices [n, d, d] of linear interpolation from d pixels to size of them, beginning at the pixel
// begin; other rows are 0. Pixel i of the copy shows the place (i + ½)·d/size − ½ of the original, as far as it has
// one.
func resizing(d int, size, begin *Node) *Node {
	n := size.Shape().Dimensions[0]
	wide := func(v *Node) *Node { return BroadcastToDims(Reshape(v, n, 1, 1), n, d, d) }
	g := size.Graph()
	i, j := Iota(g, wide(size).Shape(), 1), Iota(g, wide(size).Shape(), 2)
	k := Sub(i, wide(begin))
	place := AddScalar(Div(MulScalar(AddScalar(k, 0.5), float64(d)), wide(size)), -0.5)
	place = ClipScalar(place, 0, float64(d-1))
	weight := MaxScalar(OneMinus(Abs(Sub(place, j))), 0)
	inside := LogicalAnd(GreaterOrEqual(k, ZerosLike(k)), LessThan(k, wide(size)))
	return Where(inside, weight, ZerosLike(weight))
}

// smoothed returns gradients g [n, h, w, ...] convolved along both axes of the image with a Gaussian of the given
// width, zero outside.
func smoothed(g *Node, width int) *Node {
	dims := g.Shape().Dimensions
	x := Reshape(g, dims[0], dims[1], dims[2], -1)
	x = Einsum("ij,njwc->niwc", Const(g.Graph(), gaussian(dims[1], width)), x)
	x = Einsum("ij,nhjc->nhic", Const(g.Graph(), gaussian(dims[2], width)), x)
	return Reshape(x, dims...)
}

// gaussian returns the d×d matrix of the convolution with a Gaussian of the given odd width, in pixels, three standard
// deviations to each side, of sum 1.
func gaussian(d, width int) [][]float32 {
	half := width / 2
	weights, sum := make([]float64, width), 0.
	for k := range weights {
		u := 3 * float64(k-half) / float64(max(half, 1))
		weights[k] = math.Exp(-u * u / 2)
		sum += weights[k]
	}
	m := make([][]float32, d)
	for i := range m {
		m[i] = make([]float32, d)
		for j := max(0, i-half); j <= min(d-1, i+half); j++ {
			m[i][j] = float32(weights[j-i+half] / sum)
		}
	}
	return m
}

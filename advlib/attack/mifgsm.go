package attack

import (
	"context"
	"fmt"
	"math"

	. "advlab/advlib/internal/equation"
	"github.com/gomlx/gomlx/core/tensors"

	"advlab/advlib"
)

// MIFGSM is the momentum iterative method of Dong et al. (2018), arXiv:1710.06081, algorithm 1, with the variants that make its examples
// transfer to other models: Nesterov (NI), Diversity (DI) and Smoothing (TI), in any combination. It makes all its steps even where
// an adversarial example is found earlier, because the later ones transfer better.
//
// It returns the last iterate, or the last adversarial one where the last is not; the paper always returns the last.
type MIFGSM struct {
	// Ball is what may be changed; its norm is L2 or Linf, as in the paper: in L1 the steepest ascent of a momentum would go on moving one
	// coordinate. It must be set.
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
	// Diversity is the probability with which a step takes its gradient through a smaller copy of the image at a random place: Xie et al. (2019),
	// arXiv:1803.06978, section 3.3, who use 0.5. The copy has 0.9 to 1 of the size; what is around it is Lo of the box. 0 is never.
	Diversity float64
	// Smoothing is the width in pixels, odd, of the Gaussian that smooths the gradient: Dong et al. (2019), arXiv:1904.02884, equation 8, who
	// use 15. Its standard deviation is a sixth of Smoothing − 1. 0 is none.
	Smoothing int
}

// String returns for example "MI-FGSM-10 Linf ≤ 0.1" or "TI-DI-NI-FGSM-10 Linf ≤ 0.1, diversity 0.5, smoothing 15".
func (a MIFGSM) String() string {
	name := "MI-FGSM"
	if a.Nesterov {
		name = "NI-FGSM"
	}
	var α, μ, diversity, smoothing string
	if a.Diversity != 0 {
		name, diversity = "DI-"+name, fmt.Sprintf("diversity %g", a.Diversity)
	}
	if a.Smoothing != 0 {
		name, smoothing = "TI-"+name, fmt.Sprintf("smoothing %d", a.Smoothing)
	}
	if a.StepSize != 0 {
		α = fmt.Sprintf("α = %.6g", a.StepSize)
	}
	if a.Decay != 0 {
		μ = fmt.Sprintf("μ = %g", a.Decay)
	}
	return named(fmt.Sprintf("%s-%d", name, a.steps()), a.Ball.String(), a.Goal, lossName(a.Loss), α, μ, diversity, smoothing)
}

func (a MIFGSM) steps() int { return numberOr(a.Steps, 10) }

func (a MIFGSM) stepSize() float64 {
	return numberOr(a.StepSize, a.Ball.Radius/float64(a.steps()))
}

func (a MIFGSM) loss() advlib.Loss { return lossOr(a.Loss, advlib.CrossEntropy) }

func (a MIFGSM) μ() float64 { return numberOr(a.Decay, 1) }

// filled implements [indexed].
func (a MIFGSM) filled() any {
	a.Loss, a.Steps, a.StepSize, a.Decay = a.loss(), a.steps(), a.stepSize(), a.μ()
	return a
}

// Threat implements [advlib.Attack].
func (a MIFGSM) Threat(v advlib.Victim) (advlib.Threat, error) {
	if err := checkGradient(v); err != nil {
		return advlib.Threat{}, err
	}
	threat := advlib.Threat{Norm: a.Ball.Norm, Radius: a.Ball.Radius, Goal: a.Goal}
	if err := checkBall(a.Ball); err != nil {
		return threat, err
	}
	if err := checkCount("Steps", a.Steps); err != nil {
		return threat, err
	}
	if err := checkSize("StepSize", a.StepSize); err != nil {
		return threat, err
	}
	if err := checkSize("Decay", a.Decay); err != nil {
		return threat, err
	}
	switch {
	case a.Ball.Norm == advlib.Norm(advlib.L1):
		return threat, fmt.Errorf("there is no momentum iterative method in L1: use APGD, or PGD")
	case math.IsNaN(a.Diversity) || a.Diversity < 0 || a.Diversity > 1:
		return threat, fmt.Errorf("Diversity = %g is not a probability", a.Diversity)
	case a.Smoothing < 0 || a.Smoothing > 0 && a.Smoothing%2 == 0:
		return threat, fmt.Errorf("Smoothing = %d is not the width of a window around a pixel: give an odd number, or 0 for none", a.Smoothing)
	case (a.Diversity > 0 || a.Smoothing > 0) && len(v.Signature().Input) < 2:
		return threat, fmt.Errorf("Diversity and Smoothing need images, of shape [height, width] or [height, width, channels], but the classifier %s takes %v", v.Name(), v.Signature().Input)
	case a.Diversity > 0 && v.Signature().Limits().Encoded():
		return threat, fmt.Errorf("Diversity moves the image about, and what pixels of the classifier %s stand for depends on where they are, because its domain (%v) has scales, steps or categories: leave Diversity out", v.Name(), v.Signature().Domain)
	}
	return threat, a.checkGoal(v, a.Goal.IsTargeted())
}

func (a MIFGSM) checkGoal(v advlib.Victim, targeted bool) error {
	return checkLoss(a.loss(), v.Signature().Classes, targeted)
}

// Perturb implements [advlib.Attack].
func (a MIFGSM) Perturb(ctx context.Context, v *advlib.Counted, b advlib.Batch) (*tensors.Tensor, error) {
	limits := v.Signature().Limits()
	if err := a.checkGoal(v, b.Target != nil); err != nil {
		return nil, err
	}
	key := mifgsmStep{norm: a.Ball.Norm.(advlib.ConvexNorm), loss: a.loss(), wish: wishOf(b), nesterov: a.Nesterov, diverse: a.Diversity > 0, smoothing: a.Smoothing}
	climb := v.Compile(key, func(m *advlib.Model, in []*Node) []*Node { return key.graph(m, limits, in) })
	end := key
	end.last = true
	judge := v.Compile(end, func(m *advlib.Model, in []*Node) []*Node { return end.graph(m, limits, in) })
	adv := newCandidates(b)
	for _, rows := range pieces(b) {
		g := newGroup(b, rows)
		x, kept := advlib.TakeRows(b.X, rows, g.size), advlib.TakeRows(b.X, rows, g.size)
		velocity := tensors.FromShape(x.Shape())
		hit := tensors.FromFlatDataAndDimensions(make([]bool, g.size), g.size)
		var err error
		for k := 0; k <= a.steps(); k++ {
			if err = ctx.Err(); err != nil {
				break
			}
			var out []*tensors.Tensor
			if k == a.steps() {
				if out, err = judge.Run(len(rows), append(g.inputs(), x, kept, hit)...); err == nil {
					advlib.Free(kept, hit)
					kept, hit = out[0], out[1]
				}
				break
			}
			in := append(g.inputs(), x, kept, hit, velocity, float32(a.Ball.Radius), float32(a.stepSize()), float32(a.μ()))
			if key.diverse {
				in = append(in, a.places(b, rows, k, g.size)...)
			}
			if out, err = climb.Run(len(rows), in...); err != nil {
				err = fmt.Errorf("step %d on %d examples: %w", k, len(rows), err)
				break
			}
			advlib.Free(kept, hit, x, velocity)
			kept, hit, x, velocity = out[0], out[1], out[2], out[3]
		}
		adv.put(rows, x, nil)
		adv.put(rows, kept, tensors.MustCopyFlatData[bool](hit))
		g.free()
		advlib.Free(kept, hit, x, velocity)
		if err != nil {
			if ctx.Err() == nil {
				return nil, err
			}
			return adv.tensor(), err
		}
	}
	return adv.tensor(), nil
}

// smallest is the least size of the copies of Diversity, as a share of the image's.
const smallest = 0.9

// places draws where step k puts the copies of the rows: height, width, top and left, in pixels.
func (a MIFGSM) places(b advlib.Batch, rows []int, k, size int) []any {
	h, w := b.X.Shape().Dimensions[1], b.X.Shape().Dimensions[2]
	height, width, top, left := make([]float32, size), make([]float32, size), make([]float32, size), make([]float32, size)
	for i := range size { // padding: the whole image
		height[i], width[i] = float32(h), float32(w)
	}
	for i, row := range rows {
		r := b.Rand(row, uint64(k))
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
	wish              wish
	nesterov, diverse bool
	smoothing         int
	last              bool
}

// graph judges the iterate x and steps on: Dong et al. (2018), equations 6 and 7,
//
//	g ← μ·g + ∇ₓL / mean|∇ₓL|,  x ← Π(x + α·d),  d = argmax ⟨d, g⟩ over ‖d‖ ≤ 1
//
// The paper divides by the sum of the magnitudes, its code by their mean: the steps are the same, but the point x + α·μ·g in which Nesterov's
// variant takes the gradient is only a step away from x when it is the mean.
func (s mifgsmStep) graph(m *advlib.Model, limits advlib.Limits, in []*Node) []*Node {
	x0, aim, rest := s.wish.read(in)
	x, kept, hit := rest[0], rest[1], rest[2]
	z := m.Logits(x)
	now := GreaterThan(clearance(z, aim), ScalarZero(x.Graph(), x.DType()))
	kept, hit = Where(perRow(now, x), x, kept), LogicalOr(hit, now)
	if s.last {
		return []*Node{kept, hit}
	}
	g, ε, α, μ := rest[3], rest[4], rest[5], rest[6]

	at := x
	if s.nesterov {
		at = Add(x, Mul(Mul(α, μ), g))
	}
	seen := at
	if s.diverse {
		seen = shrunk(at, rest[7], rest[8], rest[9], rest[10], limits.Box().Lo)
	}
	if seen != x {
		z = m.Logits(seen)
	}
	slope := m.Direction(s.norm, s.loss.Of(z, aim), at)
	if s.smoothing > 0 {
		slope = smoothed(slope, s.smoothing)
	}
	size := MulScalar(sumRows(Abs(slope)), 1/float64(limits.Free()))
	safe := Where(Equal(size, ZerosLike(size)), OnesLike(size), size)
	g = Add(Mul(μ, g), Div(slope, perRow(safe, slope)))

	lo, hi := limits.Room(x0, x0)
	δ := s.norm.Project(Sub(Add(x, Mul(α, s.norm.Ascend(g))), x0), ε, lo, hi)
	return []*Node{kept, hit, limits.Clip(Add(x0, δ), x0), g}
}

// shrunk returns the images x [n, h, w, ...], each resized to its own height × width [n] by linear interpolation, at its own top and left [n], with
// the rest filled. Both resizings are linear maps of one axis, and are computed as matrices, so that each row may have its own.
func shrunk(x, height, width, top, left *Node, fill float64) *Node {
	dims := x.Shape().Dimensions
	n, h, w := dims[0], dims[1], dims[2]
	x = Reshape(AddScalar(x, -fill), n, h, w, -1)
	x = Einsum("nij,njwc->niwc", resizing(h, height, top), x)
	x = Einsum("nij,nhjc->nhic", resizing(w, width, left), x)
	return AddScalar(Reshape(x, dims...), fill)
}

// resizing returns the matrices [n, d, d] of linear interpolation from d pixels to size of them, beginning at the pixel begin; other rows are 0.
// Pixel i of the copy shows the place (i + ½)·d/size − ½ of the original, as far as it has one.
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

// smoothed returns gradients g [n, h, w, ...] convolved along both axes of the image with a Gaussian of the given width, zero outside.
func smoothed(g *Node, width int) *Node {
	dims := g.Shape().Dimensions
	x := Reshape(g, dims[0], dims[1], dims[2], -1)
	x = Einsum("ij,njwc->niwc", Const(g.Graph(), gaussian(dims[1], width)), x)
	x = Einsum("ij,nhjc->nhic", Const(g.Graph(), gaussian(dims[2], width)), x)
	return Reshape(x, dims...)
}

// gaussian returns the d×d matrix of the convolution with a Gaussian of the given odd width, in pixels, three standard deviations to each side, of
// sum 1.
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

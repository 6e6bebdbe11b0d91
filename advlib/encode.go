package advlib

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
)

// encoding is how inputs appear to attacks on a classifier whose [Domain] has scales, steps, categories or derived
// features. An encoded input is a point u, in units of the scales, and beside it the original x that u is around. The
// original's coordinates are fixed: they are there so that the model can tell, from its input alone, which admissible
// value is on the way from x to u.
type encoding struct{ *layout }

// shape returns the shape of an encoded input: [2d] of [d], with u before x; [d…, 2] of others, so that what is an
// image remains one.
func (e encoding) shape() []int {
	if len(e.layout.shape) == 1 {
		return []int{2 * e.layout.shape[0]}
	}
	return append(slices.Clone(e.layout.shape), 2)
}

// at returns where the point's coordinate j is in an encoded input, and that of the original.
func (e encoding) at(j int) (point, original int) {
	if len(e.layout.shape) == 1 {
		return j, e.layout.shape[0] + j
	}
	return 2 * j, 2*j + 1
}

// coordinate returns which coordinate of an input is at j of an encoded one.
func (e encoding) coordinate(j int) int {
	if len(e.layout.shape) == 1 {
		return j % e.layout.shape[0]
	}
	return j / 2
}

// limits are those of encoded inputs. That the original category's coordinate is at its upper end, and none may fall,
// holds it.
func (e encoding) limits() Limits {
	d := product(e.layout.shape)
	ranges, change := make([]Box, 2*d), make([]Change, 2*d)
	box := Box{}
	for i, f := range e.features {
		for j := e.first[i]; j < e.first[i]+f.coordinates(); j++ {
			point, original := e.at(j)
			ranges[point] = Box{0, float64(f.encode(float32(f.Hi)))}
			if change[point] = f.Change; f.OneHot > 0 && f.Change != Fixed {
				change[point] = RiseOnly
			}
			ranges[original], change[original] = Box{f.Lo, f.Hi}, Fixed
			for _, r := range []Box{ranges[point], ranges[original]} {
				box = Box{min(box.Lo, r.Lo), max(box.Hi, r.Hi)}
			}
		}
	}
	lim := boxLimits(box, e.shape())
	lim.set(ranges, change, e.span())
	lim.encoded = true
	return lim
}

// encode returns v in units of the scale. It is computed in float32 throughout, so that equal values have equal codes.
func (f Feature) encode(v float32) float32 { return (v - float32(f.Lo)) / float32(f.Scale) }

// encode returns inputs [n, d…] encoded, each around itself.
func (e encoding) encode(x *tensors.Tensor) *tensors.Tensor {
	n := x.Shape().Dimensions[0]
	out := tensors.FromShape(shapeOf(float32Type, append([]int{n}, e.shape()...)...))
	tensors.MustConstFlatData(x, func(from []float32) {
		d := len(from) / n
		tensors.MustMutableFlatData(out, func(to []float32) {
			for r := range n {
				copy(to[2*r*d:], e.row(from[r*d:(r+1)*d]))
			}
		})
	})
	return out
}

// row returns one flat input encoded, around itself.
func (e encoding) row(x []float32) []float32 {
	to := make([]float32, 2*len(x))
	for i, f := range e.features {
		for j := e.first[i]; j < e.first[i]+f.coordinates(); j++ {
			point, original := e.at(j)
			to[point], to[original] = f.encode(x[j]), x[j]
		}
	}
	return to
}

// decode returns the admissible inputs [n, d…] that encoded ones stand for; its gradient goes straight through.
func (e encoding) decode(in *Node) *Node {
	n, d := in.Shape().Dimensions[0], product(e.layout.shape)
	var u, x *Node
	if len(e.layout.shape) == 1 {
		u, x = Slice(in, AxisRange(), AxisRange(0, d)), Slice(in, AxisRange(), AxisRange(d))
	} else {
		in = Reshape(in, n, d, 2)
		u, x = Reshape(Slice(in, AxisRange(), AxisRange(), AxisElem(0)), n, d), Reshape(Slice(in, AxisRange(), AxisRange(), AxisElem(1)), n, d)
	}
	var pieces []*Node
	for i := 0; i < len(e.features); {
		f, from := e.features[i], e.first[i]
		piece := func(v *Node, to int) *Node { return Slice(v, AxisRange(), AxisRange(from, to)) }
		if f.OneHot > 0 {
			to := from + f.OneHot
			pieces = append(pieces, f.category(piece(u, to), piece(x, to)))
			i++
			continue
		}
		run := e.features[i:]
		if k := slices.IndexFunc(run, func(f Feature) bool { return f.OneHot > 0 }); k >= 0 {
			run = run[:k]
		}
		pieces = append(pieces, run.numbers(piece(u, from+len(run)), piece(x, from+len(run))))
		i += len(run)
	}
	v := pieces[0]
	if len(pieces) > 1 {
		v = Concatenate(pieces, 1)
	}
	v = e.deriveNode(v)
	return Reshape(v, append([]int{n}, e.layout.shape...)...)
}

// straightThrough has the value of hard and the gradient of smooth. The difference that carries the gradient is
// exactly 0.
func straightThrough(hard, smooth *Node) *Node {
	return Add(StopGradient(hard), Sub(smooth, StopGradient(smooth)))
}

// category is decode for the coordinates [n, k] of one category.
//
// The gradient of a coordinate is its own minus that of the category that the point stands for. The latter's own is
// that minus the mean of those that have risen too, else minus the original's: in Linf all that are better than the
// original rise to the rim of the ball, where the first one counts; so the worse ones fall again until the best is
// alone.
func (f Feature) category(u, x *Node) *Node {
	across := func(v *Node) *Node { return BroadcastToDims(v, u.Shape().Dimensions...) }
	sum := func(v *Node) *Node { return across(ReduceAndKeep(v, ReduceSum, 1)) }
	mark := func(v *Node) *Node { return ConvertDType(v, u.DType()) }
	zero := ZerosLike(u)
	original := OneHot(ArgMax(x, 1), f.OneHot, x.DType())
	u = Where(GreaterThan(original, zero), zero, MulScalar(u, f.Scale))
	risen := mark(GreaterOrEqual(u, AddScalar(zero, 1-levelSlack)))
	changed := GreaterThan(sum(risen), zero)
	hard := Where(changed, OneHot(ArgMax(u, 1), f.OneHot, x.DType()), original)

	chosen := Mul(u, hard) // 0 for the original
	others := Sub(u, chosen)
	rivals := Mul(risen, OneMinus(hard))
	rivals = Where(GreaterThan(sum(rivals), zero), rivals, original)
	smooth := Add(others, Mul(hard, Sub(sum(chosen), sum(others))))
	smooth = Sub(smooth, Mul(sum(chosen), Div(rivals, sum(rivals))))
	return straightThrough(hard, smooth)
}

// numbers is decode for the coordinates [n, k] of k features that are no categories.
func (d Domain) numbers(u, x *Node) *Node {
	constant := func(of func(f Feature) float64) *Node {
		flat := make([]float32, len(d))
		for j, f := range d {
			flat[j] = float32(of(f))
		}
		c := ConstTensor(u.Graph(), tensors.FromFlatDataAndDimensions(flat, 1, len(flat)))
		return BroadcastToDims(ConvertDType(c, u.DType()), u.Shape().Dimensions...)
	}
	lo, hi := constant(func(f Feature) float64 { return f.Lo }), constant(func(f Feature) float64 { return f.Hi })
	scale := constant(func(f Feature) float64 { return f.Scale })
	δ := Mul(Sub(u, Div(Sub(x, lo), scale)), scale)
	smooth := Add(x, δ)
	hard := Max(lo, Min(hi, smooth))
	if slices.ContainsFunc(d, func(f Feature) bool { return f.Step > 0 }) {
		step := constant(func(f Feature) float64 { return max(f.Step, 0) })
		zero := ZerosLike(δ)
		is := GreaterThan(step, zero)
		step = Where(is, step, OnesLike(step))
		k := Mul(Sign(δ), Floor(AddScalar(Div(Abs(δ), step), levelSlack)))
		level := Add(Round(Div(Sub(x, lo), step)), k)
		value := Max(lo, Min(hi, Add(lo, Mul(level, step))))
		hard = Where(is, Where(Equal(k, zero), x, value), hard)
	}
	return straightThrough(hard, smooth)
}

// settle returns the admissible input that the encoded point u around x, encoded as u0, stands for, as decode does. It
// is not outside of the ball: what rounding has moved out, and a step that was not gone to its end, goes back towards
// the original.
func (e encoding) settle(u, u0, x []float32, ball Ball) []float32 {
	y := slices.Clone(x)
	gone := make([]float64, len(e.features)) // by how much of a step the point is short of where it stands for
	for i, f := range e.features {
		j := e.first[i]
		at, _ := e.at(j)
		moved := (float64(u[at]) - float64(u0[at])) * f.Scale
		switch {
		case f.Change == Fixed:
		case f.OneHot > 0:
			best, most := -1, 0.
			for k := range f.OneHot {
				if at, _ := e.at(j + k); x[j+k] == 0 && float64(u[at])*f.Scale > most {
					best, most = k, float64(u[at])*f.Scale
				}
			}
			if most >= 1-levelSlack {
				clear(y[j : j+f.OneHot])
				y[j+best], gone[i] = 1, 1-most
			}
		case f.Step > 0:
			k := math.Floor(math.Abs(moved)/f.Step + levelSlack)
			level := min(max(f.level(x[j])+math.Copysign(k, moved), 0), f.steps())
			y[j], gone[i] = f.value(level), k-math.Abs(moved)/f.Step
		case u[at] != u0[at]:
			y[j] = float32(min(max(float64(x[j])+moved, f.Lo), f.Hi))
		}
	}
	if !math.IsInf(ball.Radius, 1) {
		e.retreat(y, x, gone, ball)
	}
	e.derive(y)
	return y
}

// retreat moves y towards x until it is in the ball.
func (e encoding) retreat(y, x []float32, gone []float64, ball Ball) {
	δ := e.difference(x, y)
	for {
		excess := ball.Norm.Length(δ) - ball.Radius
		if !(excess > 0) {
			return
		}
		// Numbers without steps give way first: they can do it by as little as needed.
		if _, ok := ball.Norm.(linf); !ok && ball.Norm != L0 && e.shrink(y, x, δ, ball) {
			return
		}
		worst := -1
		for i, f := range e.features {
			if δ[i] == 0 || ball.Norm == Norm(Linf) && math.Abs(δ[i]) <= ball.Radius {
				continue
			}
			discrete := f.Step > 0 || f.OneHot > 0
			if ball.Norm == Norm(Linf) || discrete && (worst < 0 || gone[i] > gone[worst]) || worst < 0 {
				worst = i
			}
		}
		e.back(worst, y, x, ball)
		gone[worst] = 0
		δ = e.difference(x, y)
	}
}

// back moves feature i of y by the least possible towards x.
func (e encoding) back(i int, y, x []float32, ball Ball) {
	f, j := e.features[i], e.first[i]
	switch {
	case f.OneHot > 0:
		copy(y[j:j+f.OneHot], x[j:j+f.OneHot])
	case f.Step > 0:
		level, to, from := f.level(y[j]), f.level(x[j]), y[j]
		for step := 1.; y[j] == from && step < math.Abs(to-level); step *= 2 { // float32 may not hold the next one
			y[j] = f.value(level + math.Copysign(step, to-level))
		}
		if y[j] == from {
			y[j] = x[j]
		}
		if y[j] == f.value(to) {
			y[j] = x[j]
		}
	default: // in Linf: shrink sees to the others
		reach := ball.Radius * f.Scale
		if at := float32(min(max(float64(y[j]), float64(x[j])-reach), float64(x[j])+reach)); at != y[j] {
			y[j] = at
		} else {
			y[j] = math.Nextafter32(y[j], x[j])
		}
	}
}

// shrink moves the numbers without steps towards x until y is in the ball, and tells whether that was enough; if not,
// they are left.
func (e encoding) shrink(y, x []float32, δ []float64, ball Ball) bool {
	var plain []int
	rest := slices.Clone(δ)
	for i, f := range e.features {
		if f.Step == 0 && f.OneHot == 0 && δ[i] != 0 {
			plain = append(plain, i)
			rest[i] = 0
		}
	}
	if len(plain) == 0 || ball.Norm.Length(rest) > ball.Radius {
		return false
	}
	from := slices.Clone(y)
	d := ball.Norm.Length(δ)
	for excess := d - ball.Radius; ; excess *= 2 {
		s := max(0, (d-excess)/d)
		for _, i := range plain {
			j := e.first[i]
			y[j] = float32(float64(x[j]) + s*(float64(from[j])-float64(x[j])))
		}
		if ball.Norm.Length(e.difference(x, y)) <= ball.Radius {
			return true
		}
	}
}

// View returns the classifier that attacks work on: c itself, or, with a [Domain] of scales, steps, categories or
// derived features, one whose inputs are encoded: see [Classifier.Encode]. Its variables are those of c.
func (c *Classifier) View() *Classifier {
	if !c.space.encodes() {
		return c
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	type viewKey struct{}
	if d := c.derived[viewKey{}]; d != nil {
		return d
	}
	seen := c.Signature().encoded()
	e, spec := encoding{c.space.layout}, c.spec
	spec.Domain, spec.space = nil, seen.space
	spec.Input, spec.Box = seen.Input, seen.Box
	spec.Logits = func(_ *model.Scope, u *Node) *Node { return c.LogitsGraph(e.decode(u)) }
	// No need to probe: the model is that of c.
	d := &Classifier{spec: spec, space: seen.space, classes: c.classes, cost: c.cost, mu: c.mu, programs: map[any]*program{},
		derived: map[any]*Classifier{}, wide: c.wide, memo: map[any]any{}}
	c.derived[viewKey{}] = d
	return d
}

// encodes tells whether attacks work in other coordinates than the inputs.
func (s *space) encodes() bool { return s.layout != nil && s.layout.encoded() }

// isEncoded tells whether the inputs are encoded ones.
func (s Signature) isEncoded() bool { return s.space != nil && s.space.base != nil }

// encoded returns the signature of what attacks on a resolved one work on: itself, or that of encoded inputs.
func (s Signature) encoded() Signature {
	if !s.space.encodes() {
		return s
	}
	e, base := encoding{s.space.layout}, s
	limits := e.limits()
	s.Domain, s.Input, s.Box = nil, e.shape(), limits.box
	s.space = &space{limits: limits, base: &base}
	return s
}

// decoding is a victim without a graph whose inputs are encoded.
type decoding struct {
	Victim
	signature Signature
	encoding  encoding
}

// viewOf returns what attacks on a victim work on: as [Classifier.View] does, of whatever victim.
func viewOf(v Victim, s Signature) Victim {
	if c, err := WhiteBox(v); err == nil {
		return c.View()
	}
	if !s.space.encodes() {
		return v
	}
	return decoding{v, s.encoded(), encoding{s.space.layout}}
}

// Signature is that of the encoded inputs.
func (d decoding) Signature() Signature { return d.signature }

// Query asks about what encoded inputs stand for.
func (d decoding) Query(ctx context.Context, in *tensors.Tensor) ([]Answer, error) {
	n, shape := in.Shape().Dimensions[0], d.encoding.layout.shape
	size := product(shape)
	all := make([]float32, 0, n*size)
	for row := range slices.Chunk(tensors.MustCopyFlatData[float32](in), 2*size) {
		x := make([]float32, size)
		for j := range x {
			_, original := d.encoding.at(j)
			x[j] = row[original]
		}
		all = append(all, d.encoding.settle(row, d.encoding.row(x), x, Ball{Radius: math.Inf(1)})...)
	}
	x := tensors.FromFlatDataAndDimensions(all, append([]int{n}, shape...)...)
	defer Free(x)
	return d.Victim.Query(ctx, x)
}

// Encode returns inputs x [n, d...] as attacks on c see them: x itself, or, where [Classifier.View] is another
// classifier, what that takes, each around itself.
func (c *Classifier) Encode(x *tensors.Tensor) *tensors.Tensor { return c.space.encode(x) }

func (s *space) encode(x *tensors.Tensor) *tensors.Tensor {
	if !s.encodes() {
		return x
	}
	return encoding{s.layout}.encode(x)
}

// Settle returns the admissible input that a point stands for, exactly inside limits and ball: rounding may have left
// the point outside. One that is farther out is an error. The point u, which may be changed, and its original u0 are in
// the coordinates of [Classifier.Encode], x is the original input; all are flat.
func (c *Classifier) Settle(u, u0, x []float32, threat Threat) ([]float32, error) {
	return c.space.settle(c.View().Limits(), u, u0, x, threat)
}

// settle is Settle; limits are those of the encoded inputs.
func (s *space) settle(limits Limits, u, u0, x []float32, threat Threat) ([]float32, error) {
	for j, v := range u {
		if v != v {
			return nil, fmt.Errorf("the attack returned NaN at position %d: this is a mistake in the attack, or the model's gradient is "+
				"not finite", j)
		}
		r := limits.Range(j, u0[j])
		if s.layout != nil {
			// A coordinate that is the sum of two others, in units of the widest range, may be off by this much.
			if slack := 1e-5 * max(r.Width(), math.Abs(float64(u0[j]))); float64(v) < r.Lo-slack || float64(v) > r.Hi+slack {
				return nil, s.layout.escape(j)
			}
		}
		u[j] = float32(min(max(float64(v), r.Lo), r.Hi))
	}
	if !threat.Minimal() && threat.Ball().Pull(u, u0) {
		return nil, fmt.Errorf("the attack returned a point at %v distance %g, outside of its ball %v: this is a mistake in the "+
			"attack", threat.Norm, threat.Norm.Distance(u, u0), threat.Ball())
	}
	if !s.encodes() {
		return u, nil
	}
	return encoding{s.layout}.settle(u, u0, x, threat.Ball()), nil
}

// escape says that an attack has moved coordinate j of its input out of the limits.
func (l *layout) escape(j int) error {
	if l.encoded() {
		j = encoding{l}.coordinate(j)
	}
	i := l.feature(j)
	f := l.features[i]
	return fmt.Errorf("the attack moved %s out of what an attacker may change (range [%g, %g], %v): this is a mistake in the "+
		"attack, which must keep its points by Limits.Clip", strings.TrimSuffix(l.name(i), ","), f.Lo, f.Hi, f.Change)
}

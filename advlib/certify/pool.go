package certify

import (
	"fmt"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
)

const (
	sumWindow = compute.ReduceOpSum
	maxWindow = compute.ReduceOpMax
	minWindow = compute.ReduceOpMin
)

func windowKind(n *Node) compute.ReduceOpType {
	return compute.ReduceOpType(parameter(n, "reductionType").Int())
}

// checkWindow refuses windows that hold several examples, or are dilated.
func checkWindow(n *Node) error {
	size, strides := integers(n, "windowDimensions"), integers(n, "strides")
	if size[0] != 1 || len(strides) > 0 && strides[0] != 1 || padding(n, 0) != [2]int{} {
		return fmt.Errorf("its window holds several examples: pool over axes behind the batch only")
	}
	for _, name := range []string{"inputDilations", "windowDilations"} {
		for _, d := range integers(n, name) {
			if d != 1 {
				return fmt.Errorf("its %s are %v: only pooling without dilation can be bounded", name, integers(n, name))
			}
		}
	}
	count := 1
	for _, d := range size {
		count *= d
	}
	if count > 1024 {
		return fmt.Errorf("its window has %d elements: at most 1024 can be bounded; for a global mean use ReduceMean", count)
	}
	return nil
}

// padding returns how far the operation pads an axis, counted as its parameters are.
func padding(n *Node, axis int) (p [2]int) {
	v := parameter(n, "paddings")
	if v.Len() > 0 {
		p[0], p[1] = int(v.Index(axis).Index(0).Int()), int(v.Index(axis).Index(1).Int())
	}
	return p
}

// window is one place in the windows of a pooling operation: for every window, the element that stands there.
type window struct {
	n      *Node
	offset []int
}

// windows lists the places.
func windows(n *Node) (all []window) {
	offsets := [][]int{{}}
	for _, d := range integers(n, "windowDimensions") {
		var longer [][]int
		for _, o := range offsets {
			for i := range d {
				longer = append(longer, append(append([]int{}, o...), i))
			}
		}
		offsets = longer
	}
	for _, o := range offsets {
		all = append(all, window{n, o})
	}
	return all
}

func (w window) stride(axis int) int {
	if s := integers(w.n, "strides"); len(s) > 0 {
		return s[axis]
	}
	return integers(w.n, "windowDimensions")[axis]
}

// of returns the elements of v, in the shape of the pooling's input, that stand at the place, in the shape of its result.
func (w window) of(v *Node, fill *Node) *Node {
	var pads []PadAxis
	for axis := range v.Rank() {
		p := padding(w.n, axis)
		pads = append(pads, PadAxis{Start: p[0], End: p[1]})
	}
	return w.among(Pad(v, fill, pads...), w.n.Shape().Dimensions)
}

// among is of for a result of the given dimensions, and the padded elements that all its windows cover.
func (w window) among(v *Node, dims []int) *Node {
	var ranges []SliceAxisSpec
	for axis, out := range dims {
		s := w.stride(axis)
		ranges = append(ranges, AxisRange(w.offset[axis], w.offset[axis]+(out-1)*s+1).Stride(s))
	}
	return Slice(v, ranges...)
}

// back is the transpose of of, for outputs that follow each other, to the padded elements that all windows of these cover.
func (w window) back(v *Node) *Node {
	pads := make([]PadAxis, v.Rank())
	for axis, size := range integers(w.n, "windowDimensions") {
		pads[axis] = PadAxis{Start: w.offset[axis], End: size - 1 - w.offset[axis], Interior: w.stride(axis) - 1}
	}
	return Pad(v, ScalarZero(v.Graph(), v.DType()), pads...)
}

// pooling is embedded by rules for ReduceWindow.
type pooling struct{}

func (pooling) windows(u *unit) (axes []int) {
	first := window{n: u.n}
	for axis, size := range integers(u.n, "windowDimensions") {
		if size > 1 || first.stride(axis) > 1 || padding(u.n, axis) != [2]int{} {
			axes = append(axes, axis)
		}
	}
	return axes
}

func (pooling) reach(u *unit, _ int, p patch) patch {
	from := make(patch, len(p))
	size := integers(u.n, "windowDimensions")
	for i, e := range p {
		s := window{n: u.n}.stride(i + 1)
		from[i] = extent{e.stride * s, e.first*s - padding(u.n, i+1)[0], (e.size-1)*s + size[i+1]}
	}
	return from
}

// unpadded takes what stands for padded elements of the input to its shape.
func (pooling) unpadded(u *unit, parts map[int]*Node) map[int]*Node {
	cut := make([][2]int, u.n.Rank())
	for axis := range cut {
		cut[axis] = padding(u.n, axis)
	}
	return map[int]*Node{0: unpadded(parts[0], u.inputs[0].Shape().Dimensions, cut)}
}

// windowSum is ReduceWindow that adds up; with a Mul or Div by a constant behind it, mean pooling.
type windowSum struct {
	reduction
	pooling
}

func (windowSum) check(_ *walk, u *unit) error { return checkWindow(u.n) }

func (r windowSum) backward(_ *walk, u *unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	parts, _ := r.backwardPatch(nil, u, Λ, nil)
	return r.unpadded(u, parts), nil
}

func (windowSum) backwardPatch(_ *cut, u *unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	var sum *Node
	for _, w := range windows(u.n) {
		sum = plus(sum, w.back(Λ))
	}
	return map[int]*Node{0: sum}, nil
}

func (windowSum) followPatch(c *cut, u *unit, _ *Node, h, _ []*Node) (sum *Node) {
	for _, w := range windows(u.n) {
		sum = plus(sum, w.among(h[0], c.of[u.n.Id()].dims(c.groups.rows)))
	}
	return sum
}

// maxPool is ReduceWindow that takes the maximum, or the minimum as −max(−z).
//
// Below it is the element with the largest lower end, or the mean of several that have it. Above it is max(z, s), where z
// in [l, u] is the element with the largest upper end u and s the largest upper end of the others, and so
//
//	s' + (u − s')/(u − l)·(z − l),  s' = max(s, l)
//
// by convexity: z itself where no other element can be larger, and the constant u where two have that end.
type maxPool struct{ pooling }

func (maxPool) affine() bool { return false }

func (maxPool) check(_ *walk, u *unit) error {
	if k := windowKind(u.n); k != maxWindow && k != minWindow {
		return fmt.Errorf("there is no rule for windows with %v", k)
	}
	return checkWindow(u.n)
}

func (maxPool) forward(_ *pass, u *unit, in []interval) interval { return ends(u, in) }

func (maxPool) rounding(p *pass, u *unit, in []interval, out interval) *Node {
	if sizeOf(integers(u.n, "windowDimensions")) == 1 {
		p.moved(u, in, 0)
	}
	return AddScalar(MulScalar(out.magnitude(), ownUnit), 2*tiny)
}

func (maxPool) relax(_ *pass, u *unit, in []interval) (lines []*Node, open *Node) {
	l, h := in[0].lower, in[0].upper
	if windowKind(u.n) == minWindow {
		l, h = Neg(h), Neg(l)
	}
	fill := Infinity(l.Graph(), l.DType(), -1)
	var lows, highs []*Node
	for _, w := range windows(u.n) {
		lows, highs = append(lows, w.of(l, fill)), append(highs, w.of(h, fill))
	}
	return maximumLines(lows, highs), nil
}

// maximumLines returns for each of several tensors its slope below, then for each its slope above, then the intercept
// above; that below is 0.
func maximumLines(lows, highs []*Node) (lines []*Node) {
	low, high := lows[0], highs[0]
	for i := range lows[1:] {
		low, high = Max(low, lows[i+1]), Max(high, highs[i+1])
	}
	one, zero := OnesLike(low), ZerosLike(low)
	countLow, countHigh := zero, zero
	second := BroadcastToDims(Infinity(low.Graph(), low.DType(), -1), low.Shape().Dimensions...)
	least := zero // the lower end of the element with the largest upper end
	for i := range lows {
		isLow, isHigh := Equal(lows[i], low), Equal(highs[i], high)
		countLow, countHigh = Add(countLow, Where(isLow, one, zero)), Add(countHigh, Where(isHigh, one, zero))
		second = Where(isHigh, second, Max(second, highs[i]))
		least = Where(isHigh, lows[i], least)
	}
	slope, intercept := maximumAbove(least, high, second, countHigh)
	for i := range lows {
		weight := Div(Where(Equal(lows[i], low), one, zero), countLow)
		lines = append(lines, Add(weight, MulScalar(low, 0))) // NaN where low is infinite, so that nothing is shown
	}
	for i := range lows {
		lines = append(lines, Where(Equal(highs[i], high), slope, zero))
	}
	return append(lines, intercept)
}

// maximumAbove returns slope and intercept of the line above max(z, s) for z in [l, u]; with several that have the end u, it
// is constant.
func maximumAbove(l, u, s, count *Node) (slope, intercept *Node) {
	one, zero := OnesLike(l), ZerosLike(l)
	s = Max(s, l)
	wide := LogicalAnd(Equal(count, one), LessThan(l, u))
	width := Where(wide, Sub(u, l), one)
	slope = Where(wide, Div(Sub(u, s), width), zero)
	return slope, Where(wide, Sub(s, Mul(slope, l)), u)
}

func (r maxPool) backward(_ *walk, u *unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	parts, b := r.backwardPatch(nil, u, Λ, lines)
	return r.unpadded(u, parts), b
}

func (maxPool) backwardPatch(_ *cut, u *unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	least := windowKind(u.n) == minWindow
	if least {
		Λ = Neg(Λ)
	}
	up, down := positive(Λ), negative(Λ)
	all := windows(u.n)
	var sum *Node
	for i, w := range all {
		sum = plus(sum, w.back(Add(Mul(up, lines[i]), Mul(down, lines[len(all)+i]))))
	}
	b := Mul(down, lines[2*len(all)])
	if least {
		sum = Neg(sum)
	}
	return map[int]*Node{0: sum}, b
}

func (r maxPool) follow(u *unit, Λ *Node, h, lines []*Node) *Node {
	return r.along(u, Λ, lines, func(w window) *Node { return w.of(h[0], ScalarZero(Λ.Graph(), Λ.DType())) })
}

func (r maxPool) followPatch(_ *cut, u *unit, Λ *Node, h, lines []*Node) *Node {
	return r.along(u, Λ, lines, func(w window) *Node { return w.among(h[0], Λ.Shape().Dimensions) })
}

// along returns the value of the lines, with the elements of the input that stand at each place of the windows.
func (maxPool) along(u *unit, Λ *Node, lines []*Node, elements func(window) *Node) *Node {
	least := windowKind(u.n) == minWindow
	if least {
		Λ = Neg(Λ)
	}
	all := windows(u.n)
	var below, above *Node
	for i, w := range all {
		v := elements(w)
		if least {
			v = Neg(v)
		}
		below, above = plus(below, Mul(lines[i], v)), plus(above, Mul(lines[len(all)+i], v))
	}
	v := above0(Λ, below, Add(above, lines[2*len(all)]))
	if least {
		v = Neg(v)
	}
	return v
}

// maximum is ReduceMax and ReduceMin, bounded as [maxPool].
type maximum struct{}

func (maximum) affine() bool { return false }

func (maximum) check(*walk, *unit) error { return nil }

func (maximum) forward(_ *pass, u *unit, in []interval) interval { return ends(u, in) }

func (maximum) rounding(p *pass, u *unit, in []interval, out interval) *Node {
	if u.n.Shape().Size() == u.inputs[0].Shape().Size() { // of one element each
		p.moved(u, in, 0)
	}
	if len(u.perturbed) == 0 {
		return with(u.n, map[int]*Node{0: in[0].err}) // unreachable for exact constants; see findConstantError
	}
	return AddScalar(MulScalar(out.magnitude(), ownUnit), 2*tiny)
}

// expand returns v, in the shape of the result, in that of the input.
func (maximum) expand(n, v *Node) *Node {
	in := n.Inputs()[0].Shape().Dimensions
	keep := append([]int{}, in...)
	for _, axis := range reducedAxes(n) {
		keep[axis] = 1
	}
	return BroadcastToDims(Reshape(v, keep...), in...)
}

func reducedAxes(n *Node) []int {
	axes := integers(n, "axes")
	if len(axes) == 0 {
		for axis := range n.Inputs()[0].Rank() {
			axes = append(axes, axis)
		}
	}
	return axes
}

func (r maximum) relax(_ *pass, u *unit, in []interval) (lines []*Node, open *Node) {
	l, h := in[0].lower, in[0].upper
	if u.n.Type() == NodeTypeReduceMin {
		l, h = Neg(h), Neg(l)
	}
	axes := reducedAxes(u.n)
	low, high := ReduceMax(l, axes...), ReduceMax(h, axes...)
	isLow, isHigh := ConvertDType(Equal(l, r.expand(u.n, low)), l.DType()), Equal(h, r.expand(u.n, high))
	below := Add(Div(isLow, r.expand(u.n, ReduceSum(isLow, axes...))), MulScalar(l, 0)) // NaN where l is infinite
	inf := BroadcastToDims(Infinity(l.Graph(), l.DType(), -1), l.Shape().Dimensions...)
	second := ReduceMax(Where(isHigh, inf, h), axes...)
	least := ReduceMax(Where(isHigh, l, inf), axes...)
	one := ConvertDType(isHigh, l.DType())
	slope, intercept := maximumAbove(least, high, second, ReduceSum(one, axes...))
	return []*Node{below, Mul(one, r.expand(u.n, slope)), intercept}, nil
}

func (r maximum) backward(_ *walk, u *unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	least := u.n.Type() == NodeTypeReduceMin
	if least {
		Λ = Neg(Λ)
	}
	up, down := positive(Λ), negative(Λ)
	part := Add(Mul(r.expand(u.n, up), lines[0]), Mul(r.expand(u.n, down), lines[1]))
	if least {
		part = Neg(part)
	}
	return map[int]*Node{0: part}, Mul(down, lines[2])
}

func (r maximum) follow(u *unit, Λ *Node, h, lines []*Node) *Node {
	z, least := h[0], u.n.Type() == NodeTypeReduceMin
	if least {
		Λ, z = Neg(Λ), Neg(z)
	}
	axes := reducedAxes(u.n)
	v := above0(Λ, ReduceSum(Mul(lines[0], z), axes...), Add(ReduceSum(Mul(lines[1], z), axes...), lines[2]))
	if least {
		v = Neg(v)
	}
	return v
}

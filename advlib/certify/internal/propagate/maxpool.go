package propagate

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
)

// maxPool is ReduceWindow that takes the maximum, or the minimum as −max(−z).
//
// Below it is the element with the largest lower end, or the mean of several that have it. Above it is max(z, s), where
// z in [l, u] is the element with the largest upper end u and s the largest upper end of the others, and so
//
//	s' + (u − s')/(u − l)·(z − l),  s' = max(s, l)
//
// by convexity: z itself where no other element can be larger, and the constant u where two have that end.
type maxPool struct{ pooling }

func (maxPool) Affine() bool { return false }

func (maxPool) Check(_ *Walk, u *Unit) error {
	if k := windowKind(u.Node); k != maxWindow && k != minWindow {
		return fmt.Errorf("there is no rule for windows with %v", k)
	}
	return checkWindow(u.Node)
}

func (maxPool) Forward(_ *Pass, u *Unit, in []Interval) Interval { return Ends(u, in) }

func (maxPool) Rounding(p *Pass, u *Unit, in []Interval, out Interval) *Node {
	if SizeOf(Integers(u.Node, "windowDimensions")) == 1 {
		p.moved(u, in, 0)
	}
	return AddScalar(MulScalar(out.magnitude(), ownUnit), 2*Tiny)
}

func (maxPool) Relax(_ *Pass, u *Unit, in []Interval) (lines []*Node, open *Node) {
	l, h := in[0].Lower, in[0].Upper
	if windowKind(u.Node) == minWindow {
		l, h = Neg(h), Neg(l)
	}
	fill := Infinity(l.Graph(), l.DType(), -1)
	var lows, highs []*Node
	for _, w := range windows(u.Node) {
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

// maximumAbove returns slope and intercept of the line above max(z, s) for z in [l, u]; with several that have the end
// u, it is constant.
func maximumAbove(l, u, s, count *Node) (slope, intercept *Node) {
	one, zero := OnesLike(l), ZerosLike(l)
	s = Max(s, l)
	wide := LogicalAnd(Equal(count, one), LessThan(l, u))
	width := Where(wide, Sub(u, l), one)
	slope = Where(wide, Div(Sub(u, s), width), zero)
	return slope, Where(wide, Sub(s, Mul(slope, l)), u)
}

func (r maxPool) Backward(_ *Walk, u *Unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	parts, b := r.BackwardPatch(nil, u, Λ, lines)
	return r.unpadded(u, parts), b
}

func (maxPool) BackwardPatch(_ *Cut, u *Unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	least := windowKind(u.Node) == minWindow
	if least {
		Λ = Neg(Λ)
	}
	up, down := Positive(Λ), negative(Λ)
	all := windows(u.Node)
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

func (r maxPool) Follow(u *Unit, Λ *Node, h, lines []*Node) *Node {
	return r.along(u, Λ, lines, func(w window) *Node { return w.of(h[0], ScalarZero(Λ.Graph(), Λ.DType())) })
}

func (r maxPool) FollowPatch(_ *Cut, u *Unit, Λ *Node, h, lines []*Node) *Node {
	return r.along(u, Λ, lines, func(w window) *Node { return w.among(h[0], Λ.Shape().Dimensions) })
}

// along returns the value of the lines, with the elements of the input that stand at each place of the windows.
func (maxPool) along(u *Unit, Λ *Node, lines []*Node, elements func(window) *Node) *Node {
	least := windowKind(u.Node) == minWindow
	if least {
		Λ = Neg(Λ)
	}
	all := windows(u.Node)
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

package advlib

import (
	"fmt"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// Change says in which direction an attacker may change a feature. The zero value is [EitherWay].
type Change int

// The directions.
const (
	EitherWay Change = iota
	Fixed            // not at all
	RiseOnly
	FallOnly
)

// String returns "either way", "fixed", "rise only" or "fall only".
func (c Change) String() string {
	switch c {
	case EitherWay:
		return "either way"
	case Fixed:
		return "fixed"
	case RiseOnly:
		return "rise only"
	case FallOnly:
		return "fall only"
	}
	return fmt.Sprintf("change %d", int(c))
}

// MarshalText writes what String returns.
func (c Change) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what String returns.
func (c *Change) UnmarshalText(text []byte) error {
	for k := EitherWay; k <= FallOnly; k++ {
		if k.String() == string(text) {
			*c = k
			return nil
		}
	}
	return fmt.Errorf("there is no change %q: there are \"either way\", \"fixed\", \"rise only\" and \"fall only\"", text)
}

// Limits are how far an attack may take each coordinate of an input: what [Classifier.Limits] gives an attack in place
// of the box. Where nothing but a box is given they are that box, and build the same graphs. In general each coordinate
// has its own range, and may be forbidden to rise, to fall, or both: then its limits depend on the original x₀, which
// all methods take. An attack that keeps its points by Clip, or its steps by Room, leaves fixed coordinates as they
// are, bit for bit.
type Limits struct {
	box     Box       // around all ranges
	shape   []int     // of one input
	ranges  []Box     // of each coordinate; nil where all have the box
	change  []Change  // of each coordinate; nil where all may go either way
	span    []float64 // the largest change of each feature, in its scale; nil where all have the box
	width   float64
	encoded bool
	raw     error // why attacks cannot work in these coordinates
}

// boxLimits are the limits of inputs of the given shape with nothing but a box.
func boxLimits(box Box, shape []int) Limits {
	return Limits{box: box, shape: shape, width: box.Width()}
}

// set gives each coordinate its range and direction, where they are not those of the box.
func (l *Limits) set(ranges []Box, change []Change, span []float64) {
	if slices.ContainsFunc(ranges, func(r Box) bool { return r != l.box }) {
		l.ranges = ranges
	}
	if slices.ContainsFunc(change, func(c Change) bool { return c != EitherWay }) {
		l.change = change
	}
	l.span = span
	var widths []float64
	for j, r := range ranges {
		if change[j] != Fixed {
			widths = append(widths, r.Width())
		}
	}
	slices.Sort(widths)
	l.width = widths[len(widths)/2]
}

// Encoded tells whether the [Domain] has scales, steps, categories or derived features, so that attacks work in other
// coordinates than those of the inputs.
func (l Limits) Encoded() bool { return l.encoded }

// SameRanges tells whether all coordinates have the range of the box.
func (l Limits) SameRanges() bool { return l.ranges == nil }

// Check returns an error if attacks cannot work on the classifier's own inputs, because its [Domain] measures them in
// other units, or admits only some values: then [Settings.Run] gives the attack a classifier of other coordinates.
func (l Limits) Check() error { return l.raw }

func (l Limits) mustCheck() {
	if l.raw != nil {
		panic(l.raw)
	}
}

// plain tells limits that are a box.
func (l Limits) plain() bool { return l.ranges == nil && l.change == nil }

// Clip moves each coordinate of x to the nearest value within the limits around the originals x0, both [n, d...].
func (l Limits) Clip(x, x0 *Node) *Node {
	l.mustCheck()
	if l.plain() {
		return l.box.Clip(x)
	}
	lo, hi := l.Ends(x0)
	return l.held(x0, x0, Max(lo, Min(hi, x)))
}

// Room returns how far each coordinate of x, a point within the limits around x0, may fall and rise: lo ≤ 0 ≤ hi.
func (l Limits) Room(x, x0 *Node) (lo, hi *Node) {
	l.mustCheck()
	if l.plain() {
		return l.box.Room(x)
	}
	lo, hi = l.Ends(x0)
	zero := ZerosLike(x)
	return l.held(x, zero, Sub(lo, x)), l.held(x, zero, Sub(hi, x))
}

// Ends returns the smallest and the largest value that each coordinate may take around the originals x0, in their
// shape.
func (l Limits) Ends(x0 *Node) (lo, hi *Node) {
	lo = l.Constant(x0, func(r Box) float64 { return r.Lo })
	hi = l.Constant(x0, func(r Box) float64 { return r.Hi })
	if l.change == nil {
		return lo, hi
	}
	return Where(l.mark(x0, Fixed, RiseOnly), x0, lo), Where(l.mark(x0, Fixed, FallOnly), x0, hi)
}

// EndsOf returns, for one original, flat, how far each coordinate may fall and rise, as [Limits.Ends] does in a graph.
func (l Limits) EndsOf(x0 []float32) (lo, hi []float64) {
	lo, hi = make([]float64, len(x0)), make([]float64, len(x0))
	for j, v := range x0 {
		r := l.box
		if l.ranges != nil {
			r = l.ranges[j]
		}
		lo[j], hi[j] = r.Lo, r.Hi
		if l.change == nil {
			continue
		}
		if l.change[j] == Fixed || l.change[j] == RiseOnly {
			lo[j] = float64(v)
		}
		if l.change[j] == Fixed || l.change[j] == FallOnly {
			hi[j] = float64(v)
		}
	}
	return lo, hi
}

// Constant returns, in the shape of x, a number for each coordinate that depends on its range.
func (l Limits) Constant(x *Node, of func(r Box) float64) *Node {
	if l.ranges == nil {
		return AddScalar(ZerosLike(x), of(l.box))
	}
	flat := make([]float32, len(l.ranges))
	for j, r := range l.ranges {
		flat[j] = float32(of(r))
	}
	return l.row(x, tensors.FromFlatDataAndDimensions(flat, append([]int{1}, l.shape...)...))
}

// Times returns x with each coordinate multiplied by a number that depends on its range.
func (l Limits) Times(x *Node, of func(r Box) float64) *Node {
	if l.ranges == nil {
		return MulScalar(x, of(l.box))
	}
	return Mul(x, l.Constant(x, of))
}

// Within returns limits that let the same coordinates change in the same directions, but with all ranges replaced by a
// box.
func (l Limits) Within(box Box) Limits {
	l.box, l.ranges = box, nil
	return l
}

// Box returns the box around all inputs.
func (l Limits) Box() Box { return l.box }

// Width is the unit of length of attacks whose paper has inputs in [0, 1]: the width of the box; where coordinates
// differ, the median of the widths of those that may change.
func (l Limits) Width() float64 { return l.width }

// Diameter returns the largest distance that the limits allow, as measured by a norm.
func (l Limits) Diameter(norm Norm) float64 {
	if l.plain() {
		return norm.Diameter(l.Size(), l.box.Width())
	}
	return norm.Length(l.span)
}

// Size is the number of coordinates, Free of those that may change.
func (l Limits) Size() int { return product(l.shape) }

// Free is the number of coordinates that may change.
func (l Limits) Free() int {
	if l.change == nil {
		return l.Size()
	}
	n := 0
	for _, c := range l.change {
		if c != Fixed {
			n++
		}
	}
	return n
}

// IsFree tells whether coordinate j may change.
func (l Limits) IsFree(j int) bool { return l.change == nil || l.change[j] != Fixed }

// Range returns the values that coordinate j may take around the original x0.
func (l Limits) Range(j int, x0 float32) Box {
	r := l.RangeOf(j)
	if l.change == nil {
		return r
	}
	switch c := l.change[j]; {
	case c == Fixed:
		return Box{float64(x0), float64(x0)}
	case c == RiseOnly:
		r.Lo = float64(x0)
	case c == FallOnly:
		r.Hi = float64(x0)
	}
	return r
}

// Clamp moves v, a value of coordinate j, to the nearest one within the limits around the original x0.
func (l Limits) Clamp(j int, v float64, x0 float32) float32 {
	r := l.Range(j, x0)
	return float32(min(max(v, r.Lo), r.Hi))
}

// RangeOf returns the values that coordinate j may take in any input.
func (l Limits) RangeOf(j int) Box {
	if l.ranges == nil {
		return l.box
	}
	return l.ranges[j]
}

// held returns v with the fixed coordinates taken from other; like has the shape of inputs.
func (l Limits) held(like, other, v *Node) *Node {
	if !l.holds() {
		return v
	}
	return Where(l.mark(like, Fixed), other, v)
}

// holds tells whether there are fixed coordinates.
func (l Limits) holds() bool { return slices.Contains(l.change, Fixed) }

// mark tells which coordinates may change as in one of the given ways, in the shape of x.
func (l Limits) mark(x *Node, of ...Change) *Node {
	flat := make([]bool, len(l.change))
	for j, c := range l.change {
		flat[j] = slices.Contains(of, c)
	}
	return l.row(x, tensors.FromFlatDataAndDimensions(flat, append([]int{1}, l.shape...)...))
}

// row returns a constant for each coordinate in the shape of x [n, d...].
func (l Limits) row(x *Node, row *tensors.Tensor) *Node {
	return BroadcastToDims(ConstTensor(x.Graph(), row), x.Shape().Dimensions...)
}

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

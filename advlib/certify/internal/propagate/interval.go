package propagate

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// Interval bounds a node coordinate by coordinate: lower ≤ node ≤ upper, both in the node's shape.
type Interval struct {
	Lower, Upper *Node
	// Spread is set for nodes that are x up to place, offset and scale, in an L1 or L2 ball.
	Spread *spread
	// constant tells that the node does not depend on x; lower and upper are then its own value, from which that of the
	// deployed model may differ by err, which is nil for 0.
	constant bool
	err      *Node
}

// spread describes a node as centre + s⊙δ, where every coordinate of a perturbation δ with ‖δ‖₂ ≤ ε appears at most
// once. It is lost at the first operation that sums coordinates, which gets a better radius from it than from a box.
type spread struct {
	// Up and down are (s·ε)² where the coordinate can rise and fall, and 0 where the input box leaves no room.
	Centre, Up, down *Node
	// slack is how far rounding may have moved the node from there; nil for 0.
	slack *Node
}

// map_ applies an operation to each part; slack too, if it is one that keeps signs.
func (s *spread) map_(move func(*Node) *Node) *spread {
	t := &spread{Centre: move(s.Centre), Up: move(s.Up), down: move(s.down)}
	if s.slack != nil {
		t.slack = move(s.slack)
	}
	return t
}

// Centred returns centre and radius of the interval.
func (v Interval) Centred() (centre, radius *Node) {
	return MulScalar(Add(v.Lower, v.Upper), 0.5), MulScalar(Sub(v.Upper, v.Lower), 0.5)
}

// magnitude returns the largest absolute value in the interval, of the deployed value for a constant.
func (v Interval) magnitude() *Node {
	if v.constant {
		return plus(Abs(v.Lower), v.err)
	}
	return Max(Abs(v.Lower), Abs(v.Upper))
}

// by returns the interval with both ends moved out by E ≥ 0, which may be nil.
func (v Interval) by(E *Node) Interval {
	if E == nil {
		return v
	}
	v.Lower, v.Upper = Sub(v.Lower, E), Add(v.Upper, E)
	if v.Spread != nil {
		s := *v.Spread
		s.slack = plus(E, s.slack)
		v.Spread = &s
	}
	return v
}

// plus is a + b, where nil is 0.
func plus(a, b *Node) *Node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return Add(a, b)
}

// widened replaces NaN by an infinite end: it arises from infinite bounds (∞ − ∞, 0·∞), and what follows, such as the
// maximum of a ReLU, does not always keep it.
func (v Interval) widened() Interval {
	v.Lower = Where(IsNaN(v.Lower), Infinity(v.Lower.Graph(), v.Lower.DType(), -1), v.Lower)
	v.Upper = Where(IsNaN(v.Upper), Infinity(v.Upper.Graph(), v.Upper.DType(), 1), v.Upper)
	return v
}

// intersect returns what is in both; each must bound the same node.
func (v Interval) intersect(o Interval) Interval {
	v.Lower, v.Upper = Max(v.Lower, o.Lower), Min(v.Upper, o.Upper)
	return v
}

// Positive and negative are Λ⁺ = max(Λ, 0) and Λ⁻ = min(Λ, 0), written so that NaN stays NaN: XLA's maximum on the CPU
// may drop it.
func Positive(Λ *Node) *Node { return MulScalar(Add(Λ, Abs(Λ)), 0.5) }
func negative(Λ *Node) *Node { return MulScalar(Sub(Λ, Abs(Λ)), 0.5) }

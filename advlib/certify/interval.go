package certify

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// interval bounds a node coordinate by coordinate: lower ≤ node ≤ upper, both in the node's shape.
type interval struct {
	lower, upper *Node
	// spread is set for nodes that are x up to place, offset and scale, in an L1 or L2 ball.
	spread *spread
	// constant tells that the node does not depend on x; lower and upper are then its own value, from which that of the
	// deployed model may differ by err, which is nil for 0.
	constant bool
	err      *Node
}

// spread describes a node as centre + s⊙δ, where every coordinate of a perturbation δ with ‖δ‖₂ ≤ ε appears at most
// once. It is lost at the first operation that sums coordinates, which gets a better radius from it than from a box.
type spread struct {
	// up and down are (s·ε)² where the coordinate can rise and fall, and 0 where the input box leaves no room.
	centre, up, down *Node
	// slack is how far rounding may have moved the node from there; nil for 0.
	slack *Node
}

// map_ applies an operation to each part; slack too, if it is one that keeps signs.
func (s *spread) map_(move func(*Node) *Node) *spread {
	t := &spread{centre: move(s.centre), up: move(s.up), down: move(s.down)}
	if s.slack != nil {
		t.slack = move(s.slack)
	}
	return t
}

// centred returns centre and radius of the interval.
func (v interval) centred() (centre, radius *Node) {
	return MulScalar(Add(v.lower, v.upper), 0.5), MulScalar(Sub(v.upper, v.lower), 0.5)
}

// magnitude returns the largest absolute value in the interval, of the deployed value for a constant.
func (v interval) magnitude() *Node {
	if v.constant {
		return plus(Abs(v.lower), v.err)
	}
	return Max(Abs(v.lower), Abs(v.upper))
}

// by returns the interval with both ends moved out by E ≥ 0, which may be nil.
func (v interval) by(E *Node) interval {
	if E == nil {
		return v
	}
	v.lower, v.upper = Sub(v.lower, E), Add(v.upper, E)
	if v.spread != nil {
		s := *v.spread
		s.slack = plus(E, s.slack)
		v.spread = &s
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
func (v interval) widened() interval {
	v.lower = Where(IsNaN(v.lower), Infinity(v.lower.Graph(), v.lower.DType(), -1), v.lower)
	v.upper = Where(IsNaN(v.upper), Infinity(v.upper.Graph(), v.upper.DType(), 1), v.upper)
	return v
}

// intersect returns what is in both; each must bound the same node.
func (v interval) intersect(o interval) interval {
	v.lower, v.upper = Max(v.lower, o.lower), Min(v.upper, o.upper)
	return v
}

// positive and negative are Λ⁺ = max(Λ, 0) and Λ⁻ = min(Λ, 0), written so that NaN stays NaN: XLA's maximum on the CPU
// may drop it.
func positive(Λ *Node) *Node { return MulScalar(Add(Λ, Abs(Λ)), 0.5) }
func negative(Λ *Node) *Node { return MulScalar(Sub(Λ, Abs(Λ)), 0.5) }

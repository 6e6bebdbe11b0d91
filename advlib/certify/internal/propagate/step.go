package propagate

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// Functions that jump. What goes into one is computed, and may lie on the other side of a jump than in real arithmetic:
// so a function has the value of one side only where the interval, with the error, lies on it; elsewhere it may have
// any between those of both, and nothing is known of its slope. Intervals of conditions have the ends 0 for false and 1
// for true.

// flushed returns the interval between two ends with 0, if one of its numbers is denormal: comparisons, for one, may
// count those as 0.
func flushed(low, high *Node) (*Node, *Node) {
	zero := ZerosLike(low)
	near := func(v *Node) *Node { return LessThan(Abs(v), MulScalar(OnesLike(v), 2*Tiny)) }
	return Where(near(low), Min(low, zero), low), Where(near(high), Max(high, zero), high)
}

// computed returns what the deployed value of a jet may be.
func (j Jet) computed(p *Pass) (low, high *Node) {
	low, high = j.lower, j.upper
	if j.Err != nil && !j.root { // pieces hold what the root's error is
		low, high = Sub(low, j.Err), Add(high, j.Err)
	}
	if !p.Arithmetic.Real {
		low, high = flushed(low, high)
	}
	return low, high
}

// StepJet is the rule of a function that is constant between its jumps, and never falls.
func StepJet(f func(*Node) *Node) JetRule {
	return func(s *Pieces, _ *Node, in []Jet) Jet {
		x := in[0]
		low, high := x.computed(s.p)
		low, high = f(low), f(high)
		known := LogicalAnd(IsFinite(low), IsFinite(high))
		inf := func(sign int) *Node {
			return BroadcastToDims(Infinity(low.Graph(), low.DType(), sign), low.Shape().Dimensions...)
		}
		zero := ZerosLike(low)
		if x.least == nil && !x.root { // a constant is its value, and how far that may be off
			mid := f(x.mid)
			return Jet{mid: mid, lower: mid, upper: mid, Err: Where(known, Max(Sub(high, mid), Sub(mid, low)), inf(1))}
		}
		flat := LogicalAnd(known, Equal(low, high))
		j := Jet{mid: MulScalar(Add(low, high), 0.5), lower: low, upper: high, least: Where(flat, zero, inf(-1)), most: Where(flat, zero, inf(1))}
		if e := x.Err; e != nil { // what overflows is not a number, whatever its sign may be
			j.Err = Where(LogicalAnd(known, IsFinite(Add(e, x.magnitude()))), zero, inf(1))
		}
		return j
	}
}

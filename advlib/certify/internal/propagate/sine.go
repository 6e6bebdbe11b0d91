package propagate

import (
	"math"

	. "github.com/gomlx/gomlx/core/graph"
)

// WaveRange bounds f, the sine or the cosine, between l and u; its maxima are at crest + 2πk. Where an end is not
// finite nothing is known.
func WaveRange(f func(*Node) *Node, crest float64, l, u *Node) (least, most *Node) {
	// Numbers of turns are computed in float64, and 2π is rounded: this is far above the error of either.
	slack := MulScalar(AddScalar(Add(Abs(l), Abs(u)), 16), 0x1p-48)
	holds := func(at float64) *Node { // whether at + 2πk may lie between
		turns := func(v *Node) *Node { return MulScalar(AddScalar(v, -at), 1/(2*math.Pi)) }
		return LessOrEqual(Ceil(Sub(turns(l), slack)), Floor(Add(turns(u), slack)))
	}
	fl, fu := f(l), f(u)
	one := OnesLike(l)
	least = Where(holds(crest+math.Pi), Neg(one), Max(AddScalar(Min(fl, fu), -ownUnit), Neg(one)))
	most = Where(holds(crest), one, Min(AddScalar(Max(fl, fu), ownUnit), one))
	known := LogicalAnd(IsFinite(l), IsFinite(u))
	inf := func(sign int) *Node {
		return BroadcastToDims(Infinity(l.Graph(), l.DType(), sign), l.Shape().Dimensions...)
	}
	return Where(known, least, inf(-1)), Where(known, most, inf(1))
}

// Wave is the rule of the sine and the cosine. slopes bounds the derivative between two numbers.
func Wave(f func(*Node) *Node, crest float64, slopes func(l, u *Node) (least, most *Node)) JetRule {
	return func(s *Pieces, n *Node, in []Jet) Jet {
		x := in[0]
		j := Jet{mid: f(x.mid)}
		j.lower, j.upper = WaveRange(f, crest, x.lower, x.upper)
		if x.least != nil {
			l, m := slopes(x.lower, x.upper)
			j.least, j.most = times(x.least, x.most, l, m)
		}
		j = s.sharpened(j)
		if s.p.Arithmetic.Real {
			return j
		}
		// No slope is above 1, and the argument may be flushed.
		j.Err = MulScalar(plus(x.Err, MulScalar(OnesLike(x.mid), 2*Tiny)), Own)
		return s.fromLibrary(n.Type(), j)
	}
}

// The sine and the cosine.
var (
	sinJet = Wave(Sin, math.Pi/2, func(l, u *Node) (least, most *Node) { return WaveRange(Cos, 0, l, u) })
	cosJet = Wave(Cos, 0, func(l, u *Node) (least, most *Node) {
		least, most = WaveRange(Sin, math.Pi/2, l, u)
		return Neg(most), Neg(least)
	})
)

package propagate

import (
	"fmt"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// batchNorm is a backend's batch normalisation at inference, scale·(h − mean)/√(variance + ε) + offset.
type batchNorm struct{ linear }

func (batchNorm) Check(_ *Walk, u *Unit) error { return onlyInput(u, 0) }

// at applies the operation with other values for its operand, offset and mean.
func (batchNorm) at(u *Unit, h *Node, offset, mean bool) *Node {
	replace := map[int]*Node{0: h}
	if !offset {
		replace[2] = ZerosLike(u.Inputs[2])
	}
	if !mean {
		replace[3] = ZerosLike(u.Inputs[3])
	}
	return With(u.Node, replace)
}

func (r batchNorm) Forward(_ *Pass, u *Unit, in []Interval) Interval {
	a, b := r.at(u, in[0].Lower, true, true), r.at(u, in[0].Upper, true, true)
	v := Interval{Lower: Min(a, b), Upper: Max(a, b)}
	if s := in[0].Spread; s != nil {
		f := r.at(u, OnesLike(u.Node), false, false)
		flips := LessThan(f, ZerosLike(f))
		square := Square(f)
		v.Spread = &spread{Centre: r.at(u, s.Centre, true, true), Up: Mul(square, Where(flips, s.down, s.Up)),
			down: Mul(square, Where(flips, s.Up, s.down))}
		if s.slack != nil {
			v.Spread.slack = Mul(s.slack, Abs(f))
		}
	}
	return v
}

// Rounding allows for any order of the four steps: with |f| = |scale|/√(variance + ε), up to ten roundings of
// |f|(|h| + |mean|) + |offset|, the library's error of the square root, and flushed operands and results.
func (r batchNorm) Rounding(p *Pass, u *Unit, in []Interval, _ Interval) *Node {
	for k, v := range in[1:] {
		if v.err != nil {
			panic(fmt.Errorf("input %d of batch normalisation is computed with rounding errors: use GoMLX's UseBackendInference(false)", k+1))
		}
	}
	one := r.one(u)
	zero := ZerosLike(one)
	f := Abs(r.at(u, one, false, false))
	inverse := With(u.Node, map[int]*Node{0: one, 1: OnesLike(u.Inputs[1]), 2: ZerosLike(u.Inputs[2]), 3: ZerosLike(u.Inputs[3])})
	mean := Abs(With(u.Node, map[int]*Node{0: zero, 1: OnesLike(u.Inputs[1]), 2: ZerosLike(u.Inputs[2])}))
	offset := Abs(With(u.Node, map[int]*Node{0: zero, 3: ZerosLike(u.Inputs[3])}))
	scale := Div(f, inverse)
	m := Add(Mul(f, in[0].magnitude()), Add(Mul(scale, mean), offset))
	p.sums[u.Node.Id()] = summed{m, 10, true}
	E := Add(relative(m, 10, 16), MulScalar(m, 2*p.Arithmetic.Library[NodeTypeSqrt].relative))
	// A flushed variance changes 1/√(variance + ε) by half as much of itself as variance + ε, as long as that is far
	// above.
	off := MulScalar(Square(inverse), 2*Tiny)
	E = Add(E, Mul(m, Where(LessThan(off, MulScalar(OnesLike(off), 0.25)), off, Infinity(off.Graph(), off.DType(), 1))))
	flushed := Add(Add(OnePlus(f), Add(inverse, scale)), Add(in[0].magnitude(), mean))
	return finite(Add(E, MulScalar(flushed, 16*Tiny)), m)
}

// one is 1 for each place of the axis, in a shape that broadcasts to that of u. What the operation makes of constants
// is computed on it: XLA folds those in the shape of u one by one.
func (r batchNorm) one(u *Unit) *Node {
	dims := make([]int, u.Node.Rank())
	for i := range dims {
		dims[i] = 1
	}
	axis := r.axis(u)
	dims[axis] = u.Node.Shape().Dimensions[axis]
	return Ones(u.Node.Graph(), shapes.Make(u.Node.DType(), dims...))
}

func (r batchNorm) Backward(_ *Walk, u *Unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	one := r.one(u)
	return map[int]*Node{0: Mul(Λ, r.at(u, one, false, false))}, Mul(Λ, r.at(u, ZerosLike(one), true, true))
}

func (batchNorm) axis(u *Unit) int { return int(parameter(u.Node, "featureAxis").Int()) }

func (batchNorm) Windows(*Unit) []int { return nil }

func (r batchNorm) Reach(u *Unit, _ int, p Patch) Patch {
	axis := r.axis(u)
	if p[axis-1] != whole(u.Node, axis-1) {
		return nil
	}
	return p
}

func (r batchNorm) BackwardPatch(_ *Cut, u *Unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	return r.Backward(nil, u, Λ, nil)
}

func (batchNorm) FollowPatch(_ *Cut, u *Unit, _ *Node, h, _ []*Node) *Node {
	return u.Node.CloneWithInputs(h...)
}

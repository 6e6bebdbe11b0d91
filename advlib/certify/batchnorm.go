package certify

import (
	"fmt"

	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// batchNorm is a backend's batch normalisation at inference, scale·(h − mean)/√(variance + ε) + offset.
type batchNorm struct{ linear }

func (batchNorm) check(_ *walk, u *unit) error { return onlyInput(u, 0) }

// at applies the operation with other values for its operand, offset and mean.
func (batchNorm) at(u *unit, h *Node, offset, mean bool) *Node {
	replace := map[int]*Node{0: h}
	if !offset {
		replace[2] = ZerosLike(u.inputs[2])
	}
	if !mean {
		replace[3] = ZerosLike(u.inputs[3])
	}
	return with(u.n, replace)
}

func (r batchNorm) forward(_ *pass, u *unit, in []interval) interval {
	a, b := r.at(u, in[0].lower, true, true), r.at(u, in[0].upper, true, true)
	v := interval{lower: Min(a, b), upper: Max(a, b)}
	if s := in[0].spread; s != nil {
		f := r.at(u, OnesLike(u.n), false, false)
		flips := LessThan(f, ZerosLike(f))
		square := Square(f)
		v.spread = &spread{centre: r.at(u, s.centre, true, true), up: Mul(square, Where(flips, s.down, s.up)), down: Mul(square, Where(flips, s.up, s.down))}
		if s.slack != nil {
			v.spread.slack = Mul(s.slack, Abs(f))
		}
	}
	return v
}

// rounding allows for any order of the four steps: with |f| = |scale|/√(variance + ε), up to ten roundings of
// |f|(|h| + |mean|) + |offset|, the library's error of the square root, and flushed operands and results.
func (r batchNorm) rounding(p *pass, u *unit, in []interval, _ interval) *Node {
	for k, v := range in[1:] {
		if v.err != nil {
			panic(fmt.Errorf("input %d of batch normalisation is computed with rounding errors: use GoMLX's UseBackendInference(false)", k+1))
		}
	}
	one := r.one(u)
	zero := ZerosLike(one)
	f := Abs(r.at(u, one, false, false))
	inverse := with(u.n, map[int]*Node{0: one, 1: OnesLike(u.inputs[1]), 2: ZerosLike(u.inputs[2]), 3: ZerosLike(u.inputs[3])})
	mean := Abs(with(u.n, map[int]*Node{0: zero, 1: OnesLike(u.inputs[1]), 2: ZerosLike(u.inputs[2])}))
	offset := Abs(with(u.n, map[int]*Node{0: zero, 3: ZerosLike(u.inputs[3])}))
	scale := Div(f, inverse)
	m := Add(Mul(f, in[0].magnitude()), Add(Mul(scale, mean), offset))
	p.sums[u.n.Id()] = summed{m, 10, true}
	E := Add(relative(m, 10, 16), MulScalar(m, 2*p.a.library[NodeTypeSqrt].relative))
	// A flushed variance changes 1/√(variance + ε) by half as much of itself as variance + ε, as long as that is far above.
	off := MulScalar(Square(inverse), 2*tiny)
	E = Add(E, Mul(m, Where(LessThan(off, MulScalar(OnesLike(off), 0.25)), off, Infinity(off.Graph(), off.DType(), 1))))
	flushed := Add(Add(OnePlus(f), Add(inverse, scale)), Add(in[0].magnitude(), mean))
	return finite(Add(E, MulScalar(flushed, 16*tiny)), m)
}

// one is 1 for each place of the axis, in a shape that broadcasts to that of u. What the operation makes of constants is computed on it: XLA
// folds those in the shape of u one by one.
func (r batchNorm) one(u *unit) *Node {
	dims := make([]int, u.n.Rank())
	for i := range dims {
		dims[i] = 1
	}
	axis := r.axis(u)
	dims[axis] = u.n.Shape().Dimensions[axis]
	return Ones(u.n.Graph(), shapes.Make(u.n.DType(), dims...))
}

func (r batchNorm) backward(_ *walk, u *unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	one := r.one(u)
	return map[int]*Node{0: Mul(Λ, r.at(u, one, false, false))}, Mul(Λ, r.at(u, ZerosLike(one), true, true))
}

func (batchNorm) axis(u *unit) int { return int(parameter(u.n, "featureAxis").Int()) }

func (batchNorm) windows(*unit) []int { return nil }

func (r batchNorm) reach(u *unit, _ int, p patch) patch {
	axis := r.axis(u)
	if p[axis-1] != whole(u.n, axis-1) {
		return nil
	}
	return p
}

func (r batchNorm) backwardPatch(_ *cut, u *unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	return r.backward(nil, u, Λ, nil)
}

func (batchNorm) followPatch(_ *cut, u *unit, _ *Node, h, _ []*Node) *Node {
	return u.n.CloneWithInputs(h...)
}

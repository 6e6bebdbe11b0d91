package certify

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// selection is Where with a condition that does not depend on x: a mask.
type selection struct{ linear }

func (selection) forward(_ *pass, u *unit, in []interval) interval { return ends(u, in) }

func (selection) rounding(p *pass, u *unit, in []interval, _ interval) *Node {
	p.moved(u, in, 1, 2)
	if in[1].err == nil && in[2].err == nil {
		return nil
	}
	part := func(v interval) *Node {
		if v.err == nil {
			return ZerosLike(u.n)
		}
		return BroadcastToDims(v.err, u.n.Shape().Dimensions...)
	}
	return Where(BroadcastToDims(in[0].lower, u.n.Shape().Dimensions...), part(in[1]), part(in[2]))
}

func (selection) backward(_ *walk, u *unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	return adjoint(u, Λ), offset(u, Λ)
}

// hull is Where with a condition that depends on x and cannot be decided: either value is possible.
type hull struct{}

func (hull) affine() bool { return false }

func (hull) check(*walk, *unit) error { return nil }

func (hull) forward(_ *pass, u *unit, in []interval) interval {
	dims := u.n.Shape().Dimensions
	wide := func(v *Node) *Node { return BroadcastToDims(v, dims...) }
	return interval{lower: Min(wide(in[0].lower), wide(in[1].lower)), upper: Max(wide(in[0].upper), wide(in[1].upper))}
}

func (hull) rounding(_ *pass, u *unit, in []interval, _ interval) *Node {
	E := Zeros(u.n.Graph(), u.n.Shape())
	for _, v := range in {
		if v.err != nil {
			E = Max(E, BroadcastToDims(v.err, u.n.Shape().Dimensions...))
		}
	}
	return AddScalar(E, 2*tiny)
}

func (r hull) relax(p *pass, u *unit, in []interval) (lines []*Node, open *Node) {
	v := r.forward(p, u, in)
	return []*Node{v.lower, v.upper}, nil
}

func (hull) backward(_ *walk, _ *unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	return nil, Add(Mul(positive(Λ), lines[0]), Mul(negative(Λ), lines[1]))
}

func (hull) follow(_ *unit, Λ *Node, _, lines []*Node) *Node { return above0(Λ, lines[0], lines[1]) }

// lookup is Gather with indices that do not depend on x, within each example.
type lookup struct{ linear }

func (lookup) check(_ *walk, u *unit) error {
	n := u.n
	if err := onlyInput(u, 0); err != nil {
		return fmt.Errorf("where it reads depends on x: %w", err)
	}
	sizes := integers(n, "sliceSizes")
	out := integers(n, "offsetOutputAxes")
	if sizes[0] != n.Inputs()[0].Shape().Dimensions[0] || slices.Contains(integers(n, "startIndexMap"), 0) || slices.Contains(integers(n, "collapsedSliceAxes"), 0) || len(out) == 0 || out[0] != 0 {
		return fmt.Errorf("it may read from other examples: the batch must be an axis that is taken whole, and stay in front")
	}
	if size := u.n.Shape().Size() / probe * (u.the().Shape().Size() / probe); size > 1<<24 {
		return fmt.Errorf("it picks %v from %v, more than can be bounded: slice instead", u.n.Shape().Dimensions[1:], u.the().Shape().Dimensions[1:])
	}
	return nil
}

func (lookup) forward(_ *pass, u *unit, in []interval) interval { return ends(u, in) }

func (lookup) rounding(p *pass, u *unit, in []interval, _ interval) *Node {
	p.moved(u, in, 0)
	return nil
}

// backward multiplies with the matrix of zeros and ones that the operation is on one example: GoMLX has no transpose of a
// general Gather.
func (lookup) backward(w *walk, u *unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	z, g := u.the(), Λ.Graph()
	rows := w.x.Shape().Dimensions[0]
	from, to := z.Shape().Size()/rows, u.n.Shape().Size()/rows
	numbers := Iota(g, shapes.Make(Λ.DType(), 1, from), 1)
	numbers = Reshape(BroadcastToDims(numbers, rows, from), z.Shape().Dimensions...)
	at := Slice(Reshape(with(u.n, map[int]*Node{0: numbers}), rows, to), AxisRange(0, 1))
	matrix := OneHot(Reshape(ConvertDType(at, dtypes.Int32), to), from, Λ.DType()) // [to, from]
	back := DotGeneral(Reshape(Λ, rows, to), []int{1}, nil, matrix, []int{0}, nil)
	return map[int]*Node{0: Reshape(back, z.Shape().Dimensions...)}, nil
}

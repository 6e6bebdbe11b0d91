package propagate

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// maximum is ReduceMax and ReduceMin, bounded as [maxPool].
type maximum struct{}

func (maximum) Affine() bool { return false }

func (maximum) Check(*Walk, *Unit) error { return nil }

func (maximum) Forward(_ *Pass, u *Unit, in []Interval) Interval { return Ends(u, in) }

func (maximum) Rounding(p *Pass, u *Unit, in []Interval, out Interval) *Node {
	if u.Node.Shape().Size() == u.Inputs[0].Shape().Size() { // of one element each
		p.moved(u, in, 0)
	}
	if len(u.perturbed) == 0 {
		return With(u.Node, map[int]*Node{0: in[0].err}) // unreachable for exact constants; see findConstantError
	}
	return AddScalar(MulScalar(out.magnitude(), ownUnit), 2*Tiny)
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
	axes := Integers(n, "axes")
	if len(axes) == 0 {
		for axis := range n.Inputs()[0].Rank() {
			axes = append(axes, axis)
		}
	}
	return axes
}

func (r maximum) Relax(_ *Pass, u *Unit, in []Interval) (lines []*Node, open *Node) {
	l, h := in[0].Lower, in[0].Upper
	if u.Node.Type() == NodeTypeReduceMin {
		l, h = Neg(h), Neg(l)
	}
	axes := reducedAxes(u.Node)
	low, high := ReduceMax(l, axes...), ReduceMax(h, axes...)
	isLow, isHigh := ConvertDType(Equal(l, r.expand(u.Node, low)), l.DType()), Equal(h, r.expand(u.Node, high))
	below := Add(Div(isLow, r.expand(u.Node, ReduceSum(isLow, axes...))), MulScalar(l, 0)) // NaN where l is infinite
	inf := BroadcastToDims(Infinity(l.Graph(), l.DType(), -1), l.Shape().Dimensions...)
	second := ReduceMax(Where(isHigh, inf, h), axes...)
	least := ReduceMax(Where(isHigh, l, inf), axes...)
	one := ConvertDType(isHigh, l.DType())
	slope, intercept := maximumAbove(least, high, second, ReduceSum(one, axes...))
	return []*Node{below, Mul(one, r.expand(u.Node, slope)), intercept}, nil
}

func (r maximum) Backward(_ *Walk, u *Unit, Λ *Node, lines []*Node) (map[int]*Node, *Node) {
	least := u.Node.Type() == NodeTypeReduceMin
	if least {
		Λ = Neg(Λ)
	}
	up, down := Positive(Λ), negative(Λ)
	part := Add(Mul(r.expand(u.Node, up), lines[0]), Mul(r.expand(u.Node, down), lines[1]))
	if least {
		part = Neg(part)
	}
	return map[int]*Node{0: part}, Mul(down, lines[2])
}

func (r maximum) Follow(u *Unit, Λ *Node, h, lines []*Node) *Node {
	z, least := h[0], u.Node.Type() == NodeTypeReduceMin
	if least {
		Λ, z = Neg(Λ), Neg(z)
	}
	axes := reducedAxes(u.Node)
	v := above0(Λ, ReduceSum(Mul(lines[0], z), axes...), Add(ReduceSum(Mul(lines[1], z), axes...), lines[2]))
	if least {
		v = Neg(v)
	}
	return v
}

package propagate

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
)

// reduction is ReduceSum and the ReduceWindow that adds up; with a Mul or Div by a constant behind it, the mean.
type reduction struct{ linear }

// terms returns how many coordinates are added up, at most.
func (reduction) terms(n *Node) int {
	if n.Type() == NodeTypeCumSum {
		return n.Shape().Dimensions[parameter(n, "axis").Int()]
	}
	if n.Type() != NodeTypeReduceWindow {
		return n.Inputs()[0].Shape().Size() / n.Shape().Size()
	}
	size := 1
	for _, d := range Integers(n, "windowDimensions") {
		size *= d
	}
	return size
}

func (reduction) Forward(_ *Pass, u *Unit, in []Interval) Interval {
	v := Ends(u, in)
	// A window that overlaps another one adds a coordinate of δ up once in each: as a product with ones.
	if s := in[0].Spread; s != nil {
		apply := func(h *Node) *Node { return With(u.Node, map[int]*Node{0: h}) }
		μ, up, down := apply(s.Centre), Sqrt(apply(s.Up)), Sqrt(apply(s.down))
		if s.slack != nil {
			up, down = Add(up, apply(s.slack)), Add(down, apply(s.slack))
		}
		v = v.widened().intersect(Interval{Lower: Sub(μ, down), Upper: Add(μ, up)}.widened())
	}
	return v
}

func (r reduction) Rounding(p *Pass, u *Unit, in []Interval, _ Interval) *Node {
	K := r.terms(u.Node)
	s := p.summed(u.Inputs[0], in[0]) // sums of sums may be one
	s.magnitude = With(u.Node, map[int]*Node{0: s.magnitude})
	R := s.roundings + max(1, K-1)
	E := finite(AddScalar(s.share(R), float64(2*(K+R))*Tiny), s.magnitude)
	p.sums[u.Node.Id()] = summed{s.magnitude, R, true}
	if x := p.exponentOf(u.Inputs[0]); x != nil && K == 1 {
		p.exponents[u.Node.Id()] = x
	}
	if e := in[0].err; e != nil {
		E = Add(E, With(u.Node, map[int]*Node{0: e}))
	}
	return E
}

func (reduction) Backward(_ *Walk, u *Unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	return adjoint(u, Λ), nil
}

// cumulative is CumSum: sums of the coordinates up to each.
type cumulative struct{ reduction }

func (cumulative) Check(_ *Walk, u *Unit) error {
	if parameter(u.Node, "axis").Int() == 0 {
		return fmt.Errorf("it adds up examples")
	}
	return nil
}

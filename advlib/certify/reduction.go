package certify

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
	for _, d := range integers(n, "windowDimensions") {
		size *= d
	}
	return size
}

func (reduction) forward(_ *pass, u *unit, in []interval) interval {
	v := ends(u, in)
	// A window that overlaps another one adds a coordinate of δ up once in each: as a product with ones.
	if s := in[0].spread; s != nil {
		apply := func(h *Node) *Node { return with(u.n, map[int]*Node{0: h}) }
		μ, up, down := apply(s.centre), Sqrt(apply(s.up)), Sqrt(apply(s.down))
		if s.slack != nil {
			up, down = Add(up, apply(s.slack)), Add(down, apply(s.slack))
		}
		v = v.widened().intersect(interval{lower: Sub(μ, down), upper: Add(μ, up)}.widened())
	}
	return v
}

func (r reduction) rounding(p *pass, u *unit, in []interval, _ interval) *Node {
	K := r.terms(u.n)
	s := p.summed(u.inputs[0], in[0]) // sums of sums may be one
	s.magnitude = with(u.n, map[int]*Node{0: s.magnitude})
	R := s.roundings + max(1, K-1)
	E := finite(AddScalar(s.share(R), float64(2*(K+R))*tiny), s.magnitude)
	p.sums[u.n.Id()] = summed{s.magnitude, R, true}
	if x := p.exponentOf(u.inputs[0]); x != nil && K == 1 {
		p.exponents[u.n.Id()] = x
	}
	if e := in[0].err; e != nil {
		E = Add(E, with(u.n, map[int]*Node{0: e}))
	}
	return E
}

func (reduction) backward(_ *walk, u *unit, Λ *Node, _ []*Node) (map[int]*Node, *Node) {
	return adjoint(u, Λ), nil
}

// cumulative is CumSum: sums of the coordinates up to each.
type cumulative struct{ reduction }

func (cumulative) check(_ *walk, u *unit) error {
	if parameter(u.n, "axis").Int() == 0 {
		return fmt.Errorf("it adds up examples")
	}
	return nil
}

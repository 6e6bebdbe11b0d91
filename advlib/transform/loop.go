package transform

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
)

// # Iterations
//
// A minimisation is a loop on the device, so that its graph is small and quick to compile. A loop has no gradient in
// GoMLX.
//
// GoMLX keeps one node for each scalar of a graph, in whichever function it was made first, where a loop must not find
// it: so a step takes its scalars from number, and never calls MulScalar, ZerosLike and their like. For the same
// reason, in go-xla, no step has a reduction: it takes its sums from summed.

// iterated returns the state after at most n steps, which end when going on is false for a state before. Step and going
// on may use the constants, which stay as they are. Going on may be nil.
func iterated(n int, state, constants []*Node, step func(i *Node, state, constants []*Node) []*Node,
	goingOn func(state []*Node) *Node) []*Node {
	g := state[0].Graph()
	start := append([]*Node{Const(g, int32(0))}, append(append([]*Node(nil), state...), constants...)...)
	parameters := func(g *Graph) (i *Node, of, rest []*Node) {
		all := make([]*Node, len(start))
		for k, v := range start {
			all[k] = Parameter(g, fmt.Sprint("state ", k), v.Shape())
		}
		return all[0], all[1 : 1+len(state)], all[1+len(state):]
	}
	cond := NewClosure(g, func(g *Graph) []*Node {
		i, of, _ := parameters(g)
		on := LessThan(i, Const(g, int32(n)))
		if goingOn != nil {
			on = LogicalAnd(on, goingOn(of))
		}
		return []*Node{on}
	})
	body := NewClosure(g, func(g *Graph) []*Node {
		i, of, rest := parameters(g)
		return append([]*Node{Add(i, Const(g, int32(1)))}, append(step(i, of, rest), rest...)...)
	})
	out := While(cond, body, start...)[1 : 1+len(state)]
	for k, v := range out {
		out[k] = MulScalar(v, 1) // GoMLX's Go backend panics where a result of a loop is one of the graph
	}
	return out
}

// number returns a scalar of the type of x.
func number(x *Node, v float64) *Node { return ConstAsDType(x.Graph(), x.DType(), v) }

// times returns x times a number.
func times(x *Node, v float64) *Node { return Mul(x, number(x, v)) }

// summed returns the sums along axes, which stay, of length 1.
func summed(x *Node, axes ...int) *Node {
	dims := x.Shape().Clone().Dimensions
	var along, ones []int
	for k, axis := range axes {
		along, ones = append(along, k), append(ones, dims[axis])
		dims[axis] = 1
	}
	return Reshape(DotGeneral(x, axes, nil, BroadcastToDims(number(x, 1), ones...), along, nil), dims...)
}

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
// it: so a step takes its scalars from number, and never calls MulScalar, ZerosLike and their like. In the same way
// go-xla v0.4.5 keeps one function for each kind of reduction, and refuses it in any other function than the one in
// which it was met first: a step sums by Dot or Einsum, and never by ReduceSum.

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
	return While(cond, body, start...)[1 : 1+len(state)]
}

// number returns a scalar of the type of x.
func number(x *Node, v float64) *Node { return ConstAsDType(x.Graph(), x.DType(), v) }

// times returns x times a number.
func times(x *Node, v float64) *Node { return Mul(x, number(x, v)) }
